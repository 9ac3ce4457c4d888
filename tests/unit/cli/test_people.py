"""What people read: tables, trees, differences, causes, and the block at the end of a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cellplane.api.model.v1 import cell_pb2
from cellplane.api.observability.v1 import health_pb2
from cellplane.api.placement.v1 import decision_pb2
from cellplane.api.type.v1 import condition_pb2
from cellplane.cli import placement, status, wait
from cellplane.cli.exits import Ended, block
from cellplane.cli.render.columns import age
from cellplane.cli.render.output import difference, table

CELL = "organizations/acme/projects/boutique/cells/development"


def condition(
    kind: str, word: str, reason: str = "", *, revision: int = 3, terminal: bool = False
) -> condition_pb2.Condition:
    return condition_pb2.Condition(
        type=kind,
        status=condition_pb2.Condition.Status.Value(word),
        reason=reason,
        observed_revision=revision,
        terminal=terminal,
    )


def failing() -> cell_pb2.Cell:
    """A Cell with one component whose image cannot be pulled on one of two data planes."""
    cause = condition_pb2.Cause(
        resource="west Pod cell-boutique/cart-1",
        reason="ImagePullBackOff",
        message="cart:nope does not exist",
        terminal=True,
        remedy="correct the image",
        log_lines=["first", "second"],
    )
    return cell_pb2.Cell(
        name=CELL,
        revision=3,
        health=condition_pb2.HEALTH_FAILED,
        cause=cause,
        conditions=[condition("Placed", "TRUE"), condition("Ready", "FALSE", "Failed")],
        data_planes=[
            cell_pb2.CellDataPlane(
                data_plane="east",
                revision=3,
                applied_revision=3,
                health=condition_pb2.HEALTH_READY,
                components=[
                    cell_pb2.CellComponent(
                        component="cart",
                        health=condition_pb2.HEALTH_READY,
                        ready_replica_count=1,
                        replica_count=1,
                    )
                ],
            ),
            cell_pb2.CellDataPlane(
                data_plane="west",
                revision=3,
                applied_revision=2,
                health=condition_pb2.HEALTH_FAILED,
                conditions=[
                    condition("Applied", "FALSE", "Applying"),
                    condition("Ready", "FALSE", "Failed"),
                    condition("Isolated", "FALSE", "Simulated"),
                ],
                components=[
                    cell_pb2.CellComponent(
                        component="cart",
                        health=condition_pb2.HEALTH_FAILED,
                        cause=cause,
                        replica_count=1,
                    )
                ],
            ),
        ],
    )


def objects(plane: str, pod: condition_pb2.Health.ValueType) -> health_pb2.DataPlaneHealth:
    return health_pb2.DataPlaneHealth(
        data_plane=plane,
        objects=[
            health_pb2.ObjectHealth(
                component="cart", kind="Service", object="cart", health=condition_pb2.HEALTH_READY
            ),
            health_pb2.ObjectHealth(component="cart", kind="Deployment", object="cart", health=pod),
            health_pb2.ObjectHealth(
                component="cart",
                kind="Pod",
                object="cart-1",
                owner="Deployment/cart",
                health=pod,
                reason="ImagePullBackOff",
                message="cart:nope does not exist",
            ),
        ],
    )


def drawn(*, everything: bool = False) -> list[str]:
    health = health_pb2.CellHealth(
        name=f"{CELL}/health",
        data_planes=[
            objects("east", condition_pb2.HEALTH_READY),
            objects("west", condition_pb2.HEALTH_FAILED),
        ],
    )
    return list(status.render([failing()], {CELL: health}, everything=everything, colour=False))


def test_the_deepest_cause_stands_on_top() -> None:
    """The first line of a status says what is at fault, and those below it what to do."""
    why = "ImagePullBackOff: cart:nope does not exist"
    assert drawn()[:4] == [
        f"boutique/development: west Pod cell-boutique/cart-1: {why}",
        "  what to do: correct the image",
        "  log | first",
        "  log | second",
    ]


def test_the_tree_leads_to_the_pod_that_fails() -> None:
    """What is ready is folded; what is not is shown down to its pod."""
    assert drawn()[5:] == [
        "boutique",
        "└─ ✗ development  revision 3  FAILED",
        "   ├─ ✓ east  revision 3  READY",
        "   │  └─ ✓ cart  1/1  READY",
        "   └─ ✗ west  revision 3, applied 2  FAILED",
        "      │  Applied false: Applying",
        "      │  Isolated false: Simulated",
        "      └─ ✗ cart  0/1  FAILED",
        "         │  ImagePullBackOff: cart:nope does not exist",
        "         └─ ✗ Deployment cart  FAILED",
        "            └─ ✗ Pod cart-1  FAILED",
        "                  ImagePullBackOff: cart:nope does not exist",
    ]


def test_everything_is_shown_on_demand() -> None:
    """With --all, what is ready is there, too."""
    lines = "\n".join(drawn(everything=True))

    assert lines.count("Service cart") == 2
    assert lines.count("Pod cart-1") == 2


READY, FAILED, WAITING = wait.State.DONE, wait.State.FAILED, wait.State.WAITING


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([condition("Ready", "TRUE")], READY),
        ([condition("Ready", "TRUE", revision=2)], WAITING),
        ([condition("Ready", "FALSE", "Starting")], WAITING),
        ([condition("Ready", "FALSE", "ImagePullBackOff", terminal=True)], FAILED),
        ([condition("Ready", "FALSE", "Old", revision=2, terminal=True)], WAITING),
        (
            [condition("Resolved", "FALSE", "Broken", terminal=True), condition("Ready", "TRUE")],
            FAILED,
        ),
        (
            [condition("Ready", "TRUE"), condition("Isolated", "FALSE", "Simulated")],
            READY,
        ),
        ([], WAITING),
    ],
    ids=["ready", "ready-before", "starting", "failed", "failed-before", "wrong", "open", "new"],
)
def test_only_what_is_known_of_the_wanted_revision_counts(
    conditions: list[condition_pb2.Condition], state: wait.State
) -> None:
    """Neither an old success nor an old failure ends a wait."""
    cell = cell_pb2.Cell(name=CELL, revision=3, conditions=conditions)

    assert wait._ready(cell).state is state


def test_a_failed_wait_tells_the_cause_and_how_long() -> None:
    """The end has code 7, the deepest cause, what to do, and the last lines of the log."""
    ended = wait.failure("cell boutique/development", failing(), "Ready is false", 4.25)

    assert ended.code == 7
    text = block(ended)
    assert "known after 4.2s" in text
    assert "west Pod cell-boutique/cart-1: ImagePullBackOff" in text
    assert "log | second" in text


def test_a_failure_is_one_block() -> None:
    """Message, status, reason, findings and the request's id, in this order."""
    ended = Ended(
        message="it is wrong",
        status="INVALID_ARGUMENT",
        reason="REQUEST_INVALID",
        findings=["a.yaml:1: name: missing"],
        request_id="abc",
    )

    assert block(ended) == (
        "error: it is wrong [INVALID_ARGUMENT REQUEST_INVALID]\n"
        "  a.yaml:1: name: missing\n"
        "  request id: abc\n"
    )


def test_columns_are_as_wide_as_their_cells() -> None:
    """No cell is cut, and no line ends with spaces."""
    assert list(table(("A", "BBB"), [("long", ""), ("x", "y")])) == [
        "A      BBB",
        "long",
        "x      y",
    ]


def test_a_difference_shows_lines() -> None:
    """What goes and what comes, with the lines around them."""
    lines = list(difference("a: 1\nb: 2\n", "a: 1\nb: 3\n", "x", colour=False))

    assert lines == ["--- x (is)", "+++ x (will be)", "@@ -1,2 +1,2 @@", " a: 1", "-b: 2", "+b: 3"]


def test_colours_are_for_the_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR wins over everything; without a terminal there are none."""
    import io

    from cellplane.cli.render.output import colours

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("CLICOLOR_FORCE", raising=False)
    assert not colours(io.StringIO())
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours(io.StringIO())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (200_000, "2d")]
)
def test_ages_have_one_unit(seconds: int, text: str) -> None:
    """The largest unit of which there are two."""
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert age(now - timedelta(seconds=seconds), now) == text


def test_a_decision_explains_itself() -> None:
    """The answer, the scores of what was feasible, and why the others were not."""
    decision = decision_pb2.Decision(
        data_planes=["west"],
        copy_count=1,
        summary="on west",
        candidates=[
            decision_pb2.Candidate(
                data_plane="west", chosen=True, scores=[decision_pb2.Score(score="room", value=0.5)]
            )
        ],
        rejections=[
            decision_pb2.Rejection(data_plane="east", reason="CORDONED", message="takes no more")
        ],
    )

    assert list(placement.render(decision)) == [
        "on west",
        "data planes: west (1 of 1 copies)",
        "",
        "FEASIBLE   CHOSEN   ROOM",
        "west       yes      0.5",
        "",
        "TURNED DOWN   REASON     WHY",
        "east          CORDONED   takes no more",
    ]

"""The status of a Cell, one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cellplane.cell.condition import Cause, Condition, Health, Status
from cellplane.cell.manifest import ObjectKey
from cellplane.cell.plane import Enforcement
from cellplane.cell.problem import Problem
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.placement.status.cell_status import CellStatus, CellView, PlaneView, cell_status
from cellplane.placement.status.observed import (
    ComponentReport,
    ObjectFailure,
    Observed,
    Outcome,
)

READY = Observed(
    accepted_revision=3,
    applied_revision=3,
    ready_revision=3,
    report_revision=3,
    health=Health.READY,
    components=(
        ComponentReport(
            component="web", health=Health.READY, ready_replica_count=2, replica_count=2
        ),
    ),
)


def plane(name: str = "a", **changes: Any) -> PlaneView:
    """A data plane where revision 3, of the Cell's revision 7, is ready."""
    given: dict[str, Any] = {
        "data_plane": name,
        "state": PlaneState.READY,
        "enforcement": Enforcement.ENFORCING,
        "revision": 3,
        "cell_revision": 7,
        "accepted_cell_revision": 7,
        "applied_cell_revision": 7,
        "ready_cell_revision": 7,
        "observed": READY,
    }
    return PlaneView(**(given | changes))


def status(*planes: PlaneView, **changes: Any) -> CellStatus:
    """The status of a Cell that is wanted at revision 7."""
    given: dict[str, Any] = {
        "cell": "c",
        "revision": 7,
        "releases": {"web": "web-1"},
        "decided": True,
        "summary": "placed",
        "planes": planes,
    }
    return cell_status(CellView(**(given | changes)))


def condition(found: CellStatus, kind: str) -> Condition:
    """One condition of a Cell."""
    return next(c for c in found.conditions if c.type == kind)


def test_all_is_true_when_every_plane_is_ready() -> None:
    """Placed, compiled, accepted, applied, ready and isolated; replicas are summed."""
    found = status(plane("a"), plane("b"))
    assert {c.status for c in found.conditions} == {Status.TRUE}
    assert found.health is Health.READY
    assert found.cause is None
    assert found.components[0].ready_replica_count == 4


@pytest.mark.parametrize(
    "seen",
    [
        replace(READY, ready_revision=2),
        replace(READY, report_revision=2),
        replace(READY, applied_revision=2),
        replace(READY, accepted_revision=2, applied_revision=2, ready_revision=2),
        replace(READY, health=Health.PROGRESSING),
    ],
)
def test_nothing_is_ready_before_its_revision_was_applied_and_seen_ready(seen: Observed) -> None:
    """Each step that is missing keeps the whole Cell from being ready."""
    found = status(plane("a"), plane("b", observed=seen))
    assert found.health is Health.PROGRESSING
    assert condition(found, "Ready").status is Status.FALSE


def test_a_newer_wanted_revision_is_not_ready() -> None:
    """What is ready is the one before."""
    found = status(plane(), revision=8)
    assert condition(found, "Compiled").status is Status.UNKNOWN
    assert condition(found, "Ready").status is Status.FALSE


def test_a_compile_error_is_terminal_and_the_cause() -> None:
    """The last good revision stays in force, and the finding says what to do."""
    problem = Problem(reason="NOT_SUPPORTED", message="use http", resource="r", field="f")
    found = status(plane(problems=(problem,)), revision=8)
    compiled = condition(found, "Compiled")
    assert (compiled.status, compiled.terminal) == (Status.FALSE, True)
    assert "revision 7 stays in force" in compiled.message
    assert found.health is Health.FAILED
    assert found.cause is not None
    assert (found.cause.resource, found.cause.reason) == ("r#f", "NotSupported")


def test_an_unplaceable_cell_is_not_terminal() -> None:
    """A data plane may come, and then it goes on by itself."""
    found = status(unplaceable="TooFewDataPlanes", summary="0 of 1")
    placed = condition(found, "Placed")
    assert (placed.status, placed.reason, placed.terminal) == (
        Status.FALSE,
        "TooFewDataPlanes",
        False,
    )
    assert found.health is Health.PROGRESSING
    assert condition(found, "Ready").status is Status.FALSE


@pytest.mark.parametrize(
    ("enforcement", "expected", "reason", "ready"),
    [
        (Enforcement.ENFORCING, Status.TRUE, "Enforced", True),
        (Enforcement.SIMULATED, Status.FALSE, "Simulated", True),
        (Enforcement.EXTERNAL, Status.UNKNOWN, "External", True),
        (Enforcement.UNSPECIFIED, Status.FALSE, "NotEnforced", False),
    ],
)
def test_isolation_is_what_the_plane_enforces(
    enforcement: Enforcement, expected: Status, reason: str, ready: bool
) -> None:
    """A plane that nobody proved to enforce has no ready Cells; the others say what they are."""
    found = status(plane(enforcement=enforcement))
    isolated = condition(found, "Isolated")
    assert (isolated.status, isolated.reason) == (expected, reason)
    assert (found.health is Health.READY) is ready


def test_a_lost_plane_makes_it_unknown_not_failed() -> None:
    """What is out of sight is not known."""
    found = status(plane(state=PlaneState.LOST))
    assert found.health is Health.UNKNOWN
    ready = condition(found, "Ready")
    assert (ready.status, ready.reason) == (Status.UNKNOWN, "DataPlaneLost")


def test_a_refused_object_is_the_cause() -> None:
    """Its plane, kind and name are in the cause, and only a change helps."""
    key = ObjectKey(api_version="v1", kind="Service", namespace="n", object="web")
    failure = ObjectFailure(key=key, part="web", outcome=Outcome.INVALID, message="no port")
    seen = Observed(accepted_revision=3, failed_revision=3, failures=(failure,))
    found = status(plane(observed=seen))
    applied = condition(found, "Applied")
    assert (applied.reason, applied.terminal) == ("ApplyFailed", True)
    assert found.cause is not None
    assert found.cause.resource == "a Service n/web"
    assert found.health is Health.FAILED


def test_a_failure_that_may_pass_is_progress() -> None:
    """An object that is tried again keeps nobody from waiting."""
    key = ObjectKey(api_version="v1", kind="Service", namespace="n", object="web")
    failure = ObjectFailure(key=key, part="web", outcome=Outcome.FAILED, message="timeout")
    seen = Observed(accepted_revision=3, failed_revision=3, failures=(failure,))
    found = status(plane(observed=seen))
    assert found.health is Health.PROGRESSING
    assert not condition(found, "Applied").terminal


def test_only_changed_components_go_back_to_progressing() -> None:
    """A new revision leaves the components ready that it did not touch."""
    seen = replace(
        READY,
        components=tuple(ComponentReport(component=c, health=Health.READY) for c in ("api", "web")),
    )
    view = plane(revision=4, changed_parts=frozenset({"web"}), observed=seen)
    found = status(view, releases={"api": "api-1", "web": "web-2"})
    assert {c.component: c.health for c in found.components} == {
        "api": Health.READY,
        "web": Health.PROGRESSING,
    }


def test_a_new_revision_takes_the_failure_of_the_old_one_back() -> None:
    """What failed before a change is not said to fail after it."""
    cause = Cause(resource="Deployment n/web", reason="ImagePullBackOff", terminal=True)
    seen = replace(READY, health=Health.FAILED, cause=cause)
    assert status(plane(observed=seen)).health is Health.FAILED
    assert status(plane(revision=4, observed=seen)).health is Health.PROGRESSING


def test_a_plane_that_is_left_does_not_count() -> None:
    """It is shown, and keeps nobody from being ready."""
    found = status(plane("a"), plane("b", leaving=True, observed=Observed()))
    assert found.health is Health.READY
    assert [p.data_plane for p in found.data_planes] == ["a", "b"]

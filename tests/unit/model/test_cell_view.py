"""A Cell as a user sees it, and what a release is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cellplane.api.model.v1 import cell_pb2, component_pb2
from cellplane.api.type.v1 import condition_pb2, problem_pb2, workload_pb2
from cellplane.model.cells import resolved_condition, status_of, view
from cellplane.model.convert import release_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)
PROBLEM = problem_pb2.Problem(
    reason="PROVIDER_NOT_DEPLOYED", message="is missing", field="connections[0]", resource="web"
)


def wanted(revision: int = 2, problems: Any = ()) -> cell_pb2.Cell:
    return cell_pb2.Cell(
        name="cell",
        revision=revision,
        problems=problems,
        conditions=[resolved_condition(None, problems, revision, NOW)],
    )


def seen(revision: int, health: Any, **more: Any) -> cell_pb2.Cell:
    ready = condition_pb2.Condition(
        type="Ready", status=condition_pb2.Condition.TRUE, observed_revision=revision
    )
    return cell_pb2.Cell(health=health, conditions=[ready], **more)


CASES = {
    "nothing was seen": (wanted(), None, condition_pb2.HEALTH_PROGRESSING),
    "ready as wanted": (wanted(), seen(2, condition_pb2.HEALTH_READY), condition_pb2.HEALTH_READY),
    "ready before": (
        wanted(),
        seen(1, condition_pb2.HEALTH_READY),
        condition_pb2.HEALTH_PROGRESSING,
    ),
    "failed before": (
        wanted(),
        seen(1, condition_pb2.HEALTH_FAILED),
        condition_pb2.HEALTH_PROGRESSING,
    ),
    "failed now": (wanted(), seen(2, condition_pb2.HEALTH_FAILED), condition_pb2.HEALTH_FAILED),
    "not known": (wanted(), seen(2, 0), condition_pb2.HEALTH_PROGRESSING),
    "cannot be resolved": (
        wanted(problems=[PROBLEM]),
        seen(2, condition_pb2.HEALTH_READY),
        condition_pb2.HEALTH_FAILED,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_health_is_that_of_the_wanted_revision(case: str) -> None:
    """What was seen of another revision says nothing about this one."""
    cell, status, health = CASES[case]

    shown = view(cell, status)

    assert shown.health == health
    assert shown.reconciling == (health != condition_pb2.HEALTH_READY)


def test_an_old_cause_is_not_shown() -> None:
    """The reason why an older revision failed is gone with the edit that mends it."""
    cause = condition_pb2.Cause(resource="pod", reason="ImagePullBackOff")

    assert view(wanted(), seen(2, condition_pb2.HEALTH_FAILED, cause=cause)).cause == cause
    assert not view(wanted(), seen(1, condition_pb2.HEALTH_FAILED, cause=cause)).HasField("cause")


def test_only_observations_are_taken_from_a_report() -> None:
    """A report can say neither what is wanted nor whether it resolves."""
    given = cell_pb2.Cell(
        name="x",
        revision=9,
        conditions=[condition_pb2.Condition(type="Resolved")],
        health=condition_pb2.HEALTH_READY,
    )

    assert status_of(given) == cell_pb2.Cell(health=condition_pb2.HEALTH_READY)


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    """Another message is no transition."""
    before = wanted()

    same = resolved_condition(before, [], 3, LATER)
    other = resolved_condition(before, [PROBLEM], 3, LATER)

    assert same.last_transition_time.ToDatetime(tzinfo=UTC) == NOW
    assert other.last_transition_time.ToDatetime(tzinfo=UTC) == LATER
    assert (other.reason, other.terminal) == ("ProviderNotDeployed", True)


def written(**more: Any) -> component_pb2.Component:
    workload = workload_pb2.Workload(
        image="app:1",
        env=[
            workload_pb2.EnvironmentVariable(name="B", value="2"),
            workload_pb2.EnvironmentVariable(name="A", value="1"),
        ],
    )
    component = component_pb2.Component(
        name="organizations/acme/projects/shop/components/cart",
        component_kind=workload_pb2.COMPONENT_KIND_SERVICE,
        workload=workload,
    )
    component.MergeFrom(component_pb2.Component(**more))
    return component


def test_a_release_is_named_by_its_content_for_ever() -> None:
    """The same intent is the same name in every version: live objects carry it."""
    assert release_of(written()).name.rsplit("/", 1)[-1] == "r-b38058cd94"


def test_what_means_nothing_makes_no_release() -> None:
    """Order of variables, words for people, and how it is deployed are no intent."""
    other = written(display_name="Cart", annotations={"a": "b"}, auto_deploy=False, etag="x")
    other.workload.env.reverse()

    assert release_of(other).digest == release_of(written()).digest
    changed = written()
    changed.workload.image = "app:2"
    assert release_of(changed).digest != release_of(written()).digest

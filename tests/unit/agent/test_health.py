"""How far objects and pods are."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.agent import health, pods
from cellplane.cell.condition import Health


def deployment(
    *, generation: int = 2, observed: int = 2, replicas: int | None = 2, **status: Any
) -> dict[str, Any]:
    """A Deployment with a status."""
    spec = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"generation": generation},
        "spec": spec,
        "status": {"observedGeneration": observed, **status},
    }


def all_there(count: int) -> dict[str, int]:
    """The status of a finished rollout."""
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return dict.fromkeys(names, count)


def test_a_finished_rollout_is_ready() -> None:
    """A Deployment whose replicas are updated and available is ready, with its counts."""
    found = health.assess(deployment(**all_there(2)))
    assert (found.health, found.ready, found.replicas) == (Health.READY, 2, 2)


@pytest.mark.parametrize(
    "body",
    [
        deployment(observed=1, **all_there(2)),
        deployment(**{**all_there(2), "updatedReplicas": 1}),
        deployment(**{**all_there(2), "replicas": 3}),
        deployment(**{**all_there(2), "availableReplicas": 1}),
        {**deployment(), "status": {}},
    ],
)
def test_an_unfinished_rollout_is_progressing(body: dict[str, Any]) -> None:
    """An older observed generation, old, missing or unavailable replicas are on their way."""
    assert health.assess(body).health is Health.PROGRESSING


READY_WHEN = "resource.status.conditions.exists(c, c.type == 'Synced' && c.status == 'True')"


def asked(expression: str = READY_WHEN, **status: Any) -> dict[str, Any]:
    """A finished Deployment whose author says when it is ready."""
    body = deployment(**all_there(2), **status)
    body["metadata"]["annotations"] = {"cellplane.dev/ready-when": expression}
    return body


def test_an_expression_says_when_an_object_is_ready() -> None:
    """What its author asks for counts in place of the kind's own rule, with its counts."""
    found = health.assess(asked(conditions=[{"type": "Synced", "status": "True"}]))
    assert (found.health, found.ready, found.reason) == (Health.READY, 2, "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (asked(conditions=[{"type": "Synced", "status": "False"}]), "is not true yet"),
        (asked(), "cannot be told yet"),
        (asked("resource.status.readyReplicas"), "is not true yet"),
        (asked("resource.status.readyReplicas +"), "cannot be told yet"),
    ],
)
def test_until_it_is_true_the_object_is_progressing(body: dict[str, Any], words: str) -> None:
    """An expression that is false, that fails or that is none never makes anything ready."""
    found = health.assess(body)
    assert (found.health, found.reason, found.terminal) == (
        Health.PROGRESSING,
        "NotReadyYet",
        False,
    )
    assert words in found.message


def test_an_expression_hides_no_failure_and_no_old_status() -> None:
    """What has failed for good has, and the status of the revision before tells nothing."""
    failed = asked(
        "true",
        conditions=[
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        ],
    )
    old = asked("true")
    old["status"]["observedGeneration"] = 1
    assert health.assess(failed).health is Health.FAILED
    assert health.assess(old).health is Health.PROGRESSING


def test_scaled_to_zero_is_suspended() -> None:
    """A Deployment that is to have no replicas is suspended once it has none."""
    assert health.assess(deployment(replicas=0)).health is Health.SUSPENDED


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            "ProgressDeadlineExceeded",
        ),
        (
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": 'pods "web" is forbidden: exceeded quota: small',
            },
            "QuotaExceeded",
        ),
    ],
)
def test_a_rollout_that_cannot_go_on_has_failed(condition: dict[str, str], reason: str) -> None:
    """A missed deadline and a full quota are terminal."""
    found = health.assess(deployment(conditions=[condition]))
    assert (found.health, found.reason, found.terminal) == (Health.FAILED, reason, True)


def test_a_failed_create_that_may_pass_is_progressing() -> None:
    """A webhook that does not answer is no reason to give up."""
    condition = {"type": "ReplicaFailure", "status": "True", "message": "connection refused"}
    assert health.assess(deployment(conditions=[condition])).health is Health.PROGRESSING


def job(**status: Any) -> dict[str, Any]:
    """A Job with a status."""
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {}, "status": status}


def test_a_job_is_ready_when_it_completed() -> None:
    """A Job that runs is progressing, one that completed is ready, one that gave up has failed."""
    done = [{"type": "Complete", "status": "True"}]
    gave_up = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    assert health.assess(job(active=1)).health is Health.PROGRESSING
    assert health.assess(job(conditions=done, succeeded=1)).health is Health.READY
    found = health.assess(job(conditions=gave_up))
    assert (found.health, found.reason, found.terminal) == (
        Health.FAILED,
        "BackoffLimitExceeded",
        True,
    )


def test_a_stateful_set_needs_its_new_revision() -> None:
    """A StatefulSet is ready when as many replicas as wanted are of the new revision."""
    status = {"observedGeneration": 1, **all_there(1), "currentRevision": "a"}
    body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"generation": 1}}
    old = {**body, "status": {**status, "updateRevision": "b", "updatedReplicas": 0}}
    new = {**body, "status": {**status, "updateRevision": "a"}}
    assert health.assess(old).health is Health.PROGRESSING
    assert health.assess(new).health is Health.READY


def route(**conditions: str) -> dict[str, Any]:
    """An HTTPRoute with one parent."""
    found = [{"type": n, "status": s, "observedGeneration": 1} for n, s in conditions.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"generation": 1},
        "status": {"parents": [{"conditions": found}]} if found else {},
    }


def test_a_route_without_a_controller_is_ready_only_where_none_is_expected() -> None:
    """Nobody has said anything of a route: ready on a simulated plane, on its way on a real one."""
    assert health.assess(route(), controlled=False).health is Health.READY
    assert health.assess(route(), controlled=True).health is Health.PROGRESSING


def test_what_a_controller_says_of_a_route_counts() -> None:
    """A refused route is not ready, also where no controller was expected."""
    assert health.assess(route(Accepted="True", ResolvedRefs="True")).health is Health.READY
    refused = route(Accepted="True", ResolvedRefs="False")
    assert health.assess(refused, controlled=False).health is Health.PROGRESSING


def test_a_gateways_defaults_say_nothing() -> None:
    """The conditions that a Gateway is born with are no word of a controller."""
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"generation": 1},
        "status": {
            "conditions": [
                {"type": "Accepted", "status": "Unknown", "reason": "Pending"},
                {"type": "Programmed", "status": "Unknown", "reason": "Pending"},
            ]
        },
    }
    assert health.assess(body, controlled=False).health is Health.READY
    assert health.assess(body, controlled=True).health is Health.PROGRESSING


def test_an_invalid_policy_has_failed() -> None:
    """A policy that Cilium calls invalid is terminal; one of which it says nothing is ready."""
    body: dict[str, Any] = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy"}
    invalid = {"conditions": [{"type": "Valid", "status": "False"}]}
    assert health.assess(body).health is Health.READY
    assert health.assess({**body, "status": invalid}).terminal


def test_an_unknown_kind_is_never_failed() -> None:
    """A kind that no rule knows is ready, or progressing while it says so itself."""
    body = {"apiVersion": "example.test/v1", "kind": "Thing", "metadata": {}}
    assert health.assess(body).health is Health.READY
    bad = {**body, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    assert health.assess(bad).health is Health.PROGRESSING


def pod(waiting: str = "", message: str = "", restarts: int = 0, **status: Any) -> dict[str, Any]:
    """A pod with one container."""
    state = {"waiting": {"reason": waiting, "message": message}} if waiting else {}
    container = {"name": "app", "state": state, "restartCount": restarts}
    return {
        "metadata": {"name": "web-1", "uid": "u", "resourceVersion": "7"},
        "spec": {"containers": [{"resources": {"requests": {"cpu": "250m", "memory": "1Gi"}}}]},
        "status": {"phase": "Pending", "containerStatuses": [container], **status},
    }


@pytest.mark.parametrize(
    ("body", "terminal"),
    [
        (pod("InvalidImageName"), True),
        (pod("CreateContainerConfigError"), True),
        (pod("ErrImagePull", "manifest unknown: not found"), True),
        (pod("ErrImagePull", "dial tcp: i/o timeout"), False),
        (pod("ImagePullBackOff", "Back-off pulling image"), False),
        (pod("CrashLoopBackOff", restarts=1), False),
        (pod("CrashLoopBackOff", restarts=5), True),
        (pod("SomethingNew"), False),
    ],
)
def test_only_what_waiting_cannot_help_is_terminal(body: dict[str, Any], terminal: bool) -> None:
    """A container's reason is terminal where it is known to last, and else on its way."""
    state = pods.read(body).state
    assert state.terminal is terminal
    assert (state.health is Health.FAILED) is terminal


def test_an_unschedulable_pod_is_not_terminal() -> None:
    """A pod that fits nowhere says so, and may fit later."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    body = pod(conditions=[condition], containerStatuses=[])
    state = pods.read(body).state
    assert (state.reason, state.terminal) == ("Unschedulable", False)


def test_a_secret_is_ready_once_it_was_fetched() -> None:
    """An ExternalSecret is as far as its operator says; without one, it is ready as applied."""
    fetched = {"type": "Ready", "status": "True", "reason": "SecretSynced"}
    body: dict[str, Any] = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"generation": 1},
    }

    assert health.assess(body, controlled=False).health is Health.READY
    assert health.assess(body, controlled=True).health is Health.PROGRESSING
    done = {**body, "status": {"conditions": [fetched]}}
    assert health.assess(done, controlled=True).health is Health.READY
    missing = {**fetched, "status": "False", "reason": "SecretSyncedError"}
    waiting = {**body, "status": {"conditions": [missing]}}
    assert health.assess(waiting, controlled=True).health is Health.PROGRESSING

"""PURE: how components and the Cell are, from their objects and pods.

A component is as bad as its worst object. An object that is not applied as it is wanted now is
progressing whatever its status says, so nothing is ready by the revision before. The cause is the
deepest that is known: a pod's before its controller's, a terminal one before one that may pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cellplane.agent.health import ObjectHealth
from cellplane.agent.objects import LASTING, Outcome, Wanted
from cellplane.agent.pods import Pod
from cellplane.cell.condition import Cause, Health, worst
from cellplane.cell.manifest import ObjectKey

CONTROLLERS: Final = frozenset({"Deployment", "StatefulSet", "Job", "CronJob"})
_DEPTH: Final = {"Pod": 0, "Job": 1, "Deployment": 2, "StatefulSet": 2, "CronJob": 2}

_REMEDIES: Final[Mapping[str, str]] = {
    "ImagePullBackOff": "correct the image, or give the cluster access to its registry",
    "ErrImagePull": "correct the image, or give the cluster access to its registry",
    "InvalidImageName": "correct the image's name",
    "CrashLoopBackOff": "read the container's log, and correct its command or settings",
    "CreateContainerConfigError": "create what the container refers to, or correct the reference",
    "QuotaExceeded": "ask for less, or raise the namespace's quota",
    "BackoffLimitExceeded": "read the log of the job's last pod, correct it, and release again",
    "DeadlineExceeded": "give the job more time, or less to do",
    "ProgressDeadlineExceeded": "look at the component's pods and events",
    "Unschedulable": "ask for less, or add nodes",
    "Conflict": "delete the object that is in the way, or give it another name",
    "Forbidden": "allow it to the agent, or leave it out",
    "NotReady": "correct the readiness probe, or what it asks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One wanted object, as far as it is known."""

    wanted: Wanted
    applied: bool
    """Whether it is applied as it is wanted now."""
    state: ObjectHealth | None = None
    failure: Outcome | None = None
    message: str = ""

    @property
    def health(self) -> ObjectHealth:
        """How far it is."""
        if self.failure is not None and not self.applied:
            lasting = self.failure in LASTING
            return ObjectHealth(
                health=Health.FAILED if lasting else Health.PROGRESSING,
                reason=self.failure.value.capitalize(),
                message=self.message,
                terminal=lasting,
            )
        if not self.applied:
            return ObjectHealth(health=Health.PROGRESSING, reason="NotApplied")
        return self.state or ObjectHealth(health=Health.PROGRESSING, reason="NotObserved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """How one component is; the empty id is what belongs to the Cell as a whole."""

    component: str
    health: Health
    cause: Cause | None = None
    ready: int = 0
    replicas: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod, with what made it and whether it is of the present revision."""

    pod: Pod
    owner: str
    """``Kind/name`` of the wanted object that made it."""
    current: bool
    log_lines: tuple[str, ...] = ()


def roll_up(
    component: str, objects: Sequence[Seen], pods: Iterable[PodSeen], *, plane: str, namespace: str
) -> Component:
    """Say how a component is.

    Args:
        component: Its id; empty for what belongs to the Cell as a whole.
        objects: All its objects.
        pods: All its pods.
        plane: Id of the data plane, which causes name.
        namespace: Namespace of the Cell, which causes name.
    """
    states = [(seen, seen.health) for seen in objects]
    unready = {
        f"{seen.wanted.key.kind}/{seen.wanted.key.object}"
        for seen, state in states
        if state.health not in (Health.READY, Health.SUSPENDED)
    }
    # Pods of a controller that is as it should be are its own business.
    troubled = [
        p for p in pods if p.owner in unready and p.current and p.pod.state.reason not in _PASSING
    ]
    healths = [state.health for _, state in states]
    healths += [p.pod.state.health for p in troubled if p.pod.state.health is Health.FAILED]
    causes = [_pod_cause(p, plane, namespace) for p in troubled]
    causes += [
        (_rank(state, seen.wanted.key.kind), _cause(seen.wanted.key, state, plane))
        for seen, state in states
        if state.health not in (Health.READY, Health.SUSPENDED) and state.reason not in _PASSING
    ]
    health = worst(healths)
    controllers = [state for seen, state in states if seen.wanted.key.kind in CONTROLLERS]
    return Component(
        component=component,
        health=health,
        cause=_deepest(causes) if health not in (Health.READY, Health.SUSPENDED) else None,
        ready=sum(state.ready for state in controllers),
        replicas=sum(state.replicas for state in controllers),
    )


def of_cell(components: Iterable[Component]) -> tuple[Health, Cause | None]:
    """Say how a Cell is, by its components."""
    found = list(components)
    health = worst(c.health for c in found)
    causes = [c.cause for c in found if c.cause is not None and c.health is health]
    return health, min(causes, key=lambda c: not c.terminal) if causes else None


_PASSING: Final = frozenset({"", "Completed", "NotApplied", "NotObserved", "Terminating"})
"""Says nothing about why."""
Ranked = tuple[tuple[bool, bool, int], Cause]


def _deepest(causes: Sequence[Ranked]) -> Cause | None:
    return min(causes, key=lambda c: (c[0], c[1].resource))[1] if causes else None


def _rank(state: ObjectHealth, kind: str) -> tuple[bool, bool, int]:
    return not state.terminal, not state.reason, _DEPTH.get(kind, 1)


def _pod_cause(seen: PodSeen, plane: str, namespace: str) -> Ranked:
    key = ObjectKey(api_version="v1", kind="Pod", namespace=namespace, object=seen.pod.name)
    return _rank(seen.pod.state, "Pod"), _cause(key, seen.pod.state, plane, seen.log_lines)


def _cause(
    key: ObjectKey, state: ObjectHealth, plane: str, log_lines: tuple[str, ...] = ()
) -> Cause:
    return Cause(
        resource=f"{plane} {key}",
        reason=state.reason or "Progressing",
        message=state.message,
        since_time=_time(state.since),
        terminal=state.terminal,
        remedy=_REMEDIES.get(state.reason, ""),
        log_lines=log_lines,
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None

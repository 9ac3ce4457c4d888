"""PURE: how far one pod is, and the deepest reason that it knows itself.

A reason is terminal only where waiting cannot help: an image that is known not to exist, an
invalid name, missing configuration, or a container that has crashed again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cellplane.agent.health import ObjectHealth
from cellplane.cell import labels
from cellplane.cell.condition import Health

Body = Mapping[str, Any]

CRASHES: Final = 3
"""After so many restarts a crash loop is not a dependency that starts late."""
_PULLS: Final = frozenset({"ImagePullBackOff", "ErrImagePull"})
_KNOWN_BAD_PULL: Final = (
    "not found",
    "manifest unknown",
    "does not exist",
    "unauthorized",
    "denied",
    "forbidden",
    "invalid reference",
    "no match for platform",
)
_TERMINAL: Final = frozenset(
    {
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_QUIET: Final = frozenset({"ContainerCreating", "PodInitializing", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What the agent keeps of a pod."""

    name: str
    uid: str
    version: int
    part: str
    owner_kind: str
    owner: str
    """Name of its controller: a ReplicaSet's, a StatefulSet's, a Job's."""
    revision: str
    """Of its StatefulSet."""
    state: ObjectHealth
    container: str = ""
    """The container that the reason is about."""
    crashed: bool = False


def read(body: Body) -> Pod:
    """Take out of a pod what matters."""
    metadata = body.get("metadata", {})
    own = metadata.get("labels") or {}
    controller: Body = next(
        (o for o in metadata.get("ownerReferences") or () if o.get("controller")), {}
    )
    state, container = _assess(body)
    return Pod(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        version=int(metadata.get("resourceVersion", 0)),
        part=str(own.get(labels.COMPONENT, "")),
        owner_kind=str(controller.get("kind", "")),
        owner=str(controller.get("name", "")),
        revision=str(own.get("controller-revision-hash", "")),
        state=state,
        container=container,
        crashed=state.reason == "CrashLoopBackOff",
    )


def _assess(body: Body) -> tuple[ObjectHealth, str]:
    metadata, status = body.get("metadata", {}), body.get("status", {})
    if metadata.get("deletionTimestamp"):
        return _progressing("Terminating", "is being deleted"), ""
    phase = str(status.get("phase", "Pending"))
    if phase == "Succeeded":
        return ObjectHealth(health=Health.READY, reason="Completed"), ""
    conditions = {str(c.get("type")): c for c in status.get("conditions") or ()}
    for each in (*(status.get("initContainerStatuses") or ()), *_containers(status)):
        if found := _container(each):
            return found, str(each.get("name", ""))
    if phase == "Failed":
        reason = str(status.get("reason") or "PodFailed")
        return _progressing(reason, str(status.get("message", ""))), ""
    if conditions.get("Ready", {}).get("status") == "True":
        return ObjectHealth(health=Health.READY), ""
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        since = str(scheduled.get("lastTransitionTime", ""))
        reason = str(scheduled.get("reason") or "Unschedulable")
        return _progressing(reason, str(scheduled.get("message", "")), since), ""
    running = [c for c in _containers(status) if (c.get("state") or {}).get("running")]
    unready = next((c for c in running if not c.get("ready")), None)
    if unready is not None:
        since = str(conditions.get("Ready", {}).get("lastTransitionTime", ""))
        name = str(unready.get("name", ""))
        message = f"container {name} runs, and its readiness probe does not succeed"
        return _progressing("NotReady", message, since), name
    return _progressing("", ""), ""


def _containers(status: Body) -> tuple[Body, ...]:
    return tuple(status.get("containerStatuses") or ())


def _container(status: Body) -> ObjectHealth | None:
    """The reason of one container that cannot run now; nothing if it runs or is about to."""
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason = str(waiting.get("reason", ""))
    message = str(waiting.get("message", ""))
    before = (status.get("lastState") or {}).get("terminated") or {}
    since = str(before.get("finishedAt", ""))
    if ended and ended.get("exitCode", 0) != 0:
        reason, message = _ended(ended), str(ended.get("message", ""))
        return _progressing(reason, message, str(ended.get("finishedAt", "")))
    if reason in _QUIET:
        return None
    if reason in _PULLS:
        lowered = message.lower()
        terminal = any(words in lowered for words in _KNOWN_BAD_PULL)
    elif reason == "CrashLoopBackOff":
        terminal = int(status.get("restartCount", 0)) >= CRASHES
        message = f"{message}; {_ended(before)}" if before else message
    else:
        terminal = reason in _TERMINAL
    return ObjectHealth(
        health=Health.FAILED if terminal else Health.PROGRESSING,
        reason=reason,
        message=message,
        terminal=terminal,
        since=since,
    )


def _ended(state: Body) -> str:
    reason = str(state.get("reason", "")) or "Error"
    return reason if reason == "OOMKilled" else f"{reason} with exit code {state.get('exitCode')}"


def _progressing(reason: str, message: str, since: str = "") -> ObjectHealth:
    return ObjectHealth(health=Health.PROGRESSING, reason=reason, message=message, since=since)

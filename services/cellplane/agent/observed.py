"""What is seen of one Cell, and what it adds up to.

Keeps of each object how far it is and at which resource version, never the object. Only what
changed is added up again, part by part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from cellplane.agent.health import ObjectHealth
from cellplane.agent.objects import CellState, Result
from cellplane.agent.pods import Pod
from cellplane.agent.reports import CellReport, ObjectReport
from cellplane.agent.rollup import Component, PodSeen, Seen, of_cell, roll_up
from cellplane.cell.condition import Health
from cellplane.cell.manifest import ObjectKey

_CREATE_FAILURES: Final = frozenset({"FailedCreate", "FailedScheduling"})
_LASTING: Final = ("exceeded quota", "is forbidden")
_WAITING: Final = frozenset({"RollingOut", "JobRunning", "NotObserved"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An object as it was seen last."""

    version: int
    uid: str
    state: ObjectHealth
    update_revision: str = ""
    """Of a StatefulSet: the revision that its pods are to be of."""


class Observed:
    """Everything that is seen of one Cell."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.live: dict[ObjectKey, Live] = {}
        self.pods: dict[str, Pod] = {}
        self.log_lines: dict[str, tuple[str, ...]] = {}
        """By uid of the pod."""
        self._replica_sets: dict[str, tuple[str, int]] = {}
        self._warnings: dict[tuple[str, str], tuple[str, str]] = {}
        self._dirty: set[str] = set()
        self._all_dirty = True
        self._components: dict[str, Component] = {}
        self._states: dict[ObjectKey, ObjectReport] = {}
        self._sent: dict[ObjectKey, ObjectReport] = {}
        self._last: CellReport | None = None

    def touch(self, part: str | None = None) -> None:
        """Something of this part changed; or of any, without one."""
        if part is None:
            self._all_dirty = True
        else:
            self._dirty.add(part)

    def pod_seen(self, pod: Pod) -> bool:
        """Keep a pod; whether it changed in what is kept."""
        before = self.pods.get(pod.name)
        if before is not None and before.uid == pod.uid:
            if before.version >= pod.version:
                return False
            pod = _still_known(before, pod)
        if before is not None and before.uid != pod.uid:
            self.log_lines.pop(before.uid, None)
        self.pods[pod.name] = pod
        self.touch(pod.part)
        return before is None or replace(before, version=0) != replace(pod, version=0)

    def pod_gone(self, name: str) -> None:
        """Forget a pod."""
        pod = self.pods.pop(name, None)
        if pod is not None:
            self.log_lines.pop(pod.uid, None)
            self._warnings.pop(("Pod", name), None)
            self.touch(pod.part)

    def replica_set_seen(self, name: str, owner: str, revision: int) -> None:
        """Keep which Deployment a ReplicaSet is of, and the number of its revision."""
        if self._replica_sets.get(name) != (owner, revision):
            self._replica_sets[name] = (owner, revision)
            self._touch_pods(name)

    def replica_set_gone(self, name: str) -> None:
        """Forget a ReplicaSet."""
        if self._replica_sets.pop(name, None) is not None:
            self._touch_pods(name)

    def warned(self, kind: str, name: str, reason: str, message: str) -> None:
        """Keep the last warning about an object."""
        self._warnings[kind, name] = (reason, message)
        pod = self.pods.get(name) if kind == "Pod" else None
        if pod is not None:
            self.touch(pod.part)
        else:
            self.touch()

    def calm(self, kind: str, name: str) -> None:
        """The object went on, so what was warned about may be over."""
        self._warnings.pop((kind, name), None)

    def report(
        self,
        state: CellState,
        failures: Mapping[ObjectKey, Result],
        pending: Collection[ObjectKey],
        *,
        plane: str,
        full: bool,
    ) -> CellReport | None:
        """Say how the Cell is, if it is other than was said last, or *full* is asked for."""
        self._add_up(state, failures, pending, plane)
        health, cause = of_cell(self._components.values())
        # What belongs to the Cell as a whole counts, but is no component.
        components = tuple(c for name, c in sorted(self._components.items()) if name)
        changed = [r for key, r in self._states.items() if full or self._sent.get(key) != r]
        gone = [_gone(r) for key, r in self._sent.items() if key not in self._states]
        report = CellReport(
            cell=state.cell,
            revision=state.revision,
            health=health,
            cause=cause,
            components=components,
            objects=(*changed, *(() if full else gone)),
            full=full,
        )
        last = self._last
        unchanged = last is not None and replace(report, objects=(), full=False) == last
        if unchanged and not full and not report.objects:
            return None
        self._last = replace(report, objects=(), full=False)
        self._sent = dict(self._states)
        return report

    def _add_up(
        self,
        state: CellState,
        failures: Mapping[ObjectKey, Result],
        pending: Collection[ObjectKey],
        plane: str,
    ) -> None:
        if not self._all_dirty and not self._dirty:
            return
        parts: dict[str, list[Seen]] = {}
        for key, wanted in state.objects.items():
            if not self._all_dirty and wanted.part not in self._dirty:
                continue
            failure, live = failures.get(key), self.live.get(key)
            parts.setdefault(wanted.part, []).append(
                Seen(
                    wanted=wanted,
                    applied=key not in pending,
                    state=self._with_warning(key, live.state) if live is not None else None,
                    failure=failure.outcome if failure is not None else None,
                    message=failure.message if failure is not None else "",
                )
            )
        pods: dict[str, list[PodSeen]] = {}
        for pod in self.pods.values():
            if pod.part in parts:
                pods.setdefault(pod.part, []).append(self._pod_seen(pod))
        recounted = set(self._components) if self._all_dirty else self._dirty
        for part in recounted:
            self._components.pop(part, None)
        self._states = {k: r for k, r in self._states.items() if r.part not in recounted}
        for part, seen in parts.items():
            own = pods.get(part, [])
            self._components[part] = roll_up(
                part, seen, own, plane=plane, namespace=self._namespace
            )
            self._states.update(_object_reports(seen, own, self._namespace))
        self._all_dirty = False
        self._dirty.clear()

    def _pod_seen(self, pod: Pod) -> PodSeen:
        owner, current = f"{pod.owner_kind}/{pod.owner}" if pod.owner else "", True
        if pod.owner_kind == "ReplicaSet":
            deployment, revision = self._replica_sets.get(
                pod.owner, (pod.owner.rpartition("-")[0], -1)
            )
            latest = max((n for d, n in self._replica_sets.values() if d == deployment), default=-1)
            owner, current = f"Deployment/{deployment}", revision in (-1, latest)
        elif pod.owner_kind == "StatefulSet":
            key = ObjectKey(
                api_version="apps/v1",
                kind="StatefulSet",
                namespace=self._namespace,
                object=pod.owner,
            )
            live = self.live.get(key)
            wanted = live.update_revision if live is not None else ""
            current = not wanted or pod.revision == wanted
        return PodSeen(
            pod=pod, owner=owner, current=current, log_lines=self.log_lines.get(pod.uid, ())
        )

    def _with_warning(self, key: ObjectKey, state: ObjectHealth) -> ObjectHealth:
        """Say why a controller makes no pods, where only events tell."""
        if state.health is not Health.PROGRESSING or state.reason not in _WAITING:
            return state
        reason, message = self._warnings.get((key.kind, key.object), ("", ""))
        if reason not in _CREATE_FAILURES or not any(words in message for words in _LASTING):
            return state
        name = "QuotaExceeded" if _LASTING[0] in message else reason
        return replace(state, health=Health.FAILED, reason=name, message=message, terminal=True)

    def _touch_pods(self, replica_set: str) -> None:
        for pod in self.pods.values():
            if pod.owner == replica_set:
                self.touch(pod.part)


def _still_known(before: Pod, after: Pod) -> Pod:
    """A pull that was known to be hopeless stays so while the node only says that it waits."""
    pulls = ("ErrImagePull", "ImagePullBackOff")
    if (
        before.state.terminal
        and before.state.reason in pulls
        and after.state.reason in pulls
        and not after.state.terminal
    ):
        state = replace(
            after.state,
            health=Health.FAILED,
            terminal=True,
            message=before.state.message,
            since=before.state.since,
        )
        return replace(after, state=state)
    return after


def _object_reports(
    seen: Iterable[Seen], pods: Iterable[PodSeen], namespace: str
) -> Iterator[tuple[ObjectKey, ObjectReport]]:
    for each in seen:
        state = each.health
        yield (
            each.wanted.key,
            ObjectReport(
                key=each.wanted.key,
                part=each.wanted.part,
                owner="",
                health=state.health,
                reason=state.reason,
                message=state.message,
            ),
        )
    for each_pod in pods:
        key = ObjectKey(api_version="v1", kind="Pod", namespace=namespace, object=each_pod.pod.name)
        state = each_pod.pod.state
        yield (
            key,
            ObjectReport(
                key=key,
                part=each_pod.pod.part,
                owner=each_pod.owner,
                health=state.health,
                reason=state.reason,
                message=state.message,
            ),
        )


def _gone(report: ObjectReport) -> ObjectReport:
    return replace(report, health=Health.UNSPECIFIED, reason="", message="")

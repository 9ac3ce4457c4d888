"""All Cells of the data plane: takes Wants in, and hands what is seen to the Cell that it is of.

A Want is stored whole, or answered with why not. Absence never removes: an object that a Want from
nothing does not name is left where it is, and not looked after any more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from cellplane.agent.admission import CLUSTER_KINDS, refusals
from cellplane.agent.apply import CellWorker
from cellplane.agent.objects import (
    CellState,
    Removal,
    Result,
    Verdict,
    Want,
    Wanted,
    digest_of,
    kinds_of,
)
from cellplane.agent.pods import Pod
from cellplane.agent.reports import Applied, CellReport, Outbox
from cellplane.agent.store import Store
from cellplane.agent.target import Body, Facts, Target
from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.cell.names import namespace_of
from cellplane.runtime.clock import Clock
from cellplane.runtime.linkdigest import root_digest
from cellplane.runtime.tasks import Backoff, Loop

AT_ONCE: Final = 24
"""Objects of all Cells that are written at the same time."""
_PODS: Final = ("v1", "Pod")

# Of objects that are to go and that nobody here has applied.
_PHASES: Final[Mapping[str, Phase]] = {
    "Namespace": Phase.NAMESPACE,
    "NetworkPolicy": Phase.GUARD,
    "CiliumNetworkPolicy": Phase.GUARD,
    "CiliumClusterwideNetworkPolicy": Phase.GUARD,
    "AuthorizationPolicy": Phase.GUARD,
    "PeerAuthentication": Phase.GUARD,
    "ResourceQuota": Phase.GUARD,
    "LimitRange": Phase.GUARD,
    "ServiceAccount": Phase.POLICY,
    "ConfigMap": Phase.CONFIGURATION,
    "PersistentVolumeClaim": Phase.CONFIGURATION,
    "Gateway": Phase.EXPOSURE,
    "HTTPRoute": Phase.EXPOSURE,
    "GRPCRoute": Phase.EXPOSURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to reply to a Want."""

    verdict: Verdict
    stored_revision: int
    results: tuple[Result, ...] = ()


class Cells:
    """Every Cell, by name; the observer of the target."""

    def __init__(
        self,
        *,
        target: Target,
        store: Store,
        outbox: Outbox,
        clock: Clock,
        rng: random.Random,
        plane: Callable[[], str],
    ) -> None:
        self.facts: Facts | None = None
        self._target = target
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._rng = rng
        self._plane = plane
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._workers: dict[str, CellWorker] = {}
        self._by_namespace: dict[str, CellWorker] = {}
        self._strays: dict[str, dict[str, Pod]] = {}
        """Pods of Cells that are not known, or not yet, by namespace."""
        self._departed: dict[str, CellWorker] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._group: asyncio.TaskGroup | None = None
        self._unlisted: set[tuple[str, str]] = set()
        self._log = structlog.get_logger()

    async def load(self) -> None:
        """Take over what is stored; nothing is done before ``run``."""
        states = await self._store.cells()
        for state in states:
            self._add(state)
        kinds = kinds_of(states)
        self._unlisted = kinds | {_PODS} if kinds else set()
        self._target.follow(kinds)
        if not kinds:
            self._unmute()

    async def run(self) -> None:
        """Keep every Cell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for worker in self._workers.values():
                self._start(worker)
            group.create_task(self._target.run(self), name="target")

    # What the session asks for.

    def root_digest(self) -> str:
        """Digest over what is stored."""
        states = [worker.state for worker in self._workers.values()]
        return root_digest((state.cell, state.revision, state.digest) for state in states)

    def inventory(self) -> list[CellState]:
        """What is stored."""
        return [worker.state for worker in self._workers.values()]

    def resend(self, cells: Collection[str] | None = None) -> None:
        """Say everything again: of these Cells, or of all."""
        for cell in list(self._workers) if cells is None else cells:
            if (worker := self._workers.get(cell)) is not None:
                worker.resend()

    def take_applied(self, cell: str) -> Applied | None:
        """What became of objects of a Cell since this was asked last."""
        worker = self._departed.pop(cell, None) or self._workers.get(cell)
        return worker.take_applied() if worker is not None else None

    def take_report(self, cell: str) -> CellReport | None:
        """How a Cell is, if that is news."""
        worker = self._workers.get(cell)
        return worker.take_report() if worker is not None else None

    async def accept(self, want: Want, contents: Mapping[str, bytes]) -> Answer:
        """Store a Want, durably and whole, and start on it; or say why not."""
        async with self._locks.setdefault(want.cell, asyncio.Lock()):
            worker = self._workers.get(want.cell)
            before = worker.state if worker is not None else None
            stored = before.revision if before is not None else 0
            refused = refusals(want, contents)
            if refused:
                self._log.warning("want.rejected", cell=want.cell, why=refused[0].message)
                return Answer(verdict=Verdict.REJECTED, stored_revision=stored, results=refused)
            mismatch = Answer(verdict=Verdict.BASE_MISMATCH, stored_revision=stored)
            if want.base_revision not in (0, stored) or want.revision < stored:
                return mismatch
            state = _next(want, contents, before)
            if state is None:
                self._log.warning("want.incomplete", cell=want.cell, revision=want.revision)
                return mismatch
            await self._save(state, before)
            self._adopt(worker, state)
            return Answer(verdict=Verdict.ACCEPTED, stored_revision=state.revision)

    async def _save(self, state: CellState, before: CellState | None) -> None:
        old = before.objects if before is not None else {}
        changed = [w for key, w in state.objects.items() if old.get(key) is not w]
        dropped = [key for key in old if key not in state.objects]
        left = [key for key in dropped if key not in state.removals]
        if left:
            self._log.warning("objects.left", cell=state.cell, objects=[str(k) for k in left])
        await self._store.save_revision(state, changed=changed, dropped=dropped)

    def _adopt(self, worker: CellWorker | None, state: CellState) -> None:
        self._target.follow(kinds_of([state]))
        self._departed.pop(state.cell, None)
        if worker is not None and not worker.gone.is_set():
            worker.adopt(state)
            return
        fresh = self._add(state)
        fresh.adopt(state)
        self._start(fresh)

    def _add(self, state: CellState) -> CellWorker:
        worker = CellWorker(
            state,
            target=self._target,
            store=self._store,
            outbox=self._outbox,
            slots=self._slots,
            clock=self._clock,
            rng=self._rng,
            plane=self._plane,
        )
        self._workers[state.cell] = worker
        self._by_namespace[state.namespace] = worker
        for pod in self._strays.pop(state.namespace, {}).values():
            worker.pod_seen(pod)
        return worker

    def _start(self, worker: CellWorker) -> None:
        if self._group is not None:
            name = f"cell {worker.state.cell}"
            self._group.create_task(self._keep(worker, name), name=name)

    async def _keep(self, worker: CellWorker, name: str) -> None:
        loop = Loop(
            name=name,
            body=worker.run,
            backoff=Backoff(initial=0.2, maximum=10.0),
            clock=self._clock,
            rng=self._rng,
        )
        await loop.run()
        cell = worker.state.cell
        if self._workers.get(cell) is worker:
            del self._workers[cell]
            self._departed[cell] = worker
            self._by_namespace.pop(worker.state.namespace, None)
            self._outbox.applied_due(cell)

    # What the target tells.

    def object_seen(self, key: ObjectKey, body: Body) -> None:
        """An object is there, new or changed."""
        if (worker := self._of(key)) is not None:
            worker.object_seen(key, body)

    def object_gone(self, key: ObjectKey, version: int) -> None:
        """An object is gone."""
        if (worker := self._of(key)) is not None:
            worker.object_gone(key, version)

    def objects_listed(
        self, api_version: str, kind: str, present: Collection[ObjectKey], version: int
    ) -> None:
        """All of a kind that are there."""
        found = set(present)
        for worker in list(self._workers.values()):
            state = worker.state
            for key in [*state.objects, *state.removals]:
                if (key.api_version, key.kind) == (api_version, kind) and key not in found:
                    worker.object_gone(key, version)
        self._listed((api_version, kind))

    def pod_seen(self, namespace: str, pod: Pod) -> None:
        """A pod is there, new or changed."""
        if (worker := self._by_namespace.get(namespace)) is not None:
            worker.pod_seen(pod)
        else:
            self._strays.setdefault(namespace, {})[pod.name] = pod

    def pod_gone(self, namespace: str, name: str, version: int) -> None:
        """A pod is gone."""
        worker = self._by_namespace.get(namespace)
        if worker is None:
            self._strays.get(namespace, {}).pop(name, None)
            return
        pod = worker.observed.pods.get(name)
        if pod is not None and pod.version <= version:
            worker.observed.pod_gone(name)
            worker.changed()

    def pods_listed(self, present: Collection[tuple[str, str]]) -> None:
        """All pods that are there."""
        found = set(present)
        for namespace, worker in self._by_namespace.items():
            for name in list(worker.observed.pods):
                if (namespace, name) not in found:
                    worker.observed.pod_gone(name)
                    worker.changed()
        self._listed(_PODS)

    def replica_set_seen(self, namespace: str, name: str, owner: str, revision: int) -> None:
        """A ReplicaSet of a Deployment is there."""
        if (worker := self._by_namespace.get(namespace)) is not None:
            worker.observed.replica_set_seen(name, owner, revision)
            worker.changed()

    def replica_set_gone(self, namespace: str, name: str) -> None:
        """A ReplicaSet is gone."""
        if (worker := self._by_namespace.get(namespace)) is not None:
            worker.observed.replica_set_gone(name)

    def warned(self, namespace: str, kind: str, name: str, reason: str, message: str) -> None:
        """The cluster warns about an object."""
        if (worker := self._by_namespace.get(namespace)) is not None:
            worker.observed.warned(kind, name, reason, message)
            worker.changed()

    def facts_changed(self, facts: Facts) -> None:
        """The target is or has something else than before."""
        self.facts = facts
        self._outbox.facts_due()

    def apis_changed(self) -> None:
        """The target serves other APIs than before."""
        for worker in self._workers.values():
            worker.try_again()

    def _of(self, key: ObjectKey) -> CellWorker | None:
        if not key.namespace and key.kind in CLUSTER_KINDS:
            return next((w for w in self._workers.values() if key in w.state.objects), None)
        return self._by_namespace.get(key.namespace or key.object)

    def _listed(self, kind: tuple[str, str]) -> None:
        if kind in self._unlisted:
            self._unlisted.discard(kind)
            if not self._unlisted:
                self._unmute()

    def _unmute(self) -> None:
        for worker in self._workers.values():
            worker.unmute()


def _next(want: Want, contents: Mapping[str, bytes], before: CellState | None) -> CellState | None:
    """The state that a Want leads to; ``None`` if it does not fit what is stored."""
    namespace = namespace_of(want.cell)
    if namespace is None or (want.namespace and want.namespace != namespace):
        return None
    old = before.objects if before is not None else {}
    objects = dict(old) if want.base_revision and before is not None else {}
    removals = dict(before.removals) if before is not None else {}
    for key in want.removals:
        objects.pop(key, None)
        removals[key] = _removal(key, old.get(key))
    for named in want.objects:
        wanted = _wanted(named.key, named.phase, named.part, named.digest, contents, old)
        if wanted is None:
            return None
        objects[named.key] = wanted
        removals.pop(named.key, None)
    if digest_of(objects) != want.digest:
        return None
    fresh = CellState(cell=want.cell, namespace=namespace)
    return replace(
        before if before is not None else fresh,
        revision=want.revision,
        digest=want.digest,
        removed=want.removed,
        objects=objects,
        removals=removals,
    )


def _wanted(
    key: ObjectKey,
    phase: Phase,
    part: str,
    digest: str,
    contents: Mapping[str, bytes],
    old: Mapping[ObjectKey, Wanted],
) -> Wanted | None:
    known = old.get(key)
    if known is not None and known.digest == digest:
        if (known.phase, known.part) == (phase, part):
            return known
        return replace(known, phase=phase, part=part)
    content = contents.get(digest)
    if content is None:
        return None
    return Wanted(key=key, phase=phase, part=part, digest=digest, content=content)


def _removal(key: ObjectKey, known: Wanted | None) -> Removal:
    if known is not None:
        return Removal(key=key, phase=known.phase, part=known.part)
    return Removal(key=key, phase=_PHASES.get(key.kind, Phase.WORKLOAD), part="")

"""What an agent watches in a cluster: its own objects, their pods, nodes, warnings and new APIs.

A kind is watched from the first time that something of it is wanted. What the cluster does not
serve is looked for again when its schemas change.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Any, Final

import structlog

from cellplane.agent import facts, pods
from cellplane.agent.facts import Amounts, Node
from cellplane.agent.target import Facts, Observer, version_of
from cellplane.cell import labels
from cellplane.cell.manifest import ObjectKey
from cellplane.kube.client import KubeClient, Object
from cellplane.kube.discovery import (
    EVENTS,
    NODES,
    PODS,
    REPLICA_SETS,
    SCHEMAS,
    Discovery,
    Resource,
)
from cellplane.kube.errors import ApiFailure
from cellplane.kube.watch import Change, Changed, Listed, Selection, watch
from cellplane.runtime.clock import Clock
from cellplane.runtime.tasks import Backoff

Kind = tuple[str, str]
Describe = Callable[[Iterable[Node], Amounts, Amounts], Facts]

_SETTLE: Final = 0.3
"""Seconds that facts wait for more of them."""
_LOOK_AGAIN: Final = 2.0
"""Least seconds between two looks at what is served."""
_OTHERS: Final = "Others"
_ON_A_NODE: Final = "spec.nodeName!="
_REVISION: Final = "deployment.kubernetes.io/revision"


class Watches:
    """The watches on one cluster."""

    def __init__(
        self,
        client: KubeClient,
        discovery: Discovery,
        *,
        describe: Describe,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """``describe(nodes, Cells' requests, others' requests)`` makes facts of what is seen."""
        self._client = client
        self._discovery = discovery
        self._describe = describe
        self._clock = clock
        self._rng = rng
        self._kinds: set[Kind] = set()
        self._followed: set[Kind] = set()
        self._more = asyncio.Event()
        self._looking = asyncio.Lock()
        self._looked = -_LOOK_AGAIN
        self._nodes: dict[str, Node] = {}
        self._requests: dict[tuple[str, str], Amounts] = {}
        """What the pods of Cells request."""
        self._others: dict[tuple[str, str], Amounts] = {}
        """What all other pods request that have a node."""
        self._stale = asyncio.Event()
        self._known = {NODES.kind: False, PODS.kind: False, _OTHERS: False}
        self._log = structlog.get_logger()

    def follow(self, kinds: Collection[Kind]) -> None:
        """Watch these kinds, too."""
        if not self._kinds.issuperset(kinds):
            self._kinds |= set(kinds)
            self._more.set()

    async def resource(self, api_version: str, kind: str) -> Resource | None:
        """A kind as it is served, if it is; looks again at most every two seconds."""
        found = self._discovery.find(api_version, kind)
        if found is not None:
            return found
        async with self._looking:
            if self._clock.monotonic() - self._looked >= _LOOK_AGAIN:
                await self._discovery.refresh()
                self._looked = self._clock.monotonic()
        return self._discovery.find(api_version, kind)

    async def run(self, observer: Observer) -> None:
        """Watch until cancelled."""
        await self._first_look()
        async with asyncio.TaskGroup() as group:
            for body in (
                self._watch_pods(observer),
                self._watch_other_pods(),
                self._watch_replica_sets(observer),
                self._watch_warnings(observer),
                self._watch_nodes(),
                self._watch_schemas(observer),
                self._describe_often(observer),
            ):
                group.create_task(body)
            while True:
                self._more.clear()
                for kind in sorted(self._kinds - self._followed):
                    await self._start(group, observer, kind)
                await self._more.wait()

    async def _first_look(self) -> None:
        backoff, attempt = Backoff(initial=0.2, maximum=5.0), 0
        while True:
            try:
                await self._discovery.refresh()
            except ApiFailure as failure:
                if attempt == 0:
                    self._log.warning("discovery.failed", error=failure.message)
                await self._clock.sleep(backoff.delay(attempt, self._rng))
                attempt += 1
            else:
                self._looked = self._clock.monotonic()
                return

    async def _start(self, group: asyncio.TaskGroup, observer: Observer, kind: Kind) -> None:
        try:
            resource = await self.resource(*kind)
        except ApiFailure:
            resource = None
        if resource is None:
            # Nothing of it is there; a change of the schemas looks again.
            observer.objects_listed(*kind, (), 0)
            return
        self._followed.add(kind)
        group.create_task(self._watch_objects(observer, resource), name=f"watch {kind}")

    def _events(self, selection: Selection) -> AsyncIterator[Listed | Changed]:
        return watch(self._client, selection, clock=self._clock, rng=self._rng)

    async def _watch_objects(self, observer: Observer, resource: Resource) -> None:
        selection = Selection(resource=resource, labels=labels.CELL)
        async for event in self._events(selection):
            if isinstance(event, Changed):
                key = _key(event.body, resource)
                if event.change is Change.DELETED:
                    observer.object_gone(key, version_of(event.body))
                else:
                    observer.object_seen(key, _typed(event.body, resource))
                continue
            present: list[ObjectKey] = []
            for body in event.items:
                present.append(_key(body, resource))
                observer.object_seen(present[-1], _typed(body, resource))
            observer.objects_listed(resource.api_version, resource.kind, present, event.version)

    async def _watch_pods(self, observer: Observer) -> None:
        async for event in self._events(Selection(resource=PODS, labels=labels.CELL)):
            bodies = event.items if isinstance(event, Listed) else (event.body,)
            if isinstance(event, Listed):
                self._requests.clear()
            for body in bodies:
                where = (str(body["metadata"]["namespace"]), str(body["metadata"]["name"]))
                if isinstance(event, Changed) and event.change is Change.DELETED:
                    observer.pod_gone(*where, version_of(body))
                    self._requests.pop(where, None)
                else:
                    pod = pods.read(body)
                    observer.pod_seen(where[0], pod)
                    self._requests[where] = facts.requested(body)
            if isinstance(event, Listed):
                observer.pods_listed(list(self._requests))
                self._known[PODS.kind] = True
            self._stale.set()

    async def _watch_other_pods(self) -> None:
        selection = Selection(resource=PODS, labels=f"!{labels.CELL}", fields=_ON_A_NODE)
        async for event in self._events(selection):
            bodies = event.items if isinstance(event, Listed) else (event.body,)
            if isinstance(event, Listed):
                self._others.clear()
                self._known[_OTHERS] = True
            for body in bodies:
                where = (str(body["metadata"]["namespace"]), str(body["metadata"]["name"]))
                if isinstance(event, Changed) and event.change is Change.DELETED:
                    self._others.pop(where, None)
                else:
                    self._others[where] = facts.requested(body)
            self._stale.set()

    async def _watch_replica_sets(self, observer: Observer) -> None:
        selection = Selection(resource=REPLICA_SETS, labels=labels.CELL, metadata_only=True)
        async for event in self._events(selection):
            bodies = event.items if isinstance(event, Listed) else (event.body,)
            for body in bodies:
                metadata = body["metadata"]
                where = (str(metadata["namespace"]), str(metadata["name"]))
                if isinstance(event, Changed) and event.change is Change.DELETED:
                    observer.replica_set_gone(*where)
                    continue
                owner = next(
                    (
                        o["name"]
                        for o in metadata.get("ownerReferences") or ()
                        if o.get("controller")
                    ),
                    "",
                )
                number = str((metadata.get("annotations") or {}).get(_REVISION, ""))
                observer.replica_set_seen(*where, owner, int(number) if number.isdecimal() else -1)

    async def _watch_warnings(self, observer: Observer) -> None:
        async for event in self._events(Selection(resource=EVENTS, fields="type=Warning")):
            # Those from before may be over long ago.
            if isinstance(event, Listed) or event.change is Change.DELETED:
                continue
            about: Any = event.body.get("involvedObject") or {}
            observer.warned(
                str(about.get("namespace", "")),
                str(about.get("kind", "")),
                str(about.get("name", "")),
                str(event.body.get("reason", "")),
                str(event.body.get("message", "")),
            )

    async def _watch_nodes(self) -> None:
        async for event in self._events(Selection(resource=NODES)):
            if isinstance(event, Listed):
                self._nodes = {b["metadata"]["name"]: facts.read_node(b) for b in event.items}
                self._known[NODES.kind] = True
            elif event.change is Change.DELETED:
                self._nodes.pop(event.body["metadata"]["name"], None)
            else:
                self._nodes[event.body["metadata"]["name"]] = facts.read_node(event.body)
            self._stale.set()

    async def _watch_schemas(self, observer: Observer) -> None:
        seen: dict[str, int] = {}
        async for event in self._events(Selection(resource=SCHEMAS, metadata_only=True)):
            if isinstance(event, Listed):
                seen = {b["metadata"]["name"]: _generation(b) for b in event.items}
            elif event.change is not Change.DELETED:
                name, generation = event.body["metadata"]["name"], _generation(event.body)
                if seen.get(name) == generation:
                    continue
                seen[name] = generation
            # Served a moment after it is written.
            await self._clock.sleep(_SETTLE)
            try:
                changed = await self._discovery.refresh()
            except ApiFailure as failure:
                self._log.warning("discovery.failed", error=failure.message)
                continue
            if changed:
                self._stale.set()
                self._more.set()
                observer.apis_changed()

    async def _describe_often(self, observer: Observer) -> None:
        before: Facts | None = None
        while True:
            await self._stale.wait()
            await self._clock.sleep(_SETTLE)
            self._stale.clear()
            if not all(self._known.values()):
                continue
            cells = facts.total(self._requests.values())
            others = facts.total(self._others.values())
            now = self._describe(self._nodes.values(), cells, others)
            if now != before:
                before = now
                observer.facts_changed(now)


def _key(body: Object, resource: Resource) -> ObjectKey:
    metadata = body["metadata"]
    return ObjectKey(
        api_version=resource.api_version,
        kind=resource.kind,
        namespace=str(metadata.get("namespace", "")),
        object=str(metadata["name"]),
    )


def _typed(body: Object, resource: Resource) -> Object:
    """Items of a list do not say what they are."""
    body.setdefault("apiVersion", resource.api_version)
    body.setdefault("kind", resource.kind)
    return body


def _generation(body: Object) -> int:
    return int(body["metadata"].get("generation", 0))

"""The target that is a Kubernetes cluster: writes by server-side apply, and watches what it wrote.

One watch for each kind that is applied, by the label that every object of a Cell carries; without a
change there is neither a list nor a write.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import structlog

from cellplane.agent import drift, facts, health
from cellplane.agent.health import ObjectHealth
from cellplane.agent.objects import Outcome, Wanted
from cellplane.agent.target import Attempt, Body, Observer, Prior, Removed, version_of
from cellplane.agent.watches import Watches
from cellplane.cell import labels
from cellplane.cell.manifest import ObjectKey
from cellplane.cell.plane import Enforcement
from cellplane.kube.client import METADATA_LIST, KubeClient
from cellplane.kube.discovery import NAMESPACES, PODS, Discovery, Resource
from cellplane.kube.errors import ApiFailure, Failure
from cellplane.runtime.clock import Clock

MANAGER: Final = "cellplane"
_LOG_LINES: Final = 20
_CONTROLLERS: Final = frozenset({"Deployment", "StatefulSet", "Job", "CronJob"})
_FEW: Final = 2
_SHOWN: Final = 5
_CLAIM: Final = "PersistentVolumeClaim"
_OUTCOMES: Final[Mapping[Failure, Outcome]] = {
    Failure.CONFLICT: Outcome.CONFLICT,
    Failure.FORBIDDEN: Outcome.FORBIDDEN,
    Failure.INVALID: Outcome.INVALID,
}
_TERMINATING: Final = "because it is being terminated"


class ClusterTarget:
    """A cluster that Cells are kept in."""

    exact = False

    def __init__(
        self,
        client: KubeClient,
        *,
        enforcement: Enforcement,
        capabilities: Collection[str],
        labels: Mapping[str, str],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """``capabilities`` are what people say that it can do, beside what its APIs show."""
        self._client = client
        self._discovery = Discovery(client)
        self._controlled = enforcement in (Enforcement.ENFORCING, Enforcement.UNSPECIFIED)
        self._watches = Watches(
            client,
            self._discovery,
            describe=lambda nodes, cells, others: facts.facts_of(
                nodes,
                version=self._discovery.version,
                capabilities=(*facts.capabilities_of(self._discovery.apis), *capabilities),
                enforcement=enforcement,
                labels=labels,
                cells=cells,
                others=others,
            ),
            clock=clock,
            rng=rng,
        )
        self._log = structlog.get_logger()

    async def uid(self) -> str:
        """UID of ``kube-system``, which lives as long as the cluster."""
        found = await self._client.get(NAMESPACES.path("", "kube-system"))
        return str(found["metadata"]["uid"])

    async def run(self, observer: Observer) -> None:
        """Tell the observer what happens, until cancelled."""
        await self._watches.run(observer)

    def follow(self, kinds: Collection[tuple[str, str]]) -> None:
        """Watch these kinds, too."""
        self._watches.follow(kinds)

    def health(self, body: Body) -> ObjectHealth:
        """How far an object is."""
        return health.assess(body, controlled=self._controlled)

    async def prior(self, cell: str, wanted: Sequence[Wanted]) -> Mapping[ObjectKey, Prior]:
        """Look what is there: one list for many of a kind, without their contents."""
        by_kind: dict[tuple[str, str, str], list[Wanted]] = {}
        for each in wanted:
            key = each.key
            by_kind.setdefault((key.api_version, key.kind, key.namespace), []).append(each)
        found: dict[ObjectKey, Prior] = {}
        looks = [self._look(cell, group) for group in by_kind.values()]
        for answer in await asyncio.gather(*looks):
            found |= answer
        return found

    async def apply(self, wanted: Wanted, *, force: bool, before: int) -> Attempt:
        """Server-side apply, with one field manager."""
        key = wanted.key
        try:
            resource = await self._resource(key)
            if resource is None:
                return _not_served(key)
            written = await self._client.apply(
                resource.path(key.namespace, key.object),
                wanted.content,
                manager=MANAGER,
                force=force,
            )
        except ApiFailure as failure:
            return _attempt(failure, force=force)
        live = _typed(written.body, resource)
        if written.created:
            return Attempt(outcome=Outcome.CREATED, live=live)
        same = before != 0 and version_of(live) == before
        return Attempt(outcome=Outcome.SAME if same else Outcome.CHANGED, live=live)

    async def replace(self, wanted: Wanted, live: Body) -> Attempt:
        """Put an object in place of the one that was seen, without what is not ours."""
        key = wanted.key
        manifest = drift.parse(wanted.content)
        seen = live.get("metadata", {}).get("resourceVersion", "")
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": seen},
            {"op": "replace", "path": "/spec", "value": manifest.get("spec", {})},
        ]
        try:
            resource = await self._resource(key)
            if resource is None:
                return _not_served(key)
            path = resource.path(key.namespace, key.object)
            written = await self._client.patch(path, operations, manager=MANAGER)
        except ApiFailure as failure:
            # Somebody changed it in between: what they made of it is seen in a moment.
            return Attempt(outcome=Outcome.FAILED, message=failure.message)
        return Attempt(outcome=Outcome.CHANGED, live=_typed(written.body, resource))

    async def remove(self, cell: str, key: ObjectKey) -> tuple[Removed, str]:
        """Delete an object of this Cell; pods go before the controller that keeps them."""
        try:
            resource = await self._resource(key)
            if resource is None:
                return Removed.GONE, ""
            path = resource.path(key.namespace, key.object)
            metadata = (await self._client.get(path))["metadata"]
            if _owner(metadata) != cell:
                return Removed.NOT_OURS, f"{key} is not of this Cell: left alone"
            if metadata.get("deletionTimestamp"):
                return Removed.GOING, ""
            if kept := await self._holds_data(key):
                return Removed.KEPT, kept
            gone = await self._client.delete(
                path,
                uid=metadata["uid"],
                propagation="Foreground" if key.kind in _CONTROLLERS else "Background",
            )
        except ApiFailure as failure:
            if failure.kind is Failure.NOT_FOUND:
                return Removed.GONE, ""
            return Removed.FAILED, failure.message
        return (Removed.GONE if gone else Removed.GOING), ""

    async def _holds_data(self, key: ObjectKey) -> str:
        """Why an object is not deleted by anybody but a person; empty if it may be."""
        if key.kind == _CLAIM:
            return f"{key} holds data: it is kept; delete it by hand if nobody needs that"
        if key.kind != "Namespace":
            return ""
        path = f"/api/v1/namespaces/{key.object}/persistentvolumeclaims"
        claims = (await self._client.get(path)).get("items") or ()
        if not claims:
            return ""
        names = ", ".join(sorted(str(c["metadata"]["name"]) for c in claims)[:_SHOWN])
        return f"{key} holds the data of {names}: it is kept; delete it by hand if nobody needs it"

    async def log_lines(self, namespace: str, pod: str, container: str) -> tuple[str, ...]:
        """The last lines of the container before it was started again."""
        params = {"previous": "true", "tailLines": str(_LOG_LINES), "limitBytes": "16384"}
        if container:
            params["container"] = container
        try:
            text = await self._client.get_text(f"{PODS.path(namespace, pod)}/log", params=params)
        except ApiFailure:
            return ()
        return tuple(text.splitlines()[-_LOG_LINES:])

    async def _look(self, cell: str, group: Sequence[Wanted]) -> dict[ObjectKey, Prior]:
        try:
            resource = await self._resource(group[0].key)
            if resource is None:
                return {wanted.key: Prior.ABSENT for wanted in group}
            names = await self._names(resource, group)
            return {
                wanted.key: (
                    await self._whose(cell, wanted, resource)
                    if names is None or wanted.key.object in names
                    else Prior.ABSENT
                )
                for wanted in group
            }
        except ApiFailure as failure:
            self._log.warning("prior.failed", kind=group[0].key.kind, error=failure.message)
            return {}

    async def _names(self, resource: Resource, group: Sequence[Wanted]) -> set[str] | None:
        """Names that are there; ``None`` if it is cheaper to look at each."""
        if len(group) <= _FEW or not group[0].key.namespace:
            return None
        answer = await self._client.get(resource.path(group[0].key.namespace), accept=METADATA_LIST)
        return {str(item["metadata"]["name"]) for item in answer.get("items") or ()}

    async def _whose(self, cell: str, wanted: Wanted, resource: Resource) -> Prior:
        key = wanted.key
        try:
            live = await self._client.get(resource.path(key.namespace, key.object))
        except ApiFailure as failure:
            if failure.kind is Failure.NOT_FOUND:
                return Prior.ABSENT
            raise
        owner = _owner(live["metadata"])
        if owner:
            return Prior.OURS if owner == cell else Prior.TAKEN
        manifest = drift.parse(wanted.content)
        manifest.pop("metadata", None)
        same = not drift.differences(manifest, _typed(live, resource))
        # A namespace or a service account says nothing by itself, so nothing can be identical.
        return Prior.OURS if same and set(manifest) - {"apiVersion", "kind"} else Prior.TAKEN

    async def _resource(self, key: ObjectKey) -> Resource | None:
        return await self._watches.resource(key.api_version, key.kind)


def _attempt(failure: ApiFailure, *, force: bool) -> Attempt:
    outcome = _OUTCOMES.get(failure.kind, Outcome.FAILED)
    passing = _TERMINATING in failure.message or (outcome is Outcome.CONFLICT and force)
    return Attempt(
        outcome=Outcome.FAILED if passing else outcome,
        message=failure.message,
        retry_after=failure.retry_after,
    )


def _not_served(key: ObjectKey) -> Attempt:
    message = f"cluster does not serve {key.kind} of {key.api_version}: install it"
    return Attempt(outcome=Outcome.INVALID, message=message)


def _typed(body: dict[str, Any], resource: Resource) -> dict[str, Any]:
    body.setdefault("apiVersion", resource.api_version)
    body.setdefault("kind", resource.kind)
    return body


def _owner(metadata: Mapping[str, Any]) -> str:
    return str((metadata.get("annotations") or {}).get(labels.OWNER, ""))

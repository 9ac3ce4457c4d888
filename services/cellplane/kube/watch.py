"""List once, then be told: a watch that never ends and loses nothing.

First all that there is (``Listed``), then each change (``Changed``). When the server no longer
knows the resource version, the whole is listed again, and whoever compares the two sees what was
missed. Bookmarks keep the version fresh, so that a quiet watch is renewed without a list.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import structlog

from cellplane.kube.client import JSON, METADATA, METADATA_LIST, KubeClient, Object
from cellplane.kube.discovery import Resource
from cellplane.kube.errors import ApiFailure, Failure
from cellplane.runtime.clock import Clock
from cellplane.runtime.tasks import Backoff

_PAGE: Final = "500"
_LEAST_SECONDS: Final = 300
_FORBIDDEN: Final = 600.0
"""Seconds until it is looked whether somebody allowed it."""
_BACKOFF: Final = Backoff(initial=0.2, maximum=15.0)


class Change(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """All objects that there are; what is not among them is gone."""

    items: tuple[Object, ...]
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One object that changed; as it was last, if it was deleted."""

    change: Change
    body: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to watch."""

    resource: Resource
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False

    def params(self) -> dict[str, str]:
        """The selectors as parameters of a request."""
        params: dict[str, str] = {}
        if self.labels:
            params["labelSelector"] = self.labels
        if self.fields:
            params["fieldSelector"] = self.fields
        return params


async def watch(
    client: KubeClient, selection: Selection, *, clock: Clock, rng: random.Random
) -> AsyncIterator[Listed | Changed]:
    """Follow a selection until cancelled. Failures are waited out, with growing pauses."""
    log = structlog.get_logger().bind(kind=selection.resource.kind)
    version = ""
    failures = 0
    while True:
        try:
            if not version:
                items, version = await _list(client, selection)
                yield Listed(items=tuple(items), version=_number(version))
            async for body in _follow(client, selection, version, rng):
                failures = 0
                version = body["object"]["metadata"]["resourceVersion"]
                if body["type"] != "BOOKMARK":
                    yield Changed(change=Change(body["type"]), body=body["object"])
        except ApiFailure as failure:
            if failure.kind is Failure.EXPIRED:
                version = ""
                continue
            # A server that is only starting says so once for each kind.
            if failures == (1 if failure.kind is Failure.TOO_MANY else 0):
                log.warning("watch.failed", error=failure.message)
            delay = max(_BACKOFF.delay(failures, rng), failure.retry_after)
            if failure.kind is Failure.FORBIDDEN:
                delay = _FORBIDDEN * rng.uniform(0.5, 1.0)
            failures += 1
            await clock.sleep(delay)


async def _list(client: KubeClient, selection: Selection) -> tuple[list[Object], str]:
    accept = METADATA_LIST if selection.metadata_only else JSON
    params = selection.params() | {"limit": _PAGE}
    items: list[Object] = []
    while True:
        page = await client.get(selection.resource.path(), params=params, accept=accept)
        items += page.get("items") or ()
        metadata: Mapping[str, Any] = page.get("metadata", {})
        if not metadata.get("continue"):
            return items, str(metadata["resourceVersion"])
        params["continue"] = str(metadata["continue"])


async def _follow(
    client: KubeClient, selection: Selection, version: str, rng: random.Random
) -> AsyncIterator[Object]:
    params = selection.params() | {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        # Different ends, so that a hundred watches are not renewed at the same time.
        "timeoutSeconds": str(rng.randint(_LEAST_SECONDS, 2 * _LEAST_SECONDS)),
    }
    accept = METADATA if selection.metadata_only else JSON
    async with client.stream(selection.resource.path(), params=params, accept=accept) as lines:
        async for line in lines:
            try:
                event: Object = json.loads(line)
            except ValueError as error:
                raise ApiFailure(Failure.UNAVAILABLE, "watch broke off in a line") from error
            if event.get("type") == "ERROR":
                raise _status(event.get("object") or {})
            yield event


def _status(body: Mapping[str, Any]) -> ApiFailure:
    expired = body.get("code") == 410 or body.get("reason") in ("Expired", "Gone")
    kind = Failure.EXPIRED if expired else Failure.UNAVAILABLE
    return ApiFailure(kind, str(body.get("message", "watch failed")))


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0

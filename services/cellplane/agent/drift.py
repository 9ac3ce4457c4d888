"""PURE: how a live object differs from what was written.

Only fields of the manifest count, as the server adds defaults and others own the rest. Lists are
compared by their merge keys where server-side apply merges them, else as a whole. Of policies,
every field of ``spec`` counts (*strict*): a field too many opens a hole. What the server itself
made of a write is the ``residual`` of that write, and no drift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellplane.agent import quantity

_TCP: Final = "TCP"
_MERGED_GROUPS: Final = frozenset({"", "apps", "batch"})
_MERGE_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "env": (("name",),),
    "volumes": (("name",),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "imagePullSecrets": (("name",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
}
_QUANTITIES: Final = frozenset({"limits", "requests", "hard", "capacity"})
_SERVERS: Final = frozenset({"/metadata/uid", "/metadata/resourceVersion"})
_IGNORED: Final = frozenset({"status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that is other than it was written. ``live`` is ``None`` where it is absent."""

    pointer: str
    live: list[Any] | None


def differences(
    manifest: Mapping[str, Any],
    live: Mapping[str, Any],
    *,
    strict: bool = False,
    exact: bool = False,
    residual: Mapping[str, list[Any] | None] | None = None,
) -> tuple[Difference, ...]:
    """Find what differs, but for what *residual* explains.

    Args:
        manifest: The object as it was written.
        live: The object as it is.
        strict: Whether fields of ``spec`` that were not written count.
        exact: Whether all fields that were not written count.
        residual: What the server made of the write.
    """
    api_version = str(manifest.get("apiVersion", ""))
    group = api_version.rpartition("/")[0]
    merge = _merge_keys(group)
    known = residual or {}
    found: list[Difference] = []
    for name, ours in manifest.items():
        if name in _IGNORED:
            continue
        step = _Step(strict=exact or (strict and name == "spec"), merge=merge)
        if name not in live:
            found.append(Difference(pointer=f"/{_escape(name)}", live=None))
            continue
        found += _compare(ours, live[name], f"/{_escape(name)}", name, step)
    if exact:
        found += [
            Difference(pointer=f"/{_escape(name)}", live=[live[name]])
            for name in sorted(set(live) - set(manifest))
        ]
        found = [d for d in found if d.pointer not in _SERVERS]
    return tuple(d for d in found if d.pointer not in known or known[d.pointer] != d.live)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    strict: bool
    merge: Callable[[str], tuple[tuple[str, ...], ...]]


def parse(content: bytes) -> dict[str, Any]:
    """Read a manifest."""
    body: dict[str, Any] = json.loads(content)
    return body


def _compare(ours: Any, live: Any, pointer: str, name: str, step: _Step) -> Iterator[Difference]:
    if isinstance(ours, Mapping) and isinstance(live, Mapping):
        yield from _compare_maps(ours, live, pointer, name, step)
    elif isinstance(ours, Sequence) and isinstance(live, Sequence) and not isinstance(ours, str):
        yield from _compare_lists(ours, live, pointer, name, step)
    elif ours != live and not (ours is None and live in ({}, [], "")):
        yield Difference(pointer=pointer, live=[live])


def _compare_maps(
    ours: Mapping[str, Any], live: Mapping[str, Any], pointer: str, name: str, step: _Step
) -> Iterator[Difference]:
    for key, value in ours.items():
        where = f"{pointer}/{_escape(key)}"
        if key not in live:
            if value is not None:
                yield Difference(pointer=where, live=None)
        elif name in _QUANTITIES:
            if value != live[key] and _unequal_quantities(value, live[key]):
                yield Difference(pointer=where, live=[live[key]])
        else:
            yield from _compare(value, live[key], where, key, step)
    if step.strict:
        for key in sorted(set(live) - set(ours)):
            yield Difference(pointer=f"{pointer}/{_escape(key)}", live=[live[key]])


def _compare_lists(
    ours: Sequence[Any], live: Sequence[Any], pointer: str, name: str, step: _Step
) -> Iterator[Difference]:
    for keys in step.merge(name):
        mine, theirs = _by_key(ours, keys), _by_key(live, keys)
        if mine is None or theirs is None:
            continue
        for index, (key, value) in enumerate(mine.items()):
            where = f"{pointer}/{index}"
            if key not in theirs:
                yield Difference(pointer=where, live=None)
            else:
                yield from _compare(value, theirs[key], where, name, step)
        return
    if len(ours) != len(live):
        yield Difference(pointer=pointer, live=[live])
        return
    for index, (value, other) in enumerate(zip(ours, live, strict=True)):
        yield from _compare(value, other, f"{pointer}/{index}", name, step)


def _by_key(items: Sequence[Any], keys: tuple[str, ...]) -> dict[tuple[Any, ...], Any] | None:
    found: dict[tuple[Any, ...], Any] = {}
    for item in items:
        if not isinstance(item, Mapping) or keys[0] not in item:
            return None
        found[tuple(item.get(key, _TCP if key == "protocol" else "") for key in keys)] = item
    return found if len(found) == len(items) else None


def _merge_keys(group: str) -> Callable[[str], tuple[tuple[str, ...], ...]]:
    if group in _MERGED_GROUPS:
        return lambda name: _MERGE_KEYS.get(name, ())
    if group == "gateway.networking.k8s.io":
        return lambda name: (("name",),) if name == "listeners" else ()
    return lambda _name: ()


def _unequal_quantities(one: object, other: object) -> bool:
    first, second = quantity.parse(one), quantity.parse(other)
    return first is None or first != second


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")

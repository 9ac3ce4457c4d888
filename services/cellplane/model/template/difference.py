"""In which fields two objects differ, by places that stay what they are when lists grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cellplane.model.template.functions import canonical
from cellplane.model.template.pointer import ByKey, Place, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field; a value is JSON, and empty where there is none."""

    path: str
    old: str = ""
    new: str = ""


def differences(old: Any, new: Any, place: Place = ()) -> Iterator[Difference]:
    """Every field that differs, outermost first, in an order of its own."""
    if old == new and type(old) is type(new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _keyed(old, new, place)
        return
    before, after = _by_name(old), _by_name(new)
    if before is not None and after is not None:
        yield from _keyed(before, after, place)
        return
    yield Difference(path=write(place) or "/", old=canonical(old), new=canonical(new))


def _keyed(old: dict[str, Any], new: dict[str, Any], place: Place) -> Iterator[Difference]:
    for key in sorted(old.keys() | new.keys()):
        own = (*place, key)
        if key not in new:
            yield Difference(path=write(own), old=canonical(old[key]))
        elif key not in old:
            yield Difference(path=write(own), new=canonical(new[key]))
        else:
            yield from differences(old[key], new[key], own)


def _by_name(value: Any) -> dict[str, Any] | None:
    """A list of named items, each name once, as a map."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    names = [item.get("name") for item in value]
    if not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        return None
    return {str(ByKey("name", n)): item for n, item in zip(names, value, strict=True)}

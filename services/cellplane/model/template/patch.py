"""Patches of several traits on one object, without an order among them.

Every patch is planned against the object as its type made it: what it writes, and where. Only then
is anything written, so that the result does not depend on who comes first; and two traits that
write one place, or one inside of the other's, are told so instead of one of them losing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cellplane.cell.definition import PatchAction
from cellplane.model.template.pointer import (
    APPEND,
    ByKey,
    Place,
    Step,
    canonical_step,
    index_of,
    is_protected,
    overlap,
    read_pointer,
    write,
)
from cellplane.model.template.syntax import Wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One thing that a patch does to an object."""

    place: Place
    action: PatchAction
    """``REPLACE`` also creates; ``ADD`` appends to a list."""
    value: Any = None
    by: str = ""
    """The instance of the trait."""
    where: str = ""
    """Path of the operation in the trait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two writes that cannot both be."""

    one: Write
    other: Write


def plan_operation(
    body: dict[str, Any], action: PatchAction, pointer: str, value: Any, *, by: str, where: str
) -> Write:
    """Plan one operation. Raises ``Wrong`` where the object has no such place."""
    steps = read_pointer(pointer)
    place, parent, last = _locate(body, steps, creates=action is PatchAction.ADD)
    if isinstance(parent, list) and last == APPEND:
        if action is not PatchAction.ADD:
            raise Wrong(f'"{pointer}" names no item: only ADD appends')
        return _append(parent, place, value, by, where)
    own = _protected(
        (*place, canonical_step(parent, index_of(parent, last)))
        if isinstance(parent, list)
        else (*place, str(last))
    )
    there = isinstance(parent, list) or (isinstance(parent, dict) and str(last) in parent)
    if action is not PatchAction.ADD and not there:
        raise Wrong(
            f'there is nothing at "{pointer}" to {action.value.lower()}: ADD creates a field'
        )
    done = PatchAction.REMOVE if action is PatchAction.REMOVE else PatchAction.REPLACE
    return Write(place=own, action=done, value=value, by=by, where=where)


def _locate(
    body: dict[str, Any], steps: tuple[Step, ...], *, creates: bool
) -> tuple[Place, Any, Step]:
    """The canonical place of what a pointer's last step is in, and what is there."""
    place: tuple[str, ...] = ()
    current: Any = body
    for step in steps[:-1]:
        if isinstance(current, list):
            index = index_of(current, step)
            place = (*place, canonical_step(current, index))
            current = current[index]
        elif isinstance(current, dict) or (current is None and creates):
            if isinstance(step, ByKey):
                raise Wrong(f"{write(place) or '/'} is no list: {step} selects in lists")
            if not creates and step not in (current or {}):
                raise Wrong(f'there is no "{step}" in {write(place) or "/"}')
            place = (*place, step)
            current = (current or {}).get(step)
        else:
            raise Wrong(f"{write(place)} is a value: nothing is inside of it")
    last = steps[-1]
    if current is None:
        current = [] if last == APPEND else {}
    if not isinstance(current, dict | list):
        raise Wrong(f"{write(place)} is a value: nothing is inside of it")
    if isinstance(current, dict) and isinstance(last, ByKey):
        raise Wrong(f"{write(place) or '/'} is no list: {last} selects in lists")
    return place, current, last


def _append(items: list[Any], place: Place, value: Any, by: str, where: str) -> Write:
    name = value.get("name") if isinstance(value, dict) else None
    if isinstance(name, str):
        if any(isinstance(item, dict) and item.get("name") == name for item in items):
            raise Wrong(f'{write(place)} has an item "{name}" already: REPLACE it, or merge')
        step = str(ByKey("name", name))
    else:
        step = f"{APPEND}{by}:{where}"
    return Write(
        place=_protected((*place, step)),
        action=PatchAction.ADD,
        value=value,
        by=by,
        where=where,
    )


def _protected(place: Place) -> Place:
    if is_protected(place):
        raise Wrong(f"{write(place)} is what the object is known by: no patch changes it")
    return place


def plan_merge(
    current: Any, merge: dict[str, Any], *, by: str, where: str, place: Place = ()
) -> Iterator[Write]:
    """Plan what a merge writes. Raises ``Wrong`` where it would change what an object is."""
    known = current if isinstance(current, dict) else {}
    for key in sorted(merge):
        value, own = merge[key], (*place, key)
        if isinstance(value, dict) and value and isinstance(known.get(key), dict | None):
            yield from plan_merge(known.get(key), value, by=by, where=where, place=own)
        elif isinstance(value, list) and _are_named(value) and _are_named(known.get(key) or []):
            yield from _merge_items(known.get(key) or [], value, by, where, own)
        elif isinstance(value, dict) and not value and isinstance(known.get(key), dict):
            continue
        else:
            action = PatchAction.REMOVE if value is None else PatchAction.REPLACE
            if value is not None or key in known:
                yield Write(place=_protected(own), action=action, value=value, by=by, where=where)


def _are_named(value: Any) -> bool:
    """Whether a list is one of named items, each name once."""
    if not isinstance(value, list):
        return False
    names = [item.get("name") for item in value if isinstance(item, dict)]
    return len(names) == len(value) == len(set(names)) and all(isinstance(n, str) for n in names)


def _merge_items(
    items: list[Any], merge: list[Any], by: str, where: str, place: Place
) -> Iterator[Write]:
    for one in merge:
        own = (*place, str(ByKey("name", one["name"])))
        there = next((i for i in items if i["name"] == one["name"]), None)
        if there is None:
            yield Write(
                place=_protected(own), action=PatchAction.ADD, value=one, by=by, where=where
            )
        else:
            rest = {key: value for key, value in one.items() if key != "name"}
            yield from plan_merge(there, rest, by=by, where=where, place=own)


def conflicts(writes: Sequence[Write]) -> Iterator[Conflict]:
    """Every pair of neighbours that write one place, or one inside of the other's."""
    ordered = sorted(writes, key=lambda w: (w.place, w.by, w.where))
    above: list[Write] = []
    for one in ordered:
        while above and not overlap(above[-1].place, one.place):
            above.pop()
        if above:
            yield Conflict(one=above[-1], other=one)
        above.append(one)


def apply(body: dict[str, Any], writes: Sequence[Write]) -> dict[str, Any]:
    """Do everything that was planned; *writes* have no conflicts."""
    made: dict[str, Any] = _copy(body)
    order = {PatchAction.REPLACE: 0, PatchAction.ADD: 1, PatchAction.REMOVE: 2}
    ordered = sorted(writes, key=lambda w: (order[w.action], w.place))
    removals: list[tuple[list[Any], int]] = []
    for one in ordered:
        appends = one.action is PatchAction.ADD
        parent = _parent(made, one.place, appends=appends)
        last = one.place[-1]
        if appends:
            parent.append(_copy(one.value))
        elif isinstance(parent, list):
            index = _index(parent, last)
            if one.action is PatchAction.REMOVE:
                removals.append((parent, index))
            else:
                parent[index] = _copy(one.value)
        elif one.action is PatchAction.REMOVE:
            parent.pop(last, None)
        else:
            parent[last] = _copy(one.value)
    for items, index in sorted(removals, key=lambda r: -r[1]):
        del items[index]
    return made


def _parent(body: dict[str, Any], place: Place, *, appends: bool) -> Any:
    """What the last step of a place is in; missing maps and lists are made on the way."""
    current: Any = body
    for index, step in enumerate(place[:-1]):
        if isinstance(current, list):
            current = current[_index(current, step)]
            continue
        if current.get(step) is None:
            current[step] = [] if appends and index == len(place) - 2 else {}
        current = current[step]
    return current


def _index(items: list[Any], step: str) -> int:
    if step.isdigit():
        return int(step)
    field, _, value = step[1:-1].partition("=")
    return index_of(items, ByKey(field, value))


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return value

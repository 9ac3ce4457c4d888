"""What turns one bundle into another, by what each object is and the digest of its content.

Absence never removes: what is gone is named. ``apply(old, diff(old, new)) == new``, so that a
difference after an apply is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.cell.manifest import PHASE_ORDER, ObjectKey, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleObject:
    """One object of a bundle, without its content."""

    key: ObjectKey
    part: str
    phase: Phase
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Objects that are new or changed, and those to remove, each in the order of doing."""

    changed: tuple[BundleObject, ...] = ()
    removals: tuple[ObjectKey, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.removals)


def diff(old: Iterable[BundleObject], new: Iterable[BundleObject]) -> Delta:
    """The change from *old* to *new*. The order of either does not matter."""
    before = _by_key(old)
    after = _by_key(new)
    changed = [o for key, o in after.items() if before.get(key) != o]
    gone = [o for key, o in before.items() if key not in after]
    return Delta(
        changed=tuple(sorted(changed, key=_forwards)),
        removals=tuple(o.key for o in sorted(gone, key=_forwards, reverse=True)),
    )


def apply(old: Iterable[BundleObject], delta: Delta) -> tuple[BundleObject, ...]:
    """What *old* becomes by a change, in the order of applying."""
    objects = _by_key(old)
    for key in delta.removals:
        objects.pop(key, None)
    for changed in delta.changed:
        objects[changed.key] = changed
    return tuple(sorted(objects.values(), key=_forwards))


def _by_key(objects: Iterable[BundleObject]) -> dict[ObjectKey, BundleObject]:
    return {o.key: o for o in objects}


def _forwards(o: BundleObject) -> tuple[int, str, ObjectKey]:
    return PHASE_ORDER[o.phase], o.part, o.key

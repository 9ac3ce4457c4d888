"""What one data plane is to have of one Cell, and since which revision it is so.

Each object knows the revision in which it last changed, and what was removed is remembered until
its removal was applied. So one value gives the change from any revision that an agent may have
stored, be it the last one or none, and a push, a resync and a restart are the same function.
Revisions strictly increase, also over a removal and a return.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from cellplane.cell.manifest import PHASE_ORDER, ObjectKey
from cellplane.placement.rollout.diff import BundleObject, Delta, diff


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An object, with the revision in which it became what it is, or in which it was removed."""

    object: BundleObject
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All objects of a Cell on a data plane, at the latest revision."""

    revision: int = 0
    cell_revision: int = 0
    """The revision of the Cell itself that it was compiled from."""
    objects: Mapping[ObjectKey, Held] = field(default_factory=dict)
    removals: Mapping[ObjectKey, Held] = field(default_factory=dict)
    """What was removed, until that is applied."""
    removed: bool = False
    """Whether the Cell is not wanted on this data plane any more."""

    def parts(self) -> dict[str, list[BundleObject]]:
        """The objects by the component that they belong to; empty for the Cell as a whole."""
        parts: dict[str, list[BundleObject]] = {}
        for held in self.objects.values():
            parts.setdefault(held.object.part, []).append(held.object)
        return parts

    def changed_parts(self, base: int) -> frozenset[str]:
        """The parts that have changed since a revision."""
        changed = {h.object.part for h in self.objects.values() if h.revision > base}
        return frozenset(
            changed | {h.object.part for h in self.removals.values() if h.revision > base}
        )


def advance(
    bundle: Bundle, objects: Iterable[BundleObject], cell_revision: int
) -> tuple[Bundle, Delta]:
    """The bundle that holds exactly these objects; the same revision if nothing differs."""
    wanted = list(objects)
    delta = diff((h.object for h in bundle.objects.values()), wanted)
    if not delta and not bundle.removed and bundle.revision:
        return replace(bundle, cell_revision=cell_revision), delta
    revision = bundle.revision + 1
    held = dict(bundle.objects)
    removals = dict(bundle.removals)
    for key in delta.removals:
        removals[key] = Held(object=held.pop(key).object, revision=revision)
    for changed in delta.changed:
        held[changed.key] = Held(object=changed, revision=revision)
        removals.pop(changed.key, None)
    following = Bundle(
        revision=revision, cell_revision=cell_revision, objects=held, removals=removals
    )
    return following, delta


def remove(bundle: Bundle) -> Bundle:
    """The bundle that removes all of it; unchanged if it does already."""
    if bundle.removed:
        return bundle
    emptied, _ = advance(bundle, (), bundle.cell_revision)
    revision = max(emptied.revision, bundle.revision + 1)
    return replace(emptied, revision=revision, removed=True)


def since(bundle: Bundle, base: int) -> Delta:
    """The change from revision *base*, in the order of doing; from 0, all that there is."""
    changed = [h.object for h in bundle.objects.values() if h.revision > base]
    gone = [h.object for h in bundle.removals.values() if h.revision > base]
    return Delta(
        changed=tuple(sorted(changed, key=_forwards)),
        removals=tuple(o.key for o in sorted(gone, key=_forwards, reverse=True)),
    )


def applied(bundle: Bundle, revision: int) -> Bundle:
    """Forget the removals that a revision which was applied in full has done."""
    left = {key: held for key, held in bundle.removals.items() if held.revision > revision}
    return bundle if len(left) == len(bundle.removals) else replace(bundle, removals=left)


def _forwards(o: BundleObject) -> tuple[int, str, ObjectKey]:
    return PHASE_ORDER[o.phase], o.part, o.key

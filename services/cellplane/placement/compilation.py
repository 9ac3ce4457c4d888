"""What was compiled of a Cell for one data plane, so that a change costs what it changed.

A part (the Cell as a whole, or one component) is compiled again by those compilers that look at
what changed of it, and everything is when what all parts read changed: the frame, the data plane's
profile, or where peers are. What failed stays due.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cellplane.cell.manifest import Manifest
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem, Severity
from cellplane.placement.rollout.diff import BundleObject

WHOLE = ""
"""The part that is the Cell as a whole."""


Slice = tuple[str, str]
"""A part as one compiler sees it: the compiler's name, and the part's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be compiled."""

    context: str
    slices: Mapping[Slice, str]
    """With the digest of what the compiler looks at."""

    def __bool__(self) -> bool:
        return bool(self.slices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """The parts as they were last compiled, and stored."""

    context: str = ""
    digests: Mapping[Slice, str] = field(default_factory=dict)
    objects: Mapping[Slice, tuple[BundleObject, ...]] = field(default_factory=dict)

    def due(self, context: str, slices: Mapping[Slice, str]) -> Due:
        """What has to be compiled, where these are all slices of what is wanted."""
        if context != self.context:
            return Due(context=context, slices=slices)
        changed = {s: d for s, d in slices.items() if self.digests.get(s) != d}
        return Due(context=context, slices=changed)

    def kept(self, due: Due, slices: Mapping[Slice, str]) -> dict[Slice, tuple[BundleObject, ...]]:
        """The objects of the slices that stay as they are."""
        if due.context != self.context:
            return {}
        return {s: o for s, o in self.objects.items() if s in slices and s not in due.slices}

    def taking(
        self,
        due: Due,
        slices: Mapping[Slice, str],
        manifests: Mapping[Slice, Iterable[Manifest]],
    ) -> Compilation:
        """The same with what was compiled, and without the parts that are gone."""
        objects = self.kept(due, slices)
        for key in due.slices:
            objects[key] = tuple(
                BundleObject(key=m.key, part=m.part, phase=m.phase, digest=m.digest)
                for m in manifests.get(key, ())
            )
        return Compilation(context=due.context, digests=dict(slices), objects=objects)

    def all_objects(self) -> list[BundleObject]:
        """Everything, sorted by nothing in particular."""
        return [o for objects in self.objects.values() for o in objects]


def context_digest(frame: str, profile: DataPlaneProfile, peers: Peers) -> str:
    """Digest of what every part reads, with *frame* the digest of the frame."""
    labels = sorted(profile.labels.items())
    capabilities = sorted(profile.capabilities)
    known = (
        frame,
        profile.data_plane,
        profile.uid,
        profile.organization,
        profile.trust_domain,
        profile.enforcement.value,
        capabilities,
        labels,
        profile.westbound_host,
        profile.westbound_port,
        [(c.project, [(g.data_plane, g.host, g.port) for g in c.gateways]) for c in peers.cells],
    )
    return hashlib.sha256(repr(known).encode()).hexdigest()


def errors(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Those that keep a revision from being delivered."""
    return tuple(p for p in problems if p.severity is Severity.ERROR)


def clashes(
    cell: str,
    manifests: Mapping[Slice, Iterable[Manifest]],
    kept: Mapping[Slice, Iterable[BundleObject]],
) -> list[Problem]:
    """One finding for each object that two compilers, or two parts, made.

    Looks beside what was just compiled at what is *kept*.
    """
    seen = {f"{o.key.api_version} {o.key}": o.part for objects in kept.values() for o in objects}
    found: list[Problem] = []
    for m in (m for made in manifests.values() for m in made):
        key = f"{m.api_version} {m.key}"
        if key in seen:
            message = (
                f"{m.key} is made twice: by {seen[key] or 'the cell'} and by {m.part or 'the cell'}"
            )
            found.append(Problem(reason="OBJECT_CLASH", message=message, resource=cell))
        seen[key] = m.part
    return found

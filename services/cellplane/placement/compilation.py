"""What was compiled of a Cell for one data plane, so that a change costs what it changed.

A part (the Cell as a whole, or one component) is compiled again when its own digest changed, and
everything is when what all parts read changed: the frame, the data plane's profile, or where peers
are. What failed stays due.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cellplane.cell.manifest import Manifest
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem, Severity
from cellplane.placement.clients import Resolved
from cellplane.placement.rollout.diff import BundleObject

WHOLE = ""
"""The part that is the Cell as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be compiled."""

    context: str
    components: tuple[str, ...]
    frame: bool

    def __bool__(self) -> bool:
        return self.frame or bool(self.components)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """The parts as they were last compiled, and stored."""

    context: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, tuple[BundleObject, ...]] = field(default_factory=dict)

    def due(self, resolved: Resolved, profile: DataPlaneProfile, peers: Peers) -> Due:
        """What has to be compiled for these inputs."""
        context = context_digest(resolved, profile, peers)
        if context != self.context:
            names = tuple(sorted(resolved.components))
            return Due(context=context, components=names, frame=True)
        changed = tuple(
            name
            for name, part in sorted(resolved.components.items())
            if self.digests.get(name) != part.digest
        )
        return Due(context=context, components=changed, frame=WHOLE not in self.digests)

    def taking(self, due: Due, resolved: Resolved, manifests: Iterable[Manifest]) -> Compilation:
        """The same with what was compiled, and without the parts that are gone."""
        same = due.context == self.context
        digests = dict(self.digests) if same else {}
        objects = dict(self.objects) if same else {}
        by_part: dict[str, list[BundleObject]] = {}
        for m in manifests:
            compiled = BundleObject(key=m.key, part=m.part, phase=m.phase, digest=m.digest)
            by_part.setdefault(m.part, []).append(compiled)
        for name in due.components:
            digests[name] = resolved.components[name].digest
            objects[name] = tuple(by_part.get(name, ()))
        if due.frame:
            digests[WHOLE] = resolved.frame.digest
            objects[WHOLE] = tuple(by_part.get(WHOLE, ()))
        for name in [n for n in digests if n != WHOLE and n not in resolved.components]:
            del digests[name]
            del objects[name]
        return Compilation(context=due.context, digests=digests, objects=objects)

    def all_objects(self) -> list[BundleObject]:
        """Everything, sorted by nothing in particular."""
        return [o for objects in self.objects.values() for o in objects]


def context_digest(resolved: Resolved, profile: DataPlaneProfile, peers: Peers) -> str:
    """Digest of what every part reads."""
    labels = sorted(profile.labels.items())
    capabilities = sorted(profile.capabilities)
    known = (
        resolved.frame.digest,
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
    manifests: Iterable[Manifest], before: Compilation, due: Due, resolved: Resolved
) -> list[Problem]:
    """One finding for each object that two compilers, or two parts, made.

    Looks beside what was just compiled at the parts that stay as they were *before*.
    """
    seen: dict[str, str] = {}
    if due.context == before.context:
        fresh = {*due.components, *([WHOLE] if due.frame else [])}
        seen = {
            f"{o.key.api_version} {o.key}": o.part
            for part, objects in before.objects.items()
            if part not in fresh and (part == WHOLE or part in resolved.components)
            for o in objects
        }
    found: list[Problem] = []
    for m in manifests:
        key = f"{m.api_version} {m.key}"
        if key in seen:
            message = (
                f"{m.key} is made twice: by {seen[key] or 'the cell'} and by {m.part or 'the cell'}"
            )
            found.append(Problem(reason="OBJECT_CLASH", message=message, resource=resolved.cell))
        seen[key] = m.part
    return found

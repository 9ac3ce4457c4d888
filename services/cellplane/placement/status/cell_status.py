"""The status of a Cell, as one total function of what was decided, compiled and observed.

Nothing is ready before the wanted revision was applied and seen ready on every data plane. What is
not known to need a change by a person is progressing, never failed. Revisions in here are those of
the Cell itself, so that a reader can compare them with what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cellplane.cell.condition import Cause, Condition, Health, Status, worst
from cellplane.cell.plane import Enforcement
from cellplane.cell.problem import Problem, Severity
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.placement.status.observed import LASTING, ObjectFailure, Observed

_KINDS: Final = ("Compiled", "Accepted", "Applied", "Ready", "Isolated")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneView:
    """A Cell on one data plane, as far as it got."""

    data_plane: str
    state: PlaneState
    enforcement: Enforcement
    revision: int
    """Of the bundle; 0 if there is none yet."""
    cell_revision: int
    """That the bundle was compiled from."""
    accepted_cell_revision: int
    applied_cell_revision: int
    ready_cell_revision: int
    problems: tuple[Problem, ...] = ()
    """Of the compilation of the wanted revision."""
    changed_parts: frozenset[str] = frozenset()
    """Parts that changed after the last report."""
    leaving: bool = False
    observed: Observed = field(default_factory=Observed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """Everything that a Cell's status follows from."""

    cell: str
    revision: int
    """That is wanted."""
    releases: Mapping[str, str]
    """Release of each component, by component id."""
    decided: bool
    """Whether there is a decision at all."""
    unplaceable: str = ""
    """CamelCase reason; empty where it is placed."""
    summary: str = ""
    """The decision in a sentence."""
    delay: str = ""
    """What keeps it from being compiled for now."""
    planes: tuple[PlaneView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """A component; field names are those of ``CellComponent``."""

    component: str
    release: str
    health: Health
    cause: Cause | None = None
    ready_replica_count: int = 0
    replica_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneStatus:
    """A Cell on a data plane; field names are those of ``CellDataPlane``."""

    data_plane: str
    revision: int
    accepted_revision: int
    applied_revision: int
    ready_revision: int
    health: Health
    conditions: tuple[Condition, ...]
    cause: Cause | None = None
    components: tuple[ComponentStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStatus:
    """A Cell; field names are those of ``Cell``."""

    health: Health
    conditions: tuple[Condition, ...]
    cause: Cause | None = None
    data_planes: tuple[PlaneStatus, ...] = ()
    components: tuple[ComponentStatus, ...] = ()


def cell_status(view: CellView) -> CellStatus:
    """Say how a Cell is. Conditions carry no transition times: see ``with_times``."""
    planes = [(p, _plane_status(view, p)) for p in sorted(view.planes, key=lambda p: p.data_plane)]
    staying = [status for plane, status in planes if not plane.leaving]
    placed = _placed(view)
    conditions = [placed, *(_roll_up(kind, staying, view.revision, placed) for kind in _KINDS)]
    health = worst(s.health for s in staying) if staying else Health.PROGRESSING
    if placed.status is not Status.TRUE and health is Health.READY:
        health = Health.PROGRESSING
    return CellStatus(
        health=health,
        conditions=tuple(conditions),
        cause=_cause(placed, staying),
        data_planes=tuple(status for _, status in planes),
        components=tuple(_components(view, staying)),
    )


def with_times(status: CellStatus, stamp: Callable[[str, Condition], Condition]) -> CellStatus:
    """The same with the times of transitions, by scope (a data plane's id, or none)."""
    return replace(
        status,
        conditions=tuple(stamp("", c) for c in status.conditions),
        data_planes=tuple(
            replace(p, conditions=tuple(stamp(p.data_plane, c) for c in p.conditions))
            for p in status.data_planes
        ),
    )


def _placed(view: CellView) -> Condition:
    if not view.decided:
        return _condition("Placed", Status.UNKNOWN, "Pending", "not decided yet", view.revision)
    if view.unplaceable:
        return _condition("Placed", Status.FALSE, view.unplaceable, view.summary, view.revision)
    return _condition("Placed", Status.TRUE, "Placed", view.summary, view.revision)


def _plane_status(view: CellView, plane: PlaneView) -> PlaneStatus:
    conditions = (
        _compiled(view, plane),
        _accepted(plane),
        _applied(plane),
        _isolated(plane),
    )
    errors = [p for p in plane.problems if p.severity is Severity.ERROR]
    cause = _plane_cause(plane, errors)
    health = _plane_health(view, plane, conditions, cause)
    ready = _ready(view, plane, conditions, health, cause)
    return PlaneStatus(
        data_plane=plane.data_plane,
        revision=plane.cell_revision,
        accepted_revision=plane.accepted_cell_revision,
        applied_revision=plane.applied_cell_revision,
        ready_revision=plane.ready_cell_revision,
        health=health,
        conditions=(*conditions[:3], ready, conditions[3]),
        cause=None if health in (Health.READY, Health.SUSPENDED) else cause,
        components=tuple(_plane_components(view, plane)),
    )


def _compiled(view: CellView, plane: PlaneView) -> Condition:
    errors = [p for p in plane.problems if p.severity is Severity.ERROR]
    if errors:
        message = "; ".join(dict.fromkeys(p.message for p in errors[:3]))
        kept = f"; revision {plane.cell_revision} stays in force" if plane.revision else ""
        return _condition(
            "Compiled", Status.FALSE, "CompileFailed", message + kept, view.revision, terminal=True
        )
    if plane.cell_revision < view.revision and not plane.leaving:
        message = view.delay or "not compiled yet"
        return _condition("Compiled", Status.UNKNOWN, "Pending", message, view.revision)
    return _condition("Compiled", Status.TRUE, "Compiled", "", plane.cell_revision)


def _accepted(plane: PlaneView) -> Condition:
    observed = plane.observed
    revision = plane.cell_revision
    if not plane.revision:
        return _condition("Accepted", Status.UNKNOWN, "Pending", "nothing delivered yet", 0)
    if observed.accepted_revision == plane.revision:
        return _condition("Accepted", Status.TRUE, "Stored", "", revision)
    if observed.rejected_revision == plane.revision:
        message = _failures(observed.failures) or "the agent refuses it"
        return _condition("Accepted", Status.FALSE, "Rejected", message, revision, terminal=True)
    message = f"waits for the agent of data plane {plane.data_plane}"
    return _condition("Accepted", Status.FALSE, "Pending", message, revision)


def _applied(plane: PlaneView) -> Condition:
    observed = plane.observed
    revision = plane.cell_revision
    if not plane.revision:
        return _condition("Applied", Status.UNKNOWN, "Pending", "nothing delivered yet", 0)
    if observed.applied_revision == plane.revision:
        return _condition("Applied", Status.TRUE, "Applied", "", revision)
    if observed.failed_revision == plane.revision and observed.failures:
        lasting = any(f.outcome in LASTING for f in observed.failures)
        return _condition(
            "Applied",
            Status.FALSE,
            "ApplyFailed",
            _failures(observed.failures),
            revision,
            terminal=lasting,
        )
    return _condition("Applied", Status.FALSE, "Applying", "", revision)


def _isolated(plane: PlaneView) -> Condition:
    revision = plane.cell_revision
    match plane.enforcement:
        case Enforcement.SIMULATED:
            message = "its policies are stored; nothing enforces them on a simulated data plane"
            return _condition("Isolated", Status.FALSE, "Simulated", message, revision)
        case Enforcement.EXTERNAL:
            message = "whatever applies the folder enforces its policies, or not"
            return _condition("Isolated", Status.UNKNOWN, "External", message, revision)
        case Enforcement.UNSPECIFIED:
            message = "nothing was seen to enforce policies: install a CNI that does"
            return _condition("Isolated", Status.FALSE, "NotEnforced", message, revision)
        case Enforcement.ENFORCING:
            if plane.revision and plane.observed.applied_revision == plane.revision:
                return _condition("Isolated", Status.TRUE, "Enforced", "", revision)
            message = "its policies are not all applied yet"
            return _condition("Isolated", Status.UNKNOWN, "Pending", message, revision)


def _plane_health(
    view: CellView, plane: PlaneView, conditions: Sequence[Condition], cause: Cause | None
) -> Health:
    if any(c.terminal and c.status is not Status.TRUE for c in conditions):
        return Health.FAILED
    if plane.state in (PlaneState.SUSPECT, PlaneState.LOST):
        return Health.UNKNOWN
    seen = plane.observed
    current = plane.revision > 0 and seen.report_revision == plane.revision
    if current and seen.health in (Health.FAILED, Health.UNKNOWN):
        return seen.health
    if not current and seen.health is Health.FAILED and cause is not None and cause.terminal:
        # Another revision is on its way, which may be what helps.
        return Health.PROGRESSING
    wanted = plane.cell_revision >= view.revision or plane.leaving
    done = seen.applied_revision == seen.ready_revision == plane.revision
    arrived = wanted and plane.revision > 0 and done
    if arrived and current and seen.health in (Health.READY, Health.SUSPENDED):
        return Health.PROGRESSING if plane.enforcement is Enforcement.UNSPECIFIED else seen.health
    return Health.PROGRESSING


def _ready(
    view: CellView,
    plane: PlaneView,
    conditions: Sequence[Condition],
    health: Health,
    cause: Cause | None,
) -> Condition:
    revision = view.revision
    if health in (Health.READY, Health.SUSPENDED):
        return _condition("Ready", Status.TRUE, "Ready", "", plane.cell_revision)
    if health is Health.UNKNOWN:
        reason = {PlaneState.SUSPECT: "DataPlaneSuspect", PlaneState.LOST: "DataPlaneLost"}
        message = f"the agent of data plane {plane.data_plane} is not heard of"
        return _condition(
            "Ready", Status.UNKNOWN, reason.get(plane.state, "Unknown"), message, revision
        )
    for condition in conditions[:3]:
        if condition.status is not Status.TRUE:
            return replace(condition, type="Ready", status=Status.FALSE, observed_revision=revision)
    if plane.enforcement is Enforcement.UNSPECIFIED:
        return _condition("Ready", Status.FALSE, "NotIsolated", conditions[3].message, revision)
    if cause is not None:
        return _condition(
            "Ready", Status.FALSE, cause.reason, cause.message, revision, terminal=cause.terminal
        )
    return _condition("Ready", Status.FALSE, "Progressing", "", revision)


def _plane_cause(plane: PlaneView, errors: Sequence[Problem]) -> Cause | None:
    if errors:
        first = errors[0]
        where = f"{first.resource}#{first.field}" if first.field else first.resource
        return Cause(
            resource=where, reason=_camel(first.reason), message=first.message, terminal=True
        )
    seen = plane.observed
    current = {seen.rejected_revision, seen.failed_revision}
    if plane.revision and plane.revision in current and seen.failures:
        first_failure = min(seen.failures, key=lambda f: (f.outcome not in LASTING, f.key))
        return Cause(
            resource=f"{plane.data_plane} {first_failure.key}",
            reason=_camel(first_failure.outcome.value),
            message=first_failure.message,
            terminal=first_failure.outcome in LASTING,
        )
    if seen.cause is None:
        return None
    prefix = f"{plane.data_plane} "
    named = seen.cause.resource.startswith((prefix, "organizations/"))
    return seen.cause if named else replace(seen.cause, resource=prefix + seen.cause.resource)


def _plane_components(view: CellView, plane: PlaneView) -> Iterable[ComponentStatus]:
    seen = {c.component: c for c in plane.observed.components}
    lost = plane.state in (PlaneState.SUSPECT, PlaneState.LOST)
    for component, release in sorted(view.releases.items()):
        report = seen.get(component)
        if report is None:
            yield ComponentStatus(component=component, release=release, health=Health.PROGRESSING)
            continue
        stale = component in plane.changed_parts or "" in plane.changed_parts
        health = report.health
        if lost:
            health = Health.UNKNOWN
        elif stale or health is Health.UNSPECIFIED:
            health = Health.PROGRESSING
        yield ComponentStatus(
            component=component,
            release=release,
            health=health,
            cause=None if stale or health is Health.READY else report.cause,
            ready_replica_count=report.ready_replica_count,
            replica_count=report.replica_count,
        )


def _components(view: CellView, planes: Sequence[PlaneStatus]) -> Iterable[ComponentStatus]:
    for component, release in sorted(view.releases.items()):
        found = [c for p in planes for c in p.components if c.component == component]
        yield ComponentStatus(
            component=component,
            release=release,
            health=worst(c.health for c in found) if found else Health.PROGRESSING,
            cause=next((c.cause for c in found if c.cause is not None), None),
            ready_replica_count=sum(c.ready_replica_count for c in found),
            replica_count=sum(c.replica_count for c in found),
        )


def _roll_up(
    kind: str, planes: Sequence[PlaneStatus], revision: int, placed: Condition
) -> Condition:
    """True where it is so on every data plane; else the worst, naming its data plane."""
    if placed.status is not Status.TRUE and kind == "Ready":
        return replace(placed, type=kind)
    found = [(p, c) for p in planes for c in p.conditions if c.type == kind]
    if not found:
        return _condition(kind, Status.UNKNOWN, "NotPlaced", "", revision)
    order = {Status.FALSE: 0, Status.UNKNOWN: 1, Status.TRUE: 2}
    plane, first = min(found, key=lambda e: (order[e[1].status], not e[1].terminal))
    message = first.message
    if message and len(planes) > 1:
        message = f"{plane.data_plane}: {message}"
    oldest = min(c.observed_revision for _, c in found)
    return replace(first, message=message, observed_revision=oldest)


def _cause(placed: Condition, planes: Sequence[PlaneStatus]) -> Cause | None:
    causes = [p.cause for p in planes if p.cause is not None]
    if causes:
        return min(causes, key=lambda c: not c.terminal)
    if placed.status is Status.FALSE:
        return Cause(resource="", reason=placed.reason, message=placed.message)
    return None


def _failures(failures: Sequence[ObjectFailure]) -> str:
    shown = [f"{f.key}: {f.message or f.outcome.value.lower()}" for f in failures[:3]]
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return "; ".join(shown) + more


def _camel(reason: str) -> str:
    return "".join(word.capitalize() for word in reason.split("_"))


def _condition(
    kind: str, status: Status, reason: str, message: str, revision: int, *, terminal: bool = False
) -> Condition:
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        observed_revision=revision,
        terminal=terminal,
    )

"""Keeps every Cell resolved: after a change, exactly what the change can touch is resolved again.

Gather, pure call, apply: rows are read in a few batches, ``domain.resolve`` decides, what differs
is written. A Cell whose components all resolve gets a new revision at once; one with a problem
keeps its last whole revision, and what has changed meanwhile waits as dirty rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from cellplane.cell.definition import Definition
from cellplane.cell.names import CellName
from cellplane.model.batch import Batch
from cellplane.model.catalog.in_force import read_grants
from cellplane.model.compliance import Compliance
from cellplane.model.convert import Codecs
from cellplane.model.domain.claimed import as_component, definition_of_type, is_claim
from cellplane.model.domain.claims import Claim, claims_of
from cellplane.model.domain.kinds import Kind, cell_name, project_of
from cellplane.model.domain.resolve import (
    ANY_ENDPOINT,
    ANY_PORT,
    Deployed,
    EndpointKey,
    Surroundings,
    resolve,
)
from cellplane.model.domain.resources import Component, Environment, ResourceClaim, SecretReference
from cellplane.model.domain.secrets import ALL_KEYS, secrets_of
from cellplane.model.domain.touched import (
    calls_of,
    guarded,
    needs_of,
    touched_endpoints,
    touched_targets,
)
from cellplane.model.domain.types import definition_of, versions_of
from cellplane.model.metrics import ResolutionMetrics
from cellplane.model.repository import DeployedRow, Repository
from cellplane.model.whole import Whole
from cellplane.store.database import Transaction

Moves: TypeAlias = Mapping[str, Deployed | None]
"""By component: what is deployed of it now, or nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What a transaction changes of what is deployed in one environment."""

    moves: Moves = field(default_factory=dict)
    cells: frozenset[str] = frozenset()
    """Cells whose frame or requirement may differ."""
    secrets: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By secret reference: the keys whose readers must be looked at again."""
    everything: bool = False
    """Whether every component must be looked at again."""
    again: frozenset[str] = frozenset()
    """Components that must be looked at again, as they are."""
    claims: frozenset[str] = frozenset()
    """Resource claims that must be looked at again: theirs, or their types, changed."""
    rules: bool = False
    """Whether rules of the platform changed that hold here."""


@dataclass(slots=True, kw_only=True)
class _Scene:
    """What is known of one environment while it is settled."""

    name: str
    environment: Environment
    rows: dict[str, DeployedRow] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    """Components whose rows were looked for."""
    components: dict[str, Component | None] = field(default_factory=dict)
    """As they are deployed after the change; ``None`` if not at all."""
    moves: dict[str, Deployed | None] = field(default_factory=dict)
    """What moves: what a shift says, and managed resources that follow."""


class Resolver:
    """Settles environments inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        whole: Whole,
        compliance: Compliance,
        metrics: ResolutionMetrics,
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._whole = whole
        self._compliance = compliance
        self._metrics = metrics

    async def settle(self, tx: Transaction, batch: Batch, shifts: Mapping[str, Shift]) -> None:
        """Resolve again what *shifts*, by environment, touch, and make Cells whole."""
        for name in sorted(shifts):
            await self._settle(tx, batch, name, shifts[name])

    async def _settle(self, tx: Transaction, batch: Batch, name: str, shift: Shift) -> None:
        cells = set(shift.cells)
        environment_id = name.rsplit("/", 1)[-1]
        likely = cells | {
            str(cell_name(project_of(c), environment_id)) for c in (*shift.moves, *shift.again)
        }
        owners = await self._whole.look_up(tx, batch, name, likely)
        if owners is None:
            return
        scene = _Scene(name=name, environment=owners.environment)
        changed: list[DeployedRow] = []
        if shift.moves or shift.secrets or shift.everything or shift.again or shift.claims:
            affected = await self._spread(tx, batch, scene, shift)
            changed = await self._resolve(tx, batch, scene, scene.moves, affected)
            self._metrics.resolved(name, affected, [row.component for row in changed])
            known = scene.rows.keys()
            await self._repository.write_deployed(tx, changed, known)
        cells |= await self._compliance.judge(
            tx,
            batch,
            (owners.organization, owners.environment),
            shift.moves,
            everything=shift.rules,
        )
        await self._whole.settle(tx, owners, cells, changed)

    async def _spread(self, tx: Transaction, batch: Batch, scene: _Scene, shift: Shift) -> set[str]:
        """Everything that a shift touches; the indices are as after it."""
        moves = scene.moves
        moves.update(shift.moves)
        if shift.everything:
            moved = {*moves, *await self._repository.components_in(tx, scene.name)}
        else:
            moved = {*moves, *shift.again}
        # What they connect to is wanted next, and read along.
        after = [deployed.component for deployed in moves.values() if deployed is not None]
        await self._read(tx, scene, moved | {t for c in after for t, _ in calls_of(c)})
        await self._load(tx, scene, moved)
        before = dict(scene.components)
        for component, deployed in moves.items():
            scene.components[component] = deployed.component if deployed else None
        await self._claim(tx, batch, scene, shift, before)
        moved |= moves.keys()
        affected = set(moved)
        touched: dict[str, frozenset[str]] = {}
        for component in moved:
            old, new = before.get(component), scene.components.get(component)
            if endpoints := touched_endpoints(old, new):
                touched[component] = endpoints
            affected |= touched_targets(old, new)
        touched |= shift.secrets
        if touched:
            for caller, target, part in await self._repository.read_callers(
                tx, scene.name, touched
            ):
                if part == ALL_KEYS or touched[target] & {part, ANY_ENDPOINT, ALL_KEYS}:
                    affected.add(caller)
        affected |= await self._reroute(tx, scene, moved, before, again=shift.everything)
        return affected

    async def _claim(
        self,
        tx: Transaction,
        batch: Batch,
        scene: _Scene,
        shift: Shift,
        before: dict[str, Component | None],
    ) -> None:
        """Bring the index of needs up to date; what is claimed moves with who connects to it."""
        called: dict[str, Collection[EndpointKey]] = {}
        claims = set(shift.claims)
        for name, was in before.items():
            old, new = needs_of(was), needs_of(scene.components.get(name))
            if old != new:
                called[name] = new
                claims |= {target for target, _ in old ^ new if is_claim(target)}
        await self._repository.write_calls(tx, scene.name, called)
        if not claims:
            return
        await self._load(tx, scene, claims)
        wanted = {t for _, t, _ in await self._repository.read_callers(tx, scene.name, claims)}
        made = await self._made(tx, batch, scene, wanted)
        for name in sorted(claims):
            before[name] = scene.components.get(name)
            component = made.get(name)
            if before[name] is None and component is None:
                continue
            scene.moves[name] = (
                None if component is None else Deployed(release="", component=component)
            )
            scene.components[name] = component

    async def _made(
        self, tx: Transaction, batch: Batch, scene: _Scene, claims: Collection[str]
    ) -> dict[str, Component]:
        """What claims become in this environment; those that lead nowhere become nothing."""
        await batch.look_up(tx, claims)
        found = {n: batch.resource(Kind.RESOURCE_CLAIM, n) for n in claims if batch.is_there(n)}
        own = {n: claim for n, claim in found.items() if isinstance(claim, ResourceClaim)}
        await batch.look_up(tx, {claim.type for claim in own.values()})
        types = {claim.type: batch.resource_type(claim.type) for claim in own.values()}
        return {
            name: as_component(claim, kind, scene.environment)
            for name, claim in own.items()
            if (kind := types[claim.type]) is not None
        }

    async def _reroute(
        self,
        tx: Transaction,
        scene: _Scene,
        moved: Collection[str],
        before: Mapping[str, Component | None],
        *,
        again: bool,
    ) -> set[str]:
        """Bring the index of claims up to date; who shares one that changed."""
        changed: dict[str, Mapping[str, Claim]] = {}
        shared: set[Claim] = set()
        for component in moved:
            old = _claims(scene, component, before.get(component))
            new = _claims(scene, component, scene.components.get(component))
            if old != new or (again and new):
                changed[component] = new
                shared |= {*old.values(), *new.values()}
        if not changed:
            return set()
        await self._repository.write_routes(tx, scene.name, changed)
        users = await self._repository.read_routes(tx, scene.name, shared)
        return {component for keys in users.values() for component, _ in keys}

    async def _resolve(
        self, tx: Transaction, batch: Batch, scene: _Scene, moves: Moves, affected: set[str]
    ) -> list[DeployedRow]:
        """Resolve every affected component; the rows that differ from before."""
        await self._load(tx, scene, affected)
        there = {c: component for c in affected if (component := scene.components.get(c))}
        behind = {target for c in there.values() for target, _ in calls_of(c)}
        await self._load(tx, scene, behind, read=self._codecs.provider_of)
        secrets = await self._secrets(tx, batch, there.values())
        definitions = await self._definitions(tx, batch, there.values())
        callers: dict[EndpointKey, set[str]] = defaultdict(set)
        exposed = [name for name, component in there.items() if component.endpoints]
        for caller, target, endpoint in await self._repository.read_callers(
            tx, scene.name, exposed
        ):
            callers[target, endpoint].add(caller)
        own = {name: _claims(scene, name, component) for name, component in there.items()}
        users = await self._repository.read_routes(
            tx, scene.name, {route for routes in own.values() for route in routes.values()}
        )
        grants = await read_grants(
            tx, scene.name, guarded(scene.components.get(name) for name in {*there, *behind})
        )
        changed: list[DeployedRow] = []
        for name in sorted(affected):
            old = scene.rows.get(name)
            component = there.get(name)
            if component is None:
                row = old and _gone(old)
            else:
                deployed = moves.get(name)
                release = deployed.release if deployed else old.release if old else ""
                around = Surroundings(
                    providers={
                        target: provider
                        for target, _ in calls_of(component)
                        if (provider := scene.components.get(target))
                    },
                    callers={
                        part: frozenset(callers.get((name, part), ()))
                        for part in (ANY_PORT, *(e.endpoint for e in component.endpoints))
                    },
                    secrets=secrets,
                    definitions={
                        name: definitions[name]
                        for name in versions_of(component)
                        if name in definitions
                    },
                    claims={
                        key: frozenset(users.get(claim, ())) - {(name, key)}
                        for key, claim in own[name].items()
                    },
                    grants=grants,
                )
                written = (
                    old.written
                    if old is not None and old.written and name not in moves
                    else self._codecs.component_bytes(component)
                )
                row = self._row(
                    scene, old, Deployed(release=release, component=component), around, written
                )
            if row is not None and row != old:
                changed.append(row)
        return changed

    def _row(
        self,
        scene: _Scene,
        old: DeployedRow | None,
        deployed: Deployed,
        around: Surroundings,
        written: bytes,
    ) -> DeployedRow:
        name = deployed.component.name
        cell = _cell(scene, name)
        result = resolve(cell, deployed, scene.environment, around)
        resolved = self._codecs.resolved_bytes(result.component) if result.component else None
        base = old or DeployedRow(environment=scene.name, component=name, cell=str(cell))
        return replace(
            base,
            release=deployed.release,
            is_deployed=True,
            is_dirty=resolved is not None and resolved != base.wanted,
            written=written,
            problems=self._codecs.problems_bytes(result.problems) if result.problems else None,
            resolved=resolved,
        )

    async def _secrets(
        self, tx: Transaction, batch: Batch, components: Iterable[Component]
    ) -> dict[str, SecretReference]:
        """Secret references that these components read, as they are after the batch."""
        names = {name for component in components for name, _ in secrets_of(component)}
        await batch.look_up(tx, names)
        found: dict[str, SecretReference] = {}
        for name in names:
            reference = batch.resource(Kind.SECRET_REFERENCE, name)
            if isinstance(reference, SecretReference):
                found[name] = reference
        return found

    async def _definitions(
        self, tx: Transaction, batch: Batch, components: Iterable[Component]
    ) -> dict[str, Definition]:
        """Versions of types and traits that these components are made of, by name."""
        names = {name for component in components for name in versions_of(component)}
        await batch.look_up(tx, names)
        claimed = {n: own for n in names if (own := batch.resource_type(n)) is not None}
        names -= claimed.keys()
        found = {name: batch.defined(name) for name in sorted(names)}
        return {n: definition_of(n, defined) for n, defined in found.items() if defined} | {
            n: definition_of_type(n, own) for n, own in claimed.items()
        }

    async def _load(
        self,
        tx: Transaction,
        scene: _Scene,
        names: Collection[str],
        read: Callable[[bytes], Component] | None = None,
    ) -> None:
        """Read what is deployed of *names*, by *read* where it is not known yet."""
        missing = set(names) - scene.components.keys()
        await self._read(tx, scene, missing)
        read = read or self._codecs.component_of
        for name in missing:
            row = scene.rows.get(name)
            scene.components[name] = read(row.written) if row and row.written else None

    async def _read(self, tx: Transaction, scene: _Scene, names: Collection[str]) -> None:
        """Read the rows of *names* that were not read yet."""
        if missing := set(names) - scene.read:
            scene.read |= missing
            scene.rows |= await self._repository.read_deployed(tx, scene.name, missing)


def _gone(row: DeployedRow) -> DeployedRow:
    return replace(
        row,
        release="",
        is_deployed=False,
        is_dirty=row.wanted is not None,
        written=None,
        problems=None,
        resolved=None,
    )


def _cell(scene: _Scene, component: str) -> CellName:
    return cell_name(project_of(component), scene.name.rsplit("/", 1)[-1])


def _claims(scene: _Scene, name: str, component: Component | None) -> dict[str, Claim]:
    if component is None:
        return {}
    return claims_of(_cell(scene, name), component, scene.environment)

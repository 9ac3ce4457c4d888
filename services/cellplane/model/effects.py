"""What follows from a batch that is stored: releases, deployments, and Cells that are resolved.

All of it in the batch's own transaction, so that nobody ever sees the one without the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cellplane.api.model.v1 import cell_pb2, deployment_pb2
from cellplane.cell.problem import Invalid, Problem
from cellplane.cell.visibility import Visibility
from cellplane.model.batch import (
    Batch,
    Cause,
    CauseType,
    Change,
    complete,
    is_deployed_now,
    is_new_intent,
    may_deploy_now,
    otherwise_of,
    read_along,
)
from cellplane.model.catalog.effects import Catalog
from cellplane.model.convert import Codecs
from cellplane.model.domain.claimed import is_claim
from cellplane.model.domain.default import override, without_hostnames
from cellplane.model.domain.kinds import (
    Kind,
    environment_name,
    organization_of,
    project_of,
)
from cellplane.model.domain.promote import first_environment
from cellplane.model.domain.references import Reference, Resource, references_of
from cellplane.model.domain.resolve import Deployed
from cellplane.model.domain.resources import Deployment, DeploymentPipeline, SecretReference
from cellplane.model.domain.secrets import touched_keys
from cellplane.model.promotions.frozen import refuse_frozen
from cellplane.model.promotions.history import History
from cellplane.model.promotions.retention import forget_old
from cellplane.model.records import Records
from cellplane.model.repository import Repository
from cellplane.model.resolution import Resolver, Shift
from cellplane.store.database import Transaction

_FRAME_FIELDS = {
    Kind.ORGANIZATION: ("isolation", "encryption", "placement", "rules"),
    Kind.ENVIRONMENT: (
        "isolation",
        "encryption",
        "placement",
        "production",
        "effective_public_domain",
        "effective_organization_domain",
        "rules",
    ),
    Kind.PROJECT: ("placement",),
}


_DOMAINS = ("effective_public_domain", "effective_organization_domain")


class Effects:
    """Applies what follows from batches."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        records: Records,
        resolver: Resolver,
        catalog: Catalog,
        history: History,
    ) -> None:
        self._history = history
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._resolver = resolver
        self._catalog = catalog

    async def apply(self, tx: Transaction, batch: Batch) -> None:
        """Bring about what a batch means; its resources are stored already.

        Raises:
            Invalid: public endpoints of the batch collide with others that are deployed, or it
                deploys to an environment that is frozen.
        """
        await self._mention(tx, batch)
        await self._catalog.keep(tx, batch)
        written = batch.of_kind(Kind.DEPLOYMENT)
        released = await self._release(tx, batch)
        deployments = [*written, *released]
        if batch.cause.is_direct:
            await refuse_frozen(tx, batch, deployments, self._records.clock.now())
        await self._history.note(tx, written, batch.cause)
        await self._history.note(tx, released, Cause(type=CauseType.AUTOMATIC))
        moves = await self._moves(tx, batch, deployments)
        frames = await self._frames(tx, batch)
        secrets = await self._secrets(tx, batch)
        claims = await self._claims(tx, batch)
        ruled = {c.name for c in batch.changes if _has_new_rules(c)}
        shifts = {
            environment: Shift(
                moves=moves.get(environment, {}),
                cells=frozenset(frames.get(environment, ())),
                secrets=secrets.get(environment, {}),
                everything=environment in batch.by_name
                and _has_new_domain(batch.by_name[environment]),
                claims=frozenset(claims.get(environment, ())),
                rules=bool(ruled & {environment, organization_of(environment)}),
            )
            for environment in moves.keys() | frames.keys() | secrets.keys() | claims.keys()
        }
        await self._resolver.settle(tx, batch, shifts)
        await self._catalog.settle(tx, batch, moves)
        await self._refuse_collisions(tx, moves)

    async def _mention(self, tx: Transaction, batch: Batch) -> None:
        for change in batch.changes:
            if change.new is None:
                await self._repository.write_mentions(tx, change.name, ())
                continue
            new, old = batch.resource(change.kind, change.name), batch.before(change)
            own = () if new is None else _mentions(new)
            if old is None or own != _mentions(old):
                await self._repository.write_mentions(tx, change.name, own)

    async def _release(self, tx: Transaction, batch: Batch) -> list[Change]:
        """Make releases of components, and deploy those that want it to the first environment."""
        fresh = [c for c in batch.of_kind(Kind.COMPONENT) if c.new is not None]
        releases = [c.new.latest_release for c in fresh if is_new_intent(c)]
        willing = [c for c in fresh if may_deploy_now(c)]
        if not releases and not willing:
            return []
        projects = {project_of(c.name) for c in (*willing, *fresh)}
        await batch.look_up(tx, {*releases, *projects})
        for name in releases:
            if batch.stored(name) is None:
                await self._records.write(tx, batch.message(name), None)
                await forget_old(tx, self._records, batch, name)
        targets = await self._first_deployments(tx, batch, willing)
        changes: list[Change] = []
        for component, name in targets:
            if name in batch.by_name:
                # Who writes a deployment says what it is.
                continue
            record = batch.stored(name)
            old = record.message if record else None
            new = deployment_pb2.Deployment(name=name)
            if old is not None:
                new.CopyFrom(old)
            new.release = component.latest_release
            complete(self._codecs, Kind.DEPLOYMENT, new)
            if old is not None and old.release == new.release:
                continue
            await self._records.write(tx, new, record.stored if record else None)
            if old is None:
                mentions = _mentions(self._codecs.resource(Kind.DEPLOYMENT, new))
                await self._repository.write_mentions(tx, name, mentions)
            changes.append(Change(kind=Kind.DEPLOYMENT, name=name, old=old, new=new))
        return changes

    async def _first_deployments(
        self, tx: Transaction, batch: Batch, willing: Sequence[Change]
    ) -> list[tuple[Any, str]]:
        """Name of each component's deployment in its pipeline's first environment."""
        projects = {c.name: batch.message(project_of(c.name)) for c in willing}
        await batch.look_up(tx, {p.deployment_pipeline for p in projects.values() if p})
        found: dict[str, str] = {}
        # Whatever a Cell is made from is read along, at once.
        wanted: set[str] = set()
        components = [change.new for change in willing]
        for change, component in zip(willing, components, strict=True):
            project = projects[component.name]
            pipeline = batch.resource(Kind.DEPLOYMENT_PIPELINE, project.deployment_pipeline)
            if isinstance(pipeline, DeploymentPipeline) and is_deployed_now(
                change, otherwise=otherwise_of(project, pipeline)
            ):
                environment = first_environment(pipeline)
                environment_id = environment.rsplit("/", 1)[-1]
                found[component.name] = f"{component.name}/deployments/{environment_id}"
                wanted |= read_along(component.name, environment)
        await batch.look_up(tx, wanted)
        return [(c, found[c.name]) for c in components if c.name in found]

    async def _moves(
        self, tx: Transaction, batch: Batch, deployments: list[Change]
    ) -> dict[str, dict[str, Deployed | None]]:
        """What is deployed where, by environment and component."""
        await batch.look_up(
            tx, [d.new.release for d in deployments if d.new and not batch.is_there(d.new.release)]
        )
        await batch.look_up(tx, {_environment_of(d.name) for d in deployments})
        moves: dict[str, dict[str, Deployed | None]] = defaultdict(dict)
        for change in deployments:
            component, _, environment_id = change.name.rpartition("/deployments/")
            environment = environment_name(organization_of(change.name), environment_id)
            if change.new is None:
                moves[environment][component] = None
                continue
            written = self._codecs.resource(Kind.DEPLOYMENT, change.new)
            release = batch.message(change.new.release)
            if not isinstance(written, Deployment) or release is None:
                raise ValueError(f'release "{change.new.release}" is not there')
            snapshot = self._codecs.component.to_domain(release.snapshot)
            place = batch.message(environment)
            if place is not None and place.preview:
                snapshot = without_hostnames(snapshot)
            moves[environment][component] = Deployed(
                release=change.new.release.rsplit("/", 1)[-1],
                component=override(snapshot, written.overrides),
            )
        return moves

    async def _frames(self, tx: Transaction, batch: Batch) -> dict[str, set[str]]:
        """Cells whose frame or requirement a batch changes, by environment."""
        names: set[str] = set()
        for change in batch.changes:
            fields = _FRAME_FIELDS.get(change.kind, ())
            if not change.old or not change.new or not _differ(change.old, change.new, fields):
                continue
            match change.kind:
                case Kind.ORGANIZATION:
                    names |= {*await self._repository.cell_names(tx, organization=change.name)}
                case Kind.ENVIRONMENT:
                    names |= {*await self._repository.cell_names(tx, environment=change.name)}
                case _:
                    names |= {*await self._repository.cell_names(tx, project=change.name)}
        found: dict[str, set[str]] = defaultdict(set)
        for name in names:
            found[_environment_of(name)].add(name)
        return found

    async def _secrets(self, tx: Transaction, batch: Batch) -> dict[str, dict[str, frozenset[str]]]:
        """Keys of secrets that a batch changes, by environment of a Cell that may read them."""
        found: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
        for change in batch.of_kind(Kind.SECRET_REFERENCE):
            before, after = batch.before(change), batch.resource(change.kind, change.name)
            if keys := touched_keys(_as_secret(before), _as_secret(after)):
                project = project_of(change.name)
                for cell in await self._repository.cell_names(tx, project=project):
                    found[_environment_of(cell)][change.name] = keys
        return found

    async def _claims(self, tx: Transaction, batch: Batch) -> dict[str, set[str]]:
        """Resource claims that a batch changes, or the type of, by environment of a Cell."""
        claims = {c.name for c in batch.of_kind(Kind.RESOURCE_CLAIM)}
        types = {c.name for c in batch.of_kind(Kind.RESOURCE_TYPE)}
        if types:
            mentions = await self._repository.read_mentions(tx, types)
            claims |= {m.source for m in mentions if is_claim(m.source)}
        found: dict[str, set[str]] = defaultdict(set)
        for name in sorted(claims):
            for cell in await self._repository.cell_names(tx, project=project_of(name)):
                found[_environment_of(cell)].add(name)
        return found

    async def _refuse_collisions(
        self, tx: Transaction, moves: Mapping[str, Mapping[str, Deployed | None]]
    ) -> None:
        problems: list[Problem] = []
        for environment, moved in moves.items():
            public = [name for name, deployed in moved.items() if deployed and _is_public(deployed)]
            if not public:
                continue
            rows = await self._repository.read_deployed(tx, environment, public)
            for row in rows.values():
                found = cell_pb2.Cell.FromString(row.problems or b"").problems
                problems += [
                    self._codecs.problem.to_domain(p)
                    for p in found
                    if p.reason == "ROUTE_COLLISION"
                ]
        if problems:
            raise Invalid(
                f"public endpoints collide: {problems[0].message}",
                problems=problems,
                reason="RESOURCE_INVALID",
            )


def _environment_of(cell: str) -> str:
    return environment_name(organization_of(cell), cell.rsplit("/", 1)[-1])


def _as_secret(resource: Resource | None) -> SecretReference | None:
    return resource if isinstance(resource, SecretReference) else None


def _mentions(resource: Resource) -> tuple[Reference, ...]:
    """References that keep their target from being deleted: not those to what it is inside of.

    Releases are nobody's to delete.
    """
    return tuple(
        r
        for r in references_of(resource)
        if r.kind is not Kind.RELEASE and not resource.name.startswith(f"{r.target}/")
    )


def _differ(old: Any, new: Any, fields: Iterable[str]) -> bool:
    return any(getattr(old, field) != getattr(new, field) for field in fields)


def _has_new_domain(change: Change) -> bool:
    return bool(change.old and change.new and _differ(change.old, change.new, _DOMAINS))


def _has_new_rules(change: Change) -> bool:
    return (
        change.kind in (Kind.ORGANIZATION, Kind.ENVIRONMENT)
        and bool(change.old and change.new)
        and _differ(change.old, change.new, ("rules",))
    )


def _is_public(deployed: Deployed) -> bool:
    return any(Visibility.PUBLIC in e.visibilities for e in deployed.component.endpoints)

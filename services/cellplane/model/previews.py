"""Previews: environments that are made from a template, and end by themselves.

Everything happens in the transaction that writes the preview: its environment, its deployments and
the releases that its images are. Its end takes all of it back the same way, so that nothing is left
but history. What calls for an end is a row with its time: one process waits for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from cellplane.api.model.v1 import deployment_pb2, environment_pb2
from cellplane.cell.names import last_segment
from cellplane.cell.problem import CellplaneError, Findings, Problem, ResourceExhausted
from cellplane.model.apply import invalid
from cellplane.model.batch import Batch, Change, complete
from cellplane.model.check import Checker
from cellplane.model.convert import Codecs, release_of
from cellplane.model.domain.kinds import (
    Kind,
    check_reference,
    ids,
    organization_of,
    parent_of,
    project_of,
)
from cellplane.model.domain.previews import Wanted, check_components, environment_id, lifetime
from cellplane.model.domain.touched import calls_of
from cellplane.model.domain.validate import validate_annotations
from cellplane.model.effects import Effects
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.model.tables import calls, preview_ends
from cellplane.resource.standard import Hooks
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Resources

_LONGEST_SLEEP: Final = 300.0
"""A clock that was set is noticed by then."""


class Previews:
    """Makes previews and ends them, inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        records: Records,
        resources: Resources,
        checker: Checker,
        effects: Effects,
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._t = resources.tables.resources
        self._checker = checker
        self._effects = effects
        self.changed = asyncio.Event()

    def hooks(self) -> Hooks:
        """What comes with every write of a preview."""
        return Hooks(before_write=self._bring_about)

    async def _bring_about(self, tx: Transaction, new: Any, old: Any) -> None:
        """Make the environment of a preview what it is to be, before the preview is stored."""
        findings = Findings(path="preview")
        findings.problems.extend(validate_annotations(new.annotations))
        template = await self._template(tx, new, findings)
        born = self._records.clock.now()
        if old is not None:
            born = old.expire_time.ToDatetime(tzinfo=UTC) - old.ttl.ToTimedelta()
        policy = template.preview_policy
        ttl = lifetime(
            _duration(new, "ttl"),
            _duration(policy, "default_ttl"),
            _duration(policy, "max_ttl"),
            findings.at("ttl"),
        )
        base = await self._deployed(tx, new, last_segment(template.name))
        own = {n: d.release for n, d in base.items() if project_of(n) == parent_of(new.name)}
        wanted = [
            Wanted(component=c.component, image=c.image, release=c.release) for c in new.components
        ]
        check_components(new.name, wanted, own, findings.at("components"))
        if findings.problems:
            raise invalid(findings.problems)
        if old is None:
            await self._keep_quota(tx, parent_of(new.name))
        new.ttl.FromTimedelta(ttl)
        new.expire_time.FromDatetime(born + ttl)
        place = environment_id(new.name)
        new.environment = f"{organization_of(new.name)}/environments/{place}"
        if old is not None:
            new.cells.extend(old.cells)
            new.releases.extend(old.releases)
        if old is None or list(old.components) != list(new.components):
            await self._deploy(tx, new, template, base, wanted)
        await self._remember(tx, new.name, born + ttl)

    async def _template(self, tx: Transaction, new: Any, findings: Findings) -> Any:
        at = findings.at("template")
        organization = organization_of(new.name)
        if not check_reference(Kind.ENVIRONMENT, new.template, organization, at):
            raise invalid(findings.problems)
        below = await self._records.below(tx, organization, [Kind.ENVIRONMENT])
        found = {r.stored.name: r.message for r in below}
        template = found.get(new.template)
        if template is None or not template.HasField("preview_policy"):
            able = sorted(n for n, e in found.items() if e.HasField("preview_policy"))
            what = "is no template of previews" if template is not None else "does not exist"
            at.add(
                "TEMPLATE_NOT_FOUND",
                f'environment "{new.template}" {what}: those that are {", ".join(able) or "none"}; '
                "a preview_policy makes one",
                value=new.template,
            )
            raise invalid(findings.problems)
        return template

    async def _keep_quota(self, tx: Transaction, project: str) -> None:
        """Writers queue, so that nobody counts what another is about to add."""
        t = self._t
        below = t.c.name > sa.bindparam("low"), t.c.name < sa.bindparam("high")
        count = sa.select(sa.func.count()).where(t.c.kind == Kind.PREVIEW.value, *below)
        owners = await self._records.get_many(tx, [project, organization_of(project)])
        for name in sorted(owners, reverse=True):
            quota = owners[name].message.preview_quota
            values = {"low": f"{name}/", "high": f"{name}0"}
            if quota and (await tx.execute(count, values)).scalar_one() >= quota:
                raise ResourceExhausted(
                    f"{name} may have {quota} previews at a time: end one with `cellplane preview "
                    "delete`, or raise its preview_quota",
                    reason="QUOTA_EXCEEDED",
                    metadata={"name": name, "quota": str(quota)},
                )

    async def _deployed(self, tx: Transaction, new: Any, base: str) -> dict[str, Any]:
        """Deployments in the template's environment of the project and all that it calls."""
        found: dict[str, Any] = {}
        waiting, seen = [parent_of(new.name)], {parent_of(new.name)}
        named = [c.release for c in new.components if ids(Kind.RELEASE, c.release)]
        releases = await self._records.get_many(tx, named)
        further = {
            target
            for record in releases.values()
            for target, _ in calls_of(self._codecs.component.to_domain(record.message.snapshot))
        }
        while waiting:
            project = waiting.pop()
            for record in await self._records.below(tx, project, [Kind.DEPLOYMENT]):
                component, _, environment = record.stored.name.rpartition("/deployments/")
                if environment == base:
                    found[component] = record.message
            query = sa.select(calls.c.target).where(
                calls.c.environment == f"{organization_of(project)}/environments/{base}",
                calls.c.caller > f"{project}/",
                calls.c.caller < f"{project}0",
            )
            targets = {*(await tx.execute(query)).scalars(), *further}
            fresh = {project_of(target) for target in targets} - seen
            seen |= fresh
            waiting += sorted(fresh)
            further = set()
        return found

    async def _deploy(
        self,
        tx: Transaction,
        new: Any,
        template: Any,
        base: dict[str, Any],
        wanted: Sequence[Wanted],
    ) -> None:
        """Deploy what the template has, with what is wanted otherwise; the rest goes."""
        place = last_segment(new.environment)
        made: list[str] = []
        releases = {name: one.release for name, one in base.items()}
        for one in wanted:
            releases[one.component] = await self._release(
                tx, one, releases.get(one.component, ""), made
            )
        there = await self._records.get_many(
            tx, [new.environment, *(f"{name}/deployments/{place}" for name in releases)]
        )
        changes: list[Change] = []
        if new.environment not in there:
            changes.append(
                Change(
                    kind=Kind.ENVIRONMENT,
                    name=new.environment,
                    new=_environment(new, template, self._codecs),
                )
            )
        for component, release in sorted(releases.items()):
            name = f"{component}/deployments/{place}"
            deployment = deployment_pb2.Deployment(name=name)
            if component in base:
                deployment.overrides.CopyFrom(base[component].overrides)
            deployment.release = release
            complete(self._codecs, Kind.DEPLOYMENT, deployment)
            old = there[name].message if name in there else None
            if old is None or (old.release, old.overrides) != (release, deployment.overrides):
                changes.append(Change(kind=Kind.DEPLOYMENT, name=name, old=old, new=deployment))
        await self._store(tx, changes, there)
        cells = sorted({f"{project_of(c)}/cells/{place}" for c in releases})
        cells.sort(key=lambda name: project_of(name) != parent_of(new.name))
        before, used = set(new.releases), set(releases.values())
        unused = before - used
        del new.cells[:], new.releases[:]
        new.cells.extend(cells)
        new.releases.extend(sorted({*made, *(before & used)}))
        await self._drop(tx, unused)

    async def _release(self, tx: Transaction, one: Wanted, deployed: str, made: list[str]) -> str:
        """The release that a component is to run; one that is not there yet is made."""
        name = one.release or deployed
        record = await self._records.get(tx, name)
        if record is None or record.kind is not Kind.RELEASE:
            problem = Problem(
                reason="REFERENCE_NOT_FOUND",
                field="preview.components",
                value=name,
                message=f'release "{name}" of component "{one.component}" does not exist',
            )
            raise invalid([problem])
        if not one.image:
            return name
        snapshot = type(record.message.snapshot)()
        snapshot.CopyFrom(record.message.snapshot)
        snapshot.workload.image = one.image
        release = release_of(snapshot)
        if await self._records.get(tx, release.name) is None:
            await self._records.write(tx, release, None)
            made.append(release.name)
        return str(release.name)

    async def _store(
        self, tx: Transaction, changes: Sequence[Change], there: dict[str, Record]
    ) -> None:
        batch = Batch(self._codecs, self._records, changes, is_preview=True)
        wrong = await self._checker.check(tx, batch)
        problems = [
            Problem(
                reason=p.reason,
                field="preview.components",
                value=p.value,
                resource=name,
                message=f"{parent_of(name)}: {p.field}: {p.message}",
            )
            for name, some in sorted(wrong.items())
            for p in some
        ]
        if problems:
            raise invalid(problems)
        for change in changes:
            before = there[change.name].stored if change.name in there else None
            await self._records.write(tx, change.new, before)
        await self._effects.apply(tx, batch)

    async def _remember(self, tx: Transaction, name: str, end: datetime) -> None:
        await self._forget(tx, name)
        await tx.execute(sa.insert(preview_ends), {"name": name, "expire_time": end})
        tx.after_commit(self.changed.set)

    async def _forget(self, tx: Transaction, name: str) -> None:
        await tx.execute(sa.delete(preview_ends).where(preview_ends.c.name == name))

    async def end(self, tx: Transaction, record: Record) -> None:
        """Take back all that a preview stands for; the preview itself is the caller's to remove."""
        environment: str = record.message.environment
        mentions = await self._repository.read_mentions(tx, [environment])
        sources = [m.source for m in mentions if ids(Kind.DEPLOYMENT, m.source)]
        # A Cell goes with the last of its deployments, while its environment is still there.
        await self._remove(tx, await self._records.get_many(tx, sources))
        await self._remove(tx, await self._records.get_many(tx, [environment]))
        await self._drop(tx, record.message.releases)
        await self._forget(tx, record.stored.name)

    async def _remove(self, tx: Transaction, records: dict[str, Record]) -> None:
        for name in sorted(records):
            await self._records.remove(tx, name)
        changes = [
            Change(kind=r.kind, name=name, old=r.message) for name, r in sorted(records.items())
        ]
        if changes:
            await self._effects.apply(tx, Batch(self._codecs, self._records, changes))

    async def _drop(self, tx: Transaction, releases: Iterable[str]) -> None:
        """Remove releases that were made for a preview, unless somebody else keeps one."""
        for name in sorted(releases):
            component = parent_of(name)
            owner = await self._records.get(tx, component)
            if owner is None or await self._records.get(tx, name) is None:
                continue
            kept = {owner.message.latest_release}
            for record in await self._records.below(tx, component, [Kind.DEPLOYMENT]):
                kept.add(record.message.release)
            if name not in kept:
                await self._records.remove(tx, name)

    def now(self) -> datetime:
        """The time."""
        return self._records.clock.now()

    async def pause(self) -> None:
        """Wait before the lead is asked for again."""
        await self._records.clock.sleep(1.0)

    async def next_end(self, tx: Transaction) -> datetime | None:
        """When the next preview ends, if any does."""
        found: datetime | None = (
            await tx.execute(sa.select(sa.func.min(preview_ends.c.expire_time)))
        ).scalar_one_or_none()
        return found

    async def expire(self, tx: Transaction) -> None:
        """End the previews whose time is over."""
        now = self._records.clock.now()
        query = sa.select(preview_ends.c.name).where(preview_ends.c.expire_time <= now)
        for name in sorted((await tx.execute(query)).scalars()):
            record = await self._records.get(tx, name)
            if record is None:
                await self._forget(tx, name)
                continue
            await self.end(tx, record)
            await self._records.remove(tx, name)


async def end_previews(previews: Previews, database: Database) -> None:
    """End each preview when its time is over: one process at a time, as long as it serves."""

    async def lead() -> None:
        while True:
            previews.changed.clear()
            async with database.snapshot() as tx:
                end = await previews.next_end(tx)
            wait = _LONGEST_SLEEP
            if end is not None:
                wait = (end - previews.now()).total_seconds()
            if wait <= 0:
                async with database.transaction() as tx:
                    await previews.expire(tx)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, _LONGEST_SLEEP)):
                    await previews.changed.wait()

    async with database.listen(previews.changed.set):
        while True:
            with contextlib.suppress(CellplaneError):
                await database.lead("previews", lead)
            await previews.pause()


def _environment(new: Any, template: Any, codecs: Codecs) -> environment_pb2.Environment:
    """The environment of a preview: its template's, under names of its own."""
    made = environment_pb2.Environment(
        name=new.environment,
        display_name=f"Preview {last_segment(new.name)} of {last_segment(parent_of(new.name))}",
        isolation=template.isolation,
        encryption=template.encryption,
        preview=new.name,
        template=template.name,
    )
    for field in ("placement", "rules"):
        if template.HasField(field):
            getattr(made, field).CopyFrom(getattr(template, field))
    for field in ("public_domain", "organization_domain"):
        if domain := getattr(template, field):
            setattr(made, field, f"{last_segment(new.environment)}.{domain}")
    complete(codecs, Kind.ENVIRONMENT, made)
    return made


def _duration(message: Any, field: str) -> timedelta | None:
    return getattr(message, field).ToTimedelta() if message.HasField(field) else None

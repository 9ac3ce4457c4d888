"""Tells whom a change of types and traits would change, and how: nothing is stored.

What is deployed is rendered twice: as it is, and with the definitions that are given. A data plane
that has everything stands for those where it runs, as the model knows none of them.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cellplane.api.model.v1 import type_impact_pb2 as pb
from cellplane.api.model.v1 import type_impact_pb2_grpc
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.definition import Definition
from cellplane.cell.manifest import Compiled, ObjectKey
from cellplane.cell.names import last_segment
from cellplane.cell.plane import EXTERNAL_SECRETS, KEDA, DataPlaneProfile, Peers
from cellplane.cell.problem import Invalid, NotFound, Problem
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind, cell_name, project_of
from cellplane.model.domain.promote import first_environment
from cellplane.model.domain.resolve import frame, outbound_of
from cellplane.model.domain.resources import (
    ComponentType,
    DeploymentPipeline,
    Environment,
    Organization,
    Trait,
)
from cellplane.model.domain.types import definition_of, validate_defined
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.model.template.difference import differences
from cellplane.model.workload.compile import compile as compile_workloads
from cellplane.store.database import Database, Transaction

_PLANE: Final = DataPlaneProfile(
    data_plane="any",
    uid="00000000-0000-0000-0000-000000000000",
    organization="any",
    trust_domain="any.internal",
    capabilities=(EXTERNAL_SECRETS, KEDA),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One component in one environment."""

    component: str
    environment: str
    immediate: bool
    before: ResolvedCell
    after: ResolvedCell


class TypeImpactService(type_impact_pb2_grpc.TypeImpactServiceServicer):
    """See ``model/v1/type_impact.proto``."""

    def __init__(
        self, database: Database, records: Records, repository: Repository, codecs: Codecs
    ) -> None:
        self._database = database
        self._records = records
        self._repository = repository
        self._codecs = codecs

    async def AnalyzeTypeChanges(
        self, request: pb.AnalyzeTypeChangesRequest, context: Any
    ) -> pb.AnalyzeTypeChangesResponse:
        """Render followers as they are, and as they would be."""
        given = self._given(request)
        async with self._database.snapshot() as tx:
            followers, pinned = await self._users(tx, given)
            cases = await self._cases(tx, request.parent, given, followers)
        answer = pb.AnalyzeTypeChangesResponse(follower_count=len(followers), pinned_count=pinned)
        # Rendering takes no lock and no connection; other calls go on meanwhile.
        answer.impacts.extend(await asyncio.to_thread(self._judge, cases))
        return answer

    def _given(self, request: pb.AnalyzeTypeChangesRequest) -> dict[str, Definition]:
        found: dict[str, Definition] = {}
        problems: list[Problem] = []
        for field, kind, messages in (
            ("component_types", Kind.COMPONENT_TYPE, request.component_types),
            ("traits", Kind.TRAIT, request.traits),
        ):
            for index, message in enumerate(messages):
                defined = self._codecs.resource(kind, message)
                if not isinstance(defined, ComponentType | Trait):
                    continue
                problems += [
                    replace(p, field=f"{field}[{index}].{p.field}")
                    for p in validate_defined(defined)
                ]
                found[defined.name] = definition_of(f"{defined.name} (as given)", defined)
        if problems:
            raise Invalid(problems[0].message, problems=problems, reason="RESOURCE_INVALID")
        return found

    async def _users(
        self, tx: Transaction, given: Mapping[str, Definition]
    ) -> tuple[dict[str, Record], int]:
        """Components that would follow, by name, and how many have it and would not."""
        mentions = await self._repository.read_mentions(tx, given.keys())
        found = await self._records.get_many(tx, {m.source for m in mentions})
        followers = {n: r for n, r in sorted(found.items()) if _follows(r.message, given)}
        return followers, len(found) - len(followers)

    async def _cases(
        self,
        tx: Transaction,
        parent: str,
        given: Mapping[str, Definition],
        followers: Mapping[str, Record],
    ) -> list[_Case]:
        owner = await self._records.get(tx, parent)
        if owner is None:
            raise NotFound(f"{parent} does not exist", metadata={"name": parent})
        organization = self._codecs.resource(Kind.ORGANIZATION, owner.message)
        first = await self._first(tx, followers)
        cases: list[_Case] = []
        for record in await self._records.below(tx, parent, [Kind.ENVIRONMENT]):
            environment = self._codecs.resource(Kind.ENVIRONMENT, record.message)
            if not isinstance(environment, Environment) or not isinstance(
                organization, Organization
            ):
                continue
            rows = await self._repository.read_deployed(tx, environment.name, followers.keys())
            for name, row in sorted(rows.items()):
                if row.resolved is None:
                    continue
                resolved = self._codecs.resolved_of(row.resolved)
                after = _with(resolved, followers[name].message, given)
                own = cell_name(project_of(name), last_segment(environment.name))
                around = frame(own, organization, environment, outbound_of(resolved))
                cell = ResolvedCell(cell=str(own), revision=0, frame=around)
                cases.append(
                    _Case(
                        component=name,
                        environment=environment.name,
                        immediate=first.get(name) == environment.name,
                        before=replace(cell, components=(resolved,)),
                        after=replace(cell, components=(after,)),
                    )
                )
        return cases

    async def _first(self, tx: Transaction, followers: Mapping[str, Record]) -> dict[str, str]:
        """The environment to which each follower is deployed by itself."""
        own = {n: r for n, r in followers.items() if _deploys(r.message)}
        projects = await self._records.get_many(tx, {project_of(name) for name in own})
        pipelines = await self._records.get_many(
            tx, {p.message.deployment_pipeline for p in projects.values()}
        )
        found: dict[str, str] = {}
        for name in own:
            project = projects[project_of(name)].message
            record = pipelines.get(project.deployment_pipeline)
            pipeline = record and self._codecs.resource(Kind.DEPLOYMENT_PIPELINE, record.message)
            if isinstance(pipeline, DeploymentPipeline):
                found[name] = first_environment(pipeline)
        return found

    def _judge(self, cases: list[_Case]) -> list[pb.TypeImpact]:
        found: list[pb.TypeImpact] = []
        for case in cases:
            before, after = _compiled(case.before), _compiled(case.after)
            impact = pb.TypeImpact(
                component=case.component,
                environment=case.environment,
                immediate=case.immediate,
                problems=[self._codecs.problem.to_wire(p) for p in after.problems],
            )
            if not after.problems:
                impact.changes.extend(_changes(before, after))
            if impact.changes or impact.problems:
                found.append(impact)
        return found


def _follows(component: Any, given: Mapping[str, Definition]) -> bool:
    own = component.type in given and not component.type_version
    return own or any(t.trait in given and not t.trait_version for t in component.traits)


def _deploys(component: Any) -> bool:
    return component.auto_deploy if component.HasField("auto_deploy") else True


def _with(
    resolved: ResolvedComponent, written: Any, given: Mapping[str, Definition]
) -> ResolvedComponent:
    """A component as it is deployed, with the definitions that are given."""
    own = resolved.type
    if own is None:
        return resolved
    pins = {t.instance: t for t in written.traits}
    definition = given.get(written.type) if not written.type_version else None
    traits = tuple(
        replace(trait, definition=given.get(pins[trait.instance].trait, trait.definition))
        if trait.instance in pins and not pins[trait.instance].trait_version
        else trait
        for trait in own.traits
    )
    if definition is not None and own.definition is None:
        return resolved
    return replace(
        resolved, type=replace(own, definition=definition or own.definition, traits=traits)
    )


def _compiled(cell: ResolvedCell) -> Compiled:
    return compile_workloads(cell, _PLANE, Peers(), include_frame=False)


def _changes(before: Compiled, after: Compiled) -> list[pb.ObjectChange]:
    old: dict[ObjectKey, bytes] = {m.key: m.content for m in before.manifests}
    new: dict[ObjectKey, bytes] = {m.key: m.content for m in after.manifests}
    found: list[pb.ObjectChange] = []
    for key in sorted(old.keys() | new.keys()):
        change = pb.ObjectChange(object=f"{key.kind} {key.object}")
        if key not in new:
            change.action = pb.ObjectChange.REMOVED
        elif key not in old:
            change.action = pb.ObjectChange.ADDED
        elif old[key] != new[key]:
            change.action = pb.ObjectChange.CHANGED
            for one in differences(json.loads(old[key]), json.loads(new[key])):
                change.fields.add(path=one.path, old_value=one.old, new_value=one.new)
        else:
            continue
        found.append(change)
    return found

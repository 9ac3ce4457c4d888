"""Tells who keeps the platform's rules, and who would not keep others: nothing is stored.

The rules of every environment below the named resource are judged anew from what is deployed, so
that an answer holds for rules that nobody has set yet.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cellplane.api.model.v1 import platform_rules_pb2 as pb
from cellplane.api.model.v1 import platform_rules_pb2_grpc
from cellplane.api.type.v1 import platform_rules_pb2
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Invalid, NotFound, Problem
from cellplane.cell.rules import OwnedRules, PlatformRules
from cellplane.model.compliance import Compliance
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind, cell_name, ids, organization_of, project_of
from cellplane.model.domain.resources import Component, Environment, Organization
from cellplane.model.domain.rules import Usage, in_force, judge, judge_cell, usage_of
from cellplane.model.records import Records
from cellplane.rpc.codec import Codec
from cellplane.store.database import Database, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One violation, by what it is compared by."""

    cell: str
    component: str
    problem: Problem


class PlatformRuleService(platform_rules_pb2_grpc.PlatformRuleServiceServicer):
    """See ``model/v1/platform_rules.proto``."""

    def __init__(
        self, database: Database, records: Records, codecs: Codecs, compliance: Compliance
    ) -> None:
        self._database = database
        self._records = records
        self._codecs = codecs
        self._compliance = compliance
        self._rules = Codec(PlatformRules, platform_rules_pb2.PlatformRules)

    async def AnalyzePlatformRules(
        self, request: pb.AnalyzePlatformRulesRequest, context: Any
    ) -> pb.AnalyzePlatformRulesResponse:
        """Find whoever does not keep rules."""
        asked = self._rules.to_domain(request.rules) if request.HasField("rules") else None
        answer = pb.AnalyzePlatformRulesResponse()
        async with self._database.snapshot() as tx:
            organization, environments = await self._read(tx, request.name)
            for environment in environments:
                deployed = await self._compliance.deployed(tx, environment.name)
                components = [c for c in deployed.values() if c is not None]
                answer.component_count += len(components)
                now = in_force(organization, environment)
                then = now
                if asked is not None:
                    other = replace(organization, rules=asked)
                    place = replace(environment, rules=asked)
                    then = (
                        in_force(other, environment)
                        if request.name == organization.name
                        else in_force(organization, place)
                    )
                before = set(map(_sign, _judge(components, environment.name, now)))
                for found in _judge(components, environment.name, then):
                    answer.violations.add(
                        cell=found.cell,
                        component=found.component,
                        problem=self._codecs.problem.to_wire(found.problem),
                        newly=_sign(found) not in before,
                    )
        return answer

    async def _read(self, tx: Transaction, name: str) -> tuple[Organization, list[Environment]]:
        kind = next((k for k in (Kind.ORGANIZATION, Kind.ENVIRONMENT) if ids(k, name)), None)
        if kind is None:
            problem = Problem(
                reason="NAME_INVALID",
                field="name",
                value=name,
                message=f'"{name}" has no rules: write organizations/* or '
                "organizations/*/environments/*",
            )
            raise Invalid(problem.message, problems=[problem])
        owner = await self._records.get(tx, organization_of(name))
        if owner is None or (
            kind is Kind.ENVIRONMENT and await self._records.get(tx, name) is None
        ):
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        organization = self._codecs.resource(Kind.ORGANIZATION, owner.message)
        below = await self._records.below(tx, organization_of(name), [Kind.ENVIRONMENT])
        found = [
            self._codecs.resource(Kind.ENVIRONMENT, record.message)
            for record in below
            if kind is Kind.ORGANIZATION or record.stored.name == name
        ]
        if not isinstance(organization, Organization):
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        return organization, [e for e in found if isinstance(e, Environment)]


def _judge(
    components: Sequence[Component], environment: str, levels: Sequence[OwnedRules]
) -> list[_Found]:
    found: list[_Found] = []
    usage: dict[str, Usage] = defaultdict(Usage)
    for component in components if levels else ():
        cell = str(cell_name(project_of(component.name), last_segment(environment)))
        usage[cell] += usage_of(component)
        found += [
            _Found(cell=cell, component=component.name, problem=p) for p in judge(component, levels)
        ]
    for cell, used in usage.items():
        found += [
            _Found(cell=cell, component="", problem=p) for p in judge_cell(cell, used, levels)
        ]
    return sorted(found, key=lambda f: (f.cell, f.component))


def _sign(found: _Found) -> tuple[str, str, str, str]:
    return found.cell, found.component, found.problem.reason, found.problem.field

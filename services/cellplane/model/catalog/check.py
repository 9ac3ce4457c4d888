"""Whether the schemas of a batch may be stored: they can be read, fit, and break nobody unasked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cellplane.api.model.v1 import api_schema_pb2
from cellplane.cell.problem import Findings, Problem, Severity
from cellplane.model.batch import Batch, Change
from cellplane.model.catalog.library import Library, format_of
from cellplane.model.catalog.schemas.finding import Finding, Weight
from cellplane.model.domain.kinds import Kind, organization_of
from cellplane.model.domain.offers import Offered, offers_of
from cellplane.model.domain.resources import Component, Organization, SchemaCompatibility
from cellplane.model.domain.validate_offers import check_formats
from cellplane.store.database import Transaction

_SHOWN = 5


class SchemaChecker:
    """Checks the schemas that a batch's components refer to."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def check(self, tx: Transaction, batch: Batch) -> list[tuple[str, Problem]]:
        """Problems by the name of the component; what only should be known is the batch's."""
        found: list[tuple[str, Problem]] = []
        for change in batch.of_kind(Kind.COMPONENT):
            component = batch.component(change.name) if change.new is not None else None
            if component is not None:
                problems = await self._component(tx, batch, change, component)
                found += [(change.name, p) for p in problems if p.severity is Severity.ERROR]
                batch.warnings += [
                    replace(p, resource=change.name)
                    for p in problems
                    if p.severity is Severity.WARNING
                ]
        return found

    async def _component(
        self, tx: Transaction, batch: Batch, change: Change, component: Component
    ) -> list[Problem]:
        own = [o for o in offers_of(component) if o.schema is not None and o.schema.api_schema]
        if not own:
            return []
        findings = Findings()
        unread: set[str] = set()
        for place, schema in batch.uploads.get(change.name, {}).items():
            reading = await self._library.read(schema.format, schema.content)
            for wrong in reading.wrong:
                unread.add(schema.name)
                findings.at(place).add("SCHEMA_INVALID", str(wrong))
        before = batch.before(change)
        old = _schemas(before if isinstance(before, Component) else None)
        changed = [o for o in own if o.offer in old and _name(o) != old[o.offer]]
        await batch.look_up(tx, {*map(_name, own), *(old[o.offer] for o in changed)})
        formats = {}
        for name in map(_name, own):
            message = batch.message(name)
            written = format_of(message.format) if message is not None else None
            if written is not None:
                formats[name] = written
        check_formats(component, formats, findings)
        for offer in changed:
            if _name(offer) not in unread:
                await self._compare(tx, batch, offer, old[offer.offer], findings)
        return findings.problems

    async def _compare(
        self, tx: Transaction, batch: Batch, offer: Offered, old: str, findings: Findings
    ) -> None:
        mode = await self._mode(tx, batch, offer)
        before, after = batch.message(old), batch.message(_name(offer))
        if mode is SchemaCompatibility.NONE or before is None or after is None:
            return
        severity = Severity.ERROR if mode is SchemaCompatibility.REFUSE else Severity.WARNING
        at = findings.at(offer.field).at("schema")
        if before.format != after.format:
            text = f'the schema of "{offer.offer}" is of another format than {old}'
            at.add("SCHEMA_BREAKING", text, severity=severity)
            return
        broken = breaking(await self._library.compare(before, after))
        if broken:
            way_out = "offer it beside the old one, or set schema.compatibility"
            text = f'the schema of "{offer.offer}" breaks who uses {old}: {_listed(broken)}'
            at.add("SCHEMA_BREAKING", f"{text}: {way_out}", severity=severity)

    async def _mode(self, tx: Transaction, batch: Batch, offer: Offered) -> SchemaCompatibility:
        own = offer.schema.compatibility if offer.schema else SchemaCompatibility.UNSPECIFIED
        if own is not SchemaCompatibility.UNSPECIFIED:
            return own
        name = organization_of(_name(offer))
        await batch.look_up(tx, {name})
        owner = batch.resource(Kind.ORGANIZATION, name)
        said = owner.schema_compatibility if isinstance(owner, Organization) else own
        return SchemaCompatibility.WARN if said is SchemaCompatibility.UNSPECIFIED else said


def breaking(findings: Iterable[Finding]) -> list[Finding]:
    """Those that break users."""
    return [f for f in findings if f.weight is Weight.BREAKING]


def _listed(findings: list[Finding]) -> str:
    shown = "; ".join(f"{f.place} {f.message}" for f in findings[:_SHOWN])
    more = f" (and {len(findings) - _SHOWN} more)" if len(findings) > _SHOWN else ""
    return shown + more


def _name(offer: Offered) -> str:
    return offer.schema.api_schema if offer.schema is not None else ""


def _schemas(component: Component | None) -> dict[str, str]:
    if component is None:
        return {}
    return {o.offer: _name(o) for o in offers_of(component) if _name(o)}


async def described(library: Library, schema: Any) -> api_schema_pb2.ApiSchema:
    """A schema with what it says of itself."""
    reading = await library.read(schema.format, schema.content)
    made = api_schema_pb2.ApiSchema(
        name=schema.name,
        display_name=schema.display_name,
        annotations=schema.annotations,
        format=schema.format,
        content=schema.content,
        digest=schema.digest,
        title=reading.title[:256],
        version=reading.version[:64],
    )
    made.operations.extend(word[:256] for word in reading.operations[:500])
    return made

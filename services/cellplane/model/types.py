"""Versions of types and traits: numbered when they change, and followed by who uses them.

A change of a type or a trait makes a new version, and every component that follows it is written
anew with that version, in the same transaction: so releases and rollbacks know it, it goes
through the pipeline like any change, and nobody else is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cellplane.api.model.v1 import (
    component_pb2,
    component_type_pb2,
    component_type_version_pb2,
    trait_pb2,
    trait_version_pb2,
)
from cellplane.model.batch import Change, complete
from cellplane.model.convert import STANDARD, Codecs
from cellplane.model.domain.kinds import Kind
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.store.database import Transaction

DEFINED: Final = frozenset({Kind.COMPONENT_TYPE, Kind.TRAIT})
_OTHER: Final = STANDARD | {"version", "description"}
_VERSIONS: Final = {
    Kind.COMPONENT_TYPE: ("componentTypeVersions", component_type_version_pb2.ComponentTypeVersion),
    Kind.TRAIT: ("traitVersions", trait_version_pb2.TraitVersion),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a batch means for types and for who uses them."""

    versions: Mapping[str, Any] = field(default_factory=dict)
    """New versions, by name."""
    changes: tuple[Change, ...] = ()
    """Components that nobody wrote, and that are another release with a new version."""
    records: Mapping[str, Record] = field(default_factory=dict)
    """Those components as they are stored."""


class Types:
    """Resolves types of components inside of transactions."""

    def __init__(self, codecs: Codecs, records: Records, repository: Repository) -> None:
        self._codecs = codecs
        self._records = records
        self._repository = repository

    async def resolve(self, tx: Transaction, written: Sequence[tuple[Kind, Any, Any]]) -> Followed:
        """Number what is written, and set the versions that count; as (kind, old, new)."""
        versions: dict[str, Any] = {}
        latest: dict[str, int] = {}
        changed: set[str] = set()
        for kind, old, new in written:
            if kind not in DEFINED:
                continue
            if old is None or _intent(old) != _intent(new):
                new.version = (old.version if old is not None else 0) + 1
                version = version_of(kind, new)
                versions[version.name] = version
                if old is not None:
                    changed.add(new.name)
            else:
                new.version = old.version
            latest[new.name] = new.version
        components = [new for kind, _, new in written if kind is Kind.COMPONENT]
        followers = await self._followers(tx, changed, {c.name for c in components})
        copies: list[Change] = []
        for record in followers.values():
            new = component_pb2.Component()
            new.CopyFrom(record.message)
            copies.append(Change(kind=Kind.COMPONENT, name=new.name, old=record.message, new=new))
        every = [*components, *(change.new for change in copies)]
        await self._look_up(tx, every, latest)
        for component in every:
            _set_versions(component, latest)
        for change in copies:
            complete(self._codecs, Kind.COMPONENT, change.new)
        return Followed(
            versions=versions,
            changes=tuple(c for c in copies if c.old != c.new),
            records=followers,
        )

    async def _followers(
        self, tx: Transaction, changed: Collection[str], written: Collection[str]
    ) -> dict[str, Record]:
        if not changed:
            return {}
        mentions = await self._repository.read_mentions(tx, changed)
        names = {m.source for m in mentions} - set(written)
        found = await self._records.get_many(tx, names)
        return {n: r for n, r in found.items() if r.kind is Kind.COMPONENT}

    async def _look_up(
        self, tx: Transaction, components: Sequence[Any], latest: dict[str, int]
    ) -> None:
        wanted = {c.type for c in components if c.type and not c.type_version}
        wanted |= {t.trait for c in components for t in c.traits if not t.trait_version}
        for name, record in (await self._records.get_many(tx, wanted - latest.keys())).items():
            latest[name] = getattr(record.message, "version", 0)

    async def write(self, tx: Transaction, followed: Followed) -> None:
        """Store what follows from a batch, whose own resources are stored already."""
        for version in followed.versions.values():
            await self._records.write(tx, version, None)
        for change in followed.changes:
            await self._records.write(tx, change.new, followed.records[change.name].stored)


def version_of(kind: Kind, message: Any) -> Any:
    """The version that a type or a trait is now."""
    collection, made = _VERSIONS[kind]
    snapshot = _intent(message)
    snapshot.name = message.name
    snapshot.version = message.version
    return made(name=_name(message.name, collection, message.version), snapshot=snapshot)


def _intent(message: Any) -> Any:
    """What of a type or a trait has a say in what is made."""
    kind = type(message)
    if kind not in (component_type_pb2.ComponentType, trait_pb2.Trait):
        raise TypeError(f"{kind} has no versions")
    intent: Any = kind()
    intent.CopyFrom(message)
    for field_name in (*_OTHER, "name"):
        intent.ClearField(field_name)
    return intent


def _set_versions(component: Any, latest: Mapping[str, int]) -> None:
    component.resolved_type = ""
    if component.type:
        number = component.type_version or latest.get(component.type, 0)
        if number:
            component.resolved_type = _name(component.type, "componentTypeVersions", number)
    for trait in component.traits:
        number = trait.trait_version or latest.get(trait.trait, 0)
        trait.resolved_trait = _name(trait.trait, "traitVersions", number) if number else ""


def _name(parent: str, collection: str, number: int) -> str:
    return f"{parent}/{collection}/v{number}"

"""What one transaction is asked to change, and the world as it would be after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from cellplane.api.model.v1 import (
    api_schema_pb2,
    component_pb2,
    deployment_pb2,
    environment_pb2,
    project_pb2,
)
from cellplane.cell.problem import Problem
from cellplane.model.convert import Codecs, release_of
from cellplane.model.domain.claimed import shipped_type
from cellplane.model.domain.default import organization_domain, public_domain
from cellplane.model.domain.kinds import (
    Kind,
    cell_name,
    environment_name,
    ids,
    organization_of,
    project_of,
)
from cellplane.model.domain.references import Resource
from cellplane.model.domain.resources import (
    Component,
    ComponentType,
    DeploymentPipeline,
    Environment,
    ResourceType,
    Trait,
)
from cellplane.model.domain.types import Defined
from cellplane.model.records import Record, Records
from cellplane.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One resource, as it was and as it is to be; ``new`` is unset where it goes."""

    kind: Kind
    name: str
    old: Any = None
    new: Any = None


class CauseType(Enum):
    """What brings a deployment about; the values are those of the contract."""

    AUTOMATIC = "AUTOMATIC"
    DIRECT = "DIRECT"
    PROMOTION = "PROMOTION"
    ROLLBACK = "ROLLBACK"
    AUTOMATIC_ROLLBACK = "AUTOMATIC_ROLLBACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why deployments change."""

    type: CauseType = CauseType.DIRECT
    promotion: str = ""
    actor: str | None = None
    """Who asked for it; ``None`` for whoever calls."""
    reason: str = ""

    @property
    def is_direct(self) -> bool:
        """Whether somebody writes deployments with their own hands."""
        return self.type is CauseType.DIRECT


DIRECT = Cause()


class Batch:
    """Changes, and whatever else is looked up on the way: each resource is read once."""

    def __init__(
        self,
        codecs: Codecs,
        records: Records,
        changes: Sequence[Change],
        uploads: Mapping[str, Mapping[str, api_schema_pb2.ApiSchema]] = MappingProxyType({}),
        versions: Mapping[str, Any] = MappingProxyType({}),
        cause: Cause = DIRECT,
        *,
        is_preview: bool = False,
        read: Mapping[str, Record | None] = MappingProxyType({}),
    ) -> None:
        """*read* is what was read with what changes: ``None`` is not there."""
        self.cause = cause
        """Why its deployments change."""
        self._codecs = codecs
        self._records = records
        self.changes = tuple(changes)
        self.by_name = {change.name: change for change in self.changes}
        self._read: dict[str, Record | None] = dict(read)
        self._domain: dict[str, Resource] = {}
        self._before: dict[str, Resource] = {}
        self._released: dict[str, Any] = {
            release.name: release
            for change in self.changes
            if isinstance(change.new, component_pb2.Component)
            for release in (release_of(change.new),)
        }
        """Releases that the batch's components are; those that exist, too."""
        self.is_preview = is_preview
        """Whether a preview is brought about: its environment is in no pipeline."""
        self._versions = versions
        """New versions of types and traits."""
        self.uploads = uploads
        """Schemas that came along, by component and place."""
        self._uploaded = {s.name: s for own in uploads.values() for s in own.values()}
        self.warnings: list[Problem] = []
        """What is stored, but should be known."""

    async def look_up(self, tx: Transaction, names: Iterable[str]) -> None:
        """Read those of *names* that nobody has read yet."""
        missing = {name for name in names if name and name not in self._read}
        found = await self._records.get_many(tx, missing)
        for name in missing:
            self._read[name] = found.get(name)

    def stored(self, name: str) -> Record | None:
        """A resource as it is stored now; it was looked up."""
        return self._read[name]

    def message(self, name: str) -> Any:
        """A resource as it is after the batch, or ``None``; it is of the batch or was looked up."""
        if name in self.by_name:
            return self.by_name[name].new
        if name in self._released:
            return self._released[name]
        if name in self._versions:
            return self._versions[name]
        if name in self._uploaded:
            return self._uploaded[name]
        record = self._read.get(name)
        return None if record is None else record.message

    def is_there(self, name: str) -> bool:
        """Tell whether a resource exists after the batch."""
        return self.message(name) is not None

    def resource(self, kind: Kind, name: str) -> Resource | None:
        """A resource of the domain, as it is after the batch; converted once."""
        if name not in self._domain:
            message = self.message(name)
            if message is None:
                return None
            self._domain[name] = self._codecs.resource(kind, message)
        return self._domain[name]

    def defined(self, name: str) -> Defined | None:
        """A version of a type or a trait, as it was written; it is of the batch or looked up."""
        if name not in self._domain:
            message = self.message(name)
            if message is None:
                return None
            kind = Kind(type(message.snapshot).DESCRIPTOR.name)
            self._domain[name] = self._codecs.resource(kind, message.snapshot)
        found = self._domain[name]
        return found if isinstance(found, ComponentType | Trait) else None

    def resource_type(self, name: str) -> ResourceType | None:
        """A type of managed resources: the organization's own, or the one that comes along."""
        own = self.resource(Kind.RESOURCE_TYPE, name) if self.is_there(name) else None
        return own if isinstance(own, ResourceType) else shipped_type(name)

    def before(self, change: Change) -> Resource | None:
        """A resource of the domain, as it was before the batch; converted once."""
        if change.old is None:
            return None
        if change.name not in self._before:
            self._before[change.name] = self._codecs.resource(change.kind, change.old)
        return self._before[change.name]

    def component(self, name: str) -> Component | None:
        """A component as it is after the batch."""
        found = self.resource(Kind.COMPONENT, name)
        return found if isinstance(found, Component) else None

    def of_kind(self, kind: Kind) -> list[Change]:
        """The changes of one kind."""
        return [change for change in self.changes if change.kind is kind]


def complete(codecs: Codecs, kind: Kind, message: Any) -> None:
    """Fill in the output fields that follow from what is written."""
    if ids(kind, message.name) is None:
        return
    match message:
        case component_pb2.Component():
            message.latest_release = release_of(message).name
        case environment_pb2.Environment():
            environment = codecs.resource(kind, message)
            if isinstance(environment, Environment):
                message.effective_public_domain = public_domain(environment)
                message.effective_organization_domain = organization_domain(environment)
        case deployment_pb2.Deployment():
            message.environment = environment_name(
                organization_of(message.name), message.name.rsplit("/", 1)[-1]
            )
        case _:
            pass


def is_new_intent(change: Change) -> bool:
    """Tell whether a component becomes another release."""
    return change.old is None or change.old.latest_release != change.new.latest_release


def may_deploy_now(change: Change) -> bool:
    """Whether a component is deployed at once, if its project and pipeline have nothing against."""
    if not auto_deploys(change.new, otherwise=True):
        return False
    return is_new_intent(change) or not auto_deploys(change.old, otherwise=False)


def is_deployed_now(change: Change, *, otherwise: bool) -> bool:
    """Tell whether a component goes to its pipeline's first environment by this change."""
    if not auto_deploys(change.new, otherwise=otherwise):
        return False
    return is_new_intent(change) or not auto_deploys(change.old, otherwise=otherwise)


def auto_deploys(component: component_pb2.Component, *, otherwise: bool) -> bool:
    """Tell whether each change of a component is deployed at once."""
    return component.auto_deploy if component.HasField("auto_deploy") else otherwise


def otherwise_of(project: project_pb2.Project, pipeline: DeploymentPipeline) -> bool:
    """Whether a component that says nothing itself is deployed at once."""
    if project.HasField("auto_deploy"):
        return project.auto_deploy
    return pipeline.auto_deploy is not False


def read_along(component: str, environment: str) -> set[str]:
    """What else is read where a component is deployed: at once, for each read is a round trip."""
    own = environment.rsplit("/", 1)[-1]
    return {
        environment,
        organization_of(environment),
        f"{component}/deployments/{own}",
        str(cell_name(project_of(component), own)),
    }


def names_of(changes: Collection[Change]) -> str:
    """The first few names, for a message."""
    names = [change.name for change in changes]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

"""What the agent keeps things in: a cluster, or a folder. Both are told and asked the same way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from cellplane.agent.health import ObjectHealth
from cellplane.agent.objects import Outcome, Wanted
from cellplane.agent.pods import Pod
from cellplane.cell.manifest import ObjectKey
from cellplane.cell.plane import Enforcement

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFacts:
    """How much there is of one resource, and who requests it."""

    resource: str
    allocatable: int = 0
    cells_requested: int = 0
    others_requested: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the target is and has; field names are those of the contract."""

    kubernetes_version: str = ""
    enforcement: Enforcement = Enforcement.UNSPECIFIED
    capabilities: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    node_count: int = 0
    allocatable_cpu_millis: int = 0
    allocatable_memory_bytes: int = 0
    requested_cpu_millis: int = 0
    requested_memory_bytes: int = 0
    provider: str = ""
    resources: tuple[ResourceFacts, ...] = ()


class Prior(Enum):
    """What is there before an object is applied for the first time."""

    ABSENT = "ABSENT"
    OURS = "OURS"
    """Carries this Cell as its owner, or is identical but for that."""
    TAKEN = "TAKEN"
    """Somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of a write. ``live`` is the object afterwards, if there is one."""

    outcome: Outcome
    message: str = ""
    retry_after: float = 0.0
    live: Body | None = None


class Removed(Enum):
    """What became of a removal."""

    GONE = "GONE"
    GOING = "GOING"
    """Being deleted; whoever watches will see it go."""
    NOT_OURS = "NOT_OURS"
    """There, and not of this Cell: left alone."""
    KEPT = "KEPT"
    """It holds data: left where it is, for a person to delete."""
    FAILED = "FAILED"


class Observer(Protocol):
    """Is told what happens in the target, from the event loop."""

    def object_seen(self, key: ObjectKey, body: Body) -> None:
        """An object is there, new or changed."""
        ...

    def object_gone(self, key: ObjectKey, version: int) -> None:
        """An object is gone, at this resource version."""
        ...

    def objects_listed(
        self, api_version: str, kind: str, present: Collection[ObjectKey], version: int
    ) -> None:
        """All of a kind that are there, at this resource version; each was ``object_seen``."""
        ...

    def pod_seen(self, namespace: str, pod: Pod) -> None:
        """A pod is there, new or changed."""
        ...

    def pod_gone(self, namespace: str, name: str, version: int) -> None:
        """A pod is gone."""
        ...

    def pods_listed(self, present: Collection[tuple[str, str]]) -> None:
        """All pods that are there, by namespace and name."""
        ...

    def replica_set_seen(self, namespace: str, name: str, owner: str, revision: int) -> None:
        """A ReplicaSet of a Deployment is there, with the number of its revision."""
        ...

    def replica_set_gone(self, namespace: str, name: str) -> None:
        """A ReplicaSet is gone."""
        ...

    def warned(self, namespace: str, kind: str, name: str, reason: str, message: str) -> None:
        """The cluster warns about an object."""
        ...

    def facts_changed(self, facts: Facts) -> None:
        """The target is or has something else than before."""
        ...

    def apis_changed(self) -> None:
        """The target serves other APIs than before."""
        ...


class Target(Protocol):
    """A place that objects are kept in."""

    @property
    def exact(self) -> bool:
        """Whether any field that was not written is drift."""
        ...

    def health(self, body: Body) -> ObjectHealth:
        """How far an object is."""
        ...

    async def uid(self) -> str:
        """What identifies it for ever."""
        ...

    async def run(self, observer: Observer) -> None:
        """Tell the observer what happens, until cancelled."""
        ...

    def follow(self, kinds: Collection[tuple[str, str]]) -> None:
        """Tell of these kinds, too: pairs of ``apiVersion`` and ``kind``."""
        ...

    async def prior(self, cell: str, wanted: Sequence[Wanted]) -> Mapping[ObjectKey, Prior]:
        """Look what is there before a first apply. What is missing in the answer is not known."""
        ...

    async def apply(self, wanted: Wanted, *, force: bool, before: int) -> Attempt:
        """Make an object as it is wanted.

        Args:
            wanted: The object.
            force: Whether to take over fields that others own.
            before: Its resource version as it was seen last; 0 if it was not.
        """
        ...

    async def replace(self, wanted: Wanted, live: Body) -> Attempt:
        """Make an object exactly as it is wanted, in place of the one that was seen."""
        ...

    async def remove(self, cell: str, key: ObjectKey) -> tuple[Removed, str]:
        """Remove an object of this Cell; and what to say about it."""
        ...

    async def log_lines(self, namespace: str, pod: str, container: str) -> tuple[str, ...]:
        """The last lines of a container that ended; empty if nobody knows."""
        ...


def version_of(body: Body) -> int:
    """Resource version of an object; 0 for one that has none."""
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0

"""One Cell on one data plane, and where it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from cellplane.cell.condition import Health
from cellplane.cell.problem import Problem, Unavailable
from cellplane.placement.rollout.brake import Removing
from cellplane.placement.rollout.bundle import Bundle
from cellplane.placement.rollout.diff import Delta
from cellplane.placement.status.observed import Observed
from cellplane.runtime.linkdigest import DigestedObject, objects_digest


@dataclass(slots=True, kw_only=True)
class Slot:
    """One Cell on one data plane."""

    cell: str
    data_plane: str
    """Resource name."""
    namespace: str
    bundle: Bundle = field(default_factory=Bundle)
    digest: str = ""
    observed: Observed = field(default_factory=Observed)
    problems: tuple[Problem, ...] = ()
    """Of the last compilation; its errors kept it from being delivered."""
    create_time: datetime
    confirmed_revision: int = 0
    """Up to which revision somebody said that removals are meant, however many."""
    cell_revisions: dict[int, int] = field(default_factory=dict)
    """The Cell's revision of the last few revisions of the bundle."""

    def cell_revision_of(self, revision: int) -> int:
        """The revision of the Cell that a revision of the bundle was compiled from."""
        if revision == self.bundle.revision:
            return self.bundle.cell_revision
        return self.cell_revisions.get(revision, 0)

    @property
    def removing(self) -> Removing:
        """It, as far as removals go."""
        return Removing(
            cell=self.cell,
            bundle=self.bundle,
            accepted=self.observed.accepted_revision,
            confirmed=self.confirmed_revision,
        )

    @property
    def settled(self) -> bool:
        """Whether its last word was heard: all is applied, and how it is was reported."""
        seen, revision = self.observed, self.bundle.revision
        return seen.applied_revision == revision and seen.report_revision == revision


class ContentsMissing(Unavailable):
    """An object is wanted whose content is nowhere: it has to be compiled again."""

    default_reason = "CONTENTS_MISSING"


def ready_when_seen(seen: Observed, revision: int) -> Observed:
    """Ready is what was applied in full, and then seen ready, at the revision that is wanted."""
    good = seen.health in (Health.READY, Health.SUSPENDED)
    if good and seen.report_revision == seen.applied_revision == revision:
        return replace(seen, ready_revision=revision)
    return seen


def digest_of(bundle: Bundle) -> str:
    """Digest over the objects of a revision, as its agent makes it."""
    return objects_digest(
        DigestedObject(
            api_version=key.api_version,
            kind=key.kind,
            namespace=key.namespace,
            object=key.object,
            phase=held.object.phase.value,
            part=held.object.part,
            digest=held.object.digest,
        )
        for key, held in bundle.objects.items()
    )


class BundleStore(Protocol):
    """Keeps what must outlive the process. Each call is one transaction."""

    async def save_bundle(
        self, slot: Slot, bundle: Bundle, digest: str, delta: Delta, contents: Mapping[str, bytes]
    ) -> None:
        """Store a new revision: the row, the objects that changed, what they hold."""
        ...

    async def forget_bundle(self, cell: str, data_plane: str, revision: int) -> None:
        """Forget a Cell on a data plane, but not how far its data plane's revisions went."""
        ...

    async def save_confirmations(self, slots: Iterable[Slot]) -> None:
        """Store that the removals of these, as they are now, are meant."""
        ...

    async def save_observed(self, slots: Iterable[Slot]) -> None:
        """Store how far these got."""
        ...

    async def read_contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Contents of objects by digest."""
        ...

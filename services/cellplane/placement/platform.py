"""What data planes get beside Cells: compiled, kept and delivered as a Cell is.

One worker for each data plane, woken when what is known of it changes. Nothing of a Cell is in it,
so a change of one compiles nothing here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cellplane.api.type.v1 import compile_pb2
from cellplane.cell import addresses
from cellplane.cell.condition import Condition, Status
from cellplane.cell.manifest import Manifest
from cellplane.cell.names import PlatformName
from cellplane.cell.problem import Problem
from cellplane.placement import convert
from cellplane.placement.compilation import errors
from cellplane.placement.desired import Desired
from cellplane.placement.planes import News, Planes
from cellplane.placement.rollout.diff import BundleObject
from cellplane.placement.slots import Slot
from cellplane.placement.workers import Workers

CONDITION: Final = "PlatformReady"


class Platform:
    """Keeps on every data plane what the platform needs there."""

    def __init__(self, *, compilers: Mapping[str, Any], planes: Planes, desired: Desired) -> None:
        self._compilers = dict(sorted(compilers.items()))
        self._planes = planes
        self._desired = desired
        self.workers = Workers("platform", self._reconcile)
        planes.watch(self._plane_changed)

    def begin(self) -> None:
        """Look at every data plane once: the compilers may be others than before."""
        for name in self._planes.names():
            self.workers.wake(name, soon=False)

    def _plane_changed(self, data_plane: str, news: News) -> None:
        if news in {News.PROFILE, News.GONE}:
            self.workers.wake(data_plane)

    async def _reconcile(self, data_plane: str) -> None:
        name = gateways_of(data_plane)
        profile = self._planes.profile(data_plane)
        if profile is None:
            await self._desired.forget(str(name), data_plane)
            return
        # Before its agent has said what it can do, there is nothing to say.
        if not profile.capabilities:
            return
        request = compile_pb2.CompilePlatformRequest(data_plane=convert.profile_to_wire(profile))
        stubs = self._compilers.values()
        answers = await asyncio.gather(*(stub.CompilePlatform(request) for stub in stubs))
        manifests: list[Manifest] = []
        problems: list[Problem] = []
        for answer in answers:
            manifests += map(convert.manifest_of, answer.manifests)
            problems += map(convert.problem_of, answer.problems)
        if failed := errors(problems):
            self._desired.refuse(str(name), data_plane, name.namespace, failed)
            return
        await self._desired.put(
            str(name),
            data_plane,
            name.namespace,
            [
                BundleObject(key=m.key, part=m.part, phase=m.phase, digest=m.digest)
                for m in manifests
            ],
            {m.digest: m.content for m in manifests},
            1,
        )


def gateways_of(data_plane: str) -> PlatformName:
    """The shared gateways of a data plane, by its resource name."""
    _, organization, _, own = data_plane.split("/")
    return PlatformName(
        organization=organization, data_plane=own, platform=addresses.GATEWAYS_PLATFORM
    )


def conditions(data_plane: str, desired: Desired) -> Iterator[Condition]:
    """How far a data plane is with what the platform needs there."""
    slot = desired.slot(str(gateways_of(data_plane)), data_plane)
    if slot is not None:
        yield _condition(slot)


def _condition(slot: Slot) -> Condition:
    seen = slot.observed
    if slot.problems:
        problem = slot.problems[0]
        return _told(Status.FALSE, problem.reason, problem.message)
    if seen.failures:
        failure = seen.failures[0]
        return _told(
            Status.FALSE, failure.outcome.value.title(), f"{failure.key}: {failure.message}"
        )
    if seen.applied_revision == slot.bundle.revision:
        return _told(Status.TRUE, "Applied", "")
    return _told(Status.FALSE, "Applying", "its agent has not applied everything yet")


def _told(status: Status, reason: str, message: str) -> Condition:
    return Condition(type=CONDITION, status=status, reason=reason, message=message)

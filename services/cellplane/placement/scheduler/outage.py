"""What silence of data planes means: when Cells have to go, and when none may move at all.

READY; then SUSPECT, after three missed beats, which takes no new Cells and moves nothing; then
LOST; then each Cell's own patience; then a move. Where so many are silent at once that the fault is
more likely on this side, or that the rest could not carry what would move, moves stop and it says
so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cellplane.placement.scheduler.snapshot import REGION, Demand, Plane, PlaneState

PATIENCE: Final = 300
"""How long a Cell stays on a lost data plane, in seconds, if it does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, shares in percent."""

    suspect_seconds: float = 45.0
    lost_seconds: float = 60.0
    """After that, too."""
    region_percent: int = 20
    all_percent: int = 30
    at_least: int = 2
    """So many may be silent whatever their share is: small fleets fail over, too."""
    hold_down_seconds: float = 600.0
    """How long a data plane must hold before Cells fail back to it."""


def patience(demand: Demand) -> int:
    """How long a Cell stays on a lost data plane, in seconds."""
    asked = demand.requirement.lost_seconds
    return PATIENCE if asked is None else asked


def brake(planes: Iterable[Plane], limits: Limits) -> str:
    """Why nothing may move because planes are lost now; empty if it may."""
    known: dict[str, int] = {}
    silent: dict[str, int] = {}
    for plane in planes:
        if plane.state is PlaneState.PENDING:
            continue
        region = plane.labels.get(REGION) or plane.fields.get("region", "")
        known[region] = known.get(region, 0) + 1
        if plane.state is not PlaneState.READY:
            silent[region] = silent.get(region, 0) + 1
    every, gone = sum(known.values()), sum(silent.values())
    if gone > max(limits.at_least, every * limits.all_percent / 100):
        return f"{gone} of {every} data planes are not ready: nothing moves because of it"
    for region, count in sorted(silent.items()):
        if region and count > max(limits.at_least, known[region] * limits.region_percent / 100):
            return (
                f"{count} of {known[region]} data planes of region {region} are not ready: "
                "nothing moves because of it"
            )
    return ""

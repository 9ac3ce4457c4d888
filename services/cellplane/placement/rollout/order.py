"""In which order data planes get a change: waves, by what they are or by how many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.cell.requirement import RolloutStrategy, RolloutWave
from cellplane.placement.scheduler.snapshot import Plane


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Data planes that get a change at about the same time, in their order."""

    data_planes: tuple[str, ...]
    mandatory: bool = False
    approval: bool = False
    wait_seconds: int = 0


def waves_of(strategy: RolloutStrategy, planes: Iterable[Plane]) -> tuple[Wave, ...]:
    """Every data plane in the first wave that takes it; the rest in one more at the end."""
    left = sorted(planes, key=lambda p: p.data_plane)
    total = len(left)
    found: list[Wave] = []
    for wave in (*strategy.waves, RolloutWave()):
        inside = [p for p in left if all(p.matches(s) for s in wave.selectors)]
        inside = inside[: share(wave.size, total) if wave.size else total]
        if inside:
            taken = {p.data_plane for p in inside}
            left = [p for p in left if p.data_plane not in taken]
            found.append(
                Wave(
                    data_planes=tuple(p.data_plane for p in inside),
                    mandatory=wave.mandatory,
                    approval=wave.approval,
                    wait_seconds=wave.wait_seconds or 0,
                )
            )
    return tuple(found)


def share(text: str, total: int, *, least: int = 1) -> int:
    """``3``, or ``25%`` of *total* rounded down, but never fewer than *least*."""
    if text.endswith("%"):
        return max(least, total * int(text[:-1]) // 100)
    return max(least, int(text or 0))

"""Where rollouts outlive the process, with the revisions that data planes may go back to."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from cellplane.api.type.v1 import resolved_cell_pb2
from cellplane.cell.requirement import RolloutStrategy
from cellplane.placement.clients import Resolved, merge
from cellplane.placement.leading import Leading
from cellplane.placement.rollout.order import Wave
from cellplane.placement.rollout.progress import PlaneProgress, Rollout, Step
from cellplane.placement.tables import cell_versions, rollouts
from cellplane.store.database import Database

_SAVE = sa.text(
    "INSERT INTO rollouts (cell, body) VALUES (:cell, :body) "
    "ON CONFLICT (cell) DO UPDATE SET body = excluded.body"
)
_KEEP = sa.text(
    "INSERT INTO cell_versions (cell, revision, body) VALUES (:cell, :revision, :body) "
    "ON CONFLICT (cell, revision) DO NOTHING"
)


class RolloutStore:
    """Rollouts, and what they can go back to. Each method is one transaction."""

    def __init__(self, database: Database, leading: Leading) -> None:
        self._database = database
        self._leading = leading

    async def read(self) -> dict[str, Rollout]:
        """Every rollout, by Cell; its strategy is what the Cell asks for."""
        async with self._database.snapshot() as tx:
            rows = (await tx.execute(sa.select(rollouts))).all()
        return {row.cell: rollout_of(json.loads(row.body)) for row in rows}

    async def save(self, cell: str, rollout: Rollout, fresh: Resolved | None = None) -> None:
        """Store a rollout, with the revision that it brings if that is *fresh*."""
        kept = {rollout.target, *(p.base for p in rollout.planes.values())}
        async with self._database.transaction() as tx:
            await self._leading.fence(tx)
            if fresh is not None:
                body = _whole(fresh).SerializeToString()
                row = {"cell": cell, "revision": fresh.revision, "body": body}
                await tx.execute(_KEEP, row)
            await tx.execute(_SAVE, {"cell": cell, "body": json.dumps(rollout_to_json(rollout))})
            await tx.execute(_others(cell, kept))

    async def read_version(self, cell: str, revision: int) -> Resolved | None:
        """A Cell as it was at a revision, if that is kept."""
        query = sa.select(cell_versions.c.body).where(
            cell_versions.c.cell == cell, cell_versions.c.revision == revision
        )
        async with self._database.snapshot() as tx:
            body = (await tx.execute(query)).scalar_one_or_none()
        if body is None:
            return None
        return merge(None, resolved_cell_pb2.ResolvedCell.FromString(body))

    async def forget(self, cell: str) -> None:
        """A Cell has no rollouts any more."""
        async with self._database.transaction() as tx:
            await self._leading.fence(tx)
            await tx.execute(sa.delete(rollouts).where(rollouts.c.cell == cell))
            await tx.execute(_others(cell, ()))


def _others(cell: str, kept: Collection[int]) -> sa.Delete:
    return sa.delete(cell_versions).where(
        cell_versions.c.cell == cell, cell_versions.c.revision.not_in(sorted(kept))
    )


def _whole(resolved: Resolved) -> resolved_cell_pb2.ResolvedCell:
    return resolved_cell_pb2.ResolvedCell(
        cell=resolved.cell,
        revision=resolved.revision,
        frame=resolved.frame.message,
        components=[part.message for _, part in sorted(resolved.components.items())],
    )


def rollout_to_json(rollout: Rollout) -> dict[str, Any]:
    """A rollout, for people who look into the database, too."""
    return {
        "target": rollout.target,
        "begin": rollout.begin,
        "wave": rollout.wave,
        "wave_since": rollout.wave_since,
        "approved": rollout.approved,
        "stopped": rollout.stopped,
        "waves": [
            {
                "data_planes": wave.data_planes,
                "mandatory": wave.mandatory,
                "approval": wave.approval,
                "wait_seconds": wave.wait_seconds,
            }
            for wave in rollout.waves
        ],
        "planes": [
            {
                "data_plane": p.data_plane,
                "base": p.base,
                "step": p.step.value,
                "since": p.since,
                "healthy": p.healthy,
                "counted": p.counted,
                "message": p.message,
            }
            for _, p in sorted(rollout.planes.items())
        ],
    }


def rollout_of(body: Mapping[str, Any]) -> Rollout:
    """A rollout as it was stored."""
    planes = (PlaneProgress(**{**p, "step": Step(p["step"])}) for p in body["planes"])
    return Rollout(
        target=body["target"],
        waves=tuple(Wave(**{**w, "data_planes": tuple(w["data_planes"])}) for w in body["waves"]),
        planes={p.data_plane: p for p in planes},
        strategy=RolloutStrategy(),
        begin=body["begin"],
        wave=body["wave"],
        wave_since=body["wave_since"],
        approved=body["approved"],
        stopped=body["stopped"],
    )

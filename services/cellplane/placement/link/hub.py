"""Every live stream, by data plane: the newest one of an identity wins.

What is wanted only marks a Cell in the session of its data plane; without a session nothing is
lost, as the next one compares.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from cellplane.cell.problem import CellplaneError, Conflict, PermissionDenied
from cellplane.placement.desired import Desired
from cellplane.placement.planes import News, Planes

if TYPE_CHECKING:
    from cellplane.placement.link.session import Session


class Hub:
    """Sessions by data plane."""

    def __init__(self, desired: Desired, planes: Planes, draining: asyncio.Event) -> None:
        """``draining`` is set when this process is about to stop."""
        self._sessions: dict[str, Session] = {}
        self._planes = planes
        self.draining = draining
        self._log = structlog.get_logger()
        desired.on_wanted(self._wanted)
        planes.watch(self._plane_changed)

    def enter(self, data_plane: str, session: Session) -> None:
        """A stream begins; the one before it of the same identity ends."""
        before = self._sessions.get(data_plane)
        self._sessions[data_plane] = session
        if before is not None:
            self._log.info("link.replaced", data_plane=data_plane)
            before.end(
                Conflict(
                    f"another stream of data plane {data_plane} was opened: the newest one wins",
                    reason="STREAM_REPLACED",
                )
            )
        self._planes.connect(data_plane, connected=True)

    def leave(self, data_plane: str, session: Session) -> None:
        """A stream has ended."""
        if self._sessions.get(data_plane) is session:
            del self._sessions[data_plane]
            self._planes.connect(data_plane, connected=False)

    def end_all(self, error: CellplaneError) -> None:
        """End every stream."""
        for session in list(self._sessions.values()):
            session.end(error)

    def session(self, data_plane: str) -> Session | None:
        """The live stream of a data plane."""
        return self._sessions.get(data_plane)

    def _wanted(self, data_plane: str, cell: str) -> None:
        session = self._sessions.get(data_plane)
        if session is not None:
            session.want(cell)

    def _plane_changed(self, data_plane: str, news: News) -> None:
        session = self._sessions.get(data_plane)
        if session is None:
            return
        entry = self._planes.get(data_plane)
        if news is News.GONE:
            session.end(
                PermissionDenied(
                    f"data plane {data_plane} was deleted: its agent is not known any more",
                    reason="DATA_PLANE_GONE",
                )
            )
        elif news is News.TAKEN:
            session.end(taken(data_plane))
        elif entry is not None and entry.plane.banned:
            session.end(banned(data_plane))


def banned(data_plane: str) -> PermissionDenied:
    """What a shut-out agent is told."""
    return PermissionDenied(
        f"data plane {data_plane} is banned: its agent gets nothing until somebody lifts that",
        reason="DATA_PLANE_BANNED",
        metadata={"data_plane": data_plane},
    )


def taken(data_plane: str) -> PermissionDenied:
    """What the agent of a cluster is told that is another data plane now."""
    return PermissionDenied(
        f"cluster of data plane {data_plane} is another data plane now: join anew",
        reason="DATA_PLANE_TAKEN",
        metadata={"data_plane": data_plane},
    )

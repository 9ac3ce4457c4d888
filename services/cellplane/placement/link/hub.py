"""Every live stream, by data plane: the newest one of an identity wins.

What is wanted only marks a Cell in the session of its data plane; without a session nothing is
lost, as the next one compares.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from cellplane.cell.problem import Conflict, PermissionDenied
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

    def session(self, data_plane: str) -> Session | None:
        """The live stream of a data plane."""
        return self._sessions.get(data_plane)

    def _wanted(self, data_plane: str, cell: str) -> None:
        session = self._sessions.get(data_plane)
        if session is not None:
            session.want(cell)

    def _plane_changed(self, data_plane: str, news: News) -> None:
        session = self._sessions.get(data_plane)
        if news is News.GONE and session is not None:
            session.end(
                PermissionDenied(
                    f"data plane {data_plane} was deleted: its agent is not known any more",
                    reason="DATA_PLANE_GONE",
                )
            )

"""Data planes and grants, as people see them.

What people write is stored as it is; what agents make of it (state, profile, capacity, the use of a
grant) is laid over it when it is read, so that a sign of life costs no write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty

from cellplane.api.placement.v1 import (
    data_plane_pb2,
    data_plane_pb2_grpc,
    join_grant_pb2,
    join_grant_pb2_grpc,
)
from cellplane.api.type.v1 import deletion_pb2
from cellplane.placement import convert, platform
from cellplane.placement.desired import Desired
from cellplane.placement.link.granting import Granting
from cellplane.placement.planes import Planes
from cellplane.placement.records import DataPlane
from cellplane.placement.repository import Repository
from cellplane.placement.scheduler.snapshot import Amounts
from cellplane.placement.validate import check_data_plane
from cellplane.resource.names import Collection
from cellplane.resource.service_changes import Kinds
from cellplane.resource.standard import Hooks, StandardMethods, in_the_way
from cellplane.rpc.pagination import PageTokens
from cellplane.runtime.clock import Clock
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Resources, Stored

DATA_PLANES = Collection(
    kind="DataPlane",
    message=data_plane_pb2.DataPlane,
    pattern="organizations/{organization}/dataPlanes/{data_plane}",
    field="data_plane",
    parent_is_here=False,
)
JOIN_GRANTS = Collection(
    kind="JoinGrant",
    message=join_grant_pb2.JoinGrant,
    pattern="organizations/{organization}/joinGrants/{join_grant}",
    field="join_grant",
    parent_is_here=False,
)
HISTORY = Kinds(
    messages={c.kind: c.message for c in (DATA_PLANES, JOIN_GRANTS)},
    collections=frozenset(
        {
            ("organizations",),
            *(("organizations", c.segment) for c in (DATA_PLANES, JOIN_GRANTS)),
        }
    ),
)
_SHOWN = 10


class DataPlaneService(data_plane_pb2_grpc.DataPlaneServiceServicer):
    """Keeps data planes; see ``placement/v1/data_plane.proto``."""

    def __init__(
        self,
        *,
        database: Database,
        resources: Resources,
        repository: Repository,
        planes: Planes,
        desired: Desired,
        reserved: Callable[[DataPlane], Amounts],
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._planes = planes
        self._desired = desired
        self._reserved = reserved
        self._methods = StandardMethods(
            database=database,
            resources=resources,
            collection=DATA_PLANES,
            tokens=tokens,
            clock=clock,
            hooks=Hooks(
                before_write=self._before_write,
                after_write=self._after_write,
                before_delete=self._before_delete,
                after_delete=self._after_delete,
                on_read=self.view,
            ),
        )

    async def CreateDataPlane(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.CreateDataPlaneRequest, context: Any
    ) -> data_plane_pb2.DataPlane:
        """Create one."""
        del context
        created: data_plane_pb2.DataPlane = await self._methods.create(request)
        return created

    async def GetDataPlane(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.GetDataPlaneRequest, context: Any
    ) -> data_plane_pb2.DataPlane:
        """Read one."""
        del context
        found: data_plane_pb2.DataPlane = await self._methods.get(request)
        return found

    async def ListDataPlanes(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.ListDataPlanesRequest, context: Any
    ) -> data_plane_pb2.ListDataPlanesResponse:
        """List them, by name."""
        del context
        return await self._methods.list(request, data_plane_pb2.ListDataPlanesResponse())

    async def BatchGetDataPlanes(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.BatchGetDataPlanesRequest, context: Any
    ) -> data_plane_pb2.BatchGetDataPlanesResponse:
        """Read several."""
        del context
        return await self._methods.batch_get(request, data_plane_pb2.BatchGetDataPlanesResponse())

    async def UpdateDataPlane(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.UpdateDataPlaneRequest, context: Any
    ) -> data_plane_pb2.DataPlane:
        """Change the fields that the mask names."""
        del context
        updated: data_plane_pb2.DataPlane = await self._methods.update(request)
        return updated

    async def DeleteDataPlane(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.DeleteDataPlaneRequest, context: Any
    ) -> Empty:
        """Delete one."""
        del context
        return await self._methods.delete(request)

    async def PlanDataPlaneDeletion(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.PlanDataPlaneDeletionRequest, context: Any
    ) -> data_plane_pb2.PlanDataPlaneDeletionResponse:
        """Tell what deleting one would do."""
        del context
        await self._methods.get(request)
        cells = self._desired.cells_on(request.name)
        return data_plane_pb2.PlanDataPlaneDeletionResponse(
            deletions=[request.name],
            obstacles=[
                deletion_pb2.DeletionObstacle(
                    resource=cell,
                    relation=deletion_pb2.DeletionObstacle.BELONGS,
                    message=f"{cell} is on it: let it go elsewhere first, or use force",
                )
                for cell in cells
                if not request.force
            ],
            cells=cells,
        )

    async def ConfirmRemovals(  # noqa: N802 - the contract's name
        self, request: data_plane_pb2.ConfirmRemovalsRequest, context: Any
    ) -> data_plane_pb2.ConfirmRemovalsResponse:
        """Let removals go on that wait."""
        del context
        await self._methods.get(request)
        held = await self._desired.confirm_removals(request.name, request.digest)
        return data_plane_pb2.ConfirmRemovalsResponse(removals=convert.held_to_wire(held))

    async def _before_write(
        self,
        tx: Transaction,
        new: data_plane_pb2.DataPlane,
        old: data_plane_pb2.DataPlane | None,
    ) -> None:
        del old
        await self._repository.fence(tx)
        check_data_plane(convert.data_plane_of(new))

    async def _after_write(
        self,
        tx: Transaction,
        new: data_plane_pb2.DataPlane,
        old: data_plane_pb2.DataPlane | None,
        stored: Stored,
    ) -> None:
        del old, stored
        plane = convert.data_plane_of(new)
        tx.after_commit(lambda: self._planes.put(plane))

    async def _before_delete(
        self, tx: Transaction, old: data_plane_pb2.DataPlane, force: bool
    ) -> None:
        del tx
        cells = self._desired.cells_on(old.name)
        if cells and not force:
            raise in_the_way(old.name, cells[:_SHOWN])

    async def _after_delete(self, tx: Transaction, old: data_plane_pb2.DataPlane) -> None:
        name = old.name
        await self._repository.forget_data_plane(tx, name)
        tx.after_commit(lambda: self._planes.delete(name))

    async def view(self, tx: Transaction, messages: Sequence[data_plane_pb2.DataPlane]) -> None:
        """Lay over what agents make of them."""
        del tx
        for message in messages:
            entry = self._planes.get(message.name)
            profile = self._planes.profile(message.name)
            if entry is None or profile is None or entry.plane.uid != message.uid:
                message.state = data_plane_pb2.DataPlane.State.PENDING
                continue
            cells = len(self._desired.cells_on(message.name))
            conditions = platform.conditions(message.name, self._desired)
            reserved = self._reserved(entry.plane)
            convert.lay_over(message, entry, profile, cells, reserved, conditions)
            convert.lay_held(message, self._desired.held_removals(message.name))


class JoinGrantService(join_grant_pb2_grpc.JoinGrantServiceServicer):
    """Keeps join grants; see ``placement/v1/join_grant.proto``."""

    def __init__(
        self,
        *,
        database: Database,
        resources: Resources,
        granting: Granting,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self._granting = granting
        self._methods = StandardMethods(
            database=database,
            resources=resources,
            collection=JOIN_GRANTS,
            tokens=tokens,
            clock=clock,
            hooks=Hooks(
                before_write=granting.before_write,
                after_write=granting.after_write,
                after_delete=granting.after_delete,
                on_read=granting.on_read,
            ),
        )

    async def CreateJoinGrant(  # noqa: N802 - the contract's name
        self, request: join_grant_pb2.CreateJoinGrantRequest, context: Any
    ) -> join_grant_pb2.JoinGrant:
        """Create one. Only this answer carries the token; a repeated request's does not."""
        del context
        created: join_grant_pb2.JoinGrant = await self._methods.create(request)
        created.token = self._granting.take_token(created.uid, keep=not request.validate_only)
        return created

    async def GetJoinGrant(  # noqa: N802 - the contract's name
        self, request: join_grant_pb2.GetJoinGrantRequest, context: Any
    ) -> join_grant_pb2.JoinGrant:
        """Read one."""
        del context
        found: join_grant_pb2.JoinGrant = await self._methods.get(request)
        return found

    async def ListJoinGrants(  # noqa: N802 - the contract's name
        self, request: join_grant_pb2.ListJoinGrantsRequest, context: Any
    ) -> join_grant_pb2.ListJoinGrantsResponse:
        """List them, by name."""
        del context
        return await self._methods.list(request, join_grant_pb2.ListJoinGrantsResponse())

    async def BatchGetJoinGrants(  # noqa: N802 - the contract's name
        self, request: join_grant_pb2.BatchGetJoinGrantsRequest, context: Any
    ) -> join_grant_pb2.BatchGetJoinGrantsResponse:
        """Read several."""
        del context
        return await self._methods.batch_get(request, join_grant_pb2.BatchGetJoinGrantsResponse())

    async def DeleteJoinGrant(  # noqa: N802 - the contract's name
        self, request: join_grant_pb2.DeleteJoinGrantRequest, context: Any
    ) -> Empty:
        """Delete one."""
        del context
        return await self._methods.delete(request)

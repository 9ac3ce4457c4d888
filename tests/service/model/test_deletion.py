"""Deletions that are shown before, and waited for after (AIP-135, 151; ecosystem B 34, 36, 46)."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from cellplane.api.model.v1 import (
    access_grant_pb2,
    cell_pb2,
    component_pb2,
    deletion_pb2,
    deletion_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    project_pb2,
)
from cellplane.api.type.v1 import deletion_pb2 as plan_pb2
from tests.service.model.test_every_kind import populate
from tests.service.model.world import (
    ORG,
    ORGANIZATION,
    PAY,
    SHOP,
    SHOP_DEV,
    Api,
    component,
    connection,
    endpoint,
    failure,
)

pytestmark = pytest.mark.asyncio
BELONGS = plan_pb2.DeletionObstacle.BELONGS
REFERS = plan_pb2.DeletionObstacle.REFERS
RUNNING = operation_pb2.Operation.RUNNING


async def report(api: Api, *data_planes: str, name: str = SHOP_DEV) -> None:
    """What placement says of a Cell."""
    planes = [cell_pb2.CellDataPlane(data_plane=plane) for plane in data_planes]
    await api.cells.ReportCellStatus(
        cell_pb2.ReportCellStatusRequest(name=name, cell=cell_pb2.Cell(data_planes=planes))
    )


async def start(api: Api, name: str = SHOP, **more: object) -> operations_pb2.Operation:
    """Delete a project, and do not wait."""
    stub = deletion_pb2_grpc.DeletionServiceStub(api.user)
    request = deletion_pb2.StartDeletionRequest(name=name, force=True, **more)
    return await stub.StartDeletion(request)


def progress(operation: operations_pb2.Operation) -> operation_pb2.Operation:
    """The resource that is its metadata."""
    found = operation_pb2.Operation()
    assert operation.metadata.Unpack(found)
    return found


async def plan(api: Api, name: str = SHOP, **more: object) -> deletion_pb2.PlanDeletionResponse:
    """What deleting would do."""
    stub = deletion_pb2_grpc.DeletionServiceStub(api.user)
    return await stub.PlanDeletion(deletion_pb2.PlanDeletionRequest(name=name, **more))


async def test_a_plan_names_what_goes_and_what_stands_in_the_way(shop: Api) -> None:
    """Both kinds of obstacle come at once; force clears one kind; the plan changes nothing."""
    await shop.apply(
        component("cart", endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("till", project=PAY, connections=[connection(f"{SHOP}/components/cart")]),
    )

    blocked = await plan(shop)
    forced = await plan(shop, force=True)

    assert blocked.deletions[0] == SHOP
    assert f"{SHOP}/components/cart" in blocked.deletions
    assert list(blocked.cells) == [SHOP_DEV]
    assert {(o.resource, o.relation) for o in blocked.obstacles} >= {
        (f"{SHOP}/components/cart", BELONGS),
        (f"{PAY}/components/till", REFERS),
    }
    assert {o.relation for o in forced.obstacles} == {REFERS}
    assert forced.obstacles[0].field == "connections[0].component_endpoint.component"
    failed = await failure(
        shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP, force=True))
    )
    assert failed.code == "FAILED_PRECONDITION"
    assert {p.subject for p in failed.preconditions} == {o.resource for o in forced.obstacles}
    assert (await shop.cell()).name == SHOP_DEV


async def test_a_refusal_names_all_that_a_plan_names(shop: Api) -> None:
    """A delete without force names what belongs to it and what refers to it in one answer."""
    await shop.apply(
        component("cart", endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("till", project=PAY, connections=[connection(f"{SHOP}/components/cart")]),
    )
    planned = await plan(shop)
    failed = await failure(shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP)))
    assert {p.subject for p in failed.preconditions} == {o.resource for o in planned.obstacles}


async def test_a_plan_without_obstacles_is_a_deletion_that_passes(shop: Api) -> None:
    """What the plan names is gone after the deletion, and nothing else is."""
    await shop.apply(component("cart"), component("till", project=PAY))
    planned = await plan(shop, force=True)
    assert not planned.obstacles
    await shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP, force=True))
    left = [
        c.name
        for c in (
            await shop.components.ListComponents(
                component_pb2.ListComponentsRequest(parent=f"{ORG}/projects/-")
            )
        ).components
    ]
    assert left == [f"{PAY}/components/till"]
    assert (await failure(plan(shop))).code == "NOT_FOUND"


async def test_what_is_not_deleted_has_no_plan(shop: Api) -> None:
    """A name of no kind, or of one that goes by itself, is refused."""
    for name in ("shop", f"{SHOP}/cells/development", f"{ORG}/operations/o-1"):
        assert (await failure(plan(shop, name))).code == "INVALID_ARGUMENT"


async def test_an_operation_runs_until_the_cells_are_gone(shop: Api) -> None:
    """It tells its progress, is waited for, and is done when placement has them nowhere."""
    await shop.apply(component("cart"))
    await report(shop, "east", "west")
    operations = operations_pb2_grpc.OperationsStub(shop.user)

    operation = await start(shop)
    begun = progress(operation)
    assert not operation.done
    assert (begun.state, begun.target, begun.progress_percent) == (RUNNING, SHOP, 0)
    assert list(begun.cells[0].data_planes) == ["east", "west"]
    assert (await failure(shop.cell())).code == "NOT_FOUND"

    asked = operations_pb2.WaitOperationRequest(name=operation.name, timeout=Duration(nanos=10**7))
    assert not (await operations.WaitOperation(asked)).done
    assert (await failure(report(shop, "west"))).code == "NOT_FOUND"
    assert list(progress(await operations.WaitOperation(asked)).cells[0].data_planes) == ["west"]

    waiting = asyncio.ensure_future(
        operations.WaitOperation(operations_pb2.WaitOperationRequest(name=operation.name))
    )
    await failure(report(shop))
    done = await waiting
    assert done.done
    assert done.HasField("response")
    assert progress(done).progress_percent == 100
    assert progress(done).HasField("end_time")


async def test_who_starts_anew_hears_of_what_is_waited_for(shop: Api) -> None:
    """Placement that restarts is told of the Cell's end again, so that it can say where it is."""
    await shop.apply(component("cart"))
    await report(shop, "west")
    await start(shop)
    stream = shop.cells.WatchCells(cell_pb2.WatchCellsRequest())
    first = await asyncio.wait_for(stream.read(), 10)
    assert (first.type, first.cell) == (cell_pb2.WatchCellsResponse.DELETED, SHOP_DEV)
    await failure(report(shop))
    stream.cancel()
    again = shop.cells.WatchCells(cell_pb2.WatchCellsRequest())
    first = await asyncio.wait_for(again.read(), 10)
    assert first.type == cell_pb2.WatchCellsResponse.SYNCED
    again.cancel()


async def test_operations_are_listed_cancelled_and_deleted(shop: Api) -> None:
    """Lists filter; cancel ends the wait with an error; delete forgets it."""
    await shop.apply(component("cart"))
    await report(shop, "west")
    operation = await start(shop)
    operations = operations_pb2_grpc.OperationsStub(shop.user)

    async def listed(filter: str) -> list[str]:
        request = operations_pb2.ListOperationsRequest(name=ORG, filter=filter)
        return [o.name for o in (await operations.ListOperations(request)).operations]

    assert await listed(f'state = RUNNING AND target = "{SHOP}"') == [operation.name]
    assert await listed("state = SUCCEEDED") == []
    await operations.CancelOperation(operations_pb2.CancelOperationRequest(name=operation.name))
    ended = await operations.GetOperation(operations_pb2.GetOperationRequest(name=operation.name))
    assert ended.done
    assert ended.error.code == 1
    assert progress(ended).state == operation_pb2.Operation.CANCELLED
    await failure(report(shop))
    own = operation_pb2_grpc.OperationServiceStub(shop.user)
    assert (
        await own.GetOperation(operation_pb2.GetOperationRequest(name=operation.name))
    ).state == operation_pb2.Operation.CANCELLED
    await operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=operation.name))
    gone = await failure(
        operations.GetOperation(operations_pb2.GetOperationRequest(name=operation.name))
    )
    assert gone.code == "NOT_FOUND"


async def test_what_ends_no_cell_is_done_at_once(shop: Api) -> None:
    """A trial is done and leaves nothing; without Cells there is nothing to wait for."""
    await shop.apply(component("cart"))
    tried = await start(shop, validate_only=True)
    assert tried.done
    assert (await shop.cell()).name == SHOP_DEV
    operation = await start(shop, PAY)
    assert operation.done
    assert (await failure(start(shop, ORG))).code == "INVALID_ARGUMENT"
    stale = await failure(start(shop, etag='"1"'))
    assert stale.code == "ABORTED"


async def test_a_repeated_start_is_one_operation(shop: Api) -> None:
    """The same request id answers the same operation; another body is refused."""
    await shop.apply(component("cart"))
    await report(shop, "west")
    own = str(uuid.uuid4())
    first = await start(shop, request_id=own)
    assert (await start(shop, request_id=own)).name == first.name
    assert (await failure(start(shop, PAY, request_id=own))).code == "INVALID_ARGUMENT"


async def test_a_cell_that_comes_back_is_not_waited_for(shop: Api) -> None:
    """Who deploys anew takes over: nobody waits for an end that does not come."""
    await shop.apply(component("cart"))
    await report(shop, "west")
    operation = await start(shop)
    await shop.apply(
        project_pb2.Project(name=SHOP, deployment_pipeline=f"{ORG}/deploymentPipelines/standard")
    )
    await shop.apply(component("cart"))
    await report(shop, "west")
    operations = operations_pb2_grpc.OperationsStub(shop.user)
    found = await operations.GetOperation(operations_pb2.GetOperationRequest(name=operation.name))
    assert found.done


async def test_an_operation_never_ends_before_it_began(shop: Api) -> None:
    """Its end is not before its creation, also where it is done at once."""
    made = progress(await start(shop, PAY))
    stub = operation_pb2_grpc.OperationServiceStub(shop.user)
    kept = await stub.GetOperation(operation_pb2.GetOperationRequest(name=made.name))
    assert kept.HasField("end_time")
    assert kept.end_time.ToNanoseconds() >= kept.create_time.ToNanoseconds() > 0


async def test_each_kind_that_people_delete_has_a_plan(shop: Api) -> None:
    """Also what has nothing below it: a secret's place, a subscription, a grant."""
    await populate(shop)
    listed = await shop.grants.ListAccessGrants(
        access_grant_pb2.ListAccessGrantsRequest(parent=f"{PAY}/components/charge")
    )
    grant = listed.access_grants[0].name
    for name in (f"{SHOP}/secretReferences/database", f"{ORG}/eventSubscriptions/chat"):
        assert list((await plan(shop, name)).deletions) == [name]
        assert (await start(shop, name)).done
        assert (await failure(plan(shop, name))).code == "NOT_FOUND"
    assert list((await plan(shop, grant)).deletions) == [grant]
    direct = await failure(start(shop, grant))
    assert "delete it directly" in direct.message

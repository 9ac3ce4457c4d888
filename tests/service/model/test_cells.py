"""Cells: what is wanted, told to whoever watches; what was seen, told to users."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cellplane.api.model.v1 import (
    cell_pb2,
    component_pb2,
    deployment_pb2,
    environment_pb2,
    organization_pb2,
    project_pb2,
    resource_pb2,
)
from cellplane.api.type.v1 import change_pb2, condition_pb2, endpoint_pb2, placement_pb2
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PAY,
    PAY_DEV,
    PIPELINE,
    SHOP,
    SHOP_DEV,
    Api,
    component,
    connection,
    endpoint,
    failure,
)

WANTED = cell_pb2.WatchCellsResponse.WANTED
DELETED = cell_pb2.WatchCellsResponse.DELETED
SYNCED = cell_pb2.WatchCellsResponse.SYNCED
CHARGE = f"{PAY}/components/charge"


async def step(stream: Any) -> Any:
    async with asyncio.timeout(10):
        return await stream.read()


def report(revision: int, health: Any = condition_pb2.HEALTH_READY) -> cell_pb2.Cell:
    ready = condition_pb2.Condition(
        type="Ready",
        status=condition_pb2.Condition.TRUE,
        reason="Ready",
        observed_revision=revision,
    )
    return cell_pb2.Cell(
        health=health,
        conditions=[ready],
        data_planes=[cell_pb2.CellDataPlane(data_plane="west", ready_revision=revision)],
    )


async def note(api: Api, cell: cell_pb2.Cell, name: str = SHOP_DEV) -> None:
    await api.cells.ReportCellStatus(cell_pb2.ReportCellStatusRequest(name=name, cell=cell))


@pytest.mark.asyncio
async def test_a_watcher_gets_the_picture_then_each_change(shop: Api) -> None:
    """First what there is, a marker, then the latest of each Cell, and its end."""
    await shop.apply(component("cart"))
    stream = shop.cells.WatchCells(cell_pb2.WatchCellsRequest())
    first, synced = await step(stream), await step(stream)

    await shop.apply(component("cart", image="app:2"))
    changed = await step(stream)
    await shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP, force=True))
    gone = await step(stream)

    assert (first.type, first.cell, first.revision) == (WANTED, SHOP_DEV, 1)
    assert (synced.type, bool(synced.resume_token)) == (SYNCED, True)
    assert (changed.type, changed.revision) == (WANTED, 2)
    assert (gone.type, gone.cell) == (DELETED, SHOP_DEV)
    stream.cancel()


@pytest.mark.asyncio
async def test_a_watcher_resumes_where_it_was(shop: Api) -> None:
    """What happened meanwhile comes once, each Cell with its latest revision."""
    stream = shop.cells.WatchCells(cell_pb2.WatchCellsRequest())
    token = (await step(stream)).resume_token
    stream.cancel()
    for tag in range(3):
        await shop.apply(component("cart", image=f"app:{tag}"))

    again = shop.cells.WatchCells(cell_pb2.WatchCellsRequest(resume_token=token))
    found = await step(again)
    again.cancel()
    wrong = shop.cells.WatchCells(cell_pb2.WatchCellsRequest(resume_token="nonsense"))

    assert (found.cell, found.revision) == (SHOP_DEV, 3)
    assert (await failure(wrong.read())).code == "INVALID_ARGUMENT"


@pytest.mark.asyncio
async def test_a_watcher_learns_requirement_and_targets(shop: Api) -> None:
    """Placement needs to know what is asked of planes, and which Cells are called."""
    await shop.apply(
        organization_pb2.Organization(
            name=ORG, placement=placement_pb2.PlacementRequirement(capabilities=["mtls"])
        ),
        environment_pb2.Environment(
            name=DEV, placement=placement_pb2.PlacementRequirement(copies=2)
        ),
        component("charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("web", connections=[connection(CHARGE)]),
    )
    stream = shop.cells.WatchCells(cell_pb2.WatchCellsRequest())
    steps = {s.cell: s for s in [await step(stream), await step(stream)]}
    stream.cancel()

    assert list(steps[SHOP_DEV].target_projects) == ["pay"]
    assert steps[SHOP_DEV].placement.copies == 2
    assert list(steps[SHOP_DEV].placement.capabilities) == ["mtls"]
    charge = (await shop.resolved(PAY_DEV)).components[0]
    assert list(charge.endpoints[0].organization_callers) == ["shop"]


@pytest.mark.asyncio
async def test_a_delta_holds_what_changed(shop: Api) -> None:
    """One image is one component; one that goes is named; the frame stays out."""
    await shop.apply(component("a"), component("b", endpoints=[endpoint()]))
    await shop.apply(component("a", image="app:2"))
    delta = await shop.resolved(base=1)
    await shop.deployments.DeleteDeployment(
        deployment_pb2.DeleteDeploymentRequest(name=f"{SHOP}/components/b/deployments/development")
    )
    gone = await shop.resolved(base=2)
    future = await shop.resolved(base=99)

    assert (delta.base_revision, delta.revision) == (1, 2)
    assert [c.component for c in delta.components] == ["a"]
    assert not delta.HasField("frame")
    assert (list(gone.removed_components), list(gone.components)) == (["b"], [])
    assert (future.base_revision, [c.component for c in future.components]) == (0, ["a"])


@pytest.mark.asyncio
async def test_another_life_of_a_cell_counts_on(shop: Api) -> None:
    """A Cell that comes again has a higher revision, and no delta leads over its end."""
    await shop.apply(component("a"), component("b"))
    before = (await shop.resolved()).revision
    await shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP, force=True))

    await shop.apply(
        project_pb2.Project(name=SHOP, deployment_pipeline=PIPELINE), component("a", image="app:9")
    )
    whole = await shop.resolved(base=before)

    assert whole.revision > before
    assert whole.base_revision == 0
    assert [c.component for c in whole.components] == ["a"]


@pytest.mark.asyncio
async def test_a_cell_with_a_problem_keeps_its_last_whole_revision(shop: Api) -> None:
    """Who loses a provider is told, nothing half-made is wanted, and mending it is enough."""
    await shop.apply(component("cart", endpoints=[endpoint()]))
    await shop.apply(component("web", connections=[connection(f"{SHOP}/components/cart")]))
    whole = await shop.resolved()
    name = f"{SHOP}/components/cart/deployments/development"
    deployment = await shop.deployments.GetDeployment(
        deployment_pb2.GetDeploymentRequest(name=name)
    )

    await shop.deployments.DeleteDeployment(deployment_pb2.DeleteDeploymentRequest(name=name))
    broken = await shop.cell()
    kept = await shop.resolved()
    deployment.etag = ""
    await shop.apply(deployment)
    mended = await shop.cell()

    assert kept == whole
    assert [p.reason for p in broken.problems] == ["PROVIDER_NOT_DEPLOYED"]
    assert broken.health == condition_pb2.HEALTH_FAILED
    assert broken.conditions[0].type == "Resolved"
    assert broken.conditions[0].terminal
    assert broken.cause.resource == f"{SHOP}/components/web"
    assert (list(mended.problems), mended.revision) == ([], whole.revision)


@pytest.mark.asyncio
async def test_a_cell_that_was_never_whole_is_not_wanted(shop: Api) -> None:
    """It can be read, with its problem, and is in nobody's feed."""
    await shop.apply(
        component(
            "charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])], auto_deploy=False
        ),
        component("web", connections=[connection(CHARGE)]),
    )
    stream = shop.cells.WatchCells(cell_pb2.WatchCellsRequest())

    assert (await step(stream)).type == SYNCED
    assert (await shop.cell()).revision == 0
    assert (await failure(shop.resolved())).reason == "CELL_NOT_RESOLVED"
    stream.cancel()


@pytest.mark.asyncio
async def test_nothing_is_ready_before_it_was_seen_ready(shop: Api) -> None:
    """A report about an older revision leaves the Cell progressing."""
    await shop.apply(component("a"))
    fresh = await shop.cell()
    await note(shop, report(1))
    ready = await shop.cell()
    await shop.apply(component("a", image="app:2"))
    edited = await shop.cell()

    assert fresh.health == condition_pb2.HEALTH_PROGRESSING
    assert (ready.health, ready.reconciling) == (condition_pb2.HEALTH_READY, False)
    assert (edited.health, edited.reconciling) == (condition_pb2.HEALTH_PROGRESSING, True)
    states = {c.type: c.status for c in edited.conditions}
    assert states["Ready"] == condition_pb2.Condition.UNKNOWN


@pytest.mark.asyncio
async def test_a_report_is_told_once_and_bumps_no_revision(shop: Api) -> None:
    """The same report again is no news; what is wanted stays as it is."""
    await shop.apply(component("a"))
    before = await shop.cell()
    await note(shop, report(1))
    once = await shop.cell()
    await note(shop, report(1))
    twice = await shop.cell()

    assert before.etag != once.etag
    assert once == twice
    assert twice.revision == 1
    assert (await failure(note(shop, report(1), PAY_DEV))).code == "NOT_FOUND"


@pytest.mark.asyncio
async def test_rules_of_the_organization_reach_every_frame(shop: Api) -> None:
    """A stricter organization is a new revision of each Cell, with no component changed."""
    await shop.apply(component("a"), component("p", project=PAY))

    await shop.apply(
        organization_pb2.Organization(name=ORG, isolation=endpoint_pb2.ISOLATION_STRICT)
    )

    for cell in (SHOP_DEV, PAY_DEV):
        delta = await shop.resolved(cell, base=1)
        assert delta.frame.isolation == endpoint_pb2.ISOLATION_STRICT
        assert not delta.components


@pytest.mark.asyncio
async def test_users_watch_cells_as_they_see_them(shop: Api) -> None:
    """A change of status is a change of the Cell in the feed of resources, status included."""
    await shop.apply(component("a"))
    watch = resource_pb2.WatchResourcesRequest(parent=SHOP, kinds=["Cell"])
    stream = shop.resources.WatchResources(watch)
    first, synced = (await step(stream)).change, (await step(stream)).change

    await note(shop, report(1))
    news = (await step(stream)).change
    cell = cell_pb2.Cell()
    news.resource.Unpack(cell)

    assert [first.type, synced.type] == [change_pb2.Change.SNAPSHOT, change_pb2.Change.SYNCED]
    assert news.type == change_pb2.Change.UPDATED
    assert cell == await shop.cell()
    assert cell.health == condition_pb2.HEALTH_READY
    stream.cancel()


@pytest.mark.asyncio
async def test_cells_are_listed_by_page(shop: Api) -> None:
    """A dash reads across projects, and a token leads on."""
    await shop.apply(component("a"), component("p", project=PAY))
    request = cell_pb2.ListCellsRequest(parent=f"{ORG}/projects/-", page_size=1)
    first = await shop.cells.ListCells(request)
    request.page_token = first.next_page_token
    second = await shop.cells.ListCells(request)

    assert [c.name for c in (*first.cells, *second.cells)] == [PAY_DEV, SHOP_DEV]
    assert second.next_page_token == ""


@pytest.mark.asyncio
async def test_an_edit_touches_only_whom_it_concerns(shop: Api) -> None:
    """A port changes its callers; connections change whom they lead to, also in other Cells."""
    await shop.apply(
        component("charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("cart", endpoints=[endpoint()]),
        component("web", connections=[connection(f"{SHOP}/components/cart")]),
        component("other"),
    )
    update = component_pb2.UpdateComponentRequest(
        component=component("cart", endpoints=[endpoint(port=81)])
    )
    update.update_mask.paths.append("endpoints")
    await shop.components.UpdateComponent(update)
    port = await shop.resolved(base=1)
    update.component.CopyFrom(component("other", connections=[connection(CHARGE)]))
    update.update_mask.paths[:] = ["connections"]
    await shop.components.UpdateComponent(update)
    mine, theirs = await shop.resolved(base=2), await shop.resolved(PAY_DEV, base=1)

    assert [c.component for c in port.components] == ["cart", "web"]
    assert [c.component for c in mine.components] == ["other"]
    assert mine.HasField("frame")
    assert [c.component for c in theirs.components] == ["charge"]

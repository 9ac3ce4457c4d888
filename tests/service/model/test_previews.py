"""Previews: a whole environment for a branch, that ends by itself and leaves nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import (
    catalog_pb2,
    cell_pb2,
    component_pb2,
    deployment_pb2,
    environment_pb2,
    organization_pb2,
    preview_pb2,
    preview_pb2_grpc,
    project_pb2,
    release_pb2,
    resource_pb2,
)
from tests.service.model.conftest import serving
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PAY,
    PIPELINE,
    PUBLIC,
    SHOP,
    STAGING,
    Api,
    component,
    connection,
    endpoint,
    failure,
    findings,
    platform,
)

pytestmark = pytest.mark.asyncio
WEB = f"{SHOP}/components/web"


def stub(api: Api) -> Any:
    return preview_pb2_grpc.PreviewServiceStub(api.user)


def asked(id: str = "pr-1", *, ttl: timedelta | None = None, **more: Any) -> Any:
    preview = preview_pb2.Preview(**({"template": DEV} | more))
    if ttl is not None:
        preview.ttl.FromTimedelta(ttl)
    return preview_pb2.CreatePreviewRequest(parent=SHOP, preview_id=id, preview=preview)


def image(tag: str) -> list[preview_pb2.PreviewComponent]:
    return [preview_pb2.PreviewComponent(component=WEB, image=f"app:{tag}")]


def life(preview: preview_pb2.Preview) -> timedelta:
    """To the minute, as the row is written a moment after the decision."""
    lived = preview.expire_time.ToDatetime() - preview.create_time.ToDatetime()
    return timedelta(minutes=round(lived / timedelta(minutes=1)))


async def template(api: Api, **policy: Any) -> None:
    await api.apply(
        environment_pb2.Environment(
            name=DEV, preview_policy=environment_pb2.PreviewPolicy(**policy)
        )
    )


async def boutique(api: Api) -> None:
    """A shop that calls the components of another project."""
    await template(api)
    await api.apply(
        component(
            "web",
            endpoints=[endpoint(visible=[PUBLIC], hostname="shop.example.com")],
            connections=[
                connection(f"{SHOP}/components/cart"),
                connection(f"{PAY}/components/charge"),
            ],
        ),
        component("cart", endpoints=[endpoint()]),
        component("charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("ledger", project=PAY, endpoints=[endpoint()]),
    )


async def everything(api: Api) -> dict[str, set[str]]:
    """Names of all that there is, by kind."""
    every = f"{ORG}/projects/-"
    return {
        "environments": {
            e.name
            for e in (
                await api.environments.ListEnvironments(
                    environment_pb2.ListEnvironmentsRequest(parent=ORG)
                )
            ).environments
        },
        "cells": {
            c.name
            for c in (await api.cells.ListCells(cell_pb2.ListCellsRequest(parent=every))).cells
        },
        "deployments": {
            d.name
            for d in (
                await api.deployments.ListDeployments(
                    deployment_pb2.ListDeploymentsRequest(parent=f"{every}/components/-")
                )
            ).deployments
        },
        "releases": {
            r.name
            for r in (
                await api.releases.ListReleases(
                    release_pb2.ListReleasesRequest(parent=f"{every}/components/-")
                )
            ).releases
        },
        "entries": {
            f"{e.name} {d.environment}"
            for e in (
                await api.catalog.ListCatalogEntries(
                    catalog_pb2.ListCatalogEntriesRequest(parent=f"{every}/components/-")
                )
            ).catalog_entries
            for d in e.deployments
        },
        "previews": {
            p.name
            for p in (
                await stub(api).ListPreviews(preview_pb2.ListPreviewsRequest(parent=every))
            ).previews
        },
    }


async def ended(api: Api) -> None:
    """Return when there is no preview any more."""
    there: set[str] = set()
    is_synced = False
    watch = resource_pb2.WatchResourcesRequest(parent=ORG, kinds=["Preview"])
    async for answer in api.resources.WatchResources(watch):
        change = answer.change
        is_synced |= change.type == change.SYNCED
        if change.type == change.DELETED:
            there.discard(change.resource_name)
        elif change.resource_name:
            there.add(change.resource_name)
        if is_synced and not there:
            return


async def test_a_preview_is_whole_and_leaves_nothing(shop: Api) -> None:
    """It has all that its project calls, the branch's image, its own host; and then it is gone."""
    await boutique(shop)
    before = await everything(shop)
    made = await stub(shop).CreatePreview(asked(components=image("branch"), branch="feature/x"))
    place = made.environment.rsplit("/", 1)[-1]
    assert list(made.cells) == [f"{SHOP}/cells/{place}", f"{PAY}/cells/{place}"]
    assert life(made) == timedelta(days=1)
    for name in made.cells:
        assert not (await shop.cell(name)).problems
    own = {c.component: c for c in (await shop.resolved(made.cells[0])).components}
    assert own["web"].workload.image == "app:branch"
    assert own["web"].endpoints[0].hostname == ""
    assert [c.organization.project for c in own["web"].connections if c.HasField("organization")]
    assert (await shop.resolved(f"{SHOP}/cells/development")).components[1].workload.image == (
        "app:1"
    )
    assert len(made.releases) == 1

    await stub(shop).DeletePreview(preview_pb2.DeletePreviewRequest(name=made.name))
    assert await everything(shop) == before
    # Another life of the same name begins anew.
    again = await stub(shop).CreatePreview(asked(components=image("branch")))
    assert again.environment == made.environment
    assert again.uid != made.uid


async def test_a_release_that_somebody_keeps_stays(shop: Api) -> None:
    """What a preview tried and the project then took is the project's; the rest goes."""
    await boutique(shop)
    made = await stub(shop).CreatePreview(asked(components=image("branch")))
    changed = await stub(shop).UpdatePreview(
        preview_pb2.UpdatePreviewRequest(
            preview=preview_pb2.Preview(name=made.name, components=image("second")),
            update_mask=FieldMask(paths=["components"]),
        )
    )
    assert len(changed.releases) == 1
    assert changed.releases != made.releases
    assert changed.expire_time == made.expire_time
    web = await shop.components.GetComponent(component_pb2.GetComponentRequest(name=WEB))
    web.workload.image = "app:second"
    web.etag = ""
    await shop.apply(web)
    await stub(shop).DeletePreview(preview_pb2.DeletePreviewRequest(name=made.name))
    left = (await everything(shop))["releases"]
    assert changed.releases[0] in left
    assert made.releases[0] not in left


async def test_what_cannot_be_a_preview_is_said_at_once(shop: Api) -> None:
    """Templates, lifetimes and components are checked together, with the way out."""
    await boutique(shop)
    await template(shop, max_ttl=Duration(seconds=7200))
    refused = await failure(stub(shop).CreatePreview(asked(template=STAGING)))
    assert findings(refused) == {("preview.template", "TEMPLATE_NOT_FOUND")}
    assert f"those that are {DEV}; a preview_policy makes one" in refused.message
    refused = await failure(
        stub(shop).CreatePreview(
            asked(
                ttl=timedelta(hours=3),
                components=[
                    preview_pb2.PreviewComponent(component=f"{SHOP}/components/none", image="a:1"),
                    preview_pb2.PreviewComponent(component=f"{PAY}/components/charge", image="b:1"),
                    preview_pb2.PreviewComponent(component=WEB, image="not an image"),
                ],
            )
        )
    )
    assert findings(refused) == {
        ("preview.ttl", "TTL_TOO_LONG"),
        ("preview.components[0].component", "NOT_DEPLOYED"),
        ("preview.components[1].component", "OTHER_PROJECT"),
        ("preview.components[2].image", "VALUE_INVALID"),
    }
    made = await stub(shop).CreatePreview(asked(ttl=timedelta(hours=1)))
    assert life(made) == timedelta(hours=1)
    longer = preview_pb2.Preview(name=made.name, ttl=Duration(seconds=7200))
    longer = await stub(shop).UpdatePreview(preview_pb2.UpdatePreviewRequest(preview=longer))
    assert longer.expire_time.ToDatetime() - made.expire_time.ToDatetime() == timedelta(hours=1)
    own = environment_pb2.Environment(name=made.environment, display_name="mine")
    assert findings(await failure(shop.apply(own))) == {("resources[0].name", "OF_A_PREVIEW")}


async def test_a_quota_of_previews_is_exact_under_parallel_creates(shop: Api) -> None:
    """Of eight at once a project gets as many as it may, and the organization bounds all."""
    await boutique(shop)
    await shop.apply(
        project_pb2.Project(name=SHOP, deployment_pipeline=PIPELINE, preview_quota=3),
        organization_pb2.Organization(name=ORG, preview_quota=4),
    )

    async def create(number: int) -> str:
        try:
            await stub(shop).CreatePreview(asked(f"pr-{number}"))
        except grpc.aio.AioRpcError as error:
            return str(error.code())
        return ""

    answers = await asyncio.gather(*(create(number) for number in range(8)))
    assert sorted(set(answers)) == ["", "StatusCode.RESOURCE_EXHAUSTED"]
    assert answers.count("") == 3
    for parent, ids in ((PAY, ["a", "b"]),):
        request = preview_pb2.CreatePreviewRequest(
            parent=parent, preview_id=ids[0], preview=preview_pb2.Preview(template=DEV)
        )
        await stub(shop).CreatePreview(request)
        request.preview_id = ids[1]
        refused = await failure(stub(shop).CreatePreview(request))
        assert refused.metadata["name"] == ORG


async def test_a_project_goes_with_its_previews(shop: Api) -> None:
    """Deleting a project by force takes its previews' environments along, with others' Cells."""
    await boutique(shop)
    made = await stub(shop).CreatePreview(asked())
    await shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP, force=True))
    left = await everything(shop)
    assert made.environment not in left["environments"]
    assert left["cells"] == {f"{PAY}/cells/development"}
    assert left["previews"] == set()


async def test_a_preview_ends_in_time_also_after_a_restart(
    tmp_path: Path, database_url: str
) -> None:
    """What was to end while nobody served ends when somebody does; what is to come ends then."""
    async with serving(tmp_path, database_url) as api:
        await api.apply(*platform())
        await boutique(api)
        before = await everything(api)
        await stub(api).CreatePreview(asked("one", ttl=timedelta(seconds=1)))
    async with serving(tmp_path, database_url) as api:
        await stub(api).CreatePreview(asked("two", ttl=timedelta(seconds=2)))
        async with asyncio.timeout(60):
            await ended(api)
        assert await everything(api) == before

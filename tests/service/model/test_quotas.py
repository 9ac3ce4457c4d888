"""Quotas: exact, whoever comes at the same time, by whatever method."""

from __future__ import annotations

import asyncio

import pytest

from cellplane.api.model.v1 import component_pb2, organization_pb2, project_pb2
from tests.service.model.world import ORG, PIPELINE, SHOP, Api, component, failure

pytestmark = pytest.mark.asyncio
WRITERS = 16


async def limit(api: Api, *, projects: int = 0, components: int = 0) -> None:
    """Set the quotas of the organization and of one project."""
    organization = organization_pb2.Organization(name=ORG, project_quota=projects)
    await api.organizations.UpdateOrganization(
        organization_pb2.UpdateOrganizationRequest(organization=organization)
    )
    project = project_pb2.Project(name=SHOP, component_quota=components)
    await api.projects.UpdateProject(project_pb2.UpdateProjectRequest(project=project))


async def create(api: Api, number: int) -> str:
    """Create a component, by one of two methods; what it failed with, or nothing."""
    one = component(f"c{number}")
    if number % 2:
        call = api.apply(one)
    else:
        call = api.components.CreateComponent(
            component_pb2.CreateComponentRequest(
                parent=SHOP, component_id=f"c{number}", component=one
            )
        )
    try:
        await call
    except Exception as error:  # noqa: BLE001 - any failure is looked at
        return str(error)
    return ""


async def test_a_quota_is_exact_under_parallel_creates(shop: Api) -> None:
    """Of sixteen that create at once as many succeed as there is room for, and no more."""
    await limit(shop, components=5)
    answers = await asyncio.gather(*(create(shop, number) for number in range(WRITERS)))
    assert answers.count("") == 5
    assert all("RESOURCE_EXHAUSTED" in answer for answer in answers if answer)
    request = component_pb2.ListComponentsRequest(parent=SHOP)
    assert len((await shop.components.ListComponents(request)).components) == 5


async def test_what_is_there_may_change_and_make_room(shop: Api) -> None:
    """A quota bounds what is added: changes go on, and who deletes one may create another."""
    await shop.apply(component("a"), component("b"))
    await limit(shop, projects=2, components=2)
    await shop.apply(component("a", image="app:2"))
    refused = await failure(shop.apply(component("c")))
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert refused.metadata["name"] == SHOP
    name = f"{SHOP}/components/b"
    await shop.components.DeleteComponent(
        component_pb2.DeleteComponentRequest(name=name, force=True)
    )
    await shop.apply(component("c"))
    project = project_pb2.Project(name=f"{ORG}/projects/more", deployment_pipeline=PIPELINE)
    refused = await failure(shop.apply(project))
    assert refused.metadata["name"] == ORG

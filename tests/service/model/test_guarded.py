"""Guarded environments: what is there came through the gates, and by no other way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import (
    deployment_pb2,
    deployment_pipeline_pb2,
    project_pb2,
    promotion_pb2,
)
from cellplane.api.type.v1 import workload_pb2
from tests.service.model.promoting import (
    Promotion,
    approval,
    approve,
    check,
    pipeline,
    promote,
    until,
    world,
)
from tests.service.model.world import DEV, ORG, SHOP, STAGING, Api, component, failure, findings

pytestmark = pytest.mark.asyncio
CART = f"{SHOP}/components/cart"


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Api]:
    """On SQLite: what a test says of gates holds of any database."""
    async with world(tmp_path, f"sqlite:///{tmp_path}/model.db") as made:
        yield made


async def test_a_guarded_environment_is_written_by_promotions_alone(shop: Api) -> None:
    """A deployment that somebody writes is refused, with the way that is left; overrides, too."""
    await shop.apply(pipeline(check()), component("cart"))
    source = await shop.deployments.GetDeployment(
        deployment_pb2.GetDeploymentRequest(name=f"{CART}/deployments/development")
    )
    own = deployment_pb2.Deployment(name=f"{CART}/deployments/staging", release=source.release)
    applied = await failure(shop.apply(own))
    created = await failure(
        shop.deployments.CreateDeployment(
            deployment_pb2.CreateDeploymentRequest(
                parent=CART, deployment_id="staging", deployment=own
            )
        )
    )
    asked = await promote(shop)
    await shop.promotions.ReportPromotionCheck(
        promotion_pb2.ReportPromotionCheckRequest(name=asked.name, gate="smoke", passed=True)
    )
    await until(shop, asked.name, Promotion.SUCCEEDED)
    own.overrides.replicas = 7
    overridden = await failure(
        shop.deployments.UpdateDeployment(deployment_pb2.UpdateDeploymentRequest(deployment=own))
    )

    assert findings(applied) == {("resources[0].release", "ENVIRONMENT_GUARDED")}
    assert "cellplane promote shop --from development --to staging" in applied.message
    assert findings(created) == {("deployment.release", "ENVIRONMENT_GUARDED")}
    assert findings(overridden) == {("deployment.release", "ENVIRONMENT_GUARDED")}


async def test_overrides_of_a_guarded_environment_go_through_its_gates(shop: Api) -> None:
    """A promotion takes them along, also where the release is there already."""
    await shop.apply(pipeline(approval()), component("cart"))
    own = promotion_pb2.ComponentOverrides(
        component=CART, overrides=deployment_pb2.Overrides(replicas=3)
    )
    asked = await promote(shop, overrides=[own])
    await approve(shop, "ann", asked.name)
    await until(shop, asked.name, Promotion.SUCCEEDED)
    own.overrides.replicas = 4
    more = await promote(shop, overrides=[own])
    await approve(shop, "ann", more.name)
    await until(shop, more.name, Promotion.SUCCEEDED)
    bad = promotion_pb2.ComponentOverrides(
        component=CART,
        overrides=deployment_pb2.Overrides(
            resources=workload_pb2.Resources(cpu_request="2", cpu_limit="1")
        ),
    )
    refused = await failure(promote(shop, overrides=[bad]))

    assert (await shop.resolved(f"{SHOP}/cells/staging")).components[0].workload.replicas == 4
    assert more.changes[0].previous_overrides.replicas == 3
    assert more.changes[0].release == more.changes[0].previous_release
    assert refused.reason == "PROMOTION_REFUSED"


async def test_a_project_takes_no_pipeline_that_guards_less(shop: Api) -> None:
    """Another pipeline that leads to a guarded environment without gates is refused by name."""
    await shop.apply(pipeline(approval()), component("cart"))
    path = deployment_pipeline_pb2.PromotionPath(
        source_environment=DEV, target_environments=[STAGING]
    )
    loose = deployment_pipeline_pb2.DeploymentPipeline(
        name=f"{ORG}/deploymentPipelines/loose", promotion_paths=[path]
    )
    firm = deployment_pipeline_pb2.DeploymentPipeline()
    firm.CopyFrom(loose)
    firm.name = f"{ORG}/deploymentPipelines/firm"
    firm.promotion_paths[0].gates.append(check())
    await shop.apply(loose, firm)

    def take(taken: deployment_pipeline_pb2.DeploymentPipeline) -> project_pb2.UpdateProjectRequest:
        return project_pb2.UpdateProjectRequest(
            project=project_pb2.Project(name=SHOP, deployment_pipeline=taken.name),
            update_mask=FieldMask(paths=["deployment_pipeline"]),
        )

    refused = await failure(shop.projects.UpdateProject(take(loose)))
    taken = await shop.projects.UpdateProject(take(firm))

    assert findings(refused) == {("project.deployment_pipeline", "PIPELINE_UNGUARDED")}
    assert f'guards "{STAGING}"' in refused.message
    assert taken.deployment_pipeline == firm.name

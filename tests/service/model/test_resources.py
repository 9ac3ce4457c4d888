"""The standard methods of what people write, deleting, releases and promotion."""

from __future__ import annotations

import pytest

from cellplane.api.model.v1 import (
    component_pb2,
    deployment_pb2,
    deployment_pipeline_pb2,
    environment_pb2,
    organization_pb2,
    project_pb2,
    promotion_pb2,
    release_pb2,
)
from cellplane.api.type.v1 import workload_pb2
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PAY,
    PIPELINE,
    PRODUCTION,
    SHOP,
    SHOP_DEV,
    STAGING,
    Api,
    component,
    connection,
    endpoint,
    failure,
    findings,
)

CART = f"{SHOP}/components/cart"


async def promote(
    api: Api, project: str, source: str, target: str, *components: str
) -> promotion_pb2.Promotion:
    return await api.promotions.CreatePromotion(
        promotion_pb2.CreatePromotionRequest(
            parent=project,
            promotion=promotion_pb2.Promotion(
                source_environment=source, target_environment=target, components=components
            ),
        )
    )


@pytest.mark.asyncio
async def test_a_created_component_runs_in_the_first_environment(shop: Api) -> None:
    """A release of it is deployed where its pipeline starts, and nowhere else."""
    created = await shop.components.CreateComponent(
        component_pb2.CreateComponentRequest(
            parent=SHOP, component_id="cart", component=component("ignored")
        )
    )
    deployments = await shop.deployments.ListDeployments(
        deployment_pb2.ListDeploymentsRequest(parent=CART)
    )

    assert created.name == CART
    assert created.latest_release.startswith(f"{CART}/releases/r-")
    assert [(d.environment, d.release) for d in deployments.deployments] == [
        (DEV, created.latest_release)
    ]


@pytest.mark.asyncio
async def test_equal_intents_are_one_release(shop: Api) -> None:
    """Going back to what was before is the release of then; a note for people is none."""
    for image, title in (("a:1", ""), ("a:2", ""), ("a:1", ""), ("a:1", "The cart")):
        await shop.apply(component("cart", image=image, display_name=title))

    releases = await shop.releases.ListReleases(release_pb2.ListReleasesRequest(parent=CART))
    cell = await shop.resolved()

    assert len(releases.releases) == 2
    assert cell.revision == 3
    assert cell.components[0].workload.image == "a:1"
    names = {release.name for release in releases.releases}
    assert f"{CART}/releases/{cell.components[0].release}" in names


@pytest.mark.asyncio
async def test_a_mistake_in_an_update_has_the_path_of_the_request(shop: Api) -> None:
    """Findings name the field as the request has it, and nothing changes."""
    await shop.apply(component("cart"))
    bad = component("cart", connections=[connection(f"{SHOP}/components/no")])

    failed = await failure(
        shop.components.UpdateComponent(component_pb2.UpdateComponentRequest(component=bad))
    )

    assert findings(failed) == {
        ("component.connections[0].component_endpoint.component", "REFERENCE_NOT_FOUND")
    }
    assert (await shop.resolved()).revision == 1


@pytest.mark.asyncio
async def test_an_update_that_changes_nothing_is_no_news(shop: Api) -> None:
    """The same again keeps etag and revision."""
    await shop.apply(component("cart"))
    request = component_pb2.UpdateComponentRequest(component=component("cart"))

    first = await shop.components.UpdateComponent(request)
    second = await shop.components.UpdateComponent(request)

    assert first == second
    assert (await shop.resolved()).revision == 1


@pytest.mark.asyncio
async def test_without_auto_deploy_nothing_runs(shop: Api) -> None:
    """A release is made and waits; turning it on deploys it."""
    await shop.apply(component("cart", auto_deploy=False))
    before = await failure(shop.cell())

    await shop.apply(component("cart", auto_deploy=True))

    assert before.code == "NOT_FOUND"
    assert (await shop.resolved()).revision == 1


@pytest.mark.asyncio
async def test_overrides_outlive_a_new_release(shop: Api) -> None:
    """What an environment wants otherwise stays when the component changes."""
    await shop.apply(component("cart"))
    name = f"{CART}/deployments/development"
    deployment = await shop.deployments.GetDeployment(
        deployment_pb2.GetDeploymentRequest(name=name)
    )
    deployment.overrides.replicas = 4
    deployment.overrides.env.add(name="LEVEL", value="debug")
    await shop.deployments.UpdateDeployment(
        deployment_pb2.UpdateDeploymentRequest(deployment=deployment)
    )

    await shop.apply(component("cart", image="app:2"))
    workload = (await shop.resolved()).components[0].workload

    assert (workload.image, workload.replicas) == ("app:2", 4)
    assert [(v.name, v.value) for v in workload.env] == [("LEVEL", "debug")]


@pytest.mark.asyncio
async def test_a_wrong_override_is_refused(shop: Api) -> None:
    """What would make the release wrong is found at the override's own path."""
    await shop.apply(component("cart"))
    name = f"{CART}/deployments/development"
    deployment = await shop.deployments.GetDeployment(
        deployment_pb2.GetDeploymentRequest(name=name)
    )
    deployment.overrides.resources.CopyFrom(workload_pb2.Resources(cpu_request="2", cpu_limit="1"))
    other = deployment_pb2.Deployment(
        name=f"{CART}/deployments/nowhere", release=deployment.release
    )

    failed = await failure(shop.apply(deployment, other))

    assert findings(failed) == {
        ("resources[0].overrides.resources.cpu_request", "REQUEST_ABOVE_LIMIT"),
        ("resources[1].name", "REFERENCE_NOT_FOUND"),
        ("resources[1].name", "ENVIRONMENT_NOT_IN_PIPELINE"),
    }


@pytest.mark.asyncio
async def test_what_is_needed_is_not_deleted(shop: Api) -> None:
    """Each refusal names who needs it; force takes what belongs to it, never what refers to it."""
    await shop.apply(
        component("cart", endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("web", connections=[connection(CART)]),
        component("far", project=PAY, connections=[connection(CART)]),
    )
    calls = {
        "organization": shop.organizations.DeleteOrganization(
            organization_pb2.DeleteOrganizationRequest(name=ORG)
        ),
        "environment": shop.environments.DeleteEnvironment(
            environment_pb2.DeleteEnvironmentRequest(name=DEV, force=True)
        ),
        "pipeline": shop.pipelines.DeleteDeploymentPipeline(
            deployment_pipeline_pb2.DeleteDeploymentPipelineRequest(name=PIPELINE, force=True)
        ),
        "project": shop.projects.DeleteProject(
            project_pb2.DeleteProjectRequest(name=SHOP, force=True)
        ),
        "component": shop.components.DeleteComponent(
            component_pb2.DeleteComponentRequest(name=CART, force=True)
        ),
    }
    failed = {what: await failure(call) for what, call in calls.items()}

    assert {f.code for f in failed.values()} == {"FAILED_PRECONDITION"}
    assert SHOP in failed["organization"].message
    assert PIPELINE in failed["environment"].message
    assert SHOP in failed["pipeline"].message
    assert f"{PAY}/components/far" in failed["project"].message
    assert f"{SHOP}/components/web" in failed["component"].message


@pytest.mark.asyncio
async def test_a_whole_organization_goes_by_force(shop: Api) -> None:
    """Everything below it goes, its Cells too, and its name is free again."""
    await shop.apply(component("cart"))

    await shop.organizations.DeleteOrganization(
        organization_pb2.DeleteOrganizationRequest(name=ORG, force=True)
    )

    assert (await failure(shop.cell())).code == "NOT_FOUND"
    listed = organization_pb2.ListOrganizationsRequest()
    assert not (await shop.organizations.ListOrganizations(listed)).organizations
    await shop.apply(organization_pb2.Organization(name=ORG))


@pytest.mark.asyncio
async def test_deleting_a_project_names_its_children(shop: Api) -> None:
    """Without force it stays, and trying force out deletes nothing."""
    await shop.apply(component("cart"))
    request = project_pb2.DeleteProjectRequest(name=SHOP)

    failed = await failure(shop.projects.DeleteProject(request))
    await shop.projects.DeleteProject(
        project_pb2.DeleteProjectRequest(name=SHOP, force=True, validate_only=True)
    )

    assert CART in failed.message
    assert (await shop.resolved()).revision == 1


@pytest.mark.asyncio
async def test_a_promotion_follows_the_pipeline(shop: Api) -> None:
    """What runs in the source runs in the target; a step that is not there names those that are."""
    await shop.apply(component("cart"), component("web"))

    refused = await failure(promote(shop, SHOP, DEV, PRODUCTION))
    done = await promote(shop, SHOP, DEV, STAGING)
    again = await promote(shop, SHOP, DEV, STAGING)

    assert (refused.reason, STAGING in refused.message) == ("PROMOTION_NOT_ALLOWED", True)
    assert done.state == promotion_pb2.Promotion.SUCCEEDED
    assert [(c.component, c.previous_release) for c in done.changes] == [
        (CART, ""),
        (f"{SHOP}/components/web", ""),
    ]
    assert not again.changes
    staging = await shop.resolved(f"{SHOP}/cells/staging")
    development = await shop.resolved()
    assert [c.release for c in staging.components] == [c.release for c in development.components]
    assert staging.frame.namespace != development.frame.namespace


@pytest.mark.asyncio
async def test_a_promotion_leaves_nobody_behind(shop: Api) -> None:
    """Without what it calls a component stays where it is, and so do all the others."""
    charge = f"{PAY}/components/charge"
    await shop.apply(
        component("charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])]),
        component("cart", endpoints=[endpoint()]),
        component("web", connections=[connection(charge), connection(CART)]),
    )

    refused = await failure(promote(shop, SHOP, DEV, STAGING))
    nothing = await failure(shop.cell(f"{SHOP}/cells/staging"))
    alone = await failure(promote(shop, SHOP, DEV, STAGING, f"{SHOP}/components/web"))
    await promote(shop, PAY, DEV, STAGING)
    done = await promote(shop, SHOP, DEV, STAGING)

    assert refused.reason == "PROMOTION_REFUSED"
    assert charge in refused.message
    assert nothing.code == "NOT_FOUND"
    assert alone.reason == "PROMOTION_REFUSED"
    assert len(done.changes) == 2


@pytest.mark.asyncio
async def test_what_is_not_deployed_is_not_promoted(shop: Api) -> None:
    """A component must run in the source, and be of the project."""
    await shop.apply(component("cart", auto_deploy=False), component("web"))

    missing = await failure(promote(shop, SHOP, DEV, STAGING, CART))
    foreign = await failure(promote(shop, SHOP, DEV, STAGING, f"{PAY}/components/x"))

    assert missing.reason == "NOT_DEPLOYED"
    assert findings(foreign) == {("promotion.components[0]", "OTHER_PROJECT")}


@pytest.mark.asyncio
async def test_an_environment_says_which_domains_are_in_use(shop: Api) -> None:
    """Its own, or those made from the names; a new one reaches the Cells."""
    made = await shop.environments.GetEnvironment(environment_pb2.GetEnvironmentRequest(name=DEV))
    await shop.apply(component("cart"))
    update = environment_pb2.UpdateEnvironmentRequest(
        environment=environment_pb2.Environment(name=DEV, public_domain="dev.example.com")
    )
    changed = await shop.environments.UpdateEnvironment(update)

    assert made.effective_public_domain == "apps.development.acme.cellplane.internal"
    assert changed.effective_public_domain == "dev.example.com"
    assert (await shop.resolved(SHOP_DEV, base=1)).frame.public_domain == "dev.example.com"

"""Short ways to write resources, and stubs that speak to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.any_pb2 import Any as Packed

from cellplane.api.model.v1 import (
    access_grant_pb2_grpc,
    api_schema_pb2_grpc,
    catalog_pb2_grpc,
    cell_pb2,
    cell_pb2_grpc,
    component_pb2,
    component_pb2_grpc,
    deployment_pb2_grpc,
    deployment_pipeline_pb2,
    deployment_pipeline_pb2_grpc,
    environment_pb2,
    environment_pb2_grpc,
    organization_pb2,
    organization_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    promotion_pb2_grpc,
    release_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)
from cellplane.api.type.v1 import endpoint_pb2, resolved_cell_pb2, workload_pb2
from cellplane.rpc.client import RpcFailure, explain

ORG = "organizations/acme"
DEV = f"{ORG}/environments/development"
STAGING = f"{ORG}/environments/staging"
PRODUCTION = f"{ORG}/environments/production"
PIPELINE = f"{ORG}/deploymentPipelines/standard"
SHOP = f"{ORG}/projects/shop"
PAY = f"{ORG}/projects/pay"
SHOP_DEV = f"{SHOP}/cells/development"
PAY_DEV = f"{PAY}/cells/development"

HTTP = endpoint_pb2.PROTOCOL_HTTP
GRPC = endpoint_pb2.PROTOCOL_GRPC
ORGANIZATION = endpoint_pb2.VISIBILITY_ORGANIZATION
PUBLIC = endpoint_pb2.VISIBILITY_PUBLIC


def endpoint(
    id: str = "http", port: int = 80, visible: Sequence[Any] = (), **more: Any
) -> component_pb2.Endpoint:
    return component_pb2.Endpoint(
        endpoint=id,
        port=port,
        visibilities=visible,
        **({"protocol": HTTP} | more),
    )


def connection(target: str, endpoint: str = "http", id: str = "") -> component_pb2.Connection:
    own = id or target.rsplit("/", 1)[-1]
    return component_pb2.Connection(
        connection=own,
        component_endpoint=component_pb2.ComponentEndpoint(component=target, endpoint=endpoint),
        inject=resolved_cell_pb2.Injection(url=f"{own.upper().replace('-', '_')}_URL"),
    )


def component(
    id: str,
    *,
    project: str = SHOP,
    endpoints: Sequence[component_pb2.Endpoint] = (),
    connections: Sequence[component_pb2.Connection] = (),
    image: str = "app:1",
    **more: Any,
) -> component_pb2.Component:
    return component_pb2.Component(
        name=f"{project}/components/{id}",
        workload=workload_pb2.Workload(image=image),
        endpoints=endpoints,
        connections=connections,
        **({"component_kind": workload_pb2.COMPONENT_KIND_SERVICE} | more),
    )


def platform() -> list[Any]:
    """An organization with three environments, a pipeline and two projects."""
    return [
        organization_pb2.Organization(name=ORG),
        *(environment_pb2.Environment(name=name) for name in (DEV, STAGING, PRODUCTION)),
        deployment_pipeline_pb2.DeploymentPipeline(
            name=PIPELINE,
            promotion_paths=[
                deployment_pipeline_pb2.PromotionPath(
                    source_environment=DEV, target_environments=[STAGING]
                ),
                deployment_pipeline_pb2.PromotionPath(
                    source_environment=STAGING, target_environments=[PRODUCTION]
                ),
            ],
        ),
        project_pb2.Project(name=SHOP, deployment_pipeline=PIPELINE),
        project_pb2.Project(name=PAY, deployment_pipeline=PIPELINE),
    ]


def pack(resources: Sequence[Any]) -> list[Packed]:
    packed = []
    for resource in resources:
        one = Packed()
        one.Pack(resource)
        packed.append(one)
    return packed


@dataclass
class Api:
    """Stubs of every service of the model."""

    user: grpc.aio.Channel
    service: grpc.aio.Channel
    target: str = ""
    pki: Path = Path()
    others: dict[str, Api] = field(default_factory=dict)
    """Stubs of other users, by name."""

    def __post_init__(self) -> None:
        u = self.user
        self.organizations = organization_pb2_grpc.OrganizationServiceStub(u)
        self.environments = environment_pb2_grpc.EnvironmentServiceStub(u)
        self.pipelines = deployment_pipeline_pb2_grpc.DeploymentPipelineServiceStub(u)
        self.projects = project_pb2_grpc.ProjectServiceStub(u)
        self.components = component_pb2_grpc.ComponentServiceStub(u)
        self.deployments = deployment_pb2_grpc.DeploymentServiceStub(u)
        self.releases = release_pb2_grpc.ReleaseServiceStub(u)
        self.promotions = promotion_pb2_grpc.PromotionServiceStub(u)
        self.resources = resource_pb2_grpc.ResourceServiceStub(u)
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(u)
        self.schemas = api_schema_pb2_grpc.ApiSchemaServiceStub(u)
        self.grants = access_grant_pb2_grpc.AccessGrantServiceStub(u)
        self.cells = cell_pb2_grpc.CellServiceStub(self.service)
        self.cells_as_user = cell_pb2_grpc.CellServiceStub(u)

    async def apply(self, *resources: Any, **more: Any) -> resource_pb2.ApplyResourcesResponse:
        request = resource_pb2.ApplyResourcesRequest(resources=pack(resources), **more)
        return await self.resources.ApplyResources(request)

    async def cell(self, name: str = SHOP_DEV) -> cell_pb2.Cell:
        return await self.cells.GetCell(cell_pb2.GetCellRequest(name=name))

    async def resolved(self, name: str = SHOP_DEV, base: int = 0) -> resolved_cell_pb2.ResolvedCell:
        request = cell_pb2.GetResolvedCellRequest(name=name, base_revision=base)
        return await self.cells.GetResolvedCell(request)


async def failure(call: Any) -> RpcFailure:
    """What a call fails with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return explain(error)
    raise AssertionError("the call succeeded")


def findings(failed: RpcFailure) -> set[tuple[str, str]]:
    """Field and reason of every violation."""
    return {(v.field, v.reason) for v in failed.violations}

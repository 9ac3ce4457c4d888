"""Promotions in tests: pipelines with gates, what placement reports, and waiting for an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from cellplane.api.model.v1 import (
    cell_pb2,
    deployment_change_pb2,
    deployment_change_pb2_grpc,
    deployment_pb2,
    deployment_pipeline_pb2,
    gate_pb2,
    promotion_pb2,
    resource_pb2,
)
from cellplane.api.type.v1 import condition_pb2
from cellplane.rpc.access import RoleTable
from tests.service.model.conftest import serving
from tests.service.model.world import DEV, PIPELINE, PRODUCTION, SHOP, STAGING, Api, platform

Promotion = promotion_pb2.Promotion
State = gate_pb2.GateStatus
READY = condition_pb2.HEALTH_READY
PROGRESSING = condition_pb2.HEALTH_PROGRESSING
FAILED = condition_pb2.HEALTH_FAILED
PATIENCE = 60
"""Seconds that a loaded machine may take."""


DECIDES = frozenset({"promotions.get", "promotions.approve", "promotions.refuse"})
ROLES = RoleTable(grants={"admin": frozenset({"*"}), "ann": DECIDES, "bob": DECIDES})


@asynccontextmanager
async def world(tmp_path: Path, url: str) -> AsyncIterator[Api]:
    """An organization that can deploy, an administrator, and two who may decide."""
    async with serving(tmp_path, url, roles=ROLES, users=("ann", "bob")) as made:
        await made.apply(*platform())
        yield made


def seconds(number: float) -> Duration:
    made = Duration()
    made.FromTimedelta(timedelta(seconds=number))
    return made


def approval(gate: str = "managers", **more: Any) -> gate_pb2.Gate:
    return gate_pb2.Gate(gate=gate, approval=gate_pb2.ApprovalGate(role="managers", **more))


def health(soak: float = 0, **more: Any) -> gate_pb2.Gate:
    return gate_pb2.Gate(gate="soak", health=gate_pb2.HealthGate(soak=seconds(soak), **more))


def check(**more: Any) -> gate_pb2.Gate:
    return gate_pb2.Gate(gate="smoke", check=gate_pb2.CheckGate(**more))


def verification(soak: float = 0, window: float = 600, **more: Any) -> gate_pb2.Verification:
    return gate_pb2.Verification(soak=seconds(soak), window=seconds(window), **more)


def pipeline(
    *gates: gate_pb2.Gate, verified: gate_pb2.Verification | None = None, **more: Any
) -> deployment_pipeline_pb2.DeploymentPipeline:
    """Development, staging and production; the gates stand before staging."""
    path = deployment_pipeline_pb2.PromotionPath
    return deployment_pipeline_pb2.DeploymentPipeline(
        name=PIPELINE,
        promotion_paths=[
            path(
                source_environment=DEV,
                target_environments=[STAGING],
                gates=gates,
                verification=verified,
            ),
            path(source_environment=STAGING, target_environments=[PRODUCTION]),
        ],
        roles=[gate_pb2.PipelineRole(role="managers", members=["users/ann", "users/bob"])],
        **more,
    )


async def promote(
    api: Api,
    source: str = DEV,
    target: str = STAGING,
    *components: str,
    own_id: str = "",
    **more: Any,
) -> Promotion:
    promotion = Promotion(
        source_environment=source, target_environment=target, components=components, **more
    )
    return await api.promotions.CreatePromotion(
        promotion_pb2.CreatePromotionRequest(parent=SHOP, promotion_id=own_id, promotion=promotion)
    )


async def approve(api: Api, who: str, name: str, **more: Any) -> Promotion:
    request = promotion_pb2.ApprovePromotionRequest(name=name, **more)
    return await api.others[who].promotions.ApprovePromotion(request)


async def roll_back(api: Api, *releases: str, environment: str = STAGING, reason: str = "") -> Any:
    answer = await api.promotions.RollBackEnvironment(
        promotion_pb2.RollBackEnvironmentRequest(
            parent=SHOP, environment=environment, releases=releases, reason=reason
        )
    )
    return answer.promotion


async def until(api: Api, name: str, *states: Any) -> Promotion:
    """Wait until a promotion is in one of these states."""
    stream = api.resources.WatchResources(
        resource_pb2.WatchResourcesRequest(parent=name, kinds=["Promotion"])
    )
    promotion = Promotion()
    try:
        async with asyncio.timeout(PATIENCE):
            while promotion.state not in states:
                told = await stream.read()
                if told.change.resource.Is(Promotion.DESCRIPTOR):
                    told.change.resource.Unpack(promotion)
    finally:
        stream.cancel()
    return promotion


async def deployed(api: Api, environment: str) -> dict[str, str]:
    """Release of each component there, by ids."""
    page = await api.deployments.ListDeployments(
        deployment_pb2.ListDeploymentsRequest(parent=f"{SHOP}/components/-", page_size=500)
    )
    return {
        d.name.split("/")[5]: d.release.rsplit("/", 1)[-1]
        for d in page.deployments
        if d.environment == environment
    }


async def report(api: Api, environment: str, healths: Mapping[str, Any], message: str = "") -> None:
    """What placement says of a Cell: it has what is wanted now, and each component is so."""
    cell = f"{SHOP}/cells/{environment.rsplit('/', 1)[-1]}"
    revision = (await api.resolved(cell)).revision
    releases = await deployed(api, environment)
    components = [
        cell_pb2.CellComponent(
            component=component,
            release=release,
            health=healths.get(component, READY),
            cause=condition_pb2.Cause(reason="ImagePullBackOff", message=message)
            if message
            else None,
        )
        for component, release in sorted(releases.items())
    ]
    ready = condition_pb2.Condition(
        type="Ready", status=condition_pb2.Condition.TRUE, observed_revision=revision
    )
    await api.cells.ReportCellStatus(
        cell_pb2.ReportCellStatusRequest(
            name=cell,
            cell=cell_pb2.Cell(
                health=max(healths.values(), default=READY),
                conditions=[ready],
                data_planes=[cell_pb2.CellDataPlane(data_plane="a", applied_revision=revision)],
                components=components,
            ),
        )
    )


async def history(api: Api, parent: str = f"{SHOP}/components/-", **more: Any) -> Sequence[Any]:
    """What was deployed, the oldest first."""
    found = deployment_change_pb2_grpc.DeploymentChangeServiceStub(api.user)
    page = await found.ListDeploymentChanges(
        deployment_change_pb2.ListDeploymentChangesRequest(parent=parent, page_size=500, **more)
    )
    return list(reversed(page.deployment_changes))


def replayed(changes: Sequence[Any]) -> dict[tuple[str, str], tuple[str, Any]]:
    """What is deployed after all of these, by component and environment."""
    there: dict[tuple[str, str], tuple[str, Any]] = {}
    for change in changes:
        key = change.name.rpartition("/deploymentChanges/")[0], change.environment
        now = there.get(key, ("", None))[0]
        assert change.previous_release == now or not now, change
        if change.release:
            there[key] = change.release, change.overrides
        else:
            there.pop(key)
    return there

"""Managed resources: in a Cell while somebody there connects to them, with their outputs."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from cellplane.api.model.v1 import (
    component_pb2,
    environment_pb2,
    preview_pb2,
    preview_pb2_grpc,
    promotion_pb2,
    resource_claim_pb2,
    resource_claim_pb2_grpc,
    resource_type_pb2,
)
from cellplane.api.type.v1 import endpoint_pb2, resolved_cell_pb2
from tests.service.model.world import (
    DEV,
    ORG,
    PRODUCTION,
    SHOP,
    SHOP_DEV,
    STAGING,
    Api,
    component,
    failure,
    findings,
)

pytestmark = pytest.mark.asyncio
DB = f"{SHOP}/resourceClaims/orders"
POSTGRESQL = f"{ORG}/resourceTypes/postgresql"


def claim(name: str = DB, *, type: str = POSTGRESQL, **parameters: Any) -> Any:
    given = Struct()
    given.update(parameters)
    return resource_claim_pb2.ResourceClaim(name=name, type=type, parameters=given)


def uses(name: str = DB, **outputs: str) -> component_pb2.Connection:
    return component_pb2.Connection(
        connection="db",
        managed_resource=component_pb2.ManagedResource(resource=name),
        inject=resolved_cell_pb2.Injection(host="DB_HOST", outputs=outputs),
    )


async def parts(api: Api, cell: str = SHOP_DEV) -> dict[str, Any]:
    return {c.component: c for c in (await api.resolved(cell)).components}


async def test_a_claim_lives_as_long_as_somebody_connects_to_it(shop: Api) -> None:
    """It comes with the first connection in an environment, and goes with the last."""
    await shop.apply(claim(), component("web"))
    assert set(await parts(shop)) == {"web"}
    await shop.apply(component("web", connections=[uses(DATABASE_URL="uri")]))
    found = await parts(shop)
    own = found["orders"]
    assert own.type.definition.definition == POSTGRESQL
    assert [(e.endpoint, e.port, list(e.cell_callers)) for e in own.endpoints] == [
        ("sql", 5432, ["web"])
    ]
    bound = found["web"].connections[0]
    assert (bound.cell.component, bound.cell.endpoint, bound.cell.port) == ("orders", "sql", 5432)
    assert dict(bound.inject.outputs) == {"DATABASE_URL": "uri"}
    assert not (await shop.cell()).problems

    step = promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING)
    await shop.promotions.CreatePromotion(
        promotion_pb2.CreatePromotionRequest(parent=SHOP, promotion=step)
    )
    assert set(await parts(shop, f"{SHOP}/cells/staging")) == {"orders", "web"}
    await shop.apply(component("web"))
    assert set(await parts(shop)) == {"web"}
    assert set(await parts(shop, f"{SHOP}/cells/staging")) == {"orders", "web"}


async def test_what_a_claim_is_given_holds_where_it_says(shop: Api) -> None:
    """Parameters and the deletion policy are those of the environment; previews keep nothing."""
    own = claim(storage="2Gi")
    ParseDict(
        {
            "deletionPolicy": "DELETION_POLICY_DELETE",
            "environments": [
                {
                    "environment": DEV,
                    "parameters": {"storage": "1Gi"},
                    "deletionPolicy": "DELETION_POLICY_RETAIN",
                },
                {"environment": PRODUCTION, "parameters": {"storage": "100Gi"}},
            ],
        },
        own,
    )
    policy = environment_pb2.PreviewPolicy()
    await shop.apply(own, component("web", connections=[uses()]))
    await shop.apply(environment_pb2.Environment(name=DEV, preview_policy=policy))
    given = (await parts(shop))["orders"].type
    assert given.parameters["storage"] == "1Gi"
    assert given.environment_parameters["deletionPolicy"] == "Retain"
    made = await preview_pb2_grpc.PreviewServiceStub(shop.user).CreatePreview(
        preview_pb2.CreatePreviewRequest(
            parent=SHOP, preview_id="pr-1", preview=preview_pb2.Preview(template=DEV)
        )
    )
    given = (await parts(shop, made.cells[0]))["orders"].type
    assert given.parameters["storage"] == "1Gi"
    assert given.environment_parameters["deletionPolicy"] == "Delete"
    # A change of a claim is a change of its Cells.
    own.environments[0].parameters["storage"] = "3Gi"
    await shop.apply(own)
    assert (await parts(shop))["orders"].type.parameters["storage"] == "3Gi"


async def test_an_organization_has_types_of_its_own(shop: Api) -> None:
    """A type of the same id takes the place of the one that comes along, at once."""
    await shop.apply(claim(), component("web", connections=[uses()]))
    own = resource_type_pb2.ResourceType(
        name=POSTGRESQL,
        endpoints=[
            resource_type_pb2.ResourceEndpoint(
                endpoint="pg", protocol=endpoint_pb2.PROTOCOL_TCP, port=6543
            )
        ],
        outputs=["uri"],
    )
    one = own.resources.add(template="settings")
    ParseDict(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${names.service}"}},
        one.manifest,
    )
    await shop.apply(own)
    found = await parts(shop)
    assert [e.port for e in found["orders"].endpoints] == [6543]
    assert found["web"].connections[0].cell.port == 6543
    one.manifest["data"] = {"a": "${parameters.nothing}"}
    refused = await failure(shop.apply(own))
    assert refused.code == "INVALID_ARGUMENT"
    assert "nothing" in refused.message


async def test_what_is_wrong_with_claims_is_said_at_once(shop: Api) -> None:
    """Types, parameters, outputs and names are checked together, each with its field."""
    refused = await failure(
        shop.apply(
            claim(storage="a lot", none=1),
            claim(f"{SHOP}/resourceClaims/cache", type=f"{ORG}/resourceTypes/memcached"),
            claim(f"{SHOP}/resourceClaims/web", type=f"{ORG}/resourceTypes/redis"),
            component("web", connections=[uses(DATABASE_URL="url", DB_PASSWORD="password")]),
        )
    )
    assert findings(refused) >= {
        ("resources[1].type", "REFERENCE_NOT_FOUND"),
        ("resources[2].name", "NAME_COLLISION"),
        ("resources[3].name", "NAME_COLLISION"),
        ('resources[3].connections[0].inject.outputs["DATABASE_URL"]', "OUTPUT_NOT_FOUND"),
    }
    assert {f for f, _ in findings(refused)} >= {"resources[0].parameters.storage"}
    await shop.apply(claim(), component("web", connections=[uses()]))
    stub: Any = resource_claim_pb2_grpc.ResourceClaimServiceStub(shop.user)
    gone = await failure(
        stub.DeleteResourceClaim(resource_claim_pb2.DeleteResourceClaimRequest(name=DB))
    )
    assert gone.reason == "RESOURCE_IN_USE"

"""Schemas: kept by content, checked when they come along, and compared before they break others."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.api.model.v1 import (
    api_schema_pb2,
    catalog_pb2,
    component_pb2,
    organization_pb2,
    resource_pb2,
)
from cellplane.api.type.v1 import problem_pb2
from tests.service.model.world import ORG, SHOP, Api, component, endpoint, failure, pack

OPENAPI = component_pb2.SCHEMA_FORMAT_OPENAPI
PROTOBUF = component_pb2.SCHEMA_FORMAT_PROTOBUF
REFUSE = component_pb2.SCHEMA_COMPATIBILITY_REFUSE
CART = f"{SHOP}/components/cart"

ORDERS = """\
openapi: 3.1.0
info: {title: Orders, version: 1.2.0}
paths:
  /orders:
    get:
      operationId: listOrders
      responses:
        "200":
          description: all of them
          content:
            application/json:
              schema: {type: array, items: {type: object, properties: {id: {type: string}}}}
"""
WITHOUT_ID = ORDERS.replace("{id: {type: string}}", "{}")


def cart(content: str = ORDERS, format: Any = OPENAPI, **more: Any) -> component_pb2.Component:
    inline = component_pb2.InlineSchema(format=format, content=content.encode())
    own = endpoint()
    own.schema.CopyFrom(component_pb2.OfferSchema(inline=inline, **more))
    return component("cart", endpoints=[own])


async def applied(api: Api, *resources: Any) -> resource_pb2.AppliedResource:
    request = resource_pb2.ApplyResourcesRequest(resources=pack(resources))
    return (await api.resources.ApplyResources(request)).resources[0]


@pytest.mark.asyncio
async def test_a_schema_comes_along_and_is_kept(shop: Api) -> None:
    """The endpoint names the schema, the entry its version, and search finds its operations."""
    await applied(shop, cart())
    stored = await shop.components.GetComponent(component_pb2.GetComponentRequest(name=CART))
    name = stored.endpoints[0].schema.api_schema
    kept = await shop.schemas.GetApiSchema(api_schema_pb2.GetApiSchemaRequest(name=name))
    listed = await shop.schemas.ListApiSchemas(api_schema_pb2.ListApiSchemasRequest(parent=CART))
    found = await shop.catalog.SearchCatalogEntries(
        catalog_pb2.SearchCatalogEntriesRequest(parent=ORG, query="listorders")
    )

    assert not stored.endpoints[0].schema.HasField("inline")
    assert (kept.title, kept.version, kept.content.decode()) == ("Orders", "1.2.0", ORDERS)
    assert list(kept.operations) == ["GET /orders listOrders"]
    assert [(s.name, s.content) for s in listed.api_schemas] == [(name, b"")]
    assert [e.offer.version for e in found.catalog_entries] == ["1.2.0"]


@pytest.mark.asyncio
async def test_the_same_schema_twice_is_unchanged(shop: Api) -> None:
    """Applying again what is there changes nothing, also where a dry run came before."""
    request = resource_pb2.ApplyResourcesRequest(resources=pack([cart()]), validate_only=True)
    tried = (await shop.resources.ApplyResources(request)).resources[0]
    first, second = await applied(shop, cart()), await applied(shop, cart())

    assert tried.outcome == first.outcome == resource_pb2.AppliedResource.CREATED
    assert second.outcome == resource_pb2.AppliedResource.UNCHANGED


@pytest.mark.asyncio
async def test_what_is_wrong_with_a_schema_is_told_with_its_line(shop: Api) -> None:
    """Nothing is stored, and the finding names the line and the path in the document."""
    failed = await failure(applied(shop, cart(ORDERS.replace("get:", "fetch: 3\n    get:"))))
    source = 'syntax = "proto3";\nmessage A { string a = 1; strin b = 2; }\n'
    proto = await failure(applied(shop, cart(source, PROTOBUF)))

    assert failed.violations[0].field == "resources[0].endpoints[0].schema"
    assert failed.violations[0].reason == "SCHEMA_INVALID"
    assert "line 4: paths./orders" in failed.violations[0].message
    assert "line 2" in proto.violations[0].message
    assert "strin" in proto.violations[0].message


@pytest.mark.asyncio
async def test_a_schema_that_breaks_others_warns_or_is_refused(shop: Api) -> None:
    """A warning by default; the endpoint or the organization can have it refused."""
    await applied(shop, cart())
    refused = await failure(applied(shop, cart(WITHOUT_ID, compatibility=REFUSE)))
    organization = organization_pb2.Organization(name=ORG, schema_compatibility=REFUSE)
    await shop.apply(organization)
    by_organization = await failure(applied(shop, cart(WITHOUT_ID)))
    await shop.apply(organization_pb2.Organization(name=ORG))
    warned = await applied(shop, cart(WITHOUT_ID))

    assert [v.reason for v in refused.violations] == ["SCHEMA_BREAKING"]
    assert [v.reason for v in by_organization.violations] == ["SCHEMA_BREAKING"]
    assert "GET /orders 200[].id" in refused.violations[0].message
    assert warned.outcome == resource_pb2.AppliedResource.UPDATED
    assert [(w.reason, w.severity) for w in warned.warnings] == [
        ("SCHEMA_BREAKING", problem_pb2.Problem.WARNING)
    ]


@pytest.mark.asyncio
async def test_schemas_are_compared_on_demand(shop: Api) -> None:
    """With one that is kept, and with one that is not."""
    await applied(shop, cart())
    schema = api_schema_pb2.ApiSchema(format=OPENAPI, content=WITHOUT_ID.encode())
    create = api_schema_pb2.CreateApiSchemaRequest(parent=CART, api_schema=schema)
    made = await shop.schemas.CreateApiSchema(create)
    again = await shop.schemas.CreateApiSchema(create)
    listed = await shop.schemas.ListApiSchemas(api_schema_pb2.ListApiSchemasRequest(parent=CART))
    base = next(s.name for s in listed.api_schemas if s.name != made.name)
    kept = await shop.schemas.CompareApiSchemas(
        api_schema_pb2.CompareApiSchemasRequest(base=base, api_schema=made.name)
    )
    inline = component_pb2.InlineSchema(format=OPENAPI, content=ORDERS.encode())
    same = await shop.schemas.CompareApiSchemas(
        api_schema_pb2.CompareApiSchemasRequest(base=base, inline=inline)
    )

    assert made == again
    assert kept.breaking
    assert [(f.reason, f.place) for f in kept.findings] == [
        ("PROPERTY_REMOVED", "GET /orders 200[].id")
    ]
    assert (list(same.findings), same.breaking) == ([], False)


@pytest.mark.asyncio
async def test_a_schema_belongs_to_its_component(shop: Api) -> None:
    """A schema of another component, or one that is not there, is refused with the field."""
    await applied(shop, cart())
    stored = await shop.components.GetComponent(component_pb2.GetComponentRequest(name=CART))
    other = component("mail", endpoints=[endpoint()])
    other.endpoints[0].schema.api_schema = stored.endpoints[0].schema.api_schema
    foreign = await failure(applied(shop, other))
    other.endpoints[0].schema.api_schema = f"{SHOP}/components/mail/apiSchemas/s-none"
    missing = await failure(applied(shop, other))

    at = "resources[0].endpoints[0].schema.api_schema"
    assert [(v.field, v.reason) for v in foreign.violations] == [(at, "OTHER_COMPONENT")]
    assert [(v.field, v.reason) for v in missing.violations] == [(at, "REFERENCE_NOT_FOUND")]


@pytest.mark.asyncio
async def test_the_standard_methods_keep_schemas_too(shop: Api) -> None:
    """A component that is created or updated with a schema stores it as applying does."""
    made = await shop.components.CreateComponent(
        component_pb2.CreateComponentRequest(parent=SHOP, component_id="cart", component=cart())
    )
    changed = cart(ORDERS.replace("1.2.0", "1.3.0"))
    updated = await shop.components.UpdateComponent(
        component_pb2.UpdateComponentRequest(component=changed)
    )
    listed = await shop.schemas.ListApiSchemas(api_schema_pb2.ListApiSchemasRequest(parent=CART))

    assert made.endpoints[0].schema.api_schema != updated.endpoints[0].schema.api_schema
    assert {s.version for s in listed.api_schemas} == {"1.2.0", "1.3.0"}

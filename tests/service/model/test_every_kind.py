"""Every kind that the model keeps, by the same rules, on a server that runs."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import message_factory

from cellplane.api.model.v1 import (
    access_grant_pb2,
    api_schema_pb2,
    component_pb2,
    deletion_pb2,
    deletion_pb2_grpc,
    environment_pb2,
    event_subscription_pb2,
    promotion_pb2,
    resource_change_pb2,
    resource_change_pb2_grpc,
    secret_reference_pb2,
)
from cellplane.resource.fields import clear_output
from tests.contract.descriptors import collections, deviates, standard
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PAY,
    SHOP,
    STAGING,
    Api,
    component,
    endpoint,
    failure,
)

pytestmark = pytest.mark.asyncio
_CHARGE = f"{PAY}/components/charge"
_POPULATED = {
    "AccessGrant", "ApiSchema", "CatalogEntry", "Cell", "Component", "Deployment",
    "DeploymentPipeline", "Environment", "EventSubscription", "Operation", "Organization",
    "Project", "Promotion", "Release", "SecretReference",
}  # fmt: skip
"""What ``populate`` makes."""
_OPENAPI = b"openapi: 3.1.0\ninfo: {title: T, version: 1.0.0}\npaths: {}\n"


async def populate(api: Api) -> None:
    """At least one of each kind."""
    schema = component_pb2.OfferSchema(
        inline=component_pb2.InlineSchema(
            format=component_pb2.SCHEMA_FORMAT_OPENAPI, content=_OPENAPI
        )
    )
    guarded = endpoint(visible=[ORGANIZATION], requires_grant=True, schema=schema)
    await api.apply(
        secret_reference_pb2.SecretReference(
            name=f"{SHOP}/secretReferences/database",
            remote_key="shop/database",
            keys=[secret_reference_pb2.SecretReferenceEntry(key="password")],
        ),
        event_subscription_pb2.EventSubscription(
            name=f"{ORG}/eventSubscriptions/chat", url="https://chat.example.com/"
        ),
        component("charge", project=PAY, endpoints=[guarded]),
        component("spare", project=PAY),
    )
    await api.grants.CreateAccessGrant(
        access_grant_pb2.CreateAccessGrantRequest(
            parent=_CHARGE,
            access_grant=access_grant_pb2.AccessGrant(endpoint="http", consumer=SHOP),
        )
    )
    await api.promotions.CreatePromotion(
        promotion_pb2.CreatePromotionRequest(
            parent=PAY,
            promotion=promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING),
        )
    )
    deletions = deletion_pb2_grpc.DeletionServiceStub(api.user)
    await deletions.StartDeletion(
        deletion_pb2.StartDeletionRequest(name=f"{PAY}/components/spare", force=True)
    )


def caller(api: Api, method: Any) -> Any:
    """Call a method by its descriptor."""
    made = message_factory.GetMessageClass(method.input_type)
    call = api.user.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=made.SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    return lambda **fields: call(made(**fields))


async def test_every_kind_is_listed_filtered_ordered_and_read_in_batches(shop: Api) -> None:
    """All of one by name, in reverse, one by a filter; a batch in its own order, or none of it."""
    await populate(shop)
    batches = {m.name: method for m, method in standard("BatchGet")}
    seen = set()
    for message, method in standard("List"):
        if not message.file.package.endswith(".model.v1"):
            continue
        parents = collections(message)[:-2]
        parent = "/".join(
            part if index % 2 == 0 else ("acme" if index == 1 else "-")
            for index, part in enumerate(parents)
        )
        above = {"parent": parent} if parent else {}
        call = caller(shop, method)
        answer = await call(**above)
        field = answer.DESCRIPTOR.fields_by_number[1].name
        found = list(getattr(answer, field))
        wrong = await failure(call(**above, filter="nonsense = 1", order_by="nothing"))
        assert {v.field for v in wrong.violations} == {"filter", "order_by"}, method.name
        if not found:
            continue
        seen.add(message.name)

        backwards = await call(**above, order_by="name desc")
        one = await call(**above, filter=f'name = "{found[0].name}"')

        names = [r.name for r in getattr(backwards, field)]
        assert names == sorted((r.name for r in found), reverse=True), method.name
        assert [r.name for r in getattr(one, field)] == [found[0].name]

        if message.name not in batches:
            assert deviates(21, message.name)
            continue
        batch = caller(shop, batches[message.name])
        many = await batch(**above, names=names)
        gone = await failure(batch(**above, names=[*names, f"{names[0]}0"]))
        assert [r.name for r in getattr(many, field)] == names, method.name
        assert gone.code == "NOT_FOUND", method.name
    assert seen >= _POPULATED | {"ResourceChange"}


async def test_the_history_of_every_kind_is_kept(shop: Api) -> None:
    """Each kind's resource has its first change, which can be read alone and in a batch."""
    await populate(shop)
    stub = resource_change_pb2_grpc.ResourceChangeServiceStub(shop.user)
    listed = await stub.ListResourceChanges(
        resource_change_pb2.ListResourceChangesRequest(
            parent=ORG, filter="type = CREATED", page_size=500
        )
    )
    changes = list(listed.resource_changes)
    assert {c.kind for c in changes} >= _POPULATED
    for change in {c.kind: c for c in changes}.values():
        own = await stub.ListResourceChanges(
            resource_change_pb2.ListResourceChangesRequest(parent=change.resource_name)
        )
        assert change in list(own.resource_changes)
    names = [c.name for c in changes]
    many = await stub.BatchGetResourceChanges(
        resource_change_pb2.BatchGetResourceChangesRequest(parent=ORG, names=names)
    )
    assert list(many.resource_changes) == changes
    outside = await failure(
        stub.BatchGetResourceChanges(
            resource_change_pb2.BatchGetResourceChangesRequest(parent=SHOP, names=names)
        )
    )
    assert {v.reason for v in outside.violations} == {"PARENT_DIFFERS"}


async def test_what_a_schema_is_called_follows_from_it(shop: Api) -> None:
    """An id that is given must be the one that the content has; the refusal says which."""
    await shop.apply(component("cart", endpoints=[endpoint()]))

    def request(id: str) -> api_schema_pb2.CreateApiSchemaRequest:
        return api_schema_pb2.CreateApiSchemaRequest(
            parent=f"{SHOP}/components/cart",
            api_schema=api_schema_pb2.ApiSchema(
                format=component_pb2.SCHEMA_FORMAT_OPENAPI, content=_OPENAPI
            ),
            api_schema_id=id,
        )

    made = await shop.schemas.CreateApiSchema(request(""))
    own = made.name.rpartition("/")[2]
    again = await shop.schemas.CreateApiSchema(request(own))
    other = await failure(shop.schemas.CreateApiSchema(request("v1")))
    assert again.name == made.name
    assert [v.field for v in other.violations] == ["api_schema_id"]
    assert own in other.message


def _written(resource: Any) -> Any:
    """A resource without what only the server writes."""
    left = type(resource)()
    left.CopyFrom(resource)
    clear_output(left)
    left.ClearField("etag")
    return left


async def test_what_is_written_is_read_at_once_and_as_it_was_sent(shop: Api) -> None:
    """Each write is seen by the next read and list; what the server decides has its own fields."""
    name = f"{SHOP}/components/cart"
    sent = component("cart", endpoints=[endpoint(path="/a/")], annotations={"a.b/c": " x "})
    made = await shop.components.CreateComponent(
        component_pb2.CreateComponentRequest(parent=SHOP, component_id="cart", component=sent)
    )
    get = component_pb2.GetComponentRequest(name=name)
    assert await shop.components.GetComponent(get) == made
    assert _written(made) == sent
    sent.display_name = "Cart"
    changed = await shop.components.UpdateComponent(
        component_pb2.UpdateComponentRequest(component=sent)
    )
    listed = await shop.components.ListComponents(component_pb2.ListComponentsRequest(parent=SHOP))
    assert await shop.components.GetComponent(get) == changed
    assert list(listed.components) == [changed]
    assert _written(changed) == sent
    await shop.components.DeleteComponent(
        component_pb2.DeleteComponentRequest(name=name, force=True)
    )
    listed = await shop.components.ListComponents(component_pb2.ListComponentsRequest(parent=SHOP))
    assert (await failure(shop.components.GetComponent(get))).code == "NOT_FOUND"
    assert list(listed.components) == []

    environment = await shop.environments.GetEnvironment(
        environment_pb2.GetEnvironmentRequest(name=DEV)
    )
    assert _written(environment) == environment_pb2.Environment(name=DEV)
    assert environment.public_domain == ""
    assert environment.effective_public_domain

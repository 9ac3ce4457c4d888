"""Secret references by the API, and what components make of them in each environment."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import (
    cell_pb2,
    promotion_pb2,
    secret_reference_pb2,
    secret_reference_pb2_grpc,
)
from cellplane.model.convert import Codecs
from tests.service.model.world import (
    DEV,
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

pytestmark = pytest.mark.asyncio

DB = f"{SHOP}/secretReferences/db"
WEB = f"{SHOP}/components/web"


def stub(api: Api) -> secret_reference_pb2_grpc.SecretReferenceServiceStub:
    return secret_reference_pb2_grpc.SecretReferenceServiceStub(api.user)


def secret(*keys: str, **more: Any) -> secret_reference_pb2.SecretReference:
    return secret_reference_pb2.SecretReference(
        name=DB,
        keys=[secret_reference_pb2.SecretReferenceEntry(key=key) for key in keys or ("password",)],
        **({"remote_key": "shop/db"} | more),
    )


def reader(key: str = "password", **more: Any) -> Any:
    web = component("web", **more)
    variable = web.workload.env.add(name="PASSWORD")
    variable.secret_reference_key.secret_reference = DB
    variable.secret_reference_key.key = key
    return web


async def test_the_standard_methods(shop: Api) -> None:
    """Created, read, listed, changed by a mask with an etag, and deleted, as everything else."""
    secrets = stub(shop)
    made = await secrets.CreateSecretReference(
        secret_reference_pb2.CreateSecretReferenceRequest(
            parent=SHOP, secret_reference_id="db", secret_reference=secret()
        )
    )
    assert made.name == DB
    listed = await secrets.ListSecretReferences(
        secret_reference_pb2.ListSecretReferencesRequest(parent=SHOP)
    )
    assert list(listed.secret_references) == [made]
    change = secret("password", "user", etag=made.etag)
    changed = await secrets.UpdateSecretReference(
        secret_reference_pb2.UpdateSecretReferenceRequest(
            secret_reference=change, update_mask=FieldMask(paths=["keys"])
        )
    )
    assert [entry.key for entry in changed.keys] == ["password", "user"]
    stale = await failure(
        secrets.UpdateSecretReference(
            secret_reference_pb2.UpdateSecretReferenceRequest(secret_reference=change)
        )
    )
    assert stale.code == "ABORTED"
    await secrets.DeleteSecretReference(
        secret_reference_pb2.DeleteSecretReferenceRequest(name=DB, etag=changed.etag)
    )
    gone = await failure(
        secrets.GetSecretReference(secret_reference_pb2.GetSecretReferenceRequest(name=DB))
    )
    assert gone.code == "NOT_FOUND"


async def test_no_field_holds_a_value() -> None:
    """A name and a place go in; there is no field that could keep the secret itself."""
    fields = {
        field.name
        for message in (
            secret_reference_pb2.SecretReference,
            secret_reference_pb2.SecretReferenceEntry,
            secret_reference_pb2.SecretReferenceEnvironment,
        )
        for field in message.DESCRIPTOR.fields
    }

    assert fields.isdisjoint({"value", "data", "string_data", "values"})


async def test_what_is_wrong_has_its_field(shop: Api) -> None:
    """Keys that are there twice, a place that says nothing and a missing environment, at once."""
    wrong = secret("a", "a")
    wrong.environments.add(environment=DEV)
    wrong.environments.add(environment=f"{DEV}-gone", remote_key="x")

    failed = await failure(
        stub(shop).CreateSecretReference(
            secret_reference_pb2.CreateSecretReferenceRequest(
                parent=SHOP, secret_reference_id="db", secret_reference=wrong
            )
        )
    )

    assert findings(failed) == {
        ("secret_reference.keys[1].key", "NAME_DUPLICATE"),
        ("secret_reference.environments[0]", "FIELD_REQUIRED"),
        ("secret_reference.environments[1].environment", "REFERENCE_NOT_FOUND"),
    }


async def test_a_reader_needs_its_secret_and_keeps_it(shop: Api) -> None:
    """Without the secret a reader is refused; with it, neither the key nor the secret goes."""
    missing = await failure(shop.apply(reader()))
    assert findings(missing) == {
        (
            "resources[0].workload.env[0].secret_reference_key.secret_reference",
            "REFERENCE_NOT_FOUND",
        )
    }
    await shop.apply(reader(), secret("password", "user"))

    no_key = await failure(shop.apply(secret("user")))
    assert findings(no_key) == {("resources[0].keys", "SECRET_KEY_IN_USE")}
    kept = await failure(
        stub(shop).DeleteSecretReference(secret_reference_pb2.DeleteSecretReferenceRequest(name=DB))
    )
    assert kept.code == "FAILED_PRECONDITION"
    assert WEB in kept.message

    both = await shop.apply(secret("user"), reader("user"))
    assert len(both.resources) == 2


async def test_a_batch_is_checked_from_both_sides(shop: Api) -> None:
    """A reader and a caller that come along unchanged in that do not hide what they lose."""
    cart = component("cart", endpoints=[endpoint()])
    web = reader(connections=[connection(cart.name)])
    await shop.apply(cart, web, secret("password", "user"))

    web.workload.image = "app:2"
    del cart.endpoints[:]
    failed = await failure(shop.apply(cart, web, secret("user")))

    assert findings(failed) == {
        ("resources[1].connections[0].component_endpoint.endpoint", "ENDPOINT_NOT_FOUND"),
        ("resources[1].workload.env[0].secret_reference_key.key", "SECRET_KEY_NOT_FOUND"),
    }


async def test_each_environment_has_its_own_place(shop: Api) -> None:
    """A Cell is given the keys that its components read, from where its environment has them."""
    own = secret("password", "unread", remote_key="")
    own.environments.add(environment=DEV, remote_key="dev/db", secret_store="vault-dev")
    await shop.apply(own, reader())

    web = (await shop.resolved()).components[0]
    told = [(s.secret_store, s.remote_key, [k.key for k in s.keys]) for s in web.secrets]
    assert told == [("vault-dev", "dev/db", ["password"])]
    assert (await _requirement(shop)).capabilities == ("external-secrets",)

    promote = promotion_pb2.CreatePromotionRequest(
        parent=SHOP,
        promotion=promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING),
    )
    refused = await failure(shop.promotions.CreatePromotion(promote))
    assert "has no remote key in environment" in refused.message

    here = secret("password", "unread", remote_key="")
    here.environments.extend(own.environments)
    here.environments.add(environment=STAGING, remote_key="staging/db")
    await shop.apply(here)
    await shop.promotions.CreatePromotion(promote)
    staging = (await shop.resolved(f"{SHOP}/cells/staging")).components[0]
    assert [(s.secret_store, s.remote_key) for s in staging.secrets] == [
        ("cellplane", "staging/db")
    ]

    await shop.apply(own)
    lost = await shop.cell(f"{SHOP}/cells/staging")
    assert [(p.resource, p.field, p.reason) for p in lost.problems] == [
        (
            WEB,
            "workload.env[0].secret_reference_key.secret_reference",
            "SECRET_NOT_IN_ENVIRONMENT",
        )
    ]


async def test_without_readers_no_plane_needs_to_fetch_secrets(shop: Api) -> None:
    """The demand comes with the first reader of a Cell, and goes with the last."""
    await shop.apply(secret(), reader(), component("other"))
    assert (await _requirement(shop)).capabilities == ("external-secrets",)

    await shop.apply(component("web"))

    assert (await _requirement(shop)).capabilities == ()


async def _requirement(api: Api) -> Any:
    """What the Cell asks of data planes, as placement is told."""
    async for step in api.cells.WatchCells(cell_pb2.WatchCellsRequest()):
        if step.cell == SHOP_DEV:
            return Codecs().requirement.to_domain(step.placement)
    raise AssertionError("the feed ended")

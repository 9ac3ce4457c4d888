"""Laws of what people call, on the real database: dry runs tell the truth, and again is nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.api.model.v1 import (
    access_grant_pb2,
    api_schema_pb2,
    component_pb2,
    event_subscription_pb2,
    promotion_pb2,
    resource_pb2,
    secret_reference_pb2,
)
from cellplane.cell.problem import CellplaneError, Invalid
from tests.property.model.edits import CELLS, NAMES, SECRETS, batches, components, secrets, world
from tests.property.model.inprocess import Model, copy_of, make_template, plain
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PAY,
    SHOP,
    STAGING,
    component,
    connection,
    endpoint,
    pack,
    platform,
)

_GUARDED = f"{PAY}/components/guarded"
_BESIDE = {"event_cursors", "event_deliveries"}
"""Tables that a process of its own writes, whenever it comes to it."""
_OPENAPI = "openapi: 3.1.0\ninfo: {{title: T, version: {}}}\npaths: {{}}\n"
LAW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with a platform in it; each example has a copy."""
    guarded = endpoint("e", visible=[ORGANIZATION], requires_grant=True)
    return make_template(
        tmp_path_factory.mktemp("model"),
        *platform(),
        *world(),
        component("guarded", project=PAY, endpoints=[guarded]),
        component("caller", connections=[connection(_GUARDED, "e")]),
    )


def calls() -> st.SearchStrategy[tuple[str, Any]]:
    """Any write, by its method: one resource, many, or the end of one."""
    applies = mixed().map(
        lambda batch: (
            "ResourceService.ApplyResources",
            resource_pb2.ApplyResourcesRequest(resources=pack(batch)),
        )
    )
    updates = st.tuples(
        components(), st.sampled_from([[], ["*"], ["endpoints"], ["workload", "connections"]])
    ).map(
        lambda drawn: (
            "ComponentService.UpdateComponent",
            component_pb2.UpdateComponentRequest(
                component=drawn[0], update_mask=FieldMask(paths=drawn[1]), allow_missing=True
            ),
        )
    )
    creates = st.tuples(secrets(), st.sampled_from(["s", "new"])).map(
        lambda drawn: (
            "SecretReferenceService.CreateSecretReference",
            secret_reference_pb2.CreateSecretReferenceRequest(
                parent=SHOP, secret_reference_id=drawn[1], secret_reference=drawn[0]
            ),
        )
    )
    deletes = st.one_of(
        st.tuples(st.sampled_from(NAMES), st.booleans()).map(
            lambda drawn: (
                "ComponentService.DeleteComponent",
                component_pb2.DeleteComponentRequest(name=drawn[0], force=drawn[1]),
            )
        ),
        st.sampled_from(SECRETS).map(
            lambda name: (
                "SecretReferenceService.DeleteSecretReference",
                secret_reference_pb2.DeleteSecretReferenceRequest(name=name),
            )
        ),
    )
    return st.one_of(applies, updates, creates, deletes, newest())


def newest() -> st.SearchStrategy[tuple[str, Any]]:
    """Writes of grants, schemas, subscriptions and promotions."""
    ids, names = st.sampled_from(["g", "h"]), st.sampled_from(["g", "h"]).map(_grant)
    grant = access_grant_pb2
    asks = st.tuples(ids, st.sampled_from([SHOP, PAY]), st.sampled_from(["e", "none"])).map(
        lambda drawn: (
            "AccessGrantService.CreateAccessGrant",
            grant.CreateAccessGrantRequest(
                parent=_GUARDED,
                access_grant_id=drawn[0],
                access_grant=grant.AccessGrant(consumer=drawn[1], endpoint=drawn[2]),
            ),
        )
    )
    decisions = st.tuples(st.sampled_from(["Approve", "Deny", "Revoke", "Delete"]), names).map(
        lambda drawn: (
            f"AccessGrantService.{drawn[0]}AccessGrant",
            getattr(grant, f"{drawn[0]}AccessGrantRequest")(name=drawn[1]),
        )
    )
    schemas = st.sampled_from(["1.0.0", "2.0.0", "nonsense: ["]).map(
        lambda version: (
            "ApiSchemaService.CreateApiSchema",
            api_schema_pb2.CreateApiSchemaRequest(
                parent=_GUARDED,
                api_schema=api_schema_pb2.ApiSchema(
                    format=component_pb2.SCHEMA_FORMAT_OPENAPI,
                    content=_OPENAPI.format(version).encode(),
                ),
            ),
        )
    )
    promotions = st.sampled_from([(DEV, STAGING), (STAGING, DEV)]).map(
        lambda drawn: (
            "PromotionService.CreatePromotion",
            promotion_pb2.CreatePromotionRequest(
                parent=PAY,
                promotion_id="p",
                promotion=promotion_pb2.Promotion(
                    source_environment=drawn[0], target_environment=drawn[1]
                ),
            ),
        )
    )
    hooks = subscriptions().map(
        lambda hook: (
            "EventSubscriptionService.UpdateEventSubscription",
            event_subscription_pb2.UpdateEventSubscriptionRequest(
                event_subscription=hook, update_mask=FieldMask(paths=["*"]), allow_missing=True
            ),
        )
    )
    return st.one_of(asks, decisions, decisions, schemas, promotions, hooks)


def subscriptions() -> st.SearchStrategy[event_subscription_pb2.EventSubscription]:
    """Ones that deliver nothing, so that nothing goes on beside the law."""
    return st.builds(
        event_subscription_pb2.EventSubscription,
        name=st.sampled_from([f"{ORG}/eventSubscriptions/{own}" for own in ("k", "l")]),
        url=st.sampled_from(["https://a.example.com/", "https://b.example.com/", "ftp://x"]),
        scope=st.sampled_from(["", SHOP, "nonsense"]),
        suspended=st.just(value=True),
    )


def mixed() -> st.SearchStrategy[list[Any]]:
    """What is applied at once, subscriptions among it."""
    return st.tuples(batches(), st.lists(subscriptions(), max_size=1)).map(
        lambda drawn: [*drawn[0], *drawn[1]]
    )


def _grant(own: str) -> str:
    return f"{_GUARDED}/accessGrants/{own}"


@LAW
@given(edits=st.lists(calls(), min_size=1, max_size=6))
def test_a_dry_run_tells_what_the_real_run_does(template: Path, edits: Any) -> None:
    """It stores nothing, and passes, refuses and answers as the real run does that follows."""

    async def run() -> None:
        async with copy_of(template) as made:
            for method, request in edits:
                before = await contents(made)
                request.validate_only = True
                tried = await outcome(made.call(method, request))
                assert await contents(made) == before
                request.validate_only = False
                assert await outcome(made.call(method, request)) == tried

    asyncio.run(run())


@LAW
@given(edits=st.lists(mixed(), min_size=1, max_size=4))
def test_applied_again_is_unchanged(template: Path, edits: Any) -> None:
    """The second time every resource is unchanged, the diff is empty, and nothing is written."""

    async def run() -> None:
        async with copy_of(template) as made:
            for batch in edits:
                if not await made.apply(*batch):
                    continue
                before = await contents(made)
                again = await made.applied(batch)
                assert {r.outcome for r in again.resources} == {
                    resource_pb2.AppliedResource.UNCHANGED
                }
                assert all(r.previous == r.resource for r in again.resources)
                assert await contents(made) == before

    asyncio.run(run())


@LAW
@given(data=st.data())
def test_the_order_of_documents_does_not_matter(template: Path, data: st.DataObject) -> None:
    """Any order is answered alike for each resource, and makes the same Cells."""
    batch = data.draw(batches())
    shuffled = data.draw(st.permutations(batch))

    async def run(documents: Sequence[Any]) -> Any:
        async with copy_of(template) as made:
            answer = await outcome(made.applied(documents))
            resolved = [await made.resolved(cell) for cell in CELLS]
            for cell in resolved:
                if cell is not None:
                    cell.revision = 0
            return _by_name(answer, documents), resolved

    assert asyncio.run(run(batch)) == asyncio.run(run(shuffled))


async def outcome(call: Awaitable[Any]) -> Any:
    """What a call comes to: its answer, or everything that is wrong."""
    try:
        answer = await call
    except Invalid as error:
        return [(p.field, p.reason, p.message) for p in error.problems]
    except CellplaneError as error:
        return type(error).__name__, error.reason, error.message
    if isinstance(answer, resource_pb2.ApplyResourcesResponse):
        return [
            (resource_pb2.AppliedResource.Outcome.Name(r.outcome), _unpacked(r.resource))
            for r in answer.resources
        ]
    return plain(answer)


def _unpacked(packed: Any) -> Any:
    told = plain(packed)
    told.pop("@type", None)
    return told


def _by_name(answer: Any, documents: Sequence[Any]) -> Any:
    """An answer by resource, not by its place in the request."""
    found: dict[str, set[str]] = {document.name: set() for document in documents}
    for index, document in enumerate(documents):
        prefix = f"resources[{index}]"
        for told in answer:
            if str(told[0]).startswith(f"{prefix}."):
                found[document.name].add(f"{told[0].removeprefix(prefix)} {told[1]} {told[2]}")
            elif isinstance(told[1], dict) and told[1]["name"] == document.name:
                found[document.name].add(str(told))
    return found


async def contents(made: Model) -> dict[str, list[str]]:
    """Every row of every table."""
    async with made.database.snapshot() as tx:
        names = await tx.execute(sa.text("select name from sqlite_master where type = 'table'"))
        return {
            name: sorted(map(str, (await tx.execute(sa.text(f"select * from {name}"))).all()))  # noqa: S608
            for name in names.scalars().all()
            if name not in _BESIDE
        }

"""How many statements a read costs: as many as for one row, however many rows there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from cellplane.api.model.v1 import (
    cell_pb2,
    component_pb2,
    event_subscription_pb2,
    event_subscription_pb2_grpc,
    project_pb2,
    release_pb2,
    resource_change_pb2,
    resource_change_pb2_grpc,
)
from tests.service.model.world import (
    ORG,
    PIPELINE,
    SHOP,
    Api,
    component,
    connection,
    endpoint,
    platform,
)

pytestmark = pytest.mark.asyncio
MANY = 12


@contextmanager
def counted(*kinds: str) -> Iterator[list[str]]:
    """Collect the reads, or what begins otherwise, that is sent meanwhile; opening a connection
    or a transaction is none."""
    wanted = kinds or ("SELECT", "WITH")
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(wanted):
            sent.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def cost(call: Callable[[int], Any], size: int) -> tuple[int, Any]:
    """Statements of a call, and its answer; others than it may have sent some, but not always."""
    found: list[int] = []
    for _ in range(4):
        with counted() as sent:
            answer = await call(size)
        found.append(len(sent))
    return min(found), answer


async def test_no_list_asks_once_for_each_row(shop: Api) -> None:
    """Pages of twelve cost what pages of one do: of every kind, filtered, and of the history."""
    target = component("target", endpoints=[endpoint()])
    await shop.apply(
        target,
        *(
            component(f"c{n}", connections=[connection(f"{SHOP}/components/target")])
            for n in range(MANY)
        ),
    )
    events = event_subscription_pb2_grpc.EventSubscriptionServiceStub(shop.user)
    for number in range(MANY):
        await events.CreateEventSubscription(
            event_subscription_pb2.CreateEventSubscriptionRequest(
                parent=ORG,
                event_subscription_id=f"s{number}",
                event_subscription=event_subscription_pb2.EventSubscription(
                    url="https://example.com/h", suspended=True
                ),
            )
        )
    changes = resource_change_pb2_grpc.ResourceChangeServiceStub(shop.user)
    across = f"{ORG}/projects/-"
    calls = {
        "components": lambda size: shop.components.ListComponents(
            component_pb2.ListComponentsRequest(parent=across, page_size=size)
        ),
        "filtered": lambda size: shop.components.ListComponents(
            component_pb2.ListComponentsRequest(
                parent=across, page_size=size, filter='workload.image = "app:1"'
            )
        ),
        "ordered": lambda size: shop.components.ListComponents(
            component_pb2.ListComponentsRequest(
                parent=across,
                page_size=size,
                filter='connections.component_endpoint.endpoint:"http" OR NOT endpoints:*',
                order_by="workload.image desc, latest_release",
            )
        ),
        "releases": lambda size: shop.releases.ListReleases(
            release_pb2.ListReleasesRequest(parent=f"{across}/components/-", page_size=size)
        ),
        "projects": lambda size: shop.projects.ListProjects(
            project_pb2.ListProjectsRequest(parent=ORG, page_size=size)
        ),
        "cells": lambda size: shop.cells.ListCells(
            cell_pb2.ListCellsRequest(parent=across, page_size=size)
        ),
        "subscriptions": lambda size: events.ListEventSubscriptions(
            event_subscription_pb2.ListEventSubscriptionsRequest(parent=ORG, page_size=size)
        ),
        "changes": lambda size: changes.ListResourceChanges(
            resource_change_pb2.ListResourceChangesRequest(parent=ORG, page_size=size)
        ),
    }
    for name, call in calls.items():
        one, _ = await cost(call, 1)
        many, page = await cost(call, MANY)
        rows = next(value for field, value in page.ListFields() if field.is_repeated)
        assert len(rows) == MANY or name in ("projects", "cells"), name
        assert many == one, name
        assert one <= 4, name


async def test_an_edit_costs_the_same_however_large_its_surroundings_are(api: Api) -> None:
    """An edit of a component sends as many statements where there are twelve components and ten
    projects as where there are two, and few."""
    await api.apply(*platform())
    pair = [
        component("a", endpoints=[endpoint()]),
        component("b", connections=[connection(f"{SHOP}/components/a")]),
    ]
    await api.apply(*pair)

    async def edit(number: int) -> int:
        pair[0].workload.image = f"app:{number}"
        with counted("SELECT", "WITH", "INSERT", "UPDATE", "DELETE") as sent:
            await api.apply(pair[0])
        return len(sent)

    alone = min([await edit(number) for number in range(2, 6)])
    await api.apply(
        *(
            project_pb2.Project(name=f"{ORG}/projects/p{n}", deployment_pipeline=PIPELINE)
            for n in range(MANY)
        ),
        *(
            component(f"c{n}", connections=[connection(f"{SHOP}/components/a")])
            for n in range(MANY)
        ),
    )
    among = min([await edit(number) for number in range(6, 10)])
    assert among == alone
    # A database that needs no second statement for a change and its resource has four fewer.
    assert alone <= 28

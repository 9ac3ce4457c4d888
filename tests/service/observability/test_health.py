"""Health and events of Cells, over the wire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio
import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.api.observability.v1 import health_pb2
from cellplane.observability.__main__ import MIGRATIONS
from cellplane.observability.tables import METADATA
from cellplane.rpc.client import explain
from cellplane.store.database import Database
from tests.service.observability.world import CELL, HEALTH, World, thing


def stamp(second: int) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(datetime(2026, 1, 1, 0, 0, second, 250_000, tzinfo=UTC))
    return made


@pytest.mark.asyncio
async def test_nothing_is_known_of_a_cell_that_nobody_reported(world: World) -> None:
    """A Cell without reports has no data planes and no events."""
    assert await world.health() == {}
    assert await world.events() == []


@pytest.mark.asyncio
async def test_a_report_is_what_is_known(world: World) -> None:
    """A whole report replaces what was known of its data plane, and of no other."""
    await world.report(thing("api", "READY"), thing("web", "PROGRESSING"))
    await world.report(thing("api", "FAILED"), plane="plane-b")
    await world.report(thing("api", "PROGRESSING"), revision=2)

    assert await world.health() == {
        "plane-a": {"Deployment/api": "PROGRESSING"},
        "plane-b": {"Deployment/api": "FAILED"},
    }
    answer = await world.admin.GetCellHealth(health_pb2.GetCellHealthRequest(name=HEALTH))
    assert answer.name == HEALTH
    assert [plane.revision for plane in answer.data_planes] == [2, 1]
    assert all(plane.HasField("report_time") for plane in answer.data_planes)


@pytest.mark.asyncio
async def test_a_delta_changes_what_it_names(world: World) -> None:
    """A delta leaves what it does not name, and removes what it calls gone."""
    await world.report(thing("api", "READY"), thing("web", "READY"), thing("db", "READY"))
    await world.report(thing("web", "FAILED"), thing("db", "UNSPECIFIED"), delta=True)

    assert await world.health() == {
        "plane-a": {"Deployment/api": "READY", "Deployment/web": "FAILED"}
    }


@pytest.mark.asyncio
async def test_each_change_of_health_is_an_event_once(world: World) -> None:
    """Changes of health are events, newest first; the same report again tells nothing."""
    await world.report(thing("api", "PROGRESSING"), thing("config", "READY", kind="ConfigMap"))
    for _ in range(2):
        await world.report(thing("api", "FAILED", "ImagePullBackOff"), delta=True)
    await world.report(thing("api", "READY"))

    happened = await world.events()

    assert sorted(happened[:2]) == [
        "plane-a ConfigMap/config READY>UNSPECIFIED Gone",
        "plane-a Deployment/api FAILED>READY ",
    ]
    assert happened[2:] == [
        "plane-a Deployment/api PROGRESSING>FAILED ImagePullBackOff",
        "plane-a Deployment/api UNSPECIFIED>PROGRESSING ",
    ]


@pytest.mark.asyncio
async def test_a_removal_is_one_event(world: World) -> None:
    """A Cell that is gone from a plane has no objects there, and one event says so once."""
    await world.report(thing("api", "READY"), thing("web", "READY"))
    for _ in range(2):
        await world.report(removed=True, revision=2)

    assert await world.health() == {"plane-a": {}}
    assert await world.events() == ["plane-a  UNSPECIFIED>UNSPECIFIED Removed"]

    await world.report(thing("api", "FAILED"), revision=3)

    assert await world.health() == {"plane-a": {"Deployment/api": "FAILED"}}


@pytest.mark.asyncio
async def test_given_events_keep_their_time_and_are_noted_once(world: World) -> None:
    """Events that come with a report keep their own time, and survive a report sent again."""
    drift = health_pb2.Event(
        event_time=stamp(7),
        component="api",
        object="Deployment/api",
        reason="DriftRepaired",
        message="spec.replicas was changed",
    )
    for _ in range(2):
        await world.report(thing("api", "READY"), events=[drift])

    answer = await world.admin.ListEvents(health_pb2.ListEventsRequest(parent=CELL))

    assert len(answer.events) == 1
    event = answer.events[0]
    assert event.event_time == stamp(7)
    assert event.data_plane == "plane-a"
    assert (event.reason, event.message) == ("DriftRepaired", "spec.replicas was changed")
    assert event.name.startswith(f"{CELL}/events/e")


@pytest.mark.asyncio
async def test_events_are_paged_newest_first(world: World) -> None:
    """Pages follow one another without gap or repetition, also while events arrive."""
    given = [
        health_pb2.Event(event_time=stamp(second), object="Pod/x", reason=f"R{second}")
        for second in (3, 1, 9, 5, 7, 7, 2)
    ]
    given[5].reason = "R7b"
    await world.report(events=given)
    seen: list[str] = []
    token = ""
    for page in range(10):
        answer = await world.admin.ListEvents(
            health_pb2.ListEventsRequest(parent=CELL, page_size=2, page_token=token)
        )
        seen.extend(event.reason for event in answer.events)
        token = answer.next_page_token
        if not token:
            break
        new = health_pb2.Event(event_time=stamp(20 + page), object="Pod/x", reason="New")
        await world.report(events=[new])

    assert seen == ["R9", "R7b", "R7", "R5", "R3", "R2", "R1"]


@pytest.mark.asyncio
async def test_a_cell_keeps_its_newest_thousand_events(world: World) -> None:
    """Of more than a thousand events of a Cell the oldest are forgotten, and only of that Cell."""
    other = "organizations/acme/projects/shop/cells/prod"
    await world.placement.ReportCellHealth(
        health_pb2.ReportCellHealthRequest(
            name=f"{other}/health",
            health=health_pb2.DataPlaneHealth(data_plane="plane-a"),
            events=[health_pb2.Event(event_time=stamp(0), reason="Kept")],
        )
    )
    old = [
        health_pb2.Event(event_time=stamp(1), object=f"Pod/{i}", reason="Old") for i in range(1000)
    ]
    await world.report(events=old)
    await world.report(
        events=[health_pb2.Event(event_time=stamp(2), object=f"Pod/{i}") for i in range(30)]
    )
    found: list[health_pb2.Event] = []
    token = ""
    while True:
        answer = await world.admin.ListEvents(
            health_pb2.ListEventsRequest(parent=CELL, page_size=500, page_token=token)
        )
        found.extend(answer.events)
        token = answer.next_page_token
        if not token:
            break
    kept = await world.admin.ListEvents(health_pb2.ListEventsRequest(parent=other))

    assert len(found) == 1000
    assert sum(event.reason == "Old" for event in found) == 970
    assert [event.reason for event in kept.events] == ["Kept"]


@pytest.mark.asyncio
async def test_reports_at_once_lose_nothing(world: World) -> None:
    """Deltas that arrive at the same time all hold."""
    await asyncio.gather(*(world.report(thing(f"c{i}", "FAILED"), delta=True) for i in range(12)))

    assert await world.health() == {"plane-a": {f"Deployment/c{i}": "FAILED" for i in range(12)}}
    assert len(await world.events()) == 12


@pytest.mark.asyncio
async def test_health_and_tokens_outlive_a_restart(tmp_path: Path, database_url: str) -> None:
    """What was noted is there after a restart, and a page token is still good."""
    first = health_pb2.ListEventsRequest(parent=CELL, page_size=1)
    world = World(tmp_path, database_url)
    async with world.open():
        events = [health_pb2.Event(event_time=stamp(s), reason=f"R{s}") for s in (1, 2)]
        await world.report(thing("api", "READY"), events=events)
        token = (await world.admin.ListEvents(first)).next_page_token
    async with world.open():
        assert await world.health() == {"plane-a": {"Deployment/api": "READY"}}
        second = health_pb2.ListEventsRequest(parent=CELL, page_size=1, page_token=token)
        assert [e.reason for e in (await world.admin.ListEvents(second)).events] == ["R1"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "field"),
    [
        (CELL, "name"),
        ("organizations/acme/projects/shop/cells/Dev/health", "name"),
        ("organizations/acme/cells/dev/health", "name"),
    ],
)
async def test_a_wrong_name_is_refused(world: World, name: str, field: str) -> None:
    """A name that is none of a Cell's health is refused with its field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.admin.GetCellHealth(health_pb2.GetCellHealthRequest(name=name))

    failure = explain(caught.value)
    assert failure.code == "INVALID_ARGUMENT"
    assert [v.field for v in failure.violations] == [field]


@pytest.mark.asyncio
async def test_a_report_names_its_data_plane(world: World) -> None:
    """A report without a data plane is refused, and nothing of it is noted."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.report(thing("api", "READY"), plane="")

    assert [v.field for v in explain(caught.value).violations] == ["health.data_plane"]
    assert await world.health() == {}


@pytest.mark.asyncio
async def test_people_do_not_report(world: World) -> None:
    """Only services report health."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.admin.ReportCellHealth(
            health_pb2.ReportCellHealthRequest(
                name=HEALTH, health=health_pb2.DataPlaneHealth(data_plane="plane-a")
            )
        )

    assert explain(caught.value).code == "PERMISSION_DENIED"


@pytest.mark.asyncio
async def test_migrations_make_the_tables(tmp_path: Path, database_url: str) -> None:
    """The migrations make the tables and columns that the code knows."""
    url = database_url or f"sqlite:///{tmp_path / 'fresh.db'}"
    database = await Database.open(url, service="observability", migrations=MIGRATIONS)
    try:
        async with database.snapshot() as tx:
            for table in METADATA.sorted_tables:
                columns = (await tx.execute(sa.text(f"SELECT * FROM {table.name}"))).keys()  # noqa: S608
                assert list(columns) == [column.name for column in table.columns]
    finally:
        await database.close()

"""Workers, compilations, peers and reports: the shell's small parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cellplane.api.type.v1 import resolved_cell_pb2
from cellplane.cell.manifest import Phase, manifest
from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Invalid, Unavailable
from cellplane.placement.clients import Resolved, merge
from cellplane.placement.compilation import Compilation, clashes
from cellplane.placement.peers import REGION, peers_of
from cellplane.placement.records import DataPlane
from cellplane.placement.scheduler.snapshot import Effect, Taint
from cellplane.placement.validate import check_data_plane
from cellplane.placement.workers import Workers
from cellplane.runtime.tasks import Backoff


@asynccontextmanager
async def running(body: Callable[[str], Awaitable[None]], **how: int) -> AsyncIterator[Workers]:
    """Workers that work."""
    workers = Workers("test", body, backoff=Backoff(initial=0.001, maximum=0.001), **how)
    task = asyncio.create_task(workers.run())
    try:
        yield workers
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.asyncio
async def test_a_key_never_runs_twice_at_once_and_the_latest_wins() -> None:
    """However often a key is woken while it runs, it runs once more."""
    runs = 0
    inside = 0
    gate = asyncio.Event()
    began = asyncio.Event()

    async def body(_: str) -> None:
        nonlocal runs, inside
        began.set()
        inside += 1
        assert inside == 1
        runs += 1
        await gate.wait()
        inside -= 1

    async with running(body) as workers, asyncio.timeout(5):
        workers.wake("a")
        await began.wait()
        for _ in range(10):
            workers.wake("a")
        gate.set()
        await workers.idle()
    assert runs == 2


@pytest.mark.asyncio
async def test_what_fails_is_tried_again_and_others_go_on() -> None:
    """One key that fails delays no other, and succeeds in the end."""
    done: list[str] = []
    failures = 3

    async def body(key: str) -> None:
        nonlocal failures
        if key == "bad" and failures:
            failures -= 1
            raise Unavailable("not now")
        done.append(key)

    async with running(body) as workers, asyncio.timeout(5):
        workers.wake("bad")
        workers.wake("good")
        await workers.idle()
    assert sorted(done) == ["bad", "good"]


@pytest.mark.asyncio
async def test_what_is_urgent_goes_first() -> None:
    """Of those that wait, the urgent ones are taken first."""
    order: list[str] = []
    gate = asyncio.Event()

    async def body(key: str) -> None:
        await gate.wait()
        order.append(key)

    async with running(body, at_once=1) as workers, asyncio.timeout(5):
        workers.wake("first")
        await asyncio.sleep(0)
        workers.wake("later", soon=False)
        workers.wake("soon")
        gate.set()
        await workers.idle()
    assert order == ["first", "soon", "later"]


def profile(name: str = "a", region: str = "", host: str = "") -> DataPlaneProfile:
    """A data plane."""
    return DataPlaneProfile(
        data_plane=name,
        uid=name,
        organization="acme",
        trust_domain="t",
        labels={REGION: region} if region else {},
        westbound_host=host,
        westbound_port=443 if host else 0,
    )


def resolved(known: Resolved | None = None, frame: str | None = "acme", **images: str) -> Resolved:
    """A Cell, or what it becomes by a difference."""
    answer = resolved_cell_pb2.ResolvedCell(
        cell="c", revision=1, base_revision=int(known is not None)
    )
    if frame is not None:
        answer.frame.organization = frame
    for name, image in images.items():
        component = answer.components.add(component=name)
        component.workload.image = image
    return merge(known, answer)


def test_only_what_changed_is_due() -> None:
    """A component by its own digest; everything, when what all read has changed."""
    first = resolved(a="1", b="1")
    due = Compilation().due(first, profile(), Peers())
    assert (due.components, due.frame) == (("a", "b"), True)
    compiled = Compilation().taking(due, first, [])
    assert not compiled.due(first, profile(), Peers())
    second = resolved(first, None, b="2")
    assert compiled.due(second, profile(), Peers()).components == ("b",)
    assert not compiled.due(second, profile(), Peers()).frame
    for changed in (
        compiled.due(first, profile(region="eu"), Peers()),
        compiled.due(resolved(first, "other"), profile(), Peers()),
    ):
        assert (changed.components, changed.frame) == (("a", "b"), True)


def test_an_object_that_two_parts_make_is_a_finding() -> None:
    """Neither silently wins over the other."""
    cell = resolved(a="1", b="1")
    due = Compilation().due(cell, profile(), Peers())
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "namespace": "n"}}
    twice = [manifest(part, Phase.WORKLOAD, body) for part in ("a", "b")]
    (problem,) = clashes(twice, Compilation(), due, cell)
    assert problem.reason == "OBJECT_CLASH"


def test_gateways_are_nearest_first() -> None:
    """The own data plane, then its region, then by id; one without an address leads nowhere."""
    cell = CellName(organization="acme", project="shop", environment="dev")
    planes = [
        profile("a", "us", "a.example"),
        profile("b", "eu", "b.example"),
        profile("c", "eu", "c.example"),
        profile("d", "eu"),
    ]
    found = peers_of(cell, ["bank"], profile("c", "eu"), lambda _: planes)
    assert [g.data_plane for g in found.cells[0].gateways] == ["c", "b", "a"]


def test_a_bad_data_plane_has_all_its_findings() -> None:
    """Labels, taints and addresses are checked at once."""
    taint = Taint(key="bad key", effect=Effect.NO_SCHEDULE)
    plane = DataPlane(
        name="organizations/acme/dataPlanes/a",
        uid="u",
        labels={"ok": "n/a"},
        taints=(taint, taint),
        westbound_host="not a host",
    )
    with pytest.raises(Invalid) as caught:
        check_data_plane(plane)
    assert [p.field for p in caught.value.problems] == [
        'labels["ok"]',
        "taints[0].key",
        "taints[1].key",
        "taints[1]",
        "westbound_host",
    ]

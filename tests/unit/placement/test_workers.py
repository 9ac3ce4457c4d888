"""Workers, compilations, peers and reports: the shell's small parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.type.v1 import compile_pb2, resolved_cell_pb2
from cellplane.cell.manifest import Phase, manifest
from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile, PeerCell, Peers
from cellplane.cell.problem import Invalid, Unavailable
from cellplane.cell.requirement import Effect, Taint
from cellplane.placement.clients import Compilers, Resolved, merge
from cellplane.placement.compilation import WHOLE, Compilation, clashes, context_digest
from cellplane.placement.peers import REGION, peers_of
from cellplane.placement.records import DataPlane
from cellplane.placement.rollout.diff import BundleObject
from cellplane.placement.validate import check_data_plane
from cellplane.placement.workers import Workers
from cellplane.runtime.tasks import Backoff


@asynccontextmanager
async def running(body: Callable[[str], Awaitable[None]], **how: Any) -> AsyncIterator[Workers]:
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


class Stub:
    """A compiler that answers one object for each part, and says what it looks at."""

    def __init__(self, *mask: str) -> None:
        self.asked: list[list[str]] = []
        self._mask = FieldMask(paths=mask)

    async def Compile(  # noqa: N802 - the contract's name
        self, request: compile_pb2.CompileRequest
    ) -> compile_pb2.CompileResponse:
        """Answer, and note what was asked."""
        parts = [c.component for c in request.cell.components]
        self.asked.append([*([WHOLE] if request.include_frame else []), *parts])
        return compile_pb2.CompileResponse(component_mask=self._mask)


async def compiled(compilers: Compilers, before: Compilation, cell: Resolved) -> Compilation:
    """What is known of a Cell once it was compiled."""
    due = before.due("context", compilers.slices(cell))
    if due:
        await compilers.compile(cell, due.slices, profile(), Peers())
    return before.taking(due, compilers.slices(cell), {})


@pytest.mark.asyncio
async def test_a_compiler_is_asked_for_what_it_looks_at() -> None:
    """A changed part goes to the compilers that read what changed of it, and to no other."""
    whole, ports = Stub(), Stub("component", "endpoints")
    compilers = Compilers({"whole": whole, "ports": ports})
    first = resolved(a="1", b="1")
    known = await compiled(compilers, Compilation(), first)
    assert whole.asked == ports.asked == [[WHOLE, "a", "b"]]

    known = await compiled(compilers, known, first)
    second = resolved(first, None, b="2")
    known = await compiled(compilers, known, second)
    assert whole.asked[1:] == [["b"]]
    assert ports.asked[1:] == []

    third = resolved(second, None, b="2")
    third.components["b"].message.endpoints.add(endpoint="http")
    known = await compiled(compilers, known, merge(second, _difference(third, "b")))
    assert whole.asked[2:] == ports.asked[1:] == [["b"]]


def _difference(cell: Resolved, component: str) -> resolved_cell_pb2.ResolvedCell:
    return resolved_cell_pb2.ResolvedCell(
        cell=cell.cell, base_revision=1, components=[cell.components[component].message]
    )


def test_everything_is_due_when_what_all_read_has_changed() -> None:
    """The frame, the profile of the data plane and the peers are read by every part."""
    slices = Compilers({"policies": Stub()}).slices(resolved(a="1"))
    before = Compilation().taking(Compilation().due("context", slices), slices, {})
    assert not before.due("context", slices)
    assert before.due("other", slices).slices == slices
    contexts = {
        context_digest("frame", profile(), Peers()),
        context_digest("other", profile(), Peers()),
        context_digest("frame", profile(region="eu"), Peers()),
        context_digest("frame", profile(), Peers(cells=(PeerCell(project="bank"),))),
    }
    assert len(contexts) == 4


def test_an_object_that_two_parts_make_is_a_finding() -> None:
    """Neither silently wins over the other, nor over what was compiled before."""
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "namespace": "n"}}
    one, two = (manifest(part, Phase.WORKLOAD, body) for part in ("a", "b"))
    (problem,) = clashes("c", {("model", "a"): [one], ("model", "b"): [two]}, {})
    assert problem.reason == "OBJECT_CLASH"
    kept = (BundleObject(key=one.key, part="a", phase=one.phase, digest=one.digest),)
    (problem,) = clashes("c", {("gateway", "b"): [two]}, {("model", "a"): kept})
    assert problem.reason == "OBJECT_CLASH"
    assert not clashes("c", {("gateway", "b"): [two]}, {})


@pytest.mark.asyncio
async def test_what_happens_together_is_one_run_and_runs_keep_their_pace() -> None:
    """A key settles before it runs, and rests before it runs again."""
    clock = asyncio.get_running_loop().time
    times: list[float] = []

    async def body(_: str) -> None:
        times.append(clock())
        if len(times) == 1:
            workers.wake("a")

    async with running(body, settle=0.02, pace=0.05) as workers, asyncio.timeout(5):
        began = clock()
        for _ in range(5):
            workers.wake("a")
        await workers.idle()
    assert len(times) == 2
    assert times[0] - began >= 0.02
    assert times[1] - times[0] >= 0.05


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

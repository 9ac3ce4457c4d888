"""Laws of the model, on the real database: resolved step by step is resolved whole."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.api.model.v1 import (
    cell_pb2,
    deployment_pb2,
    environment_pb2,
    resource_pb2,
)
from cellplane.cell.problem import CellplaneError
from cellplane.model.__main__ import MIGRATIONS
from cellplane.model.convert import Codecs
from cellplane.model.domain.resolve import Deployed, outbound_of
from cellplane.model.domain.resolve_all import resolve_all
from cellplane.model.domain.resources import Environment
from cellplane.model.service import serve_model
from cellplane.model.tables import cells, deployed
from cellplane.runtime.clock import SystemClock
from cellplane.store.database import Database
from tests.service.model.world import (
    DEV,
    ORGANIZATION,
    PAY,
    PUBLIC,
    SHOP,
    component,
    connection,
    endpoint,
    pack,
    platform,
)

CODECS = Codecs()
NAMES = [f"{project}/components/{own}" for project in (SHOP, PAY) for own in ("a", "b", "c")]
CELLS = [f"{project}/cells/development" for project in (SHOP, PAY)]


class Servicers:
    """Stands where a server would."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add(self, name: str, add: Callable[..., None], servicer: Any) -> None:
        self.by_name[name.rsplit(".", 1)[-1]] = servicer


@dataclass(frozen=True)
class Model:
    """Servicers on a database of their own."""

    database: Database
    servicers: dict[str, Any]

    async def apply(self, *resources: Any) -> bool:
        """Tell whether it was stored."""
        request = resource_pb2.ApplyResourcesRequest(resources=pack(resources))
        try:
            await self.servicers["ResourceService"].ApplyResources(request, None)
        except CellplaneError:
            return False
        return True

    async def undeploy(self, name: str) -> None:
        request = deployment_pb2.DeleteDeploymentRequest(
            name=f"{name}/deployments/development", allow_missing=True
        )
        await self.servicers["DeploymentService"].DeleteDeployment(request, None)

    async def resolved(self, cell: str, base: int = 0) -> Any:
        request = cell_pb2.GetResolvedCellRequest(name=cell, base_revision=base)
        try:
            return await self.servicers["CellService"].GetResolvedCell(request, None)
        except CellplaneError:
            return None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with a platform in it; each example has a copy."""
    folder = tmp_path_factory.mktemp("model")

    async def make() -> None:
        async with model(folder) as made:
            assert await made.apply(*platform(), *map(full, NAMES))

    asyncio.run(make())
    return folder


@asynccontextmanager
async def model(folder: Path) -> AsyncIterator[Model]:
    url = f"sqlite:///{folder}/model.db"
    database = await Database.open(url, service="model", migrations=MIGRATIONS)
    servicers = Servicers()
    try:
        async with serve_model(
            servicers,  # type: ignore[arg-type]
            database,
            clock=SystemClock(),
            key=b"k" * 32,
            zones=(),
        ):
            yield Model(database=database, servicers=servicers.by_name)
    finally:
        await database.close()


@asynccontextmanager
async def copy_of(template: Path) -> AsyncIterator[Model]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        async with model(Path(folder)) as made:
            yield made


def full(name: str) -> Any:
    """A component that everybody may call."""
    project, _, own = name.partition("/components/")
    endpoints = [endpoint("e", 80, [ORGANIZATION]), endpoint("f", 90, [ORGANIZATION])]
    return component(own, project=project, endpoints=endpoints)


@st.composite
def components(draw: st.DrawFn, name: str = "") -> Any:
    """A component of a small world, so that references meet; most endpoints stay as they are."""
    own = full(name or draw(st.sampled_from(NAMES)))
    own.workload.image = f"app:{draw(st.integers(1, 3))}"
    own.connections.extend(
        connection(target, called, id=f"k{number}")
        for number, (target, called) in enumerate(draw(CALLS))
    )
    change = draw(st.sampled_from(["", "", "port", "public", "collide", "hide", "remove"]))
    first = own.endpoints[0]
    match change:
        case "port":
            first.port = draw(st.integers(1000, 1002))
        case "public" | "collide":
            first.visibilities.append(PUBLIC)
            first.path = "/x" if change == "collide" else f"/{own.name[-1]}"
        case "hide":
            del first.visibilities[:]
        case "remove":
            del own.endpoints[0]
    return own


CALLS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["e", "f"])), unique=True, max_size=3
)
STEPS = st.one_of(
    st.lists(components(), min_size=1, max_size=3, unique_by=lambda c: c.name),
    st.sampled_from(NAMES),
    st.sampled_from(["a.example.com", "b.example.com"]).map(
        lambda domain: [environment_pb2.Environment(name=DEV, public_domain=domain)]
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_step_by_step_is_the_same_as_whole(template: Path, steps: Sequence[Any]) -> None:
    """After any changes each row is what a resolution from nothing gives, problems included."""

    async def run() -> None:
        async with copy_of(template) as made:
            bases = {cell: await made.resolved(cell) for cell in CELLS}
            for step in steps:
                await (made.undeploy(step) if isinstance(step, str) else made.apply(*step))
                await check(made)
                for cell in CELLS:
                    bases[cell] = await check_delta(made, cell, bases[cell])

    asyncio.run(run())


async def check(made: Model) -> None:
    """Compare every row with a resolution from nothing, and every Cell with its rows."""
    request = environment_pb2.GetEnvironmentRequest(name=DEV)
    message = await made.servicers["EnvironmentService"].GetEnvironment(request, None)
    environment = Environment(name=DEV, public_domain=message.public_domain)
    async with made.database.snapshot() as tx:
        rows = [dict(r._mapping) for r in (await tx.execute(sa.select(deployed))).all()]
        heads = [dict(r._mapping) for r in (await tx.execute(sa.select(cells))).all()]
    there = {r["component"]: r for r in rows if r["is_deployed"]}
    written = {
        name: Deployed(release=r["release"], component=CODECS.component_of(r["written"]))
        for name, r in there.items()
    }
    for name, result in resolve_all(environment, written, {}).items():
        wanted = CODECS.resolved_bytes(result.component) if result.component else None
        assert there[name]["resolved"] == wanted, name
        problems = CODECS.problems_bytes(result.problems) if result.problems else None
        assert there[name]["problems"] == problems, name
    for head in heads:
        own = [r for r in rows if r["cell"] == head["name"]]
        assert head["is_deleted"] == (not any(r["is_deployed"] for r in own))
        if not head["is_deleted"] and not any(r["is_broken"] for r in own):
            assert all(r["wanted"] == r["resolved"] and not r["is_dirty"] for r in own)
            outbound = [
                o for r in own if r["wanted"] for o in outbound_of(CODECS.resolved_of(r["wanted"]))
            ]
            frame = CODECS.frame_of(head["frame"])
            assert sorted(map(repr, frame.outbound)) == sorted(map(repr, outbound))


async def check_delta(made: Model, cell: str, base: Any) -> Any:
    """A delta, put onto what it starts from, is the whole."""
    whole = await made.resolved(cell)
    if whole is None:
        return None
    delta = await made.resolved(cell, base.revision if base is not None else 0)
    if delta.base_revision:
        merged = {c.component: c for c in base.components}
        merged |= {c.component: c for c in delta.components}
        for gone in delta.removed_components:
            merged.pop(gone, None)
        frame = delta.frame if delta.HasField("frame") else base.frame
        assert [merged[c] for c in sorted(merged)] == list(whole.components)
        assert frame == whole.frame
    else:
        assert delta == whole
    return whole


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_order_of_changes_does_not_matter(template: Path, data: st.DataObject) -> None:
    """Components applied at once, and one by one in any order that is allowed, are the same."""
    batch = [data.draw(components(name)) for name in NAMES]
    order = data.draw(st.permutations(batch))

    async def run(one_by_one: bool) -> list[Any]:
        async with copy_of(template) as made:
            if not one_by_one:
                if not await made.apply(*batch):
                    return []
            else:
                left = list(order)
                while left:
                    stored = [c for c in left if await made.apply(c)]
                    if not stored:
                        return []
                    left = [c for c in left if c not in stored]
            answers = [await made.resolved(cell) for cell in CELLS]
            for answer in answers:
                if answer is not None:
                    answer.revision = 0
            return answers

    together, apart = asyncio.run(run(False)), asyncio.run(run(True))

    assert not together or not apart or together == apart

"""How much a change makes the model resolve again: what depends on it, and nothing else.

Two hundred projects of three components each. In each, ``web`` calls ``api``; every tenth ``web``
calls the ``api`` of ``hub``, too, and every twentieth reads a secret.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from cellplane.api.model.v1 import (
    component_pb2,
    deployment_pb2,
    environment_pb2,
    project_pb2,
    promotion_pb2,
    secret_reference_pb2,
)
from cellplane.api.type.v1 import endpoint_pb2
from cellplane.model.metrics import ResolutionMetrics
from cellplane.model.tables import cells
from tests.property.model.inprocess import Model, model
from tests.service.model.world import (
    DEV,
    ORG,
    ORGANIZATION,
    PIPELINE,
    STAGING,
    component,
    connection,
    endpoint,
    platform,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROJECTS = [f"p{number:03}" for number in range(199)] + ["hub"]
TENTH, TWENTIETH = PROJECTS[:190:10], PROJECTS[5:190:20]


class Noting(ResolutionMetrics):
    """Counts, and remembers what."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.registry = registry
        self.noted: set[str] = set()

    def resolved(self, environment: str, names: Collection[str], changed: Collection[str]) -> None:
        super().resolved(environment, names, changed)
        own = environment.rsplit("/", 1)[-1]
        self.noted |= {f"{_short(name)}@{own}" for name in names}

    @property
    def total(self) -> float:
        """What the exported counter says."""
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "cellplane_model_components_resolved_total"
        )


@dataclass
class World:
    """A large model, and what the last edit made of it."""

    model: Model
    metrics: Noting
    revised: set[str] = field(default_factory=set)

    async def edit(self, method: str, request: Any) -> set[str]:
        """The components that an edit makes the model resolve; ``revised`` are Cells with news."""
        before, counted = await self._revisions(), self.metrics.total
        self.metrics.noted.clear()
        await self.model.call(method, request)
        after = await self._revisions()
        self.revised = {_cell(n) for n, r in after.items() if before.get(n) != r}
        assert self.metrics.total - counted == len(self.metrics.noted)
        return set(self.metrics.noted)

    async def apply(self, *resources: Any) -> set[str]:
        """The same, by one apply."""
        before, counted = await self._revisions(), self.metrics.total
        self.metrics.noted.clear()
        await self.model.applied(resources)
        after = await self._revisions()
        self.revised = {_cell(n) for n, r in after.items() if before.get(n) != r}
        assert self.metrics.total - counted == len(self.metrics.noted)
        return set(self.metrics.noted)

    async def staged(self) -> list[str]:
        """Projects with a Cell in staging."""
        names = [name.partition("@") for name in map(_cell, await self._revisions())]
        return [project for project, _, environment in names if environment == "staging"]

    async def _revisions(self) -> dict[str, int]:
        async with self.model.database.snapshot() as tx:
            rows = (await tx.execute(sa.select(cells.c.name, cells.c.revision))).all()
        return {row[0]: row[1] for row in rows}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everything is deployed to development."""
    metrics = Noting(CollectorRegistry())
    async with model(Path(tmp_path_factory.mktemp("many")), metrics) as made:
        await made.applied(platform())
        await made.applied(
            [
                *(_project(p) for p in PROJECTS),
                *(_secret(p) for p in TWENTIETH),
            ]
        )
        await made.applied([c for p in PROJECTS for c in (_api(p), _worker(p), _web(p))])
        await made.call("PromotionService.CreatePromotion", _promotion("p006"))
        yield World(model=made, metrics=metrics)


def _project(project: str) -> Any:
    return project_pb2.Project(name=f"{ORG}/projects/{project}", deployment_pipeline=PIPELINE)


def _promotion(project: str) -> Any:
    return promotion_pb2.CreatePromotionRequest(
        parent=f"{ORG}/projects/{project}",
        promotion=promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING),
    )


def _secret(project: str, remote_key: str = "key", prop: str = "") -> Any:
    return secret_reference_pb2.SecretReference(
        name=f"{ORG}/projects/{project}/secretReferences/db",
        remote_key=remote_key,
        keys=[
            secret_reference_pb2.SecretReferenceEntry(key="password", property=prop),
            secret_reference_pb2.SecretReferenceEntry(key="unread"),
        ],
    )


def _api(project: str, *, image: str = "app:1", port: int = 80) -> Any:
    return component(
        "api",
        project=f"{ORG}/projects/{project}",
        endpoints=[endpoint("http", port, [ORGANIZATION])],
        image=image,
    )


def _worker(project: str) -> Any:
    return component("worker", project=f"{ORG}/projects/{project}")


def _web(project: str, *more: str, image: str = "app:1") -> Any:
    targets = [f"{ORG}/projects/{project}/components/api"]
    if project in TENTH:
        targets.append(f"{ORG}/projects/hub/components/api")
    targets += [f"{ORG}/projects/{other}/components/api" for other in more]
    web = component(
        "web",
        project=f"{ORG}/projects/{project}",
        connections=[connection(t, id=t.split("/")[3]) for t in targets],
        image=image,
    )
    if project in TWENTIETH:
        variable = web.workload.env.add(name="PASSWORD")
        variable.secret_reference_key.key = "password"
        variable.secret_reference_key.secret_reference = (
            f"{ORG}/projects/{project}/secretReferences/db"
        )
    return web


def _short(name: str) -> str:
    parts = name.split("/")
    return f"{parts[3]}/{parts[5]}"


def _cell(name: str) -> str:
    parts = name.split("/")
    return f"{parts[3]}@{parts[5]}"


def _in(environment: str, names: Iterable[str]) -> set[str]:
    return {f"{name}@{environment}" for name in names}


async def test_an_image_is_nobody_elses_business(world: World) -> None:
    """A component whose endpoints stay as they are is resolved alone."""
    resolved = await world.apply(_api("hub", image="app:2"))

    assert resolved == _in("development", ["hub/api"])
    assert world.revised == {"hub@development"}


async def test_a_port_is_its_callers_business_across_projects(world: World) -> None:
    """An endpoint that changes makes its callers resolve, in its own Cell and in others."""
    resolved = await world.apply(_api("hub", port=81))

    callers = [f"{project}/web" for project in TENTH]
    assert resolved == _in("development", ["hub/api", "hub/web", *callers])
    # What others know of an organization endpoint is its gateway's address, which stays.
    assert world.revised == {"hub@development"}


async def test_a_path_reaches_the_cells_of_its_callers(world: World) -> None:
    """What callers see of an endpoint of another project makes their Cells new."""
    moved = _api("hub", port=81)
    moved.endpoints[0].path = "/v2"

    resolved = await world.apply(moved)

    callers = [f"{project}/web" for project in TENTH]
    assert resolved == _in("development", ["hub/api", "hub/web", *callers])
    assert world.revised == _in("development", ["hub", *TENTH])


async def test_a_connection_is_its_targets_business(world: World) -> None:
    """A new connection makes the caller and the new target resolve, and not the old ones."""
    resolved = await world.apply(_web("p001", "p002"))

    assert resolved == _in("development", ["p001/web", "p002/api"])
    assert world.revised == _in("development", ["p001", "p002"])


async def test_a_component_that_goes_is_its_callers_and_targets_business(world: World) -> None:
    """Undeployed, a component's callers have a problem, and its targets a caller less."""
    name = f"{ORG}/projects/p003/components"
    request = deployment_pb2.DeleteDeploymentRequest(name=f"{name}/api/deployments/development")
    resolved = await world.edit("DeploymentService.DeleteDeployment", request)

    assert resolved == _in("development", ["p003/api", "p003/web"])
    assert world.revised == set()

    back = await world.apply(_api("p003", image="app:2"))

    assert back == _in("development", ["p003/api", "p003/web"])
    assert world.revised == {"p003@development"}


async def test_a_secret_is_its_readers_business(world: World) -> None:
    """Another place, or another property of a key, makes exactly those resolve that read it."""
    own = TWENTIETH[3]
    elsewhere = await world.apply(_secret(own, remote_key="elsewhere"))
    assert elsewhere == _in("development", [f"{own}/web"])
    assert world.revised == {f"{own}@development"}

    described = _secret(own, remote_key="elsewhere")
    described.display_name = "the database"
    assert await world.apply(described) == set()

    unread = _secret(own, remote_key="elsewhere")
    unread.keys[1].property = "other"
    assert await world.apply(unread) == set()
    assert world.revised == set()


async def test_an_override_is_its_deployments_business(world: World) -> None:
    """A deployment that changes resolves its component alone, in its environment."""
    name = f"{ORG}/projects/p004/components/web"
    release = await _release(world.model, name)
    deployment = deployment_pb2.Deployment(
        name=f"{name}/deployments/development",
        release=release,
        overrides=deployment_pb2.Overrides(replicas=3),
    )

    assert await world.apply(deployment) == _in("development", ["p004/web"])
    assert world.revised == {"p004@development"}


async def test_a_promotion_stays_in_its_project_and_environment(world: World) -> None:
    """What is promoted is resolved where it goes, once."""
    resolved = await world.edit("PromotionService.CreatePromotion", _promotion("p008"))

    assert resolved == _in("staging", ["p008/api", "p008/web", "p008/worker"])
    assert world.revised == {"p008@staging"}


async def test_a_frame_resolves_nothing_and_a_domain_its_environment(world: World) -> None:
    """What holds for whole Cells costs no component; a domain is in every public address."""
    production = environment_pb2.Environment(name=DEV, production=True)
    assert await world.apply(production) == set()
    assert world.revised == _in("development", PROJECTS)

    domain = environment_pb2.Environment(name=STAGING, public_domain="s.example.com")
    staged = await world.staged()
    resolved = await world.apply(domain)

    own = [f"{project}/{c}" for project in staged for c in ("api", "web", "worker")]
    assert resolved == _in("staging", own)
    assert world.revised == _in("staging", staged)


async def test_a_project_takes_its_frame_from_itself(world: World) -> None:
    """A requirement of one project is one Cell's in each environment."""
    own = _project("p006")
    own.placement.copies = 2

    assert await world.apply(own) == set()
    assert world.revised == _in("development", ["p006"]) | _in("staging", ["p006"])


async def test_a_shared_route_is_its_users_business(world: World) -> None:
    """A public route that another has already is refused; nothing else is looked at."""
    public = _api("p007", image="app:2")
    public.endpoints[0].visibilities.append(endpoint_pb2.VISIBILITY_PUBLIC)

    assert await world.apply(public) == _in("development", ["p007/api"])
    assert world.revised == {"p007@development"}


async def _release(made: Model, component_name: str) -> str:
    request = component_pb2.GetComponentRequest(name=component_name)
    # A read is answered as the bytes that are stored.
    stored = await made.call("ComponentService.GetComponent", request)
    release: str = component_pb2.Component.FromString(stored).latest_release
    return release

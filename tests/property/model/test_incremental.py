"""Laws of the model, on the real database: resolved step by step is resolved from nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cellplane.api.model.v1 import (
    component_pb2,
    deployment_pb2,
    promotion_pb2,
    secret_reference_pb2,
)
from cellplane.cell.plane import EXTERNAL_SECRETS
from cellplane.cell.problem import CellplaneError
from cellplane.cell.requirement import PlacementRequirement, narrow
from cellplane.model.convert import MESSAGES, Codecs, write
from cellplane.model.domain.default import override
from cellplane.model.domain.kinds import Kind, parent_of
from cellplane.model.domain.resolve import Deployed
from cellplane.model.domain.resolve_all import CellResolution, resolve_cells
from cellplane.model.tables import cells, deployed
from tests.property.model.edits import (
    CELLS,
    ENVIRONMENTS,
    NAMES,
    SECRETS,
    batches,
    components,
    overrides,
    resources,
    world,
)
from tests.property.model.inprocess import Model, copy_of, make_template
from tests.service.model.world import DEV, ORG, PAY, SHOP, STAGING, platform

CODECS = Codecs()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with a platform in it; each example has a copy."""
    folder = tmp_path_factory.mktemp("model")
    return make_template(folder, *platform(), *world())


class Edits(RuleBasedStateMachine):
    """Any edits in any order; after each, everything is as a resolution from nothing says."""

    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = self.run(self.stack.enter_async_context(copy_of(self.template)))
        self.bases: dict[str, Any] = {}

    def run(self, work: Any) -> Any:
        return self.runner.run(_awaited(work))

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    def attempt(self, method: str, request: Any) -> None:
        """Edits may be refused; what matters is what holds then."""

        async def call() -> None:
            with suppress(CellplaneError):
                await self.model.call(method, request)

        self.run(call())

    @rule(batch=batches())
    def apply(self, batch: list[Any]) -> None:
        self.run(self.model.apply(*batch))

    @rule(one=resources())
    def apply_one(self, one: Any) -> None:
        self.run(self.model.apply(one))

    @rule(name=st.sampled_from(NAMES), environment=st.sampled_from(["development", "staging"]))
    def undeploy(self, name: str, environment: str) -> None:
        self.run(self.model.undeploy(name, environment))

    @rule(name=st.sampled_from(NAMES), pick=st.integers(0, 5), own=overrides())
    def deploy(self, name: str, pick: int, own: Any) -> None:
        """Any release of a component, an old one too, with overrides."""
        releases = sorted(r for r in self.run(_messages(self.model, Kind.RELEASE)) if name in r)
        if releases:
            request = deployment_pb2.UpdateDeploymentRequest(
                deployment=deployment_pb2.Deployment(
                    name=f"{name}/deployments/development",
                    release=releases[pick % len(releases)],
                    overrides=own,
                ),
                allow_missing=True,
            )
            self.attempt("DeploymentService.UpdateDeployment", request)

    @rule(project=st.sampled_from([SHOP, PAY]))
    def promote(self, project: str) -> None:
        request = promotion_pb2.CreatePromotionRequest(
            parent=project,
            promotion=promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING),
        )
        self.attempt("PromotionService.CreatePromotion", request)

    @rule(name=st.sampled_from(NAMES))
    def delete_component(self, name: str) -> None:
        request = component_pb2.DeleteComponentRequest(name=name, force=True)
        self.attempt("ComponentService.DeleteComponent", request)

    @rule(name=st.sampled_from(SECRETS))
    def delete_secret(self, name: str) -> None:
        request = secret_reference_pb2.DeleteSecretReferenceRequest(name=name)
        self.attempt("SecretReferenceService.DeleteSecretReference", request)

    @invariant()
    def is_as_from_nothing(self) -> None:
        for environment in ENVIRONMENTS:
            self.run(check(self.model, environment))
        for cell in CELLS:
            self.bases[cell] = self.run(check_delta(self.model, cell, self.bases.get(cell)))


async def _awaited(work: Any) -> Any:
    return await work


def test_any_edits_leave_what_a_resolution_from_nothing_gives(template: Path) -> None:
    """Rows, problems, frames, requirements and deltas are those of everything resolved anew."""
    Edits.template = template
    machine = Edits.TestCase
    machine.settings = settings(
        max_examples=15,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()


async def _messages(made: Model, kind: Kind) -> dict[str, Any]:
    """Every resource of a kind, as users see it, by name."""
    async with made.database.snapshot() as tx:
        query = sa.text("select name, payload from resources where kind = :kind")
        rows = (await tx.execute(query, {"kind": kind.value})).all()
    return {row[0]: MESSAGES[kind].FromString(row[1]) for row in rows}


async def from_nothing(made: Model, environment: str) -> dict[str, CellResolution]:
    """Resolve an environment from what people see, and from nothing that was derived before."""
    found = {kind: await _messages(made, kind) for kind in _SEEN}
    deployments: dict[str, Deployed] = {}
    for name, message in found[Kind.DEPLOYMENT].items():
        if message.environment == environment:
            release = found[Kind.RELEASE][message.release]
            written: Any = CODECS.resource(Kind.DEPLOYMENT, message)
            deployments[parent_of(name)] = Deployed(
                release=message.release.rsplit("/", 1)[-1],
                component=override(CODECS.component.to_domain(release.snapshot), written.overrides),
            )
    secrets: Any = {
        name: CODECS.resource(Kind.SECRET_REFERENCE, message)
        for name, message in found[Kind.SECRET_REFERENCE].items()
    }
    organization: Any = CODECS.resource(Kind.ORGANIZATION, found[Kind.ORGANIZATION][ORG])
    own: Any = CODECS.resource(Kind.ENVIRONMENT, found[Kind.ENVIRONMENT][environment])
    return resolve_cells(organization, own, deployments, secrets)


_SEEN = (
    Kind.ORGANIZATION,
    Kind.ENVIRONMENT,
    Kind.PROJECT,
    Kind.SECRET_REFERENCE,
    Kind.RELEASE,
    Kind.DEPLOYMENT,
    Kind.CELL,
)


async def check(made: Model, environment: str) -> None:
    """Compare every Cell of an environment, and every row, with a resolution from nothing."""
    expected = await from_nothing(made, environment)
    shown = await _messages(made, Kind.CELL)
    async with made.database.snapshot() as tx:
        rows = [dict(r._mapping) for r in (await tx.execute(sa.select(deployed))).all()]
        heads = [dict(r._mapping) for r in (await tx.execute(sa.select(cells))).all()]
    live = {h["name"]: h for h in heads if h["environment"] == environment and not h["is_deleted"]}
    assert live.keys() == expected.keys()
    assert {n for n, c in shown.items() if c.environment == environment} == expected.keys()
    for name, resolution in expected.items():
        own = [r for r in rows if r["cell"] == name and r["is_deployed"]]
        whole = {CODECS.resolved_bytes(c) for c in resolution.cell.components}
        assert {r["resolved"] for r in own} - {None} == whole
        told = [write(CODECS.problem.to_wire(p)) for p in resolution.problems]
        assert [write(p) for p in shown[name].problems] == told
        if not told:
            wanted = [r["wanted"] for r in rows if r["cell"] == name and r["wanted"]]
            assert set(wanted) == whole
            assert not any(r["is_dirty"] for r in rows if r["cell"] == name)
            assert live[name]["frame"] == CODECS.frame_bytes(resolution.cell.frame)
            assert live[name]["requirement"] == await requirement(made, environment, resolution)


async def requirement(made: Model, environment: str, resolution: CellResolution) -> bytes:
    """What a Cell asks of data planes: from every level, and for its secrets."""
    levels: list[Any] = []
    project = resolution.cell.cell.rsplit("/cells/", 1)[0]
    for kind, name in (
        (Kind.ORGANIZATION, ORG),
        (Kind.ENVIRONMENT, environment),
        (Kind.PROJECT, project),
    ):
        level: Any = CODECS.resource(kind, (await _messages(made, kind))[name])
        levels.append(level.placement)
    if any(component.secrets for component in resolution.cell.components):
        levels.append(PlacementRequirement(capabilities=(EXTERNAL_SECRETS,)))
    return CODECS.requirement_bytes(narrow(levels))


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

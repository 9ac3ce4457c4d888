"""The law of pipelines: nothing reaches an environment but by its gates; history is the present.

What is lawful is judged from what the test itself did, not from what the model says that it saw.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cellplane.api.model.v1 import (
    cell_pb2,
    deployment_change_pb2,
    deployment_pb2,
    environment_pb2,
    gate_pb2,
    promotion_pb2,
)
from cellplane.api.type.v1 import condition_pb2
from cellplane.cell.problem import CellplaneError
from cellplane.model.convert import MESSAGES
from cellplane.model.domain.kinds import Kind
from cellplane.model.promotions.lifecycle import LIVE
from cellplane.model.tables import live_promotions
from cellplane.rpc.identity import CallerKind, Principal, become
from tests.property.model.inprocess import copy_of, make_template
from tests.service.model.promoting import (
    Promotion,
    approval,
    check,
    pipeline,
    replayed,
    verification,
)
from tests.service.model.world import (
    DEV,
    PRODUCTION,
    SHOP,
    STAGING,
    component,
    connection,
    endpoint,
    platform,
)

Change = deployment_change_pb2.DeploymentChange
COMPONENTS = [f"{SHOP}/components/{name}" for name in ("cart", "web")]
PATHS = [(DEV, STAGING), (STAGING, PRODUCTION)]
FULL = os.environ.get("CELLPLANE_FULL") == "1"
WHO = st.sampled_from(["admin", "ann", "bob"])
PICK = st.integers(0, 3)


def guarded() -> Any:
    """A check before staging; an approval before production, and a verification in it."""
    made = pipeline(check())
    made.promotion_paths[1].gates.append(approval())
    made.promotion_paths[1].verification.CopyFrom(verification(window=3600))
    return made


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform with a guarded pipeline; each example has a copy."""
    folder = tmp_path_factory.mktemp("pipelines")
    cart, web = component("cart", endpoints=[endpoint()]), component("web")
    return make_template(folder, *platform()[:4], guarded(), *platform()[5:], cart, web)


class Pipelines(RuleBasedStateMachine):
    """Anybody tries anything; after each step all that was deployed was lawfully so."""

    template: ClassVar[Path]
    seen: ClassVar[set[tuple[Any, str]]] = set()
    """What any example brought about beyond development."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = self.runner.run(_awaited(self.stack.enter_async_context(self._copy())))
        self.frozen = False
        self.passed: set[str] = set()
        self.approved: dict[str, set[str]] = defaultdict(set)
        self.refused: set[str] = set()
        self.overridden: set[str] = set()
        self.failed: set[tuple[str, str]] = set()
        """Components and releases that were reported to have failed in production."""
        self.asked: dict[str, tuple[str, str]] = {}
        """Who asked for a promotion or a rollback, and where it goes."""
        self.judged = 0

    def _copy(self) -> Any:
        return copy_of(self.template)

    def teardown(self) -> None:
        self.runner.run(_awaited(self.stack.aclose()))
        self.runner.close()

    def call(self, method: str, request: Any, who: str = "admin") -> Any:
        """Call as somebody, and let every step be taken that is due; refusals are nothing."""

        async def work() -> Any:
            become(Principal(kind=CallerKind.USER, name=who, spiffe=f"spiffe://x/users/{who}"))
            answer = None
            with suppress(CellplaneError):
                answer = await self.model.call(method, request)
            return answer

        return self.runner.run(work())

    def settle(self) -> None:
        self.runner.run(self._settle())

    async def _settle(self) -> None:
        promotions = self.model.servicers["PromotionService"].promotions
        database = self.model.database
        moved = True
        while moved:
            moved = False
            for name in await self._live():
                before = await self._promotion(name)
                try:
                    async with database.transaction() as tx:
                        await promotions.advance(tx, name)
                except CellplaneError as error:
                    async with database.transaction() as tx:
                        await promotions.fail(tx, name, error.message)
                moved |= (await self._promotion(name)).state != before.state

    async def _live(self) -> list[str]:
        async with self.model.database.snapshot() as tx:
            return sorted((await tx.execute(sa.select(live_promotions.c.name))).scalars())

    async def _promotion(self, name: str) -> Promotion:
        answer = await self.model.call(
            "PromotionService.BatchGetPromotions",
            promotion_pb2.BatchGetPromotionsRequest(parent=SHOP, names=[name]),
        )
        promotion: Promotion = answer.promotions[0]
        return promotion

    def live(self, pick: int) -> str:
        names = self.runner.run(self._live())
        return names[pick % len(names)] if names else f"{SHOP}/promotions/none"

    @rule(number=st.integers(1, 3), connected=st.booleans())
    def edit(self, number: int, connected: bool) -> None:
        cart, web = (name.rsplit("/", 1)[-1] for name in COMPONENTS)
        calls = [connection(COMPONENTS[0])] if connected else []
        batch = [
            component(cart, image=f"app:{number}", endpoints=[endpoint()]),
            component(web, image=f"app:{number}", connections=calls),
        ]
        self.runner.run(self.model.apply(*batch))

    @rule(path=st.sampled_from(PATHS), some=st.sets(st.sampled_from(COMPONENTS)), who=WHO)
    def promote(self, path: tuple[str, str], some: set[str], who: str) -> None:
        request = promotion_pb2.CreatePromotionRequest(
            parent=SHOP,
            promotion=Promotion(
                source_environment=path[0], target_environment=path[1], components=sorted(some)
            ),
        )
        made = self.call("PromotionService.CreatePromotion", request, who)
        if made is not None:
            self.asked[made.name] = who, path[1]
        self.settle()

    @rule(
        path=st.sampled_from(PATHS),
        member=st.sampled_from(["ann", "bob"]),
        bad=st.sets(st.sampled_from(COMPONENTS)),
        frozen=st.booleans(),
    )
    def push(self, path: tuple[str, str], member: str, bad: set[str], frozen: bool) -> None:
        """All of a project, and what its gate asks for: what else may be in the way stays there."""
        self.set_frozen(frozen)
        request = promotion_pb2.CreatePromotionRequest(
            parent=SHOP,
            promotion=Promotion(source_environment=path[0], target_environment=path[1]),
        )
        made = self.call("PromotionService.CreatePromotion", request)
        if made is None or made.state != Promotion.PENDING:
            return
        self.asked[made.name] = "admin", path[1]
        if path[1] == STAGING:
            passed = promotion_pb2.ReportPromotionCheckRequest(
                name=made.name, gate="smoke", passed=True
            )
            if self.call("PromotionService.ReportPromotionCheck", passed) is not None:
                self.passed.add(made.name)
        else:
            approved = promotion_pb2.ApprovePromotionRequest(name=made.name)
            if self.call("PromotionService.ApprovePromotion", approved, member) is not None:
                self.approved[made.name].add(member)
        self.settle()
        if path[1] == PRODUCTION:
            self.observe(bad)

    @rule(pick=PICK, passes=st.booleans())
    def report(self, pick: int, passes: bool) -> None:
        name = self.live(pick)
        request = promotion_pb2.ReportPromotionCheckRequest(name=name, gate="smoke", passed=passes)
        if self.call("PromotionService.ReportPromotionCheck", request) is not None:
            (self.passed if passes else self.refused).add(name)
        self.settle()

    @rule(pick=PICK, who=WHO)
    def approve(self, pick: int, who: str) -> None:
        name = self.live(pick)
        request = promotion_pb2.ApprovePromotionRequest(name=name)
        if self.call("PromotionService.ApprovePromotion", request, who) is not None:
            self.approved[name].add(who)
        self.settle()

    @rule(pick=PICK, who=WHO)
    def refuse(self, pick: int, who: str) -> None:
        name = self.live(pick)
        request = promotion_pb2.RefusePromotionRequest(name=name)
        if self.call("PromotionService.RefusePromotion", request, who) is not None:
            self.refused.add(name)
        self.settle()

    @rule(frozen=st.booleans())
    def freeze(self, frozen: bool) -> None:
        self.set_frozen(frozen)

    def set_frozen(self, frozen: bool) -> None:
        windows = [gate_pb2.FreezeWindow(window="sale", range=gate_pb2.FreezeRange())]
        own = environment_pb2.Environment(name=PRODUCTION, freeze_windows=windows if frozen else [])
        # Before it thaws nothing is due; what thaws is judged as thawed.
        self.frozen = frozen
        assert self.runner.run(self.model.apply(own))
        self.settle()

    @precondition(lambda self: self.frozen)
    @rule(pick=PICK)
    def override(self, pick: int) -> None:
        name = self.live(pick)
        request = promotion_pb2.OverridePromotionFreezeRequest(name=name, reason="it burns")
        if self.call("PromotionService.OverridePromotionFreeze", request) is not None:
            self.overridden.add(name)
        self.settle()

    @rule(
        where=st.sampled_from([STAGING, PRODUCTION]),
        pick=st.none() | PICK,
    )
    def roll_back(self, where: str, pick: int | None) -> None:
        """The last promotion, or any release that ever was made."""
        known = sorted({c.release for c in self.history() if c.release})
        chosen = [known[pick % len(known)]] if known and pick is not None else []
        request = promotion_pb2.RollBackEnvironmentRequest(
            parent=SHOP, environment=where, releases=chosen
        )
        made = self.call("PromotionService.RollBackEnvironment", request)
        if made is not None:
            self.asked[made.promotion.name] = "admin", where
        self.settle()

    @rule(bad=st.sets(st.sampled_from(COMPONENTS), max_size=1))
    def health(self, bad: set[str]) -> None:
        self.observe(bad)

    def observe(self, bad: set[str]) -> None:
        """What placement says of production."""
        cell = f"{SHOP}/cells/production"
        whole = self.runner.run(self.model.resolved(cell))
        if whole is None:
            return
        there = {key[0]: r for key, (r, _) in self.present().items() if key[1] == PRODUCTION}
        status = cell_pb2.Cell(
            conditions=[condition_pb2.Condition(type="Ready", observed_revision=whole.revision)],
            data_planes=[cell_pb2.CellDataPlane(data_plane="a", applied_revision=whole.revision)],
        )
        for name, release in there.items():
            is_bad = name in bad
            status.components.add(
                component=name.rsplit("/", 1)[-1],
                release=release.rsplit("/", 1)[-1],
                health=condition_pb2.HEALTH_FAILED if is_bad else condition_pb2.HEALTH_READY,
            )
            if is_bad:
                self.failed.add((name, release))
        request = cell_pb2.ReportCellStatusRequest(name=cell, cell=status)
        self.call("CellService.ReportCellStatus", request)
        self.settle()

    @rule(
        name=st.sampled_from(COMPONENTS),
        where=st.sampled_from(["development", "staging", "production"]),
        pick=PICK,
        replicas=st.none() | st.integers(1, 3),
    )
    def write_by_hand(self, name: str, where: str, pick: int, replicas: int | None) -> None:
        known = sorted({c.release for c in self.history() if c.release.startswith(f"{name}/")})
        if known:
            own = deployment_pb2.Deployment(
                name=f"{name}/deployments/{where}", release=known[pick % len(known)]
            )
            if replicas is not None:
                own.overrides.replicas = replicas
            self.runner.run(self.model.apply(own))
            self.settle()

    @rule(name=st.sampled_from(COMPONENTS), where=st.sampled_from(["staging", "production"]))
    def take_away(self, name: str, where: str) -> None:
        request = deployment_pb2.DeleteDeploymentRequest(name=f"{name}/deployments/{where}")
        self.call("DeploymentService.DeleteDeployment", request)
        self.settle()

    def history(self) -> list[Any]:
        request = deployment_change_pb2.ListDeploymentChangesRequest(
            parent=f"{SHOP}/components/-", page_size=500
        )
        answer = self.runner.run(
            self.model.call("DeploymentChangeService.ListDeploymentChanges", request)
        )
        return list(reversed(answer.deployment_changes))

    def present(self) -> dict[tuple[str, str], tuple[str, Any]]:
        async def read() -> list[Any]:
            async with self.model.database.snapshot() as tx:
                query = sa.text("select payload from resources where kind = 'Deployment'")
                rows = (await tx.execute(query)).all()
            return [MESSAGES[Kind.DEPLOYMENT].FromString(row[0]) for row in rows]

        return {
            (d.name.rpartition("/deployments/")[0], d.environment): (d.release, d.overrides)
            for d in self.runner.run(read())
        }

    @invariant()
    def the_history_is_the_present(self) -> None:
        assert replayed(self.history()) == self.present()

    @invariant()
    def all_that_is_new_is_lawful(self) -> None:
        changes = self.history()
        for index in range(self.judged, len(changes)):
            self.judge(changes[index], changes[:index])
        self.judged = len(changes)

    def judge(self, change: Any, before: list[Any]) -> None:
        name = change.name.rpartition("/deploymentChanges/")[0]
        where = change.environment
        if where == DEV:
            assert change.cause in (Change.AUTOMATIC, Change.DIRECT)
            return
        held = self.frozen and where == PRODUCTION
        self.seen.add((change.cause, where))
        match change.cause:
            case Change.DIRECT:
                assert not change.release
                assert not held
            case Change.PROMOTION:
                who, target = self.asked[change.promotion]
                source = {b: a for a, b in PATHS}[target]
                assert target == where
                assert change.promotion not in self.refused
                assert not held or change.promotion in self.overridden
                # It was where it came from.
                assert any(c.environment == source and c.release == change.release for c in before)
                if where == STAGING:
                    assert change.promotion in self.passed
                else:
                    assert self.approved[change.promotion] & ({"ann", "bob"} - {who})
            case Change.ROLLBACK:
                assert self.asked[change.promotion][1] == where
                assert not held or change.promotion in self.overridden
                self._was_there(name, change, before)
            case Change.AUTOMATIC_ROLLBACK:
                assert where == PRODUCTION
                assert self.failed
                self._was_there(name, change, before)
            case _:
                raise AssertionError(change)

    def _was_there(self, name: str, change: Any, before: list[Any]) -> None:
        assert not change.release or any(
            c.name.startswith(f"{name}/")
            and c.environment == change.environment
            and c.release == change.release
            for c in before
        )

    @invariant()
    def what_is_under_way_is_watched(self) -> None:
        async def read() -> set[str]:
            async with self.model.database.snapshot() as tx:
                query = sa.text("select name, payload from resources where kind = 'Promotion'")
                rows = (await tx.execute(query)).all()
            return {row[0] for row in rows if Promotion.FromString(row[1]).state in LIVE}

        assert set(self.runner.run(self._live())) == self.runner.run(read())


async def _awaited(work: Any) -> Any:
    return await work


def test_nothing_reaches_an_environment_but_by_its_gates(template: Path) -> None:
    """Whatever anybody tries: promotions, decisions, freezes, failures, rollbacks, own writes."""
    Pipelines.template = template
    machine = Pipelines.TestCase
    machine.settings = settings(
        max_examples=100 if FULL else 10,
        stateful_step_count=30,
        deadline=None,
        derandomize=not FULL,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()

    # It is no law of what never happens.
    assert Pipelines.seen >= {
        (Change.DIRECT, STAGING),
        (Change.PROMOTION, STAGING),
        (Change.PROMOTION, PRODUCTION),
        (Change.ROLLBACK, STAGING),
        (Change.AUTOMATIC_ROLLBACK, PRODUCTION),
    }

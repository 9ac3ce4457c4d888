"""Promotions at their gates: nothing passes but by them, and what fails is taken back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cellplane.api.model.v1 import (
    deployment_pb2,
    environment_pb2,
    gate_pb2,
    organization_pb2,
    promotion_pb2,
    release_pb2,
)
from cellplane.testing.postgres import PostgresServer
from tests.service.model.conftest import serving
from tests.service.model.promoting import (
    FAILED,
    PROGRESSING,
    ROLES,
    Promotion,
    State,
    approval,
    approve,
    check,
    deployed,
    health,
    history,
    pipeline,
    promote,
    replayed,
    report,
    roll_back,
    until,
    verification,
    world,
)
from tests.service.model.test_events import QUICK, Receiver, receiver, subscribe
from tests.service.model.world import (
    DEV,
    ORG,
    SHOP,
    STAGING,
    Api,
    component,
    connection,
    endpoint,
    failure,
    findings,
    platform,
)

pytestmark = pytest.mark.asyncio
CART = f"{SHOP}/components/cart"
__all__ = ["receiver"]


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Api]:
    """On SQLite: what a test says of gates holds of any database."""
    async with world(tmp_path, f"sqlite:///{tmp_path}/model.db") as made:
        yield made


@pytest_asyncio.fixture
async def either(tmp_path: Path, database_url: str) -> AsyncIterator[Api]:
    """On each kind of database: where its tables and locks matter."""
    async with world(tmp_path, database_url) as made:
        yield made


def frozen(**more: Any) -> environment_pb2.Environment:
    """Staging, frozen from an hour ago on."""
    window = gate_pb2.FreezeWindow(
        window="sales", reason="the big sale", range=gate_pb2.FreezeRange()
    )
    window.range.start_time.FromDatetime(datetime.now(UTC) - timedelta(hours=1))
    window.range.end_time.FromDatetime(datetime.now(UTC) + timedelta(**(more or {"hours": 1})))
    return environment_pb2.Environment(name=STAGING, freeze_windows=[window])


def gates(promotion: Promotion) -> dict[str, Any]:
    return {gate.gate: gate.state for gate in promotion.gates}


async def test_nothing_is_deployed_before_enough_members_approve(either: Api) -> None:
    """Two of the role, neither of them who asked; each answer says who may act, and why not."""
    await either.apply(pipeline(approval(approvals=2)), component("cart"))
    asked = await promote(either, comment="spring")
    own = await failure(
        either.promotions.ApprovePromotion(promotion_pb2.ApprovePromotionRequest(name=asked.name))
    )
    once = await approve(either, "ann", asked.name, reason="looks good")
    twice = await failure(approve(either, "ann", asked.name))
    before = await deployed(either, STAGING)
    await approve(either, "bob", asked.name)
    done = await until(either, asked.name, Promotion.SUCCEEDED)

    assert (asked.state, asked.creator, asked.reconciling) == (
        Promotion.PENDING,
        "users/admin",
        True,
    )
    assert list(asked.gates[0].actors) == ["users/ann", "users/bob"]
    assert asked.gates[0].reason == '0 of 2 approvals of role "managers"'
    assert (own.code, own.reason) == ("PERMISSION_DENIED", "NOT_AN_APPROVER")
    assert "users/ann or users/bob" in own.message
    assert list(once.gates[0].actors) == ["users/bob"]
    assert "has approved" in twice.message
    assert before == {}
    assert await deployed(either, STAGING) == await deployed(either, DEV)
    assert [(d.principal, d.reason) for d in done.decisions] == [
        ("users/ann", "looks good"),
        ("users/bob", ""),
    ]
    told = (await history(either))[-1]
    assert (told.actor, told.reason, told.promotion) == ("users/admin", "spring", asked.name)


async def test_who_asks_approves_only_where_the_gate_allows_it(shop: Api) -> None:
    """A member that asked for it may not approve, unless the gate says so."""
    roles = [gate_pb2.PipelineRole(role="managers", members=["users/admin", "users/ann"])]
    strict, open_ = pipeline(approval()), pipeline(approval(allow_requester=True))
    for one in (strict, open_):
        del one.roles[:]
        one.roles.extend(roles)
    request = promotion_pb2.ApprovePromotionRequest
    await shop.apply(strict, component("cart"))
    asked = await promote(shop)
    own = await failure(shop.promotions.ApprovePromotion(request(name=asked.name)))
    await shop.apply(open_)
    await shop.promotions.ApprovePromotion(request(name=asked.name))

    assert "asked for it and cannot approve it: ask users/ann" in own.message
    assert (await until(shop, asked.name, Promotion.SUCCEEDED)).state == Promotion.SUCCEEDED


async def test_one_refusal_ends_a_promotion(shop: Api) -> None:
    """It is over, with who refused and why; approving it later is no more possible."""
    await shop.apply(pipeline(approval(approvals=2)), component("cart"))
    asked = await promote(shop)
    await approve(shop, "ann", asked.name)
    await shop.others["bob"].promotions.RefusePromotion(
        promotion_pb2.RefusePromotionRequest(name=asked.name, reason="not on a Friday")
    )
    ended = await until(shop, asked.name, Promotion.REFUSED)
    late = await failure(approve(shop, "bob", asked.name))

    assert ended.state_reason == 'gate "managers": users/bob refused: not on a Friday'
    assert (late.code, late.reason) == ("FAILED_PRECONDITION", "PROMOTION_STATE")
    assert await deployed(shop, STAGING) == {}


async def test_releases_soak_where_they_come_from(either: Api) -> None:
    """They wait until they were ready for long enough; what fails meanwhile ends the promotion."""
    await either.apply(pipeline(health(0.2)), component("cart"))
    asked = await promote(either)
    await report(either, DEV, {"cart": PROGRESSING})
    waiting = await either.promotions.GetPromotion(
        promotion_pb2.GetPromotionRequest(name=asked.name)
    )
    await report(either, DEV, {})
    done = await until(either, asked.name, Promotion.SUCCEEDED)
    await either.apply(component("cart", image="app:2"))
    again = await promote(either)
    await report(either, DEV, {"cart": FAILED}, "no such image")
    failed = await until(either, again.name, Promotion.FAILED)

    assert (waiting.state, gates(waiting)) == (Promotion.PENDING, {"soak": State.PENDING})
    assert done.deploy_time.ToDatetime() - asked.create_time.ToDatetime() > timedelta(seconds=0.2)
    assert failed.state_reason == (
        'gate "soak": cart failed in development: ImagePullBackOff: no such image'
    )
    assert await deployed(either, STAGING) != await deployed(either, DEV)


async def test_a_release_that_its_source_replaced_is_not_promoted(shop: Api) -> None:
    """What was asked for is what is deployed, or nothing."""
    await shop.apply(pipeline(health()), component("cart"))
    asked = await promote(shop)
    await shop.apply(component("cart", image="app:2"))

    ended = await until(shop, asked.name, Promotion.FAILED)

    assert "promote what is there" in ended.state_reason


async def test_a_check_is_reported_from_outside(shop: Api) -> None:
    """One that passed opens the gate, one that failed ends the promotion, none ends it in time."""
    await shop.apply(pipeline(check(description="smoke tests")), component("cart"))
    report_check = shop.promotions.ReportPromotionCheck
    request = promotion_pb2.ReportPromotionCheckRequest
    asked = await promote(shop)
    strange = await failure(report_check(request(name=asked.name, gate="other", passed=True)))
    await report_check(request(name=asked.name, gate="smoke", passed=True, uri="https://ci/7"))
    done = await until(shop, asked.name, Promotion.SUCCEEDED)
    await shop.apply(component("cart", image="app:2"))
    bad = await promote(shop)
    await report_check(request(name=bad.name, gate="smoke", reason="3 of 9 fail"))
    failed = await until(shop, bad.name, Promotion.FAILED)
    late = pipeline(check())
    late.promotion_paths[0].gates[0].check.timeout.FromMilliseconds(200)
    await shop.apply(late)
    forgotten = await until(shop, (await promote(shop)).name, Promotion.FAILED)

    assert list(asked.gates[0].actors) == ["permission promotions.reportCheck"]
    assert asked.gates[0].reason == "waits for a report of smoke tests"
    assert (strange.reason, "it has smoke" in strange.message) == ("GATE_NOT_FOUND", True)
    assert done.decisions[0].uri == "https://ci/7"
    assert failed.state_reason == 'gate "smoke": users/admin reported a failure: 3 of 9 fail'
    assert "nothing was reported" in forgotten.state_reason


async def test_a_freeze_holds_whatever_would_change_an_environment(either: Api) -> None:
    """Promotions wait, and direct writes are refused, until somebody overrides it or it is over."""
    await either.apply(frozen(), component("cart"))
    asked = await promote(either)
    release = (
        await either.deployments.GetDeployment(
            deployment_pb2.GetDeploymentRequest(name=f"{CART}/deployments/development")
        )
    ).release
    direct = await failure(
        either.apply(deployment_pb2.Deployment(name=f"{CART}/deployments/staging", release=release))
    )
    request = promotion_pb2.OverridePromotionFreezeRequest(name=asked.name, reason="a hole")
    denied = await failure(either.others["ann"].promotions.OverridePromotionFreeze(request))
    held = await deployed(either, STAGING)
    await either.promotions.OverridePromotionFreeze(request)
    done = await until(either, asked.name, Promotion.SUCCEEDED)
    gone = await failure(
        either.deployments.DeleteDeployment(
            deployment_pb2.DeleteDeploymentRequest(name=f"{CART}/deployments/staging")
        )
    )

    assert gates(asked) == {"freeze": State.PENDING}
    assert 'freeze window "sales" (the big sale) holds until' in asked.gates[0].reason
    assert list(asked.gates[0].actors) == ["permission promotions.overrideFreeze"]
    assert findings(direct) == {("resources[0].release", "ENVIRONMENT_FROZEN")}
    assert denied.code == "PERMISSION_DENIED"
    assert held == {}
    assert gates(done) == {"freeze": State.OVERRIDDEN}
    assert done.gates[0].reason == "users/admin let it through: a hole"
    assert gone.reason == "ENVIRONMENT_FROZEN"


async def test_what_waits_goes_on_when_the_freeze_is_over(shop: Api) -> None:
    """Nobody has to ask again."""
    await shop.apply(frozen(seconds=1.5), component("cart"))
    asked = await promote(shop)

    done = await until(shop, asked.name, Promotion.SUCCEEDED)

    assert asked.state == Promotion.PENDING
    assert done.deploy_time.ToDatetime() >= asked.gates[0].expect_time.ToDatetime()


async def test_a_frozen_first_environment_takes_no_new_releases(shop: Api) -> None:
    """A component that would be deployed there is refused, unless it is only to be released."""
    window = gate_pb2.FreezeWindow(window="move", range=gate_pb2.FreezeRange())
    await shop.apply(environment_pb2.Environment(name=DEV, freeze_windows=[window]))
    refused = await failure(shop.apply(component("cart")))
    await shop.apply(component("cart", auto_deploy=False))

    assert findings(refused) == {("resources[0].auto_deploy", "ENVIRONMENT_FROZEN")}
    assert await deployed(shop, DEV) == {}


async def test_what_fails_is_taken_back_as_a_whole(either: Api) -> None:
    """One component that fails within the window takes all of the promotion back, at once."""
    await either.apply(component("cart"), component("web"))
    await promote(either)
    good = await deployed(either, STAGING)
    await either.apply(pipeline(verified=verification(soak=0.2)))
    await either.apply(component("cart", image="app:2"), component("web", image="app:2"))
    asked = await promote(either, comment="new carts")
    bad = await deployed(either, STAGING)
    await report(either, STAGING, {"cart": FAILED}, "no such image")
    ended = await until(either, asked.name, Promotion.ROLLED_BACK)
    back = await until(either, ended.rollback, Promotion.SUCCEEDED)

    assert (asked.state, asked.verification.soak.ToMilliseconds()) == (Promotion.RUNNING, 200)
    assert bad == await deployed(either, DEV)
    assert ended.state_reason == ("cart failed in staging: ImagePullBackOff: no such image")
    assert (back.type, back.undone_promotion) == (Promotion.AUTOMATIC_ROLLBACK, asked.name)
    assert await deployed(either, STAGING) == good
    told = [(c.cause, c.actor, c.reason) for c in await history(either) if c.promotion == back.name]
    assert told == [(5, "users/admin", ended.state_reason)] * 2


async def test_releases_that_show_that_they_are_ready_stay(shop: Api) -> None:
    """They have to be ready of what was deployed, for the whole soak; others wait meanwhile."""
    await shop.apply(pipeline(verified=verification(soak=0.3)), component("cart"))
    asked = await promote(shop)
    await shop.apply(component("web"))
    behind = await promote(shop, DEV, STAGING, f"{SHOP}/components/web")
    await report(shop, STAGING, {})
    done = await until(shop, asked.name, Promotion.SUCCEEDED)
    after = await until(shop, behind.name, Promotion.RUNNING)

    assert gates(behind) == {"turn": State.PENDING}
    assert done.end_time.ToDatetime() - done.ready_time.ToDatetime() >= timedelta(seconds=0.3)
    assert after.deploy_time.ToDatetime() >= done.end_time.ToDatetime()


async def test_what_is_not_ready_in_time_is_taken_back(shop: Api) -> None:
    """Its window is over; where the path says so it stays for people to look at."""
    await shop.apply(pipeline(verified=verification(window=0.3)), component("cart"))
    asked = await promote(shop)
    ended = await until(shop, asked.name, Promotion.ROLLED_BACK)
    there = await deployed(shop, STAGING)
    await shop.apply(pipeline(verified=verification(window=0.3, keep_failed=True)))
    kept = await until(shop, (await promote(shop)).name, Promotion.FAILED)

    assert ended.state_reason == "cart not ready in 0.3 s"
    assert there == {}
    assert kept.rollback == ""
    assert await deployed(shop, STAGING) == await deployed(shop, DEV)


async def test_a_rollback_goes_back_to_what_was_there(either: Api) -> None:
    """The last promotion is taken back, or releases are named; what never was there is refused."""
    await either.apply(pipeline(check()), component("cart"))
    passed = promotion_pb2.ReportPromotionCheckRequest

    async def through(image: str) -> Promotion:
        await either.apply(component("cart", image=image))
        asked = await promote(either)
        await either.promotions.ReportPromotionCheck(
            passed(name=asked.name, gate="smoke", passed=True)
        )
        return await until(either, asked.name, Promotion.SUCCEEDED)

    first, second = await through("app:1"), await through("app:2")
    await either.apply(component("cart", image="app:3"))
    never = (await deployed(either, DEV))["cart"]
    back = await roll_back(either, reason="carts are lost")
    undone = await until(either, second.name, Promotion.ROLLED_BACK)
    now = await deployed(either, STAGING)
    forth = await roll_back(either, second.changes[0].release)
    refused = await failure(roll_back(either, f"{CART}/releases/{never}"))

    assert (back.type, back.state, back.undone_promotion) == (
        Promotion.ROLLBACK,
        Promotion.SUCCEEDED,
        second.name,
    )
    assert (undone.rollback, "carts are lost" in undone.state_reason) == (back.name, True)
    assert now == {"cart": first.changes[0].release.rsplit("/", 1)[-1]}
    assert forth.state == Promotion.SUCCEEDED
    assert refused.reason == "NEVER_DEPLOYED_HERE"
    assert second.changes[0].release.rsplit("/", 1)[-1] in refused.message
    assert await deployed(either, STAGING) == {"cart": second.changes[0].release.rsplit("/", 1)[-1]}


async def test_a_rollback_waits_for_a_freeze_and_ends_what_is_verified(shop: Api) -> None:
    """It needs no approval; whoever may lets it through a freeze."""
    await shop.apply(component("cart"))
    await promote(shop)
    good = await deployed(shop, STAGING)
    await shop.apply(pipeline(verified=verification(soak=60)), component("cart", image="app:2"))
    running = await promote(shop)
    await shop.apply(frozen())
    back = await roll_back(shop)
    held = await deployed(shop, STAGING)
    await shop.promotions.OverridePromotionFreeze(
        promotion_pb2.OverridePromotionFreezeRequest(name=back.name, reason="it burns")
    )
    await until(shop, back.name, Promotion.SUCCEEDED)
    ended = await until(shop, running.name, Promotion.ROLLED_BACK)

    assert (running.state, gates(back)) == (Promotion.RUNNING, {"freeze": State.PENDING})
    assert held != good
    assert await deployed(shop, STAGING) == good
    assert ended.rollback == back.name


async def test_a_promotion_that_would_be_refused_never_waits(either: Api) -> None:
    """What its target misses is said when it is asked for, with every finding."""
    await either.apply(
        pipeline(approval()),
        component("cart", endpoints=[endpoint()]),
        component("web", connections=[connection(CART)]),
    )
    refused = await failure(promote(either, DEV, STAGING, f"{SHOP}/components/web"))

    assert refused.reason == "PROMOTION_REFUSED"
    assert CART in refused.message


async def test_a_cancelled_promotion_is_over(shop: Api) -> None:
    """Nobody is asked any more, and the answer says who ended it."""
    await shop.apply(pipeline(approval()), component("cart"))
    asked = await promote(shop)
    ended = await shop.promotions.CancelPromotion(
        promotion_pb2.CancelPromotionRequest(name=asked.name, reason="too late")
    )

    assert (ended.state, ended.reconciling) == (Promotion.CANCELLED, False)
    assert ended.state_reason == "users/admin cancelled it: too late"


async def test_a_plan_tells_what_would_change_and_changes_nothing(shop: Api) -> None:
    """Settings, endpoints, both Cells, the gates and what would refuse it."""
    await shop.apply(component("cart", endpoints=[endpoint()]))
    await promote(shop)
    await shop.apply(
        pipeline(approval()), component("cart", image="app:2", endpoints=[endpoint(port=81)])
    )
    request = promotion_pb2.PlanPromotionRequest(
        parent=SHOP,
        promotion=Promotion(source_environment=DEV, target_environment=STAGING),
    )
    before = await deployed(shop, STAGING)
    plan = await shop.promotions.PlanPromotion(request)
    await shop.apply(component("web", connections=[connection(CART)]))
    request.promotion.components.append(f"{SHOP}/components/web")
    missing = await shop.promotions.PlanPromotion(request)

    [own] = plan.components
    assert {f.path for f in own.settings} == {"workload.image"}
    assert {f.path for f in own.endpoints} == {'endpoints["http"].port'}
    assert plan.current_cell.components[0].workload.image == "app:1"
    assert plan.planned_cell.components[0].workload.image == "app:2"
    assert gates(plan.promotion) == {"managers": State.PENDING}
    assert (list(plan.problems), list(missing.problems)) == ([], [])
    assert await deployed(shop, STAGING) == before


async def test_releases_are_kept_by_rule(either: Api) -> None:
    """The last ones, and those that are deployed anywhere; no other."""
    await either.apply(component("cart", image="app:0"))
    await promote(either)
    await either.apply(
        organization_pb2.Organization(
            name=ORG, release_retention=gate_pb2.ReleaseRetention(keep_last=2)
        )
    )
    for number in range(1, 5):
        await either.apply(component("cart", image=f"app:{number}"))
    found = await either.releases.ListReleases(release_pb2.ListReleasesRequest(parent=CART))
    images = {release.snapshot.workload.image for release in found.releases}

    assert images == {"app:0", "app:3", "app:4"}


async def test_a_project_or_its_pipeline_says_what_is_deployed_at_once(shop: Api) -> None:
    """What says nothing itself asks its project, and that its pipeline."""
    await shop.apply(pipeline(auto_deploy=False), component("cart"))
    none = await deployed(shop, DEV)
    await shop.apply(component("web", auto_deploy=True))

    assert none == {}
    assert set(await deployed(shop, DEV)) == {"web"}


async def test_the_history_is_what_is_deployed(either: Api) -> None:
    """Played again it gives every deployment with its overrides, also after deletions."""
    await either.apply(component("cart"), component("web"))
    await promote(either)
    await either.apply(component("cart", image="app:2"))
    own = deployment_pb2.Deployment(name=f"{CART}/deployments/staging")
    own.release = (await history(either))[-1].release
    own.overrides.replicas = 3
    await either.apply(own)
    await either.deployments.DeleteDeployment(
        deployment_pb2.DeleteDeploymentRequest(name=f"{SHOP}/components/web/deployments/staging")
    )
    changes = await history(either)
    only = await history(either, CART, filter=f'environment = "{STAGING}" AND cause = DIRECT')
    page = await either.deployments.ListDeployments(
        deployment_pb2.ListDeploymentsRequest(parent=f"{SHOP}/components/-")
    )

    assert replayed(changes) == {
        (d.name.rpartition("/deployments/")[0], d.environment): (d.release, d.overrides)
        for d in page.deployments
    }
    assert [(c.previous_release != c.release, c.overrides.replicas) for c in only] == [(True, 3)]
    assert [c.cause for c in changes] == [1, 1, 3, 3, 1, 2, 2]


async def test_what_waits_survives_a_restart(tmp_path: Path, database_url: str) -> None:
    """What came due while nothing ran is done by whatever runs next, and decisions are kept."""

    def users() -> Any:
        return serving(tmp_path, database_url, roles=ROLES, users=("ann", "bob"))

    guarded = pipeline(approval(approvals=2), verified=verification(window=3))
    async with users() as first:
        world = [one for one in platform() if one.name != guarded.name]
        await first.apply(*world, guarded, component("cart"), component("web"))
        running = await promote(first, DEV, STAGING, CART)
        for who in ("ann", "bob"):
            await approve(first, who, running.name)
        running = await until(first, running.name, Promotion.RUNNING, Promotion.ROLLED_BACK)
        waiting = await promote(first, DEV, STAGING, f"{SHOP}/components/web")
        await approve(first, "ann", waiting.name)
    async with users() as second:
        late = await until(second, running.name, Promotion.ROLLED_BACK)
        await approve(second, "bob", waiting.name)
        done = await until(second, waiting.name, Promotion.RUNNING, Promotion.ROLLED_BACK)

    assert waiting.state == Promotion.PENDING
    assert late.state_reason == "cart not ready in 3 s"
    assert [d.principal for d in done.decisions] == ["users/ann", "users/bob"]


async def test_two_processes_take_each_step_once(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """What one is asked and another decides is deployed once; one of them goes on alone."""
    url = postgres_server.new_database()
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with serving(folders[1], url, roles=ROLES, users=("ann", "bob")) as other:
        async with serving(folders[0], url, roles=ROLES, users=("ann", "bob")) as one:
            await one.apply(*platform())
            await one.apply(pipeline(approval()), component("cart"))
            asked = await promote(one)
            await approve(other, "ann", asked.name)
            await until(one, asked.name, Promotion.SUCCEEDED)
        await other.apply(component("cart", image="app:2"))
        again = await promote(other)
        await approve(other, "bob", again.name)
        await until(other, again.name, Promotion.SUCCEEDED)
        told = [c.promotion for c in await history(other) if c.environment == STAGING]

    assert told == [asked.name, again.name]


async def test_a_check_hears_of_a_promotion_by_webhook(
    tmp_path: Path, database_url: str, receiver: Receiver
) -> None:
    """The event says what waits for whom; its receiver reports, and the promotion goes on."""
    async with serving(tmp_path, database_url, changes=QUICK) as api:
        await api.apply(*platform())
        await api.apply(pipeline(check(description="smoke tests")), component("cart"))
        await subscribe(api, receiver.url, kinds=["Promotion"])
        asked = await promote(api)
        await receiver.until(lambda: bool(receiver.told))
        [event] = receiver.events()
        heard = event["subject"][event["subject"].index("organizations/") :]
        await api.promotions.ReportPromotionCheck(
            promotion_pb2.ReportPromotionCheckRequest(name=heard, gate="smoke", passed=True)
        )
        done = await until(api, asked.name, Promotion.SUCCEEDED)

    assert heard == asked.name
    assert "waits for a report of smoke tests" in json.dumps(event)
    assert done.decisions[0].principal == "users/admin"

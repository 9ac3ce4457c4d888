"""Rules of the platform win: at the door, along the pipeline, and over what runs already."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cellplane.api.model.v1 import (
    cell_pb2,
    environment_pb2,
    organization_pb2,
    platform_rules_pb2,
    platform_rules_pb2_grpc,
    promotion_pb2,
)
from cellplane.api.type.v1 import condition_pb2, endpoint_pb2, workload_pb2
from cellplane.api.type.v1 import platform_rules_pb2 as rules_pb2
from tests.service.model import promoting
from tests.service.model.world import (
    DEV,
    ORG,
    PAY,
    PAY_DEV,
    PUBLIC,
    SHOP,
    SHOP_DEV,
    STAGING,
    Api,
    component,
    endpoint,
    failure,
)

pytestmark = pytest.mark.asyncio
FALSE = condition_pb2.Condition.FALSE


async def demand(api: Api, name: str, **rules: Any) -> list[str]:
    """Set the rules of an organization or environment; the warnings of that."""
    own = rules_pb2.PlatformRules(**rules)
    if name == ORG:
        answer = await api.apply(organization_pb2.Organization(name=name, rules=own))
    else:
        answer = await api.apply(environment_pb2.Environment(name=name, rules=own))
    return [w.message for one in answer.resources for w in one.warnings]


async def cell(api: Api, name: str) -> cell_pb2.Cell:
    return await api.cells.GetCell(cell_pb2.GetCellRequest(name=name))


def compliant(found: cell_pb2.Cell) -> Any:
    return next((c for c in found.conditions if c.type == "Compliant"), None)


async def test_what_is_written_keeps_the_rules_of_where_it_goes(shop: Api) -> None:
    """All findings come at once, each with its field, whose rule it is, and the way out."""
    await demand(shop, ORG, image_registries=["ghcr.io/acme"], required_labels=["team"])
    await demand(shop, DEV, max_visibility=endpoint_pb2.VISIBILITY_ORGANIZATION)
    await demand(shop, STAGING, image_digest_required=True)
    refused = await failure(shop.apply(component("web", endpoints=[endpoint(visible=[PUBLIC])])))
    assert refused.code == "INVALID_ARGUMENT"
    assert {(p.field, p.reason) for p in refused.violations} == {
        ("resources[0].endpoints[0].visibilities[0]", "RULE_MAX_VISIBILITY"),
        ("resources[0].workload.image", "RULE_IMAGE_REGISTRY"),
        ('resources[0].labels["team"]', "RULE_LABEL_MISSING"),
    }
    assert f"image_registries of {ORG} allows: push it to ghcr.io/acme" in str(
        [v.message for v in refused.violations]
    )
    await shop.apply(component("web", image="ghcr.io/acme/web:1", labels={"team": "shop"}))
    assert compliant(await cell(shop, SHOP_DEV)).status == condition_pb2.Condition.TRUE

    promotion = promotion_pb2.CreatePromotionRequest(
        parent=SHOP,
        promotion=promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING),
    )
    refused = await failure(shop.promotions.CreatePromotion(promotion))
    assert refused.reason == "PROMOTION_REFUSED"
    assert f"image_digest_required of {STAGING} is set" in refused.message


async def test_a_rule_that_comes_later_is_shown_and_holds_for_changes(shop: Api) -> None:
    """What runs runs on and says so; whoever is changed must keep it; mending it is seen."""
    await shop.apply(component("web"), component("cart"), component("pay", project=PAY))
    before = await cell(shop, SHOP_DEV)
    warnings = await demand(shop, DEV, image_registries=["ghcr.io/acme"])
    assert len(warnings) == 3
    assert all("does not keep it and runs on: workload.image" in text for text in warnings)
    after = await cell(shop, SHOP_DEV)
    assert compliant(after).status == FALSE
    assert compliant(after).reason == "RuleImageRegistry"
    assert [v.resource.rsplit("/", 1)[-1] for v in after.violations] == ["cart", "web"]
    assert not after.problems
    assert after.revision == before.revision + 1  # its objects are judged by the new rules

    refused = await failure(shop.apply(component("web", image="app:2")))
    assert [p.reason for p in refused.violations] == ["RULE_IMAGE_REGISTRY"]
    await shop.apply(component("web", image="ghcr.io/acme/web:2"))
    assert [v.resource.rsplit("/", 1)[-1] for v in (await cell(shop, SHOP_DEV)).violations] == [
        "cart"
    ]
    await demand(shop, DEV)
    assert compliant(await cell(shop, SHOP_DEV)) is None
    assert not (await cell(shop, PAY_DEV)).violations


async def test_who_would_break_is_told_before_a_rule_is_set(shop: Api) -> None:
    """A check tells every component and Cell that would not keep rules, and stores nothing."""
    await shop.apply(component("web"), component("pay", project=PAY, image="ghcr.io/acme/pay:1"))
    stub = platform_rules_pb2_grpc.PlatformRuleServiceStub(shop.user)
    answer = await stub.AnalyzePlatformRules(
        platform_rules_pb2.AnalyzePlatformRulesRequest(
            name=ORG,
            rules=rules_pb2.PlatformRules(
                image_registries=["ghcr.io/acme"],
                cell_quota=rules_pb2.ResourceBounds(cpu="10m"),
            ),
        )
    )
    assert answer.component_count == 2
    assert [(v.cell, v.component, v.problem.reason, v.newly) for v in answer.violations] == [
        (PAY_DEV, "", "RULE_QUOTA", True),
        (SHOP_DEV, "", "RULE_QUOTA", True),
        (SHOP_DEV, f"{SHOP}/components/web", "RULE_IMAGE_REGISTRY", True),
    ]
    now = await stub.AnalyzePlatformRules(platform_rules_pb2.AnalyzePlatformRulesRequest(name=DEV))
    assert not now.violations
    refused = await failure(
        stub.AnalyzePlatformRules(
            platform_rules_pb2.AnalyzePlatformRulesRequest(name=f"{ORG}/environments/none")
        )
    )
    assert refused.code == "NOT_FOUND"


async def test_a_quota_of_a_cell_is_exact_under_parallel_writes(shop: Api) -> None:
    """Of eight components at once as many are deployed as the quota has room for, and no more."""
    await demand(shop, DEV, cell_quota=rules_pb2.ResourceBounds(replicas=6))

    async def add(number: int) -> str:
        one = component(f"c{number}")
        one.workload.replicas = 2
        try:
            await shop.apply(one)
        except Exception as error:  # noqa: BLE001 - any failure is looked at
            return str(error)
        return ""

    answers = await asyncio.gather(*(add(number) for number in range(8)))
    assert answers.count("") == 3
    assert all("cell_quota.replicas" in answer for answer in answers if answer)
    # Whoever gives back is welcome, also above a quota that came later.
    await demand(shop, DEV, cell_quota=rules_pb2.ResourceBounds(replicas=2))
    assert [v.reason for v in (await cell(shop, SHOP_DEV)).violations] == ["RULE_QUOTA"]
    smaller = component(f"c{answers.index('')}")
    smaller.workload.replicas = 1
    await shop.apply(smaller)
    larger = component("more", project=PAY)
    larger.workload.resources.CopyFrom(workload_pb2.Resources(cpu_request="4"))
    await shop.apply(larger)


async def test_what_fails_goes_back_to_what_ran_before_a_rule(shop: Api) -> None:
    """The control plane may take a release back to one that a later rule refuses, and shows it."""
    await shop.apply(component("cart"))
    first = await promoting.promote(shop)
    await promoting.until(shop, first.name, promotion_pb2.Promotion.SUCCEEDED)
    good = await promoting.deployed(shop, STAGING)
    await shop.apply(promoting.pipeline(verified=promoting.verification(soak=0.2)))
    await shop.apply(component("cart", image="ghcr.io/acme/cart:2"))
    asked = await promoting.promote(shop)
    await promoting.until(shop, asked.name, promotion_pb2.Promotion.RUNNING)
    await demand(shop, STAGING, image_registries=["ghcr.io/acme"])
    await promoting.report(shop, STAGING, {"cart": condition_pb2.HEALTH_FAILED}, "no")
    ended = await promoting.until(shop, asked.name, promotion_pb2.Promotion.ROLLED_BACK)
    await promoting.until(shop, ended.rollback, promotion_pb2.Promotion.SUCCEEDED)
    assert await promoting.deployed(shop, STAGING) == good
    assert [v.reason for v in (await cell(shop, f"{SHOP}/cells/staging")).violations] == [
        "RULE_IMAGE_REGISTRY"
    ]
    # Whoever asks for it by hand must keep the rule.
    again = await promoting.promote(shop)
    await promoting.until(shop, again.name, promotion_pb2.Promotion.RUNNING)
    assert not (await cell(shop, f"{SHOP}/cells/staging")).violations
    old = f"{SHOP}/components/cart/releases/{good['cart'].rsplit('/', 1)[-1]}"
    refused = await failure(promoting.roll_back(shop, old))
    assert f"image_registries of {STAGING} allows: push it to ghcr.io/acme" in refused.message

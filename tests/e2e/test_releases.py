"""The boutique from development to production, past each way in which a promotion can end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Plane

WINDOW = "--timeout=240s"
PATIENCE = 270
GUARDED = """
kind: DeploymentPipeline
name: deploymentPipelines/standard
roles:
  - {role: managers, members: [users/admin]}
promotionPaths:
  - sourceEnvironment: environments/development
    targetEnvironments: [environments/staging]
    %s
  - sourceEnvironment: environments/staging
    targetEnvironments: [environments/production]
    gates:
      - {gate: managers, approval: {role: managers, allowRequester: true}}
      - {gate: soak, health: {soak: 1s}}
    verification: {soak: 1s, window: 180s}
"""
VERIFIED = "verification: {soak: 1s, window: 180s}"
FREEZE = "freezeWindows: [{window: sale, reason: the big sale, range: {}}]\n"


@pytest.fixture
def boutique(plane: Plane) -> Iterator[Plane]:
    """Payments everywhere and the boutique in staging; afterwards the platform is as it was."""
    plane.ok("promote", "payments", "--from=development", "--to=staging")
    plane.ok("promote", "payments", "--from=staging", "--to=production")
    plane.ok("promote", "boutique", "--from=development", "--to=staging")
    for cell in ("payments/production", "boutique/staging"):
        plane.ok("wait", "cell", cell, "--timeout=120s", patience=150)
    try:
        yield plane
    finally:
        plane.ok("apply", "-f", "samples/platform", "-f", "samples/boutique")


def pipeline(plane: Plane, first: str = "") -> None:
    plane.ok("apply", "-f", "-", stdin=GUARDED % first)


def break_ads(plane: Plane) -> None:
    """An image that no registry has."""
    text = (ROOT / "samples/boutique/adservice.yaml").read_text()
    lines = [
        f"{line.split('image:')[0]}image: sandbox.example.com/ads:sandbox-missing"
        if "image:" in line
        else line
        for line in text.splitlines()
    ]
    plane.ok("apply", "-f", "-", stdin="\n".join(lines))


def promote(plane: Plane, source: str, target: str, *more: str) -> str:
    """Ask for a promotion; its name."""
    return plane.ok(
        "promote", "boutique", f"--from={source}", f"--to={target}", "-o", "name", *more
    ).out.strip()


def state(plane: Plane, name: str) -> Any:
    return plane.ok("get", "promotion", name, "-o", "json").json


def ended(plane: Plane, name: str) -> Any:
    """A promotion when it has ended."""
    plane.ok("wait", "promotion", name, WINDOW, patience=PATIENCE)
    return state(plane, name)


def releases(plane: Plane, environment: str) -> dict[str, str]:
    found = plane.ok("get", "deployments", "-o", "json").json
    return {
        d["name"].split("/")[5]: d["release"].rsplit("/", 1)[-1]
        for d in found
        if d["name"].split("/")[3] == "boutique" and d["environment"].endswith(f"/{environment}")
    }


@pytest.mark.timeout(600)
def test_a_refused_promotion_changes_nothing_and_no_other_way_is_left(boutique: Plane) -> None:
    """Nobody writes production by hand, and what is refused has ended."""
    plane = boutique
    pipeline(plane)
    before = releases(plane, "production")
    name = promote(plane, "staging", "production", "--reason=spring")
    asked = state(plane, name)
    by_hand = plane.run(
        "apply",
        "-f",
        "-",
        stdin=(
            "kind: Deployment\n"
            "name: projects/boutique/components/adservice/deployments/production\n"
            "release: projects/boutique/components/adservice/releases/"
            f"{releases(plane, 'staging')['adservice']}\n"
        ),
    )
    plan = plane.ok(
        "promote", "boutique", "--from=staging", "--to=production", "--dry-run", patience=200
    )
    plane.ok("refuse", name, "--reason=not before the sale")
    over = state(plane, name)

    assert asked["state"] == "PENDING"
    assert [g["gate"] for g in asked["gates"]] == ["managers", "soak"]
    assert by_hand.code != 0
    assert "cellplane promote boutique --from staging --to production" in by_hand.err
    assert "manifests" in plan.out
    assert "users/admin" in plan.out
    assert (over["state"], over["stateReason"]) == (
        "REFUSED",
        'gate "managers": users/admin refused: not before the sale',
    )
    assert releases(plane, "production") == before


@pytest.mark.timeout(1200)
def test_the_boutique_goes_to_production(boutique: Plane) -> None:
    """What fails is taken back or goes no further, what is frozen waits, what passed arrives."""
    plane = boutique
    good = releases(plane, "staging")
    pipeline(plane, VERIFIED)
    break_ads(plane)
    rolled_back = plane.run(
        "promote",
        "boutique",
        "--from=development",
        "--to=staging",
        "--reason=new ads",
        "--wait",
        WINDOW,
        patience=PATIENCE,
    )
    assert rolled_back.code == 7, rolled_back.err
    assert "adservice failed in staging" in rolled_back.err, rolled_back.err
    assert releases(plane, "staging") == good
    told = plane.ok("history", "component/boutique/adservice", "--releases").out.splitlines()
    assert "automatic rollback" in told[1]
    assert "new ads" in told[2]

    # The same release gets to staging where nothing verifies it, and no further.
    pipeline(plane)
    promote(plane, "development", "staging")
    name = promote(plane, "staging", "production")
    failed = ended(plane, name)
    assert failed["state"] == "FAILED", failed
    assert "adservice failed in staging" in failed["stateReason"]

    plane.ok("apply", "-f", "samples/boutique")
    promote(plane, "development", "staging")
    plane.ok("wait", "cell", "boutique/staging", "--timeout=120s", patience=150)
    production = plane.ok("get", "environment", "production", "-o", "yaml").out
    plane.ok("apply", "-f", "-", stdin=f"{production.rstrip()}\n{FREEZE}")
    name = promote(plane, "staging", "production", "--reason=spring")
    approved = plane.ok("approve", name, "--reason=tested")
    assert "permission promotions.overrideFreeze" in approved.out
    assert "the big sale" in approved.out
    assert releases(plane, "production") == {}
    plane.ok("approve", name, "--freeze", "--reason=a hole has to be closed")
    done = ended(plane, name)
    assert done["state"] == "SUCCEEDED", done
    assert releases(plane, "production") == releases(plane, "staging")
    same = plane.run("diff", "boutique", "--from=staging", "--to=production")
    assert (same.code, same.out) == (0, "")

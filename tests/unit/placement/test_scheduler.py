"""Decisions, one fact at a time."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.cell.plane import CERT_MANAGER, CILIUM_POLICY, ENVOY_GATEWAY, GATEWAY, WIREGUARD
from cellplane.cell.requirement import (
    Effect,
    LabelSelector,
    Operator,
    PlacementRequirement,
    Preference,
    Spread,
    Taint,
    Toleration,
)
from cellplane.cell.visibility import Encryption
from cellplane.placement.scheduler.decide import Placed, Unplaceable, decide
from cellplane.placement.scheduler.snapshot import Demand, Plane, PlaneState, Previous, Snapshot

REGION = "topology.kubernetes.io/region"


def plane(name: str, region: str = "", **changes: Any) -> Plane:
    """A ready data plane that can do everything but encrypt."""
    given: dict[str, Any] = {
        "data_plane": name,
        "organization": "acme",
        "state": PlaneState.READY,
        "labels": {REGION: region} if region else {},
        "capabilities": frozenset({CILIUM_POLICY, GATEWAY, ENVOY_GATEWAY, CERT_MANAGER}),
    }
    return Plane(**(given | changes))


def demand(requirement: PlacementRequirement | None = None, **changes: Any) -> Demand:
    """A Cell of acme."""
    return Demand(
        cell="organizations/acme/projects/shop/cells/development",
        organization="acme",
        requirement=requirement or PlacementRequirement(),
        **changes,
    )


def place(planes: list[Plane], asked: Demand, *there: str) -> Placed:
    """Decide, and expect a placement."""
    previous = Previous(data_planes=there, spreads=asked.requirement.spreads)
    decision = decide(Snapshot(planes=tuple(planes)), asked, previous)
    assert isinstance(decision, Placed), decision.trace.summary
    return decision


def refuse(planes: list[Plane], asked: Demand, *there: str) -> Unplaceable:
    """Decide, and expect none."""
    previous = Previous(data_planes=there, spreads=asked.requirement.spreads)
    decision = decide(Snapshot(planes=tuple(planes)), asked, previous)
    assert isinstance(decision, Unplaceable)
    return decision


@pytest.mark.parametrize(
    ("bad", "asked", "reason"),
    [
        (plane("bad", organization="other"), demand(), "ORGANIZATION"),
        (plane("bad", state=PlaneState.PENDING), demand(), "STATE"),
        (plane("bad", state=PlaneState.SUSPECT), demand(), "STATE"),
        (plane("bad", cordoned=True), demand(), "CORDONED"),
        (plane("bad"), demand(PlacementRequirement(excluded_data_planes=("bad",))), "EXCLUDED"),
        (
            plane("bad", "us"),
            demand(
                PlacementRequirement(
                    selectors=(LabelSelector(key=REGION, operator=Operator.IN, values=("eu",)),)
                )
            ),
            "SELECTOR",
        ),
        (
            plane("bad", taints=(Taint(key="gpu", effect=Effect.NO_SCHEDULE),)),
            demand(PlacementRequirement(tolerations=(Toleration(key="spot"),))),
            "TAINT",
        ),
        (plane("bad", capabilities=frozenset()), demand(), "CAPABILITY"),
        (plane("bad"), demand(encryption=Encryption.WIREGUARD), "CAPABILITY"),
        (plane("bad", capabilities=frozenset({CILIUM_POLICY})), demand(exposed=True), "CAPABILITY"),
        (
            plane("bad"),
            demand(PlacementRequirement(spreads=(Spread(topology_key=REGION),))),
            "TOPOLOGY",
        ),
    ],
)
def test_every_hard_rule_turns_down_with_its_reason(bad: Plane, asked: Demand, reason: str) -> None:
    """A plane that breaks one rule is turned down for it, in the trace and in the sentence."""
    decision = refuse([bad], asked)
    assert [r.reason for r in decision.trace.rejections] == [reason]
    assert decision.reason == "NoDataPlanes"
    assert "bad: " in decision.trace.summary


def test_what_is_there_stays_when_the_plane_is_cordoned_tainted_or_lost() -> None:
    """Rules for new Cells do not move those that are there."""
    old = plane(
        "old",
        state=PlaneState.LOST,
        cordoned=True,
        taints=(Taint(key="x", effect=Effect.NO_SCHEDULE),),
    )
    assert place([old, plane("new")], demand(), "old").data_planes == ("old",)


def test_no_execute_moves_a_cell_and_no_replacement_keeps_it() -> None:
    """A NO_EXECUTE taint moves it where another plane is feasible; otherwise it stays, blocked."""
    old = plane("old", taints=(Taint(key="x", effect=Effect.NO_EXECUTE),))
    assert place([old, plane("new")], demand(), "old").data_planes == ("new",)
    blocked = refuse([old], demand(), "old")
    assert blocked.data_planes == ("old",)
    assert "stays on old" in blocked.trace.summary


def test_preferences_and_soft_taints_count_in_that_order() -> None:
    """The wish wins over the soft taint, and the soft taint over balance."""
    wish = PlacementRequirement(
        preferences=(
            Preference(
                selector=LabelSelector(key=REGION, operator=Operator.IN, values=("eu",)), weight=1
            ),
        )
    )
    soft = (Taint(key="x", effect=Effect.PREFER_NO_SCHEDULE),)
    assert place([plane("eu", "eu", taints=soft), plane("us", "us")], demand(wish)).data_planes == (
        "eu",
    )
    assert place([plane("a", taints=soft), plane("b", cell_count=9)], demand()).data_planes == (
        "b",
    )


def test_a_new_cell_goes_where_fewer_are() -> None:
    """Balance decides between equals."""
    assert place([plane("a", cell_count=3), plane("b", cell_count=2)], demand()).data_planes == (
        "b",
    )


def test_a_spread_that_a_greedy_choice_misses_is_found() -> None:
    """Two spreads at once leave one valid set, which is not made of the best planes."""

    def at(name: str, region: str, provider: str, cells: int) -> Plane:
        return plane(name, labels={REGION: region, "provider": provider}, cell_count=cells)

    planes = [at("a", "eu", "x", 0), at("b", "us", "x", 0), at("c", "eu", "y", 5)]
    asked = demand(
        PlacementRequirement(
            copies=2,
            spreads=(
                Spread(topology_key=REGION, min_groups=2),
                Spread(topology_key="provider", min_groups=2),
            ),
        )
    )
    assert place(planes, asked).data_planes == ("b", "c")


def test_an_impossible_spread_says_which() -> None:
    """Enough planes, but no set of them: the sentence names the rule."""
    asked = demand(
        PlacementRequirement(copies=2, spreads=(Spread(topology_key=REGION, min_groups=2),))
    )
    decision = refuse([plane("a", "eu"), plane("b", "eu")], asked)
    assert decision.reason == "SpreadImpossible"
    assert REGION in decision.trace.summary


def test_a_new_region_is_no_reason_to_move() -> None:
    """A placement that was valid stays when a group appears, though the skew is larger now."""
    spread = (Spread(topology_key=REGION, max_skew=1),)
    asked = demand(PlacementRequirement(copies=4, spreads=spread))
    planes = [plane(f"{r}{i}", r) for r in ("eu", "us") for i in range(2)]
    first = place(planes, asked).data_planes
    grown = [*planes, plane("ap0", "ap")]
    assert place(grown, asked, *first).data_planes == first


def test_a_cell_with_volumes_is_on_one_plane_and_never_moves() -> None:
    """Asked for two copies it gets one; where its plane no longer fits it stays, and says so."""
    two = PlacementRequirement(copies=2)
    assert len(place([plane("a"), plane("b")], demand(two, stateful=True)).data_planes) == 1
    tainted = plane("a", taints=(Taint(key="x", effect=Effect.NO_EXECUTE),))
    decision = refuse([tainted, plane("b")], demand(stateful=True), "a")
    assert (decision.reason, decision.data_planes) == ("VolumesWouldMove", ("a",))


def test_an_organization_without_data_planes_is_told_what_to_do() -> None:
    """The sentence names the way out."""
    assert "create one, and join it" in refuse([], demand()).trace.summary


def test_many_planes_and_nested_spreads_are_decided_fast() -> None:
    """200 planes in 10 regions of 3 zones, 3 copies over both: exact, and well under a second."""
    planes = [
        plane(f"p{i}", labels={REGION: f"r{i % 10}", "zone": f"r{i % 10}-{i % 3}"})
        for i in range(200)
    ]
    asked = demand(
        PlacementRequirement(
            copies=3,
            spreads=(
                Spread(topology_key=REGION, min_groups=3, max_skew=1),
                Spread(topology_key="zone", min_groups=3),
            ),
        )
    )
    chosen = place(planes, asked).data_planes
    assert len({p.labels[REGION] for p in planes if p.data_plane in chosen}) == 3


def test_encryption_is_met_by_any_of_its_ways() -> None:
    """ANY is content with WireGuard."""
    able = plane("a", capabilities=frozenset({CILIUM_POLICY, WIREGUARD}))
    assert place([able], demand(encryption=Encryption.ANY)).data_planes == ("a",)

"""Laws of the scheduler, on small worlds where brute force knows the answer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell.plane import CERT_MANAGER, CILIUM_POLICY, GATEWAY
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
from cellplane.placement.scheduler.decide import Placed, decide
from cellplane.placement.scheduler.filters import rejection
from cellplane.placement.scheduler.scores import NOTHING, add, scores
from cellplane.placement.scheduler.snapshot import Demand, Plane, PlaneState, Previous, Snapshot

KEYS = ("region", "zone")


def plane_of(index: int) -> st.SearchStrategy[Plane]:
    """Any data plane of that index."""
    return st.builds(
        Plane,
        data_plane=st.just(f"plane-{index}"),
        organization=st.sampled_from(["acme", "acme", "acme", "other"]),
        state=st.sampled_from([PlaneState.READY, PlaneState.READY, *PlaneState]),
        cordoned=st.sampled_from([False, False, True]),
        labels=st.dictionaries(st.sampled_from(KEYS), st.sampled_from("ab"), max_size=2),
        taints=st.lists(
            st.builds(Taint, key=st.sampled_from("xy"), effect=st.sampled_from(list(Effect))),
            max_size=1,
        ).map(tuple),
        capabilities=st.sampled_from(
            [frozenset({CILIUM_POLICY}), frozenset({CILIUM_POLICY, GATEWAY, CERT_MANAGER})]
        ),
        cell_count=st.integers(0, 2),
    )


worlds = st.integers(0, 6).flatmap(lambda n: st.tuples(*(plane_of(i) for i in range(n))))
spreads = st.builds(
    Spread,
    topology_key=st.sampled_from(KEYS),
    min_groups=st.sampled_from([None, 1, 2]),
    max_skew=st.sampled_from([None, 1, 2]),
)
selectors = st.builds(
    LabelSelector,
    key=st.sampled_from(KEYS),
    operator=st.sampled_from(list(Operator)),
    values=st.just(("a",)),
)
requirements = st.builds(
    PlacementRequirement,
    copies=st.sampled_from([None, 1, 2, 3, 4]),
    selectors=st.lists(selectors, max_size=1).map(tuple),
    preferences=st.lists(
        st.builds(Preference, selector=selectors, weight=st.integers(1, 3)), max_size=2
    ).map(tuple),
    tolerations=st.lists(st.builds(Toleration, key=st.sampled_from("x")), max_size=1).map(tuple),
    spreads=st.lists(spreads, max_size=2, unique_by=lambda s: s.topology_key).map(tuple),
    capabilities=st.sampled_from([(), (GATEWAY,)]),
)
demands = st.builds(
    Demand,
    cell=st.sampled_from(["one", "two", "three"]),
    organization=st.just("acme"),
    requirement=requirements,
)


def feasible(planes: Iterable[Plane], demand: Demand, there: tuple[str, ...]) -> list[Plane]:
    """Planes that no hard rule turns down."""
    return [p for p in planes if rejection(p, demand, there=p.data_plane in there) is None]


def meets(chosen: Iterable[Plane], among: list[Plane], demand: Demand) -> bool:
    """Whether a set meets every spread, written from the contract's words."""
    chosen = list(chosen)
    for spread in demand.requirement.spreads:
        key = spread.topology_key
        groups = {p.labels[key]: 0 for p in among}
        for plane in chosen:
            groups[plane.labels[key]] += 1
        if spread.min_groups and sum(n > 0 for n in groups.values()) < spread.min_groups:
            return False
        if spread.max_skew and max(groups.values()) - min(groups.values()) > spread.max_skew:
            return False
    return True


def worth(chosen: Iterable[Plane], demand: Demand, there: tuple[str, ...]) -> tuple[int, ...]:
    """The sum of scores."""
    total = NOTHING
    for plane in chosen:
        total = add(total, scores(plane, demand, there=plane.data_plane in there))
    return total


previous_ids = st.lists(st.sampled_from([f"plane-{i}" for i in range(6)]), max_size=3, unique=True)


@settings(max_examples=150, deadline=None)
@given(world=worlds, demand=demands, there=previous_ids)
def test_agrees_with_brute_force(
    world: tuple[Plane, ...], demand: Demand, there: list[str]
) -> None:
    """A set is found exactly if one exists, and none that exists is worth more."""
    previous = Previous(data_planes=tuple(there), spreads=(Spread(topology_key="another-rule"),))
    decision = decide(Snapshot(planes=world), demand, previous)
    good = feasible(world, demand, previous.data_planes)
    sets = [c for c in combinations(good, demand.copies) if meets(c, good, demand)]
    if not sets:
        assert not isinstance(decision, Placed)
        return
    assert isinstance(decision, Placed)
    chosen = [p for p in world if p.data_plane in decision.data_planes]
    best = max(worth(c, demand, previous.data_planes) for c in sets)
    assert worth(chosen, demand, previous.data_planes) == best


@settings(max_examples=80, deadline=None)
@given(world=worlds, demand=demands, there=previous_ids, data=st.data())
def test_order_of_planes_does_not_matter(
    world: tuple[Plane, ...], demand: Demand, there: list[str], data: st.DataObject
) -> None:
    """Any order of the same planes gives the same decision and trace."""
    shuffled = data.draw(st.permutations(world))
    previous = Previous(data_planes=tuple(there), spreads=demand.requirement.spreads)
    first = decide(Snapshot(planes=world), demand, previous)
    assert decide(Snapshot(planes=tuple(shuffled)), demand, previous) == first


@settings(max_examples=80, deadline=None)
@given(world=worlds, demand=demands, there=previous_ids)
def test_hard_rules_are_never_broken(
    world: tuple[Plane, ...], demand: Demand, there: list[str]
) -> None:
    """Every chosen plane passes every filter, and there are as many as were asked for."""
    previous = Previous(data_planes=tuple(there), spreads=demand.requirement.spreads)
    decision = decide(Snapshot(planes=world), demand, previous)
    if isinstance(decision, Placed):
        good = {p.data_plane for p in feasible(world, demand, previous.data_planes)}
        assert good.issuperset(decision.data_planes)
        assert len(decision.data_planes) == demand.copies


@settings(max_examples=80, deadline=None)
@given(world=worlds, demand=demands)
def test_deciding_again_moves_nothing(world: tuple[Plane, ...], demand: Demand) -> None:
    """The same question, asked from where the Cell is, has the same answer."""
    first = decide(Snapshot(planes=world), demand, Previous())
    if isinstance(first, Placed):
        again = Previous(data_planes=first.data_planes, spreads=demand.requirement.spreads)
        second = decide(Snapshot(planes=world), demand, again)
        assert isinstance(second, Placed)
        assert second.data_planes == first.data_planes


@settings(max_examples=80, deadline=None)
@given(world=worlds, demand=demands, index=st.integers(0, 5))
def test_a_plane_that_goes_and_returns_moves_nothing_else(
    world: tuple[Plane, ...], demand: Demand, index: int
) -> None:
    """Without a spread, only the copy on the plane that went moves, and it does not move back."""
    demand = Demand(
        cell=demand.cell,
        organization=demand.organization,
        requirement=PlacementRequirement(
            copies=demand.requirement.copies, selectors=demand.requirement.selectors
        ),
    )
    gone = f"plane-{index}"
    before = decide(Snapshot(planes=world), demand, Previous())
    if not isinstance(before, Placed):
        return
    rest = tuple(p for p in world if p.data_plane != gone)
    without = decide(Snapshot(planes=rest), demand, Previous(data_planes=before.data_planes))
    if not isinstance(without, Placed):
        assert set(without.data_planes) == set(before.data_planes) - {gone}
        return
    assert set(before.data_planes) - {gone} <= set(without.data_planes)
    if gone not in before.data_planes:
        assert without.data_planes == before.data_planes
    after = decide(Snapshot(planes=world), demand, Previous(data_planes=without.data_planes))
    assert isinstance(after, Placed)
    assert after.data_planes == without.data_planes

"""Laws of the incremental engine: it never differs from deciding anew, whatever happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.decide import Placed, Unplaceable, decide
from cellplane.placement.scheduler.feasible import Feasible
from cellplane.placement.scheduler.filters import rejection
from cellplane.placement.scheduler.fleet import Fleet, Resident
from cellplane.placement.scheduler.index import Index
from cellplane.placement.scheduler.scores import NOTHING, add, scores
from cellplane.placement.scheduler.snapshot import Demand, Plane, Previous, Snapshot
from tests.property.placement.worlds import demands, near, planes, requirements, some_planes

CELLS = ("a/dev", "b/dev", "c/dev", "d/dev")
events = st.one_of(
    st.integers(0, 5).flatmap(lambda i: st.tuples(st.just("put"), planes(i))),
    st.tuples(st.just("drop"), st.sampled_from([f"plane-{i}" for i in range(6)])),
    st.sampled_from(CELLS).flatmap(lambda c: st.tuples(st.just("want"), demands(c))),
    st.sampled_from(CELLS).flatmap(lambda c: st.tuples(st.just("want"), demands(c, near))),
    st.tuples(st.just("unwant"), st.sampled_from(CELLS)),
)


def happen(fleet: Fleet, event: tuple[str, object]) -> None:
    """Let one thing happen."""
    match event:
        case "put", Plane() as plane:
            fleet.put_plane(plane)
        case "drop", str() as name:
            fleet.drop_plane(name)
        case "want", Demand() as demand:
            fleet.put_cell(demand)
        case "unwant", str() as cell:
            fleet.drop_cell(cell)


def snapshot(fleet: Fleet, asking: Resident) -> Snapshot:
    """The world as one Cell sees it: what it uses itself is not counted."""
    seen: list[Plane] = []
    for slot, plane in enumerate(fleet.index.planes):
        if plane is None:
            continue
        own = asking.taken.get(plane.data_plane)
        used = dict(fleet.index.used[slot])
        for name, amount in (own or {}).items():
            used[name] -= amount
        count = fleet.index.cell_counts[slot] - (own is not None)
        seen.append(replace(plane, used=used, cell_count=count))
    return Snapshot(planes=tuple(seen), now=fleet.index.now)


def anew(fleet: Fleet, resident: Resident) -> object:
    """What is decided on a Cell from nothing but the world and where it is."""
    world = snapshot(fleet, resident)
    demand = replace(resident.bound, requirement=replace(resident.bound.requirement, affinities=()))
    previous = fleet.previous(resident)
    return decide(world, demand, previous)


@settings(max_examples=60, deadline=None)
@given(
    world=some_planes,
    cells=st.tuples(*(demands(c) for c in CELLS)),
    then=st.lists(events, max_size=6),
)
def test_no_change_is_missed(
    world: tuple[Plane, ...], cells: tuple[Demand, ...], then: list[tuple[str, object]]
) -> None:
    """After any events, deciding on each Cell anew gives where it is, placed or not."""
    fleet = Fleet()
    for event in [*(("put", p) for p in world), *(("want", c) for c in cells), *then]:
        happen(fleet, event)
        for _ in fleet.run():
            pass
    for cell, resident in fleet.cells.items():
        decided = anew(fleet, resident)
        assert isinstance(decided, Placed | Unplaceable)
        assert resident.decision is not None
        assert type(decided) is type(resident.decision), cell
        assert decided.data_planes == resident.data_planes, cell


@settings(max_examples=60, deadline=None)
@given(
    world=some_planes,
    cells=st.tuples(*(demands(c) for c in CELLS)),
    then=st.lists(events, max_size=6),
)
def test_what_is_placed_breaks_no_rule_and_fits(
    world: tuple[Plane, ...], cells: tuple[Demand, ...], then: list[tuple[str, object]]
) -> None:
    """Every plane of a placed Cell passes every filter; a fresh world is never overcommitted."""
    fleet = Fleet()
    for event in [*(("put", p) for p in world), *(("want", c) for c in cells)]:
        happen(fleet, event)
    for _ in fleet.run():
        pass
    for slot, plane in enumerate(fleet.index.planes):
        if plane is not None:
            used = fleet.index.used[slot]
            assert all(used.get(n, 0) <= most for n, most in plane.allocatable.items())
    for event in then:
        happen(fleet, event)
        for _ in fleet.run():
            pass
    for resident in fleet.cells.values():
        if isinstance(resident.decision, Placed):
            seen = {p.data_plane: p for p in snapshot(fleet, resident).planes}
            for name in resident.data_planes:
                assert rejection(seen[name], resident.bound, there=True) is None


@settings(max_examples=60, deadline=None)
@given(
    world=some_planes,
    cells=st.tuples(*(demands(c) for c in CELLS)),
    data=st.data(),
)
def test_the_order_of_arrival_does_not_matter(
    world: tuple[Plane, ...], cells: tuple[Demand, ...], data: st.DataObject
) -> None:
    """Planes and Cells in any order give the same decisions, to the byte of their traces."""

    def run(planes_in: Iterable[Plane], cells_in: Iterable[Demand]) -> dict[str, object]:
        fleet = Fleet()
        for plane in planes_in:
            fleet.put_plane(plane)
        for cell in cells_in:
            fleet.put_cell(cell)
        for _ in fleet.run():
            pass
        return {cell: resident.decision for cell, resident in fleet.cells.items()}

    first = run(world, cells)
    assert run(data.draw(st.permutations(world)), data.draw(st.permutations(cells))) == first


@settings(max_examples=60, deadline=None)
@given(world=some_planes, demand=demands("a/dev"), there=st.booleans())
def test_bitsets_agree_with_the_rules_for_one_plane(
    world: tuple[Plane, ...], demand: Demand, there: bool
) -> None:
    """What the bitsets leave is what the filters leave, for new Cells and for those there."""
    feasible = Feasible(Index(world), demand)
    feasible.refresh()
    left = feasible.stay if there else feasible.fresh & feasible.fits
    if there:
        left &= sum(1 << s for s in range(len(world)) if feasible.index.fits(s, feasible.amounts))
    expected = {p.data_plane for p in world if rejection(p, demand, there=there) is None}
    assert set(feasible.index.names(left)) == expected


def meets(chosen: Iterable[Plane], among: Iterable[Plane], spread: Spread) -> bool:
    """Whether a set meets a spread, written from the contract's words."""
    groups = {p.labels.get(spread.topology_key, ""): 0 for p in among}
    for plane in chosen:
        groups[plane.labels.get(spread.topology_key, "")] += 1
    used = sum(n > 0 for n in groups.values())
    if spread.min_groups and used < spread.min_groups:
        return False
    if spread.max_groups and used > spread.max_groups:
        return False
    return not spread.max_skew or max(groups.values()) - min(groups.values()) <= spread.max_skew


@settings(max_examples=60, deadline=None)
@given(
    world=some_planes,
    demand=demands("a/dev", requirements.filter(lambda r: not any(s.soft for s in r.spreads))),
    there=st.lists(st.sampled_from([f"plane-{i}" for i in range(6)]), max_size=3, unique=True),
)
def test_if_a_valid_set_exists_the_best_is_found(
    world: tuple[Plane, ...], demand: Demand, there: list[str]
) -> None:
    """With tiers, capacity and limits on groups: as brute force, and none is worth more."""
    previous = Previous(data_planes=tuple(there), spreads=(Spread(topology_key="another"),))
    good = [p for p in world if rejection(p, demand, there=p.data_plane in there) is None]
    asked = demand.requirement
    pools = [good]
    if asked.tiers and not asked.overflow:
        index = Index(world)
        feasible = Feasible(index, demand)
        feasible.refresh()
        pools = [[p for p in good if p.data_plane in index.names(t)] for t in feasible.tiers]
    sets = [
        c
        for pool in pools
        for c in combinations(pool, demand.copies)
        if all(meets(c, pool, s) for s in asked.spreads)
    ]
    decision = decide(Snapshot(planes=world), demand, previous)
    assert isinstance(decision, Placed) is bool(sets)
    if isinstance(decision, Placed):

        def worth(chosen: Iterable[Plane]) -> tuple[int, ...]:
            total = NOTHING
            for plane in chosen:
                total = add(total, scores(plane, demand, there=plane.data_plane in there))
            return total

        taken = [p for p in world if p.data_plane in decision.data_planes]
        assert worth(taken) == max(worth(c) for c in sets)


@settings(max_examples=60, deadline=None)
@given(world=some_planes, cells=st.tuples(*(demands(c) for c in CELLS)), index=st.integers(0, 5))
def test_a_plane_that_goes_and_returns_moves_only_its_cells(
    world: tuple[Plane, ...], cells: tuple[Demand, ...], index: int
) -> None:
    """Cells that were placed beside it stay; after its return, whoever is placed stays, too."""
    fleet = Fleet()
    for plane in world:
        fleet.put_plane(plane)
    for cell in cells:
        fleet.put_cell(cell)
    for _ in fleet.run():
        pass
    name = f"plane-{index}"
    known = fleet.index.get(name)
    before = {c: r.data_planes for c, r in fleet.cells.items() if isinstance(r.decision, Placed)}
    fleet.drop_plane(name)
    for changed in fleet.run():
        assert name in changed.before or changed.cell not in before
    between = {c: r.data_planes for c, r in fleet.cells.items() if isinstance(r.decision, Placed)}
    if known is not None:
        fleet.put_plane(known)
        for changed in fleet.run():
            assert changed.cell not in between
    evaluated = fleet.counters.evaluated
    assert list(fleet.run()) == []
    assert fleet.counters.evaluated == evaluated


@settings(max_examples=60, deadline=None)
@given(world=some_planes, cells=st.tuples(*(demands(c) for c in CELLS)))
def test_a_restart_moves_nothing(world: tuple[Plane, ...], cells: tuple[Demand, ...]) -> None:
    """A fleet that is given its planes, Cells and decisions again decides nothing else."""
    fleet, again = Fleet(), Fleet()
    for plane in world:
        fleet.put_plane(plane)
        again.put_plane(plane)
    for cell in cells:
        fleet.put_cell(cell)
    for _ in fleet.run():
        pass
    for cell, resident in fleet.cells.items():
        again.put_cell(resident.demand)
        assert resident.decision is not None
        again.restore(cell, resident.decision, resident.spreads)
    assert list(again.run()) == []
    assert {c: r.data_planes for c, r in again.cells.items()} == {
        c: r.data_planes for c, r in fleet.cells.items()
    }


PERMITTED = {
    "GONE",
    "DRAINED",
    "EXCLUDED",
    "SELECTOR",
    "TIER",
    "TAINT",
    "CAPABILITY",
    "API",
    "TOPOLOGY",
    "NEAR",
    "APART",
    "SPREAD",
    "CAPACITY",
    "ORGANIZATION",
    "PREEMPTED",
}
"""Why a Cell may leave a data plane that nobody asked it to leave."""


@settings(max_examples=40, deadline=None)
@given(
    world=some_planes,
    cells=st.tuples(*(demands(c) for c in CELLS)),
    then=st.lists(events, max_size=6),
)
def test_nothing_moves_without_a_permitted_reason(
    world: tuple[Plane, ...], cells: tuple[Demand, ...], then: list[tuple[str, object]]
) -> None:
    """Every data plane that is left has the word of a rule; nobody leaves for what is better."""
    fleet = Fleet()
    for event in [*(("put", p) for p in world), *(("want", c) for c in cells), *then]:
        happen(fleet, event)
        for changed in fleet.run():
            left = set(changed.before) - set(changed.decision.data_planes)
            assert set(changed.causes) == left
            assert set(changed.causes.values()) <= PERMITTED, changed


@settings(max_examples=40, deadline=None)
@given(
    world=some_planes,
    cells=st.tuples(*(demands(c) for c in CELLS)),
    less=st.lists(st.integers(0, 100), min_size=6, max_size=6),
)
def test_less_capacity_than_was_thought_moves_nobody_and_is_given_to_nobody(
    world: tuple[Plane, ...], cells: tuple[Demand, ...], less: list[int]
) -> None:
    """Where measured capacity shrinks, who is there stays, and no data plane is filled further."""
    fleet = Fleet(hold=True, firm=True)
    for event in [*(("put", p) for p in world), *(("want", c) for c in cells[:2])]:
        happen(fleet, event)
    for _ in fleet.run():
        pass
    before = {c: r.data_planes for c, r in fleet.cells.items() if isinstance(r.decision, Placed)}
    for plane, percent in zip(world, less, strict=False):
        smaller = {n: amount * percent // 100 for n, amount in plane.allocatable.items()}
        fleet.put_plane(replace(plane, allocatable=smaller))
    used = [dict(u) for u in fleet.index.used]
    for cell in cells[2:]:
        happen(fleet, ("want", cell))
    for changed in fleet.run():
        assert changed.cell not in before
    for slot, plane in enumerate(fleet.index.planes):
        for name, most in plane.allocatable.items() if plane is not None else ():
            now, was = fleet.index.used[slot].get(name, 0), used[slot].get(name, 0)
            assert now <= max(most, was)

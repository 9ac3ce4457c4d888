"""What a keeper does with Cells that were only read from a store, and with moves on their way."""

from __future__ import annotations

from cellplane.cell.plane import CILIUM_POLICY
from cellplane.cell.requirement import PlacementRequirement
from cellplane.placement.scheduler.fleet import Fleet
from cellplane.placement.scheduler.keeper import Keeper
from cellplane.placement.scheduler.moves import Move, Step
from cellplane.placement.scheduler.outage import Limits
from cellplane.placement.scheduler.snapshot import ComponentDemand, Demand, Plane, PlaneState

CELL = "organizations/acme/projects/shop/cells/dev"


def plane(name: str, state: PlaneState = PlaneState.READY, cpu: int = 1000) -> Plane:
    """A data plane."""
    return Plane(
        data_plane=name,
        organization="acme",
        state=state,
        capabilities=frozenset({CILIUM_POLICY}),
        allocatable={"cpu_millis": cpu},
    )


def demand(cell: str = CELL, cpu: int = 600, **asked: object) -> Demand:
    """A Cell."""
    return Demand(
        cell=cell,
        organization="acme",
        requirement=PlacementRequirement(**asked),  # type: ignore[arg-type]
        components=(ComponentDemand(component="web", resources={"cpu_millis": cpu}),),
    )


def keeper(*planes: Plane) -> Keeper:
    """A keeper as the service has it."""
    made = Keeper(
        fleet=Fleet(hold=True, firm=True, announce=True),
        limits=Limits(lost_seconds=float("inf")),
        told=True,
    )
    for one in planes:
        made.put(one)
    return made


def test_a_cell_that_is_not_heard_of_yet_is_not_moved_and_keeps_its_room() -> None:
    """Its own patience is not known: it stays on a lost data plane until it says what it asks."""
    first = keeper(plane("a"), plane("b"))
    first.want(demand(lost_seconds=100_000))
    list(first.settle())
    before = first.fleet.cells[CELL]
    (there,) = before.data_planes
    other = "b" if there == "a" else "a"

    again = keeper(plane(there, PlaneState.LOST), plane(other))
    again.fleet.put_cell(Demand(cell=CELL, organization="acme"))
    assert before.decision is not None
    again.fleet.restore(CELL, before.decision, before.spreads, before.taken)
    assert list(again.advance(10_000)) == []
    assert list(again.rebalance(5)) == []
    again.want(demand(cell="organizations/acme/projects/new/cells/dev"))
    (changed,) = again.settle()
    assert changed.decision.data_planes == (other,)
    again.want(demand(lost_seconds=100_000))
    assert list(again.settle()) == []
    assert again.fleet.cells[CELL].data_planes == (there,)


def test_a_copy_that_goes_on_before_it_arrived_comes_from_where_it_is() -> None:
    """Its new data plane is drained, too: one move is left, from the first to the third."""
    made = keeper(plane("a"), plane("b"), plane("c"))
    made.want(demand())
    list(made.settle())
    (first,) = made.fleet.cells[CELL].data_planes
    path = [first]
    for _ in range(2):
        known = made.fleet.index.get(path[-1])
        assert known is not None
        made.put(Plane(**{**{f: getattr(known, f) for f in known.__slots__}, "drained": True}))
        list(made.settle())
        path += made.fleet.cells[CELL].data_planes
    (move,) = made.moves.of(CELL)
    assert (move.leaves, move.comes, move.reason) == (path[0], path[2], "DRAINED")
    assert len(set(path)) == 3


def test_a_move_that_cut_over_is_not_taken_back() -> None:
    """Undrained after the cut-over, the old data plane is cleared all the same."""
    made = keeper(plane("a"), plane("b"))
    made.want(demand())
    list(made.settle())
    (old,) = made.fleet.cells[CELL].data_planes
    known = made.fleet.index.get(old)
    assert known is not None
    made.put(Plane(**{**{f: getattr(known, f) for f in known.__slots__}, "drained": True}))
    list(made.settle())
    (move,) = made.moves.of(CELL)
    for _ in range(2):
        made.proceed(made.moves.of(CELL)[0])
    assert made.moves.of(CELL)[0].step is Step.CUT_OVER
    made.put(known)
    list(made.settle())
    assert made.returned() == []
    assert made.fleet.cells[CELL].data_planes == (move.comes,)
    assert old in made.fleet.cells[CELL].taken
    made.left(CELL, old)
    assert old not in made.fleet.cells[CELL].taken
    assert made.moves.of(CELL) == ()


def test_steps_end() -> None:
    """From reserved to done in four steps, each with its time."""
    move = Move(cell=CELL, leaves="a", comes="b", reason="LOST").begin(1.0)
    for now in (2.0, 3.0, 4.0, 5.0):
        move = move.proceed(now)
    assert move.over
    assert [time for _, time in move.times] == [1.0, 2.0, 3.0, 4.0, 5.0]

"""One move that makes things better: only asked for, one at a time, and never against a rule.

Better is another tier that comes first, more preference than the Cell is sticky, or, as good in
both, a plane with at least two Cells fewer; so that it ends, and nothing swings.
"""

from __future__ import annotations

from dataclasses import replace

from cellplane.placement.scheduler.decide import Decision, Placed
from cellplane.placement.scheduler.fleet import Fleet, Resident
from cellplane.placement.scheduler.index import slots_of
from cellplane.placement.scheduler.scores import cell_hash, unpacked


def better(fleet: Fleet) -> tuple[Resident, Decision, str] | None:
    """The first Cell, of the fullest planes first, that is better off elsewhere; and from where."""
    index = fleet.index
    full = sorted(
        slots_of(index.everything), key=lambda s: (-index.cell_counts[s], index.at(s).data_plane)
    )
    for slot in full:
        name = index.at(slot).data_plane
        for cell in fleet.on(name):
            resident = fleet.cells[cell]
            stays = resident.demand.stateful or resident.demand.requirement.stays
            free = not (stays or resident.restored)
            budget = resident.demand.requirement.move_budget
            if free and budget != 0 and not resident.leaving and name in resident.data_planes:
                decision = _without(fleet, resident, name)
                if decision is not None:
                    return resident, decision, name
    return None


def _without(fleet: Fleet, resident: Resident, name: str) -> Decision | None:
    previous = fleet.previous(resident)
    decision = fleet.ask(resident, replace(previous, leaving={name: "REBALANCE"}))
    if not isinstance(decision, Placed):
        return None
    comes = set(decision.data_planes) - set(previous.data_planes)
    stays = set(previous.data_planes) - {name}
    if len(comes) != 1 or not stays <= set(decision.data_planes):
        return None
    old, new = _worth(fleet, resident, name), _worth(fleet, resident, comes.pop())
    gain = new[2] - old[2]
    sticky = resident.demand.requirement.stickiness or 0
    equal = new[1:4] == old[1:4]
    if new[1] > old[1] or (new[1] == old[1] and gain > sticky) or (equal and new[4] > old[4]):
        return decision
    return None


def _worth(fleet: Fleet, resident: Resident, name: str) -> tuple[int, ...]:
    """The parts of the score, as if the Cell were there."""
    slot = fleet.index.slot(name)
    if slot is None:
        return ()
    others = fleet.index.cell_counts[slot] - (name in resident.taken)
    return unpacked(resident.feasible.worth(slot, cell_hash(resident.demand.cell), others + 1))

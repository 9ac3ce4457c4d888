"""Cells that want to be near to others, or apart from them, and who reads where they are.

Apart holds in both directions, whoever of the two says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from cellplane.placement.scheduler.index import Index
from cellplane.placement.scheduler.resident import Resident
from cellplane.placement.scheduler.snapshot import Demand, Near, Plane, bind, neighbour


class Neighbours:
    """The affinities of a fleet."""

    __slots__ = ("_cells", "_index", "_readers")

    def __init__(self, cells: Mapping[str, Resident], index: Index) -> None:
        """*cells* and *index* are the fleet's own."""
        self._cells = cells
        self._index = index
        self._readers: dict[str, set[str]] = {}
        """By Cell, those that read where it is."""

    def concerned(self, demand: Demand) -> list[str]:
        """Cells that read where this one is, or that it keeps away, sorted."""
        cell = demand.cell
        kept_away = {
            neighbour(cell, a.cell)
            for a in demand.requirement.affinities
            if a.apart and a.weight is None
        }
        return sorted((self._readers.get(cell, set()) | kept_away) - {cell})

    def bind(self, demand: Demand) -> Demand:
        """A demand with where the Cells are that it wants to be near to, or apart from."""
        where = {
            other: self._cells[other].data_planes
            for a in demand.requirement.affinities
            if (other := neighbour(demand.cell, a.cell)) in self._cells
        }
        bound = bind(demand, where, self._index.get, self._index.now)
        near = [n for n in bound.near if n.apart or n.groups or not self._mutual(demand.cell, n)]
        near += self._kept_apart(demand.cell)
        return bound if tuple(near) == bound.near else replace(bound, near=tuple(near))

    def _mutual(self, cell: str, near: Near) -> bool:
        """Whether a Cell that is nowhere yet waits for this one: then one has to go first."""
        other = self._cells.get(near.cell)
        return other is not None and any(
            neighbour(near.cell, a.cell) == cell and not a.apart
            for a in other.demand.requirement.affinities
        )

    def _kept_apart(self, cell: str) -> Iterator[Near]:
        """What Cells that have to be apart from this one ask of it."""
        for name in sorted(self._readers.get(cell, ())):
            other = self._cells[name]
            for affinity in other.demand.requirement.affinities:
                hard = affinity.apart and affinity.weight is None
                if hard and neighbour(name, affinity.cell) == cell and other.data_planes:
                    yield Near(
                        cell=name,
                        topology_key=affinity.topology_key,
                        apart=True,
                        weight=None,
                        groups=self._groups(affinity.topology_key, other.data_planes),
                    )

    def _groups(self, key: str, names: Iterable[str]) -> frozenset[str]:
        planes = (self._index.get(name) for name in names)
        found = {p.labels.get(key, "") if key else p.data_plane for p in planes if p is not None}
        return frozenset(found - {""})

    def read(self, demand: Demand, *, on: bool) -> None:
        """Note whose places a Cell reads, or does not any more."""
        for affinity in demand.requirement.affinities:
            readers = self._readers.setdefault(neighbour(demand.cell, affinity.cell), set())
            (readers.add if on else readers.discard)(demand.cell)


def regrouped(before: Plane | None, after: Plane) -> set[str]:
    """Labels with another value."""
    if before is None:
        return set()
    keys = {*before.labels, *after.labels}
    return {key for key in keys if before.labels.get(key) != after.labels.get(key)}

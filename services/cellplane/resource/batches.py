"""Reads of many by their names (AIP-231): all of them in the order asked for, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cellplane.cell.problem import Findings, Invalid, NotFound
from cellplane.resource.names import Collection, require_parent_of
from cellplane.store.database import Transaction
from cellplane.store.listing import read_all
from cellplane.store.resources import Resources, Stored

_NAMED: Final = 10


async def batch(
    tx: Transaction, resources: Resources, collection: Collection, request: Any
) -> Sequence[Stored]:
    """Read what a batch names, in its order: all of it, or ``NotFound`` that names what is not."""
    findings = Findings()
    for index, name in enumerate(request.names):
        try:
            collection.parse(name, field=f"names[{index}]")
        except Invalid as invalid:
            findings.problems.extend(invalid.problems)
    if findings.problems:
        first = findings.problems[0]
        raise Invalid(first.message, problems=findings.problems, metadata={"name": first.value})
    if collection.parent_pattern:
        collection.parse_parent(request.parent, across=True)
        require_parent_of(request.parent, request.names)
    found = await read_all(tx, resources, kind=collection.kind, names=request.names)
    missing = sorted({name for name in request.names if name not in found})
    if missing:
        more = f" (and {len(missing) - _NAMED} more)" if len(missing) > _NAMED else ""
        shown = ", ".join(missing[:_NAMED]) + more
        raise NotFound(f"{shown}: no such {collection.segment}", metadata={"name": shown})
    return [found[name] for name in request.names]

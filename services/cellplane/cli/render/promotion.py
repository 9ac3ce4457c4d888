"""A promotion for people: how it stands, who may act, and what it changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any

from cellplane.cli.render.output import table

_STYLES = {"SUCCEEDED": "green", "PASSED": "green", "OVERRIDDEN": "yellow", "PENDING": "yellow"}


def lines(promotion: Any, *, colour: bool) -> Iterator[str]:
    """The whole of it."""
    from cellplane.cli.render.output import paint

    state = promotion.State.Name(promotion.state)
    kind = promotion.Type.Name(promotion.type or 1).lower().replace("_", " ")
    word = paint(state.lower().replace("_", " "), _STYLES.get(state, "red"), on=colour)
    yield f"{kind} {last(promotion.name)} {word}"
    if promotion.state_reason:
        yield f"  {promotion.state_reason}"
    if promotion.rollback:
        yield f"  rolled back by {last(promotion.rollback)}"
    rows = list(_gates(promotion.gates))
    yield from table(("GATE", "ASKS FOR", "STATE", "WHO MAY ACT", "WHY"), rows) if rows else ()
    rows = [
        tuple(map(last, (change.component, change.previous_release, change.release)))
        for change in promotion.changes
    ]
    yield from table(("COMPONENT", "RELEASE BEFORE", "RELEASE"), rows) if rows else ()


def _gates(gates: Iterable[Any]) -> Iterator[tuple[str, ...]]:
    for gate in gates:
        why = gate.reason
        if gate.HasField("expect_time"):
            then = gate.expect_time.ToDatetime(tzinfo=UTC)
            why += f" (looked at again {then:%H:%M:%S} UTC)"
        yield (
            gate.gate,
            gate.Type.Name(gate.type).lower(),
            gate.State.Name(gate.state).lower(),
            ", ".join(gate.actors) or "-",
            why,
        )


def plan_lines(plan: Any) -> Iterator[str]:
    """What a promotion would change: settings, endpoints, ways of the network, manifests."""
    yield from lines(plan.promotion, colour=False)
    for component in plan.components:
        for word, fields in (("settings", component.settings), ("endpoints", component.endpoints)):
            if fields:
                yield f"{last(component.component)}: {word}"
            for field in fields:
                yield from field_lines(field)
    if plan.problems:
        yield "refused, because:"
        for problem in plan.problems:
            yield f"  {problem.resource}: {problem.field}: {problem.message}"
        return
    yield from _cells(plan)


def _cells(plan: Any) -> Iterator[str]:
    """What the Cells' tables and objects differ in, compiled here for a plane with Cilium."""
    from cellplane.cell.cell import ResolvedCell
    from cellplane.cell.plane import CILIUM_POLICY, DataPlaneProfile, Enforcement
    from cellplane.cli.offline import judged
    from cellplane.cli.offline.compilers import compile_cell
    from cellplane.network_policy.compiler.survey import change

    plane = DataPlaneProfile(
        data_plane="any",
        uid="any",
        organization="any",
        trust_domain="any",
        enforcement=Enforcement.ENFORCING,
        capabilities=(CILIUM_POLICY,),
    )
    before: list[ResolvedCell] = [_cell(plan.current_cell)] if plan.current_cell.cell else []
    after: list[ResolvedCell] = [_cell(plan.planned_cell)] if plan.planned_cell.cell else []
    made = change(
        judged.openings(before, plane) if before else (),
        judged.openings(after, plane) if after else (),
    )
    if made.opens or made.closes:
        yield "network"
    yield from (f"  opens   {opening}" for opening in made.opens)
    yield from (f"  closes  {opening}" for opening in made.closes)
    old = {m.key: m.content for cell in before for m in compile_cell(cell, plane, []).manifests}
    new = {m.key: m.content for cell in after for m in compile_cell(cell, plane, []).manifests}
    changed = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    if changed:
        yield "manifests"
    for key in changed:
        yield f"  {'+' if key not in old else '-' if key not in new else '~'} {key}"


def _cell(message: Any) -> Any:
    from cellplane.api.type.v1 import resolved_cell_pb2
    from cellplane.cell.cell import CellFrame, ResolvedCell, ResolvedComponent
    from cellplane.rpc.codec import Codec

    frame = Codec(CellFrame, resolved_cell_pb2.CellFrame)
    component = Codec(ResolvedComponent, resolved_cell_pb2.ResolvedComponent)
    return ResolvedCell(
        cell=message.cell,
        revision=message.revision,
        frame=frame.to_domain(message.frame),
        components=tuple(map(component.to_domain, message.components)),
    )


def field_lines(field: Any) -> Iterator[str]:
    """A field that changes, a line for each of its values."""
    from cellplane.cli.history import value_text

    for sign, which in (("-", "old_value"), ("+", "new_value")):
        if field.HasField(which):
            yield f"  {sign} {field.path}: {value_text(getattr(field, which))}"


def last(name: str) -> str:
    """The last id of a name."""
    return name.rsplit("/", 1)[-1] or "-"

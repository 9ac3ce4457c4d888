"""What placement can be asked: decisions, and what data planes get."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from cellplane.api.placement.v1 import (
    cell_revision_pb2,
    cell_revision_pb2_grpc,
    decision_pb2,
    decision_pb2_grpc,
)
from cellplane.api.type.v1 import compile_pb2
from cellplane.cell.names import CellName, is_id
from cellplane.cell.problem import Invalid, NotFound, Problem
from cellplane.placement import convert
from cellplane.placement.convert_decisions import decision_to_wire
from cellplane.placement.desired import Desired
from cellplane.placement.engine import Engine
from cellplane.placement.records import Decided
from cellplane.placement.scheduler import advice
from cellplane.placement.scheduler.decide import Unplaceable
from cellplane.placement.scheduler.keeper import Keeper
from cellplane.placement.simulation import document
from cellplane.placement.simulation.run import apply, run
from cellplane.placement.slots import Slot
from cellplane.resource.lists import page, read_query
from cellplane.rpc.pagination import Cursor, PageTokens


class DecisionService(decision_pb2_grpc.DecisionServiceServicer):
    """Says where Cells are, and why."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetDecision(  # noqa: N802 - the contract's name
        self, request: decision_pb2.GetDecisionRequest, context: Any
    ) -> decision_pb2.Decision:
        """See ``placement/v1/decision.proto``."""
        del context
        cell, _, decided = self._find(request.name)
        return decision_to_wire(cell, decided)

    async def ExplainDecision(  # noqa: N802 - the contract's name
        self, request: decision_pb2.ExplainDecisionRequest, context: Any
    ) -> decision_pb2.ExplainDecisionResponse:
        """See ``placement/v1/decision.proto``."""
        del context
        cell, organization, decided = self._find(request.name)
        fleet = self._engine.deciding.fleet(organization)
        resident = fleet.cells[cell]
        world, previous = fleet.seen(resident), fleet.previous(resident)
        answer = decided.decision.trace.summary
        if request.data_plane:
            answer = advice.why_not(world, resident.bound, previous, request.data_plane)
        return decision_pb2.ExplainDecisionResponse(
            answer=answer,
            brake=self._engine.deciding.brakes().get(organization, ""),
            blockers=[
                decision_pb2.Blocker(rule=b.rule, data_planes=b.data_planes, message=b.message)
                for b in advice.blockers(world, resident.bound, previous)
            ],
            advices=[
                decision_pb2.Advice(rule=a.rule, change_count=a.changes, message=a.message)
                for a in advice.advise(world, resident.bound, previous)
            ],
        )

    async def PlanDecisions(  # noqa: N802 - the contract's name
        self, request: decision_pb2.PlanDecisionsRequest, context: Any
    ) -> decision_pb2.PlanDecisionsResponse:
        """See ``placement/v1/decision.proto``."""
        del context
        organization = _organization(request.parent)
        return self._preview(organization, [_plain(e) for e in request.events])

    async def PlanDrain(  # noqa: N802 - the contract's name
        self, request: decision_pb2.PlanDrainRequest, context: Any
    ) -> decision_pb2.PlanDrainResponse:
        """See ``placement/v1/decision.proto``."""
        del context
        match request.name.split("/"):
            case ["organizations", organization, "dataPlanes", data_plane]:
                events = [{"event": "drain", "data_plane": data_plane}]
                plan = self._preview(organization, events)
                return decision_pb2.PlanDrainResponse(changes=plan.changes, brake=plan.brake)
            case _:
                raise _malformed("name", request.name, "organizations/*/dataPlanes/*")

    async def RebalanceDecisions(  # noqa: N802 - the contract's name
        self, request: decision_pb2.RebalanceDecisionsRequest, context: Any
    ) -> decision_pb2.RebalanceDecisionsResponse:
        """See ``placement/v1/decision.proto``."""
        del context
        organization = _organization(request.parent)
        deciding = self._engine.deciding
        real = deciding.keeper(organization)
        keeper = deciding.copy(organization) if request.validate_only else real
        before = {cell: r.data_planes for cell, r in keeper.fleet.cells.items()}
        if request.validate_only:
            list(keeper.settle())
            list(keeper.rebalance(request.move_budget))
        else:
            for change in deciding.rebalance(organization, request.move_budget):
                await deciding.commits.settled(change.cell)
        made = self._differences(organization, keeper, before)
        return decision_pb2.RebalanceDecisionsResponse(changes=made.changes, brake=made.brake)

    async def SimulatePlacement(  # noqa: N802 - the contract's name
        self, request: decision_pb2.SimulatePlacementRequest, context: Any
    ) -> decision_pb2.SimulatePlacementResponse:
        """See ``placement/v1/decision.proto``."""
        del context
        response = decision_pb2.SimulatePlacementResponse()
        for report in run(document.read(_plain(request.world))):
            response.steps.add().update(report)
        return response

    def _preview(self, organization: str, events: list[Any]) -> decision_pb2.PlanDecisionsResponse:
        keeper = self._engine.deciding.copy(organization)
        fleet = keeper.fleet
        planes = [p.data_plane for p in fleet.index.planes if p is not None]
        happening = document.read_events(events, planes)
        before = {cell: r.data_planes for cell, r in fleet.cells.items()}
        for event in happening:
            list(apply(keeper, event, organization))
        return self._differences(organization, keeper, before)

    def _differences(
        self, organization: str, keeper: Keeper, before: dict[str, tuple[str, ...]]
    ) -> decision_pb2.PlanDecisionsResponse:
        fleet = keeper.fleet
        response = decision_pb2.PlanDecisionsResponse(brake=keeper.brake)
        for cell in sorted({*before, *fleet.cells}):
            resident = fleet.cells.get(cell)
            decision = resident.decision if resident is not None else None
            now = decision.data_planes if decision is not None else ()
            reason = decision.reason if isinstance(decision, Unplaceable) else ""
            if now != before.get(cell, ()) or (reason and cell not in self._blocked(organization)):
                response.changes.add(
                    cell=cell,
                    old_data_planes=before.get(cell, ()),
                    new_data_planes=now,
                    summary=decision.trace.summary if decision is not None else "it is gone",
                    reason=reason,
                )
        return response

    def _blocked(self, organization: str) -> list[str]:
        return self._engine.deciding.fleet(organization).parked()

    def _find(self, name: str) -> tuple[str, str, Decided]:
        cell = name.removesuffix("/decision")
        parsed = CellName.parse(cell)
        if cell == name or parsed is None:
            raise _malformed("name", name, "organizations/*/projects/*/cells/*/decision")
        entry = self._engine.get(cell)
        if entry is None or entry.decided is None:
            raise NotFound(
                f"no decision on cell {cell}: it does not exist, or was just made",
                metadata={"name": name},
            )
        return cell, parsed.organization, entry.decided


class CellRevisionService(cell_revision_pb2_grpc.CellRevisionServiceServicer):
    """Shows what data planes get of Cells."""

    def __init__(self, desired: Desired, tokens: PageTokens) -> None:
        self._desired = desired
        self._tokens = tokens

    async def GetCellRevision(  # noqa: N802 - the contract's name
        self, request: cell_revision_pb2.GetCellRevisionRequest, context: Any
    ) -> cell_revision_pb2.CellRevision:
        """See ``placement/v1/cell_revision.proto``."""
        del context
        match request.name.split("/"):
            case ["organizations", _, "dataPlanes", _, "cellRevisions", namespace]:
                data_plane = request.name.rsplit("/", 2)[0]
            case _:
                pattern = "organizations/*/dataPlanes/*/cellRevisions/*"
                raise _malformed("name", request.name, pattern)
        slots = self._desired.of_plane(data_plane)
        for slot in (slots[cell] for cell in self._desired.cells_on(data_plane)):
            if slot.namespace == namespace:
                return await self._whole(slot)
        raise NotFound(
            f"cell revision {request.name} does not exist: the cell is not on that data plane",
            metadata={"name": request.name},
        )

    async def ListCellRevisions(  # noqa: N802 - the contract's name
        self, request: cell_revision_pb2.ListCellRevisionsRequest, context: Any
    ) -> cell_revision_pb2.ListCellRevisionsResponse:
        """See ``placement/v1/cell_revision.proto``."""
        del context
        match request.parent.split("/"):
            case ["organizations", organization, "dataPlanes", data_plane] if all(
                part == "-" or is_id(part) for part in (organization, data_plane)
            ):
                pass
            case _:
                raise _malformed("parent", request.parent, "organizations/*/dataPlanes/*")
        query = read_query(request, cell_revision_pb2.CellRevision.DESCRIPTOR)
        source = _Slots(self._slots(organization, data_plane))
        found, token = await page(source, request, query, self._tokens, parent=request.parent)
        return cell_revision_pb2.ListCellRevisionsResponse(
            cell_revisions=found, next_page_token=token
        )

    def _slots(self, organization: str, data_plane: str) -> Iterable[Slot]:
        for cell in filter(CellName.parse, self._desired.cells()):
            for name, slot in self._desired.of_cell(cell).items():
                parts = name.split("/")
                if organization in ("-", parts[1]) and data_plane in ("-", parts[3]):
                    yield slot

    async def _whole(self, slot: Slot) -> cell_revision_pb2.CellRevision:
        message = _head(slot)
        objects = [h.object for h in slot.bundle.objects.values()]
        contents = await self._desired.contents(o.digest for o in objects)
        objects.sort(key=lambda o: (o.part, convert.phase_to_wire(o.phase), o.key))
        message.manifests.extend(
            compile_pb2.Manifest(
                part=o.part,
                phase=convert.phase_to_wire(o.phase),
                api_version=o.key.api_version,
                kind=o.key.kind,
                namespace=o.key.namespace,
                object=o.key.object,
                content=contents.get(o.digest, b""),
                digest=o.digest,
            )
            for o in objects
        )
        return message


class _Slots:
    """Slots by the names of their revisions."""

    ordered = False
    exact = False

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._named = sorted(((_name(slot), slot) for slot in slots), key=lambda named: named[0])

    async def read(
        self, after: Cursor, limit: int
    ) -> Sequence[tuple[Cursor, cell_revision_pb2.CellRevision]]:
        """Read a stretch."""
        start = bisect_right(self._named, after[0], key=lambda named: named[0]) if after else 0
        return [((name,), _head(slot)) for name, slot in self._named[start : start + limit]]


def _name(slot: Slot) -> str:
    return f"{slot.data_plane}/cellRevisions/{slot.namespace}"


def _head(slot: Slot) -> cell_revision_pb2.CellRevision:
    seen = slot.observed
    return cell_revision_pb2.CellRevision(
        name=_name(slot),
        cell=slot.cell,
        revision=slot.bundle.revision,
        cell_revision=slot.bundle.cell_revision,
        digest=slot.digest,
        create_time=convert.stamp_of(slot.create_time),
        accepted_revision=seen.accepted_revision,
        applied_revision=seen.applied_revision,
        ready_revision=seen.ready_revision,
        problems=[convert.problem_to_wire(p) for p in slot.problems],
    )


def _malformed(field: str, value: str, pattern: str) -> Invalid:
    message = f'{field} "{value}" is not of the form {pattern}'
    problem = Problem(reason="NAME_MALFORMED", message=message, field=field, value=value)
    return Invalid(message, problems=[problem], reason="NAME_MALFORMED")


def _organization(parent: str) -> str:
    found = parent.removeprefix("organizations/")
    if found == parent or not is_id(found):
        raise _malformed("parent", parent, "organizations/*")
    return found


def _plain(struct: Struct) -> Any:
    """A struct's content, with whole numbers as such."""

    def whole(value: Any) -> Any:
        match value:
            case float() if value.is_integer():
                return int(value)
            case dict():
                return {key: whole(one) for key, one in value.items()}
            case list():
                return [whole(one) for one in value]
            case _:
                return value

    return whole(MessageToDict(struct))

"""The life of a promotion, one transaction a step: asked for, at its gates, deployed, verified.

Every step reads what holds now and decides in the same transaction, so that two processes that
believe to be the worker do no harm: the second finds the step done. Time alone never matters to
what was decided: a step that comes late comes to the same end.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa

from cellplane.api.model.v1 import gate_pb2, promotion_pb2
from cellplane.cell.problem import Conflict, FailedPrecondition, NotFound, PermissionDenied
from cellplane.model.convert import Codecs
from cellplane.model.domain.gate import Gate, Verification
from cellplane.model.domain.gates import (
    FREEZE,
    OPEN,
    SHUT,
    GateState,
    Stand,
    Verdict,
    may_decide,
)
from cellplane.model.domain.kinds import Kind, ids
from cellplane.model.promotions.facts import Facts, source_cell, target_cell, told
from cellplane.model.promotions.history import History, named
from cellplane.model.promotions.rollback import fill
from cellplane.model.promotions.step import Steps, reverse
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.model.tables import live_promotions
from cellplane.resource.standard import revision_of
from cellplane.rpc.identity import current_principal
from cellplane.store.database import Transaction

Promotion = promotion_pb2.Promotion
LIVE = frozenset({Promotion.PENDING, Promotion.RUNNING})


class Promotions:
    """Takes promotions from step to step, inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        records: Records,
        steps: Steps,
        facts: Facts,
        history: History,
    ) -> None:
        self._history = history
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self.steps = steps
        self.facts = facts

    async def draft(
        self, tx: Transaction, project: str, own_id: str, asked: Promotion
    ) -> Promotion:
        """A promotion as it was asked for, with what it changes; nothing is stored."""
        promotion = Promotion(
            name=f"{project}/promotions/{own_id or 'p-' + uuid.uuid4().hex[:12]}",
            display_name=asked.display_name,
            annotations=asked.annotations,
            source_environment=asked.source_environment,
            target_environment=asked.target_environment,
            components=sorted(asked.components),
            overrides=asked.overrides,
            comment=asked.comment,
            creator=named(current_principal()),
            type=Promotion.PROMOTION,
            state=Promotion.PENDING,
        )
        await self.steps.project(tx, project)
        await self.steps.path(tx, project, promotion)
        await self.steps.fill(tx, project, promotion)
        return promotion

    async def create(self, tx: Transaction, project: str, own_id: str, asked: Promotion) -> Record:
        """Ask for a promotion; what nothing stands in the way of is deployed at once."""
        promotion = await self.draft(tx, project, own_id, asked)
        return await self._begin(tx, promotion)

    async def roll_back(
        self, tx: Transaction, project: str, request: promotion_pb2.RollBackEnvironmentRequest
    ) -> Record:
        """Ask for a step back; raises where there is nothing to go back to."""
        own_id = request.promotion_id or "r-" + uuid.uuid4().hex[:12]
        promotion = Promotion(
            name=f"{project}/promotions/{own_id}",
            source_environment=request.environment,
            target_environment=request.environment,
            comment=request.reason,
            creator=named(current_principal()),
            type=Promotion.ROLLBACK,
            state=Promotion.PENDING,
        )
        await self.steps.project(tx, project)
        await fill(tx, self._records, self._history, promotion, request.releases)
        return await self._begin(tx, promotion)

    async def decide(
        self, tx: Transaction, name: str, etag: str, decision: gate_pb2.GateDecision
    ) -> Record:
        """Note what the caller decided at a gate; no gate is each at which they may.

        Raises:
            NotFound: there is no such promotion, or gate.
            Conflict: the etag is stale.
            PermissionDenied: the caller may not decide there.
            FailedPrecondition: the promotion waits no more.
        """
        record = await self._pending(tx, name, etag)
        promotion: Promotion = record.message
        decision.principal = named(current_principal())
        decision.decide_time.FromDatetime(self._records.clock.now())
        for gate in await self._decidable(tx, promotion, decision):
            made = promotion.decisions.add()
            made.CopyFrom(decision)
            made.gate = gate
        # What is open is gone through by the worker, which can be refused without losing this.
        await self._look(tx, promotion)
        stored = await self._records.write(tx, promotion, record.stored)
        return Record(stored=stored, message=promotion)

    async def cancel(self, tx: Transaction, name: str, etag: str, reason: str) -> Record:
        """End a promotion that waits."""
        record = await self._pending(tx, name, etag)
        who = named(current_principal())
        why = f"{who} cancelled it" + (f": {reason}" if reason else "")
        await self._end(tx, record.message, Promotion.CANCELLED, why)
        stored = await self._records.write(tx, record.message, record.stored)
        return Record(stored=stored, message=record.message)

    async def advance(self, tx: Transaction, name: str) -> datetime | None:
        """Take the step that is due, if one is; answers when the next may be, if time decides."""
        record = await self._records.get(tx, name)
        if record is None or record.message.state not in LIVE:
            await self._forget(tx, name)
            return None
        promotion: Promotion = record.message
        before = promotion.SerializeToString(deterministic=True)
        if promotion.state == Promotion.PENDING:
            following = await self._pass(tx, promotion)
        else:
            following = await self._verify(tx, promotion)
        if promotion.SerializeToString(deterministic=True) != before:
            await self._records.write(tx, promotion, record.stored)
        return following

    async def fail(self, tx: Transaction, name: str, why: str) -> None:
        """End a promotion whose step was refused."""
        record = await self._records.get(tx, name)
        if record is not None and record.message.state in LIVE:
            await self._end(tx, record.message, Promotion.FAILED, why)
            await self._records.write(tx, record.message, record.stored)

    async def _begin(self, tx: Transaction, promotion: Promotion) -> Record:
        if not promotion.changes:
            why = "there is nothing to change"
            await self._end(tx, promotion, Promotion.SUCCEEDED, why)
            stored = await self._records.write(tx, promotion, None)
            return Record(stored=stored, message=promotion)
        promotion.reconciling = True
        cells = {"source_cell": source_cell(promotion), "target_cell": target_cell(promotion)}
        await tx.execute(sa.insert(live_promotions), {"name": promotion.name} | cells)
        await self._pass(tx, promotion)
        stored = await self._records.write(tx, promotion, None)
        if promotion.state == Promotion.PENDING:
            # What would refuse it in the end refuses it now: nobody decides for nothing.
            tried = Promotion()
            tried.CopyFrom(promotion)
            async with tx.attempt():
                await self.steps.deploy(tx, tried)
        return Record(stored=stored, message=promotion)

    async def _pass(self, tx: Transaction, promotion: Promotion) -> datetime | None:
        """Go through the gates, if they are open."""
        found = await self._look(tx, promotion)
        if promotion.state != Promotion.PENDING:
            return None
        if not _is_open(found):
            return min((s.expected for s in found if s.expected is not None), default=None)
        return await self._deploy(tx, promotion)

    async def _look(self, tx: Transaction, promotion: Promotion) -> tuple[Stand, ...]:
        """Write down how it stands; one gate that is shut ends it."""
        found = await self.facts.stands(tx, promotion)
        promotion.ClearField("gates")
        promotion.gates.extend(map(told, found))
        shut = next((stand for stand in found if stand.state in SHUT), None)
        if shut is not None:
            refused = shut.state is GateState.REFUSED
            state = Promotion.REFUSED if refused else Promotion.FAILED
            await self._end(tx, promotion, state, f'gate "{shut.gate}": {shut.reason}')
        else:
            waits = (stand for stand in found if stand.state not in OPEN)
            promotion.state_reason = "; ".join(f'gate "{s.gate}": {s.reason}' for s in waits)
        return found

    async def _deploy(self, tx: Transaction, promotion: Promotion) -> datetime | None:
        verification: Verification | None = None
        if promotion.type == Promotion.PROMOTION:
            project = promotion.name.rpartition("/promotions/")[0]
            _, path = await self.steps.path(tx, project, promotion)
            verification = path.verification
        else:
            await self._supersede(tx, promotion)
        await self.steps.deploy(tx, promotion)
        now = self._records.clock.now()
        promotion.deploy_time.FromDatetime(now)
        row = (await self._repository.read_cells(tx, [target_cell(promotion)])).get(
            target_cell(promotion)
        )
        promotion.cell_revision = row.revision if row is not None else 0
        where = promotion.target_environment.rsplit("/", 1)[-1]
        if verification is None:
            await self._end(tx, promotion, Promotion.SUCCEEDED, f"{where} has its releases")
            return None
        promotion.verification.CopyFrom(self._codecs.verification.to_wire(verification))
        promotion.state = Promotion.RUNNING
        promotion.state_reason = f"{where} has its releases; they have to show that they are ready"
        return now + verification.length

    async def _verify(self, tx: Transaction, promotion: Promotion) -> datetime | None:
        """See whether the releases are as they have to be."""
        now = self._records.clock.now()
        rule = self._codecs.verification.to_domain(promotion.verification)
        over = promotion.deploy_time.ToDatetime(tzinfo=UTC) + rule.length
        seen = await self.facts.seen(tx, promotion)
        if seen.replaced:
            await self._end(tx, promotion, Promotion.FAILED, seen.replaced)
            return None
        if seen.failure:
            await self._undo(tx, promotion, seen.failure, rule)
            return None
        if seen.waiting:
            promotion.ClearField("ready_time")
            if now < over:
                promotion.state_reason = f"waits for {', '.join(seen.waiting)}"
                return over
            why = f"{', '.join(seen.waiting)} not ready in {_seconds(rule.length.total_seconds())}"
            await self._undo(tx, promotion, why, rule)
            return None
        if not promotion.HasField("ready_time"):
            promotion.ready_time.FromDatetime(now)
        soaked = promotion.ready_time.ToDatetime(tzinfo=UTC)
        if rule.soak is not None:
            soaked += rule.soak
        if soaked <= now:
            since = f"{promotion.ready_time.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"
            await self._end(tx, promotion, Promotion.SUCCEEDED, f"ready since {since}")
            return None
        if over <= now:
            why = f"not ready for long enough within {_seconds(rule.length.total_seconds())}"
            await self._undo(tx, promotion, why, rule)
            return None
        promotion.state_reason = "ready; has to stay so"
        return min(soaked, over)

    async def _undo(
        self, tx: Transaction, promotion: Promotion, why: str, rule: Verification
    ) -> None:
        """Take all of it back, unless it is to stay for people to look at."""
        if rule.keep_failed:
            await self._end(tx, promotion, Promotion.FAILED, why)
            return
        back = Promotion(
            name=f"{promotion.name.rpartition('/')[0]}/r-{uuid.uuid4().hex[:12]}",
            source_environment=promotion.target_environment,
            target_environment=promotion.target_environment,
            comment=why,
            creator=promotion.creator,
            type=Promotion.AUTOMATIC_ROLLBACK,
            state=Promotion.PENDING,
            changes=reverse(promotion.changes),
            undone_promotion=promotion.name,
        )
        promotion.rollback = back.name
        await self._end(tx, promotion, Promotion.ROLLED_BACK, why)
        await self._deploy(tx, back)
        await self._records.write(tx, back, None)

    async def _supersede(self, tx: Transaction, rollback: Promotion) -> None:
        """A step back ends what it undone_promotion, and whatever is being verified there."""
        if rollback.type != Promotion.ROLLBACK:
            return
        query = sa.select(live_promotions.c.name).where(
            live_promotions.c.target_cell == target_cell(rollback)
        )
        names = {*(await tx.execute(query)).scalars(), rollback.undone_promotion} - {
            rollback.name,
            "",
        }
        for name, record in sorted((await self._records.get_many(tx, names)).items()):
            other: Promotion = record.message
            if name != rollback.undone_promotion and other.state != Promotion.RUNNING:
                continue
            other.rollback = rollback.name
            why = f"{rollback.creator} rolled it back" + (
                f": {rollback.comment}" if rollback.comment else ""
            )
            await self._end(tx, other, Promotion.ROLLED_BACK, why)
            await self._records.write(tx, other, record.stored)

    async def _end(
        self, tx: Transaction, promotion: Promotion, state: Promotion.State.ValueType, why: str
    ) -> None:
        promotion.state = state
        promotion.state_reason = why
        promotion.reconciling = False
        promotion.end_time.FromDatetime(self._records.clock.now())
        await self._forget(tx, promotion.name)

    async def _forget(self, tx: Transaction, name: str) -> None:
        await tx.execute(sa.delete(live_promotions).where(live_promotions.c.name == name))

    async def _pending(self, tx: Transaction, name: str, etag: str) -> Record:
        record = await self._records.get(tx, name) if ids(Kind.PROMOTION, name) else None
        if record is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        if etag and revision_of(etag) != record.stored.revision:
            raise Conflict(
                f"{name} has changed since it was read: read it again, then decide",
                metadata={"name": name},
            )
        if record.message.state != Promotion.PENDING:
            now = Promotion.State.Name(record.message.state)
            raise FailedPrecondition(
                f"promotion {name.rsplit('/', 1)[-1]} is {now}, and waits for nobody any more",
                reason="PROMOTION_STATE",
                metadata={"name": name, "state": now},
            )
        return record

    async def _decidable(
        self, tx: Transaction, promotion: Promotion, decision: gate_pb2.GateDecision
    ) -> list[str]:
        """Gates that a decision of the caller is for."""
        verdict = Verdict(gate_pb2.GateDecision.Type.Name(decision.type))
        if verdict is Verdict.OVERRIDDEN:
            # Whoever has the permission may.
            return [FREEZE]
        case = await self.facts.case(tx, promotion)
        reports = verdict in (Verdict.PASSED, Verdict.FAILED)
        fitting = {
            gate.gate: gate
            for gate in case.gates
            if (gate.check is not None if reports else gate.approval is not None)
        }
        if decision.gate and decision.gate not in fitting:
            raise NotFound(
                f'promotion has no gate "{decision.gate}" where that is decided: it has '
                f"{', '.join(fitting) or 'none'}",
                reason="GATE_NOT_FOUND",
                metadata={"gate": decision.gate},
            )
        asked = [fitting[decision.gate]] if decision.gate else list(fitting.values())
        return _allowed(
            {gate: may_decide(case, gate, decision.principal, verdict) for gate in asked}, promotion
        )


def _allowed(findings: dict[Gate, str], promotion: Promotion) -> list[str]:
    """Gates without a finding; raises the findings where there is none."""
    found = [gate.gate for gate, why in findings.items() if not why]
    if found:
        return found
    name = promotion.name
    if not findings:
        raise FailedPrecondition(
            f"promotion {name.rsplit('/', 1)[-1]} has no gate where that is decided: it waits for "
            f"{promotion.state_reason or 'nothing'}",
            reason="GATE_NOT_FOUND",
            metadata={"name": name},
        )
    raise PermissionDenied(
        "; ".join(findings.values()), reason="NOT_AN_APPROVER", metadata={"name": name}
    )


def _is_open(found: tuple[Stand, ...]) -> bool:
    return all(stand.state in OPEN for stand in found)


def _seconds(length: float) -> str:
    return f"{length:g} s"

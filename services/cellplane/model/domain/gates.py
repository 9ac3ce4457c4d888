"""How a promotion stands at its gates: a value of what was asked, decided and observed, and when.

A gate that is added meanwhile holds as well, for the pipeline counts as it is now. What was decided
stays with the promotion; a decision at a gate that is gone means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import Enum
from typing import Final

from cellplane.model.domain.freeze import frozen
from cellplane.model.domain.gate import ApprovalGate, CheckGate, FreezeWindow, Gate, HealthGate
from cellplane.model.domain.resources import DeploymentPipeline, PromotionPath

FREEZE: Final = "freeze"
TURN: Final = "turn"
OVERRIDE: Final = "permission promotions.overrideFreeze"
REPORT: Final = "permission promotions.reportCheck"


class GateType(Enum):
    """What a gate asks for; the values are those of the contract."""

    APPROVAL = "APPROVAL"
    HEALTH = "HEALTH"
    CHECK = "CHECK"
    FREEZE = "FREEZE"
    TURN = "TURN"


class GateState(Enum):
    """How a promotion stands at one; the values are those of the contract."""

    PENDING = "PENDING"
    PASSED = "PASSED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    OVERRIDDEN = "OVERRIDDEN"


OPEN: Final = frozenset({GateState.PASSED, GateState.OVERRIDDEN})
SHUT: Final = frozenset({GateState.REFUSED, GateState.FAILED})


class Verdict(Enum):
    """What somebody decided; the values are those of the contract."""

    APPROVED = "APPROVED"
    REFUSED = "REFUSED"
    PASSED = "PASSED"
    FAILED = "FAILED"
    OVERRIDDEN = "OVERRIDDEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision, or a report."""

    gate: str
    verdict: Verdict
    principal: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How a promotion stands at one gate."""

    gate: str
    type: GateType
    state: GateState
    reason: str = ""
    actors: tuple[str, ...] = ()
    """Who may act now."""
    expected: datetime | None = None
    """When it may change by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A release in the environment that it comes from."""

    component: str
    release: str
    """That is to be promoted."""
    deployed: str
    """That is there now; empty for none."""
    ready_since: datetime | None = None
    """Since when it is ready there without a break."""
    failure: str = ""
    """Why it cannot become ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that a promotion's stand follows from."""

    requester: str
    asked: datetime
    environment: str
    """Where its releases come from."""
    gates: Sequence[Gate]
    roles: Mapping[str, Sequence[str]]
    decisions: Sequence[Decided]
    sources: Sequence[Source]
    freezes: Sequence[FreezeWindow]
    """Of the target."""
    ahead: str = ""
    """The promotion that is being verified in the target."""


def gates_of(path: PromotionPath, target: str) -> tuple[Gate, ...]:
    """The gates on the way to one of a path's targets."""
    return tuple(
        g for g in path.gates if not g.target_environments or target in g.target_environments
    )


def path_between(pipeline: DeploymentPipeline, source: str, target: str) -> PromotionPath | None:
    """The path that leads from one environment to another."""
    return next(
        (
            path
            for path in pipeline.promotion_paths
            if path.source_environment == source and target in path.target_environments
        ),
        None,
    )


def doors(pipeline: DeploymentPipeline, environment: str) -> tuple[str, ...]:
    """Environments from which a guarded path leads to *environment*; none where it is unguarded."""
    return tuple(
        path.source_environment
        for path in pipeline.promotion_paths
        if environment in path.target_environments
        and (gates_of(path, environment) or path.verification is not None)
    )


def stands(case: Case, now: datetime, zone: Callable[[str], tzinfo]) -> tuple[Stand, ...]:
    """How a promotion stands at each gate: the pipeline's, the freeze, and its turn."""
    found = [_stand(case, gate, now) for gate in case.gates]
    if case.freezes:
        found.append(_freeze(case, now, zone))
    if case.ahead:
        found.append(
            Stand(
                gate=TURN,
                type=GateType.TURN,
                state=GateState.PENDING,
                reason=f'promotion "{case.ahead}" is being verified there: wait until it has ended',
            )
        )
    return tuple(found)


def _stand(case: Case, gate: Gate, now: datetime) -> Stand:
    if gate.approval is not None:
        return _approval(case, gate.gate, gate.approval)
    if gate.health is not None:
        return _health(case, gate.gate, gate.health, now)
    if gate.check is not None:
        return _check(case, gate.gate, gate.check, now)
    raise ValueError(f'gate "{gate.gate}" asks for nothing')


def _of(case: Case, gate: str, *verdicts: Verdict) -> list[Decided]:
    return [d for d in case.decisions if d.gate == gate and d.verdict in verdicts]


def may_decide(case: Case, gate: Gate, principal: str, verdict: Verdict) -> str:
    """What keeps somebody from a decision at a gate, with the way out; empty if nothing does."""
    rule = gate.approval or gate.check
    if rule is None:
        return f'nobody decides at gate "{gate.gate}": it asks for health'
    if rule.role:
        members = case.roles.get(rule.role, ())
        # Who asked may always take it back.
        withdraws = verdict is Verdict.REFUSED and principal == case.requester
        if principal not in members and not withdraws:
            return (
                f'gate "{gate.gate}" is for role "{rule.role}", and {principal} is not one of its '
                f"members: ask {_any_of(members)}"
            )
    if verdict is Verdict.APPROVED and gate.approval is not None:
        if principal == case.requester and not gate.approval.allow_requester:
            others = [m for m in case.roles.get(rule.role, ()) if m != principal]
            return f"{principal} asked for it and cannot approve it: ask {_any_of(others)}"
        if any(d.principal == principal for d in _of(case, gate.gate, Verdict.APPROVED)):
            return f'{principal} has approved at gate "{gate.gate}" already'
    return ""


def _approval(case: Case, gate: str, rule: ApprovalGate) -> Stand:
    members = case.roles.get(rule.role, ())
    for refusal in _of(case, gate, Verdict.REFUSED):
        return Stand(
            gate=gate,
            type=GateType.APPROVAL,
            state=GateState.REFUSED,
            reason=f"{refusal.principal} refused{_because(refusal.reason)}",
        )
    # Who is no member any more has not approved.
    by = dict.fromkeys(
        d.principal
        for d in _of(case, gate, Verdict.APPROVED)
        if d.principal in members and (rule.allow_requester or d.principal != case.requester)
    )
    needed = rule.approvals or 1
    if len(by) >= needed:
        reason = f"approved by {', '.join(by)}"
        return Stand(gate=gate, type=GateType.APPROVAL, state=GateState.PASSED, reason=reason)
    left = tuple(
        m for m in members if m not in by and (rule.allow_requester or m != case.requester)
    )
    return Stand(
        gate=gate,
        type=GateType.APPROVAL,
        state=GateState.PENDING,
        reason=f'{len(by)} of {needed} approvals of role "{rule.role}"',
        actors=left,
    )


def _health(case: Case, gate: str, rule: HealthGate, now: datetime) -> Stand:
    def stand(state: GateState, reason: str, expected: datetime | None = None) -> Stand:
        return Stand(gate=gate, type=GateType.HEALTH, state=state, reason=reason, expected=expected)

    where = _id(case.environment)
    soak = rule.soak or timedelta()
    for source in case.sources:
        name = _id(source.component)
        if source.deployed != source.release:
            has = (
                f"has release {_id(source.deployed)} of {name} now"
                if source.deployed
                else (f"does not have {name} any more")
            )
            return stand(
                GateState.FAILED,
                f"{where} {has}, not {_id(source.release)}: promote what is there",
            )
        if source.failure:
            return stand(GateState.FAILED, f"{name} failed in {where}: {source.failure}")
    waiting = [_id(s.component) for s in case.sources if s.ready_since is None]
    limit = case.asked + rule.timeout if rule.timeout is not None else None
    since = max((s.ready_since for s in case.sources if s.ready_since), default=now)
    done = since + soak
    if not waiting and done <= now:
        return stand(GateState.PASSED, f"ready in {where} since {since:%Y-%m-%d %H:%M:%S} UTC")
    if limit is not None and limit <= now:
        what = f"{', '.join(waiting)} not ready" if waiting else "not ready for long enough"
        return stand(GateState.FAILED, f"{what} in {where} until the gate's timeout")
    if waiting:
        return stand(GateState.PENDING, f"waits for {', '.join(waiting)} in {where}", limit)
    until = done if limit is None else min(done, limit)
    return stand(GateState.PENDING, f"has to be ready in {where} for {_seconds(soak)}", until)


def _check(case: Case, gate: str, rule: CheckGate, now: datetime) -> Stand:
    def stand(
        state: GateState,
        reason: str,
        actors: Iterable[str] = (),
        expected: datetime | None = None,
    ) -> Stand:
        return Stand(
            gate=gate,
            type=GateType.CHECK,
            state=state,
            reason=reason,
            actors=tuple(actors),
            expected=expected,
        )

    for report in _of(case, gate, Verdict.FAILED):
        return stand(
            GateState.FAILED, f"{report.principal} reported a failure{_because(report.reason)}"
        )
    for report in _of(case, gate, Verdict.PASSED):
        return stand(GateState.PASSED, f"{report.principal} reported{_because(report.reason)}")
    limit = case.asked + rule.timeout if rule.timeout is not None else None
    if limit is not None and limit <= now:
        return stand(GateState.FAILED, "nothing was reported until the gate's timeout")
    actors = case.roles.get(rule.role, ()) if rule.role else (REPORT,)
    what = rule.description or "the check"
    return stand(GateState.PENDING, f"waits for a report of {what}", actors, limit)


def _freeze(case: Case, now: datetime, zone: Callable[[str], tzinfo]) -> Stand:
    held = frozen(case.freezes, now, zone)
    if held is None:
        return Stand(gate=FREEZE, type=GateType.FREEZE, state=GateState.PASSED, reason="not frozen")
    for override in _of(case, FREEZE, Verdict.OVERRIDDEN):
        return Stand(
            gate=FREEZE,
            type=GateType.FREEZE,
            state=GateState.OVERRIDDEN,
            reason=f"{override.principal} let it through{_because(override.reason)}",
        )
    return Stand(
        gate=FREEZE,
        type=GateType.FREEZE,
        state=GateState.PENDING,
        reason=held.message,
        actors=(OVERRIDE,),
        expected=held.until,
    )


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _any_of(members: Sequence[str]) -> str:
    return " or ".join(members) or "nobody: the role has no other member"


def _id(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():g} s"

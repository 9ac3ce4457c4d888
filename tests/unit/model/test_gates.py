"""Gates and freezes as values: what stands open when, and what can be wrong with them."""

from __future__ import annotations

import zoneinfo
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cellplane.cell.problem import Findings, Problem
from cellplane.model.domain.freeze import frozen
from cellplane.model.domain.gate import (
    ApprovalGate,
    CheckGate,
    FreezeRange,
    FreezeSchedule,
    FreezeWindow,
    Gate,
    HealthGate,
    PipelineRole,
    Verification,
)
from cellplane.model.domain.gates import (
    Case,
    Decided,
    GateState,
    Source,
    Verdict,
    doors,
    may_decide,
    stands,
)
from cellplane.model.domain.resources import DeploymentPipeline, PromotionPath
from cellplane.model.domain.schedule import times_of
from cellplane.model.domain.validate_gates import check_freezes, check_gates

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
CART = "organizations/acme/projects/shop/components/cart"
WEEKENDS = FreezeWindow(
    window="weekends",
    schedule=FreezeSchedule(
        cron="0 16 * * fri", duration=timedelta(hours=64), time_zone="Europe/Berlin"
    ),
)
CASE = Case(
    requester="users/eve",
    asked=NOW,
    environment="organizations/acme/environments/staging",
    gates=(),
    roles={"managers": ("users/ann", "users/bob", "users/eve")},
    decisions=(),
    sources=(),
    freezes=(),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-27T15:59:59+01:00", None),
        ("2026-11-27T16:00:00+01:00", "2026-11-30T08:00:00+01:00"),
        ("2026-11-30T07:59:59+01:00", "2026-11-30T08:00:00+01:00"),
        ("2026-11-30T08:00:00+01:00", None),
        # By the clock of the place, in summer as in winter: 64 hours are 64 hours.
        ("2026-06-05T15:59:00+02:00", None),
        ("2026-06-05T16:00:00+02:00", "2026-06-08T08:00:00+02:00"),
        # Clocks go back in this night.
        ("2026-10-23T16:00:00+02:00", "2026-10-26T07:00:00+01:00"),
    ],
)
def test_a_schedule_follows_the_clock_of_its_place(moment: str, until: str | None) -> None:
    """It begins at that time of day there, and lasts as long as it says."""
    found = frozen([WEEKENDS], at(moment), ZoneInfo)

    assert (found.until if found else None) == (at(until) if until else None)


def test_windows_that_follow_each_other_are_one_freeze() -> None:
    """The end is that of the last of them; a range without an end has none."""
    sale = FreezeWindow(
        window="sale",
        reason="the sale",
        range=FreezeRange(
            start_time=at("2026-11-30T07:00:00+01:00"), end_time=at("2026-12-02T00:00:00+01:00")
        ),
    )
    open_end = FreezeWindow(window="end", range=FreezeRange(start_time=NOW))
    friday = at("2026-11-27T17:00:00+01:00")
    both, forever = (frozen([WEEKENDS, w], friday, ZoneInfo) for w in (sale, open_end))

    assert both is not None
    assert forever is not None
    assert (both.window.window, both.until) == ("weekends", at("2026-12-02T00:00:00+01:00"))
    assert forever.until is None
    assert forever.message.endswith("holds until it is removed")


@pytest.mark.parametrize(
    ("cron", "minutes", "hours", "weekdays"),
    [
        ("*/20 8-10 * * mon-wed", (0, 20, 40), (8, 9, 10), {1, 2, 3}),
        ("5 1,2 * * 0", (5,), (1, 2), {0}),
        ("50/5 * * * *", (50, 55), tuple(range(24)), set(range(7))),
        ("@daily", (0,), (0,), set(range(7))),
    ],
)
def test_schedules_are_written_out(
    cron: str, minutes: tuple[int, ...], hours: tuple[int, ...], weekdays: set[int]
) -> None:
    """Ranges, steps, names and shorthands mean what they mean to Kubernetes."""
    found = times_of(cron)

    assert (found.minutes, found.hours, found.weekdays) == (minutes, hours, weekdays)


def test_a_day_and_a_weekday_are_either() -> None:
    """Where both are said one of them is enough, as cron has it."""
    either = times_of("0 0 13 * fri")
    friday, thirteenth, neither = (datetime(2026, 11, day, tzinfo=UTC) for day in (27, 13, 16))

    assert [either.on(d.date()) for d in (friday, thirteenth, neither)] == [True, True, False]


def test_who_left_the_role_has_not_approved() -> None:
    """Approvals count by who is a member now, and never of who asked."""
    gate = Gate(gate="managers", approval=ApprovalGate(role="managers", approvals=2))
    decisions = [
        Decided(gate="managers", verdict=Verdict.APPROVED, principal=who)
        for who in ("users/ann", "users/bob", "users/eve")
    ]
    case = replace(CASE, gates=(gate,), decisions=decisions)
    smaller = replace(case, roles={"managers": ("users/ann", "users/eve")})

    assert stands(case, NOW, ZoneInfo)[0].state is GateState.PASSED
    assert stands(smaller, NOW, ZoneInfo)[0].state is GateState.PENDING
    assert may_decide(CASE, gate, "users/eve", Verdict.APPROVED).startswith("users/eve asked")
    assert may_decide(CASE, gate, "users/eve", Verdict.REFUSED) == ""
    assert "users/ann or users/bob" in may_decide(CASE, gate, "users/zoe", Verdict.APPROVED)


def test_a_soak_is_over_when_the_last_release_had_it() -> None:
    """It is counted for the release that was ready last, and known when it ends."""
    gate = Gate(gate="soak", health=HealthGate(soak=timedelta(hours=1), timeout=timedelta(hours=3)))
    source = Source(component=CART, release="r", deployed="r", ready_since=NOW)
    later = replace(source, ready_since=NOW + timedelta(minutes=10))
    case = replace(CASE, gates=(gate,), sources=(source, later))
    [waiting] = stands(case, NOW + timedelta(hours=1), ZoneInfo)
    [passed] = stands(case, NOW + timedelta(hours=1, minutes=10), ZoneInfo)
    unready = replace(case, sources=(replace(source, ready_since=None),))
    [late] = stands(unready, NOW + timedelta(hours=3), ZoneInfo)

    assert (waiting.state, waiting.expected) == (
        GateState.PENDING,
        NOW + timedelta(hours=1, minutes=10),
    )
    assert passed.state is GateState.PASSED
    assert (late.state, late.reason) == (
        GateState.FAILED,
        "cart not ready in staging until the gate's timeout",
    )


def test_a_guarded_path_closes_its_targets() -> None:
    """A gate closes those that it names, a verification all of the path's."""
    path = PromotionPath(
        source_environment="a",
        target_environments=("b", "c"),
        gates=(Gate(gate="g", target_environments=("c",), check=CheckGate()),),
    )
    pipeline = DeploymentPipeline(name="p", promotion_paths=(path,))
    verified = replace(path, gates=(), verification=Verification())
    whole = DeploymentPipeline(name="p", promotion_paths=(verified,))

    assert [doors(pipeline, e) for e in ("a", "b", "c")] == [(), (), ("a",)]
    assert [doors(whole, e) for e in ("a", "b", "c")] == [(), ("a",), ("a",)]


def reasons(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(p.field, p.reason) for p in problems]


def test_every_finding_of_a_pipelines_gates_is_told() -> None:
    """Roles that are missing, ids that are taken, times that cannot be kept."""
    path = PromotionPath(
        source_environment="a",
        target_environments=("b",),
        gates=(
            Gate(gate="x", approval=ApprovalGate(role="none")),
            Gate(gate="x", target_environments=("z",), check=CheckGate(role="gone")),
            Gate(
                gate="freeze",
                health=HealthGate(soak=timedelta(hours=2), timeout=timedelta(hours=1)),
            ),
        ),
        verification=Verification(soak=timedelta(hours=2), window=timedelta(hours=1)),
    )
    nowhere = PromotionPath(source_environment="b", verification=Verification())
    role = PipelineRole(role="r", members=("users/ann",))
    findings = Findings()
    pipeline = DeploymentPipeline(name="p", promotion_paths=(path, nowhere), roles=(role, role))
    check_gates(pipeline, findings)

    assert reasons(findings.problems) == [
        ("roles[1].role", "NAME_DUPLICATE"),
        ("promotion_paths[0].gates[0].approval.role", "REFERENCE_NOT_FOUND"),
        ("promotion_paths[0].gates[1].gate", "NAME_DUPLICATE"),
        ("promotion_paths[0].gates[1].target_environments[0]", "REFERENCE_NOT_FOUND"),
        ("promotion_paths[0].gates[1].check.role", "REFERENCE_NOT_FOUND"),
        ("promotion_paths[0].gates[2].gate", "NAME_RESERVED"),
        ("promotion_paths[0].gates[2].health.timeout", "LIMITS_CROSS"),
        ("promotion_paths[0].verification.window", "LIMITS_CROSS"),
        ("promotion_paths[1].target_environments", "FIELD_REQUIRED"),
    ]


def test_every_finding_of_a_freeze_is_told() -> None:
    """A schedule that is none, a zone that nobody knows, an end before its beginning."""
    wrong = FreezeSchedule(cron="0 25 * * *", duration=timedelta(hours=1), time_zone="Mars/One")
    backwards = FreezeRange(start_time=NOW, end_time=NOW)
    findings = Findings()
    check_freezes(
        [FreezeWindow(window="a", schedule=wrong), FreezeWindow(window="a", range=backwards)],
        zoneinfo.available_timezones(),
        findings,
    )

    assert reasons(findings.problems) == [
        ("freeze_windows[1].window", "NAME_DUPLICATE"),
        ("freeze_windows[0].schedule.cron", "SCHEDULE_INVALID"),
        ("freeze_windows[0].schedule.time_zone", "TIME_ZONE_UNKNOWN"),
        ("freeze_windows[1].range.end_time", "LIMITS_CROSS"),
    ]

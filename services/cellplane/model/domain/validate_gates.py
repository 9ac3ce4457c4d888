"""What can be wrong with gates, verifications and freezes in themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta

from cellplane.cell.problem import Findings
from cellplane.model.domain.gate import FreezeWindow, Gate
from cellplane.model.domain.gates import FREEZE, TURN
from cellplane.model.domain.resources import DeploymentPipeline, PromotionPath
from cellplane.model.domain.schedule import problem_of


def check_gates(pipeline: DeploymentPipeline, findings: Findings) -> None:
    """Find everything that is wrong with a pipeline's gates and roles."""
    roles = {role.role for role in pipeline.roles}
    _check_unique([role.role for role in pipeline.roles], "role", findings.at("roles"))
    seen: set[str] = set()
    for index, path in enumerate(pipeline.promotion_paths):
        at = findings.at("promotion_paths").at(index)
        for number, gate in enumerate(path.gates):
            _check_gate(gate, path, roles, seen, at.at("gates").at(number))
        if (path.gates or path.verification is not None) and not path.target_environments:
            at.at("target_environments").add(
                "FIELD_REQUIRED", "the path has gates, but leads nowhere: name its targets"
            )
        verification = path.verification
        if verification is not None and (verification.soak or timedelta()) > verification.length:
            at.at("verification").at("window").add(
                "LIMITS_CROSS",
                "the window is shorter than the soak, so that nothing can pass: make it longer",
            )


def _check_gate(
    gate: Gate, path: PromotionPath, roles: Collection[str], seen: set[str], at: Findings
) -> None:
    if gate.gate in seen:
        at.at("gate").add(
            "NAME_DUPLICATE", f'"{gate.gate}" is there twice: keep one', value=gate.gate
        )
    seen.add(gate.gate)
    if gate.gate in (FREEZE, TURN):
        at.at("gate").add(
            "NAME_RESERVED",
            f'"{gate.gate}" is what every environment has: choose another id',
            value=gate.gate,
        )
    for index, target in enumerate(gate.target_environments):
        if target not in path.target_environments:
            at.at("target_environments").at(index).add(
                "REFERENCE_NOT_FOUND",
                f'"{target}" is no target of this path: it leads to '
                f"{', '.join(path.target_environments) or 'nowhere'}",
                value=target,
            )
    for step, rule in (("approval", gate.approval), ("check", gate.check)):
        if rule is not None and rule.role and rule.role not in roles:
            at.at(step).at("role").add(
                "REFERENCE_NOT_FOUND",
                f'the pipeline has no role "{rule.role}": it has '
                f"{', '.join(sorted(roles)) or 'none'}",
                value=rule.role,
            )
    health = gate.health
    if health and health.timeout and (health.soak or timedelta()) > health.timeout:
        at.at("health").at("timeout").add(
            "LIMITS_CROSS",
            "the timeout is shorter than the soak, so that nothing can pass: make it longer",
        )


def check_freezes(
    windows: Iterable[FreezeWindow], zones: Collection[str], findings: Findings
) -> None:
    """Find everything that is wrong with an environment's freezes."""
    at = findings.at("freeze_windows")
    _check_unique([window.window for window in windows], "window", at)
    for index, window in enumerate(windows):
        here = at.at(index)
        span = window.range
        bounds = (span.start_time, span.end_time) if span is not None else (None, None)
        if bounds[0] and bounds[1] and bounds[1] <= bounds[0]:
            here.at("range").at("end_time").add(
                "LIMITS_CROSS", "is not after start_time: a window has a length"
            )
        schedule = window.schedule
        if schedule is None:
            continue
        wrong = problem_of(schedule.cron)
        if wrong:
            here.at("schedule").at("cron").add(
                "SCHEDULE_INVALID", f'schedule "{schedule.cron}" {wrong}', value=schedule.cron
            )
        if schedule.time_zone and schedule.time_zone not in zones:
            here.at("schedule").at("time_zone").add(
                "TIME_ZONE_UNKNOWN",
                f'"{schedule.time_zone}" is no IANA time zone: write one such as Europe/Berlin',
                value=schedule.time_zone,
            )


def _check_unique(values: Iterable[str], step: str, at: Findings) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            at.at(index).at(step).add(
                "NAME_DUPLICATE", f'"{value}" is there twice: keep one', value=value
            )
        seen.add(value)

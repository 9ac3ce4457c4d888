"""What is wrong with a data plane as it is written: all findings at once. Pure."""

from __future__ import annotations

import re

from cellplane.cell.problem import Findings, Invalid
from cellplane.placement.records import DataPlane

_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")


def check_data_plane(plane: DataPlane) -> None:
    """Return when it can be stored; raise ``Invalid`` with every finding.

    Keys and values follow Kubernetes' rules for labels, as they end up beside its own.
    """
    findings = Findings()
    for key, value in sorted(plane.labels.items()):
        at = findings.at(f'labels["{key}"]')
        if _KEY.fullmatch(key) is None:
            at.add(
                "LABEL_KEY_INVALID", f'label key "{key}" is not one: use "name" or "domain/name"'
            )
        if _VALUE.fullmatch(value) is None:
            at.add(
                "LABEL_VALUE_INVALID",
                f'"{value}" is no label value: use up to 63 letters, digits, ".", "_" and "-"',
                value=value,
            )
    seen: set[tuple[str, str, str]] = set()
    for index, taint in enumerate(plane.taints):
        at = findings.at("taints").at(index)
        if _KEY.fullmatch(taint.key) is None:
            at.at("key").add("TAINT_KEY_INVALID", f'"{taint.key}" is no key of a taint')
        identity = (taint.key, taint.value, taint.effect.value)
        if identity in seen:
            at.add("TAINT_REPEATED", f"taint {taint} is written twice: leave one")
        seen.add(identity)
    if plane.westbound_host and _HOST.fullmatch(plane.westbound_host) is None:
        findings.at("westbound_host").add(
            "HOST_INVALID",
            f'"{plane.westbound_host}" is neither a host name nor an address',
            value=plane.westbound_host,
        )
    if plane.westbound_port and not plane.westbound_host:
        findings.at("westbound_port").add(
            "HOST_MISSING", "a westbound port leads nowhere without westbound_host: set both"
        )
    if findings.problems:
        raise Invalid(f"data plane {plane.name} is invalid", problems=findings.problems)

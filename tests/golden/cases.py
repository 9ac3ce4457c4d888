"""Golden cases: a folder with ``in.yaml`` and what a compiler makes of it, found by globbing.

``in.yaml`` says what differs from a small Cell on a plane that can do everything. It is read into
the domain's types by field name, so a word that no type knows fails.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cellplane.cell.cell import CellFrame, ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Compiled, Manifest
from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem, Severity
from cellplane.runtime.config import parse_duration

EVERYTHING = (
    "cert-manager",
    "gateway",
    "gateway.envoy",
    "networkpolicy.cilium",
    "networkpolicy.kubernetes",
)


@dataclass(frozen=True)
class Case:
    """What a compiler is asked."""

    cell: ResolvedCell
    plane: DataPlaneProfile
    peers: Peers
    include_frame: bool


def folders(root: Path) -> list[Path]:
    """All cases below *root*."""
    return sorted(path.parent for path in root.glob("cases/*/in.yaml"))


def decode(kind: Any, value: Any) -> Any:
    """Read plain YAML into *kind*; fails on a field that it does not have."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        return None if value is None else decode(members[0], value)
    if origin is tuple:
        return tuple(decode(typing.get_args(kind)[0], item) for item in value)
    if origin in (Mapping, dict):
        return dict(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is timedelta:
        return parse_duration(value)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        hints = typing.get_type_hints(kind)
        unknown = set(value) - set(hints)
        assert not unknown, f"{kind.__name__} has no {sorted(unknown)}"
        return kind(**{name: decode(hints[name], item) for name, item in value.items()})
    assert isinstance(value, kind), f"{value!r} is not {kind}"
    return value


def case_of(data: Mapping[str, Any]) -> Case:
    """Make a case of what it says, and of defaults for what it does not."""
    known = {"cell", "frame", "components", "plane", "peers", "include_frame"}
    assert set(data) <= known, sorted(set(data) - known)
    name = CellName.parse(data.get("cell", "organizations/acme/projects/shop/cells/dev"))
    assert name is not None
    frame = {
        "organization": name.organization,
        "project": name.project,
        "environment": name.environment,
        "namespace": name.namespace,
        "public_domain": f"{name.environment}.{name.organization}.example.com",
        "organization_domain": f"{name.environment}.{name.organization}.internal",
    }
    plane = {
        "data_plane": "plane-a",
        "uid": "6f1c",
        "organization": name.organization,
        "trust_domain": "cellplane.local",
        "enforcement": "ENFORCING",
        "capabilities": list(EVERYTHING),
    }
    return Case(
        cell=ResolvedCell(
            cell=str(name),
            revision=1,
            frame=decode(CellFrame, frame | dict(data.get("frame", {}))),
            components=tuple(
                decode(ResolvedComponent, _component(item)) for item in data.get("components", ())
            ),
        ),
        plane=decode(DataPlaneProfile, plane | dict(data.get("plane", {}))),
        peers=decode(Peers, data.get("peers", {})),
        include_frame=data.get("include_frame", True),
    )


def _component(item: Mapping[str, Any]) -> dict[str, Any]:
    component = {"release": "r-0123456789", "kind": "SERVICE", **item}
    component["workload"] = {"image": "registry.example/app:1", **item.get("workload", {})}
    return component


def load(path: Path) -> Any:
    """Read one YAML file."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def dump(data: Any) -> str:
    """Write plain data as YAML for people: block style, keys sorted."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 100
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def bodies(manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """The objects of manifests, parsed."""
    return [json.loads(m.content) for m in manifests]


def picture(compiled: Compiled) -> dict[str, Any]:
    """A compiler's answer as plain data."""
    return {
        "manifests": [
            {"part": m.part, "phase": m.phase.value, "object": json.loads(m.content)}
            for m in compiled.manifests
        ],
        "problems": [_problem(p) for p in compiled.problems],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    told = {
        "reason": problem.reason,
        "message": problem.message,
        "field": problem.field,
        "resource": problem.resource,
    }
    if problem.severity is not Severity.ERROR:
        told["severity"] = problem.severity.value
    return told


def check(expected: Path, data: Any, *, update: bool) -> None:
    """Compare *data* with the file, or write the file."""
    text = dump(data)
    if update:
        expected.write_text(text, encoding="utf-8")
    assert expected.exists(), f"{expected.name} is missing: run with --update-golden, and read it"
    assert load(expected) == YAML(typ="safe").load(text)

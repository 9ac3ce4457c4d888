"""A data plane as a file describes it: the fields of ``DataPlaneProfile``."""

from __future__ import annotations

from pathlib import Path

from cellplane.api.type.v1 import compile_pb2
from cellplane.cell.plane import DataPlaneProfile
from cellplane.cli.documents import check, nodes
from cellplane.cli.documents.decode import Reader
from cellplane.cli.documents.load import contents, refuse
from cellplane.cli.documents.nodes import Broken, Mapping
from cellplane.cli.documents.places import Finding, Place, Places
from cellplane.cli.offline.cells import to_domain


def load(file: Path) -> DataPlaneProfile:
    """Read a data plane; ends the command with all findings."""
    name = str(file)
    message = compile_pb2.DataPlaneProfile()
    findings: list[Finding] = []
    try:
        found = list(nodes.parse(contents(name, file), name))
    except Broken as broken:
        raise refuse([broken.finding]) from broken
    if len(found) != 1 or not isinstance(found[0], Mapping):
        text = f"has {len(found)} documents: describe one data plane, by its fields"
        raise refuse([Finding(place=Place(name), message=text)])
    places = Places(start=found[0].place)
    reader = Reader(organization="", places=places, findings=findings)
    reader.read(found[0], message)
    for field in ("data_plane", "uid", "organization", "trust_domain", "enforcement"):
        if not getattr(message, field) and field not in {f.field for f in findings}:
            findings.append(Finding(place=found[0].place, field=field, message="is missing"))
    findings += check.violations(message, places, {f.field for f in findings})
    if findings:
        raise refuse(findings)
    profile = to_domain(DataPlaneProfile, message)
    # The contract says sorted, and compilers may trust it.
    return _sorted(profile)


def _sorted(profile: DataPlaneProfile) -> DataPlaneProfile:
    from dataclasses import replace

    return replace(profile, capabilities=tuple(sorted(set(profile.capabilities))))

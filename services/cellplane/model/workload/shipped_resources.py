"""The types of managed resources that come with cellplane: files of this package.

They are written in the language that all types have, and an organization's own type of the same id
takes their place.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final

from cellplane.cell.definition import ResourceTemplate
from cellplane.cell.protocol import Protocol
from cellplane.model.domain.resources import ResourceEndpoint, ResourceType

_FOLDER: Final = "resource_types"


@functools.cache
def shipped_resources() -> Mapping[str, ResourceType]:
    """The types, by id."""
    # A process that compiles nothing starts without it.
    from ruamel.yaml import YAML

    found: dict[str, ResourceType] = {}
    folder = resources.files("cellplane.model.workload").joinpath(_FOLDER)
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        written = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        own = ResourceType(
            name=written["name"],
            parameters=written["parameters"],
            outputs=tuple(written["outputs"]),
            endpoints=tuple(
                ResourceEndpoint(
                    endpoint=e["endpoint"], protocol=Protocol(e["protocol"]), port=e["port"]
                )
                for e in written["endpoints"]
            ),
            resources=tuple(
                ResourceTemplate(
                    template=one["template"],
                    manifest=one["manifest"],
                    ready_when=one.get("readyWhen", ""),
                )
                for one in written["resources"]
            ),
        )
        found[own.name.rsplit("/", 1)[-1]] = own
    return MappingProxyType(found)

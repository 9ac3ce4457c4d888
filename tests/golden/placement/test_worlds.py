"""The sample worlds: what the command line says of each, and that the schema knows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cellplane.cell.problem import Invalid
from cellplane.cli.main import main
from cellplane.placement.simulation import document

ROOT = Path(__file__).parents[3]
WORLDS = sorted((ROOT / "samples/worlds").glob("*.yaml"))


@pytest.mark.parametrize("world", WORLDS, ids=[w.stem for w in WORLDS])
def test_a_world_comes_out_as_it_is_written_beside_it(
    capsys: pytest.CaptureFixture[str], world: Path
) -> None:
    """The decisions, moves and reasons after each event are those of the file beside the world."""
    assert main(["placement", "simulate", "-f", str(world)]) == 0
    assert capsys.readouterr().out == world.with_suffix(".txt").read_text()


@pytest.mark.parametrize("world", WORLDS, ids=[w.stem for w in WORLDS])
def test_the_same_world_has_the_same_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, world: Path
) -> None:
    """Data planes, Cells and decisions in the reverse order give the same bytes."""
    content: Any = YAML(typ="safe").load(world.read_text())
    for many in ("data_planes", "cells", "decisions"):
        content.get(many, []).reverse()
    turned = tmp_path / "world.json"
    turned.write_text(json.dumps(content))

    assert main(["placement", "simulate", "-f", str(world), "-o", "json"]) == 0
    first = capsys.readouterr().out
    assert main(["placement", "simulate", "-f", str(turned), "-o", "json"]) == 0
    assert capsys.readouterr().out == first
    assert {"placements", "changes", "moves", "unplaceable"} <= set(json.loads(first)["steps"][0])


def test_the_schema_names_every_field_of_the_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a sample says is in the schema that the command line writes."""
    assert main(["placement", "simulate", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads((ROOT / "docs/world.schema.json").read_text())

    def walk(value: Any, known: Any) -> None:
        if "$ref" in known:
            known = schema["$defs"][known["$ref"].rsplit("/", 1)[-1]]
        if isinstance(value, list):
            for one in value:
                walk(one, known["items"])
        elif isinstance(value, dict) and "properties" in known:
            for name, one in value.items():
                walk(one, known["properties"][name])

    for world in WORLDS:
        walk(YAML(typ="safe").load(world.read_text()), schema)


def test_all_that_is_wrong_with_a_world_is_said_at_once() -> None:
    """Unknown fields, wrong types and names of nothing, each with its path."""
    with pytest.raises(Invalid) as error:
        document.read(
            {
                "data_planes": [{"data_plane": "a", "capacity": {"cpu_millis": "much"}}],
                "cells": [{"cell": "x/y", "requirement": {"copys": 2}}, {}],
            }
        )
    assert [p.field for p in error.value.problems] == [
        "data_planes[0].capacity.cpu_millis",
        "cells[0].requirement.copys",
        "cells[1].cell",
    ]
    with pytest.raises(Invalid) as error:
        document.read({"events": [{"event": "lose", "data_plane": "b"}, {"event": "advance"}]})
    assert [p.field for p in error.value.problems] == ["events[0].data_plane"]

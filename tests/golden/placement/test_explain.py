"""Causes why a Cell cannot be placed, as documents: the blocking rule, and what would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cellplane.placement.scheduler.advice import advise, blockers
from cellplane.placement.scheduler.decide import Unplaceable, decide
from cellplane.placement.scheduler.snapshot import Previous, Snapshot, bind
from cellplane.placement.simulation import document

CASES: list[Any] = YAML(typ="safe").load((Path(__file__).parent / "explain.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["cause"] for case in CASES])
def test_the_cause_and_the_smallest_change_are_named(case: dict[str, Any]) -> None:
    """The rule with the planes that it removed, and a change that is known to help."""
    named = [{"data_plane": "abc"[i], **plane} for i, plane in enumerate(case["planes"])]
    cell = {"cell": "shop/dev", **{k: case[k] for k in ("requirement", "components") if k in case}}
    world = document.read({"data_planes": named, "cells": [cell]})
    snapshot = Snapshot(planes=tuple(p.plane() for p in world.data_planes))
    demand = bind(world.cells[0].demand().whole(), {}, lambda _: None, 0.0)

    decision = decide(snapshot, demand, Previous())
    assert isinstance(decision, Unplaceable)
    found = blockers(snapshot, demand, Previous())
    assert (found[0].rule if found else "") == case["rule"]
    assert list(found[0].data_planes if found else ()) == case["removed"]
    assert all(rule in dict(decision.trace.rules) for rule in (b.rule for b in found))
    helps = advise(snapshot, demand, Previous())
    assert helps[0].message == case["advice"]
    assert helps[0].changes == min(a.changes for a in helps)

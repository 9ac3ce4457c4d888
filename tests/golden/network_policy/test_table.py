"""The table of the Cell, on what is compiled; and that every word of a policy is needed for it."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.golden import cases
from tests.golden.network_policy import world

TABLE = cases.load(Path(__file__).parent / "table.yaml")
SCENES = list(world.scenes())
MUTATED = [
    scene
    for scene in SCENES
    # Those that say the most; all of them take a minute.
    if os.environ.get("CELLPLANE_FULL")
    or ("connected" in scene.facts and scene.facts & {"organization", "public"})
]
_SECTIONS = ("ingress", "egress", "ingressDeny", "egressDeny")


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_the_table_holds(scene: world.Scene) -> None:
    """Every row of the table holds on the compiled objects."""
    failed = [c.what for c in world.checks(scene, TABLE) if not c.holds(scene, scene.objects)]

    assert failed == []


@pytest.mark.parametrize("scene", MUTATED, ids=str)
def test_every_rule_peer_port_and_label_is_needed(scene: world.Scene) -> None:
    """Without any one rule, peer, port, name or label of a policy, some row of the table fails."""
    checks = world.checks(scene, TABLE)
    survivors: list[str] = []
    for name, objects in _mutants(scene):
        failing = next((c for c in checks if not c.holds(scene, objects)), None)
        if failing is None:
            survivors.append(name)
        else:
            # What failed for one mutant likely fails for the next.
            checks.remove(failing)
            checks.insert(0, failing)

    assert survivors == []


def test_every_place_is_tried() -> None:
    """Everyone whom the world knows is in some row of the table."""
    named: set[str] = set()
    for section in TABLE.values():
        for row in section:
            for key in ("from", "to"):
                value = row.get(key, [])
                named.update(value if isinstance(value, list) else [value])

    assert set(world.PLACES) <= named


def _mutants(scene: world.Scene) -> Iterator[tuple[str, tuple[Mapping[str, Any], ...]]]:
    for index, body in enumerate(scene.objects):
        name = body["metadata"]["name"]
        yield name, tuple(o for i, o in enumerate(scene.objects) if i != index)
        for path in _paths(scene, body):
            mutant = copy.deepcopy(dict(body))
            _cut(mutant, path)
            where = "/".join(str(step) for step in path)
            yield (
                f"{name}: {where}",
                tuple(mutant if i == index else o for i, o in enumerate(scene.objects)),
            )


def _paths(scene: world.Scene, body: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """Everything that a mutation can take away from one policy."""
    spec = body["spec"]
    for selector in ("endpointSelector", "podSelector"):
        yield from _labels(scene, spec.get(selector, {}), ("spec", selector))
    for i, direction in enumerate(spec.get("policyTypes", ())):
        # Where a policy has no rules for a direction, the guard closes it as well.
        if direction.lower() in spec or not spec["podSelector"]:
            yield ("spec", "policyTypes", i)
    for section in _SECTIONS:
        for i, rule in enumerate(spec.get(section, ())):
            at: tuple[str | int, ...] = ("spec", section, i)
            yield at
            yield from _of_rule(scene, rule, at)


def _of_rule(
    scene: world.Scene, rule: Mapping[str, Any], at: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    # The denial beside this allowance closes every other port of the own node.
    of_own_node = at[1] == "ingress" and rule.get("fromEntities") == ["host"]
    for key, value in rule.items():
        if of_own_node and key == "toPorts":
            yield from ((*at, key, 0, "ports", j) for j in range(len(value[0]["ports"])))
            continue
        if key in {"ports", "toPorts"}:
            yield (*at, key)
        for i, item in enumerate(value):
            yield (*at, key, i)
            if not isinstance(item, Mapping):
                continue
            for inner in ("podSelector", "namespaceSelector"):
                yield from _labels(scene, item.get(inner, {}), (*at, key, i, inner))
            yield from _labels(scene, item, (*at, key, i))
            if key == "toPorts":
                yield from ((*at, key, i, "ports", j) for j in range(len(item["ports"])))
                for parser, names in item.get("rules", {}).items():
                    yield (*at, key, i, "rules")
                    yield from ((*at, key, i, "rules", parser, j) for j in range(len(names)))


def _labels(
    scene: world.Scene, selector: Mapping[str, Any], at: tuple[str | int, ...]
) -> Iterator[tuple[str | int, ...]]:
    for label, value in selector.get("matchLabels", {}).items():
        # Cilium adds the policy's own namespace where none is named: without it, it says the same.
        if value != scene.namespace:
            yield (*at, "matchLabels", label)
    yield from (
        (*at, "matchExpressions", i) for i in range(len(selector.get("matchExpressions", ())))
    )


def _cut(body: Any, path: tuple[str | int, ...]) -> None:
    for step in path[:-1]:
        body = body[step]
    del body[path[-1]]

"""The table of the Cell, on what is compiled; and that every word of a policy is needed for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.golden import cases
from tests.golden.network_policy import mutants, world

TABLE = cases.load(Path(__file__).parent / "table.yaml")
SCENES = list(world.scenes())
MESHED = list(world.scenes(meshed=True))
MUTATED = [
    scene
    for scene in SCENES
    # Those that say the most; all of them take minutes.
    if os.environ.get("CELLPLANE_FULL")
    or (scene.facts >= {"connected", "tcp", "ipv4"} and scene.facts & {"organization", "public"})
]


@pytest.mark.parametrize("scene", SCENES, ids=str)
def test_the_table_holds(scene: world.Scene) -> None:
    """Every row of the table holds on the compiled objects."""
    judges = world.judges(scene, scene.objects)

    failed = [c.what for c in world.checks(scene, TABLE) if not c.holds(judges)]

    assert failed == []


@pytest.mark.parametrize("scene", MESHED, ids=str)
def test_the_table_holds_in_a_mesh(scene: world.Scene) -> None:
    """With ports in the mesh's policies instead of the network's, every row holds as well."""
    judges = world.judges(scene, scene.objects)
    # In the tunnel the caller's network sees one port: what the two sides make of it counts.
    # What may enter a shared gateway there is for that gateway's own policies to say.
    checks = [
        c
        for c in world.checks(scene, TABLE)
        if c.side != "egress" and "the westbound gateway, any other port" not in c.what
    ]

    assert [c.what for c in checks if not c.holds(judges)] == []


@pytest.mark.parametrize("scene", MUTATED, ids=str)
def test_every_rule_peer_port_and_label_is_needed(scene: world.Scene) -> None:
    """With any one rule, peer, port, name or label dropped or widened, some row fails."""
    checks = world.checks(scene, TABLE)
    survivors: list[str] = []
    for name, objects in mutants.of(scene):
        judges = world.judges(scene, objects)
        failing = next((c for c in checks if not c.holds(judges)), None)
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


def test_the_table_is_whole() -> None:
    """Source, visibility, connection, direction, mode, provider, transport and family all vary."""
    count = sum(len(world.checks(scene, TABLE)) for scene in SCENES)

    assert len(SCENES) == 128
    # What the design asks for is 2,304; every place, port and name is a check of its own here.
    assert count > 50_000

"""A link on which everything fails that can, from a seed: both sides end with the same.

By default some thousand messages; with ``CELLPLANE_FULL=1`` a million.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell import labels
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.names import CellName
from cellplane.placement.rollout.diff import BundleObject
from cellplane.testing import virtual
from cellplane.testing.faults import Faults
from tests.property.link.sides import PLANE, AgentSide, Control, Witness

FULL = os.environ.get("CELLPLANE_FULL") == "1"
MESSAGES = 1_000_000 if FULL else 3_000
CELLS = [
    CellName(organization="acme", project=f"shop{number}", environment="production")
    for number in range(6)
]
BAD = Faults(loss=0.004, duplicate=0.02, reorder=0.004, replay=0.02, cut=0.001)
PATIENCE = 3600
"""Seconds of the loop's time until both sides agree, once nothing fails any more."""


def config(cell: CellName, name: str, edit: int) -> Manifest:
    """An object that knows which edit made it."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": cell.namespace,
            "annotations": {labels.OWNER: str(cell)},
        },
        "data": {"edit": str(edit)},
    }
    return manifest("", Phase.CONFIGURATION, body)


class Editor:
    """Somebody who changes Cells, also while the control plane is down."""

    def __init__(self, rng: random.Random) -> None:
        self.edits = 0
        self.wanted: dict[CellName, dict[str, Manifest]] = {cell: {} for cell in CELLS}
        self._rng = rng

    def change(self) -> CellName:
        """Change one Cell: an object more, other, or less; or all of them go."""
        self.edits += 1
        cell = self._rng.choice(CELLS)
        objects = self.wanted[cell]
        what, name = self._rng.random(), f"c{self._rng.randrange(5)}"
        if what < 0.04:
            objects.clear()
        elif what < 0.25:
            objects.pop(name, None)
        else:
            objects[name] = config(cell, name, self.edits)
        return cell

    async def put(self, control: Control, cell: CellName) -> None:
        """Have it so, as the engine does."""
        objects = self.wanted[cell].values()
        if not objects:
            await control.desired.remove(str(cell), PLANE)
            return
        await control.desired.put(
            str(cell),
            PLANE,
            cell.namespace,
            [BundleObject(key=m.key, part=m.part, phase=m.phase, digest=m.digest) for m in objects],
            {m.digest: m.content for m in objects},
            self.edits,
        )

    def all(self) -> dict[str, str]:
        """Every object that is wanted, and which edit made it."""
        return {
            f"{m.namespace}/{m.object}": json.loads(m.content)["data"]["edit"]
            for objects in self.wanted.values()
            for m in objects.values()
        }


async def chaos(folder: Path, seed: int, messages: int) -> Witness:
    """Edit, break and restart until so many messages were said; then let both sides agree."""
    rng, witness = random.Random(seed), Witness()  # noqa: S311 - a seed makes it the same
    control = Control(folder)
    agent = AgentSide(folder, control, witness, rng)
    editor = Editor(rng)
    await control.start()
    await agent.start()
    agent.become(BAD, BAD)
    while witness.messages < messages and not witness.faults:
        for _ in range(rng.randrange(1, 4)):
            await editor.put(control, editor.change())
        await control.clock.sleep(rng.choice((0.0, 0.01, 0.05, 0.3)))
        what = rng.random()
        if what < 0.004:
            await control.kill()
            await control.clock.sleep(rng.choice((0.0, 1.0, 60.0)))
            for _ in range(5):
                editor.change()
            await control.start()
            for cell in CELLS:
                await editor.put(control, cell)
        elif what < 0.008:
            await agent.kill(lose_disk=rng.random() < 0.2)
            await control.clock.sleep(rng.choice((0.0, 1.0, 60.0)))
            await agent.start()
        elif what < 0.016:
            control.cut()
    agent.become(Faults(), Faults())
    control.cut()
    for cell in CELLS:
        await editor.put(control, cell)
    await agree(control, agent, editor)
    await agent.kill()
    await control.kill()
    return witness


async def lossy(folder: Path, seed: int, up: Faults, down: Faults) -> Witness:
    """Edit on a line that spoils messages and is never cut; then it is well, and stays."""
    rng, witness = random.Random(seed), Witness()  # noqa: S311 - a seed makes it the same
    control = Control(folder)
    agent = AgentSide(folder, control, witness, rng)
    editor = Editor(rng)
    await control.start()
    await agent.start()
    agent.become(up, down)
    for _ in range(60):
        await editor.put(control, editor.change())
        await control.clock.sleep(0.05)
    agent.become(Faults(), Faults())
    await agree(control, agent, editor)
    await agent.kill()
    await control.kill()
    return witness


async def agree(control: Control, agent: AgentSide, editor: Editor) -> None:
    """Wait until both sides have the same, and the cluster too."""
    for _ in range(PATIENCE):
        slots = control.desired.delivered(PLANE)
        if (
            agent.cells.root_digest() == control.desired.root_digest(PLANE)
            and all(slot.settled and not slot.bundle.removed for slot in slots)
            and live(agent) == editor.all()
        ):
            return
        await control.clock.sleep(1.0)
    assert live(agent) == editor.all()
    assert agent.cells.root_digest() == control.desired.root_digest(PLANE)
    assert [s.cell for s in control.desired.delivered(PLANE) if not s.settled] == []
    pytest.fail("a Cell that was removed is still there")


def live(agent: AgentSide) -> dict[str, str]:
    """Every object in the cluster, and which edit made it."""
    return {
        f"{key.namespace}/{key.object}": body["data"]["edit"]
        for key, body in agent.target.objects.items()
    }


WELL, LOSSY = Faults(), Faults(loss=0.05, reorder=0.02)


@pytest.mark.parametrize(("up", "down"), [(LOSSY, WELL), (WELL, LOSSY)], ids=["up", "down"])
def test_what_a_living_stream_loses_is_missed(tmp_path: Path, up: Faults, down: Faults) -> None:
    """Nobody cuts the stream: who receives sees by the count that something is not right."""
    witness = virtual.run(lossy(tmp_path, 7, up, down))
    assert witness.faults == []
    assert witness.streams > 1


@pytest.mark.timeout(7200 if FULL else 300)
@pytest.mark.parametrize("seed", [1, 2])
def test_case_74_whatever_fails_both_sides_end_with_the_same(tmp_path: Path, seed: int) -> None:
    """No older revision over a newer one, no removal that nobody named, the same at the end."""
    witness = virtual.run(chaos(tmp_path, seed, MESSAGES // 2))
    assert witness.faults == []
    assert witness.messages >= MESSAGES // 2
    assert witness.streams > MESSAGES // 1000
    print(f"{witness.messages} messages on {witness.streams} streams: {dict(witness.kinds)}")

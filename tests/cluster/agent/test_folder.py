"""The folder as a data plane, over the same link."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cellplane.api.type.v1 import condition_pb2
from tests.cluster.agent import samples
from tests.cluster.agent.control import Control
from tests.cluster.agent.process import agent_of

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(120)]

READY = condition_pb2.HEALTH_READY


async def test_a_folder_holds_one_file_for_each_object(tmp_path: Path) -> None:
    """Objects are files by namespace and phase; removals, edits and strange files are treated as
    in a cluster.
    """
    control, root = Control(tmp_path), tmp_path / "manifests"
    cell = samples.cell_name()
    name = str(cell)
    async with control.running(), agent_of(control, tmp_path, f"--folder={root}") as agent:
        await control.connected()
        control.want(name, samples.whole(cell, ("api", "web")))
        await control.reported(name, READY)
        tree = root / cell.namespace
        web = tree / "04-workload" / "deployment-web.yaml"
        assert YAML(typ="safe").load(web.read_text())["spec"]["replicas"] == 1
        assert (tree / "00-namespace" / f"namespace-{cell.namespace}.yaml").exists()
        theirs = tree / "04-workload" / "theirs.yaml"
        theirs.write_text("kind: Note\n")
        await agent.stop()
        web.write_text(web.read_text().replace("app:1", "app:2"))
        (tree / "02-policy" / "networkpolicy-web-ingress.yaml").unlink()
        await agent.start()
        await control.until(lambda: len(control.of("drift")) == 2)
        assert "app:1" in web.read_text()
        assert (tree / "02-policy" / "networkpolicy-web-ingress.yaml").exists()
        control.remove(name)
        await control.until(lambda: name not in control.cells)
        assert [p.name for p in root.rglob("*.yaml")] == [theirs.name]


async def test_many_cells_at_once_share_one_stream(tmp_path: Path) -> None:
    """Wants of many Cells at once are all answered and applied, and the stream is the first one."""
    control = Control(tmp_path)
    cells = [samples.cell_name(f"shop{index}") for index in range(20)]
    async with control.running(), agent_of(control, tmp_path, f"--folder={tmp_path / 'm'}"):
        await control.connected()
        for cell in cells:
            control.want(str(cell), samples.whole(cell))
        for cell in cells:
            await control.reported(str(cell), READY)
        assert control.streams == 1
        assert len(control.of("reply")) == len(cells)

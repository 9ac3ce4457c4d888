"""How the agent and its link survive what happens to either of them."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.type.v1 import condition_pb2
from cellplane.kube.errors import ApiFailure, Failure
from cellplane.runtime.pki import Authority
from tests.cluster.agent import samples
from tests.cluster.agent.conftest import Setting
from tests.cluster.agent.control import Control
from tests.cluster.agent.process import agent_of

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

READY = condition_pb2.HEALTH_READY


async def test_a_killed_agent_goes_on_where_it_was(setting: Setting) -> None:
    """An agent that is killed in the middle of applying a revision has all of it when it is
    started again, and does not join again.
    """
    names = [f"c{index}" for index in range(12)]
    setting.control.want(setting.name, samples.whole(setting.cell, names))
    await setting.control.until(lambda: setting.control.of("reply"))
    await setting.agent.kill()
    assert not [a for a in setting.control.of("applied") if a.complete]
    await setting.agent.start()
    await setting.control.applied(setting.name)
    report = await setting.control.reported(setting.name, READY)
    assert len(report.components) == len(names)
    assert setting.control.joins == 1
    assert setting.control.resumes == ["SAME", "SAME"]


async def test_drift_is_repaired_while_the_control_plane_is_away(setting: Setting) -> None:
    """Without its control plane the agent goes on repairing, and tells of it afterwards."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    await setting.control.stop()
    path = setting.policy("web-ingress")
    uid = (await setting.kube.get(path))["metadata"]["uid"]
    await setting.kube.delete(path, uid=uid, propagation="Background")
    began = time.monotonic()
    while not await _there(setting, path):
        assert time.monotonic() - began < 1
        await asyncio.sleep(0.005)
    await setting.control.start()
    drift = (await setting.control.until(lambda: setting.control.of("drift")))[0]
    assert drift.repaired


async def test_drift_from_before_the_start_is_repaired(setting: Setting) -> None:
    """What was changed or deleted while no agent ran is repaired when one starts."""
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.reported(setting.name, READY)
    await setting.agent.stop()
    path, config = setting.policy("web-ingress"), setting.path("configmaps", "web-config")
    uid = (await setting.kube.get(path))["metadata"]["uid"]
    await setting.kube.delete(path, uid=uid, propagation="Background")
    edit = {"op": "replace", "path": "/data/A", "value": "other"}
    await setting.kube.patch(config, [edit], manager="somebody")
    await setting.agent.start()
    await setting.control.until(lambda: len(setting.control.of("drift")) == 2)
    assert await _there(setting, path)
    assert (await setting.kube.get(config))["data"]["A"] == "1"


async def test_an_edit_flows_within_a_second_of_the_servers_return(setting: Setting) -> None:
    """After a restart of the link's server the agent is back, and has an edit, within a second."""
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.applied(setting.name)
    await setting.control.stop()
    await asyncio.sleep(2)
    await setting.control.start()
    began = time.monotonic()
    streams = setting.control.streams
    await setting.control.connected(streams + 1)
    setting.control.want(setting.name, samples.whole(setting.cell))
    await setting.control.applied(setting.name)
    assert time.monotonic() - began < 1
    assert setting.control.resumes == ["SAME", "SAME"]


async def test_a_lower_epoch_is_refused(setting: Setting) -> None:
    """A control plane of a lower epoch than was seen gets no say; a higher one does."""
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.applied(setting.name)
    await setting.control.stop()
    setting.control.epoch = -5
    await setting.control.start()
    await setting.control.until(lambda: len(setting.control.of("hello")) >= 3)
    setting.control.want(setting.name, samples.whole(setting.cell))
    assert len(setting.control.of("reply")) == 1
    await setting.control.stop()
    setting.control.epoch = 5
    await setting.control.start()
    await setting.control.applied(setting.name)
    assert setting.control.of("hello")[-1].epoch >= 1


async def test_an_agent_that_missed_revisions_compares(setting: Setting) -> None:
    """What changed while the agent was away is found by comparing, and brought in one step."""
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.applied(setting.name)
    await setting.agent.stop()
    setting.control.want(setting.name, samples.whole(setting.cell, ("api",)))
    setting.control.want(setting.name, samples.whole(setting.cell, ("web",)))
    await setting.agent.start()
    await setting.control.applied(setting.name, 3)
    await setting.control.reported(setting.name, READY)
    assert setting.control.resumes[-1] == "COMPARE"
    inventory = setting.control.of("inventory")[-1]
    assert [(c.cell, c.revision, c.applied) for c in inventory.cells] == [(setting.name, 1, True)]


async def test_a_reconnect_without_news_is_small(setting: Setting) -> None:
    """An agent with nothing to tell says hello in fewer than 300 bytes, and nothing else."""
    assert await setting.control.until(lambda: setting.control.of("facts"))
    counts = {k: len(setting.control.of(k)) for k in ("facts", "applied", "report", "inventory")}
    setting.control.send(link_pb2.SyncResponse(drain=link_pb2.Drain(reason="test")))
    await setting.control.connected(2)
    setting.control.want(setting.name, samples.frame(setting.cell))
    await setting.control.until(lambda: setting.control.of("reply"))
    assert setting.control.of("hello")[-1].ByteSize() < 300
    assert len(setting.control.of("facts")) == counts["facts"]
    assert len(setting.control.of("inventory")) == counts["inventory"]


async def test_certificates_are_renewed_at_two_thirds(tmp_path: Path) -> None:
    """The agent renews its certificate before it ends, and opens its next stream with the new
    one; its key is never readable by others.
    """
    control = Control(tmp_path)
    control.lifetime = timedelta(seconds=4)
    async with (
        control.running(),
        agent_of(control, tmp_path, f"--folder={tmp_path / 'm'}") as agent,
    ):
        await control.connected()
        await control.until(lambda: control.renewals >= 2)
        await asyncio.sleep(0)
        control.send(link_pb2.SyncResponse(drain=link_pb2.Drain(reason="test")))
        await control.connected(2)
        assert control.joins == 1
        assert (agent.state / "identity" / "agent.pem").stat().st_mode & 0o077 == 0


async def test_another_authority_is_not_joined(tmp_path: Path) -> None:
    """An agent whose control plane shows another authority than its digest ends, and says so."""
    control = Control(tmp_path)
    other = Authority.create("somebody else").digest()
    flags = (f"--folder={tmp_path / 'm'}", f"--authority-digest={other}")
    async with control.running(), agent_of(control, tmp_path, *flags) as agent:
        assert await agent.wait() == 1
        assert control.joins == 0
        assert other in agent.log.read_text()


async def test_a_man_in_the_middle_gets_no_request(tmp_path: Path) -> None:
    """Whoever shows the right authority without its key is not sent a request to join."""
    control = Control(tmp_path)
    async with control.running():
        # The server's certificate is still of the authority that it had before.
        control.authority = Authority.create("meant")
        async with agent_of(control, tmp_path, f"--folder={tmp_path / 'm'}") as agent:
            await control.until(lambda: "join.waiting" in agent.log.read_text())
            assert control.joins == 0


async def _there(setting: Setting, path: str) -> bool:
    try:
        await setting.kube.get(path)
    except ApiFailure as failure:
        if failure.kind is not Failure.NOT_FOUND:
            raise
        return False
    return True


async def test_the_use_of_cells_is_told_apart_from_that_of_others(setting: Setting) -> None:
    """A pod of nobody's Cell counts as others' use, one of a Cell as the Cells', and both go."""

    def cpu() -> tuple[int, int]:
        facts = setting.control.of("facts")
        found = [r for f in facts[-1:] for r in f.resources if r.resource == "cpu_millis"]
        return (found[0].others_requested, found[0].cells_requested) if found else (-1, -1)

    others, cells = await setting.control.until(lambda: cpu() if cpu()[0] >= 0 else None)
    nodes = await setting.kube.get("/api/v1/nodes")
    path = "/api/v1/namespaces/default/pods/stranger"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": "default"},
        "spec": {
            "nodeName": nodes["items"][0]["metadata"]["name"],
            "containers": [
                {
                    "name": "app",
                    "image": "registry.test/app:1",
                    "resources": {"requests": {"cpu": "20"}},
                }
            ],
        },
    }
    written = await setting.kube.apply(path, json.dumps(pod).encode(), manager="t", force=True)
    await setting.control.until(lambda: cpu()[0] >= others + 19_000)
    assert cpu()[1] == cells
    body = samples.component(setting.cell, "api", cpu="20")
    setting.control.want(setting.name, [*samples.frame(setting.cell), *body])
    await setting.control.until(lambda: cpu()[1] >= cells + 18_000)
    assert written
    found = await setting.kube.get(path)
    await setting.kube.delete(path, uid=found["metadata"]["uid"], propagation="Background")
    await setting.control.until(lambda: cpu()[0] == others)

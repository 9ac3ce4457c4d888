"""One real API server for all tests of this folder, and a control plane and an agent for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from cellplane.cell.names import CellName
from cellplane.kube import access
from cellplane.kube.client import KubeClient
from cellplane.sandbox import cluster
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.crds import CrdSet
from tests.cluster.agent import samples
from tests.cluster.agent.control import Control
from tests.cluster.agent.process import AgentProcess, agent_of

AGENT = "cellplane-agent"
_COUNT = itertools.count()


@dataclass(slots=True)
class Setting:
    """What a test has at hand."""

    info: ClusterInfo
    kube: KubeClient
    control: Control
    agent: AgentProcess
    cell: CellName

    @property
    def name(self) -> str:
        """The Cell's resource name."""
        return str(self.cell)

    def path(self, plural: str, name: str, group: str = "") -> str:
        """Path of an object in the Cell's namespace."""
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.cell.namespace}/{plural}/{name}"

    def policy(self, name: str) -> str:
        """Path of a network policy."""
        return self.path("networkpolicies", name, "networking.k8s.io/v1")

    def deployment(self, name: str) -> str:
        """Path of a deployment."""
        return self.path("deployments", name, "apps/v1")


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def info(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterInfo]:
    """A cluster."""
    state = tmp_path_factory.mktemp("cluster") / "east"
    crds = frozenset({CrdSet.CILIUM, CrdSet.GATEWAY_API})
    async with cluster.running("east", state, crds=crds, nodes=4) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="package")
async def setting(info: ClusterInfo, tmp_path: Path) -> AsyncIterator[Setting]:
    """A connected agent that has nothing yet, and a Cell that no other test has."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.user_kubeconfig(info, AGENT, groups=("system:masters",)))
    control = Control(tmp_path)
    cell = samples.cell_name(f"shop{next(_COUNT)}")
    admin = await access.load(info.kubeconfig, "")
    flags = (f"--kubeconfig={kubeconfig}", "--enforcement=simulated")
    async with (
        control.running(),
        KubeClient(admin) as kube,
        agent_of(control, tmp_path, *flags) as agent,
    ):
        await control.connected()
        yield Setting(info=info, kube=kube, control=control, agent=agent, cell=cell)

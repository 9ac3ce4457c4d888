"""The command line of every process that ``cellplane up`` supervises.

They are the commands that a cluster runs, too; only addresses and files differ.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cellplane.cli.local.layout import SERVICES, TRUST_DOMAIN, Layout
from cellplane.runtime.supervisor import Command


def service(layout: Layout, name: str, *, database_url: str = "") -> Command:
    """Run one service."""
    ready_file = layout.ready_file(name)
    ready_file.unlink(missing_ok=True)
    flags = {
        "listen": layout.address(name),
        "admin-listen": layout.admin_address(name),
        "admin-grpc-listen": layout.channelz_address(name),
        "tls-ca": layout.pki / "ca.crt",
        "tls-cert": layout.pki / f"{name}.crt",
        "tls-key": layout.pki / f"{name}.key",
        "trust-domain": TRUST_DOMAIN,
        "state-dir": layout.state(name),
        "port-file": ready_file,
    }
    if database_url:
        flags["database-url"] = database_url
    if layout.roles_file.exists():
        flags["roles-file"] = layout.roles_file
    if name == "network_policy":
        flags |= {f"{peer}-address": layout.address(peer) for peer in ("model", "placement")}
    if name == "placement":
        flags |= {
            f"{peer.replace('_', '-')}-address": layout.address(peer)
            for peer in SERVICES
            if peer != "placement"
        }
        flags |= {
            "link-listen": layout.link_address,
            "join-listen": layout.join_address,
            "public-link-address": layout.link_address,
            "public-join-address": layout.join_address,
        }
    return _command(layout, name, f"cellplane.{name}", flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The right of one agent to join, as ``CreateJoinGrant`` answered it."""

    name: str
    token: str
    authority_digest: str
    join_address: str


def agent(
    layout: Layout,
    name: str,
    grant: Grant,
    *,
    kubeconfig: Path | None = None,
    context: str = "",
    folder: Path | None = None,
    enforcement: str,
) -> Command:
    """Run the agent of one data plane: of a cluster, or of a folder."""
    flags: dict[str, object] = {
        "state-dir": layout.state(f"agent-{name}"),
        "port-file": layout.ready_file(f"agent-{name}"),
        "join-address": grant.join_address,
        "grant": grant.name,
        "authority-digest": grant.authority_digest,
        "trust-domain": TRUST_DOMAIN,
        "enforcement": enforcement,
    }
    if kubeconfig:
        flags["kubeconfig"] = kubeconfig
    if context:
        flags["context"] = context
    if folder:
        flags["folder"] = folder
    layout.ready_file(f"agent-{name}").unlink(missing_ok=True)
    # The token goes by the environment, as others can read a process's arguments.
    return _command(
        layout,
        f"agent-{name}",
        "cellplane.agent",
        flags,
        environment={"CELLPLANE_AGENT_TOKEN": grant.token},
    )


def _command(
    layout: Layout,
    name: str,
    module: str,
    flags: dict[str, object] | dict[str, str | Path],
    *,
    environment: dict[str, str] | None = None,
) -> Command:
    ready_file = layout.ready_file(name)

    async def ready() -> bool:
        return ready_file.exists()

    return Command(
        name=name,
        argv=[
            sys.executable,
            "-m",
            module,
            *(f"--{flag}={value}" for flag, value in flags.items()),
        ],
        env=environment or {},
        log=layout.logs / f"{name}.log",
        ready=ready,
        ready_within=timedelta(seconds=60),
    )

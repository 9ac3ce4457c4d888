"""Where a control plane on this machine keeps things, and on which ports it listens.

Everything lives in one folder, so that taking it away is deleting that folder. Ports are fixed, so
that what the documentation says works; ``--base-port`` moves them all.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SERVICES: Final = ("model", "placement", "network_policy", "gateway", "observability")
"""In the order in which they are started; all of them start at once."""

FOLDER_NAME: Final = ".cellplane"
TRUST_DOMAIN: Final = "cellplane.local"
DEFAULT_BASE_PORT: Final = 9600


def find_state(start: Path) -> Path | None:
    """Find the state of a control plane: by ``CELLPLANE_STATE``, or in *start* or above it."""
    if given := os.environ.get("CELLPLANE_STATE"):
        return Path(given)
    for folder in (start, *start.parents):
        if (folder / FOLDER_NAME).is_dir():
            return folder / FOLDER_NAME
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folder of one control plane, and its ports."""

    root: Path
    base_port: int = DEFAULT_BASE_PORT

    @classmethod
    def existing(cls, root: Path) -> Layout:
        """Read the ports of a control plane from the profile that it wrote."""
        profile = tomllib.loads((root / "client.toml").read_text(encoding="utf-8"))
        port = int(str(profile["services"]["model"]).rpartition(":")[2])
        return cls(root=root, base_port=port - 1)

    def address(self, service: str) -> str:
        """Where a service listens."""
        return f"127.0.0.1:{self.base_port + 1 + SERVICES.index(service)}"

    def admin_address(self, service: str) -> str:
        """Where a service answers metrics and probes."""
        return f"127.0.0.1:{self.base_port + 101 + SERVICES.index(service)}"

    def channelz_address(self, service: str) -> str:
        """Where a service answers channelz, without TLS."""
        return f"127.0.0.1:{self.base_port + 201 + SERVICES.index(service)}"

    @property
    def link_address(self) -> str:
        """Where agents keep their streams."""
        return f"127.0.0.1:{self.base_port + 6}"

    @property
    def join_address(self) -> str:
        """Where agents join."""
        return f"127.0.0.1:{self.base_port + 7}"

    @property
    def roles_file(self) -> Path:
        """What users may do, if it is there."""
        return self.root / "roles.toml"

    @property
    def pki(self) -> Path:
        """Authority and certificates of services and users."""
        return self.root / "pki"

    @property
    def client_profile(self) -> Path:
        """What the command line reads to find the services."""
        return self.root / "client.toml"

    @property
    def progress(self) -> Path:
        """What happens while it comes up, one JSON object a line."""
        return self.root / "progress.jsonl"

    @property
    def pid_file(self) -> Path:
        """Identity of the supervisor."""
        return self.root / "supervisor.json"

    @property
    def logs(self) -> Path:
        """Logs of every process."""
        return self.root / "logs"

    @property
    def manifests(self) -> Path:
        """The folder data plane's tree."""
        return self.root / "manifests"

    def state(self, process: str) -> Path:
        """State of one process."""
        return self.root / "state" / process

    def ready_file(self, process: str) -> Path:
        """Written by a process when it is ready, with its ports."""
        return self.root / "run" / f"{process}.json"

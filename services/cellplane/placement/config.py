"""What the placement service can be told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cellplane.runtime.config import Duration, ServiceSettings


class PlacementSettings(ServiceSettings):
    """Settings of the placement service."""

    service: ClassVar[str] = "placement"

    model_address: str = Field(description="address of the model service, `host:port`")
    network_policy_address: str = Field(
        description="address of the network policy service, `host:port`"
    )
    gateway_address: str = Field(description="address of the gateway service, `host:port`")
    observability_address: str = Field(
        description="address of the observability service, `host:port`"
    )
    link_listen: str = Field(
        "127.0.0.1:0", description="address of the port of agents' streams, `host:port`"
    )
    join_listen: str = Field(
        "127.0.0.1:0", description="address of the port where agents join, `host:port`"
    )
    public_link_address: str = Field(
        "", description="`host:port` at which agents reach the link port; empty for the bound one"
    )
    public_join_address: str = Field(
        "", description="`host:port` at which agents reach the join port; empty for the bound one"
    )
    link_port_file: Path | None = Field(
        None, description="file that gets the bound link port as JSON once it is ready"
    )
    join_port_file: Path | None = Field(
        None, description="file that gets the bound join port as JSON once it is ready"
    )
    agent_certificate_lifetime: Duration = Field(
        timedelta(hours=24), description="life of an agent's certificate, `1h` to `720h`"
    )
    suspect_after: Duration = Field(
        timedelta(seconds=45), description="silence after which a data plane takes no new cells"
    )
    hold_down: Duration = Field(
        timedelta(minutes=10),
        description="how long a data plane must be ready again before cells fail back to it",
    )
    drain_for: Duration = Field(
        timedelta(seconds=5),
        description="how long a data plane that a cell leaves is kept after calls go elsewhere",
    )
    lost_after: Duration = Field(
        timedelta(seconds=60), description="silence after that, after which it is lost"
    )
    key_file: Path | None = Field(
        None,
        description="file with 32 bytes that grants, and the authority that replicas share, are "
        "encrypted with; replicas have the same one; default: made in the state folder",
    )
    replica_address: str = Field(
        "", description="`host:port` at which other replicas reach this one's API; empty: bound one"
    )
    replica_server_name: str = Field(
        "", description="name in replicas' certificates, if it is not the host of their address"
    )
    replica_patience: Duration = Field(
        timedelta(seconds=2),
        description="how long a start waits to lead before it passes calls on to who does",
    )

"""What the agent can be told."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from cellplane.runtime.config import Settings


class AgentSettings(Settings):
    """Settings of the agent of one data plane."""

    service: ClassVar[str] = "agent"

    state_dir: Path = Field(description="folder of what the agent keeps: its key, what is wanted")
    join_address: str = Field("", description="where to join, `host:port`")
    grant: str = Field("", description="resource name of the grant: `organizations/*/joinGrants/*`")
    token: SecretStr = Field(
        SecretStr(""), description="token of the grant; better by environment or `token_file`"
    )
    token_file: Path | None = Field(None, description="file with the token")
    authority_digest: str = Field(
        "", description="digest of the agents' authority, `sha256:…`; nothing else is trusted"
    )
    link_address: str = Field(
        "", description="where the link is, if not where the control plane says"
    )
    trust_domain: str = Field("cellplane.local", description="trust domain of every identity")
    kubeconfig: Path | None = Field(None, description="kubeconfig of the cluster")
    context: str = Field("", description="context of the kubeconfig; empty for the current one")
    folder: Path | None = Field(
        None, description="folder to write manifests to, instead of a cluster"
    )
    enforcement: Literal["", "enforcing", "simulated", "external"] = Field(
        "", description="whether anything enforces policies; empty: fake nodes are simulated"
    )
    capabilities: tuple[str, ...] = Field(
        (), description="what it can do beside what its APIs show, separated by commas"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="labels to suggest for the data plane, as JSON"
    )
    admin_listen: str = Field(
        "127.0.0.1:0", description="address of metrics and probes (HTTP); empty for none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json` for machines, `console` for people"
    )
    port_file: Path | None = Field(
        None, description="file that is written as JSON once the agent is connected"
    )

    @model_validator(mode="after")
    def _one_target(self) -> AgentSettings:
        if self.folder is not None and (self.kubeconfig is not None or self.context):
            raise ValueError("folder and kubeconfig exclude each other: pass one of them")
        return self

    def token_text(self) -> str:
        """The token, from wherever it comes."""
        if self.token_file is not None:
            return self.token_file.read_text().strip()
        return self.token.get_secret_value()

"""The objects that run an agent in a cluster, for ``kubectl apply -f -``.

They are what the agent's chart renders with placeholders (a test keeps both the same), so that who
has no Helm gets the same role without wildcards, the same policies and the same pod.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TEMPLATE: Final = Path(__file__).with_name("agent.yaml")
_NAMESPACE: Final = "cellplane-agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What a manifest is made with."""

    join_address: str
    grant: str
    token: str
    authority_digest: str
    trust_domain: str
    image: str
    enforcement: str = ""


def fill(values: Values) -> str:
    """The manifest: the namespace, the token, and all that the chart has."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for placeholder, value in {
        "join.placeholder.invalid:443": values.join_address,
        "organizations/placeholder/joinGrants/placeholder": values.grant,
        f"sha256:{0:064x}": values.authority_digest,
        "placeholder.invalid/cellplane:placeholder": values.image,
        "placeholder.invalid": values.trust_domain,
        "CELLPLANE_AGENT_ENFORCEMENT, value: simulated": (
            f"CELLPLANE_AGENT_ENFORCEMENT, value: {json.dumps(values.enforcement)}"
        ),
    }.items():
        text = text.replace(placeholder, value)
    return f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {_NAMESPACE}
---
# Works once; delete it when the agent is ready.
apiVersion: v1
kind: Secret
metadata:
  name: cellplane-join
  namespace: {_NAMESPACE}
stringData:
  token: {json.dumps(values.token)}
---
{text.removeprefix("---").lstrip()}"""

"""Who there is, by the names that people use: components of Cells, and everyone around them.

A component is ``project/component``; everyone else has one word, or is an address or a host's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cellplane.cell import addresses, labels
from cellplane.cell.cell import CellFrame
from cellplane.network_policy.compiler import allow
from cellplane.network_policy.compiler.flows import Address, Node, Place, Pod
from cellplane.network_policy.compiler.outbound import CONTROLLER

EGRESS: Final = "egress"
"""The Cell's own egress gateway, as in ``project/egress``: no component has that name."""
INTERNET: Final = "internet"
NORTHBOUND: Final = "northbound"
WESTBOUND: Final = "westbound"
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_DOCUMENTED: Final = "203.0.113.1"
"""Stands for any address on the internet (RFC 5737)."""


def _pod(peer: allow.Pods, frame: CellFrame | None = None) -> Pod:
    return Pod(
        namespace=peer.namespace,
        account=peer.account or "default",
        labels=dict(peer.labels),
        namespace_labels={labels.PROJECT: frame.project} if frame is not None else {},
    )


AROUND: Final[Mapping[str, Place]] = MappingProxyType(
    {
        INTERNET: Address(ip="198.51.100.1"),
        NORTHBOUND: _pod(allow.NORTHBOUND),
        WESTBOUND: _pod(allow.WESTBOUND),
        "gateway-namespace": Pod(namespace=addresses.GATEWAY_NAMESPACE),
        "gateway-controller": _pod(CONTROLLER),
        "dns": _pod(allow.DNS),
        "collector": _pod(allow.COLLECTOR),
        "scraper": Pod(namespace=addresses.OBSERVABILITY_NAMESPACE, account=addresses.SCRAPER),
        "other-cell": Pod(namespace="cell-of-another-project", account="any"),
        "own-node": Node(own=True),
        "other-node": Node(),
        "metadata": Address(ip="169.254.169.254"),
        "apiserver": Node(),
    }
)
"""Everyone around a Cell, by the word for them. An API server is on another node, or remote."""


def component(frame: CellFrame, name: str) -> Pod:
    """A pod of a component, or of the egress gateway."""
    if name == EGRESS:
        return _pod(allow.egress_gateway(frame), frame)
    return _pod(allow.component_pods(frame, name), frame)


def around(name: str) -> Place | None:
    """Whom a word, an address or a host's name means; ``None`` if nobody."""
    if name in AROUND:
        return AROUND[name]
    try:
        return Address(ip=str(ipaddress.ip_address(name.strip("[]"))))
    except ValueError:
        pass
    if _HOST.fullmatch(name.lower()):
        return Address(ip=_DOCUMENTED, names=(name.lower(),))
    return None

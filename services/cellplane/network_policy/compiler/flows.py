"""What a verdict is asked about: one flow between two places, and the answer with its rules.

The places are what an engine sees of a packet: the identity of a pod, a node, or an address outside
of the cluster with the names by which it was looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod on the pod network."""

    namespace: str
    account: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    """Beside the one with its name, which the API server sets."""
    ip: str = "100.64.0.1"
    """Its address: engines of NetworkPolicy may hold it against blocks of addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node, or a pod on its network: ``own`` if the other side of the flow runs there."""

    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address that is neither a pod's nor a node's."""

    ip: str
    names: tuple[str, ...] = ()


Place: TypeAlias = Pod | Node | Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A connection to a port of a process; replies belong to it."""

    source: Place
    destination: Place
    port: int
    transport: str = "TCP"
    query: str = ""
    """For DNS: the name that is asked for; empty judges the connection alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a flow passes, and what decided it."""

    allowed: bool
    rules: tuple[str, ...]
    """One line for each side that decided: which rule, or that none allows it."""

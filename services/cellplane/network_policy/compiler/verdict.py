"""Who can reach whom, and why: judged on compiled objects, by what the engines do with them.

This module shares no code with the compiler: what one gets wrong, the other shows. Both sides must
allow a flow. Where policies of both engines meet a pod, each may allow, and Cilium's may deny.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cellplane.cell.mesh import TUNNEL_PORT
from cellplane.network_policy.compiler import judge_cilium, judge_kubernetes, judge_mesh
from cellplane.network_policy.compiler.flows import Flow, Node, Pod, Verdict

_OPEN = ("egress", "ingress")


class Judge:
    """Policies, made ready for many questions.

    Args:
        objects: Parsed Kubernetes objects; other kinds are passed over.
        own_node_always: Whether a pod's own node gets in unless it is denied: always so with
            NetworkPolicy, and with Cilium unless its ``allow-localhost`` is ``policy``.
    """

    __slots__ = ("_cilium", "_mesh", "_own_node_always", "_plain")

    def __init__(
        self, objects: Iterable[Mapping[str, Any]], *, own_node_always: bool = True
    ) -> None:
        known = list(objects)
        self._plain = judge_kubernetes.Policies(o for o in known if o["kind"] == "NetworkPolicy")
        self._cilium = judge_cilium.Policies(o for o in known if o["kind"] in judge_cilium.KINDS)
        self._mesh = judge_mesh.Mesh(o for o in known if o["kind"] in judge_mesh.KINDS)
        self._own_node_always = own_node_always

    def verdict(self, flow: Flow) -> Verdict:
        """Judge both sides of a flow."""
        sides = [self.one_side(flow, direction) for direction in _OPEN]
        refused = [rule for side in sides if not side.allowed for rule in side.rules]
        if refused:
            return Verdict(allowed=False, rules=tuple(refused))
        return Verdict(allowed=True, rules=tuple(rule for side in sides for rule in side.rules))

    def one_side(self, flow: Flow, direction: str) -> Verdict:
        """Judge the ``ingress`` of a flow's destination, or the ``egress`` of its source."""
        if not self._mesh.carries(flow):
            return self._of_network(flow, direction)
        found = self._of_network(replace(flow, port=TUNNEL_PORT), direction)
        if direction == "egress" or not found.allowed:
            return found
        closed, allowing = self._mesh.allowing(flow)
        if closed and not allowing:
            return Verdict(
                allowed=False, rules=("ingress: denied, as no rule of the mesh allows it",)
            )
        return Verdict(allowed=True, rules=(*found.rules, *allowing))

    def _of_network(self, flow: Flow, direction: str) -> Verdict:
        subject = flow.destination if direction == "ingress" else flow.source
        if not isinstance(subject, Pod):
            return Verdict(allowed=True, rules=(f"{direction}: no policy closes it",))
        closed_plain, by_plain = self._plain.judge(subject, flow, direction)
        closed_cilium, by_cilium, denied = self._cilium.judge(subject, flow, direction)
        if denied:
            return Verdict(allowed=False, rules=tuple(denied))
        if by_plain or by_cilium:
            return Verdict(allowed=True, rules=(*by_plain, *by_cilium))
        own_node = isinstance(flow.source, Node) and flow.source.own and self._own_node_always
        if direction == "ingress" and own_node:
            return Verdict(allowed=True, rules=("ingress: a pod's own node always gets in",))
        if not (closed_plain or closed_cilium):
            return Verdict(allowed=True, rules=(f"{direction}: no policy closes it",))
        return Verdict(allowed=False, rules=(f"{direction}: denied, as no rule allows it",))


def verdict(
    objects: Iterable[Mapping[str, Any]], flow: Flow, *, own_node_always: bool = True
) -> Verdict:
    """Judge one flow, both sides; see ``Judge``."""
    return Judge(objects, own_node_always=own_node_always).verdict(flow)


def one_side(
    objects: Iterable[Mapping[str, Any]],
    flow: Flow,
    direction: str,
    *,
    own_node_always: bool = True,
) -> Verdict:
    """Judge one side of one flow; see ``Judge``."""
    return Judge(objects, own_node_always=own_node_always).one_side(flow, direction)

"""How Istio's ambient mesh judges, by the policies of security.istio.io/v1.

Between pods of the mesh TCP arrives in the tunnel; then one ALLOW policy that selects the pod must
have a rule for the caller's identity and the port, unless none selects it. Not tried against a
running Istio: read in its API's reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cellplane.network_policy.compiler.flows import Flow, Pod
from cellplane.network_policy.compiler.selectors import selects

KINDS: Final = frozenset({"AuthorizationPolicy", "PeerAuthentication"})
_ALWAYS: Final = "cellplane-gateways"
"""The namespace of the shared gateways is in the mesh wherever there is one."""


class Mesh:
    """The mesh of a cluster, as far as policies tell of it."""

    __slots__ = ("_authorizations", "_namespaces")

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        known = list(objects)
        strict = {
            o["metadata"]["namespace"]
            for o in known
            if o["kind"] == "PeerAuthentication"
            and (o["spec"].get("mtls") or {}).get("mode") == "STRICT"
        }
        self._namespaces = strict | ({_ALWAYS} if strict else set())
        self._authorizations = [o for o in known if o["kind"] == "AuthorizationPolicy"]

    def carries(self, flow: Flow) -> bool:
        """Whether a flow goes through the tunnel."""
        ends = (flow.source, flow.destination)
        return flow.transport == "TCP" and all(
            isinstance(end, Pod) and end.namespace in self._namespaces for end in ends
        )

    def allowing(self, flow: Flow) -> tuple[bool, list[str]]:
        """Whether any policy closes the destination of a flow, and the rules that allow it."""
        target, source = flow.destination, flow.source
        if not isinstance(target, Pod) or not isinstance(source, Pod):
            return False, []
        closed, found = False, list[str]()
        for body in self._authorizations:
            metadata, spec = body["metadata"], body["spec"]
            selector = spec.get("selector") or {}
            if metadata["namespace"] != target.namespace or not selects(selector, target.labels):
                continue
            closed = True
            for index, rule in enumerate(spec.get("rules") or ()):
                if _allows(rule, source, flow.port):
                    where = f"{metadata['namespace']}/{metadata['name']}"
                    found.append(f"AuthorizationPolicy {where} rules[{index}]")
        return closed, found


def _allows(rule: Mapping[str, Any], source: Pod, port: int) -> bool:
    callers, operations = rule.get("from") or (), rule.get("to") or ()
    known = not callers or any(_is(caller["source"], source) for caller in callers)
    ports = [o["operation"].get("ports") or () for o in operations]
    return known and (not ports or any(not p or str(port) in p for p in ports))


def _is(caller: Mapping[str, Any], source: Pod) -> bool:
    own = f"cluster.local/ns/{source.namespace}/sa/{source.account}"
    return (
        ("principals" not in caller or own in caller["principals"])
        and ("namespaces" not in caller or source.namespace in caller["namespaces"])
        and own not in caller.get("notPrincipals", ())
    )

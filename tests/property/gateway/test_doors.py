"""Laws of every door that the gateway compiler opens, whatever the Cell."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell import addresses, hosts
from cellplane.cell.cell import ExternalTarget, ResolvedCell
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Severity
from cellplane.cell.visibility import Visibility
from cellplane.gateway.compiler.callers import HEADER
from cellplane.gateway.compiler.compile import compile as compile_gateways
from tests.property.compilers.strategies import cells, peers, planes

EVERYTHING = ("cert-manager", "gateway", "gateway.envoy", "networkpolicy.cilium")
HOSTILE = (
    "127.0.0.1",
    "169.254.169.254",
    "metadata.google.internal",
    "kubernetes.default.svc",
    "web.cell-other-dev-x.svc.cluster.local",
    "0x7f.1",
    "*.example.com",
    "localhost",
    "a b",
    "",
)


@settings(max_examples=20, deadline=None)
@given(cells(), planes(), peers)
def test_a_route_leads_to_what_was_declared_for_that_door(
    cell: ResolvedCell, plane: DataPlaneProfile, around: Peers
) -> None:
    """Northbound leads to public endpoints, westbound to the organization's, for their callers."""
    plane = replace(plane, capabilities=EVERYTHING)
    declared = {(c.component, e.port): e for c in cell.components for e in c.endpoints}
    for door, route in _routes(cell, plane, around):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if door == addresses.EGRESS_GATEWAY:
                    assert backend["kind"] == "Backend"
                    continue
                component = route["metadata"]["labels"]["cellplane.dev/component"]
                assert backend["name"] == addresses.service_name(component)
                endpoint = declared[component, backend["port"]]
                if door == addresses.NORTHBOUND_GATEWAY:
                    assert Visibility.PUBLIC in endpoint.visibilities
                else:
                    assert Visibility.ORGANIZATION in endpoint.visibilities
                    assert endpoint.organization_callers
                    assert rule["matches"]
                    assert all(
                        HEADER in {header["name"] for header in match["headers"]}
                        for match in rule["matches"]
                    )


@settings(max_examples=20, deadline=None)
@given(cells(), planes(), peers)
def test_nothing_leads_to_the_pod_itself_or_its_node(
    cell: ResolvedCell, plane: DataPlaneProfile, around: Peers
) -> None:
    """A Backend is a declared host or another plane's gateway, and never this machine's."""
    answer = compile_gateways(cell, plane, around, include_frame=True)
    for manifest in answer.manifests:
        if manifest.kind != "Backend":
            continue
        for endpoint in json.loads(manifest.content)["spec"]["endpoints"]:
            if "ip" in endpoint:
                address = ipaddress.ip_address(endpoint["ip"]["address"])
                assert not address.is_loopback
                assert not address.is_link_local
            else:
                name = endpoint["fqdn"]["hostname"]
                assert name.startswith("westbound.cellplane-gateways.") or not hosts.refused(name)


@settings(max_examples=15, deadline=None)
@given(cells(), st.sampled_from(HOSTILE))
def test_a_host_of_ours_is_no_external_host(cell: ResolvedCell, hostile: str) -> None:
    """Whatever got past those who check it before, such a host is refused, and has no listener."""
    plane = DataPlaneProfile(
        data_plane="a", uid="a", organization="acme", trust_domain="t", capabilities=EVERYTHING
    )

    def worse(connection: Any) -> Any:
        if connection.external is None:
            return connection
        return replace(connection, external=ExternalTarget(host=hostile, port=80))

    components = tuple(
        replace(c, connections=tuple(map(worse, c.connections))) for c in cell.components
    )
    outbound = tuple(replace(o, connection=worse(o.connection)) for o in cell.frame.outbound)
    cell = replace(cell, components=components, frame=replace(cell.frame, outbound=outbound))

    answer = compile_gateways(cell, plane, Peers(), include_frame=True)

    wanted = sum(c.external is not None for each in components for c in each.connections)
    refused = [p for p in answer.problems if p.reason == "HOST_REFUSED"]
    assert len(refused) == wanted
    assert all(p.severity is Severity.ERROR for p in refused)
    assert not any(m.kind == "Backend" for m in answer.manifests)


@settings(max_examples=15, deadline=None)
@given(cells(), planes(), peers, st.randoms())
def test_order_means_nothing(
    cell: ResolvedCell, plane: DataPlaneProfile, around: Peers, random: Any
) -> None:
    """The same Cell gives the same bytes, in whatever order its parts are told."""
    components, outbound = list(cell.components), list(cell.frame.outbound)
    random.shuffle(components)
    random.shuffle(outbound)
    other = replace(
        cell,
        components=tuple(components),
        frame=replace(cell.frame, outbound=tuple(outbound)),
    )

    first = compile_gateways(cell, plane, around, include_frame=True)
    second = compile_gateways(other, plane, around, include_frame=True)

    assert first.manifests == second.manifests


def _routes(
    cell: ResolvedCell, plane: DataPlaneProfile, around: Peers
) -> Iterator[tuple[str, Any]]:
    for manifest in compile_gateways(cell, plane, around, include_frame=True).manifests:
        if manifest.kind.endswith("Route"):
            body = json.loads(manifest.content)
            yield body["spec"]["parentRefs"][0]["name"], body

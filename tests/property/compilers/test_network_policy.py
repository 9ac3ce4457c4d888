"""Laws of the network policy compiler, judged by the verdict, which knows nothing of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import in_order
from cellplane.cell.plane import CILIUM_POLICY, KUBERNETES_POLICY, DataPlaneProfile, Peers
from cellplane.cell.problem import Severity
from cellplane.cell.protocol import TRAITS
from cellplane.cell.visibility import Isolation, Visibility
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.judge_cilium import refusals
from cellplane.network_policy.compiler.survey import survey
from cellplane.network_policy.compiler.verdict import one_side, verdict
from tests.property.compilers.strategies import COMPONENTS, cells, peers, planes

PORTS = st.sampled_from([1, 22, 53, 4317, 8080, 9090, 18000, 19003, 65535])


def plane_with(provider: str) -> DataPlaneProfile:
    return DataPlaneProfile(
        data_plane="plane-a",
        uid="6f1c",
        organization="acme",
        trust_domain="cellplane.local",
        capabilities=(provider,),
    )


def objects_of(
    cell: ResolvedCell, plane: DataPlaneProfile, reached: Peers, *, frame: bool = True
) -> list[dict[str, Any]]:
    compiled = compile_policies(cell, plane, reached, include_frame=frame)
    return [json.loads(m.content) for m in compiled.manifests]


def pod_of(cell: ResolvedCell, component: str) -> Pod:
    return Pod(
        namespace=cell.frame.namespace, account=component, labels={labels.COMPONENT: component}
    )


providers = st.sampled_from([CILIUM_POLICY, KUBERNETES_POLICY])
strangers: st.SearchStrategy[Place] = st.sampled_from(
    [
        Pod(namespace="tenant", account="api", labels={labels.COMPONENT: "api"}),
        Pod(namespace="tenant", account="northbound", labels={}),
        Pod(namespace=addresses.GATEWAY_NAMESPACE),
        Pod(namespace="kube-system"),
        Node(),
        Address(ip="198.51.100.9"),
        Address(ip="2001:db8::9"),
        Address(ip="169.254.169.254"),
    ]
)


@settings(max_examples=40, deadline=None)
@given(cells(), planes(), peers, st.booleans())
def test_each_component_is_compiled_on_its_own(
    cell: ResolvedCell, plane: DataPlaneProfile, reached: Peers, frame: bool
) -> None:
    """Compiling a Cell is compiling its frame and each of its components alone."""
    whole = compile_policies(cell, plane, reached, include_frame=frame)
    parts = [
        compile_policies(replace(cell, components=(c,)), plane, reached, include_frame=False)
        for c in cell.components
    ]
    parts.append(
        compile_policies(replace(cell, components=()), plane, reached, include_frame=frame)
    )

    assert whole.manifests == in_order(m for part in parts for m in part.manifests)
    assert len({m.key for m in whole.manifests}) == len(whole.manifests)


@settings(max_examples=40, deadline=None)
@given(cells(), planes(), peers, st.randoms(use_true_random=False))
def test_order_has_no_meaning(
    cell: ResolvedCell, plane: DataPlaneProfile, reached: Peers, rng: Any
) -> None:
    """Components, endpoints and connections in another order give the same bytes."""

    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(rng.sample(items, len(items)))

    other = replace(
        cell,
        frame=replace(cell.frame, outbound=shuffled(cell.frame.outbound)),
        components=tuple(
            replace(c, endpoints=shuffled(c.endpoints), connections=shuffled(c.connections))
            for c in shuffled(cell.components)
        ),
    )

    one = compile_policies(cell, plane, reached, include_frame=True)
    two = compile_policies(other, plane, reached, include_frame=True)

    assert one.manifests == two.manifests


@settings(max_examples=80, deadline=None)
@given(cells(), peers)
def test_cilium_takes_every_policy(cell: ResolvedCell, reached: Peers) -> None:
    """No policy is one that Cilium's agent would refuse, which would leave its pods open."""
    for body in objects_of(cell, plane_with(CILIUM_POLICY), reached):
        assert refusals(body) == []


@settings(max_examples=80, deadline=None)
@given(cells(), peers, providers, strangers, st.sampled_from(COMPONENTS), PORTS)
def test_no_stranger_meets_a_pod(
    cell: ResolvedCell, reached: Peers, provider: str, stranger: Place, component: str, port: int
) -> None:
    """Nothing outside of the table reaches a pod of a Cell, nor is reached by one."""
    objects = objects_of(cell, plane_with(provider), reached)
    pod = pod_of(cell, component)

    for transport in ("TCP", "UDP"):
        inward = Flow(source=stranger, destination=pod, port=port, transport=transport)
        outward = Flow(source=pod, destination=stranger, port=port, transport=transport)
        assert not verdict(objects, inward).allowed
        assert not verdict(objects, outward).allowed


@settings(max_examples=80, deadline=None)
@given(cells(), peers, providers, st.data())
def test_in_cell_traffic_is_as_declared(
    cell: ResolvedCell, reached: Peers, provider: str, data: st.DataObject
) -> None:
    """Declared ports are open to the Cell (OPEN) or to their callers (STRICT), others are not."""
    callee = data.draw(st.sampled_from(cell.components))
    caller = data.draw(st.sampled_from(cell.components)).component
    port = data.draw(PORTS)
    offered = [
        e
        for e in callee.endpoints
        if e.target_port == port and TRAITS[e.protocol].transport.value == "TCP"
    ]
    known = {c for e in offered for c in e.cell_callers} | {callee.component}
    strict = cell.frame.isolation is Isolation.STRICT
    flow = Flow(source=pod_of(cell, caller), destination=pod_of(cell, callee.component), port=port)

    found = one_side(objects_of(cell, plane_with(provider), reached), flow, "ingress")

    assert found.allowed is (bool(offered) and (not strict or caller in known)), found.rules


@settings(max_examples=40, deadline=None)
@given(cells(), peers, providers, st.data())
def test_gateways_meet_what_is_visible(
    cell: ResolvedCell, reached: Peers, provider: str, data: st.DataObject
) -> None:
    """A gateway's pod meets exactly the ports that are visible through it."""
    component = data.draw(st.sampled_from(cell.components))
    endpoint = data.draw(st.sampled_from(component.endpoints)) if component.endpoints else None
    assume(endpoint is not None)
    assert endpoint is not None
    transport = TRAITS[endpoint.protocol].transport
    same = [
        e
        for e in component.endpoints
        if e.target_port == endpoint.target_port and TRAITS[e.protocol].transport is transport
    ]
    objects = objects_of(cell, plane_with(provider), reached)
    for gateway, visibility in (
        (addresses.NORTHBOUND_GATEWAY, Visibility.PUBLIC),
        (addresses.WESTBOUND_GATEWAY, Visibility.ORGANIZATION),
    ):
        source = Pod(
            namespace=addresses.GATEWAY_NAMESPACE,
            account=gateway,
            labels={"gateway.envoyproxy.io/owning-gateway-name": gateway},
        )
        flow = Flow(
            source=source,
            destination=pod_of(cell, component.component),
            port=endpoint.target_port,
            transport=transport.value,
        )
        visible = any(
            visibility in e.visibilities
            and (visibility is Visibility.PUBLIC or TRAITS[e.protocol].carries_identity)
            for e in same
        )
        assert verdict(objects, flow).allowed is visible


@settings(max_examples=40, deadline=None)
@given(cells(), peers, providers, st.sampled_from(COMPONENTS))
def test_no_component_borrows_a_connection(
    cell: ResolvedCell, reached: Peers, provider: str, component: str
) -> None:
    """Each listener of the egress gateway is met by the component that owns it alone."""
    objects = objects_of(cell, plane_with(provider), reached)
    proxy = Pod(
        namespace=cell.frame.namespace,
        account=addresses.EGRESS_GATEWAY,
        labels={"gateway.envoyproxy.io/owning-gateway-name": addresses.EGRESS_GATEWAY},
    )
    there = {c.component for c in cell.components}
    assume(component in there)

    for (owner, _), port in addresses.egress_ports(cell.frame).items():
        flow = Flow(source=pod_of(cell, component), destination=proxy, port=port)
        for side in ("ingress", "egress"):
            assert one_side(objects, flow, side).allowed is (owner == component)


@settings(max_examples=40, deadline=None)
@given(cells(), planes(), peers)
def test_a_plane_without_a_provider_is_refused(
    cell: ResolvedCell, plane: DataPlaneProfile, reached: Peers
) -> None:
    """Either the guard is there, or an error says that nothing closes the Cell."""
    compiled = compile_policies(cell, plane, reached, include_frame=True)

    closed = any(m.object == "cell.default-deny" for m in compiled.manifests)
    refused = any(
        p.reason == "CAPABILITY_MISSING" and p.severity is Severity.ERROR for p in compiled.problems
    )
    assert closed is not refused


@settings(max_examples=25, deadline=None)
@given(cells(), peers, providers)
def test_the_whole_table_holds(cell: ResolvedCell, reached: Peers, provider: str) -> None:
    """Whatever the model, everything open must be, and everything that must be is open."""
    found = survey("plane-a", cell, objects_of(cell, plane_with(provider), reached))

    wrong = [v for v in found.violations if not v.limit]
    if cell.frame.isolation is Isolation.STRICT:
        # Models here know callers who declare no connection: those are closed on their own side.
        wrong = [v for v in wrong if v.allowed]
    assert wrong == []
    assert provider == KUBERNETES_POLICY or not any(v.limit for v in found.violations)
    assert found.check_count > len(found.openings)


@settings(max_examples=20, deadline=None)
@given(cells(), peers, providers, st.data())
def test_a_policy_that_is_gone_shows(
    cell: ResolvedCell, reached: Peers, provider: str, data: st.DataObject
) -> None:
    """Without the guard and a component's policy, the table of the Cell tells of violations."""
    objects = objects_of(cell, plane_with(provider), reached)
    component = data.draw(st.sampled_from(cell.components)).component
    gone = {"cell.default-deny", f"component.{component}"}

    found = survey("plane-a", cell, [o for o in objects if o["metadata"]["name"] not in gone])

    assert any(v.allowed and not v.limit for v in found.violations)

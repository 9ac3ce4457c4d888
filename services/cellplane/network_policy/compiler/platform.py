"""What a data plane gets beside Cells: the closed namespace of the shared gateways.

The gateways are the only pods that others than their own Cell may meet, so they are closed as Cells
are: the northbound one takes callers from outside of the cluster on its listeners, the westbound
one Cells' egress gateways and the internal network; both reach pods of Cells, whose own policies
say which, and their controller. Where the engine has cluster-wide policies, Cells are closed by one
more guard, which holds while a Cell's own is put back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cellplane.cell import addresses, labels
from cellplane.cell.manifest import Compiled, Manifest, Phase, in_order, manifest
from cellplane.cell.names import PlatformName
from cellplane.cell.plane import CILIUM_POLICY, KUBERNETES_POLICY, DataPlaneProfile
from cellplane.network_policy.compiler import cilium, kubernetes
from cellplane.network_policy.compiler.allow import (
    COLLECTOR,
    COLLECTOR_NAME,
    NORTHBOUND,
    WESTBOUND,
    AnyCellPods,
    Grant,
    HostAddress,
    OtherNodes,
    OwnNode,
    Peer,
    Pods,
    Port,
    Rule,
    World,
    dns,
)
from cellplane.network_policy.compiler.objects import ground_of_platform
from cellplane.network_policy.compiler.outbound import (
    CONTROLLER,
    CONTROLLER_NAME,
    CONTROLLER_PORT,
    PROBE_PORTS,
    WESTBOUND_TARGET,
    searched,
)

NORTHBOUND_TARGETS: Final = tuple(
    Port(number=addresses.target_port(port)) for port in addresses.NORTHBOUND_PORTS
)
INTERNAL_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Who is inside of an organization's network, unless its data plane says otherwise (RFC 1918,
RFC 4193)."""
EGRESS_GATEWAYS: Final = AnyCellPods(
    account=addresses.EGRESS_GATEWAY,
    labels={"gateway.envoyproxy.io/owning-gateway-name": addresses.EGRESS_GATEWAY},
)


def compile_gateways(plane: DataPlaneProfile) -> Compiled:
    """Compile the namespace of the shared gateways; nothing where nothing can close it."""
    if not (plane.can(CILIUM_POLICY) or plane.can(KUBERNETES_POLICY)):
        return Compiled()
    name = PlatformName(
        organization=plane.organization,
        data_plane=plane.data_plane,
        platform=addresses.GATEWAYS_PLATFORM,
    )
    ground = ground_of_platform(name)
    engine = cilium if plane.can(CILIUM_POLICY) else kubernetes
    manifests = [
        _namespace(name),
        engine.guard(ground),
        engine.grant_policy(ground, _northbound(ground.namespace), "gateway.northbound"),
        engine.grant_policy(ground, _westbound(ground.namespace, plane), "gateway.westbound"),
    ]
    if plane.can(CILIUM_POLICY):
        manifests.append(cilium.cells_guard(ground))
    return Compiled(manifests=in_order(manifests))


def _namespace(name: PlatformName) -> Manifest:
    own = labels.platform_labels(name.organization, name.platform, name.namespace)
    # Gateways need no right that the strictest level forbids.
    own |= {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name.namespace,
            "labels": own,
            "annotations": {labels.OWNER: str(name)},
        },
    }
    return manifest("", Phase.NAMESPACE, body)


def _northbound(namespace: str) -> Grant:
    outside = (World(), OtherNodes(), OwnNode())
    return _gateway(namespace, NORTHBOUND, [Rule(peers=outside, ports=NORTHBOUND_TARGETS)])


def _westbound(namespace: str, plane: DataPlaneProfile) -> Grant:
    networks = plane.internal_networks or INTERNAL_NETWORKS
    # Callers of other data planes come by way of a load balancer, which may send from a node.
    inside: tuple[Peer, ...] = (
        *(HostAddress(cidr=cidr) for cidr in networks),
        OtherNodes(),
        OwnNode(),
    )
    return _gateway(
        namespace,
        WESTBOUND,
        [
            Rule(peers=(EGRESS_GATEWAYS,), ports=(WESTBOUND_TARGET,)),
            Rule(peers=inside, ports=(WESTBOUND_TARGET,)),
        ],
    )


def _gateway(namespace: str, subject: Pods, callers: Iterable[Rule]) -> Grant:
    names = {n for name in (CONTROLLER_NAME, COLLECTOR_NAME) for n in searched(namespace, name)}
    return Grant(
        part="",
        subject=subject,
        ingress=(*callers, Rule(peers=(OwnNode(),), ports=PROBE_PORTS)),
        egress=(
            dns(names),
            Rule(peers=(CONTROLLER,), ports=(CONTROLLER_PORT,)),
            Rule(peers=(COLLECTOR,), ports=(Port(number=addresses.COLLECTOR_PORT),)),
            # Both sides must allow a flow: each component's own policy names its ports.
            Rule(peers=(AnyCellPods(),)),
        ),
    )

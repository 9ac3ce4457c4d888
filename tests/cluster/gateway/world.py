"""Envoy Gateway and its Envoys over a real API server, and whoever calls or is called.

cert-manager's part is played by ``certificates``: it signs what a Certificate asks for, by the
authority that its issuer names. Everything else that decides is real.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellplane.cell import addresses, labels
from cellplane.cell.manifest import PHASE_ORDER, Manifest
from cellplane.gateway.compiler.compile import compile as compile_gateways
from cellplane.gateway.compiler.platform import PUBLIC_ISSUER, compile_platform
from cellplane.runtime.pki import Authority
from cellplane.sandbox import cluster, processes
from cellplane.sandbox.api import Api
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.crds import CrdSet
from tests.cluster.gateway import controller
from tests.cluster.gateway.backends import Backends
from tests.cluster.gateway.proxies import BRIDGE, PATIENCE, Proxies, Proxy
from tests.golden import cases

_APPLY = "?fieldManager=test&force=true"
_STANDARD = "gateway.networking.k8s.io/v1"
_SHARED = (addresses.NORTHBOUND_GATEWAY, addresses.WESTBOUND_GATEWAY)
_CLUSTER_WIDE = {"GatewayClass", "Namespace"}


@dataclass(slots=True, kw_only=True)
class World:
    """All of it, running."""

    folder: Path
    hosts: Path
    api: Api
    proxies: Proxies
    backends: Backends
    organization: Authority
    """Signs the certificates of Cells and gateways."""
    public: Authority
    """Signs what the world outside trusts."""
    _addresses: Iterator[int] = field(default_factory=lambda: iter(range(1, 250)))

    async def apply(self, manifests: Iterable[Manifest]) -> None:
        """Apply as an agent does: phase by phase; certificates are signed at once."""
        for manifest in sorted(manifests, key=lambda m: (PHASE_ORDER[m.phase], m.key)):
            body = json.loads(manifest.content)
            if body["kind"] == "Certificate":
                await self._certify(body)
            elif body["kind"] != "ExternalSecret":  # a case says what is in its Secrets
                await self.put(body)

    async def put(self, body: Mapping[str, Any]) -> None:
        """Apply one object."""
        path = f"{_path(body)}/{body['metadata']['name']}{_APPLY}"
        answer = await self.api.call("PATCH", path, body, content="application/apply-patch+yaml")
        assert answer.ok, (path, answer.body)

    async def give_home(self, case: cases.Case) -> None:
        """A Cell's namespace, with its components' Services and what listens behind them."""
        frame = case.cell.frame
        own = labels.cell_labels(
            frame.organization, frame.project, frame.environment, frame.namespace
        )
        await self.put(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": frame.namespace, "labels": own},
            }
        )
        for component in case.cell.components:
            address = self.address()
            ports = {e.endpoint: e for e in component.endpoints}
            name = addresses.service_name(component.component)
            await self.service(
                frame.namespace,
                name,
                address,
                {each.port: each.target_port for each in ports.values()},
            )
            for each in ports.values():
                await self.backends.listen(
                    component.component, each.protocol, address, each.target_port
                )

    async def service(
        self, namespace: str, name: str, address: str, ports: Mapping[int, int]
    ) -> None:
        """A Service without a selector, and the one address behind it."""
        listed = [(f"p{port}", port, target) for port, target in sorted(ports.items())]
        metadata = {"name": name, "namespace": namespace}
        await self.put(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": metadata,
                "spec": {
                    "ports": [{"name": n, "port": p, "targetPort": t} for n, p, t in listed]
                    or [{"name": "none", "port": 1}]
                },
            }
        )
        await self.put(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": n, "port": t} for n, _, t in listed],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            }
        )
        with self.hosts.open("a") as file:
            file.write(f"{address} {name}.{namespace}.svc.cluster.local\n")

    async def secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """A Secret, as an ExternalSecret would have made it."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        await self.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
                "data": encoded,
            }
        )

    def address(self) -> str:
        """An address of its own, on loopback in this network alone."""
        return f"10.251.0.{next(self._addresses)}"

    def name_host(self, host: str, address: str) -> None:
        """Let everyone in this world find *host*."""
        with self.hosts.open("a") as file:
            file.write(f"{address} {host}\n")

    def outside(self, host: str) -> ssl.SSLContext:
        """TLS of a host on the internet."""
        return self.serving(self.public, host)

    def serving(self, authority: Authority, host: str) -> ssl.SSLContext:
        """TLS of a server of this name."""
        pair = authority.issue(uri=f"spiffe://servers/{host}", dns=[host], server=True)
        certificate, key = pair.save(self.folder, host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    # -- settling ----------------------------------------------------------------------------

    async def settle(self, manifests: Sequence[Manifest]) -> None:
        """Wait until every object is taken and programmed, and the Envoys serve every route."""
        watched = [m for m in manifests if m.kind in _SAYS]
        deadline = time.monotonic() + PATIENCE
        while True:
            await self._balance()
            wrong = [why for m in watched if (why := await self._not_yet(m))]
            if not wrong:
                break
            assert time.monotonic() < deadline, "\n".join(wrong)
            await asyncio.sleep(0.1)
        await self.proxies.start_all()
        wanted = {(m.namespace, m.object) for m in manifests if m.kind.endswith("Route")}
        while missing := wanted - await self._served():
            assert time.monotonic() < deadline, f"no Envoy serves {sorted(missing)}: {self.logs()}"
            await asyncio.sleep(0.1)

    def logs(self) -> str:
        """The ends of what the gateways' programs say."""
        state = self.proxies.info.state
        known = [name for name in processes.known(state) if name.startswith("envoy")]
        return "\n".join(f"{name}:\n{processes.last_lines(state, name, 40)}" for name in known)

    def proxy(self, namespace: str, gateway: str) -> Proxy:
        """The Envoy of a Gateway."""
        return self.proxies.running[namespace, gateway]

    async def _served(self) -> set[tuple[str, str]]:
        served: set[tuple[str, str]] = set()
        for proxy in self.proxies.running.values():
            served |= await proxy.routes()
        return served

    async def _balance(self) -> None:
        """Give each Service of a load balancer its address, as a cloud would."""
        services = await self.api.get("/api/v1/services")
        for service in services["items"]:
            balanced = service["status"].get("loadBalancer", {}).get("ingress")
            if service["spec"]["type"] == "LoadBalancer" and not balanced:
                metadata = service["metadata"]
                await self.api.merge(
                    f"/api/v1/namespaces/{metadata['namespace']}/services"
                    f"/{metadata['name']}/status",
                    {"status": {"loadBalancer": {"ingress": [{"ip": "10.249.0.1"}]}}},
                )

    async def _not_yet(self, manifest: Manifest) -> str:
        body = json.loads(manifest.content)
        now = await self.api.get(f"{_path(body)}/{manifest.object}")
        told = _SAYS[manifest.kind]
        places = _conditions(now)
        for conditions in places:
            for kind in told:
                found = next((c for c in conditions if c["type"] == kind), {"status": "absent"})
                if found["status"] != "True":
                    return f"{manifest.key}: {kind} is {found}"
        return "" if places else f"{manifest.key} has no status"

    async def _certify(self, body: Mapping[str, Any]) -> None:
        spec, metadata = body["spec"], body["metadata"]
        public = spec["issuerRef"]["name"] == PUBLIC_ISSUER
        authority = self.public if public else self.organization
        pair = authority.issue(
            uri=next(iter(spec.get("uris", ())), "spiffe://internet/gateway"),
            dns=spec.get("dnsNames", []),
            server="server auth" in spec["usages"],
        )
        await self.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": spec["secretName"], "namespace": metadata["namespace"]},
                "type": "kubernetes.io/tls",
                "data": {
                    "tls.crt": base64.b64encode(pair.cert_pem).decode(),
                    "tls.key": base64.b64encode(pair.key_pem).decode(),
                    "ca.crt": base64.b64encode(authority.cert_pem).decode(),
                },
            }
        )


_ACCEPTED = ("Accepted",)
_SAYS: Mapping[str, Sequence[str]] = {
    "GatewayClass": _ACCEPTED,
    "Gateway": ("Accepted", "Programmed"),
    "ListenerSet": ("Accepted", "Programmed"),
    "HTTPRoute": ("Accepted", "ResolvedRefs"),
    "GRPCRoute": ("Accepted", "ResolvedRefs"),
    "TLSRoute": ("Accepted", "ResolvedRefs"),
    "TCPRoute": ("Accepted", "ResolvedRefs"),
    "BackendTLSPolicy": ("Accepted", "ResolvedRefs"),
    "SecurityPolicy": _ACCEPTED,
    "BackendTrafficPolicy": _ACCEPTED,
    "ClientTrafficPolicy": _ACCEPTED,
    "Backend": _ACCEPTED,
}
"""What must be True of each kind before it counts as done."""


def _conditions(body: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    status = body.get("status", {})
    places = status.get("parents", status.get("ancestors"))
    if places is None:
        return [status["conditions"]] if status.get("conditions") else []
    listeners = [each["conditions"] for each in status.get("listeners", ())]
    return [each["conditions"] for each in places] + listeners


def _path(body: Mapping[str, Any]) -> str:
    version, kind = body["apiVersion"], body["kind"]
    plural = _plural(kind.lower())
    root = "/api/v1" if version == "v1" else f"/apis/{version}"
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{body['metadata']['namespace']}/{plural}"


def _plural(kind: str) -> str:
    if kind.endswith("s"):
        return f"{kind}es"
    return f"{kind[:-1]}ies" if kind.endswith(("cy", "xy")) else f"{kind}s"


@asynccontextmanager
async def running(
    folder: Path,
    program: Path,
    hosts: Path,
    public: Authority,
    told: Sequence[cases.Case],
) -> AsyncIterator[World]:
    """The world with its shared gateways, which serve the domains of these cases."""
    async with AsyncExitStack() as stack:
        await _bridge()
        info = await stack.enter_async_context(
            cluster.running(
                "gateways", folder / "c", crds=frozenset({CrdSet.ENVOY_GATEWAY}), nodes=1
            )
        )
        stack.push_async_callback(_end, info)
        api = await stack.enter_async_context(Api(info.kubeconfig.read_text()))
        await controller.start(info, api, program, roots=public.cert_pem, hosts=hosts)
        world = World(
            folder=folder,
            hosts=hosts,
            api=api,
            proxies=Proxies(info=info, api=api),
            backends=Backends(stack=stack),
            organization=Authority.create("organization acme"),
            public=public,
        )
        await world.put(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": addresses.GATEWAY_NAMESPACE},
            }
        )
        domains = [case.cell.frame.public_domain for case in told]
        platform = compile_platform(told[0].plane, domains).manifests
        await world.apply(platform)
        await world.settle(platform)
        for shared in _SHARED:
            world.name_host(
                f"{shared}.{addresses.GATEWAY_NAMESPACE}.svc.cluster.local",
                world.proxy(addresses.GATEWAY_NAMESPACE, shared).address,
            )
        yield world


async def _end(info: ClusterInfo) -> None:
    own = [name for name in processes.known(info.state) if name.startswith("envoy")]
    await processes.end(info.state, own)


async def _bridge() -> None:
    for command in (
        "ip link add pods type bridge",
        f"ip address add {BRIDGE}/24 dev pods",
        "ip link set pods up",
        # The whole of a prefix on loopback is local: any of its addresses can be listened on.
        "ip address add 10.251.0.254/24 dev lo",
        # Leads nowhere, but an API server must believe that somebody could reach it.
        "ip route add default dev pods",
    ):
        process = await asyncio.create_subprocess_exec(*command.split())
        assert await process.wait() == 0, command


def compiled(case: cases.Case) -> list[Manifest]:
    """What the compiler of gateways makes of a case; it may refuse nothing of it."""
    answer = compile_gateways(case.cell, case.plane, case.peers, include_frame=True)
    assert answer.problems == (), answer.problems
    return list(answer.manifests)

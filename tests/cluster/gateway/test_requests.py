"""What requests meet: every golden case of the gateway compiler, through real Envoys."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell import addresses
from cellplane.cell.manifest import Manifest
from cellplane.cell.names import kube_name
from cellplane.runtime.pki import Authority
from cellplane.sandbox.build import Tool, build, built
from tests.cluster.gateway import asking, world
from tests.cluster.gateway.underground import Underground, underground
from tests.cluster.gateway.world import World
from tests.golden import cases
from tests.golden.gateway.test_gateway import CASES

pytestmark = pytest.mark.timeout(900)

_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
ISSUER = "issuer.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A running world, and the cases that are played in it."""

    below: Underground
    world: World
    issuer: asking.Issuer
    told: Mapping[str, cases.Case]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if os.geteuid() != 0:
        pytest.skip("networks of their own need root")
    if not (os.environ.get("CELLPLANE_FULL") or built(Tool.ENVOY_GATEWAY)):
        pytest.skip("real gateways need Envoy Gateway compiled: CELLPLANE_FULL=1 (make test-full)")
    program = asyncio.run(build([Tool.ENVOY_GATEWAY]))[Tool.ENVOY_GATEWAY]
    folder = tmp_path_factory.mktemp("gateways")
    public = Authority.create("the internet")
    bundle, hosts, names = (folder / each for each in ("roots.pem", "hosts", "resolv.conf"))
    bundle.write_bytes(public.cert_pem)
    hosts.write_text("127.0.0.1 localhost\n")
    names.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    told = {path.name: cases.case_of(cases.load(path / "in.yaml")) for path in CASES}
    places = {_BUNDLE: bundle, Path("/etc/hosts"): hosts, Path("/etc/resolv.conf"): names}
    with underground(places) as below:
        opened = world.running(folder, program, hosts, public, list(told.values()))
        running = below.run(opened.__aenter__(), seconds=300)
        try:
            issuer = asking.Issuer()
            below.run(_furnish(running, issuer, told), seconds=300)
            yield Scene(below=below, world=running, issuer=issuer, told=told)
        finally:
            below.run(opened.__aexit__(None, None, None), seconds=60)


async def _furnish(running: World, issuer: asking.Issuer, told: Mapping[str, cases.Case]) -> None:
    address = running.address()
    running.name_host(ISSUER, address)
    await running.backends.provider(ISSUER, address, issuer.keys, running.outside(ISSUER))
    everything: list[Manifest] = []
    broken: set[str] = set()
    pair = running.organization.issue(uri="spiffe://partners/partnership/one")
    held = {
        "$AUTHORITY": running.organization.cert_pem.decode(),
        "$CERTIFICATE": pair.cert_pem.decode(),
        "$KEY": pair.key_pem.decode(),
    }
    for folder in CASES:
        case = told[folder.name]
        await running.give_home(case)
        beside = cases.load(folder / "requests.yaml").get("world", {})
        for name, data in beside.get("secrets", {}).items():
            filled = {key: held.get(value, value) for key, value in data.items()}
            await running.secret(case.cell.frame.namespace, name, filled)
        for host in beside.get("outside", ()):
            await _outside(running, host)
        for plane in beside.get("planes", ()):
            await _plane(running, case, plane)
        unresolved = {tuple(each.split("/")) for each in beside.get("unresolved", ())}
        broken |= {kube_name(*own, "south") for own in unresolved}
        everything += world.compiled(case)
    await running.apply(everything)
    await running.settle([each for each in everything if each.object not in broken])


async def _outside(running: World, told: Mapping[str, Any]) -> None:
    """A host on the internet; one that ``asks`` for a certificate takes one of the organization."""
    address, host = running.address(), told["host"]
    running.name_host(host, address)
    if told.get("protocol") == "TCP":
        await running.backends.tcp(host, address, told["port"])
        return
    signer = running.organization if told.get("authority") else running.public
    name = told.get("certificate", host)
    tls = running.serving(signer, name) if told.get("tls", True) else None
    if tls is not None and told.get("asks"):
        tls.load_verify_locations(cadata=running.organization.cert_pem.decode())
        tls.verify_mode = ssl.CERT_OPTIONAL
    await running.backends.http(host, address, told.get("port", 443), tls)


async def _plane(running: World, case: cases.Case, told: Mapping[str, Any]) -> None:
    """The westbound gateway of another data plane: it takes Cells of the organization alone."""
    address, host = running.address(), told["host"]
    running.name_host(host, address)
    name = addresses.westbound_name(case.plane.organization, case.plane.trust_domain)
    tls = running.serving(running.organization, name)
    tls.load_verify_locations(cadata=running.organization.cert_pem.decode())
    tls.verify_mode = ssl.CERT_REQUIRED
    await running.backends.http(host, address, told["port"], tls)


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_requests_meet_what_the_case_says(scene: Scene, folder: Path) -> None:
    """Each request of ``requests.yaml`` is answered as the case says, in its order."""
    wrong: list[str] = []
    case = scene.told[folder.name]
    for told in cases.load(folder / "requests.yaml")["requests"]:
        for turn in range(told.get("times", 1)):
            found = scene.below.run(_meet(scene, case, told), seconds=60)
            wrong += [f"{told.get('name', told)} ({turn}): {each}" for each in found]

    assert wrong == []


async def _meet(scene: Scene, case: cases.Case, told: Mapping[str, Any]) -> list[str]:
    running = scene.world
    door = told.get("door", "northbound")
    tls: Any = asking.trusting([running.public, running.organization])
    if (caller := told.get("caller")) is not None:
        path = addresses.cell_spiffe_path(
            caller.get("organization", case.cell.frame.organization),
            caller.get("uid", "a1"),
            caller["project"],
            caller.get("environment", case.cell.frame.environment),
        )
        uri = f"spiffe://{case.plane.trust_domain}{path}"
        tls = asking.holding(tls, running.organization, uri, running.folder, "caller")
    if (uri := told.get("uri")) is not None:
        tls = asking.holding(tls, running.organization, uri, running.folder, "client")
    if door == "egress":
        proxy = running.proxy(case.cell.frame.namespace, addresses.EGRESS_GATEWAY)
        ports = addresses.egress_ports(case.cell.frame)
        component, _, connection = told["connection"].partition("/")
        port = ports[component, connection]
        scheme = "https" if "sni" in told else "http"
        url = f"{scheme}://{told.get('sni', 'egress')}:{port}{told.get('path', '/')}"
    else:
        proxy = running.proxy(addresses.GATEWAY_NAMESPACE, door)
        scheme, port = ("http", 10080) if told.get("plain") else ("https", 10443)
        url = f"{scheme}://{told['host']}:{port}{told.get('path', '/')}"
    told = {**told, "headers": _headers(scene, told)}
    if "stream" in told:
        heard = await asking.stream(told["stream"], address=proxy.address, port=port)
        return [] if heard == told["expect"]["hears"] else [f"heard {heard!r}"]
    if "says" in told:
        heard = await asking.converse(told, address=proxy.address, url=url, tls=tls)
        return [] if heard == told["expect"]["hears"] else [f"heard {heard!r}"]
    if told.get("signs_in"):
        answer = await asking.sign_in(told, address=proxy.address, url=url, tls=tls)
        return asking.disagreements(told["expect"], answer)
    if "at_once" in told:
        asked = [
            asking.ask(told, address=proxy.address, url=url, tls=tls)
            for _ in range(told["at_once"])
        ]
        statuses = sorted([answer.status for answer in await asyncio.gather(*asked)])
        return [] if statuses == told["expect"]["statuses"] else [f"statuses are {statuses}"]
    answer = await asking.ask(told, address=proxy.address, url=url, tls=tls)
    return asking.disagreements(told["expect"], answer)


def _headers(scene: Scene, told: Mapping[str, Any]) -> dict[str, str]:
    headers = dict(told.get("headers", {}))
    if (claims := told.get("token")) is not None:
        claims = dict(claims)
        claims["exp"] = int(time.time()) + claims.pop("expires_in", 300)
        issuer = asking.Issuer() if told.get("forged") else scene.issuer
        headers["authorization"] = f"Bearer {issuer.token(claims)}"
    return headers


def test_the_next_plane_takes_over(scene: Scene) -> None:
    """When the nearest westbound gateway dies, calls arrive at the next data plane's.

    One that is on its way at that moment may be lost: it is never sent twice.
    """
    case = scene.told["across"]
    nearest = scene.world.proxy(addresses.GATEWAY_NAMESPACE, addresses.WESTBOUND_GATEWAY)
    told = {"door": "egress", "connection": "web/inner", "path": "/moved"}
    near = {**told, "expect": {"status": 200, "backend": "web"}}
    far = {**told, "expect": {"status": 200, "backend": "far.example", "certificate": "across"}}
    assert scene.below.run(_meet(scene, case, near), seconds=60) == []

    scene.below.run(scene.world.proxies.end(nearest), seconds=60)
    answers = [scene.below.run(_meet(scene, case, far), seconds=60) for _ in range(21)]

    assert answers[1:] == [[]] * 20

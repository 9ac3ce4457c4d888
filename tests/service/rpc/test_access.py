"""Who gets in: certificates, kinds of callers, permissions, and the order of the checks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cellplane.cell.problem import FailedPrecondition, Unauthenticated
from cellplane.rpc.access import RoleTable
from cellplane.rpc.identity import (
    CallerKind,
    Identities,
    agent_uri,
    parse_spiffe,
    service_uri,
    user_uri,
)
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS
from tests.service.rpc.conftest import DOMAIN, Keys, Plane
from tests.service.rpc.echo import BARE, ECHO, Echo, Stub, add_bare, add_echo, note
from tests.service.rpc.test_gate import failure


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        (user_uri(DOMAIN, "admin"), "USER admin"),
        (service_uri(DOMAIN, "placement"), "SERVICE placement"),
        (agent_uri(DOMAIN, "acme", "u-1"), "AGENT u-1 acme u-1"),
    ],
)
async def test_a_certificate_proves_a_principal(plane: Plane, uri: str, seen: str) -> None:
    """The handler knows its caller by the one URI of the caller's certificate."""
    stub = Stub(plane.dial(await plane.serve(Echo()), plane.keys.client(uri)))
    assert (await stub.greet(note("whoami"))).text == seen


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://cellplane.local.evil/users/admin",
        "spiffe://cellplane.loca/users/admin",
        "spiffe://cellplane.local/users/admin/more",
        "spiffe://cellplane.local/users/",
        "spiffe://cellplane.local/users/a%2Fb",
        "spiffe://cellplane.local//users/admin",
        "spiffe://cellplane.local/users/admin\n",
        "spiffe://cellplane.local/organizations/acme/dataPlanes",
        "spiffe://cellplane.local/organizations/acme/dataPlanes/u-1/cells/p/e",
        "https://cellplane.local/users/admin",
        "",
    ],
)
def test_what_is_not_exactly_an_identity_is_nobody(uri: str) -> None:
    """A URI that only begins or ends like an identity proves nothing."""
    with pytest.raises(Unauthenticated):
        parse_spiffe(uri, DOMAIN)


def test_two_names_are_nobody() -> None:
    """A certificate with two URIs is refused, and one with none too."""
    names = [b"spiffe://cellplane.local/users/a", b"spiffe://cellplane.local/users/b"]
    for uris in (names, []):
        with pytest.raises(Unauthenticated):
            Identities(DOMAIN).of({"x509_pem_cert": [b"pem"], "peer_uri": uris})


@pytest.mark.asyncio
async def test_another_trust_domain_is_unauthenticated(plane: Plane) -> None:
    """A certificate of the right authority and another trust domain proves nobody."""
    server = await plane.serve(Echo())
    stub = Stub(plane.dial(server, plane.keys.client(user_uri("other.local", "admin"))))
    found = await failure(stub.say(note("hello")))
    assert (found.code, found.reason) == ("UNAUTHENTICATED", "IDENTITY_UNKNOWN")


@pytest.mark.asyncio
async def test_no_certificate_no_connection(plane: Plane) -> None:
    """Where client certificates are required, a caller without one doesn't get to any method."""
    server = await plane.serve(Echo())
    stub = Stub(plane.dial(server, ClientTLS(ca=plane.keys.ca)))
    assert (await failure(stub.greet(note("hello")))).code == "UNAVAILABLE"


@pytest.mark.asyncio
async def test_a_port_without_client_certificates(plane: Plane) -> None:
    """On a server-only TLS port, methods for anyone answer and all others are refused."""
    server = await plane.serve(Echo(), tls=plane.keys.server(require_client=False))
    stub = Stub(plane.dial(server, ClientTLS(ca=plane.keys.ca)))
    assert (await stub.greet(note("whoami"))).text == "ANYONE anonymous"
    found = await failure(stub.say(note("hello")))
    assert (found.code, found.reason) == ("UNAUTHENTICATED", "CERTIFICATE_REQUIRED")


@pytest.mark.asyncio
async def test_a_kind_that_is_not_named_is_denied(plane: Plane) -> None:
    """An agent can't call what is for users and services."""
    stub = plane.as_agent(await plane.serve(Echo()))
    found = await failure(stub.say(note("hello")))
    assert (found.code, found.reason) == ("PERMISSION_DENIED", "CALLER_KIND_DENIED")
    assert (await failure(stub.watch(note("hello")).read())).code == "PERMISSION_DENIED"


@pytest.mark.asyncio
async def test_a_user_needs_the_permission(plane: Plane) -> None:
    """A user without a role is denied, and told which permission is missing."""
    stub = plane.as_user(await plane.serve(Echo()), "ann")
    found = await failure(stub.say(note("hello")))
    assert (found.code, found.metadata["permission"]) == ("PERMISSION_DENIED", "notes.say")


@pytest.mark.asyncio
async def test_a_role_grants_what_it_names(plane: Plane, keys: Keys) -> None:
    """A user may do what the handed-in roles grant, and no more."""
    roles = RoleTable(grants={"ann": frozenset({"notes.say"})})
    server = Server(ServerOptions(tls=keys.server()), roles=roles)
    server.add(ECHO, add_echo, Echo())
    await server.start()
    plane.servers.append(server)
    stub = plane.as_user(server, "ann")
    assert (await stub.say(note("hello"))).name == "answer"
    assert (await failure(stub.add(iter([note("hello")])))).code == "PERMISSION_DENIED"


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"\xff\xff", b""])
async def test_access_comes_before_validation(plane: Plane, body: bytes) -> None:
    """Who may not call learns nothing of whether the request was right."""
    server = await plane.serve(Echo())
    plane.as_agent(server)
    channel: Any = plane.channels[-1].channel(f"127.0.0.1:{server.ports.grpc}")
    found = await failure(channel.unary_unary(f"/{ECHO}/Say")(body))
    assert found.code == "PERMISSION_DENIED"


def test_a_method_without_access_is_refused() -> None:
    """A server that would serve a method without an access rule isn't built; it lists them."""
    server = Server(ServerOptions())
    with pytest.raises(FailedPrecondition) as refused:
        server.add(BARE, add_bare, Echo())
    assert f"{BARE}/Say" in refused.value.message


@pytest.mark.asyncio
async def test_identity_survives_many_callers(plane: Plane) -> None:
    """Calls of different callers at the same time each see their own."""
    server = await plane.serve(Echo())
    stubs = [
        Stub(plane.dial(server, plane.keys.client(service_uri(DOMAIN, f"s{i}"), f"s{i}")))
        for i in range(8)
    ]
    answers = await asyncio.gather(*(stub.greet(note("whoami")) for stub in stubs * 5))
    assert [answer.text for answer in answers] == [f"SERVICE s{i}" for i in range(8)] * 5


def test_kinds_have_the_contracts_names() -> None:
    """Every kind of the contract is one of ours."""
    from cellplane.api.type.v1 import access_pb2

    names = {
        name.removeprefix("CALLER_KIND_")
        for name in access_pb2.CallerKind.DESCRIPTOR.values_by_name
    }
    assert names - {"UNSPECIFIED"} == {kind.value for kind in CallerKind}

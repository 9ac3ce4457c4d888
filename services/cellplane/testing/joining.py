"""How a simulated agent joins: the real protocol, over the real port, with a key of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio

from cellplane.api.agent.v1 import join_pb2, join_pb2_grpc
from cellplane.rpc.tls import Pem, client_credentials
from cellplane.runtime import grant as grants
from cellplane.runtime.pki import digest_of, make_csr

DEADLINE = 10.0
VERSION = "0.0.0-simulated"


class ProtocolBroken(AssertionError):
    """The control plane broke a rule of the link."""


def require(holds: bool, rule: str) -> None:
    """Raise where a rule of the link does not hold."""
    if not holds:
        raise ProtocolBroken(f"a rule of the link was broken: {rule}")


@dataclass(slots=True)
class Credentials:
    """What joining gave."""

    authority: bytes
    certificate: bytes
    key: bytes
    link_address: str
    data_plane: str


async def fetch_authority(address: str) -> bytes:
    """The authority of agents, before anything is trusted: only its digest makes it so."""
    host, _, port = address.rpartition(":")
    leaf = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=DEADLINE)
    async with grpc.aio.secure_channel(
        address, client_credentials(Pem(ca=leaf.encode()))
    ) as channel:
        answer = await join_pb2_grpc.JoinServiceStub(channel).GetAuthority(
            join_pb2.GetAuthorityRequest(), timeout=DEADLINE
        )
    return answer.authority_pem


async def join(
    *,
    join_address: str,
    grant: str,
    token: str,
    authority_digest: str,
    cluster_uid: str,
    change: Callable[[join_pb2.JoinRequest], None] | None = None,
    csr: tuple[bytes, bytes] | None = None,
) -> Credentials:
    """Join as an agent does. ``change`` spoils the request, ``csr`` is one of another making."""
    authority = await fetch_authority(join_address)
    require(digest_of(authority) == authority_digest, "the authority has the digest of the grant")
    key, request_pem = csr or make_csr(None, "")
    request = join_pb2.JoinRequest(
        grant=grant,
        certificate_request_pem=request_pem,
        cluster_uid=cluster_uid,
        proof=grants.proof(
            grants.derive_key(grants.parse_token(token).secret),
            certificate_request_pem=request_pem,
            authority_pem=authority,
            cluster_uid=cluster_uid,
        ),
        agent_version=VERSION,
    )
    if change is not None:
        change(request)
    async with grpc.aio.secure_channel(
        join_address, client_credentials(Pem(ca=authority))
    ) as channel:
        answer = await join_pb2_grpc.JoinServiceStub(channel).Join(request, timeout=DEADLINE)
    return Credentials(
        authority=authority,
        certificate=answer.certificate_pem,
        key=key,
        link_address=answer.link_address,
        data_plane=answer.data_plane,
    )

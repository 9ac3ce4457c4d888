"""How the agent becomes the agent of its data plane, and stays it.

It trusts the authority whose digest it was started with, and nothing else; its key never leaves its
folder. Key and certificate are one file, so that a crash leaves the old pair or the new one.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
import structlog

from cellplane.api.agent.v1 import join_pb2, join_pb2_grpc, link_pb2, link_pb2_grpc
from cellplane.cell.problem import CellplaneError, FailedPrecondition, Invalid, Unavailable
from cellplane.rpc.client import Channels, explain
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime import grant, pki
from cellplane.runtime.clock import Clock
from cellplane.runtime.files import write_atomic
from cellplane.runtime.tasks import Backoff

AGENT_VERSION: Final = "0.1.0"
_RENEW_AT: Final = 2 / 3
_JITTER: Final = 0.1
_BACKOFF: Final = Backoff(initial=0.3, maximum=10.0)
_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an agent is started with, to join."""

    name: str
    token: str
    join_address: str
    authority_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the agent is. The files are replaced whole when they are renewed."""

    directory: Path
    data_plane: str
    """Resource name."""
    link_address: str

    @property
    def authority(self) -> Path:
        """The authority of agents."""
        return self.directory / "authority.crt"

    @property
    def pair(self) -> Path:
        """Key and certificate."""
        return self.directory / "agent.pem"

    @property
    def plane(self) -> str:
        """Id of the data plane."""
        return self.data_plane.rpartition("/")[2]

    def tls(self) -> ClientTLS:
        """What to open the link with."""
        return ClientTLS(ca=self.authority, cert=self.pair, key=self.pair)


def load(directory: Path, *, authority_digest: str, clock: Clock) -> Identity | None:
    """The identity of an earlier join, if it still holds."""
    try:
        about = json.loads((directory / "identity.json").read_bytes())
        identity = Identity(
            directory=directory,
            data_plane=about["data_plane"],
            link_address=about["link_address"],
        )
        authority, pair = identity.authority.read_bytes(), identity.pair.read_bytes()
    except (OSError, ValueError, KeyError):
        return None
    try:
        digest = pki.digest_of(authority)
    except ValueError:
        return None
    if authority_digest and digest != authority_digest:
        return None
    if not pki.matches(pair, pair) or pki.validity(pair)[1] <= clock.now():
        return None
    return identity


async def join(
    directory: Path, given: Grant, *, cluster_uid: str, clock: Clock, rng: random.Random
) -> Identity:
    """Join, however long the control plane takes to answer.

    Raises ``CellplaneError`` when it refuses, or is not the one that was meant.
    """
    log = structlog.get_logger()
    attempt = 0
    while True:
        try:
            return await _join(directory, given, cluster_uid)
        except Unavailable as error:
            if attempt % 10 == 0:
                log.warning("join.waiting", address=given.join_address, error=error.message)
            await clock.sleep(_BACKOFF.delay(attempt, rng))
            attempt += 1


async def _join(directory: Path, given: Grant, cluster_uid: str) -> Identity:
    authority = await _authority(given)
    token = grant.parse_token(given.token)
    key, request = pki.make_csr(None, "")
    proof = grant.proof(
        grant.derive_key(token.secret),
        certificate_request_pem=request,
        authority_pem=authority,
        cluster_uid=cluster_uid,
    )
    write_atomic(directory / "authority.crt", authority)
    # A channel of its own: whoever answered before must now show a certificate of the authority.
    async with Channels(ClientTLS(ca=directory / "authority.crt")) as channels:
        stub = join_pb2_grpc.JoinServiceStub(channels.channel(given.join_address))
        try:
            answer = await stub.Join(
                join_pb2.JoinRequest(
                    grant=given.name,
                    certificate_request_pem=request,
                    cluster_uid=cluster_uid,
                    proof=proof,
                    agent_version=AGENT_VERSION,
                )
            )
        except grpc.aio.AioRpcError as error:
            raise explain(error).to_error() from error
    about = {"data_plane": answer.data_plane, "link_address": answer.link_address}
    write_atomic(directory / "identity.json", json.dumps(about).encode())
    write_atomic(directory / "agent.pem", key + answer.certificate_pem)
    structlog.get_logger().info("agent.joined", data_plane=answer.data_plane)
    return Identity(
        directory=directory, data_plane=answer.data_plane, link_address=answer.link_address
    )


async def _authority(given: Grant) -> bytes:
    """Ask an unknown server for the authority, and believe only the one with the digest."""
    leaf = await _leaf(given.join_address)
    credentials = grpc.ssl_channel_credentials(root_certificates=leaf)
    async with grpc.aio.secure_channel(given.join_address, credentials) as channel:
        stub = join_pb2_grpc.JoinServiceStub(channel)
        try:
            answer = await stub.GetAuthority(join_pb2.GetAuthorityRequest(), timeout=_PATIENCE)
        except grpc.aio.AioRpcError as error:
            raise explain(error).to_error() from error
    try:
        found = pki.digest_of(answer.authority_pem)
    except ValueError as error:
        raise Invalid(f"{given.join_address} answers no certificate authority") from error
    if found != given.authority_digest:
        raise FailedPrecondition(
            f"authority at {given.join_address} is {found}, and {given.authority_digest} was "
            "expected: check the join command, and who answers at that address",
            reason="AUTHORITY_UNEXPECTED",
        )
    return bytes(answer.authority_pem)


async def _leaf(address: str) -> bytes:
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    # Nothing is trusted by this: the digest decides.
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{address} does not answer: {error}") from error
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def keep_renewed(identity: Identity, *, clock: Clock, rng: random.Random) -> None:
    """Renew the certificate at two thirds of its life, give or take a tenth; until cancelled."""
    log = structlog.get_logger()
    attempt = 0
    while True:
        start, end = pki.validity(identity.pair.read_bytes())
        life = (end - start).total_seconds()
        at = life * _RENEW_AT * rng.uniform(1 - _JITTER, 1 + _JITTER)
        left = at - (clock.now() - start).total_seconds()
        await clock.sleep(max(left, _BACKOFF.delay(attempt, rng) if attempt else 0.0))
        try:
            await renew(identity)
        except CellplaneError as error:
            log.warning("certificate.not_renewed", error=error.message, until=str(end))
            attempt += 1
            continue
        attempt = 0
        log.info("certificate.renewed")


async def renew(identity: Identity) -> None:
    """Get the next certificate, for a new key."""
    key, request = pki.make_csr(None, "")
    async with Channels(identity.tls()) as channels:
        stub = link_pb2_grpc.LinkServiceStub(channels.channel(identity.link_address))
        try:
            answer = await stub.RenewCertificate(
                link_pb2.RenewCertificateRequest(certificate_request_pem=request)
            )
        except grpc.aio.AioRpcError as error:
            raise explain(error).to_error() from error
    if answer.authority_pem:
        write_atomic(identity.authority, answer.authority_pem)
    write_atomic(identity.pair, key + answer.certificate_pem)

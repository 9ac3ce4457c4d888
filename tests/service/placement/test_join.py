"""How a cluster becomes a data plane: what opens the door, and all that does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import field_mask_pb2

from cellplane.api.agent.v1 import join_pb2, link_pb2, link_pb2_grpc
from cellplane.api.placement.v1 import data_plane_pb2, join_grant_pb2
from cellplane.rpc.client import explain
from cellplane.rpc.tls import Pem, client_credentials
from cellplane.runtime.pki import make_csr
from cellplane.testing.agents import Agent
from cellplane.testing.joining import Credentials, fetch_authority, join
from tests.service.placement.world import ORGANIZATION, World

PLANE = f"{ORGANIZATION}/dataPlanes/europe-1"


async def join_with(
    granted: join_grant_pb2.JoinGrant,
    *,
    change: Callable[[join_pb2.JoinRequest], None] | None = None,
    csr: tuple[bytes, bytes] | None = None,
    cluster_uid: str = "cluster-1",
    token: str = "",
) -> Credentials:
    """Join with a grant."""
    return await join(
        join_address=granted.join_address,
        grant=granted.name,
        token=token or granted.token,
        authority_digest=granted.authority_digest,
        cluster_uid=cluster_uid,
        change=change,
        csr=csr,
    )


async def refused(granted: join_grant_pb2.JoinGrant, **how: object) -> str:
    """Try to join, and answer the reason of the refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await join_with(granted, **how)  # type: ignore[arg-type]
    return explain(caught.value).reason


@pytest.mark.asyncio
async def test_a_grant_opens_the_door_once(world: World) -> None:
    """Joining gives a certificate of the data plane's own identity; a replay gives nothing."""
    plane = await world.create_plane()
    granted = await world.grant()
    first = await join_with(granted)
    leaf = x509.load_pem_x509_certificate(first.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"spiffe://cellplane.local/organizations/acme/dataPlanes/{plane.uid}"]
    assert len(list(names)) == 1
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert life <= timedelta(hours=24, minutes=10)
    assert await refused(granted) == "GRANT_USED"
    used = await world.client.grants.GetJoinGrant(
        join_grant_pb2.GetJoinGrantRequest(name=granted.name)
    )
    assert used.HasField("use_time")
    assert not used.token


@pytest.mark.asyncio
async def test_a_wrong_proof_learns_nothing(world: World) -> None:
    """An unknown grant, another secret and another cluster are the same refusal."""
    await world.create_plane()
    granted = await world.grant()

    def unknown(request: join_pb2.JoinRequest) -> None:
        request.grant = f"{ORGANIZATION}/joinGrants/nobody"

    def elsewhere(request: join_pb2.JoinRequest) -> None:
        request.cluster_uid = "cluster-2"

    def spoiled(request: join_pb2.JoinRequest) -> None:
        request.proof = bytes(32)

    for change in (unknown, elsewhere, spoiled):
        assert await refused(granted, change=change) == "GRANT_REFUSED"
    other = f"{granted.token.split('.')[0]}.{'a' * 43}"
    assert await refused(granted, token=other) == "GRANT_REFUSED"
    await join_with(granted)


def _csr(*extensions: x509.ExtensionType) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key_pem, pem


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "extension",
    [
        x509.SubjectAlternativeName([x509.DNSName("admin.example")]),
        x509.SubjectAlternativeName(
            [x509.UniformResourceIdentifier("spiffe://cellplane.local/users/admin")]
        ),
        x509.BasicConstraints(ca=True, path_length=0),
    ],
)
async def test_a_request_for_more_than_a_key_is_refused_and_uses_nothing(
    world: World, extension: x509.ExtensionType
) -> None:
    """Other names and authority are refused, and the grant still works for a proper request."""
    await world.create_plane()
    granted = await world.grant()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await join_with(granted, csr=_csr(extension))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await join_with(granted)


@pytest.mark.asyncio
async def test_one_cluster_is_one_data_plane(world: World) -> None:
    """The same cluster under another name is refused, naming what it is."""
    await world.create_plane("europe-1")
    await world.create_plane("europe-2")
    await world.join("europe-1", cluster_uid="cluster-1")
    granted = await world.grant("europe-2")
    assert await refused(granted, cluster_uid="cluster-1") == "CLUSTER_JOINED"


@pytest.mark.asyncio
async def test_a_cluster_is_another_data_plane_only_by_readoption(world: World) -> None:
    """A grant that says so moves the cluster; the data plane before loses stream and identity."""
    agent = await world.agent("europe-1")
    await agent.connect()
    await world.create_plane("europe-2")
    granted = await world.grant("europe-2", readopt=True)
    moved = await join_with(granted, cluster_uid="cluster-europe-1")
    await agent.until(lambda: agent.error is not None)
    assert agent.error is not None
    assert explain(agent.error).reason == "DATA_PLANE_TAKEN"
    await agent.connect()
    assert agent.error is not None
    assert explain(agent.error).reason == "DATA_PLANE_TAKEN"
    async with Agent(moved) as again:
        assert again.error is None
    before = await world.client.planes.GetDataPlane(data_plane_pb2.GetDataPlaneRequest(name=PLANE))
    assert before.state == data_plane_pb2.DataPlane.PENDING
    await agent.disconnect()


@pytest.mark.asyncio
async def test_a_ban_cuts_the_stream_and_every_renewal_until_it_is_lifted(world: World) -> None:
    """The live stream ends at once; neither a stream, a certificate nor a join is had."""
    async with await world.agent() as agent:
        granted = await world.grant()

        async def ban(*, banned: bool) -> None:
            await world.client.planes.UpdateDataPlane(
                data_plane_pb2.UpdateDataPlaneRequest(
                    data_plane=data_plane_pb2.DataPlane(name=PLANE, banned=banned),
                    update_mask=field_mask_pb2.FieldMask(paths=["banned"]),
                )
            )

        await ban(banned=True)
        await agent.until(lambda: agent.error is not None)
        assert agent.error is not None
        assert explain(agent.error).reason == "DATA_PLANE_BANNED"
        await agent.connect()
        assert agent.error is not None
        assert explain(agent.error).reason == "DATA_PLANE_BANNED"
        old = agent.credentials
        pem = Pem(ca=old.authority, cert=old.certificate, key=old.key)
        async with grpc.aio.secure_channel(old.link_address, client_credentials(pem)) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await link_pb2_grpc.LinkServiceStub(channel).RenewCertificate(
                    link_pb2.RenewCertificateRequest(certificate_request_pem=make_csr(None, "")[1]),
                    timeout=3,
                )
        assert explain(caught.value).reason == "DATA_PLANE_BANNED"
        assert await refused(granted, cluster_uid="cluster-europe-1") == "DATA_PLANE_BANNED"
        await ban(banned=False)
        await agent.connect()
        assert agent.error is None


@pytest.mark.asyncio
async def test_a_grant_ends(world: World) -> None:
    """After its time a grant opens nothing."""
    await world.create_plane()
    granted = await world.grant(ttl=timedelta(milliseconds=1))
    assert await refused(granted) == "GRANT_EXPIRED"


@pytest.mark.asyncio
async def test_no_secret_is_kept(world: World, tmp_path: Path) -> None:
    """Neither the secret nor the derived key is in the database or the logs' folder."""
    await world.create_plane()
    granted = await world.grant()
    secret = granted.token.split(".")[1].encode()
    files = [p for p in (tmp_path / "state").rglob("*") if p.is_file()]
    assert files
    assert not any(secret in p.read_bytes() for p in files)
    for name in ("grants.key", "ca.key", "server.key"):
        assert (tmp_path / "state" / "agents" / name).stat().st_mode & 0o077 == 0


@pytest.mark.asyncio
async def test_the_authority_is_known_by_its_digest(world: World) -> None:
    """What the join port shows is what the grant names."""
    await world.create_plane()
    granted = await world.grant()
    assert b"BEGIN CERTIFICATE" in await fetch_authority(granted.join_address)


@pytest.mark.asyncio
async def test_the_link_needs_a_certificate_of_an_agent(world: World) -> None:
    """Without one, or with one of a user, nothing is heard."""
    async with await world.agent() as agent:
        authority = agent.credentials.authority
        user = world.authority.issue(uri="spiffe://cellplane.local/users/admin")
        for pem in (
            Pem(ca=authority),
            Pem(ca=authority, cert=user.cert_pem, key=user.key_pem),
        ):
            async with grpc.aio.secure_channel(
                agent.credentials.link_address, client_credentials(pem)
            ) as channel:
                stub = link_pb2_grpc.LinkServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.RenewCertificate(
                        link_pb2.RenewCertificateRequest(
                            certificate_request_pem=make_csr(None, "")[1]
                        ),
                        timeout=3,
                    )
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.asyncio
async def test_a_renewed_certificate_ends_the_old_one_once_it_was_used(world: World) -> None:
    """The old certificate holds until the next one opened a stream, and no longer."""
    async with await world.agent() as agent:
        old = agent.credentials
        key, request = make_csr(None, "")
        pem = Pem(ca=old.authority, cert=old.certificate, key=old.key)
        async with grpc.aio.secure_channel(old.link_address, client_credentials(pem)) as channel:
            renewed = await link_pb2_grpc.LinkServiceStub(channel).RenewCertificate(
                link_pb2.RenewCertificateRequest(certificate_request_pem=request), timeout=3
            )
        await agent.connect()
        assert agent.error is None
        agent.credentials = Credentials(
            authority=renewed.authority_pem,
            certificate=renewed.certificate_pem,
            key=key,
            link_address=old.link_address,
            data_plane=old.data_plane,
        )
        await agent.connect()
        assert agent.error is None
        agent.credentials = old
        await agent.connect()
        assert agent.error is not None
        assert explain(agent.error).reason == "CERTIFICATE_SUPERSEDED"


@pytest.mark.asyncio
async def test_a_deleted_data_plane_loses_its_stream_and_its_renewals(world: World) -> None:
    """Deletion ends the live stream, and the identity is nobody's afterwards."""
    async with await world.agent() as agent:
        await world.client.planes.DeleteDataPlane(
            data_plane_pb2.DeleteDataPlaneRequest(name=PLANE, force=True)
        )
        await agent.until(lambda: agent.error is not None)
        assert agent.error is not None
        assert explain(agent.error).reason == "DATA_PLANE_GONE"
        await agent.connect()
        assert agent.error is not None
        assert agent.error.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.asyncio
async def test_the_newest_stream_of_an_identity_wins(world: World) -> None:
    """Two agents with one certificate: the later one stays, the earlier one is told."""
    async with await world.agent() as first, Agent(first.credentials) as second:
        await first.until(lambda: first.error is not None)
        assert first.error is not None
        assert explain(first.error).reason == "STREAM_REPLACED"
        assert second.error is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ({"min_protocol": 7, "max_protocol": 9}, "PROTOCOL_UNSUPPORTED"),
        ({"epoch": 99}, "EPOCH_BEHIND"),
    ],
)
async def test_what_cannot_be_spoken_with_is_told_why(
    world: World, hello: dict[str, object], reason: str
) -> None:
    """Another protocol, or an agent that has seen a later leader."""
    agent = await world.agent()
    await agent.connect(**hello)
    assert agent.error is not None
    assert explain(agent.error).reason == reason
    await agent.disconnect()

"""What agents call: to join, to keep their stream, to renew their certificate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from cellplane.api.agent.v1 import join_pb2, join_pb2_grpc, link_pb2, link_pb2_grpc
from cellplane.cell.problem import Invalid, PermissionDenied
from cellplane.placement import convert
from cellplane.placement.link.authority import AgentAuthority
from cellplane.placement.link.hub import banned, taken
from cellplane.placement.link.join import Application, Joining
from cellplane.placement.link.session import Session
from cellplane.placement.planes import Entry, Planes
from cellplane.rpc.identity import current_principal
from cellplane.runtime import pki


class JoinService(join_pb2_grpc.JoinServiceServicer):
    """How a cluster becomes a data plane."""

    def __init__(
        self, joining: Joining, authority: AgentAuthority, link_address: Callable[[], str]
    ) -> None:
        self._joining = joining
        self._authority = authority
        self._link_address = link_address

    async def GetAuthority(  # noqa: N802 - the contract's name
        self, request: join_pb2.GetAuthorityRequest, context: Any
    ) -> join_pb2.GetAuthorityResponse:
        """The certificate authority of agents."""
        del request, context
        return join_pb2.GetAuthorityResponse(authority_pem=self._authority.pem)

    async def Join(  # noqa: N802 - the contract's name
        self, request: join_pb2.JoinRequest, context: Any
    ) -> join_pb2.JoinResponse:
        """Sign the first certificate of an agent."""
        del context
        entry, signed = await self._joining.join(
            Application(
                grant=request.grant,
                certificate_request_pem=request.certificate_request_pem,
                cluster_uid=request.cluster_uid,
                proof=request.proof,
                agent_version=request.agent_version,
            )
        )
        return join_pb2.JoinResponse(
            certificate_pem=signed.certificate_pem,
            data_plane=entry.plane.name,
            expire_time=convert.stamp_of(signed.expire_time),
            link_address=self._link_address(),
        )


class LinkService(link_pb2_grpc.LinkServiceServicer):
    """How a data plane is kept in sync."""

    def __init__(
        self,
        planes: Planes,
        authority: AgentAuthority,
        new_session: Callable[[str], Session],
    ) -> None:
        """``new_session(data plane)`` makes the session of one stream."""
        self._planes = planes
        self._authority = authority
        self._new_session = new_session

    # Written to by its context, as two tasks share the stream; the stub knows generators only.
    async def Sync(  # type: ignore[override]  # noqa: N802
        self, request_iterator: AsyncIterator[link_pb2.SyncRequest], context: Any
    ) -> None:
        """Carry one stream."""
        entry = await self._caller(context)
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None or first.WhichOneof("message") != "hello":
            raise Invalid("a stream begins with hello: say it first", reason="HELLO_MISSING")
        await self._new_session(entry.plane.name).run(first, requests, context)

    async def RenewCertificate(  # noqa: N802 - the contract's name
        self, request: link_pb2.RenewCertificateRequest, context: Any
    ) -> link_pb2.RenewCertificateResponse:
        """Sign the next certificate of the agent that asks."""
        plane = (await self._caller(context)).plane
        signed = self._authority.sign(
            request.certificate_request_pem, plane.organization, plane.uid
        )
        return link_pb2.RenewCertificateResponse(
            certificate_pem=signed.certificate_pem,
            authority_pem=self._authority.pem,
            expire_time=convert.stamp_of(signed.expire_time),
        )

    async def _caller(self, context: Any) -> Entry:
        """The data plane of the certificate at hand."""
        who = current_principal()
        entry = self._planes.by_uid(who.data_plane_uid)
        if entry is None or entry.plane.organization != who.organization:
            raise PermissionDenied(
                f"no data plane has the identity {who.spiffe}: it was deleted; join anew",
                reason="DATA_PLANE_GONE",
                metadata={"identity": who.spiffe},
            )
        name = entry.plane.name
        if entry.plane.banned:
            raise banned(name)
        if entry.membership is None:
            raise taken(name)
        if not await self._planes.used(name, issued_time(context)):
            raise PermissionDenied(
                f"certificate of {name} was replaced by a newer one that was used: use that",
                reason="CERTIFICATE_SUPERSEDED",
                metadata={"data_plane": name},
            )
        return entry


def issued_time(context: Any) -> datetime:
    """When the certificate of a call was issued, by the clock of who issued it."""
    passed_on = current_principal().certificate_time
    if passed_on is not None:
        return passed_on
    (pem,) = context.auth_context()["x509_pem_cert"]
    return pki.issued(pem)

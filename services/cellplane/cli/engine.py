"""Calls to the services, for any kind: built from the contracts' descriptors, not from stubs.

Every failure leaves as ``Ended``, with the service's own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from cellplane.cli.exits import Ended, of_rpc, usage
from cellplane.cli.kinds import Kind, an, method
from cellplane.cli.profile import Profile
from cellplane.rpc.client import Channels
from cellplane.rpc.tls import ClientTLS

T = TypeVar("T")
_PAGE = 500
_MODEL = "cellplane.api.model.v1"
_PLACEMENT = "cellplane.api.placement.v1"
_MAX_MESSAGE = 64 * 1024 * 1024


class Client:
    """One control plane, as its user."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        tls = (
            ClientTLS(ca=profile.ca, cert=profile.cert, key=profile.key)
            if profile.ca is not None
            else None
        )
        self._channels = Channels(
            tls, max_message_bytes=_MAX_MESSAGE, user_agent="cellplane-cli", default_timeout=30
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._channels.close()

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service by its name."""
        return self._channels.channel(self.profile.address(service))

    async def call(
        self,
        service: str,
        method: MethodDescriptor,
        request: Message,
        *,
        places: Callable[[Any], str] | None = None,
    ) -> Any:
        """Call a unary method; *places* says where in the documents a finding belongs."""
        target = self.profile.address(service)
        call: Any = self.channel(service).unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        try:
            return await call(request)
        except grpc.aio.AioRpcError as error:
            raise of_rpc(error, places=places, target=target) from None

    async def stream(self, service: str, method: MethodDescriptor, request: Message) -> Any:
        """Start a method that answers with a stream; its failures leave as they are."""
        start: Any = self.channel(service).unary_stream(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        return start(request)

    async def get(self, kind: Kind, name: str) -> Any:
        """Read one resource by its full name."""
        method = self._method(kind, "Get")
        return await self.call(kind.service, method, _request(method, name=name))

    async def find(self, kind: Kind, name: str) -> Any:
        """Read one resource; ``None`` where it does not exist."""
        try:
            return await self.get(kind, name)
        except Ended as ended:
            if ended.status == "NOT_FOUND":
                return None
            raise

    async def list(self, kind: Kind, parent: str, **narrowed: str) -> AsyncIterator[Any]:
        """List all resources below *parent*, page by page.

        Args:
            narrowed: What else the method is asked, such as ``filter`` and ``order_by``.
        """
        method = self._method(kind, "List")
        for field, value in narrowed.items():
            if value and field not in method.input_type.fields_by_name:
                raise usage(f"{kind.plural} have no --{field.replace('_', '-')}: leave it out")
        token = ""
        while True:
            request = _request(method, parent=parent, page_size=_PAGE, page_token=token, **narrowed)
            try:
                page = await self.call(kind.service, method, request)
            except Ended as ended:
                at_parent = any(finding.startswith("parent") for finding in ended.findings)
                if ended.status == "INVALID_ARGUMENT" and at_parent and "/-" in parent:
                    # Not every list reads across what it is below.
                    raise usage(f"which {kind.plural}? say of what: {kind.below}") from None
                raise
            for resource in next((v for f, v in page.ListFields() if f.is_repeated), ()):
                yield resource
            token = page.next_page_token
            if not token:
                return

    async def delete(self, kind: Kind, name: str, *, force: bool, allow_missing: bool) -> None:
        """Delete one resource."""
        method = self._method(kind, "Delete")
        request = _request(method, name=name, force=force, allow_missing=allow_missing)
        await self.call(kind.service, method, request)

    async def plan_deletion(
        self, kind: Kind, name: str, *, force: bool, allow_missing: bool
    ) -> Any:
        """What deleting one resource would do; ``None`` where it does not exist and may not."""
        if kind.service == "model":
            found = method(f"{_MODEL}.DeletionService.PlanDeletion")
        elif kind.name == "DataPlane":
            found = method(f"{_PLACEMENT}.DataPlaneService.PlanDataPlaneDeletion")
        else:
            found = None
        try:
            if found is not None:
                return await self.call(kind.service, found, _request(found, name=name, force=force))
            await self.get(kind, name)
        except Ended as ended:
            if allow_missing and ended.status == "NOT_FOUND":
                return None
            raise
        # Nothing belongs to it, and nothing refers to it.
        plan: Any = message_factory.GetMessageClass(
            method(f"{_MODEL}.DeletionService.PlanDeletion").output_type
        )(deletions=[name])
        return plan

    async def put(
        self, kind: Kind, resource: Message, *, validate_only: bool, **places: Any
    ) -> Any:
        """Make one resource as it is given, whether it exists or not."""
        method = self._method(kind, "Update")
        request: Any = _request(method, allow_missing=True, validate_only=validate_only)
        getattr(request, kind.field).CopyFrom(resource)
        request.update_mask.paths.append("*")
        return await self.call(kind.service, method, request, **places)

    async def ensure(self, kind: Kind, resource: Message) -> Any:
        """Make one resource; where it exists, change the fields that are set."""
        method = self._method(kind, "Update")
        request: Any = _request(method, allow_missing=True)
        getattr(request, kind.field).CopyFrom(resource)
        return await self.call(kind.service, method, request)

    async def create(self, kind: Kind, parent: str, own_id: str, resource: Message) -> Any:
        """Create one resource."""
        method = self._method(kind, "Create")
        request: Any = _request(method, parent=parent, **{f"{kind.field}_id": own_id})
        getattr(request, kind.field).CopyFrom(resource)
        return await self.call(kind.service, method, request)

    def _method(self, kind: Kind, verb: str) -> MethodDescriptor:
        method = kind.methods.get(verb)
        if method is None:
            can = ", ".join(sorted(word.lower() for word in kind.methods))
            raise usage(f"{an(kind.singular)} has no {verb.lower()}: it has {can}")
        return method


def _request(method: MethodDescriptor, **fields: Any) -> Message:
    """Make a request of the fields that it has."""
    known = method.input_type.fields_by_name
    made: Message = message_factory.GetMessageClass(method.input_type)(
        **{name: value for name, value in fields.items() if name in known}
    )
    return made


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run one command to its end."""
    return asyncio.run(work)

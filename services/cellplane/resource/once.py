"""One request, one effect: repeated by its id it is answered as it was, for an hour (AIP-155).

With ``validate_only`` the same work is done and then undone, so that it cannot answer anything else
than the real call (AIP-163). Nothing is remembered of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from cellplane.cell.problem import Invalid, Problem
from cellplane.rpc.identity import current_principal
from cellplane.runtime.clock import Clock
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Remembered, Resources

_REMEMBER: Final = timedelta(hours=1)


async def run(
    database: Database,
    resources: Resources,
    clock: Clock,
    request: Any,
    work: Callable[[Transaction], Awaitable[Any]],
    answer_type: type[Message],
) -> Any:
    """Run one write with ``request_id`` and ``validate_only``, whatever the method is."""
    request_id = getattr(request, "request_id", "")
    key = f"{current_principal().spiffe} {request_id}"
    method = request.DESCRIPTOR.full_name
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
    async with database.transaction() as tx:
        if request_id:
            known = await resources.remembered(tx, key, clock.now())
            if known is not None:
                return _replay(known, method, digest, request_id, answer_type)
        answer: Message = await work(tx)
        if request.validate_only:
            tx.discard()
        elif request_id:
            now = clock.now()
            response = without_secrets(answer).SerializeToString()
            kept = Remembered(method=method, digest=digest, response=response)
            await resources.remember(tx, key, kept, now=now, until=now + _REMEMBER)
    return answer


def without_secrets(message: Message) -> Message:
    """A copy without what is answered once: a repeated request does not hear it."""
    left = type(message)()
    left.CopyFrom(message)
    _forget(left)
    return left


def _forget(message: Any) -> None:
    if isinstance(message, any_pb2.Any):
        descriptor = descriptor_pool.Default().FindMessageTypeByName(message.TypeName())
        inside = message_factory.GetMessageClass(descriptor).FromString(message.value)
        _forget(inside)
        message.Pack(inside)
        return
    for field, value in list(message.ListFields()):
        if field.GetOptions().debug_redact:
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for one in value if field.is_repeated else (value,):
                _forget(one)


def _replay(
    known: Remembered, method: str, digest: str, request_id: str, answer_type: type[Message]
) -> Message:
    if (known.method, known.digest) != (method, digest):
        problem = Problem(
            reason="REQUEST_ID_REUSED",
            message=f"request_id {request_id} belongs to another request: make a new one",
            field="request_id",
            value=request_id,
        )
        raise Invalid(problem.message, problems=[problem])
    answer = answer_type()
    answer.ParseFromString(known.response)
    return answer

"""What crosses the gate: errors, validation, deadlines, ids and cancellation, over real TLS."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cellplane.rpc.client import RpcFailure, explain
from tests.service.rpc.conftest import Plane
from tests.service.rpc.echo import ECHO, Echo, Stub, note

DEADLINE = 10


async def failure(call: Any) -> RpcFailure:
    """How a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(DEADLINE):
            await call
    return explain(caught.value)


@pytest.mark.asyncio
async def test_a_call_is_answered(plane: Plane) -> None:
    """A call of each shape is answered by its handler."""
    stub = plane.as_user(await plane.serve(Echo()))
    assert (await stub.say(note("hello", text="x"))).text == "x"
    assert [answer.name async for answer in stub.watch(note("hello"))] == ["first", "last"]
    notes = [note("aa", text="1"), note("bb", text="2")]
    assert (await stub.add(iter(notes))).text == "1+2"
    assert [answer.text async for answer in stub.chat(iter(notes))] == ["1", "2"]


@pytest.mark.asyncio
async def test_an_error_of_ours_arrives_whole(plane: Plane) -> None:
    """An error carries its status, reason, message and metadata to the caller."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.say(note("not-found"), metadata=(("x-request-id", "abc-1"),)))
    assert (found.code, found.reason, found.message) == (
        "NOT_FOUND",
        "RESOURCE_NOT_FOUND",
        "note x does not exist",
    )
    assert found.metadata == {"name": "x"}
    assert found.request_id == "abc-1"


@pytest.mark.asyncio
async def test_problems_arrive_as_field_violations(plane: Plane) -> None:
    """Every problem arrives with its field, resource and reason."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.say(note("problems")))
    assert [(p.reason, p.field, p.resource) for p in found.violations] == [
        ("PORT_TAKEN", "ports[0]", ""),
        ("OTHER", "a.b", "projects/p"),
    ]


@pytest.mark.asyncio
async def test_more_problems_than_fit_are_counted(plane: Plane) -> None:
    """A list of findings too long for a trailer is cut, and the error says by how many."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.say(note("many-problems")))
    assert found.code == "INVALID_ARGUMENT"
    assert len(found.violations) + int(found.metadata["omitted_violations"]) == 1000
    assert len(found.violations) > 5


@pytest.mark.asyncio
async def test_preconditions_and_retry_delays_arrive(plane: Plane) -> None:
    """A failed precondition names what must differ; an unavailable one says when to come back."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.say(note("precondition")))
    assert [(p.type, p.subject) for p in found.preconditions] == [("STATE", "x")]
    assert (await failure(stub.say(note("unavailable")))).retry_after == 2.0


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["secret", "unmapped", "not-a-note"])
async def test_no_text_of_a_foreign_exception_leaves(plane: Plane, name: str) -> None:
    """Whatever breaks inside leaves as INTERNAL with an id that the log has beside the cause."""
    stub = plane.as_user(await plane.serve(Echo()))
    with structlog.testing.capture_logs() as logged:
        found = await failure(stub.say(note(name)))
    assert (found.code, found.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in repr(found)
    assert found.message == f"internal error; quote this id: {found.request_id}"
    causes = [entry for entry in logged if entry["event"] == "rpc.internal_error"]
    assert [entry["request_id"] for entry in causes] == [found.request_id]
    assert isinstance(causes[0]["exc_info"], Exception)


@pytest.mark.asyncio
async def test_a_stream_that_breaks_is_internal_too(plane: Plane) -> None:
    """An exception in a stream leaves as INTERNAL without its text."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.watch(note("secret")).read())
    assert found.code == "INTERNAL"
    assert "secret" not in repr(found)


@pytest.mark.asyncio
async def test_an_abort_of_a_handler_stands(plane: Plane) -> None:
    """A handler that aborts by itself is not overruled."""
    stub = plane.as_user(await plane.serve(Echo()))
    assert (await failure(stub.say(note("abort")))).code == "DATA_LOSS"


@pytest.mark.asyncio
async def test_garbage_is_an_invalid_argument(plane: Plane) -> None:
    """A body that is no message is refused by the name of the message, not of a Python class."""
    server = await plane.serve(Echo())
    stub = plane.as_user(server)
    assert stub
    channel = plane.channels[-1].channel(f"127.0.0.1:{server.ports.grpc}")
    found = await failure(channel.unary_unary(f"/{ECHO}/Say")(b"\xff\xff\xff"))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")
    assert "cellplane.test.v1.Note" in found.message
    assert "google.protobuf" not in found.message


@pytest.mark.asyncio
async def test_an_unknown_method_is_unimplemented(plane: Plane) -> None:
    """A method that nobody serves is UNIMPLEMENTED."""
    server = await plane.serve(Echo())
    plane.as_user(server)
    channel = plane.channels[-1].channel(f"127.0.0.1:{server.ports.grpc}")
    found = await failure(channel.unary_unary(f"/{ECHO}/Nothing")(b""))
    assert found.code == "UNIMPLEMENTED"


@pytest.mark.asyncio
async def test_every_broken_rule_is_reported(plane: Plane) -> None:
    """A request that breaks several rules gets all of them at once, with proto paths."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.say(note("a", tags=["ok", "b"])))
    assert [(p.field, p.reason) for p in found.violations] == [
        ("name", "STRING_MIN_LEN"),
        ("tags[1]", "STRING_MIN_LEN"),
    ]


@pytest.mark.asyncio
async def test_streamed_requests_are_validated(plane: Plane) -> None:
    """A bad message in the middle of a client's stream ends the call, however it is read."""
    stub = plane.as_user(await plane.serve(Echo()))
    found = await failure(stub.add(iter([note("good"), note("b")])))
    assert [p.field for p in found.violations] == ["name"]
    call = stub.chat(iter([note("good"), note("b")]))
    assert (await call.read()).name == "answer"
    assert (await failure(call.read())).code == "INVALID_ARGUMENT"


@pytest.mark.asyncio
async def test_a_call_without_deadline_gets_the_servers(plane: Plane) -> None:
    """A unary call whose caller set no deadline ends at the server's, and its handler with it."""
    echo = Echo()
    server = await plane.serve(echo, default_deadline=timedelta(milliseconds=50))
    credentials = plane.keys.client("spiffe://cellplane.local/users/admin").credentials()
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.ports.grpc}", credentials) as channel:
        found = await failure(Stub(channel).say(note("wait")))
    assert (found.code, found.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert echo.cleaned.is_set()


@pytest.mark.asyncio
async def test_a_cancelled_call_cleans_up(plane: Plane) -> None:
    """A caller that leaves cancels the handler, whose cleanup runs."""
    echo = Echo()
    stub = plane.as_user(await plane.serve(echo))
    call = stub.say(note("wait"))
    sending = asyncio.ensure_future(call)
    async with asyncio.timeout(DEADLINE):
        await echo.entered.wait()
        call.cancel()
        await echo.cleaned.wait()
    await asyncio.wait({sending})
    assert sending.cancelled()


@pytest.mark.asyncio
async def test_one_line_per_call(plane: Plane) -> None:
    """A call is logged once: method, principal, code, milliseconds, id, resource."""
    stub = plane.as_user(await plane.serve(Echo()))
    with structlog.testing.capture_logs() as logged:
        await stub.say(note("hello"), metadata=(("x-request-id", "abc"),))
    lines = [entry for entry in logged if entry["event"] == "rpc"]
    assert len(lines) == 1
    assert lines[0]["method"] == f"{ECHO}/Say"
    assert lines[0]["principal"] == "spiffe://cellplane.local/users/admin"
    assert (lines[0]["code"], lines[0]["request_id"]) == ("OK", "abc")
    assert lines[0]["resource"] == "hello"
    assert lines[0]["ms"] >= 0


@pytest.mark.asyncio
async def test_a_request_id_comes_back(plane: Plane) -> None:
    """A good id of the caller is kept and sent back; a bad one is replaced."""
    stub = plane.as_user(await plane.serve(Echo()))
    for given, kept in (("abc-1", True), ("a b~", False), ("x" * 65, False)):
        call = stub.say(note("hello"), metadata=(("x-request-id", given),))
        await call
        back = dict(await call.trailing_metadata())["x-request-id"]
        assert (back == given) is kept
        assert re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", back)


@pytest.mark.asyncio
async def test_ids_go_on_with_the_next_call(plane: Plane) -> None:
    """A handler's own calls carry the request id and the trace of the call that it serves."""
    second = plane.as_user(await plane.serve(Echo()))
    first = Echo()
    first.onward = lambda: second.say(note("ids"))
    stub = plane.as_user(await plane.serve(first))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await stub.say(
        note("onward"), metadata=(("x-request-id", "abc"), ("traceparent", parent))
    )
    assert answer.text == f"abc {parent}"


@pytest.mark.asyncio
async def test_a_span_continues_the_callers_trace(plane: Plane) -> None:
    """With an SDK set up, a call makes a server span under the caller's."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stub = plane.as_user(await plane.serve(Echo(), tracer_provider=provider))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await stub.say(note("ids"), metadata=(("traceparent", parent),))
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.context is not None
    assert f"{span.context.span_id:016x}" in answer.text
    assert span.attributes is not None
    assert span.attributes["rpc.grpc.status_code"] == 0
    provider.shutdown()


@pytest.mark.asyncio
async def test_a_message_past_the_limit_is_refused(plane: Plane) -> None:
    """A message larger than the limit is RESOURCE_EXHAUSTED; one of the size of a blob passes."""
    stub = plane.as_user(await plane.serve(Echo()))
    large = note("hello", text="x" * (4 * 1024 * 1024 - 100))
    assert len((await stub.say(large)).text) == len(large.text)
    server = await plane.serve(Echo(), max_message_bytes=1000)
    found = await failure(plane.as_user(server).say(note("hello", text="x" * 2000)))
    assert found.code == "RESOURCE_EXHAUSTED"

"""A server's life: start, health, metrics, reflection, rotation of its certificate, stop."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from cellplane.api.model.v1 import project_pb2
from cellplane.cell.problem import FailedPrecondition, Invalid
from cellplane.rpc import contracts
from cellplane.rpc.client import Channels
from cellplane.rpc.identity import user_uri
from cellplane.rpc.server import Server, ServerOptions, read_ports
from cellplane.rpc.tls import ServerTLS
from tests.service.rpc.conftest import DOMAIN, Keys, Plane
from tests.service.rpc.echo import ECHO, Echo, Stub, note
from tests.service.rpc.test_gate import failure

DEADLINE = 10
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def get(port: int, path: str) -> tuple[int, str]:
    """Status and body of a plain HTTP request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


@pytest.mark.asyncio
async def test_health_answers_without_access(plane: Plane) -> None:
    """Health of the whole and of each service needs no role, and no TLS on the admin port."""
    server = await plane.serve(Echo(), admin_grpc_listen="127.0.0.1:0")
    ask = health_pb2.HealthCheckRequest
    mutual = health_pb2_grpc.HealthStub(plane.dial(server, plane.keys.client("urn:x")))
    found = await failure(mutual.Check(ask(service=ECHO)))
    assert found.code == "UNAUTHENTICATED"
    for channel in (
        plane.dial(server, plane.keys.client(user_uri(DOMAIN, "nobody"))),
        grpc.aio.insecure_channel(f"127.0.0.1:{server.ports.admin_grpc}"),
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(ask())).status == SERVING
        assert (await stub.Check(ask(service=ECHO))).status == SERVING
        assert (await failure(stub.Check(ask(service="none")))).code == "NOT_FOUND"
        await channel.close()


@pytest.mark.asyncio
async def test_channelz_is_on_the_admin_port(plane: Plane) -> None:
    """Channelz lists this process's servers, on loopback only."""
    server = await plane.serve(Echo(), admin_grpc_listen="127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports.admin_grpc}") as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        assert (await stub.GetServers(channelz_pb2.GetServersRequest())).server
    refused = Server(ServerOptions(admin_grpc_listen="0.0.0.0:0"))
    with pytest.raises(Invalid):
        await refused.start()
    await refused.stop()


@pytest.mark.asyncio
async def test_plain_text_is_for_loopback() -> None:
    """A server without TLS doesn't listen beyond loopback."""
    with pytest.raises(Invalid):
        await Server(ServerOptions(listen="0.0.0.0:0")).start()


@pytest.mark.asyncio
async def test_a_taken_port_is_an_error(plane: Plane) -> None:
    """A second server on one port is refused rather than given half of the calls."""
    server = await plane.serve(Echo())
    taken = Server(ServerOptions(listen=f"127.0.0.1:{server.ports.grpc}", tls=plane.keys.server()))
    with pytest.raises(FailedPrecondition):
        await taken.start()


@pytest.mark.asyncio
async def test_the_port_file_says_when_it_is_ready(plane: Plane, tmp_path: Path) -> None:
    """The port file holds the bound ports while the server serves, and is gone after."""
    path = tmp_path / "run" / "ports.json"
    assert read_ports(path) is None
    server = await plane.serve(Echo(), port_file=path, admin_listen="127.0.0.1:0")
    assert read_ports(path) == server.ports
    assert json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid()
    await server.stop()
    assert not path.exists()


@pytest.mark.asyncio
async def test_metrics_and_probes(plane: Plane) -> None:
    """The admin port counts calls by method and code, and says alive and ready."""
    server = await plane.serve(Echo(), admin_listen="127.0.0.1:0")
    stub = plane.as_user(server)
    await stub.say(note("hello"))
    await failure(stub.say(note("not-found")))
    _, text = await get(server.ports.admin, "/metrics")
    labels = f'grpc_method="Say",grpc_service="{ECHO}"'
    for code in ("OK", "NOT_FOUND"):
        assert f'grpc_server_handled_total{{grpc_code="{code}",{labels}}} 1.0' in text
    assert f"grpc_server_handling_seconds_count{{{labels}}} 2.0" in text
    assert f"grpc_server_running{{{labels}}} 0.0" in text
    assert await get(server.ports.admin, "/healthz") == (200, "ok\n")
    assert await get(server.ports.admin, "/readyz") == (200, "ok\n")
    assert (await get(server.ports.admin, "/nothing"))[0] == 404

    async def broken() -> str:
        return "no connection"

    server.readiness.add("database", broken)
    assert await get(server.ports.admin, "/readyz") == (503, "database: no connection\n")


@pytest.mark.asyncio
async def test_a_stop_lets_unary_calls_finish(plane: Plane) -> None:
    """A unary call in progress gets its answer; a new one finds nobody."""
    echo = Echo()
    server = await plane.serve(echo)
    stub = plane.as_user(server)
    call = asyncio.ensure_future(stub.say(note("wait", text="done")))
    async with asyncio.timeout(DEADLINE):
        await echo.entered.wait()
        stopping = asyncio.create_task(server.stop())
        await server.draining.wait()
        echo.release.set()
        assert (await call).text == "done"
        await stopping
    credentials = plane.keys.client(user_uri(DOMAIN, "admin")).credentials()
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.ports.grpc}", credentials) as channel:
        assert (await failure(Stub(channel).say(note("hello"), timeout=5))).code == "UNAVAILABLE"


@pytest.mark.asyncio
async def test_a_stop_ends_streams_at_once(plane: Plane) -> None:
    """A stream ends UNAVAILABLE long before the grace is over, and its cleanup runs."""
    echo = Echo()
    server = await plane.serve(echo, grace=timedelta(seconds=60))
    call = plane.as_user(server).watch(note("wait"))
    assert (await call.read()).name == "first"
    async with asyncio.timeout(DEADLINE):
        await echo.entered.wait()
        await server.stop()
    assert echo.cleaned.is_set()
    found = await failure(call.read())
    assert (found.code, found.reason) == ("UNAVAILABLE", "SERVER_STOPPING")
    assert found.retry_after == 0.5


@pytest.mark.asyncio
async def test_a_handler_that_never_ends_is_cut(plane: Plane) -> None:
    """When the grace is over, a unary call that goes on is cancelled."""
    echo = Echo()
    server = await plane.serve(echo, grace=timedelta(milliseconds=50))
    call = asyncio.ensure_future(plane.as_user(server).say(note("wait")))
    async with asyncio.timeout(DEADLINE):
        await echo.entered.wait()
        await server.stop()
    assert (await failure(call)).code == "UNAVAILABLE"
    assert echo.cleaned.is_set()


@pytest.mark.asyncio
async def test_health_says_not_serving_before_the_stop(plane: Plane) -> None:
    """Who watches health sees NOT_SERVING when a stop begins."""
    server = await plane.serve(Echo(), admin_grpc_listen="127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports.admin_grpc}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=ECHO)
        )
        assert (await watch.read()).status == SERVING
        await server.stop()
        assert (await watch.read()).status == NOT_SERVING


@pytest.mark.asyncio
async def test_a_rotated_certificate_is_taken(plane: Plane, keys: Keys) -> None:
    """A new connection meets the new certificate, the old connection goes on."""
    tls = keys.server()
    server = await plane.serve(Echo(), tls=tls)
    before = plane.as_user(server)
    await before.say(note("hello"))
    first = await peer_certificate(server.ports.grpc, keys, tls)
    keys.server()
    second = await peer_certificate(server.ports.grpc, keys, tls)
    assert first != second
    await before.say(note("hello"))
    # Half of a rotation: the key is another's, so the last whole pair stays.
    keys.authority.issue(uri="urn:x").save(keys.folder, "other")
    tls.key.write_bytes((keys.folder / "other.key").read_bytes())
    assert await peer_certificate(server.ports.grpc, keys, tls) == second


async def peer_certificate(port: int, keys: Keys, _tls: ServerTLS) -> bytes:
    """The certificate that a fresh connection is shown."""
    import ssl

    user = keys.client(user_uri(DOMAIN, "probe"), "probe")
    context = ssl.create_default_context(cafile=str(keys.ca))
    assert user.cert is not None
    context.load_cert_chain(user.cert, user.key)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    tls: Any = writer.get_extra_info("ssl_object")
    shown: bytes = tls.getpeercert(binary_form=True)
    writer.transport.abort()
    return shown


@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_knows_every_symbol_with_its_comments(plane: Plane, version: str) -> None:
    """Both versions list the services, resolve every symbol, and keep the comments."""
    stub = plane.dial(await plane.serve(Echo()), plane.keys.client(user_uri(DOMAIN, "nobody")))
    ask = reflection_pb2.ServerReflectionRequest
    info = stub.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=ask.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )

    async def answers(questions: list[Any]) -> list[Any]:
        return [answer async for answer in info(iter(questions))]

    (listed,) = await answers([ask(list_services="*")])
    services = [service.name for service in listed.list_services_response.service]
    assert services == sorted(services)
    assert {ECHO, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= set(services)
    messages = [
        f"{file.package}.{message.name}"
        for file in contracts.load().file
        for message in file.message_type
    ]
    symbols = [*services, *messages, f"{ECHO}.Say", "google.rpc.ErrorInfo"]
    found = await answers([ask(file_containing_symbol=symbol) for symbol in symbols])
    missing = [
        symbol
        for symbol, answer in zip(symbols, found, strict=True)
        if not answer.file_descriptor_response.file_descriptor_proto
    ]
    assert missing == []
    (answer,) = await answers(
        [ask(file_containing_symbol=project_pb2.Project.DESCRIPTOR.full_name)]
    )
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert any(location.leading_comments for location in files[0].source_code_info.location)
    names = {file.name for file in files}
    assert all(set(file.dependency) <= names for file in files)
    extension = reflection_pb2.ExtensionRequest(
        containing_type="google.protobuf.MethodOptions", extension_number=52001
    )
    (by_number, numbers, unknown) = await answers(
        [
            ask(file_containing_extension=extension),
            ask(all_extension_numbers_of_type="google.protobuf.MethodOptions"),
            ask(file_containing_symbol="no.Such"),
        ]
    )
    assert by_number.file_descriptor_response.file_descriptor_proto
    assert 52001 in numbers.all_extension_numbers_response.extension_number
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.asyncio
async def test_reflection_can_be_switched_off(plane: Plane) -> None:
    """Without reflection its methods don't exist."""
    server = await plane.serve(Echo(), reflection=False)
    plane.as_user(server)
    channel = plane.channels[-1].channel(f"127.0.0.1:{server.ports.grpc}")
    call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    assert (await failure(call(iter([b""])).read())).code == "UNIMPLEMENTED"


@pytest.mark.asyncio
async def test_a_quiet_caller_may_ping(plane: Plane) -> None:
    """Who pings no more often than is allowed stays; stock, and beyond it, the stream is ended."""
    patient, strict = Echo(), Echo()
    allowed = await plane.serve(patient, min_ping_interval=timedelta(milliseconds=100))
    refused = await plane.serve(strict, min_ping_interval=timedelta(minutes=5))
    tls = plane.keys.client(user_uri(DOMAIN, "admin"))

    def quiet(server: Server) -> Any:
        channels = Channels(tls, keepalive_seconds=0.5)
        plane.channels.append(channels)
        return Stub(channels.channel(f"127.0.0.1:{server.ports.grpc}")).watch(note("wait"))

    kept, ended = quiet(allowed), quiet(refused)
    async with asyncio.timeout(6 * DEADLINE):
        assert (await kept.read()).name == (await ended.read()).name == "first"
        broken = await failure(ended.read())
        patient.release.set()
        assert (await kept.read()).name == "last"
    assert broken.code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED"}
    assert "ping" in broken.message.lower()


@pytest.mark.asyncio
async def test_a_connection_is_replaced_when_it_is_old(plane: Plane) -> None:
    """Streams of an old connection end so that they can be resumed; calls go on by a new one."""
    server = await plane.serve(
        Echo(),
        max_connection_age=timedelta(milliseconds=300),
        max_connection_age_grace=timedelta(milliseconds=100),
    )
    stub = plane.as_user(server)
    stream = stub.watch(note("wait"))
    async with asyncio.timeout(6 * DEADLINE):
        assert (await stream.read()).name == "first"
        ended = await failure(stream.read())
        assert (await stub.say(note("hello"))).name == "answer"
    assert ended.code == "UNAVAILABLE"

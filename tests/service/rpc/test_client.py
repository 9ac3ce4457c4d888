"""Channels: retries of what may be repeated, certificates that rotate, failures read whole."""

from __future__ import annotations

import json
from typing import Any

import grpc.aio
import pytest

from cellplane.api.model.v1 import project_pb2, project_pb2_grpc
from cellplane.cell.problem import FailedPrecondition, Invalid, NotFound, Unavailable
from cellplane.rpc import contracts
from cellplane.rpc.client import Channels, RpcFailure, explain, service_config
from cellplane.rpc.identity import service_uri, user_uri
from cellplane.rpc.server import Server, ServerOptions
from tests.service.rpc.conftest import DOMAIN, Keys, Plane
from tests.service.rpc.echo import Echo, Stub, note
from tests.service.rpc.test_gate import failure


class Projects(project_pb2_grpc.ProjectServiceServicer):
    """Is unavailable once for every method."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def GetProject(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.once("get", request.name)

    async def DeleteProject(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.once("delete", request.name)

    def once(self, method: str, name: str) -> Any:
        self.calls.append(method)
        if self.calls.count(method) == 1:
            raise Unavailable("away")
        return project_pb2.Project(name=name)


@pytest.mark.asyncio
async def test_only_what_may_be_repeated_is_retried(plane: Plane, keys: Keys) -> None:
    """A read that finds the server unavailable is sent again; a write is not."""
    server = Server(ServerOptions(tls=keys.server()))
    projects = Projects()
    server.add(
        "cellplane.api.model.v1.ProjectService",
        project_pb2_grpc.add_ProjectServiceServicer_to_server,
        projects,
    )
    await server.start()
    plane.servers.append(server)
    channel = plane.dial(server, keys.client(user_uri(DOMAIN, "admin")))
    stub = project_pb2_grpc.ProjectServiceStub(channel)
    name = "organizations/acme/projects/shop"
    assert (await stub.GetProject(project_pb2.GetProjectRequest(name=name))).name == name
    found = await failure(stub.DeleteProject(project_pb2.DeleteProjectRequest(name=name)))
    assert found.code == "UNAVAILABLE"
    assert projects.calls == ["get", "get", "delete"]


def test_no_write_is_repeatable() -> None:
    """The service config never names a create, update or delete that doesn't say it may be."""
    names = {method for _, method in contracts.repeatable(contracts.load())}
    assert "GetProject" in names
    assert not {name for name in names if name.startswith(("Create", "Delete"))}
    policy = json.loads(service_config())["methodConfig"][0]["retryPolicy"]
    assert policy["retryableStatusCodes"] == ["UNAVAILABLE"]


@pytest.mark.asyncio
async def test_a_channel_follows_its_certificate(plane: Plane, keys: Keys) -> None:
    """Calls after a rotation show the new certificate, without a new channel or stub."""
    server = await plane.serve(Echo())
    tls = keys.client(service_uri(DOMAIN, "before"))
    async with Channels(tls, look_again=0) as channels:
        stub = Stub(channels.channel(f"127.0.0.1:{server.ports.grpc}"))
        assert (await stub.greet(note("whoami"))).text == "SERVICE before"
        keys.client(service_uri(DOMAIN, "after"))
        assert (await stub.greet(note("whoami"))).text == "SERVICE after"


@pytest.mark.asyncio
async def test_one_channel_per_target(keys: Keys) -> None:
    """The same target gives the same channel."""
    async with Channels(None) as channels:
        assert channels.channel("127.0.0.1:1") is channels.channel("127.0.0.1:1")
        assert channels.channel("127.0.0.1:1") is not channels.channel("127.0.0.1:2")


@pytest.mark.asyncio
async def test_nobody_there_is_explained() -> None:
    """A server that can't be reached is a failure like any other."""
    async with Channels(None) as channels:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Stub(channels.channel("127.0.0.1:1")).say(note("hello"))
    found = explain(caught.value)
    assert (found.code, found.reason) == ("UNAVAILABLE", "UNAVAILABLE")
    assert found.message


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("not-found", NotFound),
        ("problems", Invalid),
        ("precondition", FailedPrecondition),
        ("secret", Unavailable),
    ],
)
async def test_a_failure_becomes_an_error_again(
    plane: Plane, name: str, kind: type[Exception]
) -> None:
    """A service can raise on what another answered, findings and all."""
    stub = plane.as_user(await plane.serve(Echo()))
    error = (await failure(stub.say(note(name)))).to_error()
    assert isinstance(error, kind)
    if isinstance(error, Invalid):
        assert [problem.field for problem in error.problems] == ["ports[0]", "a.b"]
    if isinstance(error, FailedPrecondition):
        assert error.preconditions[0].subject == "x"


def test_a_failure_without_details_keeps_its_code() -> None:
    """What no server of ours said is told by its code."""
    assert isinstance(
        RpcFailure(code="UNKNOWN", reason="UNKNOWN", message="x").to_error(), Exception
    )

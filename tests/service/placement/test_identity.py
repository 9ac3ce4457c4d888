"""Who an agent is: what its certificate says, and nothing else. Numbers are of docs/agents.md."""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from cellplane.api.agent.v1 import link_pb2, link_pb2_grpc
from cellplane.api.placement.v1 import data_plane_pb2, data_plane_pb2_grpc
from cellplane.rpc.client import Channels, explain
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime import pki
from cellplane.runtime.pki import Authority, KeyPair
from cellplane.testing.agents import Agent
from cellplane.testing.proxy import TcpProxy, Weather
from tests.service.placement.test_join import PLANE, _csr, join_with
from tests.service.placement.world import World, cell_name, settled

CELL = cell_name()
FULL = os.environ.get("CELLPLANE_FULL") == "1"


def agents_authority(world: World) -> Authority:
    """The authority of agents, as whoever has placement's folder has it."""
    folder = world.folder / "state" / "agents"
    return Authority.load(folder / "ca.crt", folder / "ca.key")


@pytest.mark.asyncio
async def test_cases_17_and_18_a_request_for_another_name_is_refused(world: World) -> None:
    """A name that begins as the right one, and one of another data plane, are both refused."""
    plane, other = await world.create_plane(), await world.create_plane("europe-2")
    granted = await world.grant()
    start = "spiffe://cellplane.local/organizations/acme/dataPlanes/"
    for name in (start + plane.uid[:-1], start + plane.uid + "x", start + other.uid, start):
        asked = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await join_with(granted, csr=_csr(asked))
        assert explain(caught.value).reason == "CSR_NAME_REFUSED"
    await join_with(granted)


@pytest.mark.asyncio
async def test_case_20_of_many_parallel_tries_one_wins(world: World) -> None:
    """A grant that is used a hundred times at once lets one agent in."""
    await world.create_plane()
    granted = await world.grant()
    tries = [join_with(granted) for _ in range(100 if FULL else 20)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    refused = [a for a in answers if isinstance(a, grpc.aio.AioRpcError)]
    assert len(answers) - len(refused) == 1
    assert {explain(error).reason for error in refused} == {"GRANT_USED"}


@pytest.mark.asyncio
async def test_case_22_a_certificate_that_does_not_prove_it_opens_nothing(world: World) -> None:
    """Expired, of another authority, or for servers only: the handshake fails."""
    agent = await world.agent()
    uri = pki_uri(agent.credentials.certificate)
    own, other = agents_authority(world), Authority.create("other")
    short = own.issue(uri=uri, lifetime=timedelta(microseconds=1))
    pairs: list[KeyPair] = [
        short,
        other.issue(uri=uri),
        own.issue(uri=uri, client=False, server=True),
    ]
    assert pki.validity(short.cert_pem)[1] < pki.validity(agent.credentials.certificate)[1]
    for pair in pairs:
        agent.credentials = replace(agent.credentials, certificate=pair.cert_pem, key=pair.key_pem)
        await agent.connect()
        assert agent.error is not None
        assert agent.error.code() is grpc.StatusCode.UNAVAILABLE
    await agent.disconnect()


def pki_uri(certificate: bytes) -> str:
    """The one identity of a certificate."""
    leaf = x509.load_pem_x509_certificate(certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri


@pytest.mark.asyncio
async def test_case_30_an_agent_calls_no_method_of_people(world: World, tmp_path: Path) -> None:
    """Its certificate opens nothing at the port of the API."""
    agent = await world.agent()
    own = agent.credentials
    (tmp_path / "agent.pem").write_bytes(own.key + own.certificate)
    tls = ClientTLS(ca=world.ca, cert=tmp_path / "agent.pem", key=tmp_path / "agent.pem")
    async with Channels(tls) as channels:
        channel = channels.channel(f"127.0.0.1:{world.fixed_ports['api']}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await data_plane_pb2_grpc.DataPlaneServiceStub(channel).GetDataPlane(
                data_plane_pb2.GetDataPlaneRequest(name=PLANE), timeout=3
            )
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.asyncio
async def test_case_75_an_agent_that_does_not_answer_holds_nobody_up(world: World) -> None:
    """Its edits are one Want in the end, and the other data plane is in sync all the while."""
    one, two = await world.agent("europe-1"), await world.agent("europe-2")
    async with one, two:
        await settled(world, CELL, await world.model.put(CELL, {"a": "0"}, copies=2))
        before = len(one.wants)
        one.mute = True
        for number in range(1, 6):
            await world.model.put(CELL, {"a": str(number)}, copies=2)
        revision = max(w.revision for w in two.wants)
        await two.until(lambda: two.stored[CELL].revision >= revision)
        await world.model.until_condition(CELL, "Compiled", "TRUE", revision=6)
        wants = len(one.wants)
        assert wants <= before + 1
        one.mute = False
        await one.connect()
        await settled(world, CELL, 6)
        assert len(one.wants) == wants + 1


@pytest.mark.skipif(not FULL, reason="takes half a minute: CELLPLANE_FULL=1 (make test-full)")
@pytest.mark.asyncio
async def test_case_76_a_line_that_leads_nowhere_is_found_in_30_seconds(
    world: World, tmp_path: Path
) -> None:
    """A connection that stays and carries nothing ends by the agent's pings."""
    agent: Agent = await world.agent()
    own = agent.credentials
    (tmp_path / "agent.pem").write_bytes(own.key + own.certificate)
    (tmp_path / "authority.crt").write_bytes(own.authority)
    tls = ClientTLS(
        ca=tmp_path / "authority.crt", cert=tmp_path / "agent.pem", key=tmp_path / "agent.pem"
    )
    proxy = TcpProxy([own.link_address], random.Random(1))  # noqa: S311 - a seed
    async with proxy.running(), Channels(tls, keepalive_seconds=15) as channels:
        stub = link_pb2_grpc.LinkServiceStub(channels.channel(proxy.address))
        call = stub.Sync()  # type: ignore[call-arg]
        hello = link_pb2.Hello(min_protocol=1, max_protocol=1)
        await call.write(link_pb2.SyncRequest(hello=hello))
        await call.read()
        await proxy.become(Weather(half_open=True))
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError):
            await read_on(call)
        assert time.monotonic() - began < 30


async def read_on(call: Any) -> None:
    """Read until nothing comes any more."""
    while await call.read():
        continue

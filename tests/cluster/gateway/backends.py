"""What answers behind the gateways: each says what it was asked, and does what it is asked for.

A request's query tells an HTTP backend how to answer: ``status``, ``delay`` (seconds), ``fail``
(how often the same ``key`` is answered 503 before it is served).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from cellplane.cell.protocol import Protocol


@dataclass(slots=True, kw_only=True)
class Backends:
    """All that listen; closed with ``stack``."""

    stack: AsyncExitStack
    heard: Counter[str] = field(default_factory=Counter)
    """Requests by backend, and by backend and key."""

    async def http(
        self, name: str, address: str, port: int, tls: ssl.SSLContext | None = None
    ) -> None:
        """An HTTP server that echoes, and speaks WebSocket where it is asked to."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._echo(name, request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        await self.serve(app, address, port, tls)

    async def provider(
        self, host: str, address: str, keys: Mapping[str, Any], tls: ssl.SSLContext
    ) -> None:
        """An issuer of tokens: its keys (JWKS), and where people sign in (OpenID Connect)."""
        here = f"https://{host}"
        about = {
            "issuer": here,
            "authorization_endpoint": f"{here}/authorize",
            "token_endpoint": f"{here}/token",
            "jwks_uri": f"{here}/keys",
        }

        async def token(request: web.Request) -> web.Response:
            form = await request.post()
            who = aiohttp.BasicAuth.decode(request.headers["authorization"])
            if form.get("code") != "given" or who.password != "known-to-the-provider":
                return web.json_response({"error": "invalid_grant"}, status=400)
            granted = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 3600}
            return web.json_response(granted)

        app = web.Application()
        app.router.add_get("/keys", _page(keys))
        app.router.add_get("/.well-known/openid-configuration", _page(about))
        app.router.add_post("/token", token)
        await self.serve(app, address, 443, tls)

    async def tcp(self, name: str, address: str, port: int) -> None:
        """Says its name, then what it hears."""

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{name}\n".encode())
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        server = await asyncio.start_server(talk, address, port)
        self.stack.push_async_callback(server.wait_closed)
        self.stack.callback(server.close)

    async def listen(self, name: str, protocol: Protocol, address: str, port: int) -> None:
        """Whatever speaks *protocol*."""
        if protocol in {Protocol.HTTP, Protocol.GRAPHQL, Protocol.WEBSOCKET}:
            await self.http(name, address, port)
        elif protocol is Protocol.TCP:
            await self.tcp(name, address, port)

    async def serve(
        self, app: web.Application, address: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        """Run an application."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, address, port, ssl_context=tls).start()

    async def _echo(self, name: str, request: web.Request) -> web.StreamResponse:
        self.heard[name] += 1
        if request.headers.get("upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(f"{name}: {message.data}")
            return socket
        query = request.query
        self.heard[f"{name}#{query.get('key', '')}"] += 1
        await asyncio.sleep(float(query.get("delay", "0")))
        if self.heard[f"{name}#{query.get('key', '')}"] <= int(query.get("fail", "0")):
            return web.Response(status=503, headers={"x-backend": name})
        body = await request.read()
        return web.json_response(
            {
                "backend": name,
                "method": request.method,
                "path": request.path,
                "host": request.host,
                "headers": {key.lower(): value for key, value in request.headers.items()},
                "size": len(body),
                "certificate": _shown(request),
            },
            status=int(query.get("status", "200")),
            headers={"x-backend": name},
        )


def _shown(request: web.Request) -> str | None:
    """The project of the Cell whose certificate the client showed."""
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind == "URI":
            return str(value.rsplit("/", 2)[-2])
    return None


def _page(content: Any) -> Any:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(content)

    return answer

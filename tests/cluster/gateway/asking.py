"""Requests as data, and what came of them: a case's ``requests.yaml``.

Each says through which door it goes, what it asks, and what it must meet; only what is written is
compared. ``times`` sends it as often, one after the other.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cellplane.runtime.pki import Authority

DEADLINE = 30.0
FOUND = 302
REFUSED = 0
"""Instead of a status: there was no answer at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    seen: Mapping[str, Any]
    """What the backend says that it was asked; empty where it is not the backend that answers."""
    text: str
    cookies: Sequence[str] = ()


class _To(AbstractResolver):
    """Every host is at one address, as a load balancer's name is."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        return None


async def ask(
    told: Mapping[str, Any], *, address: str, url: str, tls: ssl.SSLContext | bool
) -> Answer:
    """Send one request to an address, under the name that its URL has."""
    body = told.get("body", "")
    data = "x" * body if isinstance(body, int) else body
    connector = aiohttp.TCPConnector(resolver=_To(address), ssl=tls)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=DEADLINE)
    ) as session:
        try:
            async with session.request(
                told.get("method", "GET"),
                url,
                headers=told.get("headers", {}),
                data=data or None,
                allow_redirects=False,
            ) as response:
                text = await response.text()
        except (aiohttp.ClientConnectionError, ConnectionError, ssl.SSLError):
            return Answer(status=REFUSED, headers={}, seen={}, text="")
    seen: Mapping[str, Any] = {}
    if response.headers.get("x-backend") and text.startswith("{"):
        seen = json.loads(text)
    headers = {key.lower(): value for key, value in response.headers.items()}
    cookies = response.headers.getall("set-cookie", [])
    return Answer(status=response.status, headers=headers, seen=seen, text=text, cookies=cookies)


async def converse(told: Mapping[str, Any], *, address: str, url: str, tls: ssl.SSLContext) -> str:
    """Say something through a WebSocket, and hear what comes back."""
    connector = aiohttp.TCPConnector(resolver=_To(address), ssl=tls)
    async with (
        asyncio.timeout(DEADLINE),
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(url, headers=told.get("headers", {})) as socket_,
    ):
        await socket_.send_str(told["says"])
        return str(await socket_.receive_str())


async def sign_in(
    told: Mapping[str, Any], *, address: str, url: str, tls: ssl.SSLContext
) -> Answer:
    """Go as a browser goes: to the provider, back with a code, and on; the last answer."""
    jar: dict[str, str] = {}
    for _ in range(4):
        held = "; ".join(f"{name}={value}" for name, value in jar.items())
        answer = await ask({"headers": {"cookie": held}}, address=address, url=url, tls=tls)
        for line in answer.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            jar[name] = value
        if answer.status != FOUND:
            return answer
        url = answer.headers["location"]
        query = parse_qs(urlsplit(url).query)
        if "redirect_uri" in query:
            (back,), (state,) = query["redirect_uri"], query["state"]
            url = f"{back}?{urlencode({'code': told.get('code', 'given'), 'state': state})}"
    raise AssertionError(f"still sent about, to {url}")


async def stream(says: str, *, address: str, port: int) -> str:
    """Say a line through a plain connection, and hear all until it ends."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(f"{says}\n".encode())
        writer.write_eof()
        heard = await reader.read()
        writer.close()
    return heard.decode()


def disagreements(expected: Mapping[str, Any], answer: Answer) -> list[str]:
    """Where an answer is not as expected."""
    wrong: list[str] = []

    def compare(what: str, wanted: Any, found: Any) -> None:
        if wanted != found:
            wrong.append(f"{what} is {found!r}, not {wanted!r}")

    for key, wanted in expected.items():
        match key:
            case "status":
                compare("status", wanted, answer.status)
            case "headers":
                for name, value in wanted.items():
                    compare(f"header {name}", value, answer.headers.get(name.lower()))
            case "text":
                compare("text", wanted, answer.text)
            case "sees":
                for name, value in wanted.items():
                    found = answer.seen.get("headers", {}).get(name.lower())
                    compare(f"header {name} at the backend", value, found)
            case _:
                compare(key, wanted, answer.seen.get(key))
    return wrong


class Issuer:
    """Signs tokens (RFC 7519, ES256), and tells by which key (RFC 7517)."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def keys(self) -> Mapping[str, Any]:
        """Its JWKS."""
        numbers = self._key.public_key().public_numbers()
        coordinates = {"x": _number(numbers.x), "y": _number(numbers.y)}
        one = {"kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig"}
        return {"keys": [one | coordinates]}

    def token(self, claims: Mapping[str, Any]) -> str:
        """A token that says this."""
        head = _encoded(json.dumps({"alg": "ES256", "kid": "one", "typ": "JWT"}).encode())
        said = f"{head}.{_encoded(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{said}.{_encoded(r.to_bytes(32) + s.to_bytes(32))}"


def _number(value: int) -> str:
    return _encoded(value.to_bytes(32))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def trusting(authorities: Sequence[Authority]) -> ssl.SSLContext:
    """A client that trusts these, whatever the name in the certificate."""
    pems = "".join(authority.cert_pem.decode() for authority in authorities)
    context = ssl.create_default_context(cadata=pems)
    context.check_hostname = False
    return context


def holding(
    context: ssl.SSLContext, authority: Authority, uri: str, folder: Path, name: str
) -> ssl.SSLContext:
    """The same client with a certificate of its own."""
    certificate, key = authority.issue(uri=uri).save(folder, name)
    context.load_cert_chain(certificate, key)
    return context

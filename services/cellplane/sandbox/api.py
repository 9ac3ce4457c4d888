"""A small client of one API server, for what a sandbox sets up itself.

It knows requests and answers, no kinds: starting a cluster must not wait for a large library to be
imported. Connections are few and kept open; each call runs in a thread.
"""

import asyncio
import base64
import http.client
import json
import queue
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_BUSY_SECONDS = 30.0


class ApiError(Exception):
    """The API server refused a request; the message has its reason."""


class Unreachable(ApiError):
    """Nobody answers, or the answer broke off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server said."""

    status: int
    body: Any
    """Parsed JSON; the text where it is none."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Api:
    """An open client; use it with ``async with``."""

    def __init__(self, kubeconfig: str) -> None:
        config = json.loads(kubeconfig)
        self._address = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._tls = _tls(config)
        self._idle: queue.SimpleQueue[http.client.HTTPSConnection] = queue.SimpleQueue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content: str = "application/json",
    ) -> Answer:
        """One request, and its answer whatever it is. Raises Unreachable where there is none."""
        return await asyncio.to_thread(self._call, method, path, body, content)

    async def create(self, path: str, body: Mapping[str, Any]) -> bool:
        """Create the object; False if it was there. Raises ApiError."""
        answer = await self.call("POST", path, body)
        if not answer.ok and answer.status != 409:
            raise ApiError(f"{path} {body['metadata']['name']!r}: {_reason(answer)}")
        return answer.ok

    async def merge(self, path: str, body: Mapping[str, Any]) -> None:
        """Change these fields of the object. Raises ApiError."""
        answer = await self.call("PATCH", path, body, content="application/merge-patch+json")
        if not answer.ok:
            raise ApiError(f"{path}: {_reason(answer)}")

    async def get(self, path: str) -> Any:
        """The object or list. Raises ApiError."""
        answer = await self.call("GET", path)
        if not answer.ok:
            raise ApiError(f"{path}: {_reason(answer)}")
        return answer.body

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, content: str) -> Answer:
        connection = self._connection()
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": content, "Accept": "application/json"},
            )
            response = connection.getresponse()
            read = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(f"{self._address.geturl()} does not answer: {error!r}") from error
        self._idle.put(connection)
        try:
            return Answer(status=response.status, body=json.loads(read))
        except ValueError:
            return Answer(status=response.status, body=read.decode(errors="replace"))

    def _connection(self) -> http.client.HTTPSConnection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return http.client.HTTPSConnection(
                self._address.hostname or "",
                self._address.port,
                context=self._tls,
                timeout=_BUSY_SECONDS,
            )


def _tls(config: Mapping[str, Any]) -> ssl.SSLContext:
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    user = config["users"][0]["user"]
    context = ssl.create_default_context(cadata=authority.decode())
    with tempfile.TemporaryDirectory() as folder:  # ssl reads client keys from files alone
        pair = Path(folder, "pair.pem")
        pair.touch(mode=0o600)
        pair.write_bytes(
            base64.b64decode(user["client-certificate-data"])
            + base64.b64decode(user["client-key-data"])
        )
        context.load_cert_chain(pair)
    return context


def _reason(answer: Answer) -> str:
    message = answer.body.get("message") if isinstance(answer.body, dict) else answer.body
    return f"{answer.status} {message}"

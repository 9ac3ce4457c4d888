"""Requests to one API server, over few connections that stay open.

It knows paths and bytes, no kinds. Whatever is not a result is an ``ApiFailure``; nothing is tried
again here, as only the caller knows whether the same is still wanted.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from cellplane.kube.access import Access
from cellplane.kube.errors import ApiFailure, Failure, failure_of

Object = dict[str, Any]
"""One Kubernetes object, or a list of them, as JSON says it."""

JSON: Final = "application/json"
METADATA: Final = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
METADATA_LIST: Final = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write made of an object."""

    body: Object
    created: bool


class KubeClient:
    """An open client; use it with ``async with``."""

    def __init__(self, access: Access, *, timeout: float = 30.0, connections: int = 128) -> None:
        """``timeout`` is of one request, in seconds; watches have none."""
        self._access = access
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[str, Any] = {}
        if access.tls is not None:
            self._tls["ssl"] = access.tls
        if access.server_name:
            self._tls["server_hostname"] = access.server_name
        if access.proxy:
            self._tls["proxy"] = access.proxy

    async def __aenter__(self) -> KubeClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=120),
            headers={"User-Agent": "cellplane-agent"},
            auto_decompress=True,
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, accept: str = JSON
    ) -> Object:
        """Read an object or a list."""
        _, body = await self._call("GET", path, params=params, accept=accept)
        return _object(body)

    async def get_text(self, path: str, *, params: Mapping[str, str] | None = None) -> str:
        """Read what is no object, such as a log."""
        _, body = await self._call("GET", path, params=params, accept="*/*")
        return body.decode(errors="replace")

    async def apply(self, path: str, content: bytes, *, manager: str, force: bool) -> Written:
        """Server-side apply; fields that nobody knows are refused, not dropped."""
        params = {
            "fieldManager": manager,
            "fieldValidation": "Strict",
            "force": "true" if force else "false",
        }
        status, body = await self._call(
            "PATCH", path, params=params, body=content, content_type=_APPLY
        )
        return Written(body=_object(body), created=status == 201)

    async def patch(
        self, path: str, operations: Sequence[Mapping[str, Any]], *, manager: str
    ) -> Written:
        """JSON Patch (RFC 6902): all operations, or none if a ``test`` among them fails."""
        _, answer = await self._call(
            "PATCH",
            path,
            params={"fieldManager": manager},
            body=json.dumps(operations).encode(),
            content_type=_JSON_PATCH,
        )
        return Written(body=_object(answer), created=False)

    async def delete(self, path: str, *, uid: str, propagation: str) -> bool:
        """Delete the object if it is still the one with this uid; whether it is gone already."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": propagation,
        }
        _, body = await self._call(
            "DELETE", path, body=json.dumps(options).encode(), content_type=JSON
        )
        # What is only going is answered as it is now.
        return _object(body).get("kind") == "Status"

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], accept: str = JSON
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read lines for as long as the server sends them."""
        response = await self._send(
            "GET",
            path,
            params=params,
            headers={"Accept": accept},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        try:
            if response.status >= 300:
                raise _failure(response, await response.read())
            yield _lines(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable(error) from error
        finally:
            response.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "",
        accept: str = JSON,
    ) -> tuple[int, bytes]:
        headers = {"Accept": accept}
        if content_type:
            headers["Content-Type"] = content_type
        for last in (False, True):
            response = await self._send(
                method, path, params=params, body=body, headers=headers, timeout=self._timeout
            )
            try:
                answer = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _unavailable(error) from error
            finally:
                response.release()
            if response.status == _UNAUTHORIZED and not last:
                await self._access.renew()
                continue
            if response.status >= 300:
                raise _failure(response, answer)
            return response.status, answer
        raise AssertionError("the loop above returns or raises")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        body: bytes | None = None,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise ApiFailure(Failure.UNAVAILABLE, "client is closed")
        if authorization := await self._access.authorization():
            headers["Authorization"] = authorization
        try:
            return await self._session.request(
                method,
                self._access.host + path,
                params=params,
                data=body,
                headers=headers,
                timeout=timeout,
                **self._tls,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unavailable(error) from error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines of any length; aiohttp's own reader refuses long ones."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
    if rest:
        yield rest


def _object(body: bytes) -> Object:
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise ApiFailure(Failure.UNAVAILABLE, f"answer is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ApiFailure(Failure.UNAVAILABLE, "answer is not an object")
    return parsed


def _failure(response: aiohttp.ClientResponse, body: bytes) -> ApiFailure:
    return failure_of(response.status, body, response.headers.get("Retry-After", ""))


def _unavailable(error: BaseException) -> ApiFailure:
    what = str(error) or type(error).__name__
    return ApiFailure(Failure.UNAVAILABLE, f"API server does not answer: {what}")

"""Channels to other services: mutual TLS, keepalive, retries of what may be repeated, ids.

A channel made here is used like any of gRPC's, with the generated stubs. It adds the request id
and trace of the call at hand, a deadline where a unary call has none, and follows its certificate
files: calls that start after a rotation use the new pair.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc
import grpc.aio

from cellplane.rpc import contracts, correlation
from cellplane.rpc.status import RpcFailure, explain
from cellplane.rpc.tls import ClientTLS

__all__ = ["Channels", "RpcFailure", "explain", "service_config"]

RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # The only status that may be repeated blindly (AIP-194).
    "retryableStatusCodes": ["UNAVAILABLE"],
}


class Channels:
    """Makes and keeps one channel per target."""

    def __init__(
        self,
        tls: ClientTLS | None,
        *,
        default_timeout: float = 30.0,
        keepalive_seconds: float = 30.0,
        max_message_bytes: int = 4 * 1024 * 1024,
        user_agent: str = "cellplane",
        look_again: float = 1.0,
    ) -> None:
        """Without ``tls`` channels are plain text, for loopback. Times are in seconds.

        ``look_again`` is the least time between two looks at the certificate files.
        """
        self._tls = tls
        self._timeout = default_timeout
        self._look_again = look_again
        self._options: list[tuple[str, Any]] = [
            ("grpc.keepalive_time_ms", round(keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            # Stock waits up to two minutes before it dials a peer again.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 5_000),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.primary_user_agent", user_agent),
            ("grpc.enable_retries", 1),
        ]
        if tls is not None and tls.server_name:
            self._options.append(("grpc.ssl_target_name_override", tls.server_name))
        self._channels: dict[str, _Channel] = {}
        self._service_config = ""

    def channel(self, target: str) -> grpc.aio.Channel:
        """The channel to ``host:port``; the same one for the same target."""
        channel = self._channels.get(target)
        if channel is None:
            channel = _Channel(
                lambda: self._dial(target), self._tls, self._timeout, self._look_again
            )
            self._channels[target] = channel
        return channel

    async def close(self) -> None:
        """Close every channel; calls in progress are cancelled."""
        channels = list(self._channels.values())
        self._channels.clear()
        for channel in channels:
            await channel.close()

    async def __aenter__(self) -> Channels:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def _dial(self, target: str) -> grpc.aio.Channel:
        if not self._service_config:
            self._service_config = service_config()
        options = [*self._options, ("grpc.service_config", self._service_config)]
        if self._tls is None:
            return grpc.aio.insecure_channel(target, options=options)
        return grpc.aio.secure_channel(target, self._tls.credentials(), options=options)


def service_config() -> str:
    """gRPC service config that retries the API's repeatable methods on ``UNAVAILABLE``."""
    names = [
        {"service": service, "method": method}
        for service, method in contracts.repeatable(contracts.load())
    ]
    methods = [{"name": names, "retryPolicy": RETRIES}] if names else []
    return json.dumps(
        {"methodConfig": methods, "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}}
    )


class _Channel(grpc.aio.Channel):
    """One target; dials anew when the certificate files change."""

    def __init__(
        self,
        dial: Callable[[], grpc.aio.Channel],
        tls: ClientTLS | None,
        timeout: float,
        look_again: float,
    ) -> None:
        self._dial = dial
        self._tls = tls
        self._timeout = timeout
        self._look_again = look_again
        self._stamp = tls.stamp() if tls is not None else ()
        self._looked = time.monotonic()
        self._retired: list[grpc.aio.Channel] = []
        self.inner = dial()

    def refresh(self) -> grpc.aio.Channel:
        """The channel to call by now. Calls on the one before go on to their end."""
        if self._tls is None or time.monotonic() - self._looked < self._look_again:
            return self.inner
        self._looked = time.monotonic()
        stamp = self._tls.stamp()
        if stamp != self._stamp:
            try:
                fresh = self._dial()
            except Exception:  # noqa: BLE001 - files in the middle of a rotation: look again later
                return self.inner
            self._stamp = stamp
            self._retired.append(self.inner)
            self.inner = fresh
        return self.inner

    async def close(self, grace: float | None = None) -> None:
        channels = [self.inner, *self._retired]
        self._retired.clear()
        await asyncio.gather(*(channel.close(grace) for channel in channels))

    async def __aenter__(self) -> _Channel:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.inner.channel_ready()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        return _Method(self, "unary_unary", args, options, self._timeout)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        return _Method(self, "unary_stream", args, options, None)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        return _Method(self, "stream_unary", args, options, None)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        return _Method(self, "stream_stream", args, options, None)


class _Method:
    """What a stub calls: gRPC's own callable, with metadata and a deadline added."""

    __slots__ = ("_args", "_call", "_channel", "_inner", "_kind", "_options", "_timeout")

    def __init__(
        self,
        channel: _Channel,
        kind: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
        timeout: float | None,
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._args = args
        self._options = options
        self._timeout = timeout
        self._inner = channel.inner
        self._call: Callable[..., Any] = getattr(self._inner, kind)(*args, **options)

    def __call__(
        self,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] | grpc.aio.Metadata | None = None,
        **options: Any,
    ) -> Any:
        inner = self._channel.refresh()
        if inner is not self._inner:
            self._inner = inner
            self._call = getattr(inner, self._kind)(*self._args, **self._options)
        return self._call(
            request,
            timeout=self._timeout if timeout is None else timeout,
            metadata=_with_ids(metadata),
            **options,
        )


def _with_ids(
    metadata: Sequence[tuple[str, str | bytes]] | grpc.aio.Metadata | None,
) -> tuple[tuple[str, str | bytes], ...]:
    ids = correlation.current()
    given = tuple(cast("Sequence[tuple[str, str | bytes]]", metadata or ()))
    names = {name for name, _ in given}
    added: list[tuple[str, str | bytes]] = []
    if correlation.REQUEST_ID_KEY not in names:
        request_id = ids.request_id or correlation.new_request_id()
        added.append((correlation.REQUEST_ID_KEY, request_id))
    if ids.traceparent and correlation.TRACEPARENT_KEY not in names:
        added.append((correlation.TRACEPARENT_KEY, ids.traceparent))
    return (*given, *added)

"""A gRPC server that does what each of ours must: TLS, the gate, health, reflection, a stop.

One process may hold several (placement has a second port for joins); they share nothing but what
is handed to both. Servicers are added before ``start``; a method without an access rule refuses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_channelz.v1._async import ChannelzServicer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer  # pyright: ignore[reportMissingImports]
from grpc_reflection.v1alpha import reflection_pb2
from opentelemetry.trace import TracerProvider

from cellplane.cell.problem import FailedPrecondition, Invalid
from cellplane.rpc import contracts
from cellplane.rpc.access import OPEN, Roles, RoleTable, read_rules
from cellplane.rpc.gate import Gate
from cellplane.rpc.reflection import Reflection
from cellplane.rpc.telemetry import RpcMetrics
from cellplane.rpc.tls import ServerTLS
from cellplane.runtime.config import ServiceSettings
from cellplane.runtime.files import write_atomic
from cellplane.runtime.metrics import AdminServer, Readiness, new_registry

MEBIBYTE = 1024 * 1024

_HEALTH = "grpc.health.v1.Health"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How one server listens and behaves."""

    listen: str = "127.0.0.1:0"
    tls: ServerTLS | None = None
    """Without it the server listens in plain text, which is refused beyond loopback."""
    admin_listen: str = ""
    """HTTP: ``/metrics``, ``/healthz``, ``/readyz``; empty for none."""
    admin_grpc_listen: str = ""
    """Health and channelz in plain text, on loopback only; empty for none."""
    trust_domain: str = "cellplane.local"
    reflection: bool = True
    grace: timedelta = timedelta(seconds=5)
    notice: timedelta = timedelta(milliseconds=200)
    """On a stop, how long streams have to end by themselves after ``Server.draining`` is set."""
    max_message_bytes: int = 4 * MEBIBYTE
    default_deadline: timedelta = timedelta(seconds=30)
    """For unary calls whose caller set none."""
    max_connection_age: timedelta = timedelta(hours=1)
    """After which a connection is replaced, so that balancers spread anew and bans end."""
    max_connection_age_grace: timedelta = timedelta(minutes=1)
    min_ping_interval: timedelta = timedelta(seconds=10)
    """Least time between pings of a quiet caller; agents ping to keep NAT entries alive."""
    max_concurrent_calls: int | None = None
    replicas_of: str = ""
    """Service whose other replicas may pass calls on, with their callers' identity."""
    port_file: Path | None = None

    @classmethod
    def of(cls, settings: ServiceSettings, **changes: Any) -> ServerOptions:
        """The options that a service's settings ask for."""
        asked: dict[str, Any] = {
            "listen": settings.listen,
            "tls": ServerTLS(ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key),
            "admin_listen": settings.admin_listen,
            "admin_grpc_listen": settings.admin_grpc_listen,
            "trust_domain": settings.trust_domain,
            "reflection": settings.reflection,
            "grace": settings.shutdown_grace,
            "replicas_of": settings.service,
            "port_file": settings.port_file,
        }
        return cls(**(asked | changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Which handler is asked for."""

    method: str
    invocation_metadata: tuple[()] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a server is bound to; 0 for what it doesn't serve."""

    grpc: int
    admin: int = 0
    admin_grpc: int = 0


@dataclass(slots=True)
class _Collector:
    """Stands in for a server in ``add_…_to_server``, and keeps the handlers."""

    handlers: dict[str, Any] = field(default_factory=dict)
    generic: list[Any] = field(default_factory=list)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """All that generated code of former times adds, as that of ``google.longrunning``."""
        self.generic.extend(handlers)

    def find(self, path: str) -> Any:
        """The handler of a method; ``None`` if there is none."""
        found = self.handlers.get(path)
        asked = _Asked(method=path)
        return found or next(filter(None, (g.service(asked) for g in self.generic)), None)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        for method, handler in handlers.items():
            self.handlers[f"/{service}/{method}"] = handler


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its types alone
    """All methods of a server behind one look-up."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


class Server:
    """One gRPC listener with its servicers."""

    def __init__(
        self,
        options: ServerOptions,
        *,
        roles: Roles | None = None,
        metrics: RpcMetrics | None = None,
        readiness: Readiness | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """``metrics`` and ``readiness`` may be shared by the servers of one process.

        Without ``tracer_provider``, spans go to the process's own, if it has one.
        """
        self.options = options
        self.metrics = metrics or RpcMetrics(new_registry())
        self.readiness = readiness or Readiness()
        self.draining = asyncio.Event()
        """Set when a stop begins: streams that say goodbye do it now."""
        self.started = asyncio.Event()
        """Set once ``ports`` are bound."""
        self.ports = Ports(grpc=0)
        self._gate = Gate(
            trust_domain=options.trust_domain,
            roles=roles or RoleTable(),
            metrics=self.metrics,
            default_deadline=options.default_deadline.total_seconds(),
            replicas_of=options.replicas_of,
            tracer_provider=tracer_provider,
        )
        self._handlers: dict[str, Any] = {}
        self._services: list[str] = []
        self._health = HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._admin_grpc: grpc.aio.Server | None = None
        self._admin = AdminServer(self.metrics.registry, self.readiness)
        self._log = structlog.get_logger()

    def add(
        self, service: str, add_to_server: Callable[[Any, Any], None], servicer: object
    ) -> None:
        """Add a servicer, by its full name and its generated ``add_…_to_server``.

        Raises ``FailedPrecondition`` when one of its methods declares no valid access rule.
        """
        contract = _contract(service)
        rules = read_rules([contract])
        collector = _Collector()
        add_to_server(servicer, collector)
        for method in contract.methods:
            path = f"/{service}/{method.name}"
            handler = collector.find(path)
            if handler is None:
                raise Invalid(f"{add_to_server.__name__} adds no {path[1:]}: it is another's")
            self._handlers[path] = self._gate.wrap(path, handler, rules[path], method)
        self._services.append(service)

    async def start(self) -> Ports:
        """Bind, serve, and write the port file; returns the bound ports."""
        options = self.options
        self._add_standard()
        server = self._build(self._handlers)
        tls = options.tls
        if tls is None:
            _require_loopback(options.listen, "plain text is for loopback only: give it TLS")
        port = _bind(server, options.listen, tls)
        await server.start()
        self._server = server
        for service in ("", *self._services):
            await self.set_serving(service, serving=True)
        admin = await self._admin.start(options.admin_listen) if options.admin_listen else 0
        admin_grpc = await self._start_admin_grpc() if options.admin_grpc_listen else 0
        self.ports = Ports(grpc=port, admin=admin, admin_grpc=admin_grpc)
        self.started.set()
        if options.port_file is not None:
            self._write_ports(options.port_file)
        self._log.info(
            "server.started", grpc=port, admin=admin, tls=tls is not None, services=self._services
        )
        return self.ports

    async def set_serving(self, service: str, *, serving: bool) -> None:
        """Set the health of one service, or of the whole server by the empty name."""
        states = health_pb2.HealthCheckResponse
        await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    async def serve_until(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then stop gracefully."""
        try:
            await stop.wait()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop: not serving, no new calls, unary calls finish in ``grace``, streams end at once."""
        if self._server is None:
            return
        self.readiness.stop()
        await self._health.enter_graceful_shutdown()
        self.draining.set()
        stopping = asyncio.ensure_future(self._server.stop(self.options.grace.total_seconds()))
        await asyncio.wait({stopping}, timeout=self.options.notice.total_seconds())
        streams = self._gate.end_streams()
        await stopping
        if self._admin_grpc is not None:
            await self._admin_grpc.stop(None)
        await self._admin.stop()
        if self.options.port_file is not None:
            self.options.port_file.unlink(missing_ok=True)
        self._server = None
        self._log.info("server.stopped", streams_ended=streams)

    def _add_standard(self) -> None:
        self._add_open(_HEALTH, health_pb2_grpc.add_HealthServicer_to_server, self._health)
        if not self.options.reflection:
            return
        reflection = Reflection([*self._services, _HEALTH])
        contract = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].methods[0]
        for path, handler in reflection.handlers():
            self._handlers[path] = self._gate.wrap(path, handler, OPEN, contract)

    def _add_open(self, service: str, add: Callable[[Any, Any], None], servicer: object) -> None:
        collector = _Collector()
        add(servicer, collector)
        for method in _contract(service).methods:
            path = f"/{service}/{method.name}"
            self._handlers[path] = self._gate.wrap(path, collector.handlers[path], OPEN, method)

    def _build(self, handlers: dict[str, Any]) -> grpc.aio.Server:
        options = self.options
        age = options.max_connection_age
        server = grpc.aio.server(
            options=[
                # A second process on the same port would silently take half of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", options.max_message_bytes),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
                # Stock: five minutes, then GOAWAY too_many_pings.
                ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.min_ping_interval)),
                ("grpc.max_connection_age_ms", _ms(age)),
                ("grpc.max_connection_age_grace_ms", _ms(options.max_connection_age_grace)),
            ],
            maximum_concurrent_rpcs=options.max_concurrent_calls,
        )
        server.add_generic_rpc_handlers((_Handlers(handlers),))
        return server

    async def _start_admin_grpc(self) -> int:
        listen = self.options.admin_grpc_listen
        _require_loopback(listen, "the admin port has no access rules")
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        channelz_pb2_grpc.add_ChannelzServicer_to_server(ChannelzServicer(), server)
        port = _bind(server, listen, None)
        await server.start()
        self._admin_grpc = server
        return port

    def _write_ports(self, path: Path) -> None:
        ports = self.ports
        content = {
            "pid": os.getpid(),
            "grpc": ports.grpc,
            "admin": ports.admin,
            "admin_grpc": ports.admin_grpc,
        }
        write_atomic(path, json.dumps(content).encode(), mode=0o644)


def read_ports(path: Path) -> Ports | None:
    """What a port file says; ``None`` while there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Ports(grpc=content["grpc"], admin=content["admin"], admin_grpc=content["admin_grpc"])


def _contract(service: str) -> ServiceDescriptor:
    pool = descriptor_pool.Default()
    with contextlib.suppress(KeyError):
        return pool.FindServiceByName(service)
    # The stubs of a service whose messages are all of other packages import those alone.
    module = contracts.module_of(service)
    if module is None:
        raise Invalid(f"service {service} has no contract")
    import_module(module)
    return pool.FindServiceByName(service)


def _bind(server: grpc.aio.Server, listen: str, tls: ServerTLS | None) -> int:
    try:
        if tls is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, tls.credentials())
    except RuntimeError as error:
        raise FailedPrecondition(
            f"can't listen on {listen}: the address is taken or not this machine's",
            reason="ADDRESS_UNAVAILABLE",
            metadata={"listen": listen},
        ) from error


def _require_loopback(listen: str, why: str) -> None:
    host = listen.rpartition(":")[0].strip("[]")
    if listen.startswith("unix:") or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Invalid(f"can't listen on {listen}: {why}", reason="LISTEN_NOT_LOOPBACK")


def _ms(value: timedelta) -> int:
    return round(value.total_seconds() * 1000)

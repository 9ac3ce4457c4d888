"""What is seen of each call: rate, errors, duration, one log line, and a span if there is an SDK.

Everything that doesn't change from call to call is looked up once per method.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc
import structlog
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cellplane.rpc.correlation import Correlation
from cellplane.rpc.identity import Principal

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RpcMetrics:
    """Rate, errors and duration of the calls that a process serves.

    Make one per process, and share it between its servers.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.handled = Counter(
            "grpc_server_handled",
            "Calls that were answered, by status code.",
            ("grpc_service", "grpc_method", "grpc_code"),
            registry=registry,
        )
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's arrival to its answer; of streams, their whole life.",
            ("grpc_service", "grpc_method"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.running = Gauge(
            "grpc_server_running",
            "Calls in progress.",
            ("grpc_service", "grpc_method"),
            registry=registry,
        )


class Observer:
    """Sees the calls of one method."""

    __slots__ = (
        "_counters",
        "_log",
        "_loud",
        "_metrics",
        "_resource",
        "_running",
        "_seconds",
        "method",
        "service",
    )

    def __init__(
        self, path: str, request: Descriptor | None, metrics: RpcMetrics, *, loud: bool
    ) -> None:
        self.service, self.method = path[1:].split("/", 1)
        self._metrics = metrics
        self._seconds = metrics.seconds.labels(self.service, self.method)
        self._running = metrics.running.labels(self.service, self.method)
        self._counters: dict[str, Counter] = {}
        self._log = structlog.get_logger()
        self._loud = loud
        self._resource = _resource_reader(request)

    def start(self) -> None:
        """A call has arrived."""
        self._running.inc()

    def end(
        self,
        code: str,
        seconds: float,
        *,
        principal: Principal,
        correlation: Correlation,
        request: object,
        reason: str = "",
    ) -> None:
        """A call has been answered."""
        self._running.dec()
        self._seconds.observe(seconds)
        counter = self._counters.get(code)
        if counter is None:
            counter = self._metrics.handled.labels(self.service, self.method, code)
            self._counters[code] = counter
        counter.inc()
        fields: dict[str, object] = {
            "method": f"{self.service}/{self.method}",
            "principal": principal.spiffe or principal.name,
            "code": code,
            "ms": round(seconds * 1000, 2),
            "request_id": correlation.request_id,
        }
        resource = self._resource(request)
        if resource:
            fields["resource"] = resource
        if reason:
            fields["reason"] = reason
        if correlation.traceparent:
            fields["trace_id"] = correlation.trace_id
        # Probes come every few seconds and say nothing.
        (self._log.info if self._loud or code != "OK" else self._log.debug)("rpc", **fields)


def _resource_reader(request: Descriptor | None) -> Callable[[object], str]:
    """Reads ``name``, else ``parent``, of a request (AIP-131, AIP-132)."""
    fields = request.fields_by_name if request is not None else {}
    for name in ("name", "parent"):
        field = fields.get(name)
        if field is not None and field.type == field.TYPE_STRING and not field.is_repeated:

            def read(message: object, name: str = name) -> str:
                return getattr(message, name)[:256] if isinstance(message, Message) else ""

            return read
    return lambda _message: ""


class Spans:
    """Server spans, if the process has set up an OpenTelemetry SDK; otherwise nothing."""

    __slots__ = ("_propagator", "_tracer")

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        """Without a provider: the process's, if it has set one up."""
        provider = provider or trace.get_tracer_provider()
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = (
            None
            if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider))
            else provider.get_tracer("cellplane.rpc")
        )

    def start(self, observer: Observer, correlation: Correlation) -> trace.Span | None:
        """A span that continues the caller's trace."""
        if self._tracer is None:
            return None
        parent = self._propagator.extract({"traceparent": correlation.traceparent})
        return self._tracer.start_span(
            f"{observer.service}/{observer.method}",
            context=parent,
            kind=trace.SpanKind.SERVER,
            # OpenTelemetry's semantic conventions for RPC
            attributes={
                "rpc.system": "grpc",
                "rpc.service": observer.service,
                "rpc.method": observer.method,
                "cellplane.request_id": correlation.request_id,
            },
        )

    def traceparent(self, span: trace.Span) -> str:
        """The header with which calls go on from ``span``."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span))
        return carrier.get("traceparent", "")

    @staticmethod
    def end(span: trace.Span, code: str) -> None:
        """Finish the span of a call."""
        number = grpc.StatusCode[code].value[0]
        span.set_attribute("rpc.grpc.status_code", number)
        if code in ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
            span.set_status(trace.StatusCode.ERROR)
        span.end()

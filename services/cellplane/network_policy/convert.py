"""Between the wire and the pure packages of network policies."""

from __future__ import annotations

from cellplane.api.network_policy.v1 import observed_pb2, reach_pb2
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.observed import Finding
from cellplane.network_policy.compiler.platform import compile_gateways
from cellplane.network_policy.compiler.reach import Question, Reach
from cellplane.network_policy.compiler.survey import Survey
from cellplane.rpc.codec import Codec
from cellplane.rpc.compile import CompileAdapter, PlatformAdapter

_READS = (
    "component",
    "kind",
    "endpoints",
    "connections",
    "workload.readiness_probe",
    "workload.liveness_probe",
)
"""Of a component; what changes beside these changes no policy."""


def compile_adapter() -> CompileAdapter:
    """Serve the compiler of network policies."""
    return CompileAdapter(compile_policies, reads=_READS)


def platform_adapter() -> PlatformAdapter:
    """Serve the compiler of what data planes need beside Cells."""
    return PlatformAdapter(compile_gateways)


def reach_codec() -> Codec[Reach, reach_pb2.Reach]:
    """Answers to who reaches whom."""
    return Codec(Reach, reach_pb2.Reach)


def survey_codec() -> Codec[Survey, reach_pb2.Survey]:
    """Tables of Cells."""
    return Codec(Survey, reach_pb2.Survey)


def finding_codec() -> Codec[Finding, observed_pb2.Finding]:
    """What denied flows mean."""
    return Codec(Finding, observed_pb2.Finding)


def question_of(request: reach_pb2.CanReachRequest) -> Question:
    """What is asked."""
    return Question(
        source=request.source,
        destination=request.destination,
        port=request.port,
        transport=request.transport,
    )

"""Between the wire and the compiler of network policies."""

from __future__ import annotations

from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.rpc.compile import CompileAdapter

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

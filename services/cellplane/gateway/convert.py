"""Between the wire and the compiler of gateways."""

from __future__ import annotations

from cellplane.gateway.compiler.compile import compile as compile_gateways
from cellplane.rpc.compile import CompileAdapter

_READS = ("component", "kind", "endpoints", "connections", "secrets")
"""Of a component; what changes beside these changes no gateway."""


def compile_adapter() -> CompileAdapter:
    """Serve the compiler of gateways."""
    return CompileAdapter(compile_gateways, reads=_READS)

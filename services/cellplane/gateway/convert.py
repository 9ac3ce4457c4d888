"""Between the wire and the compiler of gateways."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from cellplane.gateway.compiler.compile import compile as compile_gateways
from cellplane.gateway.compiler.platform import compile_platform
from cellplane.rpc.compile import CompileAdapter, PlatformAdapter

_READS = ("component", "kind", "endpoints", "connections", "secrets")
"""Of a component; what changes beside these changes no gateway."""


def compile_adapter() -> CompileAdapter:
    """Serve the compiler of gateways."""
    return CompileAdapter(compile_gateways, reads=_READS)


def platform_adapter(public_domains: Sequence[str]) -> PlatformAdapter:
    """Serve the compiler of shared gateways, whose certificates are for these domains."""
    return PlatformAdapter(functools.partial(compile_platform, public_domains=public_domains))

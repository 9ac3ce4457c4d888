"""Compiled objects, and the Bundle that they make.

Canonical JSON (RFC 8785's spirit: sorted keys, no spaces, UTF-8) gives the same bytes for the same
meaning, so a digest tells whether anything changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cellplane.cell.problem import Problem


class Phase(Enum):
    """When an object is applied; removal goes the other way."""

    NAMESPACE = "NAMESPACE"
    GUARD = "GUARD"
    POLICY = "POLICY"
    CONFIGURATION = "CONFIGURATION"
    WORKLOAD = "WORKLOAD"
    EXPOSURE = "EXPOSURE"


PHASE_ORDER: Mapping[Phase, int] = {phase: index for index, phase in enumerate(Phase)}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectKey:
    """Which object in a cluster."""

    api_version: str
    kind: str
    namespace: str
    object: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.object}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One Kubernetes object, compiled. Field names are those of the contract."""

    part: str
    phase: Phase
    api_version: str
    kind: str
    namespace: str
    object: str
    content: bytes
    digest: str

    @property
    def key(self) -> ObjectKey:
        """Which object it is."""
        return ObjectKey(
            api_version=self.api_version,
            kind=self.kind,
            namespace=self.namespace,
            object=self.object,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a compiler answers."""

    manifests: tuple[Manifest, ...] = ()
    problems: tuple[Problem, ...] = ()


def canonical(body: Mapping[str, Any]) -> bytes:
    """Write *body* as canonical JSON."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(content: bytes) -> str:
    """SHA-256 of *content* in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def manifest(part: str, phase: Phase, body: Mapping[str, Any]) -> Manifest:
    """Make a Manifest of a whole Kubernetes object.

    Args:
        part: Id of the component that it belongs to; empty for the Cell as a whole.
        phase: When it is applied.
        body: The object, with ``apiVersion``, ``kind`` and ``metadata.name``.
    """
    content = canonical(body)
    metadata = body["metadata"]
    return Manifest(
        part=part,
        phase=phase,
        api_version=body["apiVersion"],
        kind=body["kind"],
        namespace=metadata.get("namespace", ""),
        object=metadata["name"],
        content=content,
        digest=digest(content),
    )


def in_order(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Sort by part, phase and identity: the order of the contract."""
    return tuple(sorted(manifests, key=lambda m: (m.part, PHASE_ORDER[m.phase], m.key)))


def bundle_digest(manifests: Iterable[Manifest]) -> str:
    """Digest a whole Bundle: which objects there are, and what is in them."""
    lines = sorted(f"{m.key} {m.digest}" for m in manifests)
    return digest("\n".join(lines).encode())

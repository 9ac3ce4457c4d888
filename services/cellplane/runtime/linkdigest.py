"""Digests by which an agent and placement know, in one round trip, that they have the same.

Pure, and shared by both sides: each line is one thing, lines are sorted by code point and joined by
a line feed without one at the end, and the digest is SHA-256 of that in UTF-8, in hexadecimal
digits. Nothing at all has the empty digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PROTOCOL: Final = 1
"""The version of the link's protocol that these rules belong to."""

BLOB_LIMIT: Final = 1024 * 1024
"""Bytes of content in one ``Blob`` message at most; one larger content travels alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestedObject:
    """One object of a revision. ``phase`` is its name without prefix, such as ``WORKLOAD``."""

    api_version: str
    kind: str
    namespace: str
    object: str
    phase: str
    part: str
    digest: str
    """SHA-256 of its content, in hexadecimal digits."""


def objects_digest(objects: Iterable[DigestedObject]) -> str:
    """Digest a revision: ``Want.digest``, ``StoredCell.digest``, ``CellRevision.digest``.

    A line is ``<apiVersion> <kind> <namespace> <object> <phase> <part> <digest>``; an empty field
    leaves its two spaces.
    """
    return _digest(
        f"{o.api_version} {o.kind} {o.namespace} {o.object} {o.phase} {o.part} {o.digest}"
        for o in objects
    )


def root_digest(cells: Iterable[tuple[str, int, str]]) -> str:
    """Digest what a data plane has: ``Hello.root_digest``, over its Cells.

    A line is ``<cell> <revision> <objects digest>``. A Cell that is being removed counts until it
    is gone, with the revision of its removal and the empty digest.
    """
    return _digest(f"{cell} {revision} {digest}" for cell, revision, digest in cells)


def _digest(lines: Iterable[str]) -> str:
    ordered = sorted(lines)
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest() if ordered else ""

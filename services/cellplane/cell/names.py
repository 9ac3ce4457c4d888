"""Resource names, and the Kubernetes names that are made from them.

Kubernetes names are legal (RFC 1123 label), stable, and never collide: parts are joined by ``-``
only where that is reversible; else, and where the result is too long, a hash of all the parts is
appended. The same parts give the same name for ever: changing a rule here renames live objects.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

LABEL_LIMIT: Final = 63
"""The longest RFC 1123 label."""

_ID: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_HASH_LENGTH: Final = 8


def is_id(text: str) -> bool:
    """Tell whether *text* can be the id of a resource (AIP-122)."""
    return _ID.fullmatch(text) is not None


def short_hash(*parts: str) -> str:
    """Digest *parts*, unambiguously joined, into eight characters of base 32."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.sha256(joined.encode()).digest()
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    number = int.from_bytes(digest[:5])
    return "".join(alphabet[(number >> (5 * index)) & 31] for index in range(_HASH_LENGTH))


def kube_name(*parts: str, limit: int = LABEL_LIMIT) -> str:
    """Join *parts* into one legal name of at most *limit* characters.

    One part that fits is its own name. Several are joined by ``-`` and always carry a hash, as
    ``a-b`` + ``c`` and ``a`` + ``b-c`` would read alike otherwise.
    """
    if len(parts) == 1 and len(parts[0]) <= limit:
        return parts[0]
    suffix = short_hash(*parts)
    head = "-".join(parts)[: limit - len(suffix) - 1].rstrip("-")
    return f"{head}-{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellName:
    """Which Cell: ids of its organization, project and environment."""

    organization: str
    project: str
    environment: str

    @classmethod
    def parse(cls, name: str) -> CellName | None:
        """Read ``organizations/*/projects/*/cells/*``; ``None`` if it is not such a name."""
        match name.split("/"):
            case ["organizations", organization, "projects", project, "cells", environment]:
                if is_id(organization) and is_id(project) and is_id(environment):
                    return cls(organization=organization, project=project, environment=environment)
        return None

    def __str__(self) -> str:
        return f"organizations/{self.organization}/projects/{self.project}/cells/{self.environment}"

    @property
    def namespace(self) -> str:
        """The namespace of the Cell on every data plane."""
        suffix = short_hash(self.organization, self.project, self.environment)
        head = f"{self.project}-{self.environment}"[: LABEL_LIMIT - len(suffix) - 6].rstrip("-")
        return f"cell-{head}-{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformName:
    """What a data plane has of the platform's own, beside Cells: a namespace that it owns."""

    organization: str
    data_plane: str
    platform: str

    @classmethod
    def parse(cls, name: str) -> PlatformName | None:
        """Read ``organizations/*/dataPlanes/*/platforms/*``; ``None`` if it is not such a name."""
        match name.split("/"):
            case ["organizations", organization, "dataPlanes", data_plane, "platforms", platform]:
                if is_id(organization) and is_id(data_plane) and is_id(platform):
                    return cls(organization=organization, data_plane=data_plane, platform=platform)
        return None

    def __str__(self) -> str:
        return f"{self.parent}/platforms/{self.platform}"

    @property
    def parent(self) -> str:
        """The data plane's resource name."""
        return f"organizations/{self.organization}/dataPlanes/{self.data_plane}"

    @property
    def namespace(self) -> str:
        """Its namespace, the same on every data plane."""
        return f"cellplane-{self.platform}"


def namespace_of(bundle: str) -> str | None:
    """The namespace of what a bundle is named after, a Cell or a part of the platform."""
    name = CellName.parse(bundle) or PlatformName.parse(bundle)
    return name.namespace if name is not None else None


def last_segment(name: str) -> str:
    """Get the id out of a resource name."""
    return name.rsplit("/", 1)[-1]


def is_parent_of(parent: str, name: str) -> bool:
    """Tell whether *name* is below *parent*; the empty parent is above everything."""
    return not parent or name.startswith(parent + "/")

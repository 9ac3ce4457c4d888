"""What the platform demands of components, whatever developers wish.

Rules of an organization and of an environment both hold, each on its own: what keeps them keeps
every one, so that a narrower level adds to a wider one and never takes from it. Field names are
those of the contract (``type/v1/platform_rules.proto``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from cellplane.cell.visibility import Visibility


class RequiredProbe(Enum):
    """A probe that can be required."""

    READINESS = "READINESS"
    LIVENESS = "LIVENESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceBounds:
    """Bounds in Kubernetes' quantities; empty or 0 is not bound."""

    cpu: str = ""
    memory: str = ""
    replicas: int = 0
    storage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRules:
    """What one level demands; unset demands nothing."""

    max_visibility: Visibility | None = None
    image_registries: tuple[str, ...] = ()
    image_digest_required: bool = False
    required_labels: tuple[str, ...] = ()
    required_probes: tuple[RequiredProbe, ...] = ()
    component_ceiling: ResourceBounds | None = None
    cell_quota: ResourceBounds | None = None
    forbidden_fields: tuple[str, ...] = ()


NO_RULES = PlatformRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedRules:
    """Rules, and the name of the organization or environment that set them."""

    owner: str
    rules: PlatformRules


def for_objects(levels: Iterable[OwnedRules]) -> tuple[OwnedRules, ...]:
    """What of rules is checked on compiled objects: a change of the rest compiles nothing again."""
    kept = (
        replace(
            level,
            rules=PlatformRules(
                image_registries=level.rules.image_registries,
                image_digest_required=level.rules.image_digest_required,
                component_ceiling=level.rules.component_ceiling,
                forbidden_fields=level.rules.forbidden_fields,
            ),
        )
        for level in levels
    )
    return tuple(level for level in kept if level.rules != NO_RULES)

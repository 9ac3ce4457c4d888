"""How the process of a component is run, as it is written and as it is resolved.

Field names are those of the contract (``type/v1/workload.proto``), so that one codec serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


class ComponentKind(Enum):
    """The kinds of component."""

    SERVICE = "SERVICE"
    WEB_APPLICATION = "WEB_APPLICATION"
    API = "API"
    WORKER = "WORKER"
    SCHEDULED_TASK = "SCHEDULED_TASK"
    JOB = "JOB"
    STATEFUL_SERVICE = "STATEFUL_SERVICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """A key of a Secret in the Cell's namespace."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReferenceKey:
    """A key of a secret reference, by the reference's name."""

    secret_reference: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentVariable:
    """One environment variable: a literal value, or a key of a secret."""

    name: str
    value: str = ""
    secret_key: SecretKey | None = None
    secret_reference_key: SecretReferenceKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMount:
    """A folder with a file for each key of a secret; no keys are all of them."""

    secret_reference: str
    mount_path: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a replica is given, in Kubernetes' quantities; empty is not set."""

    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaling:
    """Scales replicas by processor load, in percent of what is requested."""

    min_replicas: int
    max_replicas: int
    target_cpu_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How a process is asked whether it works; neither path nor gRPC is a TCP connection."""

    endpoint: str
    http_path: str = ""
    grpc: bool = False
    initial_delay: timedelta | None = None
    period: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume that outlives its replica."""

    volume: str
    mount_path: str
    size: str
    storage_class: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Times in cron's five fields, in an IANA time zone."""

    cron: str
    time_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """How a process is run. Unset is ``None`` or empty; resolved, every default is filled in."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvironmentVariable, ...] = ()
    resources: Resources | None = None
    replicas: int | None = None
    autoscaling: Autoscaling | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    volumes: tuple[Volume, ...] = ()
    schedule: Schedule | None = None
    run_as_user: int | None = None
    writable_paths: tuple[str, ...] = ()
    retries: int | None = None
    secret_mounts: tuple[SecretMount, ...] = ()

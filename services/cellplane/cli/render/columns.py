"""Which columns a kind has in tables: data, one row for each.

A path leads through fields; ``[]`` goes over a list. Names of resources are shown as their last
id, times as ages, enum values without their prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from google.api import resource_pb2
from google.protobuf.descriptor import FieldDescriptor

from cellplane.cli.documents.scalars import enum_prefix
from cellplane.cli.kinds import Kind, by_type


class Column(NamedTuple):
    """One column."""

    title: str
    path: str
    wide: bool = False


_OF_ALL: Final = frozenset({"name", "uid", "etag", "reconciling"})
_ALWAYS: Final = 4
_AGE: Final = Column("AGE", "create_time")
_NAME: Final = Column("DISPLAY NAME", "display_name")
COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "Organization": (
        Column("ISOLATION", "isolation"),
        Column("ENCRYPTION", "encryption"),
        _NAME,
        _AGE,
    ),
    "Environment": (
        Column("PRODUCTION", "production"),
        Column("ISOLATION", "isolation"),
        Column("COPIES", "placement.copies"),
        Column("PUBLIC DOMAIN", "effective_public_domain", wide=True),
        Column("ORGANIZATION DOMAIN", "effective_organization_domain", wide=True),
        _AGE,
    ),
    "DeploymentPipeline": (
        Column("FROM", "promotion_paths[].source_environment"),
        Column("TO", "promotion_paths[].target_environments[]"),
        _AGE,
    ),
    "Project": (Column("PIPELINE", "deployment_pipeline"), _NAME, _AGE),
    "SecretReference": (
        Column("STORE", "secret_store"),
        Column("REMOTE KEY", "remote_key"),
        Column("KEYS", "keys[].key"),
        _AGE,
    ),
    "Component": (
        Column("KIND", "component_kind"),
        Column("ENDPOINTS", "endpoints[].endpoint"),
        Column("CONNECTIONS", "connections[].connection", wide=True),
        Column("RELEASE", "latest_release"),
        Column("IMAGE", "workload.image", wide=True),
        _AGE,
    ),
    "ComponentType": (
        Column("VERSION", "version"),
        Column("KINDS", "component_kinds[]"),
        Column("TRAITS", "allowed_traits[]", wide=True),
        _AGE,
    ),
    "Trait": (Column("VERSION", "version"), _AGE),
    "ComponentTypeVersion": (_AGE,),
    "TraitVersion": (_AGE,),
    "Release": (Column("IMAGE", "snapshot.workload.image"), _AGE),
    "Deployment": (
        Column("ENVIRONMENT", "environment"),
        Column("RELEASE", "release"),
        _AGE,
    ),
    "Promotion": (
        Column("FROM", "source_environment"),
        Column("TO", "target_environment"),
        Column("STATE", "state"),
        Column("BY", "creator"),
        Column("COMMENT", "comment", wide=True),
        _AGE,
    ),
    "EventSubscription": (
        Column("URL", "url"),
        Column("KINDS", "kinds[]"),
        Column("WAITING", "pending_count"),
        Column("GIVEN UP", "dead_letter_count"),
        Column("DELIVERED", "last_delivery_time"),
        _AGE,
    ),
    "ResourceChange": (
        Column("KIND", "kind"),
        Column("TYPE", "type"),
        Column("BY", "actor"),
        Column("FIELDS", "fields[].path"),
        _AGE,
    ),
    "Cell": (
        Column("HEALTH", "health"),
        Column("REVISION", "revision"),
        Column("DATA PLANES", "data_planes[].data_plane"),
        Column("CAUSE", "cause.reason"),
        Column("NAMESPACE", "namespace", wide=True),
        Column("MESSAGE", "cause.message", wide=True),
        _AGE,
    ),
    "CatalogEntry": (
        Column("KIND", "kind"),
        Column("PROTOCOL", "offer.protocol"),
        Column("VISIBILITY", "offer.visibilities[]"),
        Column("VERSION", "offer.version"),
        Column("OWNER", "owner"),
        Column("ENVIRONMENTS", "deployments[].environment"),
        Column("CONSUMERS", "consumer_count"),
        Column("DESCRIPTION", "offer.description", wide=True),
    ),
    "ApiSchema": (
        Column("FORMAT", "format"),
        Column("TITLE", "title"),
        Column("VERSION", "version"),
        _AGE,
    ),
    "AccessGrant": (
        Column("ENDPOINT", "endpoint"),
        Column("CONSUMER", "consumer"),
        Column("STATE", "state"),
        Column("ENVIRONMENTS", "environments[]"),
        Column("BY", "decider"),
        Column("REASON", "reason", wide=True),
        Column("COMMENT", "decision_comment", wide=True),
        _AGE,
    ),
    "CellRevision": (
        Column("CELL", "cell"),
        Column("REVISION", "revision"),
        Column("APPLIED", "applied_revision"),
        Column("READY", "ready_revision"),
        _AGE,
    ),
    "DataPlane": (
        Column("STATE", "state"),
        Column("ENFORCEMENT", "profile.enforcement"),
        Column("CELLS", "cell_count"),
        Column("CORDONED", "cordoned"),
        Column("KUBERNETES", "kubernetes_version"),
        Column("AGENT", "agent_version", wide=True),
        Column("CAPABILITIES", "profile.capabilities[]", wide=True),
        Column("SEEN", "last_seen_time"),
        _AGE,
    ),
    "CellHealth": (
        Column("DATA PLANES", "data_planes[].data_plane"),
        Column("REVISION", "data_planes[].revision"),
        Column("HEALTH", "data_planes[].objects[].health"),
        Column("REASON", "data_planes[].objects[].reason"),
        Column("SEEN", "data_planes[].report_time", wide=True),
    ),
    "Decision": (
        Column("DATA PLANES", "data_planes[]"),
        Column("COPIES", "copy_count"),
        Column("SUMMARY", "summary"),
        Column("TURNED DOWN", "rejections[].data_plane", wide=True),
    ),
    "JoinGrant": (
        Column("DATA PLANE", "data_plane"),
        Column("USED", "use_time"),
        _AGE,
    ),
    "Event": (
        Column("AGE", "event_time"),
        Column("DATA PLANE", "data_plane"),
        Column("COMPONENT", "component"),
        Column("OBJECT", "object"),
        Column("HEALTH", "health"),
        Column("REASON", "reason"),
        Column("MESSAGE", "message", wide=True),
    ),
}


def columns(kind: Kind, *, wide: bool) -> tuple[Column, ...]:
    """The columns of a kind; one that has no row here gets what its message offers."""
    known = COLUMNS.get(kind.name) or tuple(_offered(kind))
    return tuple(column for column in known if wide or not column.wide)


def _offered(kind: Kind) -> Iterator[Column]:
    """Its single values, in the order of the contract: the first ones always, all where wide."""
    fields = [
        field
        for field in kind.descriptor.fields
        if field.name not in _OF_ALL and not field.is_repeated and field.message_type is None
    ]
    # What can only be one of a few words tells more in a narrow column than text does.
    first = sorted(fields, key=lambda field: field.type == field.TYPE_STRING and not _refers(field))
    for field in fields:
        title = field.name.replace("_", " ").upper()
        yield Column(title, field.name, wide=field not in first[:_ALWAYS])
    if _AGE.path in kind.descriptor.fields_by_name:
        yield _AGE


def _refers(field: FieldDescriptor) -> str:
    """The type of the resource that a field names; empty for any other field."""
    return str(field.GetOptions().Extensions[resource_pb2.resource_reference].type)


def cell(resource: Any, path: str) -> str:
    """What stands in a column."""
    texts = dict.fromkeys(text for text in _texts(resource, path.split(".")) if text)
    return ",".join(texts) or "-"


def _texts(message: Any, path: list[str]) -> Iterator[str]:
    step, rest = path[0].removesuffix("[]"), path[1:]
    field = message.DESCRIPTOR.fields_by_name[step]
    if field.has_presence and not message.HasField(step):
        return
    value = getattr(message, step)
    for item in value if field.is_repeated else (value,):
        if rest:
            yield from _texts(item, rest)
        else:
            yield word(field, item)


def word(field: FieldDescriptor, value: Any) -> str:
    """One value as people read it."""
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        if not value or known is None:
            return ""
        return str(known.name).removeprefix(enum_prefix(field.enum_type))
    if field.message_type is not None and field.message_type.name == "Timestamp":
        return age(value.ToDatetime(tzinfo=UTC))
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    match _refers(field):
        case "":
            return text
        case "cellplane.dev/Cell":
            # Its id is that of its environment, and says nothing alone.
            return by_type("cellplane.dev/Cell").short(text)
        case _:
            return text.rsplit("/", 1)[-1]


def age(then: datetime, now: datetime | None = None) -> str:
    """How long ago, in its largest unit: ``12s``, ``3m``, ``5h``, ``2d``."""
    seconds = max(0, int(((now or datetime.now(UTC)) - then).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"

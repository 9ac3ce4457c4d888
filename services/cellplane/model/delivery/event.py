"""A change of a resource as a CloudEvent 1.0, in JSON (structured mode)."""

from __future__ import annotations

import json
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from cellplane.model.convert import KINDS
from cellplane.model.domain.kinds import organization_of
from cellplane.resource.differences import redacted
from cellplane.resource.service_changes import told
from cellplane.store.history import Event

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_PREFIX: Final = "dev.cellplane."


def type_of(event: Event) -> str:
    """Such as ``dev.cellplane.component.updated``."""
    kind = event.change.kind
    return f"{_PREFIX}{kind[:1].lower()}{kind[1:]}.{event.change.type.value.lower()}"


def id_of(event: Event) -> str:
    """The same for every attempt, and of no other event of the organization."""
    return str(event.change.sequence)


def body_of(event: Event) -> bytes:
    """The event, with the resource as it is behind the change and which fields changed."""
    change = event.change
    resource = KINDS[change.kind].FromString(change.payload)
    data: dict[str, Any] = MessageToDict(told(event, KINDS))
    data["resource"] = MessageToDict(redacted(resource))
    return json.dumps(
        {
            "specversion": "1.0",
            "id": id_of(event),
            "source": f"/{organization_of(change.name)}",
            "type": type_of(event),
            "subject": change.name,
            "time": change.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            # Extensions of CloudEvents: what must keep its order, and the order.
            "partitionkey": change.name,
            "sequence": f"{change.sequence:020}",
            "data": data,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()

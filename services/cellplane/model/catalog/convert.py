"""What is offered, on the wire; schemas that come along become resources of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cellplane.api.model.v1 import api_schema_pb2, catalog_pb2, component_pb2
from cellplane.api.type.v1 import endpoint_pb2
from cellplane.model.convert import write
from cellplane.model.domain.offers import Offered, OfferKind

_KINDS: Final = {kind: catalog_pb2.CatalogEntry.Kind.Value(kind.value) for kind in OfferKind}


def facts_of(offered: Offered) -> bytes:
    """What is known of an offer where it is written, to be stored and compared."""
    schema = offered.schema
    offer = catalog_pb2.Offer(
        description=offered.description,
        protocol=(
            endpoint_pb2.Protocol.Value(f"PROTOCOL_{offered.protocol.value}")
            if offered.protocol
            else endpoint_pb2.PROTOCOL_UNSPECIFIED
        ),
        port=offered.port,
        path=offered.path,
        visibilities=[
            endpoint_pb2.Visibility.Value(f"VISIBILITY_{v.value}") for v in offered.visibilities
        ],
        requires_grant=offered.requires_grant,
        endpoint=offered.endpoint,
        address=offered.address,
        version=schema.version if schema else "",
        api_schema=schema.api_schema if schema else "",
    )
    return write(catalog_pb2.CatalogEntry(kind=_KINDS[offered.kind], offer=offer))


def schema_name(component: str, format: int, content: bytes) -> tuple[str, str]:
    """Name and digest of a schema: both follow from its content."""
    word = component_pb2.SchemaFormat.Name(format)  # type: ignore[arg-type]
    digest = hashlib.sha256(f"{word}\0".encode() + content).hexdigest()
    return f"{component}/apiSchemas/s-{digest[:12]}", digest


def inlined(component: component_pb2.Component) -> Iterator[tuple[str, Any]]:
    """Every schema that comes along with a component, with its place; not those that are kept."""
    for field in ("endpoints", "event_channels", "data_products"):
        for index, offer in enumerate(getattr(component, field)):
            if offer.HasField("schema") and offer.schema.HasField("inline"):
                yield f"{field}[{index}].schema", offer.schema


def take_schemas(component: component_pb2.Component) -> dict[str, api_schema_pb2.ApiSchema]:
    """Put names in place of schemas that come along; what is to be kept, by its place."""
    found: dict[str, api_schema_pb2.ApiSchema] = {}
    for place, schema in inlined(component):
        inline = schema.inline
        name, digest = schema_name(component.name, inline.format, inline.content)
        found[place] = api_schema_pb2.ApiSchema(
            name=name, format=inline.format, content=inline.content, digest=digest
        )
        schema.api_schema = name
        schema.ClearField("inline")
    return found


def inline_schemas(messages: Iterable[Any]) -> Iterator[component_pb2.InlineSchema]:
    """Every schema that comes along with any of these messages."""
    for message in messages:
        if isinstance(message, component_pb2.Component):
            for _, schema in inlined(message):
                yield schema.inline

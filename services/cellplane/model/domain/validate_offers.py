"""What can be wrong with what a component offers beside its endpoints' own rules.

Ids are unique over endpoints, event channels and data products; what is read through an endpoint
names one of the component's own; a schema is of a format that can describe its offer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cellplane.cell.problem import Findings
from cellplane.cell.visibility import Visibility
from cellplane.model.domain.offers import OfferKind, offers_of
from cellplane.model.domain.resources import Component, SchemaFormat

_FORMATS: Final[Mapping[OfferKind, frozenset[SchemaFormat]]] = {
    OfferKind.ENDPOINT: frozenset(SchemaFormat) - {SchemaFormat.JSON_SCHEMA},
    OfferKind.EVENT_CHANNEL: frozenset(
        {SchemaFormat.ASYNCAPI, SchemaFormat.PROTOBUF, SchemaFormat.JSON_SCHEMA}
    ),
    OfferKind.DATA_PRODUCT: frozenset(SchemaFormat) - {SchemaFormat.ASYNCAPI},
}


def check_offers(component: Component, findings: Findings) -> None:
    """Find what is wrong with ids, endpoints and grants."""
    endpoints = {e.endpoint for e in component.endpoints}
    seen = set(endpoints)
    for offer in offers_of(component):
        if offer.kind is OfferKind.ENDPOINT:
            if offer.requires_grant and Visibility.ORGANIZATION not in offer.visibilities:
                findings.at(offer.field).at("requires_grant").add(
                    "GRANT_OPENS_NOTHING",
                    f'endpoint "{offer.offer}" is not for other projects, so that no grant opens '
                    "it: add ORGANIZATION to its visibilities, or leave requires_grant out",
                )
            continue
        at = findings.at(offer.field)
        if offer.offer in seen:
            at.at(offer.kind.value.lower()).add(
                "NAME_DUPLICATE",
                f'"{offer.offer}" is there twice among endpoints, event channels and data '
                "products: rename one",
                value=offer.offer,
            )
        seen.add(offer.offer)
        if offer.endpoint not in endpoints:
            at.at("endpoint").add(
                "ENDPOINT_NOT_FOUND",
                f'"{offer.offer}" is read through endpoint "{offer.endpoint}", which the component '
                "does not have: name one of its own",
                value=offer.endpoint,
            )


def check_formats(
    component: Component, formats: Mapping[str, SchemaFormat], findings: Findings
) -> None:
    """Each schema can describe its offer; *formats* are those of the schemas, by name."""
    for offer in offers_of(component):
        written = formats.get(offer.schema.api_schema) if offer.schema is not None else None
        fitting = _FORMATS[offer.kind]
        if written is not None and written not in fitting:
            findings.at(offer.field).at("schema").add(
                "FORMAT_NOT_FITTING",
                f"{written.value} does not describe a {offer.kind.value}: use one of "
                f"{', '.join(sorted(f.value for f in fitting))}",
                value=written.value,
            )

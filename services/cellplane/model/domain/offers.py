"""What a component offers to others: endpoints, event channels and data products, as one list.

Ids are unique over all three, so that one id names one entry of the catalog. Channels and products
are reached through an endpoint, whose protocol, visibility and grant hold for them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from cellplane.cell.protocol import Protocol
from cellplane.cell.visibility import Visibility
from cellplane.model.domain.default import path
from cellplane.model.domain.resources import (
    Component,
    DataProduct,
    Endpoint,
    EventChannel,
    OfferSchema,
)


class OfferKind(Enum):
    """What kinds of thing are offered."""

    ENDPOINT = "ENDPOINT"
    EVENT_CHANNEL = "EVENT_CHANNEL"
    DATA_PRODUCT = "DATA_PRODUCT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """One thing that a component offers."""

    offer: str
    """Its id."""
    kind: OfferKind
    field: str
    """Where it is written: ``event_channels[0]``."""
    endpoint: str
    """The endpoint by which it is reached; of an endpoint, its own id."""
    schema: OfferSchema | None = None
    description: str = ""
    protocol: Protocol | None = None
    """None where its endpoint is not there."""
    port: int = 0
    path: str = ""
    visibilities: tuple[Visibility, ...] = ()
    requires_grant: bool = False
    address: str = ""


def offers_of(component: Component) -> Iterator[Offered]:
    """Everything that a component offers, in the order of its fields."""
    for index, endpoint in enumerate(component.endpoints):
        yield _through(
            endpoint,
            offer=endpoint.endpoint,
            kind=OfferKind.ENDPOINT,
            field=f"endpoints[{index}]",
            schema=endpoint.schema,
            description=endpoint.description,
        )
    by_id = {e.endpoint: e for e in component.endpoints}
    for index, channel in enumerate(component.event_channels):
        yield _behind(by_id, channel, channel.event_channel, f"event_channels[{index}]")
    for index, product in enumerate(component.data_products):
        yield _behind(by_id, product, product.data_product, f"data_products[{index}]")


def _behind(
    endpoints: dict[str, Endpoint], written: EventChannel | DataProduct, offer: str, field: str
) -> Offered:
    is_channel = isinstance(written, EventChannel)
    kind = OfferKind.EVENT_CHANNEL if is_channel else OfferKind.DATA_PRODUCT
    endpoint = endpoints.get(written.endpoint)
    if endpoint is None:
        return Offered(
            offer=offer,
            kind=kind,
            field=field,
            endpoint=written.endpoint,
            schema=written.schema,
            description=written.description,
            address=written.address,
        )
    return _through(
        endpoint,
        offer=offer,
        kind=kind,
        field=field,
        schema=written.schema,
        description=written.description,
        address=written.address,
    )


def _through(
    endpoint: Endpoint,
    *,
    offer: str,
    kind: OfferKind,
    field: str,
    schema: OfferSchema | None,
    description: str,
    address: str = "",
) -> Offered:
    return Offered(
        offer=offer,
        kind=kind,
        field=field,
        endpoint=endpoint.endpoint,
        schema=schema,
        description=description,
        protocol=endpoint.protocol,
        port=endpoint.port,
        path=path(endpoint),
        visibilities=tuple(v for v in Visibility if v in endpoint.visibilities),
        requires_grant=endpoint.requires_grant,
        address=address,
    )

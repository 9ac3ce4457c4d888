"""Short ways to write values of the domain."""

from __future__ import annotations

from typing import Any

from cellplane.cell.cell import Injection
from cellplane.cell.protocol import Protocol
from cellplane.cell.visibility import Visibility
from cellplane.cell.workload import ComponentKind, Workload
from cellplane.model.domain.resources import (
    Component,
    ComponentEndpoint,
    Connection,
    Endpoint,
    ExternalHost,
)

ORG = "organizations/acme"
SHOP = f"{ORG}/projects/shop"
PAY = f"{ORG}/projects/pay"
ZONES = frozenset({"Etc/UTC", "Europe/Berlin"})
PUBLIC = (Visibility.PUBLIC,)
ORGANIZATION = (Visibility.ORGANIZATION,)


def endpoint(id: str = "http", port: int = 80, **more: Any) -> Endpoint:
    return Endpoint(endpoint=id, port=port, **({"protocol": Protocol.HTTP} | more))


def connection(
    target: str, endpoint: str = "http", *, id: str = "", inject: Injection | None = None
) -> Connection:
    return Connection(
        connection=id or target.rsplit("/", 1)[-1],
        component_endpoint=ComponentEndpoint(component=target, endpoint=endpoint),
        inject=inject or Injection(),
    )


def external(host: str, id: str = "out") -> Connection:
    return Connection(
        connection=id, external_host=ExternalHost(host=host, port=443, protocol=Protocol.TLS)
    )


def component(
    id: str = "web", *, project: str = SHOP, workload: dict[str, Any] | None = None, **more: Any
) -> Component:
    return Component(
        name=f"{project}/components/{id}",
        workload=Workload(**({"image": "app:1"} | (workload or {}))),
        **({"component_kind": ComponentKind.SERVICE} | more),
    )

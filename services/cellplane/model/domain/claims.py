"""What only one can have: a public host and path, and in a Cell the name of an object.

Names that are too long, or made of several parts, carry a hash (``cell.names``). One that stands
beside plain ids meets an id if somebody chose just that id, and an object would silently replace
another; so such names are claimed, and ids that look like one. Where every name of a kind carries
a hash of all its parts (routes, secrets, namespaces), no id can be meant to meet it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from cellplane.cell import addresses
from cellplane.cell.names import CellName, kube_name
from cellplane.cell.problem import Findings
from cellplane.cell.workload import ComponentKind
from cellplane.model.domain.default import (
    organization_domain,
    path,
    public_domain,
    public_paths,
)
from cellplane.model.domain.resources import Component, Endpoint, Environment

Claim: TypeAlias = tuple[str, str]
"""A public host and path; or a Cell's namespace, and kind and name of an object in it."""

_HASHED: Final = re.compile(r".*-[a-z2-7]{8}")


def claims_of(cell: CellName, component: Component, environment: Environment) -> dict[str, Claim]:
    """Everything that *component* claims: by endpoint, or by kind and name of an object."""
    claims: dict[str, Claim] = {}
    for endpoint in component.endpoints:
        own = hostnames_of(cell, endpoint, environment)
        for host, prefix in itertools.product(own, public_paths(endpoint)):
            key = endpoint.endpoint
            claims[key if key not in claims else f"{key} {host}{prefix}"] = (host, prefix)
    for kind, name in object_names(component):
        if _HASHED.fullmatch(name):
            claims[f"{kind}/{name}"] = (cell.namespace, f"{kind}/{name}")
    return claims


def hostnames_of(cell: CellName, endpoint: Endpoint, environment: Environment) -> tuple[str, ...]:
    """Hosts under which the northbound gateway serves an endpoint; each once."""
    own = endpoint.hostname or f"{kube_name(cell.project)}.{public_domain(environment)}"
    return tuple(dict.fromkeys((own, *endpoint.additional_hostnames)))


def object_names(component: Component) -> Iterator[tuple[str, str]]:
    """Kind and name of each object of a component whose name another one's id could be."""
    own = component.name.rsplit("/", 1)[-1]
    yield "Service", addresses.service_name(own)
    match component.component_kind:
        case ComponentKind.STATEFUL_SERVICE:
            yield "Service", addresses.headless_service(own)
            yield "StatefulSet", addresses.controller_name(own)
        case ComponentKind.SCHEDULED_TASK:
            yield "CronJob", addresses.controller_name(own)
        case _:
            pass


def check_claims(
    component: Component,
    others: Mapping[str, frozenset[tuple[str, str]]],
    findings: Findings,
) -> None:
    """Say of everything that others claim, too, who they are."""
    endpoints = {e.endpoint: index for index, e in enumerate(component.endpoints)}
    for key in sorted(others):
        for other, theirs in sorted(others[key]):
            own, _, further = key.partition(" ")
            if own in endpoints:
                index = endpoints[own]
                findings.at("endpoints").at(index).at("path").add(
                    "ROUTE_COLLISION",
                    f'public host and path of endpoint "{own}" are those of '
                    f'"{theirs.partition(" ")[0]}" of component "{other}", too: give one of them '
                    "another path or hostname",
                    value=further or path(component.endpoints[index]),
                )
            else:
                kind, _, name = key.partition("/")
                findings.at("name").add(
                    "NAME_COLLISION",
                    f'its {kind} would have the name "{name}", which that of component "{other}" '
                    "has: rename one of them",
                    value=name,
                )


def check_hostnames(
    cell: CellName, component: Component, environment: Environment, findings: Findings
) -> None:
    """A hostname that was chosen is neither the organization's door, nor another project's."""
    public, internal = public_domain(environment), organization_domain(environment)
    for index, endpoint in enumerate(component.endpoints):
        places = [(endpoint.hostname, findings.at("endpoints").at(index).at("hostname"))]
        further = findings.at("endpoints").at(index).at("additional_hostnames")
        places += [(h, further.at(n)) for n, h in enumerate(endpoint.additional_hostnames)]
        for host, at in places:
            _check_hostname(cell, host, (public, internal), at)


def _check_hostname(cell: CellName, host: str, domains: tuple[str, str], at: Findings) -> None:
    public, internal = domains
    if host == internal or host.endswith(f".{internal}"):
        at.add(
            "HOSTNAME_RESERVED",
            f'hostname "{host}" is under "{internal}", which serves the organization only: '
            "choose another",
            value=host,
        )
    label, _, domain = host.partition(".")
    if domain == public and label != kube_name(cell.project):
        at.add(
            "HOSTNAME_RESERVED",
            f'hostname "{host}" is the one that is made for a project "{label}": choose one '
            f'that is not directly under "{public}", or none for this project\'s own',
            value=host,
        )

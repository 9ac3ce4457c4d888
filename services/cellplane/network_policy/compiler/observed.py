"""What was observed against what is declared: denied flows as findings, each with its way out.

Reads flows as Hubble exports them (a JSON object a line, ``hubble observe -o json``). A dropped
connection of a component becomes one finding for each destination and port, however often it was
tried; what cannot be declared says so instead of offering a snippet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.protocol import TRAITS
from cellplane.cell.visibility import Visibility

_DROPPED: Final = "DROPPED"
_NOT_ID: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeniedFlow:
    """A connection that the data plane stopped."""

    source_namespace: str
    source_component: str
    destination_namespace: str = ""
    destination_project: str = ""
    destination_component: str = ""
    destination_names: tuple[str, ...] = ()
    destination_address: str = ""
    port: int
    transport: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Denied flows that mean the same; field names are those of the contract."""

    cell: str
    component: str
    reason: str
    """``UNDECLARED_CONNECTION``, ``NOT_VISIBLE``, ``NO_ENDPOINT`` or ``NOT_DECLARABLE``."""
    message: str
    destination: str
    port: int
    transport: str
    flow_count: int
    first_time: datetime | None
    last_time: datetime | None
    snippet: str
    """YAML for the component's document; empty where nothing can be declared."""


def denied(lines: Iterable[str]) -> Iterator[DeniedFlow]:
    """Read Hubble's lines; what is not a dropped connection of a component is passed over."""
    for line in lines:
        try:
            read = json.loads(line)
        except ValueError:
            continue
        flow = read.get("flow", read) if isinstance(read, dict) else {}
        found = _flow(flow)
        if found is not None:
            yield found


def findings(cells: Iterable[ResolvedCell], flows: Iterable[DeniedFlow]) -> tuple[Finding, ...]:
    """Say what was denied and what could be declared, sorted.

    Args:
        cells: The Cells of one environment, as far as they are known.
        flows: Denied flows of any Cell; those of unknown namespaces are passed over.
    """
    by_namespace = {cell.frame.namespace: cell for cell in cells}
    found: dict[tuple[str, str, str, int, str], Finding] = {}
    for flow in flows:
        cell = by_namespace.get(flow.source_namespace)
        source = _component(cell, flow.source_component)
        if cell is None or source is None:
            continue
        made = _finding(cell, source, flow, by_namespace)
        key = (made.cell, made.component, made.destination, made.port, made.transport)
        known = found.get(key)
        if known is not None:
            times = sorted(t for t in (known.first_time, known.last_time, flow.time) if t)
            made = replace(
                made,
                flow_count=known.flow_count + 1,
                first_time=times[0] if times else None,
                last_time=times[-1] if times else None,
            )
        found[key] = made
    return tuple(found[key] for key in sorted(found))


def _flow(flow: Mapping[str, Any]) -> DeniedFlow | None:
    if flow.get("verdict") != _DROPPED or flow.get("is_reply"):
        return None
    source, destination = flow.get("source") or {}, flow.get("destination") or {}
    transport, ports = next(iter((flow.get("l4") or {}).items()), ("", {}))
    component = _label(source, labels.COMPONENT)
    port = ports.get("destination_port") if isinstance(ports, Mapping) else None
    if not component or transport not in {"TCP", "UDP"} or not isinstance(port, int):
        return None
    return DeniedFlow(
        source_namespace=str(source.get("namespace", "")),
        source_component=component,
        destination_namespace=str(destination.get("namespace", "")),
        destination_project=_label(destination, labels.PROJECT),
        destination_component=_label(destination, labels.COMPONENT),
        destination_names=tuple(str(n).rstrip(".") for n in flow.get("destination_names") or ()),
        destination_address=str((flow.get("IP") or {}).get("destination", "")),
        port=port,
        transport=transport,
        time=_time(flow.get("time")),
    )


def _time(text: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return read if read.tzinfo is not None else None


def _label(endpoint: Mapping[str, Any], key: str) -> str:
    prefix = f"k8s:{key}="
    own = endpoint.get("labels") or ()
    return next((str(o)[len(prefix) :] for o in own if str(o).startswith(prefix)), "")


def _component(cell: ResolvedCell | None, name: str) -> ResolvedComponent | None:
    known = cell.components if cell is not None else ()
    return next((c for c in known if c.component == name), None)


def _finding(
    cell: ResolvedCell,
    source: ResolvedComponent,
    flow: DeniedFlow,
    known: Mapping[str, ResolvedCell],
) -> Finding:
    target_cell = known.get(flow.destination_namespace)
    target = _component(target_cell, flow.destination_component)
    if target_cell is not None and target is not None:
        name = f"{target_cell.frame.project}/{target.component}"
        reason, message, snippet = _of_component(cell, target_cell, target, flow, name)
    elif flow.destination_names and not flow.destination_namespace:
        name = flow.destination_names[0]
        reason = "UNDECLARED_CONNECTION"
        message = f'connects to host "{name}" and declares no connection to it: declare it'
        snippet = _external(name, flow)
    else:
        name = flow.destination_namespace or flow.destination_address or "an unknown address"
        reason = "NOT_DECLARABLE"
        message = (
            f"connects to {name}, which is neither a component nor a named host: "
            "no connection can lead there; use the name of a host, or leave it closed"
        )
        snippet = ""
    return Finding(
        cell=cell.cell,
        component=source.component,
        reason=reason,
        message=f"component {source.component} {message}",
        destination=name,
        port=flow.port,
        transport=flow.transport,
        flow_count=1,
        first_time=flow.time,
        last_time=flow.time,
        snippet=snippet,
    )


def _of_component(
    cell: ResolvedCell,
    target_cell: ResolvedCell,
    target: ResolvedComponent,
    flow: DeniedFlow,
    name: str,
) -> tuple[str, str, str]:
    endpoint = next((e for e in target.endpoints if _is(e, flow)), None)
    if endpoint is None:
        said = f"connects to {name} on port {flow.port}/{flow.transport}, where it has no endpoint"
        return "NO_ENDPOINT", f"{said}: add one to {target.component} first", ""
    snippet = _inside(target_cell, target, endpoint)
    if target_cell is not cell and Visibility.ORGANIZATION not in endpoint.visibilities:
        said = f"connects to endpoint {endpoint.endpoint} of {name}, which its project alone sees"
        return "NOT_VISIBLE", f"{said}: add ORGANIZATION to its visibilities first", snippet
    said = f"connects to endpoint {endpoint.endpoint} of {name} and declares no connection to it"
    return "UNDECLARED_CONNECTION", f"{said}: declare it", snippet


def _is(endpoint: ResolvedEndpoint, flow: DeniedFlow) -> bool:
    transport = TRAITS[endpoint.protocol].transport.value
    return flow.port in {endpoint.target_port, endpoint.port} and transport == flow.transport


def _inside(cell: ResolvedCell, target: ResolvedComponent, endpoint: ResolvedEndpoint) -> str:
    component = f"projects/{cell.frame.project}/components/{target.component}"
    return (
        "connections:\n"
        f"  - connection: {target.component}\n"
        f"    componentEndpoint: {{component: {component}, endpoint: {endpoint.endpoint}}}\n"
        f"    inject: {{address: {_variable(target.component)}_ADDR}}\n"
    )


def _external(host: str, flow: DeniedFlow) -> str:
    protocol = "HTTPS" if (flow.port, flow.transport) == (443, "TCP") else flow.transport
    name = _NOT_ID.sub("-", host.lower()).strip("-")[:63].strip("-")
    name = name if name[:1].isalpha() else f"host-{name}"[:63]
    return (
        "connections:\n"
        f"  - connection: {name}\n"
        f"    externalHost: {{host: {host}, port: {flow.port}, protocol: {protocol}}}\n"
        f"    inject: {{address: {_variable(name)}_ADDR}}\n"
    )


def _variable(name: str) -> str:
    return _NOT_ID.sub("_", name.lower()).upper()

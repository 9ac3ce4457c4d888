"""score.yaml, version v1b1 (https://docs.score.dev/docs/score-specification/score-spec-reference/).

A workload with one container is a component: its ports are endpoints, its resources of the types
``service`` and ``external`` are connections, whose address reaches the container by variables. What
Score has no word for is kept in annotations, so that a component that is exported and imported is
the same; what a component has no word for is said, and left out. Nothing is guessed.

Fields are named as documents write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

API_VERSION: Final = "score.dev/v1b1"
PREFIX: Final = "cellplane.dev/"
CONTAINER: Final = "main"
_RESOURCES: Final = (
    ("requests", "cpu", "cpuRequest"),
    ("requests", "memory", "memoryRequest"),
    ("limits", "cpu", "cpuLimit"),
    ("limits", "memory", "memoryLimit"),
)
_WORDS: Final = {"address": "address", "url": "url", "host": "host", "port": "port"}
_REFERENCE: Final = re.compile(r"\$\{resources\.([a-z0-9-]+)\.(address|url|host|port)\}")
_PLACEHOLDER: Final = re.compile(r"\$\{")
_UDP: Final = "UDP"
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")
_CPU: Final = re.compile(r"\d+(?:m|\.\d+)?")
_MEMORY: Final = re.compile(r"(0\.\d+|[1-9]\d*(\.\d+)?)(K|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A document of the other kind, and what could not be said in it."""

    document: Fields
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    found: list[str] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        self.found.append(f"{path}: {text}")


def to_score(component: Mapping[str, Any]) -> Converted:
    """A component as a workload of Score."""
    notes = _Notes()
    workload = dict(component.get("workload", {}))
    container: Fields = {"image": workload.pop("image", "")}
    for word in ("command", "args"):
        if workload.get(word):
            container[word] = list(workload.pop(word))
    kept: Fields = {}
    variables = _variables_to(workload, kept)
    resources = _resources_to(workload, kept)
    score: Fields = {
        "apiVersion": API_VERSION,
        "metadata": {"name": component["name"].rsplit("/", 1)[-1]},
        "containers": {CONTAINER: container},
    }
    if ports := _ports_to(component.get("endpoints", ()), kept):
        score["service"] = {"ports": ports}
    needed = _connections_to(component.get("connections", ()), variables, kept)
    if variables:
        container["variables"] = variables
    if resources:
        container["resources"] = resources
    if needed:
        score["resources"] = needed
    kept |= {"workload": workload} if workload else {}
    plain = ("name", "kind", "apiVersion", "workload", "endpoints", "connections")
    kept |= {word: value for word, value in component.items() if word not in plain}
    kept["name"] = component["name"]
    score["metadata"]["annotations"] = {
        f"{PREFIX}{word}": value if word == "name" else _text(value)
        for word, value in sorted(kept.items())
    }
    if not _LABEL.fullmatch(score["metadata"]["name"]):
        notes.add("metadata.name", "Score wants two characters or more: rename it there")
    for word in sorted(kept.keys() - {"name"}):
        notes.add(word, f"Score has no word for it: kept in the annotation {PREFIX}{word}")
    return Converted(document=score, notes=tuple(notes.found))


def _variables_to(workload: Fields, kept: Fields) -> Fields:
    """Literal variables; those that come from secrets stay ours."""
    written = workload.pop("env", [])
    others = [v for v in written if v.keys() - {"name", "value"}]
    if others:
        kept["env"] = others
    return {
        v["name"]: str(v.get("value", "")).replace("$", "$$")
        for v in written
        if not v.keys() - {"name", "value"}
    }


def _resources_to(workload: Fields, kept: Fields) -> Fields:
    written = dict(workload.pop("resources", {}))
    found: Fields = {}
    for group, word, own in _RESOURCES:
        value = written.get(own)
        rule = _CPU if word == "cpu" else _MEMORY
        if value is not None and rule.fullmatch(str(value)):
            found.setdefault(group, {})[word] = written.pop(own)
    if written:
        kept["resources"] = written
    return found


def _ports_to(endpoints: Any, kept: Fields) -> Fields:
    ports: Fields = {}
    more: list[Fields] = []
    for endpoint in endpoints:
        own = dict(endpoint)
        name = own["endpoint"]
        rest = {w: v for w, v in own.items() if w not in ("port", "targetPort")}
        if _LABEL.fullmatch(name):
            ports[name] = {"port": own["port"]}
            if "targetPort" in own:
                ports[name]["targetPort"] = own["targetPort"]
            if own.get("protocol") == _UDP:
                ports[name]["protocol"] = _UDP
        else:
            rest = own
        more.append(rest)
    if more:
        kept["endpoints"] = more
    return ports


def _connections_to(connections: Any, variables: Fields, kept: Fields) -> Fields:
    needed: Fields = {}
    others: list[Fields] = []
    for connection in connections:
        name = connection["connection"]
        target = connection.get("componentEndpoint")
        outside = connection.get("externalHost")
        if not _LABEL.fullmatch(name) or not (target or outside):
            others.append(dict(connection))
            continue
        needed[name] = (
            {"type": "service", "params": dict(target)}
            if target
            else {"type": "external", "params": dict(outside)}
        )
        for word, variable in connection.get("inject", {}).items():
            variables[variable] = f"${{resources.{name}.{_WORDS[word]}}}"
    if others:
        kept["connections"] = others
    return needed


def from_score(score: Mapping[str, Any], project: str) -> Converted:
    """A workload of Score as a component of a project, which is named in full.

    Raises:
        ValueError: it is no workload of this version.
    """
    if score.get("apiVersion") != API_VERSION:
        raise ValueError(f'apiVersion is "{score.get("apiVersion")}": only {API_VERSION} is read')
    notes = _Notes()
    metadata = score.get("metadata")
    containers = score.get("containers")
    if not isinstance(metadata, Mapping) or "name" not in metadata:
        raise ValueError("metadata.name is missing")
    if not isinstance(containers, Mapping) or not containers:
        raise ValueError("containers is missing")
    kept = _kept(metadata, notes)
    name = kept.pop("name", "")
    own = name if name.startswith(f"{project}/") else f"{project}/components/{metadata['name']}"
    component: Fields = {"kind": "Component", "name": own}
    component["componentKind"] = kept.pop("componentKind", "SERVICE")
    first, *others = containers
    for other in others:
        notes.add(f"containers.{other}", "a component has one container: left out")
    workload, injected = _workload_from(containers[first], f"containers.{first}", kept, notes)
    component["workload"] = workload
    service = score.get("service")
    ports = service.get("ports", {}) if isinstance(service, Mapping) else {}
    if endpoints := _endpoints_from(ports, kept, notes):
        component["endpoints"] = endpoints
    needed = score.get("resources") or {}
    if connections := _connections_from(needed, injected, kept, project, notes):
        component["connections"] = connections
    component |= kept
    return Converted(document=component, notes=tuple(notes.found))


def _kept(metadata: Mapping[str, Any], notes: _Notes) -> Fields:
    """What an export left in annotations."""
    written = metadata.get("annotations") or {}
    found: Fields = {
        word.removeprefix(PREFIX): _value(value)
        for word, value in written.items()
        if word.startswith(PREFIX)
    }
    if foreign := {w: v for w, v in written.items() if not w.startswith(PREFIX)}:
        found["annotations"] = {**foreign, **found.get("annotations", {})}
    for word in foreign:
        notes.add(f"metadata.annotations[{word}]", "kept as an annotation of the component")
    return found


def _workload_from(
    container: Mapping[str, Any], path: str, kept: Fields, notes: _Notes
) -> tuple[Fields, dict[str, Fields]]:
    workload: Fields = {"image": container.get("image", "")}
    if workload["image"] == ".":
        notes.add(f"{path}.image", '"." stands for an image that is built: write its name')
    for word in ("command", "args"):
        if container.get(word):
            workload[word] = list(container[word])
    literal, injected = _variables_from(container.get("variables") or {}, path, notes)
    if variables := [*literal, *kept.pop("env", [])]:
        workload["env"] = variables
    limits: Fields = dict(kept.pop("resources", {}))
    for group, word, own in _RESOURCES:
        value = ((container.get("resources") or {}).get(group) or {}).get(word)
        if value is not None:
            limits[own] = str(value)
    if limits:
        workload["resources"] = limits
    workload |= kept.pop("workload", {})
    for word in ("files", "volumes", "before", "livenessProbe", "readinessProbe"):
        if container.get(word):
            notes.add(f"{path}.{word}", "is not taken over: write it into the component")
    return workload, injected


def _variables_from(
    written: Mapping[str, str], path: str, notes: _Notes
) -> tuple[list[Fields], dict[str, Fields]]:
    """Literal variables, and the names of those that connections fill."""
    literal: list[Fields] = []
    injected: dict[str, Fields] = {}
    for name, text in written.items():
        reference = _REFERENCE.fullmatch(text)
        if reference:
            injected.setdefault(reference[1], {})[reference[2]] = name
        elif _PLACEHOLDER.search(text.replace("$$", "")):
            notes.add(f"{path}.variables.{name}", f"{text} has no meaning here: left out")
        else:
            value = text.replace("$$", "$")
            literal.append({"name": name, "value": value} if value else {"name": name})
    return literal, injected


def _endpoints_from(ports: Mapping[str, Any], kept: Fields, notes: _Notes) -> list[Fields]:
    found: list[Fields] = []
    left = dict(ports)
    for written in kept.pop("endpoints", []):
        port = left.pop(written["endpoint"], None)
        if port is None and "port" not in written:
            continue
        numbers = {w: v for w, v in (port or {}).items() if w in ("port", "targetPort")}
        found.append(written | numbers)
    for name, port in left.items():
        protocol = port.get("protocol", "TCP")
        notes.add(f"service.ports.{name}", f"what it speaks is not known: taken as {protocol}")
        own: Fields = {"endpoint": name, "protocol": protocol, "port": port["port"]}
        found.append(own | ({"targetPort": port["targetPort"]} if "targetPort" in port else {}))
    return found


def _connections_from(
    needed: Mapping[str, Any],
    injected: Mapping[str, Fields],
    kept: Fields,
    project: str,
    notes: _Notes,
) -> list[Fields]:
    found: list[Fields] = []
    for name, resource in needed.items():
        kind, params = resource.get("type"), dict(resource.get("params") or {})
        connection: Fields = {"connection": name}
        if kind == "service" and {"component", "endpoint"} <= params.keys():
            connection["componentEndpoint"] = params
        elif kind == "service" and {"workload", "port"} <= params.keys():
            connection["componentEndpoint"] = {
                "component": f"{project}/components/{params['workload']}",
                "endpoint": str(params["port"]),
            }
        elif kind == "external" and {"host", "port", "protocol"} <= params.keys():
            connection["externalHost"] = params
        else:
            notes.add(
                f"resources.{name}", f'nothing provides a resource of type "{kind}": left out'
            )
            continue
        if name in injected:
            connection["inject"] = dict(injected[name])
        found.append(connection)
    for name in injected.keys() - needed.keys():
        notes.add(f"resources.{name}", "variables name it, and it is not there: left out")
    return [*found, *kept.pop("connections", [])]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _value(text: str) -> Any:
    """What was written as JSON; other text is itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text

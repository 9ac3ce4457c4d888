"""The catalog as entities of Backstage (https://backstage.io/docs/features/software-catalog/descriptor-format).

An organization is a domain, a project a system, a component a component, what it offers an API, an
owner a group. Names there are one list for each kind, so they carry the ids that are above; one
that is too long ends with a digest. What is read has the fields of the contract, named as in JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

API_VERSION: Final = "backstage.io/v1alpha1"
_LONGEST: Final = 63
_NOT_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_TYPES: Final = {"WEB_APPLICATION": "website"}
_FORMATS: Final = {
    "OPENAPI": "openapi",
    "ASYNCAPI": "asyncapi",
    "PROTOBUF": "grpc",
    "GRAPHQL": "graphql",
    "JSON_SCHEMA": "json-schema",
}
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is exported."""

    organization: Fields
    projects: Iterable[Fields] = ()
    components: Iterable[Fields] = ()
    environments: Iterable[Fields] = ()
    entries: Iterable[Fields] = ()
    schemas: Mapping[str, Fields] = field(default_factory=dict)
    """By name, with their content as text."""


def entities(picture: Picture) -> list[dict[str, Any]]:
    """Every entity: each refers to others of the list alone."""
    organization = _ids(picture.organization["name"])[-1]
    owners = {p["name"]: p.get("owner") or _ids(p["name"])[-1] for p in picture.projects}
    production = {e["name"] for e in picture.environments if e.get("production")}
    by_component: dict[str, list[Fields]] = defaultdict(list)
    for entry in picture.entries:
        by_component[entry["component"]].append(entry)
    there = {entry["name"] for entry in picture.entries}
    found = [
        _entity("Group", _name(o), {"type": "team", "children": []}, title=o)
        for o in sorted({*owners.values(), organization})
    ]
    own = {"owner": _group(organization)}
    found.append(_entity("Domain", _name(organization), own, of=picture.organization))
    for project in sorted(picture.projects, key=_by_name):
        spec = {"owner": _group(owners[project["name"]]), "domain": _name(organization)}
        found.append(_entity("System", _name(*_inner(project["name"])), spec, of=project))
    for component in sorted(picture.components, key=_by_name):
        own_entries = sorted(by_component[component["name"]], key=_by_name)
        found.append(_component(component, own_entries, owners, production, there))
    entries = sorted(picture.entries, key=_by_name)
    return [*found, *(_api(entry, owners, production, picture.schemas) for entry in entries)]


def _component(
    component: Fields,
    entries: Iterable[Fields],
    owners: Mapping[str, str],
    production: set[str],
    there: set[str],
) -> dict[str, Any]:
    kind = str(component.get("componentKind", "SERVICE"))
    project = _project(component["name"])
    used = [e for e in _uses(component) if e in there]
    spec: dict[str, Any] = {
        "type": _TYPES.get(kind, kind.lower().replace("_", "-")),
        "lifecycle": _lifecycle(entries, production),
        "owner": _group(owners.get(project, _ids(project)[-1])),
        "system": _name(*_inner(project)),
    }
    lists = {
        "providesApis": [_name(*_inner(e["name"])) for e in entries],
        "consumesApis": [_name(*_inner(e)) for e in used],
        "dependsOn": [
            f"component:{_name(*_inner(c))}"
            for c in dict.fromkeys(e.rsplit("/catalogEntries/", 1)[0] for e in used)
        ],
    }
    spec |= {word: names for word, names in lists.items() if names}
    return _entity("Component", _name(*_inner(component["name"])), spec, of=component)


def _api(
    entry: Fields,
    owners: Mapping[str, str],
    production: set[str],
    schemas: Mapping[str, Fields],
) -> dict[str, Any]:
    offer = entry.get("offer", {})
    schema = schemas.get(offer.get("apiSchema", ""))
    project = _project(entry["name"])
    spec = {
        "type": _FORMATS.get(str(schema["format"]), "other")
        if schema
        else str(offer.get("protocol", "other")).lower(),
        "lifecycle": _lifecycle([entry], production),
        "owner": _group(owners.get(project, _ids(project)[-1])),
        "system": _name(*_inner(project)),
        "definition": _definition(entry, schema),
    }
    description = str(offer.get("description", ""))
    return _entity("API", _name(*_inner(entry["name"])), spec, of=entry, description=description)


def _definition(entry: Fields, schema: Fields | None) -> str:
    """The schema as it was written; where it is no text, or none, words that say so."""
    if schema is None:
        return f"# {entry['name']} has no schema"
    text = str(schema.get("content", ""))
    if text and "\ufffd" not in text and "\0" not in text:
        return text
    offered = "\n".join(str(o) for o in schema.get("operations", ()))
    return f"# a set of file descriptors: {schema['name']}\n{offered}"


def _lifecycle(entries: Iterable[Fields], production: set[str]) -> str:
    there = {d.get("environment") for e in entries for d in e.get("deployments", ())}
    return "production" if there & production else "experimental"


def _uses(component: Fields) -> Iterator[str]:
    """Names of the entries that a component uses."""
    for connection in component.get("connections", ()):
        target = connection.get("componentEndpoint")
        if target:
            for offer in (target["endpoint"], *target.get("offers", ())):
                yield f"{target['component']}/catalogEntries/{offer}"


def _entity(
    kind: str,
    name: str,
    spec: dict[str, Any],
    *,
    of: Fields | None = None,
    title: str = "",
    description: str = "",
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if shown := title or (of or {}).get("displayName", ""):
        metadata["title"] = shown
    if description:
        metadata["description"] = description
    if of is not None:
        metadata["annotations"] = {"cellplane.dev/name": of["name"]}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _name(*ids: str) -> str:
    """A name of Backstage's: letters, digits and ``-_.`` between them, at most 63 characters."""
    whole = ".".join(ids)
    plain = _NOT_NAME.sub("-", whole).strip("-_.")
    if plain == whole and len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST - 9].rstrip('-_.')}-{digest}".lstrip("-")


def _group(owner: str) -> str:
    return f"group:{_name(owner)}"


def _ids(name: str) -> list[str]:
    return name.split("/")[1::2]


def _inner(name: str) -> list[str]:
    """The ids without the organization's: a catalog is of one organization."""
    return _ids(name)[1:]


def _project(name: str) -> str:
    return "/".join(name.split("/")[:4])


def _by_name(resource: Fields) -> str:
    return str(resource["name"])

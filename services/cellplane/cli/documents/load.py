"""Files, folders and standard input to resources; every finding of all of them at once.

A document says ``kind``, ``name`` and the fields of the contract. ``apiVersion`` may be left out.
Nothing is sent anywhere while a finding stands.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from cellplane.cli import kinds
from cellplane.cli.documents import check, nodes, schema_file
from cellplane.cli.documents.decode import Reader
from cellplane.cli.documents.nodes import Broken, Mapping, Node, Scalar
from cellplane.cli.documents.places import Finding, Place, Places
from cellplane.cli.exits import Ended, usage
from cellplane.cli.kinds import Kind

API_VERSION: Final = "cellplane.dev/v1"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One resource as it is written, and where."""

    kind: Kind
    name: str
    resource: Message
    places: Places


def load(
    filenames: Iterable[str], organization: str, warn: list[Finding] | None = None
) -> list[Document]:
    """Read documents; ends the command with all findings.

    Args:
        filenames: Files, folders (every YAML and JSON file below), or ``-``.
        organization: Id of the organization that names are relative to.
        warn: Gets the fields that were read over.
    """
    found: list[Document] = []
    findings: list[Finding] = []
    for file, path in _sources(filenames):
        count = 0
        try:
            for node in nodes.parse(contents(file, path), file):
                count += 1
                document, wrong, ignored = read(node, organization)
                findings += wrong
                if warn is not None:
                    warn += ignored
                if document is not None:
                    found.append(document)
        except Broken as broken:
            findings.append(broken.finding)
            count += 1
        if not count:
            text = "has no document: write kind, name and fields"
            findings.append(Finding(place=Place(file), message=text))
    findings += _duplicates(found)
    if findings:
        raise refuse(findings)
    return found


def refuse(findings: Iterable[Finding]) -> Ended:
    """Make the end of a command that found something wrong with documents."""
    lines = list(dict.fromkeys(map(str, sorted(findings, key=lambda f: (f.place, f.field)))))
    things = "1 finding" if len(lines) == 1 else f"{len(lines)} findings"
    return Ended(message=f"nothing was sent: {things}", findings=lines)


def read(node: Node, organization: str) -> tuple[Document | None, list[Finding], list[Finding]]:
    """Read one document; what is wrong with it, and what was read over."""
    if not isinstance(node, Mapping):
        text = "is not a group of fields: write kind, name and fields"
        return None, [Finding(place=node.place, message=text)], []
    kind, findings = _header(node)
    if kind is None:
        return None, findings, []
    places = Places(start=node.place)
    reader = Reader(organization=organization, places=places, findings=findings)
    resource = kind.message()
    reader.read(node, resource)
    _name(kind, resource, reader, places)
    findings += check.violations(resource, places, {f.field for f in findings})
    name = str(getattr(resource, "name"))  # noqa: B009 - every kind has one
    document = Document(kind=kind, name=name, resource=resource, places=places)
    return document, findings, reader.ignored


def _header(node: Mapping) -> tuple[Kind | None, list[Finding]]:
    findings: list[Finding] = []
    header: dict[str, tuple[Scalar, Node]] = {}
    for key, value in node.items:
        word = "apiVersion" if key.text == "api_version" else key.text
        if word not in ("kind", "apiVersion"):
            continue
        if word in header:
            findings.append(Finding(place=key.place, field=word, message="is there twice"))
        header.setdefault(word, (key, value))
    version = header.get("apiVersion")
    if version is not None and _text(version[1]) != API_VERSION:
        text = f'"{_text(version[1])}" is not known: write {API_VERSION}, or leave it out'
        findings.append(Finding(place=version[0].place, field="apiVersion", message=text))
    if "kind" not in header:
        text = f"is missing: write one of {', '.join(_words())}"
        findings.append(Finding(place=node.place, field="kind", message=text))
        return None, findings
    key, value = header["kind"]
    word = _text(value)
    kind = next((k for k in _applicable() if k.name == word), None)
    if kind is None:
        close = difflib.get_close_matches(word, _words(), n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"kinds are {', '.join(_words())}"
        text = f'"{word}" is not a kind that documents can have: {hint}'
        findings.append(Finding(place=key.place, field="kind", message=text))
    return kind, findings


def _name(kind: Kind, resource: Any, reader: Reader, places: Places) -> None:
    place = places.of("name")
    if any(finding.field == "name" for finding in reader.findings):
        return
    if not resource.name:
        reader.add(place, "name", f"is missing: write {kind.form.split('/', 2)[-1]}")
        return
    written = resource.name
    resource.name = kind.absolute(written, reader.organization)
    if not reader.organization and resource.name.startswith("organizations//"):
        text = f'"{written}" is relative to an organization: name one with --organization'
        reader.add(place, "name", text)
    elif kind.ids(resource.name) is None:
        reader.add(place, "name", _bad_name(kind, written))


def _bad_name(kind: Kind, written: str) -> str:
    last = written.rsplit("/", 1)[-1]
    if len(last) > 63:
        return f'"{last}" has {len(last)} characters, and 63 is the most: shorten it'
    return (
        f'"{written}" is not the name of a {kind.singular}: write {kind.form.split("/", 2)[-1]}, '
        "with ids of lower case letters, digits and -, beginning with a letter"
    )


def _duplicates(documents: Iterable[Document]) -> Iterator[Finding]:
    seen: dict[str, Place] = {}
    for document in documents:
        place = document.places.of("name")
        if document.name in seen:
            text = f'"{document.name}" is written twice, first at {seen[document.name]}: keep one'
            yield Finding(place=place, field="name", message=text)
        else:
            seen[document.name] = place


def _applicable() -> list[Kind]:
    return [kind for kind in kinds.all_kinds() if kind.applicable]


def _words() -> list[str]:
    return [kind.name for kind in _applicable()]


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


def _sources(filenames: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    """Each file with the name that findings show; no path is standard input."""
    given = list(filenames)
    if not given:
        raise usage("no documents: name a file, a folder or - with -f")
    for name in given:
        path = Path(name)
        if name == "-":
            yield "<stdin>", None
        elif path.is_dir():
            files = sorted(
                p
                for p in path.rglob("*")
                if p.suffix in _SUFFIXES and p.is_file() and not schema_file.is_schema(p)
            )
            if not files:
                raise usage(f"folder {name} has no file that ends with {', '.join(_SUFFIXES)}")
            yield from ((str(file), file) for file in files)
        else:
            yield name, path


def contents(file: str, path: Path | None) -> bytes:
    """Read a file, or standard input; one that is too big is not read at all."""
    if path is None:
        return sys.stdin.buffer.read(nodes.MAX_BYTES + 1)
    try:
        if path.stat().st_size > nodes.MAX_BYTES:
            raise nodes.too_big(file, path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise usage(f"{path} cannot be read: {(error.strerror or '').lower()}") from error

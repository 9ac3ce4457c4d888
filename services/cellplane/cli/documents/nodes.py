"""YAML read into nodes that know their place. Bounded: size, depth, aliases and number of nodes.

Composed from the parser's events, so that a limit holds before anything is built. What a scalar
means is decided by the field that it fills (``decode``), not by YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from cellplane.cli.documents.places import Finding, Place

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 32
MAX_ALIASES: Final = 100
MAX_NODES: Final = 200_000
_TAB: Final = re.compile(r"^ *\t")


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text; ``plain`` if it was written without quotes."""

    text: str
    plain: bool
    place: Place
    size: int = 1


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place
    size: int = 1


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their own places, in the order of the file; a key may be there twice."""

    items: tuple[tuple[Scalar, Node], ...]
    place: Place
    size: int = 1


Node = Scalar | Sequence | Mapping


class Broken(Exception):
    """The file cannot be read further."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(place=place, message=message)


def parse(data: bytes, file: str) -> Iterator[Node]:
    """Yield the documents of a file that are not empty. Raises ``Broken``."""
    text = _text(data, file)
    composer = _Composer(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            document = composer.take(event)
            if document is not None:
                yield document
    except MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise Broken(place, _explain(text, place, error)) from error
    except (YAMLError, ValueError) as error:
        raise Broken(Place(file), f"is not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise Broken(Place(file), f"is nested deeper than {MAX_DEPTH} levels") from error


def too_big(file: str, size: int) -> Broken:
    """Refuse a file for its size."""
    return Broken(
        Place(file),
        f"has {size:,} bytes, and {MAX_BYTES:,} is the most: split it into several files",
    )


def _text(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise too_big(file, len(data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Broken(Place(file, line), "is not UTF-8: save it as UTF-8") from error
    return text


def _explain(text: str, place: Place, error: MarkedYAMLError) -> str:
    lines = text.splitlines()
    line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    if _TAB.match(line):
        return "a tab indents this line, which YAML forbids: use spaces"
    words = " ".join(part for part in (error.context, error.problem) if part)
    return f"is not YAML: {words}"


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    place: Place
    anchor: str | None
    mapping: bool
    children: list[Node] = field(default_factory=list)
    size: int = 1


class _Composer:
    """Builds nodes from events; keeps no more than the collections that are open."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._open_anchors: set[str] = set()
        self._aliases = 0
        self._root: Node | None = None

    def take(self, event: Any) -> Node | None:
        """Take one event; the document, if this ends one that is not empty."""
        match event:
            case DocumentStartEvent():
                self._anchors, self._aliases, self._root = {}, 0, None
            case DocumentEndEvent():
                root = self._root
                empty = isinstance(root, Scalar) and root.plain and root.text in ("", "~", "null")
                return None if empty else root
            case ScalarEvent():
                plain = not event.style
                self._add(Scalar(str(event.value), plain, self._place(event)), event.anchor)
            case SequenceStartEvent() | MappingStartEvent():
                self._enter(event)
            case SequenceEndEvent() | MappingEndEvent():
                self._leave()
            case AliasEvent():
                self._alias(event)
            case _:
                pass
        return None

    def _enter(self, event: Any) -> None:
        place = self._place(event)
        if len(self._stack) >= MAX_DEPTH:
            raise Broken(place, f"is nested deeper than {MAX_DEPTH} levels")
        if event.anchor:
            self._open_anchors.add(event.anchor)
        self._stack.append(_Open(place, event.anchor, isinstance(event, MappingStartEvent)))

    def _leave(self) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._open_anchors.discard(done.anchor)
        if not done.mapping:
            self._add(Sequence(tuple(done.children), done.place, done.size), done.anchor)
            return
        pairs: list[tuple[Scalar, Node]] = []
        for key, value in zip(done.children[::2], done.children[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise Broken(key.place, "a key must be a word")
            if key.plain and key.text == "<<":
                raise Broken(key.place, "merge keys are not read: write the fields out")
            pairs.append((key, value))
        self._add(Mapping(tuple(pairs), done.place, done.size), done.anchor)

    def _alias(self, event: Any) -> None:
        place = self._place(event)
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise Broken(place, f"more than {MAX_ALIASES} aliases in one document: write it out")
        if event.anchor in self._open_anchors:
            raise Broken(place, f'alias "{event.anchor}" stands inside of what it names')
        node = self._anchors.get(event.anchor)
        if node is None:
            raise Broken(place, f'alias "{event.anchor}" names nothing above it')
        self._add(node, None)

    def _add(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.children.append(node)
        parent.size += node.size
        if parent.size > MAX_NODES:
            raise Broken(parent.place, f"has more than {MAX_NODES:,} values: split it")

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

"""YAML and JSON documents as values, with the line of every place. Bounded, and without aliases.

Aliases and merge keys are refused: a document of a few lines would be gigabytes. The C parser of
libyaml reads JSON, too, which is why there is one way for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from cellplane.model.catalog.schemas.finding import Wrong

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 100_000


class Unreadable(Exception):
    """The document cannot be read at all."""

    def __init__(self, wrong: Wrong) -> None:
        super().__init__(str(wrong))
        self.wrong = wrong


class _Loader(yaml.CSafeLoader):
    """Times stay text: JSON has none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(slots=True)
class Document:
    """A value, and the lines of what is in it."""

    value: Any
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def wrong(self, path: Sequence[str | int], message: str) -> Wrong:
        """What is wrong at a place: the nearest that the document has gives the line."""
        steps = tuple(path)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        shown = ".".join(str(step) for step in path)
        return Wrong(message=message, path=shown, line=self.lines.get(steps, 0))


def load(content: bytes) -> Document:
    """Read one document.

    Raises:
        Unreadable: it is not UTF-8, not YAML, too deep, too much, or not a group of fields.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(Wrong(message="is not UTF-8: save it as UTF-8", line=line)) from error
    loader = _Loader(text)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.events.AliasEvent):
                mark = event.start_mark
                line = mark.line + 1 if mark else 0
                raise Unreadable(Wrong(message="aliases are not read: write it out", line=line))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise Unreadable(Wrong(message="is not a group of fields: write one document", line=1))
        document = Document(None)
        document.value = _Builder(loader, document.lines).build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise Unreadable(
            Wrong(message=f"is neither YAML nor JSON: {error.problem or error.context}", line=line)
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "too deep"
        raise Unreadable(Wrong(message=f"is neither YAML nor JSON: {first}")) from error
    finally:
        loader.dispose()
    return document


class _Builder:
    """Builds a value from nodes, and notes their lines."""

    def __init__(self, loader: _Loader, lines: dict[tuple[str | int, ...], int]) -> None:
        self._loader = loader
        self._lines = lines

    def build(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        """The value of a node."""
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:
            raise Unreadable(Wrong(message=f"is deeper than {MAX_DEPTH} levels", line=line))
        if len(self._lines) > MAX_VALUES:
            raise Unreadable(Wrong(message=f"has more than {MAX_VALUES:,} values", line=line))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, n)) for n, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                raise Unreadable(Wrong(message="a key must be a word, and no merge", line=line))
            # A status such as 200 is a word, too: JSON has no other keys.
            name = str(key.value)
            if name in found:
                where = ".".join(map(str, path))
                text = f'"{name}" is there twice: remove one'
                raise Unreadable(Wrong(message=text, path=where, line=line))
            self._lines[*path, name] = line
            found[name] = self.build(value, (*path, name))
        return found


def resolve(root: Any, value: Any) -> Any:
    """Follow a local reference, as often as it leads to another; what leads nowhere is empty."""
    for _ in range(MAX_DEPTH):
        if not isinstance(value, dict) or not isinstance(value.get("$ref"), str):
            return value
        value = pointed(root, value["$ref"])
    return {}


def pointed(root: Any, reference: str) -> Any:
    """What a local reference points to; empty if nothing."""
    if not reference.startswith("#"):
        return {}
    found = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~").replace("%7B", "{").replace("%7D", "}")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return {}
    return found

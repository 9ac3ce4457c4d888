"""Free values of documents, such as manifests of types: YAML 1.2's core schema, with places.

Paths are those that findings about templates have: ``manifest.spec.template["a.b/c"][0]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.json_format import ParseDict

from cellplane.cli.documents.nodes import Mapping, Node, Scalar, Sequence
from cellplane.cli.documents.places import Place, Places
from cellplane.cli.documents.scalars import NULL

KINDS: Final = frozenset({"google.protobuf.Struct", "google.protobuf.Value"})
_WORDS: Final = {"true": True, "True": True, "TRUE": True} | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_EXACT: Final = 2**53
Tell = Callable[[Place, str, str], None]


def take(node: Node, message: Any, path: str, places: Places, tell: Tell) -> None:
    """Fill a ``Struct`` or a ``Value``; what cannot be in one is told."""
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Struct" and not isinstance(node, Mapping):
        tell(node.place, path, "is one value, and keys with values are wanted")
        return
    ParseDict(_value(node, path, places, tell), message)


def _value(node: Node, path: str, places: Places, tell: Tell) -> Any:
    places.fields[path] = node.place
    match node:
        case Scalar():
            return _scalar(node, path, tell)
        case Sequence():
            return [
                _value(item, f"{path}[{index}]", places, tell)
                for index, item in enumerate(node.items)
            ]
        case Mapping():
            found: dict[str, Any] = {}
            for key, item in node.items:
                own = step(path, key.text)
                if key.text in found:
                    tell(key.place, own, f'"{key.text}" is there twice: remove one')
                found[key.text] = _value(item, own, places, tell)
            return found


def step(path: str, key: str) -> str:
    """The path of a key's value."""
    return f"{path}.{key}" if key.replace("_", "a").isalnum() else f'{path}["{key}"]'


def _scalar(node: Scalar, path: str, tell: Tell) -> Any:
    text = node.text
    if not node.plain:
        return text
    if text in NULL:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        number = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        if abs(number) >= _EXACT:
            tell(node.place, path, f'{text} is too large for a number here: write "{text}"')
        return number
    return float(text) if _FLOAT.fullmatch(text) else text

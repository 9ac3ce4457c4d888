"""AsyncAPI 2 and 3: what is wrong with a document, and what a change of it means to its users.

A document is written by who offers the channels. What it *sends* (``subscribe`` in version 2, which
names what others may do) is read by users; what it *receives* (``publish``) is written by them.
Channels are one whatever their key is, if their address is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError

from cellplane.model.catalog.schemas.document import Document, pointed, resolve
from cellplane.model.catalog.schemas.finding import Changes, Reading, Wrong
from cellplane.model.catalog.schemas.openapi import remote
from cellplane.model.catalog.schemas.values import Comparison

_VERSIONS: Final = ("2", "3")
_FORMAT: Final = "application/vnd.aai.asyncapi"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A message of a channel; ``written`` if users send it."""

    address: str
    name: str
    written: bool
    payload: Any
    path: tuple[str | int, ...]


def read(document: Document) -> Reading:
    """Check a document, and say what it offers."""
    root = document.value
    version = str(root.get("asyncapi", ""))
    if version.split(".", maxsplit=1)[0] not in _VERSIONS:
        text = f'asyncapi "{version}" is not read: write 2.x or 3.x'
        return Reading(wrong=(document.wrong(("asyncapi",), text),))
    info = root.get("info")
    wrong = [*remote(document), *_missing(document, root, info)]
    if not wrong:
        wrong += _broken(document, root)
    own = info if isinstance(info, dict) else {}
    return Reading(
        wrong=tuple(wrong[:20]),
        title=str(own.get("title", "")),
        version=str(own.get("version", "")),
        operations=()
        if wrong
        else tuple(dict.fromkeys(f"{m.address} {m.name}" for m in _messages(root))),
    )


def compare(old: Document, new: Document, changes: Changes) -> None:
    """Find what a change means."""
    values = Comparison(old_root=old.value, new_root=new.value, changes=changes)
    before = {(m.address, m.written, m.name): m for m in _messages(old.value)}
    after = {(m.address, m.written, m.name): m for m in _messages(new.value)}
    gone = {k[:2] for k in before} - {k[:2] for k in after}
    for address, written in sorted(gone):
        changes.breaking(address, "CHANNEL_REMOVED", f"{_verb(written)} is not there any more")
    for key in sorted(before.keys() | after.keys()):
        address, written, name = key
        if (address, written) in gone:
            continue
        place = f"{address} {name}"
        if key not in after:
            changes.breaking(place, "MESSAGE_REMOVED", "is not there any more")
        elif key in before:
            values.compare(before[key].payload, after[key].payload, place, written=written)
        elif written or not any(k[:2] == key[:2] for k in before):
            changes.compatible(place, "MESSAGE_ADDED", "is new")
        else:
            changes.dangerous(place, "MESSAGE_ADDED", "can come now, and could not")


def _verb(written: bool) -> str:
    return "sending to it" if written else "reading from it"


def _missing(document: Document, root: Any, info: Any) -> Iterator[Wrong]:
    if not isinstance(info, dict):
        yield document.wrong(("info",), "is missing: write title and version")
    else:
        for word in ("title", "version"):
            if not isinstance(info.get(word), str):
                yield document.wrong(("info", word), "is missing, or not text")
    channels = root.get("channels")
    if channels is None and not str(root.get("asyncapi")).startswith("3"):
        yield document.wrong(("channels",), "is missing: write the channels")
    elif channels is not None and not isinstance(channels, dict):
        yield document.wrong(("channels",), "is not a group of channels")
    operations = root.get("operations")
    for word, operation in (operations if isinstance(operations, dict) else {}).items():
        own = resolve(root, operation)
        at = ("operations", word)
        if not isinstance(own, dict) or own.get("action") not in ("send", "receive"):
            yield document.wrong((*at, "action"), 'is neither "send" nor "receive"')
        elif not isinstance(own.get("channel"), dict):
            yield document.wrong((*at, "channel"), "is missing: refer to a channel")


def _broken(document: Document, root: Any) -> Iterator[Wrong]:
    """References that lead nowhere, and payloads that are no JSON Schemas."""
    yield from _dangling(document, root, root, ())
    for message in _messages(root):
        payload = message.payload
        if not isinstance(payload, dict):
            continue
        try:
            Draft7Validator.check_schema(payload)
        except SchemaError as error:
            path = (*message.path, *error.absolute_path)
            yield document.wrong(path, error.message.splitlines()[0][:200])


def _dangling(
    document: Document, root: Any, value: Any, path: tuple[str | int, ...]
) -> Iterator[Wrong]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference != "#" and pointed(root, reference) == {}:
            yield document.wrong((*path, "$ref"), f'"{reference}" leads nowhere')
        for word, inner in value.items():
            yield from _dangling(document, root, inner, (*path, word))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _dangling(document, root, inner, (*path, number))


def _messages(root: Any) -> Iterator[_Message]:
    is_third = str(root.get("asyncapi", "")).startswith("3")
    yield from _third(root) if is_third else _second(root)


def _second(root: Any) -> Iterator[_Message]:
    for address, channel in _group(root.get("channels")).items():
        own = _group(resolve(root, channel))
        for verb, written in (("subscribe", False), ("publish", True)):
            operation = _group(resolve(root, own.get(verb)))
            message = operation.get("message")
            if message is None:
                continue
            path = ("channels", address, verb, "message")
            several = _group(message).get("oneOf")
            for n, one in enumerate(several if isinstance(several, list) else [message]):
                yield _made(root, address, one, "", written, path, n)


def _third(root: Any) -> Iterator[_Message]:
    channels = _group(root.get("channels"))
    directions: dict[str, set[bool]] = {}
    for operation in _group(root.get("operations")).values():
        own = _group(resolve(root, operation))
        reference = _group(own.get("channel")).get("$ref", "")
        key = str(reference).rsplit("/", 1)[-1].replace("~1", "/").replace("~0", "~")
        directions.setdefault(key, set()).add(own.get("action") == "receive")
    for key, channel in channels.items():
        own = _group(resolve(root, channel))
        address = str(own.get("address") or key)
        for written in sorted(directions.get(key, {False})):
            for word, message in _group(own.get("messages")).items():
                path = ("channels", key, "messages", word)
                yield _made(root, address, message, word, written, path, 0)


def _made(
    root: Any,
    address: str,
    message: Any,
    word: str,
    written: bool,
    path: tuple[str | int, ...],
    number: int,
) -> _Message:
    own = _group(resolve(root, message))
    reference = _group(message).get("$ref")
    last = reference.rsplit("/", 1)[-1] if isinstance(reference, str) else ""
    payload = resolve(root, own.get("payload", {}))
    if isinstance(payload, dict) and _FORMAT in str(payload.get("schemaFormat", _FORMAT)):
        payload = payload.get("schema", payload) if "schemaFormat" in payload else payload
    return _Message(
        address=address,
        name=str(own.get("name") or word or last or number),
        written=written,
        payload=payload,
        path=(*path, "payload"),
    )


def _group(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

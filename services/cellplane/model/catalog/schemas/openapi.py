"""OpenAPI 3.0 and 3.1: what is wrong with a document, and what a change of it means to callers.

Callers write parameters and request bodies, and read responses. Paths are one whatever their
parameters are called.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from cellplane.model.catalog.schemas.document import Document, resolve
from cellplane.model.catalog.schemas.finding import Changes, Reading, Wrong
from cellplane.model.catalog.schemas.values import Comparison

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_MAX_WRONG: Final = 20
_PARAMETER: Final = re.compile(r"\{[^}]*\}")
_REFERENCE: Final = re.compile(r"^#")


def read(document: Document) -> Reading:
    """Check a document, and say what it offers."""
    root = document.value
    version = str(root.get("openapi", ""))
    validators = {"3.0": OpenAPIV30SpecValidator, "3.1": OpenAPIV31SpecValidator}
    validator = validators.get(".".join(version.split(".")[:2]))
    if validator is None:
        text = f'openapi "{version}" is not read: write 3.0.x or 3.1.x'
        return Reading(wrong=(document.wrong(("openapi",), text),))
    if wrong := tuple(_remote(document, root, ())):
        return Reading(wrong=wrong[:_MAX_WRONG])
    found: list[Wrong] = []
    for error in validator(root).iter_errors():
        best = min(error.context, key=lambda e: -len(e.absolute_path)) if error.context else error
        found.append(document.wrong(tuple(best.absolute_path), _short(best.message)))
        if len(found) >= _MAX_WRONG:
            break
    info = root.get("info") if isinstance(root.get("info"), dict) else {}
    return Reading(
        wrong=tuple(found),
        title=str(info.get("title", "")),
        version=str(info.get("version", "")),
        operations=tuple(_named(root)) if not found else (),
    )


def compare(old: Document, new: Document, changes: Changes) -> None:
    """Find what a change means."""
    values = Comparison(old_root=old.value, new_root=new.value, changes=changes)
    before, after = dict(_operations(old.value)), dict(_operations(new.value))
    for key in sorted(before.keys() | after.keys()):
        method, path = key
        place = f"{method.upper()} {path}"
        if key not in after:
            changes.breaking(place, "OPERATION_REMOVED", "is not there any more")
        elif key not in before:
            changes.compatible(place, "OPERATION_ADDED", "is new")
        else:
            _operation(values, before[key], after[key], place)


def _operation(values: Comparison, old: Any, new: Any, place: str) -> None:
    changes = values.changes
    if new.get("deprecated") is True and old.get("deprecated") is not True:
        changes.compatible(place, "DEPRECATED", "is deprecated now")
    if _needs_credentials(values.new_root, new) and not _needs_credentials(values.old_root, old):
        changes.breaking(place, "CREDENTIALS_REQUIRED", "needs credentials now, and did not")
    _parameters(values, old, new, place)
    _body(values, old, new, place)
    _responses(values, old, new, place)


def _parameters(values: Comparison, old: Any, new: Any, place: str) -> None:
    changes = values.changes
    before, after = _parameters_of(values.old_root, old), _parameters_of(values.new_root, new)
    for where, name in sorted(before.keys() | after.keys()):
        at = f"{place} {where} parameter {name}"
        one, other = before.get((where, name)), after.get((where, name))
        if other is None:
            changes.dangerous(at, "PARAMETER_REMOVED", "is not read any more")
        elif one is None and other.get("required") is True:
            changes.breaking(at, "REQUIRED_ADDED", "is new, and required")
        elif one is None:
            changes.compatible(at, "PARAMETER_ADDED", "is new")
        else:
            if other.get("required") is True and one.get("required") is not True:
                changes.breaking(at, "REQUIRED_ADDED", "is required now, and was not")
            values.compare(one.get("schema", {}), other.get("schema", {}), at, written=True)


def _body(values: Comparison, old: Any, new: Any, place: str) -> None:
    before = _group(resolve(values.old_root, old.get("requestBody")))
    after = _group(resolve(values.new_root, new.get("requestBody")))
    if after.get("required") is True and before.get("required") is not True:
        values.changes.breaking(f"{place} body", "REQUIRED_ADDED", "is required now, and was not")
    _contents(values, before, after, f"{place} body", written=True)


def _responses(values: Comparison, old: Any, new: Any, place: str) -> None:
    before, after = _group(old.get("responses")), _group(new.get("responses"))
    for status in sorted(before.keys() | after.keys()):
        at = f"{place} {status}"
        if status not in after:
            if status.startswith("2"):
                values.changes.breaking(at, "RESPONSE_REMOVED", "is not answered any more")
        elif status not in before:
            values.changes.compatible(at, "RESPONSE_ADDED", "is new")
        else:
            one = _group(resolve(values.old_root, before[status]))
            other = _group(resolve(values.new_root, after[status]))
            lost = _group(one.get("headers")).keys() - _group(other.get("headers")).keys()
            for header in sorted(lost):
                values.changes.breaking(
                    f"{at} header {header}", "HEADER_REMOVED", "is not given any more"
                )
            _contents(values, one, other, at, written=False)


def _contents(values: Comparison, old: Any, new: Any, place: str, *, written: bool) -> None:
    before, after = _group(old.get("content")), _group(new.get("content"))
    for media in sorted(before):
        at = place if media == "application/json" else f"{place} {media}"
        if media not in after:
            text = "is not read any more" if written else "is not answered any more"
            values.changes.breaking(at, "MEDIA_TYPE_REMOVED", f"{media} {text}")
            continue
        one, other = _group(before[media]), _group(after[media])
        values.compare(one.get("schema", {}), other.get("schema", {}), at, written=written)


def _operations(root: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """Every operation, with the parameters of its path, by method and path."""
    for path, item in _group(root.get("paths")).items():
        own = _group(resolve(root, item))
        for method in METHODS:
            if isinstance(own.get(method), dict):
                shared = own.get("parameters") or []
                merged = {**own[method], "shared": shared}
                yield (method, _PARAMETER.sub("{}", path)), merged


def _parameters_of(root: Any, operation: Any) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    path = 0
    for written in (*operation.get("shared", ()), *(operation.get("parameters") or ())):
        one = _group(resolve(root, written))
        where, name = str(one.get("in", "")), str(one.get("name", ""))
        if where == "path":
            # Callers write them by where they stand, whatever they are called.
            path += 1
            name = str(path)
        found[where, name] = one
    return found


def _needs_credentials(root: Any, operation: Any) -> bool:
    demanded = operation.get("security", root.get("security"))
    return bool(demanded) and {} not in demanded


def _named(root: Any) -> Iterator[str]:
    for path, item in _group(root.get("paths")).items():
        own = _group(item)
        for method in METHODS:
            operation = own.get(method)
            if isinstance(operation, dict):
                words = (operation.get("operationId"), operation.get("summary"))
                yield " ".join([f"{method.upper()} {path}", *(str(w) for w in words if w)])


def _remote(document: Document, value: Any, path: tuple[str | int, ...]) -> Iterator[Wrong]:
    """References that leave the document: nothing is fetched for anybody."""
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and not _REFERENCE.match(reference):
            text = f'"{reference}" is outside of the document: bundle it into one'
            yield document.wrong((*path, "$ref"), text)
        for word, inner in value.items():
            yield from _remote(document, inner, (*path, word))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _remote(document, inner, (*path, number))


def remote(document: Document) -> tuple[Wrong, ...]:
    """References that leave a document."""
    return tuple(_remote(document, document.value, ()))[:_MAX_WRONG]


def _group(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(message: str) -> str:
    first = message.splitlines()[0] if message else "is not valid"
    return first if len(first) <= 200 else f"{first[:200]}…"

"""What a change of a JSON Schema means, for those who write a value and those who read one.

OpenAPI 3.0's dialect is read along (``nullable``, ``exclusiveMinimum`` as a switch). A schema that
says nothing takes everything. References are followed in their own document; a pair of schemas that
is being compared is not compared again, so that recursive schemas end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cellplane.model.catalog.schemas.document import resolve
from cellplane.model.catalog.schemas.finding import Changes

_ALL: Final = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
MAX_DEPTH: Final = 48
MAX_PAIRS: Final = 20_000
_ANYTHING: Final[dict[str, Any]] = {}
_NOTHING: Final[dict[str, Any]] = {"enum": []}


@dataclass(slots=True, kw_only=True)
class Comparison:
    """Compares schemas of two documents."""

    old_root: Any
    new_root: Any
    changes: Changes
    _open: set[tuple[int, int, bool]] = field(default_factory=set)
    _flats: dict[int, dict[str, Any]] = field(default_factory=dict)
    _left: int = MAX_PAIRS

    def compare(self, old: Any, new: Any, place: str, *, written: bool, depth: int = 0) -> None:
        """Compare two schemas of a value that users write, or else read."""
        old, new = self._flat(self.old_root, old), self._flat(self.new_root, new)
        key = (id(old), id(new), written)
        if depth > MAX_DEPTH or key in self._open or self._is_spent(place):
            return
        self._open.add(key)
        try:
            self._types(old, new, place, written=written)
            self._values(old, new, place, written=written)
            self._bounds(old, new, place, written=written)
            self._object(old, new, place, written=written, depth=depth)
            if "items" in old and "items" in new:
                self._inner(old["items"], new["items"], f"{place}[]", written, depth)
            for word in ("oneOf", "anyOf"):
                self._variants(old.get(word), new.get(word), place, written=written, depth=depth)
        finally:
            self._open.discard(key)

    def _is_spent(self, place: str) -> bool:
        """A document can name one schema from very many places: what is too much is said."""
        self._left -= 1
        if self._left == 0:
            text = f"more than {MAX_PAIRS:,} pairs of schemas: what follows was not compared"
            self.changes.dangerous(place, "TOO_MUCH", text)
        return self._left <= 0

    def _inner(self, old: Any, new: Any, place: str, written: bool, depth: int) -> None:
        self.compare(
            resolve(self.old_root, old),
            resolve(self.new_root, new),
            place,
            written=written,
            depth=depth + 1,
        )

    def _flat(self, root: Any, schema: Any) -> dict[str, Any]:
        """A schema without references at its top, ``allOf`` merged into it; made once."""
        schema = resolve(root, schema)
        if not isinstance(schema, dict):
            return _NOTHING if schema is False else _ANYTHING
        parts = schema.get("allOf")
        if not isinstance(parts, list):
            return schema
        if id(schema) in self._flats:
            return self._flats[id(schema)]
        # Until it is done, what names itself is what it says beside ``allOf``.
        merged = {word: value for word, value in schema.items() if word != "allOf"}
        self._flats[id(schema)] = merged
        for part in parts:
            _merge(merged, self._flat(root, part))
        return merged

    def _types(self, old: Any, new: Any, place: str, *, written: bool) -> None:
        before, after = _types_of(old), _types_of(new)
        lost, more = _without(before, after), _without(after, before)
        if written and lost:
            self.changes.breaking(
                place, "TYPE_NARROWED", f"takes no {_listed(lost)} any more, only {_listed(after)}"
            )
        elif not written and more:
            self.changes.breaking(
                place, "TYPE_WIDENED", f"can be {_listed(more)} now, and was {_listed(before)}"
            )
        if old.get("format") != new.get("format") and not (lost or more):
            self.changes.dangerous(
                place,
                "FORMAT_CHANGED",
                f"has format {new.get('format') or 'none'} now, and had "
                f"{old.get('format') or 'none'}",
            )

    def _values(self, old: Any, new: Any, place: str, *, written: bool) -> None:
        before, after = _enum_of(old), _enum_of(new)
        if before == after:
            return
        lost = [] if after is None or before is None else [v for v in before if v not in after]
        more = [] if before is None or after is None else [v for v in after if v not in before]
        if written and (lost or (before is None and after is not None)):
            text = f"takes {', '.join(lost)} no more" if lost else "takes listed values only"
            self.changes.breaking(place, "VALUES_REMOVED", text)
        elif not written and (more or (after is None and before is not None)):
            text = f"can be {', '.join(more)} now" if more else "can be any value now"
            self.changes.dangerous(place, "VALUES_ADDED", text)
        else:
            self.changes.compatible(place, "VALUES_CHANGED", "has other values that fit")

    def _bounds(self, old: Any, new: Any, place: str, *, written: bool) -> None:
        for words, is_lower in ((_LOWER, True), (_UPPER, False)):
            for word in words:
                before, after = _bound(old, word), _bound(new, word)
                if before == after:
                    continue
                tighter = after is not None and (
                    before is None or (after > before if is_lower else after < before)
                )
                text = f"{word} is {_shown(after)}, and was {_shown(before)}"
                if written and tighter:
                    self.changes.breaking(place, "BOUND_TIGHTENED", text)
                elif not written and not tighter:
                    self.changes.dangerous(place, "BOUND_LOOSENED", text)
        if old.get("pattern") != new.get("pattern"):
            self.changes.dangerous(
                place, "PATTERN_CHANGED", f"pattern is {_shown(new.get('pattern'))} now"
            )

    def _object(self, old: Any, new: Any, place: str, *, written: bool, depth: int) -> None:
        before, after = _properties(old), _properties(new)
        needed, needs = _required(old), _required(new)
        for name in sorted(before.keys() - after.keys()):
            self._lost(name, new, f"{place}.{name}", written=written)
        for name in sorted(needs - needed):
            if written:
                self.changes.breaking(
                    f"{place}.{name}", "REQUIRED_ADDED", "is required now, and was not"
                )
        for name in sorted(needed - needs):
            if not written and name in after:
                self.changes.breaking(
                    f"{place}.{name}", "REQUIRED_REMOVED", "can be missing now, and could not"
                )
        for name in sorted(after.keys() - before.keys()):
            if name not in needs or not written:
                self._added(name, old, f"{place}.{name}", written=written)
        for name in sorted(before.keys() & after.keys()):
            self._inner(before[name], after[name], f"{place}.{name}", written, depth)
        self._additional(old, new, place, written=written, depth=depth)

    def _lost(self, name: str, new: Any, place: str, *, written: bool) -> None:
        if not written:
            self.changes.breaking(place, "PROPERTY_REMOVED", "is not given any more")
        elif new.get("additionalProperties") is False:
            self.changes.breaking(place, "PROPERTY_REMOVED", f'"{name}" is refused now')
        else:
            self.changes.dangerous(place, "PROPERTY_REMOVED", "is read over now")

    def _added(self, name: str, old: Any, place: str, *, written: bool) -> None:
        if not written and old.get("additionalProperties") is False:
            self.changes.dangerous(
                place, "PROPERTY_ADDED", f'"{name}" is given now, and nothing else was to come'
            )
        else:
            self.changes.compatible(place, "PROPERTY_ADDED", "is new")

    def _additional(self, old: Any, new: Any, place: str, *, written: bool, depth: int) -> None:
        before, after = old.get("additionalProperties"), new.get("additionalProperties")
        if isinstance(before, dict) and isinstance(after, dict):
            self._inner(before, after, f"{place}.*", written, depth)
        elif written and after is False and before is not False:
            self.changes.breaking(
                place, "PROPERTIES_CLOSED", "refuses properties that it does not name"
            )

    def _variants(self, old: Any, new: Any, place: str, *, written: bool, depth: int) -> None:
        before, after = _by_word(old), _by_word(new)
        for word in sorted(before.keys() & after.keys()):
            self._inner(before[word], after[word], f"{place}<{word}>", written, depth)
        lost, more = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
        if written and before and lost and after:
            self.changes.breaking(place, "VARIANT_REMOVED", f"takes no {', '.join(lost)} any more")
        elif written and after and not before:
            self.changes.dangerous(place, "VARIANT_ADDED", f"takes only {', '.join(more)} now")
        elif not written and more:
            self.changes.dangerous(place, "VARIANT_ADDED", f"can be {', '.join(more)} now")


def _merge(target: dict[str, Any], part: Mapping[str, Any]) -> None:
    for word, value in list(part.items()):
        before = target.get(word)
        if word == "required" and isinstance(before, list) and isinstance(value, list):
            target[word] = [*before, *value]
        elif word == "properties" and isinstance(before, dict) and isinstance(value, dict):
            target[word] = {**value, **before}
        else:
            target.setdefault(word, value)


def _types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    written = schema.get("type")
    if isinstance(written, str):
        found = {written}
    elif isinstance(written, list) and written:
        found = {t for t in written if isinstance(t, str)}
    else:
        return _ALL
    if schema.get("nullable") is True:
        found.add("null")
    return frozenset(found)


def _without(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Types of *some* that *others* do not hold: every integer is a number."""
    return frozenset(
        t for t in some if t not in others and not (t == "integer" and "number" in others)
    )


def _enum_of(schema: Mapping[str, Any]) -> list[str] | None:
    if "const" in schema:
        return [json.dumps(schema["const"], sort_keys=True, default=str)]
    values = schema.get("enum")
    if not isinstance(values, list):
        return None
    return sorted(json.dumps(v, sort_keys=True, default=str) for v in values)


def _bound(schema: Mapping[str, Any], word: str) -> float | None:
    value = schema.get(word)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _required(schema: Mapping[str, Any]) -> set[str]:
    found = schema.get("required")
    return {n for n in found if isinstance(n, str)} if isinstance(found, list) else set()


def _by_word(variants: Any) -> dict[str, Any]:
    """Variants by what names them: a reference, a title, or where they stand."""
    found: dict[str, Any] = {}
    for index, variant in enumerate(variants if isinstance(variants, list) else ()):
        inner: Mapping[str, Any] = variant if isinstance(variant, dict) else {}
        reference = inner.get("$ref")
        word = reference.rsplit("/", 1)[-1] if isinstance(reference, str) else inner.get("title")
        found[str(word or inner.get("type") or index)] = variant
    return found


def _listed(words: frozenset[str]) -> str:
    return "anything" if words == _ALL else ", ".join(sorted(words))


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)

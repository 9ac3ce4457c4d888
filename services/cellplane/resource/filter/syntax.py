"""The grammar of AIP-160, as a tree with the column of each part.

``OR`` binds tighter than ``AND``, and what stands side by side is joined as by ``AND``. A value may
be written without quotes as far as it has no space, parenthesis or comma, so that times and numbers
need none. In quotes ``\\`` escapes a quote, itself, or a ``*`` that is no wildcard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

MAX_LENGTH: Final = 4096
MAX_DEPTH: Final = 32
"""Parentheses and negations inside of each other."""

_SPACE: Final = re.compile(r"\s*")
_WORD: Final = re.compile(r"[^\s.()<>=!:,\"'*]+")
_BARE: Final = re.compile(r"[^\s(),\"']+")
_COMPARATOR: Final = re.compile(r"<=|>=|!=|[<>=:]")
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT"})


class Comparator(Enum):
    """How a field and a value are compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    HAS = ":"


class Malformed(Exception):
    """The text is no filter, as seen at one column."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column
        self.message = message


@dataclass(frozen=True, slots=True)
class Text:
    """A value as it is written. ``pieces`` are what stands between its wildcards."""

    pieces: tuple[str, ...]
    column: int
    quoted: bool

    @property
    def value(self) -> str:
        """The text itself, wildcards as stars."""
        return "*".join(self.pieces)

    @property
    def is_star(self) -> bool:
        """Whether it asks for presence."""
        return not self.quoted and self.pieces == ("", "")


@dataclass(frozen=True, slots=True)
class Restriction:
    """A field compared with a value."""

    path: tuple[str, ...]
    column: int
    comparator: Comparator
    value: Text


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands alone."""

    value: Text


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: Tree


@dataclass(frozen=True, slots=True)
class And:
    """All of them; of none it is true."""

    operands: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them."""

    operands: tuple[Tree, ...]


Tree: TypeAlias = Restriction | Literal | Not | And | Or


def parse(text: str) -> Tree:
    """Read a filter; the empty one is true of everything. Raises ``Malformed``."""
    if len(text) > MAX_LENGTH:
        raise Malformed(MAX_LENGTH + 1, f"a filter has at most {MAX_LENGTH} characters")
    if "\0" in text:
        raise Malformed(text.index("\0") + 1, "a filter has no NUL characters")
    reader = _Reader(text)
    reader.skip()
    if reader.at_end():
        return And(())
    tree = reader.expression(0)
    if not reader.at_end():
        raise reader.wrong(f'"{reader.rest()}" is unexpected: is a parenthesis missing before it?')
    return tree


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def expression(self, depth: int) -> Tree:
        """``sequence {AND sequence}``, where a sequence is factors side by side."""
        found = [self._factor(depth)]
        while not self.at_end() and self._peek() != ")":
            if self._keyword("AND") and (self.at_end() or self._peek() == ")"):
                raise self.wrong("AND needs something behind it")
            found.append(self._factor(depth))
        return found[0] if len(found) == 1 else And(tuple(found))

    def _factor(self, depth: int) -> Tree:
        found = [self._term(depth)]
        while self._keyword("OR"):
            found.append(self._term(depth))
        return found[0] if len(found) == 1 else Or(tuple(found))

    def _term(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise self.wrong(f"more than {MAX_DEPTH} levels: write a simpler filter")
        if self._keyword("NOT"):
            return Not(self._term(depth + 1))
        if self._peek() == "-":
            self._at += 1
            return Not(self._term(depth + 1))
        if self._peek() == "(":
            opened = self._at
            self._move(1)
            inner = self.expression(depth + 1)
            if self._peek() != ")":
                raise Malformed(opened + 1, "this parenthesis is not closed")
            self._move(1)
            return inner
        return self._restriction()

    def _restriction(self) -> Tree:
        if self.at_end() or self._peek() == ")":
            raise self.wrong("a field or a value is missing here")
        start = self._at
        if self._peek() in "\"'*":
            first = self._string() if self._peek() != "*" else self._bare()
            if not self._peek() or self._peek() not in ".:<>=!":
                self.skip()
                return Literal(first)
            path = [self._as_name(first)]
        else:
            word = self._word()
            if word in _KEYWORDS:
                raise Malformed(start + 1, f"{word} needs something on both sides, or quotes")
            path = [word]
        while self._peek() == ".":
            self._at += 1
            path.append(self._as_name(self._string()) if self._peek() in "\"'" else self._word())
        if self._peek() == "(":
            name = ".".join(path)
            raise Malformed(start + 1, f"{name}() is a function: filters have none here")
        self.skip()
        comparator = _COMPARATOR.match(self._text, self._at)
        if comparator is None:
            if self._peek() == "!":
                raise self.wrong('"!" alone compares nothing: write != or NOT')
            self._at = start
            literal = self._bare()
            self.skip()
            return Literal(literal)
        self._move(len(comparator.group()))
        value = self._value(comparator.group())
        return Restriction(tuple(path), start + 1, Comparator(comparator.group()), value)

    def _value(self, comparator: str) -> Text:
        if self.at_end() or self._peek() in "),":
            raise self.wrong(f'a value is missing behind "{comparator}"')
        if self._peek() == "(":
            raise self.wrong("a value cannot be an expression: repeat the field, joined by OR")
        value = self._string() if self._peek() in "\"'" else self._bare()
        if self._peek() == "(":
            raise Malformed(value.column, f"{value.value}() is a function: filters have none here")
        if self._peek() and self._peek() in "\"',":
            raise self.wrong(f"{self._peek()} is unexpected behind a value")
        self.skip()
        return value

    def _bare(self) -> Text:
        found = _BARE.match(self._text, self._at)
        if found is None:
            raise self.wrong(f"{self._peek()} is unexpected here")
        column = self._at + 1
        self._at = found.end()
        return Text(tuple(found.group().split("*")), column, False)

    def _string(self) -> Text:
        quote, column = self._peek(), self._at + 1
        self._at += 1
        pieces = [""]
        while (char := self._peek()) != quote:
            if not char:
                raise Malformed(column, "this quote is not closed")
            self._at += 1
            if char == "*":
                pieces.append("")
                continue
            if char == "\\":
                char = self._peek()
                if not char or char not in "\\\"'*":
                    raise self.wrong("a backslash escapes a quote, a star, or itself")
                self._at += 1
            pieces[-1] += char
        self._at += 1
        return Text(tuple(pieces), column, True)

    def _as_name(self, text: Text) -> str:
        if len(text.pieces) > 1:
            raise Malformed(text.column, "the name of a field has no wildcards")
        return text.value

    def _word(self) -> str:
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise self.wrong("the name of a field is missing here")
        self._at = found.end()
        return found.group()

    def _keyword(self, word: str) -> bool:
        """Move behind a keyword, if it is one: a field that is called so is quoted."""
        end = self._at + len(word)
        if not self._text.startswith(word, self._at):
            return False
        if end < len(self._text) and not self._text[end].isspace() and self._text[end] != "(":
            return False
        self._move(len(word))
        return True

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _move(self, count: int) -> None:
        self._at += count
        self.skip()

    def skip(self) -> None:
        """Move behind space."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at

    def at_end(self) -> bool:
        """Whether all was read."""
        return self._at >= len(self._text)

    def rest(self) -> str:
        """What was not read, cut to what a message bears."""
        return self._text[self._at : self._at + 20]

    def wrong(self, message: str) -> Malformed:
        """What is wrong where it reads."""
        return Malformed(self._at + 1, message)

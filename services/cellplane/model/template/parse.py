"""Text to tree: the grammar of the Common Expression Language (cel-spec, "Syntax").

Of it are left out: unsigned integers, bytes, messages, and the suffixed literals of both. Numbers
are ``int`` (64 bits) and ``double``; maps have keys of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from cellplane.model.template.limits import (
    MAX_COMPREHENSIONS,
    MAX_EXPRESSION,
    MAX_NESTING,
    MAX_TREE,
)
from cellplane.model.template.syntax import (
    Call,
    Choice,
    Index,
    ListOf,
    Literal,
    Logic,
    Loop,
    MapOf,
    Name,
    Node,
    Operation,
    Select,
    Wrong,
    children,
)

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<double>\d+\.\d+([eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+([eE][+-]?\d+)?)
    |(?P<int>0[xX][0-9a-fA-F]+|\d+)
    |(?P<raw>[rR]("[^"\n]*"|'[^'\n]*'))
    |(?P<string>"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*')
    |(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE,
)
_KINDS: Final = ("space", "double", "int", "raw", "string", "name", "sign")
_ESCAPE: Final = re.compile(
    r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)", re.DOTALL
)
_PLAIN: Final = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "`": "`", "?": "?",
}  # fmt: skip
_RELATIONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})
_CONSTANTS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_RESERVED: Final = frozenset(
    {
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
        "loop", "namespace", "package", "return", "var", "void", "while",
    }
)  # fmt: skip
_MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
_INT: Final = 2**63


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


def parse(text: str) -> Node:
    """Read one expression. Raises ``Wrong`` at the first place that is none."""
    if len(text) > MAX_EXPRESSION:
        raise Wrong(f"has {len(text):,} characters, and {MAX_EXPRESSION:,} is the most")
    if not text.strip():
        raise Wrong("is empty: write an expression between ${ and }")
    parser = _Parser(_tokens(text))
    node = parser.expression()
    parser.end()
    _refuse_depth(node)
    return node


def _refuse_depth(root: Node) -> None:
    """A long chain is as deep as it is long: what walks trees must never run out of stack."""
    below = [(root, 1)]
    while below:
        node, depth = below.pop()
        if depth > MAX_TREE:
            raise Wrong(f"chains more than {MAX_TREE} operators: split it", node.start)
        below += [(child, depth + 1) for child in children(node)]


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position] in "\"'":
                raise Wrong("a text begins here and has no end: close its quotes", position)
            raise Wrong(f'"{text[position]}" is no part of an expression', position)
        kind = next(own for own in _KINDS if match.group(own) is not None)
        if kind != "space":
            found.append(_Token(kind, match.group(), position))
        position = match.end()
    found.append(_Token("end", "", len(text)))
    return found


class _Parser:
    """One method for each level of precedence."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._loops = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is(self, *signs: str) -> bool:
        return self._next.kind in ("sign", "name") and self._next.text in signs

    def _expect(self, sign: str, what: str) -> _Token:
        if self._next.kind == "sign" and self._next.text == sign:
            return self._take()
        raise Wrong(f'"{sign}" is missing {what}{self._found()}', self._next.start)

    def _found(self) -> str:
        return "" if self._next.kind == "end" else f': found "{self._next.text}"'

    def end(self) -> None:
        """Refuse whatever is left."""
        if self._next.kind != "end":
            token = self._next
            raise Wrong(f'"{token.text}" is not expected behind the expression', token.start)

    def expression(self) -> Node:
        """``a ? b : c``, and all that binds stronger."""
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise Wrong(f"is nested deeper than {MAX_NESTING} levels", self._next.start)
        node = self._or()
        if self._is("?"):
            start = self._take().start
            yes = self._or()
            self._expect(":", "of a condition")
            node = Choice(node, yes, self.expression(), start)
        self._depth -= 1
        return node

    def _or(self) -> Node:
        node = self._and()
        while self._is("||"):
            start = self._take().start
            node = Logic("||", node, self._and(), start)
        return node

    def _and(self) -> Node:
        node = self._relation()
        while self._is("&&"):
            start = self._take().start
            node = Logic("&&", node, self._relation(), start)
        return node

    def _relation(self) -> Node:
        node = self._sum()
        while self._is(*_RELATIONS):
            token = self._take()
            node = Operation(token.text, (node, self._sum()), token.start)
        return node

    def _sum(self) -> Node:
        node = self._product()
        while self._is("+", "-"):
            token = self._take()
            node = Operation(token.text, (node, self._product()), token.start)
        return node

    def _product(self) -> Node:
        node = self._unary()
        while self._is("*", "/", "%"):
            token = self._take()
            node = Operation(token.text, (node, self._unary()), token.start)
        return node

    def _unary(self) -> Node:
        signs: list[_Token] = []
        while self._is("!", "-"):
            signs.append(self._take())
            if len(signs) > MAX_NESTING:
                raise Wrong(f"is nested deeper than {MAX_NESTING} levels", signs[-1].start)
        if signs and signs[-1].text == "-" and self._next.kind in ("int", "double"):
            token = self._take()
            node = self._member(Literal(_number(token, negative=True), signs.pop().start))
        else:
            node = self._member(self._primary())
        for token in reversed(signs):
            node = Operation("!" if token.text == "!" else "neg", (node,), token.start)
        return node

    def _member(self, node: Node) -> Node:
        while self._is(".", "["):
            token = self._take()
            if token.text == "[":
                key = self.expression()
                self._expect("]", "behind an index")
                node = Index(node, key, token.start)
                continue
            name = self._take()
            if name.kind != "name":
                raise Wrong('the name of a field is missing behind "."', name.start)
            node = (
                self._method(node, name) if self._is("(") else Select(node, name.text, name.start)
            )
        return node

    def _method(self, of: Node, name: _Token) -> Node:
        self._take()
        if name.text not in _MACROS:
            return Call(name.text, (of, *self._list(")")), name.start, method=True)
        self._loops += 1
        if self._loops > MAX_COMPREHENSIONS:
            raise Wrong(
                f"more than {MAX_COMPREHENSIONS} loops are inside of each other", name.start
            )
        args = self._list(")")
        self._loops -= 1
        return _loop(of, name, args)

    def _list(self, close: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._is(close):
            items.append(self.expression())
            if not self._is(close):
                self._expect(",", f'or "{close}" behind a value')
        self._take()
        return tuple(items)

    def _primary(self) -> Node:
        token = self._take()
        match token.kind:
            case "int" | "double":
                return Literal(_number(token, negative=False), token.start)
            case "string" | "raw":
                return Literal(_string(token), token.start)
            case "name":
                return self._named(token)
            case "sign" if token.text == "(":
                node = self.expression()
                self._expect(")", "that closes a bracket")
                return node
            case "sign" if token.text == "[":
                return ListOf(self._list("]"), token.start)
            case "sign" if token.text == "{":
                return MapOf(self._entries(), token.start)
            case "end":
                raise Wrong("ends where a value is expected", token.start)
            case _:
                raise Wrong(f'"{token.text}" is where a value is expected', token.start)

    def _named(self, token: _Token) -> Node:
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.start)
        if token.text in _RESERVED or token.text == "in":
            raise Wrong(f'"{token.text}" is a reserved word: choose another name', token.start)
        if not self._is("("):
            return Name(token.text, token.start)
        self._take()
        args = self._list(")")
        if token.text != "has":
            return Call(token.text, args, token.start)
        if len(args) != 1 or not isinstance(args[0], Select):
            raise Wrong("has() asks for one field: write has(a.b)", token.start)
        asked = args[0]
        return Select(asked.of, asked.field, asked.start, test=True)

    def _entries(self) -> tuple[tuple[Node, Node], ...]:
        entries: list[tuple[Node, Node]] = []
        while not self._is("}"):
            key = self.expression()
            self._expect(":", "behind a key")
            entries.append((key, self.expression()))
            if not self._is("}"):
                self._expect(",", 'or "}" behind a value')
        self._take()
        return tuple(entries)


def _loop(over: Node, name: _Token, args: tuple[Node, ...]) -> Loop:
    wanted = (2, 3) if name.text == "map" else (2,)
    if len(args) not in wanted or not isinstance(args[0], Name):
        form = "variable, value" if name.text == "map" else "variable, condition"
        raise Wrong(f"{name.text}() takes a name and what to do: {name.text}({form})", name.start)
    variable = args[0].name
    if name.text != "map":
        return Loop(name.text, over, variable, args[1], None, name.start)
    where = args[1] if len(args) == 3 else None
    return Loop("map", over, variable, where, args[-1], name.start)


def _number(token: _Token, *, negative: bool) -> int | float:
    sign = -1 if negative else 1
    if token.kind == "double":
        return sign * float(token.text)
    value = sign * int(token.text, 16 if token.text[:2].lower() == "0x" else 10)
    if not -_INT <= value < _INT:
        raise Wrong(f"{value} does not fit into 64 bits", token.start)
    return value


def _string(token: _Token) -> str:
    if token.kind == "raw":
        return token.text[2:-1]

    def plain(match: re.Match[str]) -> str:
        code = match.group(1)
        if code in _PLAIN:
            return _PLAIN[code]
        if code[0] in "xuU" and len(code) > 1 and int(code[1:], 16) <= 0x10FFFF:
            return chr(int(code[1:], 16))
        if code[0] in "0123" and len(code) == 3:
            return chr(int(code, 8))
        raise Wrong(f'"\\{code}" is no escape: write \\\\ for one \\', token.start + match.start())

    return _ESCAPE.sub(plain, token.text[1:-1])

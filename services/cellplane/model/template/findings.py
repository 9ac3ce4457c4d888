"""What is wrong with a definition or with what it is given: where, in which text, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from cellplane.cell.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong."""

    reason: str
    """Stable: part of the API."""
    path: str
    """The field of the definition, or of the component, that it is about."""
    message: str
    text: str = ""
    """The text of that field, where an expression in it is wrong."""
    offset: int = 0
    """Where in ``text``."""
    source: str = ""
    """Name of the definition; empty for the component."""

    def __str__(self) -> str:
        quoted = f"${{{' '.join(self.expression.split())}}}: " if self.text else ""
        return f"{quoted}{self.message}"

    @property
    def expression(self) -> str:
        """The expression that is wrong, without the text around it."""
        begin = self.text.rfind("${", 0, self.offset + 1)
        if begin < 0:
            return self.text
        return self.text[begin + 2 : end_of(self.text, begin + 2)].strip()

    def problem(self, resource: str = "", prefix: str = "") -> Problem:
        """The same as a problem of a resource, by the path of its field."""
        where = f" (column {self.offset + 1} of its text)" if self.text else ""
        return Problem(
            reason=self.reason,
            message=f"{self}{where}",
            field=f"{prefix}.{self.path}".strip(".") if prefix else self.path,
            resource=resource,
            value=self.text[:256],
        )


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults as they are collected, with the path of the place at hand."""

    found: list[Fault] = field(default_factory=list)
    path: str = ""
    source: str = ""

    def at(self, step: str | int) -> Faults:
        """Go one field or index deeper; faults stay shared."""
        if isinstance(step, int):
            path = f"{self.path}[{step}]"
        elif step.replace("_", "a").isalnum():
            path = f"{self.path}.{step}" if self.path else step
        else:
            path = f'{self.path}["{step}"]'
        return Faults(self.found, path, self.source)

    def add(self, reason: str, message: str, *, text: str = "", offset: int = 0) -> None:
        """Note one fault about the place at hand."""
        self.found.append(
            Fault(
                reason=reason,
                path=self.path,
                message=message,
                text=text,
                offset=offset,
                source=self.source,
            )
        )


def end_of(text: str, start: int) -> int:
    """Where an expression that begins at *start* ends: at its ``}``, or with the text.

    Brackets are counted, and texts inside of it are skipped.
    """
    depth, position, quote = 0, start, ""
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    return len(text)

"""``explain``: what may be written, from the contracts' own comments. Needs no service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli import completion

if TYPE_CHECKING:
    from google.protobuf import descriptor_pb2


def explain(
    path: Annotated[
        str | None,
        typer.Argument(
            help="Kind, or a field of it: component.endpoints.port",
            autocompletion=completion.fields,
        ),
    ] = None,
) -> None:
    """Explain a kind or a field. Without a path: the kinds.

    Example: cellplane explain component.endpoints
    """
    from cellplane.cli.contract import Contract

    contract = Contract.load()
    for line in _kinds(contract) if path is None else _path(contract, path):
        print(line)


def _kinds(contract: Any) -> Iterator[str]:
    from cellplane.cli.kinds import all_kinds, short_names
    from cellplane.cli.render.output import table

    rows = []
    for kind in all_kinds():
        comment = contract.comment(kind.descriptor.full_name)
        first = " ".join(comment.split()).split(". ")[0].split(":")[0].rstrip(".")
        documents = "yes" if kind.applicable else ""
        rows.append((kind.singular, ",".join(short_names(kind)), documents, first))
    yield from table(("KIND", "SHORT", "DOCUMENTS", "WHAT IT IS"), rows)


def _path(contract: Any, path: str) -> Iterator[str]:
    from cellplane.cli.kinds import of_noun

    noun, *steps = path.split(".")
    kind = of_noun(noun)
    name = kind.descriptor.full_name
    trail = kind.name
    field: descriptor_pb2.FieldDescriptorProto | None = None
    for step in steps:
        found = _step(contract, name, step, trail)
        field = found
        trail = f"{trail}.{found.json_name}"
        name = found.type_name.removeprefix(".")
    if field is None:
        yield f"{kind.name}: {kind.form}"
        yield ""
        yield from _wrapped(contract.comment(name), "  ")
    else:
        parent = contract.parent_of(field)
        yield f"{trail}: {contract.type_words(field)}{_flags(contract, field)}"
        yield ""
        yield from _wrapped(contract.comment(f"{parent}.{field.name}"), "  ")
    yield from _inside(contract, name)


def _step(contract: Any, name: str, step: str, trail: str) -> Any:
    import difflib

    from cellplane.cli.exits import usage

    plain = step.split("[", maxsplit=1)[0]
    fields = contract.fields(name)
    for field in fields:
        if plain in (field.name, field.json_name):
            return field
    words = [field.json_name for field in fields]
    if not words:
        raise usage(f"{trail} is one value: it has no fields")
    close = difflib.get_close_matches(plain, words, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"it has {', '.join(words)}"
    raise usage(f'{trail} has no field "{step}": {hint}')


def _inside(contract: Any, name: str) -> Iterator[str]:
    """Fields of a message, or values of an enum."""
    values = contract.values(name)
    if values:
        yield ""
        yield "Values:"
        for word, comment in values:
            yield f"  {word}"
            yield from _wrapped(comment, "    ")
    fields = contract.fields(name)
    if not fields:
        return
    yield ""
    yield "Fields:"
    for field in fields:
        yield f"  {field.json_name}: {contract.type_words(field)}{_flags(contract, field)}"
        yield from _wrapped(contract.comment(f"{name}.{field.name}"), "    ")


def _flags(contract: Any, field: Any) -> str:
    words = contract.behaviors(field)
    return f" ({', '.join(words)})" if words else ""


def _wrapped(text: str, indent: str) -> Iterator[str]:
    import shutil
    import textwrap

    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield from textwrap.wrap(
                " ".join(paragraph.split()),
                width=width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )

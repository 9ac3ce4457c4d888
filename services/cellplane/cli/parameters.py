"""Values of the command line's parameters, read without the library that typer reads them with.

That library costs more to import than all else that ``--help`` needs, and typer imports it for a
parameter that nobody gave. A type that ``_reader`` has no reader of is left to typer.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from typer import BadParameter

_YES, _NO = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")


class _Plain:
    """Reads the values of one parameter; takes the place of typer's own reader."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[Any], object]) -> None:
        self._read = read

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        """The value that the command gets; none given is ``None``, or empty where many may be."""
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        try:
            return [self._read(one) for one in value] if many else self._read(value)
        except ValueError as error:
            raise BadParameter(str(error), ctx=ctx, param=param) from None


def quicken(command: Any, context: Any) -> None:
    """Give every parameter of *command*, and of the commands in it, a reader of ours."""
    for parameter in command.get_params(context):
        read_here(parameter)
    for inner in getattr(command, "commands", {}).values():
        quicken(inner, context)


def read_here(parameter: Any) -> None:
    """Read the values of one parameter here, if its type is one that can be."""
    described = parameter.type_descriptor
    annotation = described.annotation
    if get_origin(annotation) is list:
        (annotation,) = get_args(annotation)
    read = _reader(annotation, described.parameter_info)
    if read is not None:
        parameter._runtime_param = _Plain(read)


def _reader(annotation: Any, info: Any) -> Callable[[Any], object] | None:
    if info.parser is not None or not isinstance(annotation, type):
        return None
    if issubclass(annotation, Enum):
        return partial(_choice, annotation)
    if annotation is int:
        return partial(_number, info.min, info.max)
    return _READERS.get(annotation)


def _choice(options: type[Enum], value: object) -> Enum:
    if isinstance(value, options):
        return value
    found = next((option for option in options if option.value == value), None)
    if found is None:
        raise ValueError(f'"{value}" is not one of {", ".join(str(o.value) for o in options)}')
    return found


def _number(least: float | None, most: float | None, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise ValueError(f'"{value}" is not a whole number') from None
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(f"{number} is not between {least} and {most}")
    return number


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in (*_YES, *_NO):
        raise ValueError(f'"{value}" is neither true nor false')
    return word in _YES


_READERS: Final[dict[type, Callable[[Any], object]]] = {str: str, bool: _truth, Path: Path}

"""Kubernetes quantities, so that ``1000m`` and ``1`` are the same.

Source: apimachinery's ``resource.Quantity`` (decimal and binary suffixes, decimal exponents).
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

_FORM: Final = re.compile(
    r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?"
)
_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
}


def parse(text: object) -> Decimal | None:
    """Read a quantity; ``None`` if it is none."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return None
    found = _FORM.fullmatch(str(text).strip())
    if found is None:
        return None
    number, suffix = found.group(1), found.group(2) or ""
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    return Decimal(number + suffix)


def millis(text: object) -> int:
    """A quantity in thousandths, rounded up; 0 for what is none."""
    value = parse(text)
    return 0 if value is None else math.ceil(value * 1000)


def whole(text: object) -> int:
    """A quantity in whole units, rounded up; 0 for what is none."""
    value = parse(text)
    return 0 if value is None else math.ceil(value)

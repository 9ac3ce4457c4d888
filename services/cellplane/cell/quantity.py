"""Kubernetes' quantities, exactly, as far as the contract lets them be written."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|[KMGT]i?)?")
_FACTORS: Final = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000 ** (i + 1)) for i, unit in enumerate("KMGT")},
    **{f"{unit}i": Fraction(1024 ** (i + 1)) for i, unit in enumerate("KMGT")},
}


def _value(text: str) -> Fraction:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a quantity')
    return Fraction(match[1]) * _FACTORS[match[2] or ""]


def milli_of(text: str) -> Fraction:
    """Processor time in thousandths of a core; raises ValueError for other text."""
    return _value(text) * 1000


def bytes_of(text: str) -> Fraction:
    """Memory in bytes; raises ValueError for other text."""
    return _value(text)


def is_quantity(text: str) -> bool:
    """Tell whether *text* can be read."""
    return _QUANTITY.fullmatch(text) is not None

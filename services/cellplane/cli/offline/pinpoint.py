"""Where in a file the character of a text is, however YAML writes that text.

A text may be plain, quoted, folded or a block: what is known is where it begins, and what it says.
The hole that is meant is counted from there, then the word inside of it.
"""

from __future__ import annotations

import re
from pathlib import Path

from cellplane.cli.documents.places import Place
from cellplane.model.template.findings import Fault

_WORD = re.compile(r"\w+|\S")


def pinpoint(place: Place, fault: Fault) -> str:
    """``file:line:column`` of what is wrong; of the field, where nothing more is known."""
    plain = f"{place.file}:{place.line}:{place.column}" if place.line else place.file
    path = Path(place.file)
    if not fault.text or not place.line or not path.is_file():
        return plain
    source = path.read_text(encoding="utf-8-sig")
    lines = source.splitlines(keepends=True)
    at = sum(map(len, lines[: place.line - 1])) + place.column - 1
    begin, offset = 0, fault.offset
    hole = fault.text.rfind("${", 0, offset + 1)
    if hole >= 0:
        for _ in range(fault.text.count("${", 0, hole + 1)):
            at = source.find("${", at) + 2
            if at < 2:
                return plain
        begin = hole + 2
    else:
        # A field that is an expression as a whole: behind its key.
        at = source.find(":", at) + 1
    word = _WORD.search(fault.text, max(offset, begin))
    if word is None:
        return plain
    before = len(re.findall(re.escape(word.group()), fault.text[begin : word.start()]))
    for _ in range(before + 1):
        found = source.find(word.group(), at)
        if found < 0:
            return plain
        at = found + len(word.group())
    at -= len(word.group())
    line = source.count("\n", 0, at)
    return f"{place.file}:{line + 1}:{at - (source.rfind(chr(10), 0, at) + 1) + 1}"

"""Examples of types: documents in a folder ``examples`` beside them, with what they become.

``examples/small.yaml`` becomes ``examples/small.expected.yaml``; one that is wrong on purpose
becomes the findings in ``examples/small.expected.txt``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellplane.cell.plane import DataPlaneProfile
from cellplane.cli.documents.load import Document, load
from cellplane.cli.exits import usage
from cellplane.cli.offline import cells
from cellplane.cli.offline.rendering import PLANE, in_full, outcomes, vetted
from cellplane.model.domain.resources import ComponentType, Trait

_FOLDER: Final = "examples"
_SUFFIXES: Final = (".yaml", ".yml")
_EXPECTED: Final = (".expected.yaml", ".expected.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetted:
    """What vetting found."""

    types: int
    traits: int
    examples: int
    findings: Sequence[str]
    written: Sequence[Path] = ()


def vet(
    paths: Sequence[Path], organization: str, plane: DataPlaneProfile | None, *, update: bool
) -> Vetted:
    """Check types and traits, and their examples."""
    files = sorted({file for path in paths for file in _definitions(path)})
    if not files:
        raise usage(f"no types: {', '.join(map(str, paths))} has no YAML file outside of examples")
    documents = load([str(file) for file in files], organization)
    world = cells.World(documents)
    findings = list(vetted(world))
    examples = sorted({file for path in paths for file in _examples(path)})
    written: list[Path] = []
    if not findings:
        for file in examples:
            found, changed = _run(file, documents, organization, plane or PLANE, update=update)
            findings += found
            written += changed
    return Vetted(
        types=len(world.of(ComponentType)),
        traits=len(world.of(Trait)),
        examples=len(examples),
        findings=findings,
        written=written,
    )


def _definitions(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise usage(f"{path} is neither a file nor a folder")
    for file in path.rglob("*"):
        if file.suffix in _SUFFIXES and _FOLDER not in file.relative_to(path).parts[:-1]:
            yield file


def _examples(path: Path) -> Iterator[Path]:
    root = path.parent / _FOLDER if path.is_file() else path
    for file in root.rglob("*"):
        if (
            file.suffix in _SUFFIXES
            and file.parent.name == _FOLDER
            and not file.name.endswith(_EXPECTED)
        ):
            yield file


def _run(
    file: Path,
    definitions: Sequence[Document],
    organization: str,
    plane: DataPlaneProfile,
    *,
    update: bool,
) -> tuple[list[str], list[Path]]:
    world = cells.World([*definitions, *load([str(file)], organization)])
    wrong = list(cells.check(world))
    named = next(iter(cells.environments(world)), "development")
    found = [] if wrong else list(outcomes(world, named, plane))
    refused = [in_full(finding) for finding in wrong] or [f for o in found for f in o.findings]
    if not refused and not found:
        return [f"{file}: has no component: write one that has the type"], []
    text = (
        "".join(f"{_bare(line, file)}\n" for line in refused)
        if refused
        else "---\n".join(outcome.text for outcome in found)
    )
    stem = file.with_suffix("")
    wanted, other = (Path(f"{stem}{suffix}") for suffix in _EXPECTED)
    if refused:
        wanted, other = other, wanted
    before = wanted.read_text(encoding="utf-8") if wanted.is_file() else None
    if before == text and not other.is_file():
        return [], []
    if update:
        wanted.write_text(text, encoding="utf-8")
        other.unlink(missing_ok=True)
        return [], [wanted]
    if refused and before is None:
        return refused, []
    if before is None:
        return [f"{file}: has no {wanted.name}: --update writes it"], []
    diff = difflib.unified_diff(
        before.splitlines(), text.splitlines(), str(wanted), "what it becomes", lineterm=""
    )
    return [f"{file}: becomes something else than {wanted.name} says", *diff], []


def _bare(line: str, file: Path) -> str:
    """A finding with its place as seen from the example: the same wherever the folder is."""
    parts = line.split(":", 1)
    path = Path(parts[0])
    return f"{os.path.relpath(path, file.parent)}:{parts[1]}" if path.is_file() else line

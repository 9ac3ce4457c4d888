"""An archive: a zip of rows, one file for each table, with a manifest of what there must be.

A restore checks every digest before it touches anything, and again on what it has written, before
that holds; and it begins only where all databases may be written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cellplane.backup import rows
from cellplane.backup.database import VERSIONS, Contents, reading, refuse, writing
from cellplane.backup.plan import GAP, Place
from cellplane.cell.problem import FailedPrecondition, Invalid
from cellplane.runtime.files import write_atomic

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_CHUNK: Final = 500


def create(target: Path, places: Sequence[Place]) -> dict[str, Any]:
    """Write an archive of all databases, which may be in use; answers its manifest.

    Raises:
        FailedPrecondition: the file is there already.
        NotFound: a service has no database where it is said to be.
    """
    if target.exists():
        raise FailedPrecondition(
            f"{target} is there already: choose another name", reason="BACKUP_EXISTS"
        )
    part = target.with_name(f"{target.name}.part")
    # It holds keys and secrets: it is for its user alone from the first byte.
    with (
        contextlib.closing(
            io.FileIO(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+")
        ) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        services = {place.service.name: _save(archive, place) for place in places}
        manifest = {
            "format": FORMAT,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "services": services,
        }
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=2))
        archive.close()
        os.fsync(file.fileno())
    part.replace(target)
    return manifest


def restore(source: Path, places: Sequence[Place], *, force: bool) -> dict[str, Any]:
    """Put all databases of an archive back; answers its manifest.

    Raises:
        Invalid: the archive is damaged, or none.
        FailedPrecondition: something is there already, or in use, or of a later version.
    """
    with _opened(source) as archive:
        manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
        _check(archive, manifest, places)
        for place in places:
            refuse(place, force=force)
        for place in places:
            _load(archive, manifest["services"][place.service.name], place)
    return manifest


def _save(archive: zipfile.ZipFile, place: Place) -> dict[str, Any]:
    name = place.service.name
    with reading(place) as contents:
        tables = {t: _save_table(archive, contents, name, t) for t in _tables(contents)}
        saved = {
            "revisions": contents.revisions(),
            "counters": contents.counters(),
            "tables": tables,
        }
    for folder in place.service.folders:
        for file in sorted((place.state / folder).rglob("*")):
            if file.is_file():
                archive.write(file, f"{name}/files/{file.relative_to(place.state)}")
    return saved


def _tables(contents: Contents) -> list[str]:
    return [t for t in contents.tables if t != VERSIONS]


def _save_table(
    archive: zipfile.ZipFile, contents: Contents, service: str, table: str
) -> dict[str, Any]:
    digest = rows.Digest()
    with archive.open(f"{service}/{table}.jsonl", "w", force_zip64=True) as out:
        for row in contents.rows(table):
            line = rows.write(row)
            digest.add(line)
            out.write(line + b"\n")
    return {"columns": contents.columns(table), "rows": digest.count, "digest": digest.text}


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except FileNotFoundError:
        raise Invalid(f"{source} does not exist", reason="BACKUP_NOT_FOUND") from None
    except (zipfile.BadZipFile, KeyError) as error:
        raise Invalid(f"{source} is no whole backup: {error}", reason="BACKUP_DAMAGED") from error


def _check(archive: zipfile.ZipFile, manifest: dict[str, Any], places: Sequence[Place]) -> None:
    if manifest["format"] > FORMAT:
        raise FailedPrecondition(
            "the backup is of a later version: restore it with that one", reason="BACKUP_TOO_NEW"
        )
    for place in places:
        saved = manifest["services"][place.service.name]
        for table, kept in saved["tables"].items():
            digest = rows.Digest()
            for line in _lines(archive, place, table):
                digest.add(line)
            if (digest.count, digest.text) != (kept["rows"], kept["digest"]):
                raise _damaged(place, table)


def _lines(archive: zipfile.ZipFile, place: Place, table: str) -> Iterator[bytes]:
    with archive.open(f"{place.service.name}/{table}.jsonl") as lines:
        for line in lines:
            yield line.rstrip(b"\n")


def _load(archive: zipfile.ZipFile, saved: dict[str, Any], place: Place) -> None:
    service = place.service
    with writing(place, saved["revisions"]) as contents:
        contents.empty()
        for table, kept in saved["tables"].items():
            chunk: list[list[Any]] = []
            for line in _lines(archive, place, table):
                chunk.append(rows.read(line))
                if len(chunk) == _CHUNK:
                    contents.fill(table, kept["columns"], chunk)
                    chunk = []
            contents.fill(table, kept["columns"], chunk)
            _verify(contents, place, table, kept)
        for table, last in saved["counters"].items():
            contents.count_on(table, last + GAP)
        for table, columns in service.raised.items():
            for column in columns:
                contents.raise_numbers(table, column)
    _load_files(archive, place)


def _verify(contents: Contents, place: Place, table: str, kept: dict[str, Any]) -> None:
    digest = rows.Digest()
    for row in contents.rows(table):
        digest.add(rows.write(row))
    if (digest.count, digest.text) != (kept["rows"], kept["digest"]):
        raise _damaged(place, table)


def _load_files(archive: zipfile.ZipFile, place: Place) -> None:
    prefix = f"{place.service.name}/files/"
    for name in archive.namelist():
        inside = Path(name.removeprefix(prefix))
        if not name.startswith(prefix) or inside.is_absolute() or ".." in inside.parts:
            continue
        target = place.state / inside
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(target, archive.read(name))


def _damaged(place: Place, table: str) -> Invalid:
    return Invalid(
        f"table {table} of service {place.service.name} is not what the backup says: take another "
        "backup",
        reason="BACKUP_DAMAGED",
    )

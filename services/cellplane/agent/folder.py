"""The target that is a folder: one file for each object, as people keep them in Git.

``<folder>/<namespace>/<NN-phase>/<kind>-<name>.yaml``; each file is replaced whole or not at all.
What lies there and is not of a Cell is never touched. Whoever applies the files knows how the
objects are; here they are ready as soon as they are written.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cellplane.agent import drift
from cellplane.agent.health import ObjectHealth
from cellplane.agent.objects import Outcome, Wanted
from cellplane.agent.target import Attempt, Body, Facts, Observer, Prior, Removed
from cellplane.cell import labels
from cellplane.cell.condition import Health
from cellplane.cell.manifest import PHASE_ORDER, ObjectKey, Phase
from cellplane.runtime.files import write_atomic

_UID: Final = ".cellplane-uid"
_CLUSTER: Final = "_cluster"


class FolderTarget:
    """A folder that Cells are kept in."""

    exact = True

    def __init__(self, root: Path, facts: Facts) -> None:
        self._root = root
        self._facts = facts
        self._version = 0
        self._paths: dict[ObjectKey, Path] = {}
        self._observer: Observer | None = None
        self._kinds: set[tuple[str, str]] = set()
        self._scanned = False

    async def uid(self) -> str:
        """Kept in the folder, so that it moves with it."""
        path = self._root / _UID
        if not path.exists():
            write_atomic(path, f"{uuid.uuid4()}\n".encode(), mode=0o644)
        return path.read_text().strip()

    async def run(self, observer: Observer) -> None:
        """Look at every file once; then nothing happens by itself."""
        found = await asyncio.to_thread(self._scan)
        for key, body in found.items():
            observer.object_seen(key, body)
        self._scanned, self._observer = True, observer
        observer.pods_listed(())
        self._tell_listed(self._kinds)
        observer.facts_changed(self._facts)
        await asyncio.Event().wait()

    def follow(self, kinds: Collection[tuple[str, str]]) -> None:
        """Tell of these kinds, too."""
        new = set(kinds) - self._kinds
        self._kinds |= new
        if self._scanned:
            self._tell_listed(new)

    def health(self, body: Body) -> ObjectHealth:
        """Ready once it is written."""
        replicas = (body.get("spec") or {}).get("replicas", 0)
        return ObjectHealth(
            health=Health.READY, replicas=replicas if isinstance(replicas, int) else 0
        )

    async def prior(self, cell: str, wanted: Sequence[Wanted]) -> Mapping[ObjectKey, Prior]:
        """Look whether a file is there."""
        return await asyncio.to_thread(
            lambda: {each.key: self._whose(cell, each) for each in wanted}
        )

    async def apply(self, wanted: Wanted, *, force: bool, before: int) -> Attempt:
        """Write the file, unless it says the same."""
        del force
        return await asyncio.to_thread(self._write, wanted, before)

    async def replace(self, wanted: Wanted, live: Body) -> Attempt:
        """Write the file."""
        del live
        return await asyncio.to_thread(self._write, wanted, 0)

    async def remove(self, cell: str, key: ObjectKey) -> tuple[Removed, str]:
        """Delete the file if it is of this Cell, and folders that are empty then."""
        return await asyncio.to_thread(self._unlink, cell, key)

    async def log_lines(self, namespace: str, pod: str, container: str) -> tuple[str, ...]:
        """Nobody knows."""
        del namespace, pod, container
        return ()

    def _write(self, wanted: Wanted, before: int) -> Attempt:
        path = self._place(wanted)
        manifest = drift.parse(wanted.content)
        text = _render(manifest)
        try:
            old = self._paths.get(wanted.key)
            known = path.read_bytes() if path.exists() else None
            if known != text:
                write_atomic(path, text, mode=0o644)
            if old is not None and old != path:
                self._drop(old)
        except OSError as error:
            return Attempt(outcome=Outcome.FAILED, message=f"{path.name}: {error.strerror}")
        self._paths[wanted.key] = path
        if known is None:
            outcome = Outcome.CREATED
        else:
            outcome = Outcome.SAME if known == text and before else Outcome.CHANGED
        return Attempt(outcome=outcome, live=self._seen(manifest))

    def _unlink(self, cell: str, key: ObjectKey) -> tuple[Removed, str]:
        path = self._paths.get(key) or self._find(key)
        if path is None or not path.exists():
            return Removed.GONE, ""
        body = _read(path)
        if body is None or _owner(body) != cell:
            return Removed.NOT_OURS, f"{path.name} is not of this Cell: left alone"
        try:
            self._drop(path)
        except OSError as error:
            return Removed.FAILED, f"{path.name}: {error.strerror}"
        self._paths.pop(key, None)
        return Removed.GONE, ""

    def _drop(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            if folder != self._root:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _whose(self, cell: str, wanted: Wanted) -> Prior:
        path = self._place(wanted)
        if not path.exists():
            return Prior.ABSENT
        body = _read(path)
        if body is None or _owner(body) != cell:
            return Prior.TAKEN
        return Prior.OURS

    def _scan(self) -> dict[ObjectKey, dict[str, Any]]:
        found: dict[ObjectKey, dict[str, Any]] = {}
        for path in sorted(self._root.glob("*/*/*.yaml")):
            body = _read(path)
            if body is None or not _owner(body):
                continue
            try:
                metadata = body["metadata"]
                key = ObjectKey(
                    api_version=body["apiVersion"],
                    kind=body["kind"],
                    namespace=metadata.get("namespace", ""),
                    object=metadata["name"],
                )
            except (KeyError, TypeError):
                structlog.get_logger().warning("folder.strange_file", file=path.name)
                continue
            self._paths[key] = path
            found[key] = self._seen(body)
        return found

    def _seen(self, body: dict[str, Any]) -> dict[str, Any]:
        """The object, with a version that counts what was done here."""
        self._version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self._version)}
        return {**body, "metadata": metadata}

    def _tell_listed(self, kinds: Collection[tuple[str, str]]) -> None:
        if self._observer is None:
            return
        for api_version, kind in sorted(kinds):
            present = [k for k in self._paths if (k.api_version, k.kind) == (api_version, kind)]
            self._observer.objects_listed(api_version, kind, present, self._version)

    def _place(self, wanted: Wanted) -> Path:
        return self._path(wanted.key, wanted.phase)

    def _path(self, key: ObjectKey, phase: Phase) -> Path:
        namespace = key.object if key.kind == "Namespace" else key.namespace or _CLUSTER
        stage = f"{PHASE_ORDER[phase]:02d}-{phase.value.lower()}"
        return self._root / namespace / stage / f"{key.kind.lower()}-{key.object}.yaml"

    def _find(self, key: ObjectKey) -> Path | None:
        return next((p for phase in Phase if (p := self._path(key, phase)).exists()), None)


def _render(manifest: Mapping[str, Any]) -> bytes:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 100
    buffer = io.BytesIO()
    yaml.dump(dict(manifest), buffer)
    return buffer.getvalue()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body = YAML(typ="safe", pure=True).load(path.read_bytes())
    except (YAMLError, OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _owner(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return ""
    annotations = metadata.get("annotations")
    return str(annotations.get(labels.OWNER, "")) if isinstance(annotations, Mapping) else ""

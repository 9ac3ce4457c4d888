"""Container images without a registry: an archive as ``docker save`` writes it, of one program.

The same bytes for the same program, so that an image has the same identity on every node.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAUSE = "sandbox.cellplane/pause:1"
"""What holds a pod's namespaces."""
PROBE = "sandbox.cellplane/probe:1"
"""What listens and connects in pods."""

_ARCHITECTURES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}


def write(program: Path, names: Sequence[str], to: Path) -> None:
    """Write the image of a static program that does what the name of its file says.

    In it the program lies at ``/`` under its own name, which starts it with the arguments of the
    pod, and as ``/pause``, which is what runs where none are given.
    """
    layer = _archive({program.name: program.read_bytes()}, links={"pause": program.name})
    identity = hashlib.sha256(layer).hexdigest()
    config = _json(
        {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{identity}"]},
        }
    )
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    layer_name = f"{identity}/layer.tar"
    manifest = _json([{"Config": config_name, "RepoTags": [*names], "Layers": [layer_name]}])
    to.write_bytes(_archive({config_name: config, layer_name: layer, "manifest.json": manifest}))


def _archive(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.type, entry.linkname = 0o755, tarfile.LNKTYPE, target
            archive.addfile(entry)
    return written.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

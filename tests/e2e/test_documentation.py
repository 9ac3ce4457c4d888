"""Every example of the documentation is run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Plane

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Each page with its commands, in one script."""
    found = []
    for page in PAGES:
        commands = [
            # `diff` tells by its exit code whether there is a difference: either is an answer.
            line[2:] + (" || test $? -eq 8" if line.startswith("$ cellplane diff") else "")
            for block in BLOCK.findall(page.read_text())
            for line in block.splitlines()
            if line.startswith("$ ")
        ]
        if commands:
            found.append((str(page.relative_to(ROOT)), "\n".join(commands)))
    return found


@pytest.mark.parametrize(("page", "commands"), examples(), ids=[page for page, _ in examples()])
def test_the_examples_of_a_page_work(
    plane: Plane, tmp_path: Path, page: str, commands: str
) -> None:
    """The commands of a page succeed one after another, on a control plane that `up` brought up."""
    script = tmp_path / "page.sh"
    layout = plane.layout
    moved = commands.replace(".cellplane/", f"{layout.root}/")
    for service in range(9601, 9608):
        moved = moved.replace(f":{service}", f":{layout.base_port + service - 9600}")
    script.write_text(f"shopt -s expand_aliases\nset -euo pipefail\n{moved}\n")
    environment = {
        **os.environ,
        "CELLPLANE_STATE": str(layout.root),
        "PATH": f"{plane.grpcurl.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", str(script)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, f"{page}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

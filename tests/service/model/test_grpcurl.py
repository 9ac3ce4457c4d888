"""The model as an operator meets it with the real grpcurl: docs/api.md, command by command."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import pytest_asyncio

from cellplane.sandbox.build import Tool, build
from tests.service.model.world import Api

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARK = "==== step"
_FIELDS = r"uid|etag|\w+Time|resumeToken|nextPageToken|request_id|latestRelease"
VOLATILE = (
    (re.compile(rf'"({_FIELDS})": ".*"'), r'"\1": …'),
    (re.compile(r"o-[0-9a-f]{20}"), "o-…"),
    # Whoever notices first that the time is over, says so.
    (re.compile(r"context deadline exceeded"), "Deadline Exceeded"),
    (re.compile(r"\t"), "    "),
    (re.compile(r"r-[0-9a-f]{10}"), "r-…"),
    (re.compile(r"\s+$", re.MULTILINE), ""),
)


def steps() -> list[tuple[str, str]]:
    """Each command of the page with the answer that is shown."""
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall(PAGE.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = part.partition("\n")
            found.append((command, answer))
    return found


def plain(answer: str) -> str:
    """An answer without what differs from run to run."""
    for pattern, mask in VOLATILE:
        answer = pattern.sub(mask, answer)
    return answer.strip()


@pytest_asyncio.fixture
async def grpcurl() -> Path:
    """The real grpcurl, built once."""
    return (await build([Tool.GRPCURL]))[Tool.GRPCURL]


@pytest.mark.asyncio
async def test_the_page_shows_what_is_answered(shop: Api, grpcurl: Path) -> None:
    """Create, list with a filter, update with a mask, watch and resume, wrong fields, a stale
    etag, a delete with children: each answer is the one on the page."""
    script = ["shopt -s expand_aliases", "set -euo pipefail"]
    for command, _ in steps():
        moved = command.replace(".cellplane/pki/", f"{shop.pki}/")
        script += [f"echo '{MARK}'", moved.replace("127.0.0.1:9601", shop.target)]
    path = shop.pki / "page.sh"
    path.write_text("\n".join(script))
    process = await asyncio.create_subprocess_exec(
        "bash",
        str(path),
        env={"PATH": f"{grpcurl.parent}:/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    answers = out.decode().split(f"{MARK}\n")[1:]
    assert process.returncode == 0, out.decode()[-3000:]
    assert len(answers) == len(steps())
    for (command, shown), answer in zip(steps(), answers, strict=True):
        assert plain(answer) == plain(shown), command

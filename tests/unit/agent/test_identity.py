"""What an agent takes for its identity, of what it finds in its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cellplane.agent.join import load
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.pki import Authority


def folder_of(path: Path) -> tuple[Path, str]:
    """A folder as joining leaves it, and the digest of its authority."""
    authority = Authority.create("agents")
    pair = authority.issue(uri="spiffe://test/organizations/acme/dataPlanes/uid")
    (path / "authority.crt").write_bytes(authority.cert_pem)
    (path / "agent.pem").write_bytes(pair.key_pem + pair.cert_pem)
    about = {"data_plane": "organizations/acme/dataPlanes/east", "link_address": "localhost:1"}
    (path / "identity.json").write_text(json.dumps(about))
    return path, authority.digest()


def test_what_joining_left_is_taken(tmp_path: Path) -> None:
    """Name and address of an earlier join, while its certificate holds."""
    folder, digest = folder_of(tmp_path)
    found = load(folder, authority_digest=digest, clock=SystemClock())
    assert found is not None
    assert found.plane == "east"


@pytest.mark.parametrize("name", ["authority.crt", "agent.pem", "identity.json"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_case_26_without_a_readable_authority_there_is_no_identity(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    """A file that is missing, empty or broken is never made up for: the agent has to join."""
    folder, digest = folder_of(tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    for expected in (digest, ""):
        assert load(folder, authority_digest=expected, clock=SystemClock()) is None


def test_another_authority_than_the_one_that_is_meant_is_not_trusted(tmp_path: Path) -> None:
    """The digest that the agent was started with decides."""
    folder, _ = folder_of(tmp_path)
    other = Authority.create("other").digest()
    assert load(folder, authority_digest=other, clock=SystemClock()) is None

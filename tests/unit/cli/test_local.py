"""A control plane on this machine: its folder, its ports, its journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellplane.cli.local import credentials
from cellplane.cli.local.layout import FOLDER_NAME, SERVICES, Layout, find_state
from cellplane.cli.local.progress import Journal, Step, follow


def test_every_address_is_on_loopback_and_different(tmp_path: Path) -> None:
    """No two listeners share a port, and none is open to the network."""
    layout = Layout(root=tmp_path, base_port=30000)
    addresses = [layout.link_address, layout.join_address]
    for service in SERVICES:
        addresses += [
            layout.address(service),
            layout.admin_address(service),
            layout.channelz_address(service),
        ]

    assert len(addresses) == len(set(addresses))
    assert {"127.0.0.1"} == {address.rpartition(":")[0] for address in addresses}


def test_the_state_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line finds the control plane of the folder that it is run in."""
    monkeypatch.delenv("CELLPLANE_STATE", raising=False)
    (tmp_path / FOLDER_NAME).mkdir()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)

    assert tmp_path / FOLDER_NAME == find_state(deep)


def test_the_profile_tells_the_ports_again(tmp_path: Path) -> None:
    """Who knows the folder of a control plane knows its ports."""
    layout = Layout(root=tmp_path, base_port=31000)
    credentials.ensure(layout, organization="acme")

    assert layout == Layout.existing(tmp_path)


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    """A second `up` keeps every certificate, and no key is readable by others."""
    layout = Layout(root=tmp_path)
    credentials.ensure(layout, organization="acme")
    first = {path.name: path.read_bytes() for path in layout.pki.iterdir()}
    credentials.ensure(layout, organization="acme")

    assert first == {path.name: path.read_bytes() for path in layout.pki.iterdir()}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in layout.pki.glob("*.key")}


@pytest.mark.asyncio
async def test_a_journal_is_read_to_its_end(tmp_path: Path) -> None:
    """A reader gets every event in order, and ends with the last one."""
    journal = Journal(tmp_path / "progress.jsonl")
    journal.write(Step.DOING, "starting")
    journal.write(Step.READY, "done")

    found = [event.text async for event in follow(tmp_path / "progress.jsonl", lambda: True)]

    assert ["starting", "done"] == found


@pytest.mark.asyncio
async def test_a_dead_writer_ends_the_reader(tmp_path: Path) -> None:
    """A supervisor that dies while coming up does not leave its reader waiting."""
    journal = Journal(tmp_path / "progress.jsonl")
    journal.write(Step.DOING, "starting")

    found = [event.text async for event in follow(tmp_path / "progress.jsonl", lambda: False)]

    assert ["starting"] == found

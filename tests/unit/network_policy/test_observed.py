"""Denied flows as findings: what Hubble wrote, held against the samples."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cellplane.cli.documents.load import load
from cellplane.cli.offline import cells as offline
from cellplane.cli.offline import planes
from cellplane.network_policy.compiler.observed import Finding, denied, findings

SAMPLES = Path(__file__).parents[3] / "samples"
FLOWS = Path(__file__).with_name("flows.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    """What the flows mean for the samples."""
    plane = planes.load(SAMPLES / "planes" / "cilium.yaml")
    folders = [str(SAMPLES / name) for name in ("platform", "boutique", "payments")]
    world = offline.World(load(folders, plane.organization))
    cells = [cell for cell, _ in offline.cells(world, "development")]
    return findings(cells, denied(FLOWS))


def test_each_denied_connection_is_one_finding(found: tuple[Finding, ...]) -> None:
    """Replies, forwarded flows, other protocols and what is no flow at all are passed over."""
    told = [(f.component, f.reason, f.destination, f.port) for f in found]

    assert told == [
        ("adservice", "UNDECLARED_CONNECTION", "boutique/cartservice", 7070),
        ("frontend", "NOT_DECLARABLE", "169.254.169.254", 80),
        ("frontend", "UNDECLARED_CONNECTION", "api.stripe.com", 443),
        ("frontend", "NO_ENDPOINT", "boutique/cartservice", 9),
        ("frontend", "UNDECLARED_CONNECTION", "payments/charge", 50051),
    ]


def test_the_same_connection_counts_up(found: tuple[Finding, ...]) -> None:
    """Two flows that mean the same are one finding with the times of the first and the last."""
    first = found[0]

    assert first.flow_count == 2
    assert first.first_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert first.last_time == datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC)


def test_every_snippet_is_a_connection_that_the_model_takes(
    found: tuple[Finding, ...], tmp_path: Path
) -> None:
    """A snippet put into a component's document is read without a finding."""
    for index, finding in enumerate(f for f in found if f.snippet):
        document = YAML(typ="safe").load(
            (SAMPLES / "boutique" / f"{finding.component}.yaml").read_text(encoding="utf-8")
        )
        snippet = YAML(typ="safe").load(finding.snippet)
        document["connections"] = snippet["connections"]
        path = tmp_path / f"{index}.yaml"
        with path.open("w", encoding="utf-8") as out:
            YAML(typ="safe").dump(document, out)

        (read,) = load([str(path)], "acme")
        assert len(read.resource.connections) == 1  # type: ignore[attr-defined]


def test_what_cannot_be_declared_has_no_snippet(found: tuple[Finding, ...]) -> None:
    """An address without a name, and a port without an endpoint, offer nothing to copy."""
    without = {f.reason for f in found if not f.snippet}

    assert without == {"NOT_DECLARABLE", "NO_ENDPOINT"}

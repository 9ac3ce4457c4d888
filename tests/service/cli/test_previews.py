"""Previews and the platform's rules from the command line, on services that run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.cli.conftest import SAMPLES, Answer

Run = Callable[..., Answer]


@pytest.mark.usefixtures("samples")
def test_a_preview_is_made_extended_and_ended(cellplane: Run) -> None:
    """A branch has an environment while its preview lives, and none afterwards."""
    made = cellplane(
        *("preview", "create", "boutique/pr-12", "--template", "development"),
        *("--image", "adservice=ghcr.io/acme/adservice:pr-12", "--ttl", "1h"),
        *("--request", "https://git.example.com/acme/boutique/pull/12"),
    )
    assert made.code == 0, made.err
    assert made.out.startswith("preview boutique/pr-12 lives until ")
    environment = made.out.split()[-1]
    listed = cellplane("preview", "list", "boutique")
    assert "https://git.example.com/acme/boutique/pull/12" in listed.out
    cell = json.loads(cellplane("get", "cell", f"boutique/{environment}", "-o", "json").out)
    assert not cell.get("problems")
    before = json.loads(cellplane("preview", "list", "boutique", "-o", "json").out)[0]
    assert cellplane("preview", "extend", "boutique/pr-12", "24h").code == 0
    after = json.loads(cellplane("preview", "list", "boutique", "-o", "json").out)[0]
    assert (before["ttl"], after["ttl"]) == ("3600s", "90000s")
    refused = cellplane("preview", "extend", "boutique/pr-12", "1000h")
    assert refused.code != 0
    assert "168h from their creation on" in refused.err
    wrong = cellplane("preview", "create", "boutique/x", "--template=development", "--image=ad")
    assert '"ad" is no image of a component: write cart=' in wrong.err
    assert (
        cellplane("preview", "delete", "boutique/pr-12").out == "preview boutique/pr-12 deleted\n"
    )
    assert cellplane("get", "environment", environment).code != 0
    assert cellplane("preview", "list").err == "no previews\n"


@pytest.mark.usefixtures("samples")
def test_rules_are_tried_before_they_are_set(cellplane: Run, tmp_path: Path) -> None:
    """Whoever would not keep them is told with the way out; nothing is stored."""
    kept = cellplane("rules", "check")
    assert (kept.code, kept.out) == (0, "")
    assert "components keep the rules" in kept.err
    document = tmp_path / "environment.yaml"
    document.write_text(
        "kind: Environment\nname: environments/development\nrules: {requiredLabels: [team]}\n"
    )
    tried = cellplane("rules", "check", "-f", document)
    assert tried.code == 1
    assert 'labels["team"]: label "team" is not set' in tried.out
    assert "boutique/development" in tried.out
    assert cellplane("rules", "check", "development").code == 0
    pipeline = cellplane("rules", "check", "-f", SAMPLES / "platform" / "pipeline.yaml")
    assert "no Organization and no Environment" in pipeline.err

"""The generic verbs on every kind there is, with its names completed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from cellplane.cli import completion
from cellplane.cli import profile as profiles
from cellplane.cli.engine import Client
from cellplane.cli.kinds import Kind, all_kinds
from cellplane.cli.main import app
from cellplane.cli.watch import watch
from tests.service.cli.conftest import Answer

Run = Callable[..., Answer]
_SINGLETONS = {"CellHealth", "Decision", "Rollout"}
"""Named by their Cell, so nothing lists them."""
_EMPTY = {
    "ComponentType",
    "ComponentTypeVersion",
    "Event",
    "Preview",
    "ResourceClaim",
    "ResourceType",
    "Rollout",
    "Trait",
    "TraitVersion",
}
"""What nothing here makes; later kinds come to this list, or are made."""
_DOCUMENTS = """
kind: Project
name: projects/kinds
deploymentPipeline: deploymentPipelines/standard
---
kind: Component
name: projects/kinds/components/guarded
componentKind: SERVICE
workload: {image: registry.example.com/guarded:1}
endpoints:
  - {endpoint: http, protocol: HTTP, port: 80, visibilities: [ORGANIZATION], requiresGrant: true,
     schema: {file: api.yaml}}
---
kind: SecretReference
name: projects/kinds/secretReferences/database
remoteKey: kinds/database
keys: [{key: password}]
---
kind: EventSubscription
name: eventSubscriptions/kinds
url: https://chat.example.com/hook
"""


@pytest.fixture
def everything(cellplane: Run, samples: None, folder: Path, tmp_path: Path) -> Iterator[None]:
    """Something of nearly every kind, for as long as a test runs."""
    (tmp_path / "api.yaml").write_text(
        "openapi: 3.1.0\ninfo: {title: T, version: 1.0.0}\npaths: {}\n"
    )
    (tmp_path / "more.yaml").write_text(_DOCUMENTS)
    for command in (
        ("apply", f"-f{tmp_path / 'more.yaml'}"),
        ("grant", "ask", "kinds/guarded", "http", "--for", "boutique"),
        ("promote", "kinds", "--from=development", "--to=staging"),
    ):
        done = cellplane(*command)
        assert done.code == 0, done.err
    yield
    for kind in ("project", "eventsubscription"):
        assert cellplane("delete", kind, "kinds", "--force").code == 0


def names_of(cellplane: Run, kind: Kind) -> list[str]:
    """Full names of all there are."""
    within: tuple[str, ...] = ()
    if kind.name in ("CellRevision", "Event"):
        within = ("paper",) if kind.name == "CellRevision" else ("boutique/development",)
    elif kind.name == "ResourceChange":
        within = ("organizations/acme",)
    found = cellplane("get", kind.plural, *within, "-o", "name")
    assert found.code == 0, (kind.name, found.err)
    return found.out.split()


@pytest.mark.usefixtures("everything")
def test_every_kind_is_got_described_and_completed(cellplane: Run) -> None:
    """By its plural and by a name, as a table, data and documents; its fields are explained."""
    seen = set()
    for kind in all_kinds():
        explained = cellplane("explain", kind.singular)
        assert (explained.code, bool(explained.out)) == (0, True), kind.name
        if kind.name in _SINGLETONS - _EMPTY:
            names = [f"organizations/acme/projects/boutique/cells/development/{kind.pattern[-1]}"]
        else:
            names = names_of(cellplane, kind) if "List" in kind.methods else []
        if not names:
            continue
        seen.add(kind.name)
        name = names[0]
        for output in ("table", "json", "yaml"):
            got = cellplane("get", kind.singular, name, "-o", output)
            assert (got.code, bool(got.out)) == (0, True), (kind.name, output, got.err)
        assert cellplane("get", f"{kind.singular}/{kind.short(name)}").code == 0, kind.name
        described = cellplane("describe", kind.singular, name)
        assert described.code == 0, (kind.name, described.err)
        assert f"kind: {kind.name}" in described.out
        if "List" in kind.methods and kind.name not in ("CellRevision", "Event", "ResourceChange"):
            offered = completed(kind)
            assert kind.short(name) in offered, (kind.name, offered)
    assert seen >= {kind.name for kind in all_kinds()} - _EMPTY - {"Operation", "CellRevision"}


def completed(kind: Kind) -> list[str]:
    """What the tab key offers behind ``get <kind>/``."""
    context = typer.Context(typer.main.get_command(app))
    return [str(one).partition("/")[2] for one in completion.kinds(context, f"{kind.singular}/")]


@pytest.mark.usefixtures("everything")
def test_every_kind_that_people_write_has_a_history_and_a_plan(
    cellplane: Run, tmp_path: Path
) -> None:
    """Who made it is told, a deletion is tried, and applying it as it is changes nothing."""
    for kind in all_kinds():
        if "Create" not in kind.methods or kind.name in _EMPTY:
            continue
        name = names_of(cellplane, kind)[0]
        told = cellplane("history", kind.singular, name, "-o", "json")
        assert told.code == 0, (kind.name, told.err)
        assert json.loads(told.out)[-1]["type"] == "CREATED", kind.name
        if "Delete" in kind.methods:
            tried = cellplane("delete", kind.singular, name, "--force", "--dry-run")
            refused = "would be refused" in tried.err
            assert tried.code == 0 or refused, (kind.name, tried.err)
            assert f"{name} would be deleted" in tried.out, kind.name
        if kind.applicable:
            got = cellplane("get", kind.singular, name, "-o", "yaml")
            (tmp_path / "same.yaml").write_text(got.out)
            again = cellplane("apply", f"-f{tmp_path / 'same.yaml'}")
            assert again.code == 0, (kind.name, again.err)
            assert "unchanged" in again.out, (kind.name, again.out)


@pytest.mark.usefixtures("everything")
def test_every_kind_is_watched(cellplane: Run) -> None:
    """What is there, then the marker: by the feed of the service that keeps it."""

    async def first(kind: Kind) -> list[str]:
        parent = "organizations/acme"
        if kind.name == "Event":
            parent += "/projects/boutique/cells/development"
        types = []
        async with Client(profiles.load(None, None)) as client, asyncio.timeout(30):
            async for step in watch(client, kind, parent):
                types.append(step.type)
                if step.type == "SYNCED":
                    return types
        return types

    for kind in all_kinds():
        if kind.service in ("model", "placement") and "Create" in kind.methods:
            types = asyncio.run(first(kind))
            assert types[-1] == "SYNCED", kind.name
            assert set(types[:-1]) <= {"SNAPSHOT"}, kind.name
            assert len(types) > 1 or kind.name in _EMPTY, kind.name


def test_a_secret_that_is_made_is_shown_once(cellplane: Run, samples: None, tmp_path: Path) -> None:
    """On standard error beside a table, in the data of JSON; never again, and by no reading."""
    file = tmp_path / "hook.yaml"
    text = "kind: EventSubscription\nname: eventSubscriptions/{}\nurl: https://x.example.com/\n"
    file.write_text(text.format("one"))
    first, again = cellplane("apply", f"-f{file}"), cellplane("apply", f"-f{file}")
    read = cellplane("get", "eventsubscription", "one", "-o", "json")
    file.write_text(text.format("two"))
    tried = cellplane("apply", f"-f{file}", "--dry-run", "-o", "json")
    data = cellplane("apply", f"-f{file}", "-o", "json")

    assert first.out == "eventSubscription one created\n"
    assert "secret (shown this once): whsec_" in first.err
    assert "whsec_" not in again.err + again.out + read.out + tried.out
    assert json.loads(data.out)[0]["secret"].startswith("whsec_")
    assert "whsec_" not in data.err
    for name in ("one", "two"):
        assert cellplane("delete", "eventsubscription", name).code == 0

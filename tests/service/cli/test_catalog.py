"""The catalog from the command line, on services that run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.service.cli.conftest import SAMPLES, Answer, ControlPlane

Run = Callable[..., Answer]

OPENAPI = """\
openapi: 3.0.3
info: {title: Wallet, version: 2.1.0}
paths:
  /balance:
    get:
      operationId: readBalance
      responses:
        "200":
          description: the balance
          content:
            application/json:
              schema: {type: object, properties: {amount: {type: integer}}}
"""
WALLET = """\
kind: Component
name: projects/payments/components/wallet
componentKind: SERVICE
workload: {image: "wallet:1"}
endpoints:
  - endpoint: http
    protocol: HTTP
    port: 80
    visibilities: [ORGANIZATION]
    requiresGrant: true
    schema: {file: openapi.yaml}
"""
READER = """\
kind: Component
name: projects/boutique/components/reader
componentKind: WORKER
workload: {image: "reader:1"}
connections:
  - connection: wallet
    componentEndpoint: {component: projects/payments/components/wallet, endpoint: http}
"""


@pytest.fixture(scope="module", autouse=True)
def tidy(control_plane: ControlPlane) -> Iterator[None]:
    """What these tests add to the samples goes again."""
    yield
    for name in ("boutique/reader", "payments/wallet"):
        gone = control_plane.process("delete", "component", name, "--force", "--ignore-not-found")
        assert gone.code == 0, gone.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A component with its schema beside it."""
    (tmp_path / "wallet.yaml").write_text(WALLET)
    (tmp_path / "openapi.yaml").write_text(OPENAPI)
    return tmp_path


@pytest.mark.usefixtures("samples")
def test_search_get_and_impact(cellplane: Run) -> None:
    """What is in the catalog is found, shown with its consumers, and tells who breaks."""
    found = cellplane("catalog", "search", "charge", "--protocol", "grpc", "-o", "name")
    shown = cellplane("catalog", "get", "payments/charge/grpc")
    broken = cellplane("impact", "component/payments/charge", "--environment", "development")
    nobody = cellplane("impact", "entry/boutique/frontend/http")

    name = "organizations/acme/projects/payments/components/charge/catalogEntries/grpc"
    assert found.out == f"{name}\n"
    assert "boutique/paymentservice" in shown.out or "boutique/checkoutservice" in shown.out
    lines = broken.out.splitlines()
    assert lines[0].split() == ["ENVIRONMENT", "BREAKS", "DISTANCE", "BY"]
    assert any("boutique/frontend" in line for line in lines)
    assert (nobody.code, nobody.out) == (0, "")
    assert "nobody breaks" in nobody.err


@pytest.mark.usefixtures("samples")
def test_a_wrong_word_is_told_with_those_that_are_right(cellplane: Run) -> None:
    """A protocol that is none, and an impact of nothing in particular."""
    protocol = cellplane("catalog", "search", "--protocol", "morse")
    subject = cellplane("impact", "component")

    assert (protocol.code, subject.code) == (2, 2)
    assert "GRPC" in protocol.err
    assert "component/NAME" in subject.err


@pytest.mark.usefixtures("samples")
def test_a_schema_beside_the_component_comes_along(cellplane: Run, folder: Path) -> None:
    """A folder is applied with its schema, which is no document; again it is unchanged."""
    first = cellplane("apply", "-f", folder)
    again = cellplane("apply", "-f", folder)
    found = cellplane("catalog", "search", "readbalance", "-o", "json")
    changed = OPENAPI.replace("properties: {amount: {type: integer}}", "properties: {}")
    (folder / "openapi.yaml").write_text(changed)
    warned = cellplane("apply", "-f", folder)
    (folder / "openapi.yaml").write_text(OPENAPI.replace("get:", "got: 1\n    get:"))
    wrong = cellplane("apply", "-f", folder)

    assert first.out == "component payments/wallet created\n", first.err
    assert again.out == "component payments/wallet unchanged\n"
    assert json.loads(found.out)[0]["offer"]["version"] == "2.1.0"
    assert warned.out == "component payments/wallet updated\n"
    assert "warning: " in warned.err
    assert "wallet.yaml:11" in warned.err
    assert "GET /balance 200.amount" in warned.err
    assert wrong.code == 1
    assert "line 4: paths./balance" in wrong.err


@pytest.mark.usefixtures("samples")
def test_a_schema_that_cannot_be_taken_along_is_told(cellplane: Run, folder: Path) -> None:
    """A file that is not there, with the line of the document that names it."""
    (folder / "openapi.yaml").unlink()
    answer = cellplane("apply", "-f", folder)

    assert answer.code == 1
    assert "wallet.yaml:11: endpoints[0].schema.file" in answer.err
    assert "no such file" in answer.err


def test_schemas_are_compared_without_a_server(cellplane: Run, tmp_path: Path) -> None:
    """Exit code 8 where users break, 0 where nothing matters, and findings with their places."""
    old, new = tmp_path / "old.proto", tmp_path / "new.proto"
    old.write_text('syntax = "proto3";\npackage a.v1;\nmessage A { string id = 1; }\n')
    new.write_text('syntax = "proto3";\npackage a.v1;\nmessage A { int32 id = 1; }\n')
    broken = cellplane("catalog", "diff-schema", old, new, "-o", "json")
    same = cellplane("catalog", "diff-schema", old, old)

    assert (broken.code, same.code) == (8, 0)
    assert json.loads(broken.out) == [
        {
            "severity": "BREAKING",
            "place": "a.v1.A.id",
            "reason": "TYPE_CHANGED",
            "message": "is int32 now, and was string",
        }
    ]


@pytest.mark.usefixtures("samples")
def test_a_grant_goes_its_way(cellplane: Run, folder: Path, tmp_path: Path) -> None:
    """Asked for, approved and revoked; the Cell of the consumer says each time how it is."""
    reader = tmp_path / "other" / "reader.yaml"
    reader.parent.mkdir()
    reader.write_text(READER)
    cellplane("apply", "-f", folder / "wallet.yaml", "-f", reader)

    def problems() -> list[Any]:
        cell = json.loads(cellplane("get", "cell", "boutique/development", "-o", "json").out)
        return [p["reason"] for p in cell.get("problems", ())]

    before = problems()
    ask = ("grant", "ask", "payments/wallet", "http", "--for", "boutique", "--until", "720h")
    asked = cellplane(*ask)
    name = asked.out.split()[1]
    approved = cellplane("grant", "approve", name, "--comment", "fine")
    opened = problems()
    listed = cellplane("get", "accessgrants")
    revoked = cellplane("grant", "revoke", name)
    closed = problems()
    cellplane("delete", "component", "boutique/reader", "--force")

    assert asked.out.endswith("pending\n"), asked.err
    assert approved.out == f"accessGrant {name} active\n"
    assert revoked.out == f"accessGrant {name} revoked\n"
    assert (before, opened, closed) == (["GRANT_MISSING"], [], ["GRANT_MISSING"])
    assert "ACTIVE" in listed.out


@pytest.mark.usefixtures("samples")
def test_the_catalog_is_exported_for_backstage(cellplane: Run, tmp_path: Path) -> None:
    """One file of entities, each of which has a kind, a name and what it demands."""
    answer = cellplane("catalog", "export", "--format", "backstage", "--folder", tmp_path)
    documents = list(YAML(typ="safe").load_all((tmp_path / "catalog-info.yaml").read_text()))

    assert answer.code == 0, answer.err
    kinds = {d["kind"] for d in documents}
    assert kinds == {"Group", "Domain", "System", "Component", "API"}
    frontend = next(d for d in documents if d["metadata"]["name"] == "boutique.frontend")
    assert "boutique.cartservice.grpc" in frontend["spec"]["consumesApis"]


def test_score_goes_and_comes_back(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A sample that is written for Score and read again is applied as unchanged."""
    source = SAMPLES / "boutique" / "adservice.yaml"
    written = control_plane.process("score", "export", "-f", str(source))
    (tmp_path / "score.yaml").write_text(written.out)
    back = control_plane.process(
        "score", "import", str(tmp_path / "score.yaml"), "--project", "boutique"
    )
    files = [f"-f{SAMPLES / name}" for name in ("platform", "payments", "boutique")]
    assert control_plane.process("apply", *files).code == 0
    applied = control_plane.process("apply", "-f", "-", stdin=back.out)

    assert written.code == back.code == 0, written.err + back.err
    assert "note: adservice: endpoints" in written.err
    assert applied.out == "component boutique/adservice unchanged\n", applied.err

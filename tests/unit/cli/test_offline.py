"""`compile` and `explain` need no service: the samples, and what is wrong with documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cellplane.cli.main import main

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "samples"
PLANES = sorted((SAMPLES / "planes").glob("*.yaml"))
ALL = [f"-f{SAMPLES / name}" for name in ("platform", "payments", "boutique")]


def compiled(capsys: pytest.CaptureFixture[str], plane: Path, *more: str) -> list[Any]:
    code = main(["compile", *ALL, f"--data-plane={plane}", "-o", "json", *more])
    answer = capsys.readouterr()
    assert code == 0, answer.err
    items: list[Any] = json.loads(answer.out)["items"]
    return items


@pytest.mark.parametrize("plane", PLANES, ids=[plane.stem for plane in PLANES])
def test_the_samples_compile(capsys: pytest.CaptureFixture[str], plane: Path) -> None:
    """Two Cells with all their workloads, closed by the kind of policy that the plane has."""
    found = compiled(capsys, plane)

    kinds = [item["kind"] for item in found]
    assert kinds.count("Namespace") == 2
    assert kinds.count("Deployment") == 11
    assert kinds.count("StatefulSet") == 1
    by_cilium = "networkpolicy.cilium" in plane.read_text()
    policy = "CiliumNetworkPolicy" if by_cilium else "NetworkPolicy"
    assert kinds.count(policy) >= 14
    assert set(kinds) & {"CiliumNetworkPolicy", "NetworkPolicy"} == {policy}


def test_compiling_is_repeatable(capsys: pytest.CaptureFixture[str]) -> None:
    """The same documents give the same bytes, in whatever order they come."""
    plane = PLANES[0]
    first = compiled(capsys, plane)

    assert main(["compile", *reversed(ALL), f"--data-plane={plane}", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == first


def test_yaml_is_what_kubernetes_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """The YAML says the same as the JSON, to another reader."""
    from ruamel.yaml import YAML

    expected = compiled(capsys, PLANES[0])
    assert main(["compile", *ALL, f"--data-plane={PLANES[0]}", "-o", "yaml"]) == 0
    out = capsys.readouterr().out

    assert list(YAML(typ="safe", pure=True).load_all(out)) == expected


def test_an_environment_changes_what_a_cell_becomes(capsys: pytest.CaptureFixture[str]) -> None:
    """Production has a domain of its own; one that nobody declared is refused."""
    found = compiled(capsys, PLANES[0], "--environment", "production", "-p", "boutique")
    route = next(
        item
        for item in found
        if item["kind"] == "HTTPRoute"
        and "hostnames" in item["spec"]
        and "apps.example.com" in str(item["spec"]["hostnames"])
    )
    assert route["spec"]["hostnames"] == ["boutique.apps.example.com"]

    assert main(["compile", *ALL, f"--data-plane={PLANES[0]}", "-e", "nowhere"]) == 2
    assert "choose of development, production, staging" in capsys.readouterr().err


HEAD = """kind: Component
name: projects/boutique/components/{name}
componentKind: SERVICE
workload:
  image: example:1
"""
BAD = {
    "reserved name": (HEAD.format(name="egress"), 2, "name", "reserved"),
    "endpoint twice": (
        HEAD.format(name="a") + "endpoints:\n- {endpoint: web, protocol: HTTP, port: 80}\n"
        "- {endpoint: web, protocol: HTTP, port: 81}\n",
        8,
        "endpoints[1].endpoint",
        "there twice",
    ),
    "component that is not there": (
        HEAD.format(name="a") + "connections:\n- connection: a\n  componentEndpoint:\n"
        "    component: projects/boutique/components/nobody\n    endpoint: web\n",
        9,
        "connections[0].component_endpoint.component",
        "does not exist",
    ),
    "endpoint for its own project": (
        HEAD.format(name="a") + "connections:\n- connection: a\n  componentEndpoint:\n"
        "    component: projects/hidden/components/secret\n    endpoint: web\n---\n"
        + HEAD.format(name="x").replace("boutique/components/x", "hidden/components/secret")
        + "endpoints: [{endpoint: web, protocol: HTTP, port: 80}]\n",
        9,
        "connections[0].component_endpoint.component",
        "not for other projects",
    ),
    "image that is none": (
        HEAD.format(name="a").replace("example:1", '"Example Image"'),
        5,
        "workload.image",
        "is not an image",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_the_models_findings_have_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    """What the model would refuse is refused offline, with the line."""
    text, line, path, words = BAD[case]
    file = tmp_path / "bad.yaml"
    file.write_text(text)

    code = main(["compile", f"-f{file}", f"--data-plane={PLANES[0]}", "-e", "development"])

    err = capsys.readouterr().err
    assert code == 1
    assert f"{file}:{line}: {path}: " in err
    assert words in err


def test_what_a_plane_cannot_have_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plane without any policy engine gets nothing, and the reason is given."""
    plane = tmp_path / "bare.yaml"
    lines = PLANES[0].read_text().splitlines()
    plane.write_text("\n".join(line for line in lines if "networkpolicy" not in line))

    assert main(["compile", *ALL, f"--data-plane={plane}"]) == 1
    answer = capsys.readouterr()
    assert answer.out == ""
    assert "cannot have this" in answer.err


def test_a_plane_is_checked_as_documents_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings about the description of a data plane have lines, too."""
    plane = tmp_path / "plane.yaml"
    plane.write_text("dataPlane: a\nenforcement: ENFORCED\ncapabilitys: [a]\n")

    assert main(["compile", *ALL, f"--data-plane={plane}"]) == 1
    err = capsys.readouterr().err
    assert f"{plane}:2: enforcement: " in err
    assert f'{plane}:3: capabilitys: "capabilitys" is not a field' in err
    assert f"{plane}:1: uid: is missing" in err


def test_a_kind_is_explained_by_its_contract(capsys: pytest.CaptureFixture[str]) -> None:
    """Every field of a component has its comment, and says what it wants."""
    assert main(["explain", "component"]) == 0

    out = capsys.readouterr().out
    assert "One process of a project" in out
    assert "componentKind: ComponentKind (required, cannot be changed)" in out
    assert "latestRelease: text (set by the server)" in out


def test_a_field_is_explained_with_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Enum values stand as they are written in documents."""
    assert main(["explain", "component.endpoints.protocol"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("Component.endpoints.protocol: Protocol (required)\n")
    assert "\n  GRPC\n    gRPC over HTTP/2" in out
    assert "UNSPECIFIED" not in out


def test_no_field_is_without_a_comment() -> None:
    """Whatever a document can say is explained."""
    from cellplane.cli.contract import Contract
    from cellplane.cli.kinds import all_kinds

    contract = Contract.load()
    for kind in all_kinds():
        name = kind.descriptor.full_name
        assert contract.comment(name), name
        for field in contract.fields(name):
            assert contract.comment(f"{name}.{field.name}"), f"{name}.{field.name}"

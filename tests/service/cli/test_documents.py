"""Documents against the real model: all or nothing, and the server's findings have lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.cli.conftest import SAMPLES, Answer, ControlPlane

Run = Callable[..., Answer]
pytestmark = pytest.mark.usefixtures("samples")

HEAD = """kind: Component
name: projects/boutique/components/{name}
componentKind: SERVICE
workload:
  image: example:1
"""
REACHING = """connections:
- connection: a
  componentEndpoint:
    component: {component}
    endpoint: {endpoint}
"""
BOUTIQUE = "projects/boutique/components"

# What is written, the line, the beginning of the field's path, and a part of the message.
BAD = {
    "reserved name": (HEAD.format(name="egress"), 2, "name", "reserved"),
    "component that is not there": (
        HEAD.format(name="bad") + REACHING.format(component=f"{BOUTIQUE}/no", endpoint="grpc"),
        9,
        "connections[0].component_endpoint.component",
        "does not exist",
    ),
    "endpoint that is not there": (
        HEAD.format(name="bad")
        + REACHING.format(component=f"{BOUTIQUE}/cartservice", endpoint="no"),
        10,
        "connections[0].component_endpoint.endpoint",
        "has no endpoint",
    ),
    "endpoint of another project's own": (
        HEAD.format(name="bad").replace("boutique", "payments")
        + REACHING.format(component=f"{BOUTIQUE}/cartservice", endpoint="grpc"),
        9,
        "connections[0].component_endpoint",
        "not for other projects",
    ),
    "endpoint twice": (
        HEAD.format(name="bad") + "endpoints:\n- {endpoint: web, protocol: HTTP, port: 80}\n"
        "- {endpoint: web, protocol: HTTP, port: 81}\n",
        8,
        "endpoints[1].endpoint",
        "there twice",
    ),
    "pipeline that is not there": (
        "kind: Project\nname: projects/new\ndeploymentPipeline: deploymentPipelines/no\n",
        3,
        "deployment_pipeline",
        "does not exist",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_the_servers_findings_have_lines(cellplane: Run, tmp_path: Path, case: str) -> None:
    """What only the server knows is told with file, line and path, and nothing is stored."""
    text, line, path, words = BAD[case]
    good = HEAD.format(name="good")
    (tmp_path / "bad.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text(good)

    answer = cellplane("apply", "-f", tmp_path)

    assert answer.code == 1
    assert f"{tmp_path}/bad.yaml:{line}: {path}" in answer.err, answer.err
    assert words in answer.err
    assert "request id: " in answer.err
    assert answer.out == ""
    assert cellplane("get", "component", "boutique/good").code == 3


def test_the_servers_findings_come_at_once(cellplane: Run, tmp_path: Path) -> None:
    """Findings about several documents of several files are all there."""
    for number, case in enumerate(
        ("reserved name", "endpoint twice", "pipeline that is not there")
    ):
        (tmp_path / f"{number}.yaml").write_text(BAD[case][0])

    err = cellplane("apply", "-f", tmp_path).err

    assert f"{tmp_path}/0.yaml:2: name: " in err
    assert f"{tmp_path}/1.yaml:8: endpoints[1].endpoint: " in err
    assert f"{tmp_path}/2.yaml:3: deployment_pipeline: " in err


def test_applying_again_changes_nothing(cellplane: Run) -> None:
    """Twice the same is unchanged, and has no difference."""
    again = cellplane("apply", "-f", SAMPLES / "boutique")
    assert again.code == 0
    assert {line.rsplit(" ", 1)[-1] for line in again.out.splitlines()} == {"unchanged"}

    difference = cellplane("diff", "-f", SAMPLES / "boutique")
    assert difference.code == 0
    assert difference.out == ""


def test_a_difference_is_shown_before_it_is_made(cellplane: Run, tmp_path: Path) -> None:
    """`diff` ends with 8 and shows the lines; `apply` makes them so; then nothing differs."""
    file = tmp_path / "ad.yaml"
    text = (SAMPLES / "boutique" / "adservice.yaml").read_text()
    file.write_text(text.replace("displayName: Advertisements", "displayName: Ads"))

    shown = cellplane("diff", "-f", file)
    assert shown.code == 8
    assert "-displayName: Advertisements\n+displayName: Ads\n" in shown.out

    dry = cellplane("apply", "-f", file, "--dry-run")
    assert dry.out == "component boutique/adservice updated (dry run)\n"
    assert cellplane("diff", "-f", file).code == 8

    assert cellplane("apply", "-f", file).out == "component boutique/adservice updated\n"
    assert cellplane("diff", "-f", file).code == 0


@pytest.mark.parametrize("output", ["yaml", "json"])
def test_what_is_shown_can_be_applied(cellplane: Run, tmp_path: Path, output: str) -> None:
    """A resource as `get` prints it is a document that changes nothing."""
    shown = cellplane("get", "component", "boutique/checkoutservice", "-o", output)
    text = shown.out
    if output == "json":
        text = json.dumps({"kind": "Component", **json.loads(text)})
    file = tmp_path / f"shown.{output}"
    file.write_text(text)

    again = cellplane("apply", "-f", file)

    assert again.out == "component boutique/checkoutservice unchanged\n", again.err


def test_documents_come_by_standard_input(control_plane: ControlPlane) -> None:
    """`-f -` reads what is piped in, and its findings have lines, too."""
    text = HEAD.format(name="piped")
    done = control_plane.process("apply", "-f", "-", "-o", "name", stdin=text)
    assert done.out == "organizations/acme/projects/boutique/components/piped\n", done.err

    bad = control_plane.process("apply", "-f", "-", stdin=f"{text}colour: red\n")
    assert bad.code == 1
    assert "<stdin>:6: colour: " in bad.err

    gone = control_plane.process("delete", "-f", "-", "--force", stdin=text)
    assert gone.out == "component boutique/piped deleted\n", gone.err


def test_one_document_serves_another_organization(cellplane: Run) -> None:
    """The samples' names are relative, so that --organization decides whose they are."""
    assert cellplane("apply", "-f", SAMPLES / "paper").code == 0

    done = cellplane("apply", "--organization=paper", "-f", SAMPLES / "payments")

    assert done.code == 0, done.err
    names = cellplane("get", "components", "--organization=paper", "-o", "name").out
    assert names == "organizations/paper/projects/payments/components/charge\n"


def test_data_planes_are_documents_too(cellplane: Run, tmp_path: Path) -> None:
    """What placement keeps is applied, compared and deleted as all else is."""
    file = tmp_path / "plane.yaml"
    file.write_text("kind: DataPlane\nname: dataPlanes/spare\ncordoned: true\nlabels: {a: b}\n")

    assert cellplane("diff", "-f", file).code == 8
    assert cellplane("apply", "-f", file).out == "dataPlane spare created\n"
    assert cellplane("apply", "-f", file).out == "dataPlane spare unchanged\n"
    file.write_text("kind: DataPlane\nname: dataPlanes/spare\nlabels: {a: c}\n")
    assert cellplane("diff", "-f", file).code == 8
    assert cellplane("apply", "-f", file).out == "dataPlane spare updated\n"
    shown = json.loads(cellplane("get", "dp", "spare", "-o", "json").out)
    assert shown["labels"] == {"a": "c"}
    assert "cordoned" not in shown
    assert cellplane("delete", "-f", file).code == 0

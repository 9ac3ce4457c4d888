"""Golden cases of what people are told about types: each as `cellplane type vet` says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellplane.cli.main import main

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/types.yaml"))
SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_what_is_wrong_is_told_with_its_place(
    folder: Path,
    update_golden: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File, line, column, the expression, what was found and what was expected."""
    monkeypatch.chdir(folder)
    code = main(["type", "vet", "."])
    told = capsys.readouterr().err
    expected = folder / "expected.txt"
    if update_golden:
        expected.write_text(told)
    assert code == 1
    assert told == expected.read_text()


def test_the_samples_become_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    """The types that come as samples are right, and their examples become what is expected."""
    assert main(["type", "vet", str(SAMPLES / "types")]) == 0
    assert capsys.readouterr().out == "1 type, 2 traits, 2 examples: all as expected\n"


def test_a_change_of_what_an_example_becomes_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An example that becomes something else is a difference, which `--update` accepts."""
    own = tmp_path / "types"
    for file in (SAMPLES / "types").rglob("*"):
        if file.is_file():
            target = own / file.relative_to(SAMPLES / "types")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    changed = own / "web-service.yaml"
    changed.write_text(changed.read_text().replace("maxUnavailable: 1", "maxUnavailable: 2"))
    assert main(["type", "vet", str(own)]) == 1
    told = capsys.readouterr().err
    assert "-  maxUnavailable: 1" in told
    assert "+  maxUnavailable: 2" in told
    assert main(["type", "vet", str(own), "--update"]) == 0
    capsys.readouterr()
    assert main(["type", "vet", str(own)]) == 0


def test_a_component_is_rendered_with_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    """`render` needs documents alone, and says which objects a component becomes."""
    files = [
        "-f",
        str(SAMPLES / "types/web-service.yaml"),
        "-f",
        str(SAMPLES / "types/traits.yaml"),
    ]
    files += ["-f", str(SAMPLES / "types/examples/shop.yaml")]
    assert main(["render", "shop/front", *files, "-o", "table"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["front", "Deployment", "front"] in rows
    assert ["front", "PodDisruptionBudget", "front"] in rows

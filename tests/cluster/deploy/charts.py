"""The charts, rendered by the real Helm."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from cellplane.sandbox.build import KUBERNETES_VERSION

ROOT = Path(__file__).parents[3]
CHARTS = ROOT / "deploy" / "charts"
CONTROL_PLANE = "cellplane"
AGENT = "cellplane-agent"
HERE = Path(__file__).parent
RELEASE = "main"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Helm:
    """Helm, and a home of its own."""

    program: Path
    home: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Helm without the settings of whoever runs the tests."""
        return subprocess.run(
            [str(self.program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env={"HOME": str(self.home)},
        )

    def lint(self, chart: str, values: Path) -> subprocess.CompletedProcess[str]:
        """Check a chart with these values."""
        return self.run(
            "lint",
            "--strict",
            str(CHARTS / chart),
            f"--values={values}",
            f"--kube-version={KUBERNETES_VERSION}",
        )

    def template(self, chart: str, values: Path) -> subprocess.CompletedProcess[str]:
        """Render a chart into the namespace of its name."""
        return self.run(
            "template",
            RELEASE,
            str(CHARTS / chart),
            f"--namespace={chart}",
            f"--values={values}",
            f"--kube-version={KUBERNETES_VERSION}",
        )

    def render(self, chart: str, values: Path) -> Sequence[Object]:
        """The objects of a chart with these values."""
        done = self.template(chart, values)
        assert done.returncode == 0, done.stderr
        return [each for each in YAML(typ="safe").load_all(done.stdout) if each]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A chart with values."""

    chart: str
    values: Path

    def __str__(self) -> str:
        return f"{self.chart}-{self.values.stem}"


def cases(folder: str) -> Sequence[Case]:
    """The cases of a folder of this one: a file for each."""
    return [
        Case(chart=chart, values=values)
        for chart in (CONTROL_PLANE, AGENT)
        for values in sorted((HERE / folder / chart).glob("*.yaml"))
    ]


def of_kind(objects: Sequence[Object], kind: str) -> Sequence[Object]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def environment(deployment: Object) -> dict[str, str]:
    """What a Deployment sets in the environment; values out of a Secret are its name and key."""
    found: dict[str, str] = {}
    for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]:
        if "value" in entry:
            found[entry["name"]] = entry["value"]
        else:
            source = entry["valueFrom"]
            if "fieldRef" in source:
                found[entry["name"]] = source["fieldRef"]["fieldPath"]
                continue
            reference = source["secretKeyRef"]
            found[entry["name"]] = f"{reference['name']}/{reference['key']}"
    return found

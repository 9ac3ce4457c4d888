"""What ``cellplane dataplane manifest`` prints is what the agent's chart renders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cellplane.cli.manifest import TEMPLATE, Values, fill
from tests.cluster.deploy.charts import CHARTS, KUBERNETES_VERSION, Helm, of_kind

NAME = "cellplane-agent"
SETTINGS = {
    "join.address": "join.placeholder.invalid:443",
    "join.grant": "organizations/placeholder/joinGrants/placeholder",
    "join.authorityDigest": f"sha256:{0:064x}",
    "trustDomain": "placeholder.invalid",
    "enforcement": "simulated",
    "image.repository": "placeholder.invalid/cellplane",
    "image.tag": "placeholder",
    "persistence.retain": "false",
}


def rendered(helm: Helm) -> str:
    """The chart with placeholders, without what is Helm's own."""
    flags = [f"--set-string={key}={value}" for key, value in SETTINGS.items() if value != "false"]
    done = helm.run(
        "template",
        NAME,
        str(CHARTS / NAME),
        f"--namespace={NAME}",
        "--set=persistence.retain=false",
        f"--kube-version={KUBERNETES_VERSION}",
        *flags,
    )
    assert done.returncode == 0, done.stderr
    lines = [
        line.replace("managed-by: Helm", "managed-by: cellplane")
        for line in done.stdout.splitlines()
        if "helm.sh/" not in line and not line.startswith("# Source:")
    ]
    return "\n".join(lines).strip() + "\n"


def test_the_template_is_what_the_chart_renders(helm: Helm) -> None:
    """With ``CELLPLANE_ACCEPT=1`` it is made so."""
    fresh = rendered(helm)
    if os.environ.get("CELLPLANE_ACCEPT"):
        TEMPLATE.write_text(fresh, encoding="utf-8")
    assert TEMPLATE.read_text(encoding="utf-8") == fresh


@pytest.mark.parametrize("enforcement", ["", "enforcing"])
def test_a_manifest_installs_the_agent_with_no_wildcard(enforcement: str, tmp_path: Path) -> None:
    """Namespace and token come first; every placeholder is filled; no role has a wildcard."""
    text = fill(
        Values(
            join_address="join.cells.example.com:9607",
            grant="organizations/acme/joinGrants/europe-1",
            token="europe-1." + "a" * 43,
            authority_digest=f"sha256:{1:064x}",
            trust_domain="cells.example.com",
            image="registry.example.com/cellplane:1",
            enforcement=enforcement,
        )
    )
    objects = [each for each in YAML(typ="safe").load_all(text) if each]
    assert [o["kind"] for o in objects[:2]] == ["Namespace", "Secret"]
    assert "placeholder" not in text
    (deployment,) = of_kind(objects, "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.com/cellplane:1"
    environment = {e["name"]: e.get("value") for e in container["env"]}
    assert environment["CELLPLANE_AGENT_ENFORCEMENT"] == enforcement
    assert environment["CELLPLANE_AGENT_GRANT"] == "organizations/acme/joinGrants/europe-1"
    rules = [rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"]]
    assert rules
    assert not any("*" in values for rule in rules for values in rule.values())
    assert not any("secrets" in rule["resources"] for rule in rules)
    namespaced = {o["metadata"].get("namespace", "") for o in objects}
    assert namespaced <= {"", NAME}

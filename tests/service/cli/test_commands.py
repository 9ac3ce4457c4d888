"""Verbs against the real services: what they show, how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.cli.conftest import Answer, ControlPlane, interruptible

Run = Callable[..., Answer]
pytestmark = pytest.mark.usefixtures("samples")


def test_lists_read_across_projects(cellplane: Run) -> None:
    """Without a project, components of all projects are there; with one, its own."""
    everything = cellplane("get", "components", "-o", "name").out.splitlines()
    own = cellplane("get", "components", "-p", "payments", "-o", "name").out.splitlines()

    assert len(everything) >= 12
    assert own == ["organizations/acme/projects/payments/components/charge"]


def test_json_is_data_alone(cellplane: Run) -> None:
    """One resource is an object, several are a list; standard error stays empty."""
    one = cellplane("get", "env", "production", "-o", "json")
    several = cellplane("get", "envs", "-o", "json")

    assert json.loads(one.out)["production"] is True
    assert len(json.loads(several.out)) == 3
    assert one.err == several.err == ""


def test_a_table_has_a_head_and_short_names(cellplane: Run) -> None:
    """People see ids, not resource names."""
    head, *rows = cellplane("get", "components", "-p", "payments", "-o", "wide").out.splitlines()

    assert head.split()[:3] == ["NAME", "KIND", "ENDPOINTS"]
    assert rows[0].split()[:3] == ["payments/charge", "API", "grpc"]
    assert "paymentservice:v0.10.3" in rows[0]


def test_what_is_not_there_is_code_3(cellplane: Run) -> None:
    """A missing resource, and a missing project of a status, end with 3."""
    for arguments in (
        ("get", "component", "boutique/nobody"),
        ("describe", "cell", "nobody/development"),
        ("status", "nobody"),
        ("delete", "project", "nobody"),
        ("wait", "cell", "nobody/development"),
    ):
        answer = cellplane(*arguments)
        assert answer.code == 3, arguments
        assert "NOT_FOUND" in answer.err or "does not exist" in answer.err
    assert cellplane("delete", "project", "nobody", "--ignore-not-found").code == 0


def test_a_project_with_components_is_kept(cellplane: Run) -> None:
    """Without --force the refusal names what belongs to it."""
    answer = cellplane("delete", "project", "payments")

    assert answer.code == 1
    assert "projects/payments/components/charge" in answer.err
    assert cellplane("get", "project", "payments").code == 0


def test_a_forced_delete_takes_all_of_a_project(cellplane: Run, tmp_path: Path) -> None:
    """With --force the project goes with what belongs to it, and `wait` sees it go."""
    file = tmp_path / "fleeting.yaml"
    file.write_text(
        "kind: Project\nname: projects/fleeting\n"
        "deploymentPipeline: deploymentPipelines/standard\n---\n"
        "kind: Component\nname: projects/fleeting/components/web\ncomponentKind: WORKER\n"
        "workload: {image: 'web:1'}\n"
    )
    assert cellplane("apply", "-f", file).code == 0
    assert cellplane("get", "cell", "fleeting/development").code == 0

    assert cellplane("delete", "project", "fleeting", "--force").code == 0
    assert cellplane("wait", "project", "fleeting", "--for=deleted", "--timeout=10s").code == 0
    assert cellplane("get", "component", "fleeting/web").code == 3


def test_a_cell_becomes_ready_and_explains_where_it_is(cellplane: Run, folder: Path) -> None:
    """`wait`, `status`, `placement explain` and `describe` agree about a Cell on a folder."""
    one_copy = (
        "kind: Environment\nname: environments/development\ndisplayName: Development\n"
        "placement: {copies: 1}\n"
    )
    (folder.parent / "development.yaml").write_text(one_copy)
    assert cellplane("apply", "-f", folder.parent / "development.yaml").code == 0

    waited = cellplane("wait", "cell", "payments/development", "--for=ready", "--timeout=60s")
    assert waited.code == 0, waited.err
    assert waited.out.startswith("cell payments/development is ready after ")

    status = cellplane("status", "payments").out
    assert "✓ paper" in status
    assert "✓ charge" in status
    assert "Isolated unknown: External" in status
    assert "Deployment charge" not in status
    assert "Deployment charge" in cellplane("status", "payments", "--all").out

    explained = cellplane("placement", "explain", "payments/development").out
    assert "data planes: paper (1 of 1 copies)" in explained

    described = cellplane("describe", "cell", "payments/development").out
    assert "events:" in described
    assert "Deployment/charge" in described

    planes = cellplane("dataplane", "list").out
    assert "paper" in planes
    assert "READY" in planes
    assert list(folder.rglob("deployment-charge.yaml"))


def test_a_wait_that_takes_too_long_says_what_for(cellplane: Run, tmp_path: Path) -> None:
    """After the timeout the code is 6, with what it still waits for."""
    file = tmp_path / "nowhere.yaml"
    file.write_text(
        "kind: Project\nname: projects/nowhere\n"
        "deploymentPipeline: deploymentPipelines/standard\n"
        "placement: {selectors: [{key: moon, operator: EXISTS}]}\n---\n"
        "kind: Component\nname: projects/nowhere/components/web\ncomponentKind: WORKER\n"
        "workload: {image: 'web:1'}\n"
    )
    assert cellplane("apply", "-f", file).code == 0

    answer = cellplane("wait", "cell", "nowhere/development", "--timeout=2s")

    assert answer.code == 6
    assert "Placed is false" in answer.err
    assert "not ready after 2s" in answer.err
    assert cellplane("delete", "project", "nowhere", "--force").code == 0


def test_promotion_follows_the_pipeline(cellplane: Run) -> None:
    """A step that the pipeline lacks is refused with those that it has; a provider goes first."""
    refused = cellplane("promote", "payments", "--from=development", "--to=production")
    assert refused.code == 1
    assert "environments/staging" in refused.err

    missing = cellplane("promote", "boutique", "--from=development", "--to=staging")
    assert missing.code == 1
    assert "projects/payments/components/charge" in missing.err

    done = cellplane("promote", "payments", "--from=development", "--to=staging", "-c", "charge")
    assert done.code == 0, done.err
    assert done.out.splitlines()[1] == "  staging has its releases"
    assert done.out.splitlines()[2].split() == ["COMPONENT", "RELEASE", "BEFORE", "RELEASE"]
    assert cellplane("get", "cell", "payments/staging").code == 0
    assert cellplane("get", "promotions", "-p", "payments", "-o", "name").out.count("/p-") == 1


def test_a_watch_shows_each_change(control_plane: ControlPlane, tmp_path: Path) -> None:
    """`get -w` prints what is there, and then a line for each change, until it is ended."""
    watch = interruptible(control_plane, "get", "projects", "-w", "-o", "name")
    assert watch.stdout is not None
    try:
        seen = {watch.stdout.readline().strip() for _ in range(2)}
        assert "organizations/acme/projects/boutique" in seen

        document = (
            "kind: Project\nname: projects/watched\n"
            "deploymentPipeline: deploymentPipelines/standard\n"
        )
        assert control_plane.process("apply", "-f", "-", stdin=document).code == 0
        assert watch.stdout.readline().strip() == "organizations/acme/projects/watched"
        assert control_plane.process("delete", "project", "watched").code == 0
        assert watch.stdout.readline().strip() == "organizations/acme/projects/watched"
    finally:
        watch.send_signal(2)
        _, words = watch.communicate(timeout=30)
    assert watch.returncode == 130
    assert words == ""


def test_nobody_without_a_certificate(
    cellplane: Run, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """A profile without a client certificate gets nothing, and is told so."""
    profile = control_plane.layout.client_profile.read_text()
    lines = [line for line in profile.splitlines() if not line.startswith(("cert", "key"))]
    (tmp_path / "p.toml").write_text("\n".join(lines))

    assert cellplane("get", "cells", f"--profile={tmp_path}/p.toml").code != 0


def test_a_user_without_permission_is_code_4(
    cellplane: Run, control_plane: ControlPlane, tmp_path: Path
) -> None:
    """A known user who may not is denied with the permission that is missing."""
    from cellplane.runtime.pki import Authority

    pki = control_plane.layout.pki
    authority = Authority.load(pki / "ca.crt", pki / "ca.key")
    authority.issue(uri="spiffe://cellplane.local/users/guest").save(tmp_path, "guest")
    profile = control_plane.layout.client_profile.read_text().replace(
        str(pki / "admin"), str(tmp_path / "guest")
    )
    (tmp_path / "p.toml").write_text(profile)

    answer = cellplane("get", "cells", f"--profile={tmp_path}/p.toml")

    assert answer.code == 4
    assert "PERMISSION_DENIED" in answer.err


def test_history_says_who_changed_what(cellplane: Run, tmp_path: Path) -> None:
    """The newest change first, with who, and a line for each value that went and came."""
    document = tmp_path / "project.yaml"
    for name in ("First", "Second"):
        document.write_text(
            f"kind: Project\nname: projects/told\ndisplayName: {name}\n"
            "deploymentPipeline: deploymentPipelines/standard\n"
        )
        assert cellplane("apply", "-f", document).code == 0
    assert cellplane("delete", "project", "told").code == 0

    lines = cellplane("history", "project/told").out.splitlines()
    one = cellplane("history", "project", "told", "--limit=2", "-o", "json")

    heads = [line.split("  ")[0] for line in lines if not line.startswith(" ")]
    assert heads == [
        "project told deleted by user admin",
        "project told updated by user admin",
        "project told created by user admin",
    ]
    start = lines.index(next(line for line in lines if "updated" in line))
    assert lines[start + 1 : start + 3] == ["  - display_name: First", "  + display_name: Second"]
    assert [change["type"] for change in json.loads(one.out)] == ["DELETED", "UPDATED"]
    assert cellplane("history", "cellhealth/x").code == 2


def test_a_backup_of_what_runs_is_put_back_elsewhere(
    control_plane: ControlPlane, cellplane: Run, tmp_path: Path
) -> None:
    """`backup` reads while the services run; `restore` refuses them, and writes a folder anew."""
    file = tmp_path / "all.backup"
    saved = cellplane("backup", file)
    assert saved.code == 0, saved.err
    rows = dict(line.split()[::2] for line in saved.out.splitlines()[1:])
    assert int(rows["model"]) > 50
    assert set(rows) == {"model", "placement", "observability"}
    refused = cellplane("restore", file, "--force")
    assert (refused.code, "stop it first" in refused.err) == (1, True)

    state = tmp_path / "elsewhere"
    put_back = cellplane("restore", file, "--state", state)

    assert put_back.code == 0, put_back.err
    assert put_back.out == saved.out
    assert (state / "placement" / "agents").is_dir()
    assert cellplane("restore", file, "--state", state).code == 1
    assert cellplane("backup", file).code == 1

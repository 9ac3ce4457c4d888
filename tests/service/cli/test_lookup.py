"""Names as people write them: what is open is looked up, and what is close is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.service.cli.conftest import Answer, ControlPlane, interruptible

Run = Callable[..., Answer]
pytestmark = pytest.mark.usefixtures("samples")


def test_a_name_can_be_relative_to_a_project(cellplane: Run) -> None:
    """With --project an id is enough."""
    answer = cellplane("get", "component", "cartservice", "-p", "boutique", "-o", "name")

    assert answer.out == "organizations/acme/projects/boutique/components/cartservice\n"


def test_kind_and_name_can_be_one_word(cellplane: Run) -> None:
    """What `kubectl` calls TYPE/NAME is understood by every verb."""
    charge = "organizations/acme/projects/payments/components/charge"
    assert cellplane("get", "component/payments/charge", "-o", "name").out == f"{charge}\n"
    assert f"name: {charge}\n" in cellplane("describe", f"component/{charge}").out
    assert cellplane("wait", "component/payments/charge", "--timeout=20s").code == 0
    assert cellplane("delete", "component/payments/nothing").code == 3
    assert cellplane("describe", "component").code == 2


def test_what_is_listed_can_be_narrowed_and_ordered(cellplane: Run) -> None:
    """`get` hands a filter and an order on; a kind that has none says so."""
    narrowed = cellplane(
        "get", "components", "--filter=component_kind = STATEFUL_SERVICE", "-o", "name"
    )
    assert narrowed.out == "organizations/acme/projects/boutique/components/redis-cart\n"
    first = cellplane("get", "components", "boutique", "--order-by=create_time", "-o", "name")
    again = cellplane("get", "components", "boutique", "--order-by=create_time desc", "-o", "name")
    assert first.out.splitlines() == again.out.splitlines()[::-1]
    wrong = cellplane("get", "components", "--filter=colour = RED")
    assert wrong.code == 1
    assert "colour" in wrong.err
    assert cellplane("get", "components", "-w", "--filter=x = 1").code == 2


def test_what_resources_belong_to_lists_them(cellplane: Run) -> None:
    """The name of a project lists its components, that of a component its releases."""
    components = cellplane("get", "components", "payments", "-o", "name")
    releases = cellplane("get", "releases", "payments/charge", "-o", "name")

    charge = "organizations/acme/projects/payments/components/charge"
    assert components.out == f"{charge}\n"
    assert releases.out.startswith(f"{charge}/releases/r-")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("get", "component", "cartservice"), "did you mean boutique/cartservice?"),
        (
            ("wait", "cell", "development"),
            "did you mean boutique/development or ",
        ),
        (("placement", "explain", "payments"), "did you mean payments/development"),
        (("describe", "component", "a/b/c/d"), "write <project>/<component>, or in full"),
        (("get", "events"), "say of what: events of <project>/<cell>"),
        (("get", "health"), "write <project>/<cell>"),
        (("get", "promotion", "x"), "write <project>/<promotion>"),
    ],
)
def test_half_a_name_is_met_with_whole_ones(
    arguments: tuple[str, ...], words: str, cellplane: Run
) -> None:
    """A name that leaves something open is wrong usage, with names that can be copied."""
    answer = cellplane(*arguments)

    assert answer.code == 2
    assert words in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("get", "component", "boutique/cartservic"), "did you mean boutique/cartservice"),
        (("delete", "component", "payments/cartservice"), "did you mean boutique/cartservice?"),
        (("describe", "project", "boutiqe"), "did you mean boutique?"),
        (("wait", "cell", "payments/developmet"), "did you mean payments/development?"),
        (("get", "components", "-p", "boutiqe"), "did you mean boutique?"),
        (("get", "cells", "--org", "acmee"), "organizations/acmee does not exist"),
    ],
)
def test_what_is_not_there_is_met_with_what_is(
    arguments: tuple[str, ...], words: str, cellplane: Run
) -> None:
    """A name that does not exist ends with 3, and so does a list below one; close ones are said."""
    answer = cellplane(*arguments)

    assert answer.code == 3
    assert words in answer.err


def test_a_refused_delete_says_each_obstacle_once(cellplane: Run) -> None:
    """What stands in the way has a line of its own, and the way out is an option here."""
    answer = cellplane("delete", "project", "payments")

    assert answer.code == 1
    charge = "organizations/acme/projects/payments/components/charge: "
    assert answer.err.count(charge) == 1
    assert "--force" in answer.err


def test_a_cell_is_named_with_its_project(cellplane: Run) -> None:
    """In a column that names a Cell, its environment alone would say nothing."""
    from cellplane.api.placement.v1 import cell_revision_pb2
    from cellplane.cli.render.columns import cell

    revision = cell_revision_pb2.CellRevision(
        cell="organizations/acme/projects/boutique/cells/development"
    )
    assert cell(revision, "cell") == "boutique/development"


def test_every_kind_can_be_listed_or_says_how(cellplane: Run) -> None:
    """`get` answers for each kind of the contracts: with a table, or with what it needs."""
    from cellplane.cli.kinds import all_kinds

    for kind in all_kinds():
        answer = cellplane("get", kind.plural, "-o", "wide")
        assert answer.code in {0, 2}, (kind.name, answer.err)
        assert "Traceback" not in answer.err
        if answer.code == 2:
            assert "give its name" in answer.err or "say of what" in answer.err


def test_any_method_can_be_called(cellplane: Run) -> None:
    """`call` finds a method by its own name, sends JSON and prints JSON."""
    listed = cellplane("call", "ListProjects", '{"parent": "organizations/acme", "page_size": 1}')
    assert [p["name"] for p in json.loads(listed.out)["projects"]] == [
        "organizations/acme/projects/boutique"
    ]
    full = "cellplane.api.model.v1.ProjectService/GetProject"
    one = cellplane("call", full, '{"name": "organizations/acme/projects/payments"}')
    assert json.loads(one.out)["name"] == "organizations/acme/projects/payments"
    assert full.replace("/", ".") in cellplane("call").out.splitlines()

    missing = cellplane("call", "GetProject", '{"name": "organizations/acme/projects/nobody"}')
    assert missing.code == 3
    for arguments, words in (
        (("GetProjct",), "did you mean GetProject"),
        (("GetProject", '{"nme": "x"}'), 'has no field named "nme"'),
        (("GetProject", "{"), "the request is no GetProjectRequest"),
    ):
        wrong = cellplane("call", *arguments)
        assert (wrong.code, words in wrong.err) == (2, True), wrong.err


def test_a_stream_is_a_line_for_each_answer(control_plane: ControlPlane) -> None:
    """`call` prints what a stream says as it comes, until it is interrupted."""
    request = '{"parent": "organizations/acme/projects/payments", "kinds": ["Component"]}'
    method = "cellplane.api.model.v1.ResourceService.WatchResources"
    stream = interruptible(control_plane, "call", method, request)
    assert stream.stdout is not None
    try:
        first = json.loads(stream.stdout.readline())
    finally:
        stream.send_signal(2)
        _, words = stream.communicate(timeout=30)
    assert first["change"]["resourceName"].endswith("/components/charge")
    assert (stream.returncode, words) == (130, "")


def test_the_tab_key_completes_names(control_plane: ControlPlane) -> None:
    """Names come from the services: ids, and full names where one was begun."""

    def press(line: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "cellplane.cli"],
            env={
                **os.environ,
                "CELLPLANE_STATE": str(control_plane.layout.root),
                "_CELLPLANE_COMPLETE": "complete_bash",
                # The machine of the tests may be busy; what is late is not what is tested here.
                "CELLPLANE_COMPLETION_TIMEOUT": "60",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split(" ")) - 1),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert press("cellplane get components payments/") == ["payments/charge"]
    assert press("cellplane describe component/payments/") == ["component/payments/charge"]
    assert press("cellplane status bout") == ["boutique"]
    assert press("cellplane promote boutique --from de") == ["development"]
    assert press("cellplane describe project organizations/acme/projects/p") == [
        "organizations/acme/projects/payments"
    ]

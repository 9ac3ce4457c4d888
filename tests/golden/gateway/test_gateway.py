"""Golden cases of the gateway compiler; ``tests/cluster/gateway`` plays their requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellplane.gateway.compiler.compile import compile as compile_gateways
from cellplane.gateway.compiler.explain import Asked, explain, urls
from tests.golden import cases

CASES = cases.folders(Path(__file__).parent)


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_a_cell_compiles_to_these_gateways(folder: Path, update_golden: bool) -> None:
    """The compiler makes of ``in.yaml`` what ``out.yaml`` holds."""
    case = cases.case_of(cases.load(folder / "in.yaml"))
    compiled = compile_gateways(case.cell, case.plane, case.peers, include_frame=case.include_frame)

    cases.check(folder / "out.yaml", cases.picture(compiled), update=update_golden)


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_what_is_explained_is_what_real_gateways_do(folder: Path) -> None:
    """Without a gateway, each request is told to meet a route just where a real one serves it."""
    case = cases.case_of(cases.load(folder / "in.yaml"))
    wrong: list[str] = []
    for told in cases.load(folder / "requests.yaml")["requests"]:
        door, caller = told.get("door", "northbound"), told.get("caller", {})
        asked_of_this_plane = door != "egress" and not told.get("plain")
        unnamed = door == "westbound" and not caller
        if not asked_of_this_plane or unnamed or set(caller) - {"project"}:
            continue
        url = f"https://{told['host']}{told.get('path', '/')}"
        asked = Asked(method="GET", url=url, caller=caller.get("project", ""))
        met = explain(case.cell, case.plane, asked)
        served = told["expect"].get("status") not in {400, 404}
        if served == bool(met.why):
            wrong.append(f"{url}: {met}")

    assert wrong == []


def test_every_url_of_an_endpoint_meets_its_route() -> None:
    """What ``endpoints`` shows is what ``route explain`` finds, with the same component."""
    case = cases.case_of(cases.load(CASES[-1].parent / "doors" / "in.yaml"))
    shown = list(urls(case.cell))

    assert {(url.endpoint, url.caller) for url in shown} == {
        ("site", "project"),
        ("site", "public"),
        ("inner", "project"),
        ("inner", "organization"),
        ("live", "project"),
        ("live", "public"),
        ("graph", "project"),
        ("graph", "public"),
    }
    for url in shown:
        if url.caller != "project":
            caller = "pay" if url.caller == "organization" else ""
            asked = Asked(method="GET", url=url.url, caller=caller)
            assert explain(case.cell, case.plane, asked).component == url.component

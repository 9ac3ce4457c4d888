"""Golden cases of the gateway compiler; ``tests/cluster/gateway`` plays their requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellplane.gateway.compiler.compile import compile as compile_gateways
from tests.golden import cases

CASES = cases.folders(Path(__file__).parent)


@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_a_cell_compiles_to_these_gateways(folder: Path, update_golden: bool) -> None:
    """The compiler makes of ``in.yaml`` what ``out.yaml`` holds."""
    case = cases.case_of(cases.load(folder / "in.yaml"))
    compiled = compile_gateways(case.cell, case.plane, case.peers, include_frame=case.include_frame)

    cases.check(folder / "out.yaml", cases.picture(compiled), update=update_golden)

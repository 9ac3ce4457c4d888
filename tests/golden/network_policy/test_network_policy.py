"""Golden cases of the network policy compiler: both providers' words, and who may reach whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell import addresses
from cellplane.cell.manifest import Compiled
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.judge_cilium import refusals
from cellplane.network_policy.compiler.verdict import verdict
from tests.golden import cases

CASES = cases.folders(Path(__file__).parent)
PROVIDERS = ("cilium", "kubernetes")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_a_cell_compiles_to_these_policies(
    folder: Path, provider: str, update_golden: bool
) -> None:
    """The compiler makes of ``in.yaml`` what the provider's file holds."""
    _, compiled = compile_case(folder, provider)

    cases.check(folder / f"{provider}.yaml", cases.picture(compiled), update=update_golden)
    for body in cases.bodies(compiled.manifests):
        if body["kind"] == "CiliumNetworkPolicy":
            assert refusals(body) == []


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_these_flows_pass_and_those_do_not(folder: Path, provider: str) -> None:
    """The compiled policies do to every flow of ``flows.yaml`` what it says."""
    case, compiled = compile_case(folder, provider)
    objects = cases.bodies(compiled.manifests)
    wrong: list[str] = []
    told_flows = zip(cases.load(folder / "flows.yaml"), case_flows(folder, case), strict=True)
    for told, flow in told_flows:
        expected = told["expect"]
        if isinstance(expected, Mapping):
            expected = expected[provider]
        found = verdict(objects, flow)
        if found.allowed is not (expected == "allow"):
            wrong.append(f"{told}: {found.rules}")

    assert wrong == []


def case_flows(folder: Path, case: cases.Case) -> list[Flow]:
    """The flows of a case, without what is expected of them."""
    return [
        Flow(
            source=_place(case, told["from"]),
            destination=_place(case, told["to"]),
            port=_port(case, told["port"]),
            transport=told.get("transport", "TCP"),
            query=told.get("query", ""),
        )
        for told in cases.load(folder / "flows.yaml")
    ]


def compile_case(folder: Path, provider: str) -> tuple[cases.Case, Compiled]:
    """A case and what becomes of it, on its data plane with one provider alone."""
    case = cases.case_of(cases.load(folder / "in.yaml"))
    kept = [c for c in case.plane.capabilities if not c.startswith("networkpolicy.")]
    named = [c for c in (f"networkpolicy.{provider}",) if c in case.plane.capabilities]
    plane = replace(case.plane, capabilities=tuple(sorted([*kept, *named])))
    return case, compile_policies(case.cell, plane, case.peers, include_frame=case.include_frame)


def _place(case: cases.Case, told: Any) -> Place:
    namespace = case.cell.frame.namespace
    match told:
        case "own-node":
            return Node(own=True)
        case "other-node":
            return Node()
        case "egress":
            owning = {"gateway.envoyproxy.io/owning-gateway-name": "egress"}
            return Pod(namespace=namespace, account="egress", labels=owning)
        case "northbound" | "westbound":
            owning = {"gateway.envoyproxy.io/owning-gateway-name": told}
            return Pod(namespace=addresses.GATEWAY_NAMESPACE, account=told, labels=owning)
        case "dns":
            return Pod(namespace="kube-system", labels={"k8s-app": "kube-dns"})
        case str() if told in {c.component for c in case.cell.components}:
            return Pod(namespace=namespace, account=told, labels={"cellplane.dev/component": told})
        case {"pod": pod}:
            return cases.decode(Pod, pod)  # type: ignore[no-any-return]
        case {"address": address}:
            return cases.decode(Address, address)  # type: ignore[no-any-return]
        case _:
            raise AssertionError(f"nobody is {told}")


def _port(case: cases.Case, told: int | str) -> int:
    """A number, or ``component/connection`` for a listener of the egress gateway."""
    if isinstance(told, int):
        return told
    component, connection = told.split("/")
    return addresses.egress_ports(case.cell.frame)[component, connection]

"""Laws of the workload compiler."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import in_order
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.model.workload.compile import compile as compile_workload
from cellplane.model.workload.env import literal
from tests.property.compilers.strategies import TEXT, cells, peers, planes


def expand(text: str, known: dict[str, str]) -> str:
    """Expand as ``k8s.io/kubernetes/third_party/forked/golang/expansion`` does."""
    out, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out, at = out + text[at], at + 1
        elif text[at + 1] == "$":
            out, at = out + "$", at + 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            name = text[at + 2 : end]
            out, at = out + known.get(name, f"$({name})"), end + 1
        else:
            out, at = out + text[at : at + 2], at + 2
    return out


def templates(cell: ResolvedCell, plane: DataPlaneProfile) -> list[dict[str, Any]]:
    """The pod templates of a Cell."""
    found: list[dict[str, Any]] = []
    for m in compile_workload(cell, plane, Peers(), include_frame=True).manifests:
        spec = json.loads(m.content).get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found.append(spec["template"])
    return found


@given(TEXT)
def test_a_literal_survives_expansion(text: str) -> None:
    """What Kubernetes' expansion makes of a literal is the literal."""
    assert expand(literal(text), {"a": "x", "aB": "y", "": "z"}) == text


@settings(max_examples=40, deadline=None)
@given(cells(), planes(), peers, st.booleans())
def test_each_component_is_compiled_on_its_own(
    cell: ResolvedCell, plane: DataPlaneProfile, reached: Peers, frame: bool
) -> None:
    """Compiling a Cell is compiling its frame and each of its components alone."""
    whole = compile_workload(cell, plane, reached, include_frame=frame)
    parts = [
        compile_workload(replace(cell, components=(c,)), plane, reached, include_frame=False)
        for c in cell.components
    ]
    parts.append(
        compile_workload(replace(cell, components=()), plane, reached, include_frame=frame)
    )

    assert whole.manifests == in_order(m for part in parts for m in part.manifests)
    assert len({m.key for m in whole.manifests}) == len(whole.manifests)


@settings(max_examples=40, deadline=None)
@given(cells(), planes(), st.randoms(use_true_random=False))
def test_order_has_no_meaning(cell: ResolvedCell, plane: DataPlaneProfile, rng: Any) -> None:
    """Endpoints, connections and variables in another order give the same bytes."""

    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(rng.sample(items, len(items)))

    other = replace(
        cell,
        components=shuffled(
            tuple(
                replace(
                    c,
                    endpoints=shuffled(c.endpoints),
                    connections=shuffled(c.connections),
                    workload=replace(c.workload, env=shuffled(c.workload.env)),
                )
                for c in cell.components
            )
        ),
    )

    one = compile_workload(cell, plane, Peers(), include_frame=True)
    two = compile_workload(other, plane, Peers(), include_frame=True)

    assert one.manifests == two.manifests


@settings(max_examples=40, deadline=None)
@given(cells(), planes())
def test_a_release_restarts_nothing(cell: ResolvedCell, plane: DataPlaneProfile) -> None:
    """A release that leaves the process as it was leaves every pod template as it was."""
    released = replace(
        cell, components=tuple(replace(c, release="r-new", labels={}) for c in cell.components)
    )

    assert templates(cell, plane) == templates(released, plane)


@settings(max_examples=40, deadline=None)
@given(cells(), planes())
def test_every_pod_is_restricted(cell: ResolvedCell, plane: DataPlaneProfile) -> None:
    """Every pod passes the restricted Pod Security Standard and carries its policies' label."""
    for template in templates(cell, plane):
        spec = template["spec"]
        assert template["metadata"]["labels"][labels.COMPONENT] in {
            c.component for c in cell.components
        }
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all("emptyDir" in volume for volume in spec.get("volumes", ()))
        for container in spec["containers"]:
            closed = container["securityContext"]
            assert closed["allowPrivilegeEscalation"] is False
            assert closed["capabilities"] == {"drop": ["ALL"]}
            assert closed["readOnlyRootFilesystem"] is True
            names = [entry["name"] for entry in container["env"]]
            assert len(names) == len(set(names))


@settings(max_examples=40, deadline=None)
@given(cells(), planes())
def test_every_object_says_whose_it_is(cell: ResolvedCell, plane: DataPlaneProfile) -> None:
    """Every object names its Cell, in its own namespace, and its component."""
    for m in compile_workload(cell, plane, Peers(), include_frame=True).manifests:
        metadata = json.loads(m.content)["metadata"]
        assert metadata["annotations"][labels.OWNER] == cell.cell
        assert metadata["labels"][labels.CELL] == cell.frame.namespace
        assert metadata["labels"].get(labels.COMPONENT, "") == m.part
        if m.kind != "Namespace":
            assert metadata["namespace"] == cell.frame.namespace

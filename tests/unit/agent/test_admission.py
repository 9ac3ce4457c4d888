"""What the agent applies at all, whoever asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cellplane.agent.admission import ALLOWED, refusals
from cellplane.agent.facts import capabilities_of
from cellplane.agent.objects import Want, WantedObject
from cellplane.cell import labels
from cellplane.cell.definition import MADE_BY_TYPES
from cellplane.cell.manifest import Manifest, ObjectKey, Phase, manifest
from cellplane.cell.names import CellName, PlatformName
from cellplane.cell.plane import EXTERNAL_SECRETS

CELL = CellName(organization="acme", project="shop", environment="development")


def _manifest(kind: str = "ConfigMap", api_version: str = "v1", **metadata: Any) -> Manifest:
    own = {
        "name": "a",
        "namespace": CELL.namespace,
        "annotations": {labels.OWNER: str(CELL)},
        **metadata,
    }
    body = {"apiVersion": api_version, "kind": kind, "metadata": own}
    return manifest("web", Phase.CONFIGURATION, body)


def _ask(*manifests: Manifest, removals: tuple[ObjectKey, ...] = (), cell: str = str(CELL)) -> Want:
    return Want(
        cell=cell,
        revision=1,
        base_revision=0,
        nonce="n",
        objects=tuple(
            WantedObject(key=m.key, phase=m.phase, part=m.part, digest=m.digest) for m in manifests
        ),
        removals=removals,
        digest="",
        namespace=CELL.namespace,
        removed=False,
    )


def test_an_object_of_the_cell_is_taken() -> None:
    """An object of an allowed kind, in the Cell's namespace and owned by it, is not refused."""
    good = _manifest()
    assert refusals(_ask(good), {good.digest: good.content}) == ()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (_manifest(namespace="kube-system"), "not in the Cell's own namespace"),
        (_manifest(kind="ClusterRoleBinding", api_version="rbac.authorization.k8s.io/v1"), "kind"),
        (_manifest(kind="Namespace", name="other", namespace=""), "not the Cell's own"),
        (_manifest(annotations={labels.OWNER: "organizations/x"}), "as its owner"),
        (_manifest(annotations={}), "as its owner"),
    ],
)
def test_anything_else_is_refused_by_name(bad: Manifest, words: str) -> None:
    """Another namespace, kind or owner is refused for the object that it is about."""
    found = refusals(_ask(_manifest(), bad), {bad.digest: bad.content})
    assert [r.key for r in found] == [bad.key]
    assert words in found[0].message


def test_content_must_be_what_it_is_called() -> None:
    """Content of another object, or with another digest, is refused."""
    asked, other = _manifest(), _manifest(name="b")
    swapped = {asked.digest: other.content}
    assert "digest" in refusals(_ask(asked), swapped)[0].message
    renamed = WantedObject(key=other.key, phase=asked.phase, part=asked.part, digest=asked.digest)
    want = replace(_ask(), objects=(renamed,))
    found = refusals(want, {asked.digest: asked.content})
    assert "is of ConfigMap" in found[0].message


def test_removals_are_bound_to_the_cell_too() -> None:
    """A removal in another namespace is refused."""
    key = ObjectKey(api_version="v1", kind="Secret", namespace="kube-system", object="a")
    assert [r.key for r in refusals(_ask(removals=(key,)), {})] == [key]


def test_a_name_that_is_no_cells_is_refused() -> None:
    """Only names of Cells are taken."""
    assert refusals(_ask(cell="organizations/acme"), {})


def test_what_fetches_secrets_is_taken_where_its_api_is_served() -> None:
    """An ExternalSecret is applied; its API in the version that is compiled is a capability."""
    good = _manifest(kind="ExternalSecret", api_version="external-secrets.io/v1")

    assert refusals(_ask(good), {good.digest: good.content}) == ()
    assert EXTERNAL_SECRETS in capabilities_of(["v1", "external-secrets.io/v1"])
    assert EXTERNAL_SECRETS not in capabilities_of(["v1", "external-secrets.io/v1beta1"])


GATEWAYS = PlatformName(organization="acme", data_plane="west", platform="gateways")


def _of_platform(kind: str, name: str, api_version: str = "cilium.io/v2") -> Manifest:
    metadata = {"name": name, "annotations": {labels.OWNER: str(GATEWAYS)}}
    body = {"apiVersion": api_version, "kind": kind, "metadata": metadata}
    return manifest("", Phase.GUARD, body)


def test_the_platform_gets_its_namespace_and_policies_of_the_cluster() -> None:
    """Its own namespace and cluster-wide policies by its own names are taken, for it alone."""
    taken = [
        _of_platform("Namespace", GATEWAYS.namespace, "v1"),
        _of_platform("CiliumClusterwideNetworkPolicy", "cellplane.cells"),
    ]
    contents = {m.digest: m.content for m in taken}

    assert refusals(_ask(*taken, cell=str(GATEWAYS)), contents) == ()
    (refused,) = refusals(_ask(taken[1]), contents)
    assert "not the platform's own" in refused.message


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (_of_platform("CiliumClusterwideNetworkPolicy", "mine"), "not the platform's own"),
        (_of_platform("Namespace", "kube-system", "v1"), "not the Cell's own"),
        (_of_platform("ClusterRole", "cellplane.x", "rbac.authorization.k8s.io/v1"), "kind"),
    ],
)
def test_the_platform_gets_nothing_else(bad: Manifest, words: str) -> None:
    """Another name, another namespace or another kind is refused for the platform, too."""
    (refused,) = refusals(_ask(bad, cell=str(GATEWAYS)), {bad.digest: bad.content})
    assert words in refused.message


def test_whatever_types_make_is_applied() -> None:
    """No type is accepted whose objects agents would refuse."""
    for group, kinds in MADE_BY_TYPES.items():
        assert kinds <= ALLOWED[group], group


def test_a_cluster_that_serves_keda_can_scale_by_events() -> None:
    """The capability follows from the API in the version that is compiled, and from no other."""
    assert "keda" in capabilities_of(["keda.sh/v1alpha1"])
    assert "keda" not in capabilities_of(["keda.sh/v1beta1"])

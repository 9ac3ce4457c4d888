"""What differs between a manifest and a live object, and what does not."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cellplane.agent import quantity
from cellplane.agent.drift import differences

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"a": "1"}},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "app",
                        "image": "app:1",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [{"containerPort": 80}],
                        "resources": {"requests": {"cpu": "1000m"}},
                        "command": ["a", "b"],
                    }
                ]
            }
        }
    },
}
POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny"},
    "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]},
}


def _container(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["spec"]["template"]["spec"]["containers"][0]
    return found


def test_defaults_of_the_server_are_no_drift() -> None:
    """Fields that the server adds, in another order and normal form, differ in nothing."""
    live = copy.deepcopy(DEPLOYMENT)
    live["status"] = {"replicas": 1}
    live["metadata"] |= {"uid": "u", "managedFields": []}
    live["spec"]["progressDeadlineSeconds"] = 600
    container = _container(live)
    container["env"].reverse()
    container["env"].insert(0, {"name": "INJECTED", "value": "x"})
    container["ports"][0]["protocol"] = "TCP"
    container["resources"]["requests"]["cpu"] = "1"
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar"})
    assert differences(DEPLOYMENT, live) == ()


def test_a_changed_field_is_named() -> None:
    """A field of ours that was changed, and one that was taken out, are named by pointers."""
    live = copy.deepcopy(DEPLOYMENT)
    _container(live)["image"] = "evil:1"
    del live["metadata"]["labels"]["a"]
    found = [(d.pointer, d.live) for d in differences(DEPLOYMENT, live)]
    assert found == [
        ("/metadata/labels/a", None),
        ("/spec/template/spec/containers/0/image", ["evil:1"]),
    ]


def test_a_list_without_merge_keys_counts_as_a_whole() -> None:
    """One more word of a command is drift, and so is one more rule of a policy."""
    live = copy.deepcopy(DEPLOYMENT)
    _container(live)["command"].append("c")
    assert [d.pointer for d in differences(DEPLOYMENT, live)] == [
        "/spec/template/spec/containers/0/command"
    ]
    wide = copy.deepcopy(POLICY)
    wide["spec"]["ingress"].append({})
    assert [d.pointer for d in differences(POLICY, wide)] == ["/spec/ingress"]


def test_a_field_too_many_is_drift_of_a_policy() -> None:
    """Strictly compared, a field of the spec that was never written counts; of labels it never
    does.
    """
    live = copy.deepcopy(POLICY)
    live["spec"]["egress"] = [{}]
    live["metadata"]["labels"] = {"theirs": "1"}
    assert [d.pointer for d in differences(POLICY, live, strict=True)] == ["/spec/egress"]
    assert differences(POLICY, live) == ()


def test_what_the_server_made_of_a_write_is_no_drift_until_it_changes() -> None:
    """A residual explains a difference as long as the live value is the same."""
    live = copy.deepcopy(POLICY)
    live["spec"]["policyTypes"] = ["Ingress"]
    residual = {d.pointer: d.live for d in differences(POLICY, live, strict=True)}
    assert residual == {"/spec/policyTypes": [["Ingress"]]}
    assert differences(POLICY, live, strict=True, residual=residual) == ()
    live["spec"]["policyTypes"] = ["Egress"]
    assert len(differences(POLICY, live, strict=True, residual=residual)) == 1


def test_exactly_compared_everything_counts() -> None:
    """Of a file, any field that was not written counts, but for what only we add."""
    live = copy.deepcopy(POLICY)
    live["metadata"] |= {"resourceVersion": "7", "note": "x"}
    live["extra"] = 1
    found = [d.pointer for d in differences(POLICY, live, exact=True)]
    assert found == ["/metadata/note", "/extra"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(body=st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_an_object_never_differs_from_itself(body: dict[str, Any]) -> None:
    """Whatever it is, an object is as it is, however it is compared."""
    assert differences(body, body) == ()
    assert differences(body, body, strict=True, exact=True) == ()


@given(ours=st.dictionaries(st.text(max_size=4), JSON), live=st.dictionaries(st.text(), JSON))
def test_the_residual_of_a_write_leaves_nothing(ours: dict[str, Any], live: dict[str, Any]) -> None:
    """Whatever a server makes of a write, that answer itself is no drift: repairs never loop."""
    residual = {d.pointer: d.live for d in differences(ours, live, strict=True)}
    assert differences(ours, live, strict=True, residual=residual) == ()


def test_quantities_are_equal_in_meaning() -> None:
    """Suffixes and exponents of one amount are one number."""
    assert quantity.parse("1000m") == quantity.parse("1") == quantity.parse("1e0")
    assert quantity.parse("1Gi") == quantity.parse("1024Mi")
    assert quantity.millis("1.5") == 1500
    assert quantity.whole("1500m") == 2
    assert quantity.parse("ten") is None

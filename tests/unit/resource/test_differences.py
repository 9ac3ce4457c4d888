"""Which fields two states of a resource differ in, by path."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.api.type.v1 import endpoint_pb2, workload_pb2
from cellplane.resource.differences import differences


def component(image: str = "app:1", **more: Any) -> component_pb2.Component:
    """A component with two endpoints."""
    return component_pb2.Component(
        **{
            "name": "organizations/o/projects/p/components/c",
            "workload": workload_pb2.Workload(image=image, args=["--a"]),
            "endpoints": [
                component_pb2.Endpoint(endpoint="http", port=80),
                component_pb2.Endpoint(endpoint="admin", port=90),
            ],
        }
        | more
    )


def told(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """Path, old and new value of each."""
    return [(d.path, d.old, d.new) for d in differences(old, new)]


def test_the_same_differ_in_nothing() -> None:
    """Equal resources, and those that differ only in what the server sets, have no difference."""
    assert told(component(), component(etag="2", uid="other")) == []


def test_a_field_is_named_by_its_path() -> None:
    """Values deep inside are told one by one, lists of plain values as a whole."""
    changed = component(image="app:2")
    changed.workload.args[:] = ["--a", "--b"]
    assert told(component(), changed) == [
        ("workload.image", "app:1", "app:2"),
        ("workload.args", ["--a"], ["--a", "--b"]),
    ]


def test_an_element_is_named_by_its_id() -> None:
    """An element that changed, went or came is told alone, wherever it stands."""
    changed = component()
    del changed.endpoints[0]
    changed.endpoints[0].port = 91
    changed.endpoints[0].protocol = endpoint_pb2.PROTOCOL_GRPC
    changed.endpoints.add(endpoint="new", port=1)
    assert told(component(), changed) == [
        ('endpoints["http"]', {"endpoint": "http", "port": 80}, None),
        ('endpoints["admin"].protocol', None, "PROTOCOL_GRPC"),
        ('endpoints["admin"].port', 90, 91),
        ('endpoints["new"]', None, {"endpoint": "new", "port": 1}),
    ]


def test_an_order_that_changed_is_told() -> None:
    """Elements that change places alone are a difference of the list."""
    turned = component()
    first, second = list(turned.endpoints)
    del turned.endpoints[:]
    turned.endpoints.extend([second, first])
    assert told(component(), turned) == [("endpoints", ["http", "admin"], ["admin", "http"])]


def test_elements_without_ids_are_told_as_a_list() -> None:
    """Where two elements share an id, nobody can say which is which: the list is told."""
    twice = component()
    twice.endpoints.add(endpoint="http", port=81)
    assert [d.path for d in differences(component(), twice)] == ["endpoints"]


def test_a_key_of_a_map_is_named() -> None:
    """Notes differ key by key."""
    old = project_pb2.Project(annotations={"a": "1", "b": "2"})
    new = project_pb2.Project(annotations={"b": "3", "c": "4"})
    assert told(old, new) == [
        ('annotations["a"]', "1", None),
        ('annotations["b"]', "2", "3"),
        ('annotations["c"]', None, "4"),
    ]


def test_what_comes_or_goes_has_all_its_fields() -> None:
    """Of what was created there are new values alone, of what was deleted old ones alone."""
    came = told(None, component())
    assert [path for path, _, _ in came] == ["workload", "endpoints"] or came
    assert all(old is None for _, old, _ in came)
    assert [(p, n, o) for p, o, n in told(component(), None)] == came


def test_a_secret_is_named_and_never_shown() -> None:
    """A field marked `debug_redact` is told without its value, alone and inside of others."""
    file = descriptor_pb2.FileDescriptorProto(name="secret.proto", package="t", syntax="proto3")
    inner = file.message_type.add(name="Inner")
    outer = file.message_type.add(name="Outer")
    text = descriptor_pb2.FieldDescriptorProto
    plain = {"label": text.LABEL_OPTIONAL, "type": text.TYPE_STRING}
    inner.field.add(name="secret", number=1, **plain).options.debug_redact = True
    outer.field.add(name="token", number=1, **plain).options.debug_redact = True
    outer.field.add(
        name="inner",
        number=2,
        label=text.LABEL_OPTIONAL,
        type=text.TYPE_MESSAGE,
        type_name=".t.Inner",
    )
    pool = descriptor_pool.DescriptorPool()
    made = pool.Add(file) or pool.FindFileByName("secret.proto")
    message = message_factory.GetMessageClass(made.message_types_by_name["Outer"])
    old, new = message(token="hidden1"), message(token="hidden2", inner={"secret": "hidden3"})  # type: ignore[call-arg]
    found = told(old, new)
    assert found == [("token", "(secret)", "(secret)"), ("inner", None, {"secret": "(secret)"})]
    assert "hidden" not in str(found)


def test_free_values_are_told_by_their_keys() -> None:
    """What changed in the parameters of a type is one field of them, with numbers as written."""
    old, new = component(), component()
    old.parameters.update({"size": {"cpu": 1, "gpu/x": "a"}, "tier": "small"})
    new.parameters.update({"size": {"cpu": 2, "gpu/x": "b"}, "tier": "small", "on": True})

    assert told(old, new) == [
        ("parameters.on", None, True),
        ("parameters.size.cpu", 1, 2),
        ('parameters.size["gpu/x"]', "a", "b"),
    ]

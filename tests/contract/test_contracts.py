"""The contracts against the numbered rules of the API (docs/decisions/0013-api-rules.md, A).

Each test is one rule, by its number, and walks the descriptors: what is added tomorrow is held to
it, too. What deviates is listed in the document with its reason, and here by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import protovalidate
import pytest
from google.api import annotations_pb2, field_behavior_pb2, field_info_pb2, resource_pb2
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import (
    EnumDescriptor,
    FieldDescriptor,
)

from cellplane.rpc import contracts
from tests.contract.descriptors import (
    ROOT,
    RULES,
    STANDARD,
    behaviors,
    collections,
    deviates,
    failing,
    files,
    messages,
    methods,
    names,
    resource,
    resources,
    standard,
)


def test_a1_packages_end_in_a_version() -> None:
    """A 1: the package ends in its version and is the folder."""
    for file in files():
        assert re.fullmatch(r"cellplane\.api\.[a-z_]+\.v\d+", file.package)
        assert file.name.rpartition("/")[0] == file.package.replace(".", "/")


def test_a3_everything_is_explained() -> None:
    """A 3: each service, method, message, field, enum and value has a comment."""
    for file in contracts.load().file:
        if not file.package.startswith("cellplane.api."):
            continue
        said = {
            tuple(location.path)
            for location in file.source_code_info.location
            if location.leading_comments.strip()
        }
        wanted = [(6, s) for s in range(len(file.service))]
        wanted += [
            (6, s, 2, m) for s, one in enumerate(file.service) for m in range(len(one.method))
        ]
        wanted += list(_paths((4,), file.message_type))
        wanted += [
            path
            for e, enum in enumerate(file.enum_type)
            for path in [(5, e), *((5, e, 2, v) for v in range(len(enum.value)))]
        ]
        assert [path for path in wanted if path not in said] == [], file.name


def _paths(
    above: tuple[int, ...], found: Iterator[descriptor_pb2.DescriptorProto]
) -> Iterator[tuple[int, ...]]:
    for index, message in enumerate(found):
        if message.options.map_entry:
            continue
        path = (*above, index)
        yield path
        yield from ((*path, 2, f) for f in range(len(message.field)))
        for e, enum in enumerate(message.enum_type):
            yield (*path, 4, e)
            yield from ((*path, 4, e, 2, v) for v in range(len(enum.value)))
        yield from _paths((*path, 3), message.nested_type)


def test_a4_a5_a6_resources_are_named() -> None:
    """A 4 to 6: type, pattern, singular, plural; `name` is first and an identifier; collections
    alternate with ids, are plural, in camel case, and each once."""
    assert len(resources()) >= 13
    for name, message in resources().items():
        option = resource(message)
        assert option is not None
        assert option.type == f"cellplane.dev/{name}"
        assert option.singular
        assert option.plural
        first = message.fields_by_number[1]
        assert (first.name, first.type) == ("name", FieldDescriptor.TYPE_STRING)
        assert field_behavior_pb2.IDENTIFIER in behaviors(first)
        segments = collections(message)
        fixed, ids = segments[0::2], segments[1::2]
        assert all(re.fullmatch(r"[a-z][a-zA-Z]*", segment) for segment in fixed)
        assert all(re.fullmatch(r"\{[a-z_]+\}", segment) for segment in ids)
        assert len(set(fixed)) == len(fixed)
        if len(segments) % 2 == 0:
            assert fixed[-1] == option.plural
        else:
            assert deviates(6, name)


def test_a5_no_other_name() -> None:
    """A 5: a reference is not called a name."""
    wrong = [
        field.full_name
        for message in messages()
        for field in message.fields
        if (field.name.endswith("_name") and field.name != "display_name")
        or (field.name == "name" and field.number != 1)
    ]
    assert failing(5, wrong) == []


def test_a7_standard_methods() -> None:
    """A 7: each resource has Get and List, and Create, Update and Delete but for a reason."""
    wrong: list[str] = []
    for verb in ("Get", "List", "Create", "Update", "Delete"):
        having = {message.name for message, _ in standard(verb)}
        wrong += [f"{verb}{name}" for name in resources() if name not in having]
    assert failing(7, wrong) == []


def test_a8_gets() -> None:
    """A 8: Get asks by name alone, and answers the resource."""
    for message, method in standard("Get"):
        assert method.output_type is message
        assert method.input_type.name == f"{method.name}Request"
        assert (
            failing(8, [f"{method.name}.{f}" for f in names(method.input_type) if f != "name"])
            == []
        )


def test_a9_lists() -> None:
    """A 9: parent, page size and token, filter and order; the resources, then the token."""
    for message, method in standard("List"):
        asked, answer = method.input_type, method.output_type
        top = len(collections(message)) == 2
        wanted = ([] if top else ["parent"]) + ["page_size", "page_token", "filter", "order_by"]
        assert names(asked) == wanted or deviates(9, method.name), method.name
        assert asked.fields_by_name["page_size"].type == FieldDescriptor.TYPE_INT32
        assert answer.fields_by_number[1].message_type is message
        assert answer.fields_by_number[2].name == "next_page_token"
        assert not method.server_streaming


def test_a10_creates() -> None:
    """A 10: parent, the resource and its id; answers the resource."""
    for message, method in standard("Create"):
        field = re.sub(r"(?<!^)([A-Z])", r"_\1", message.name).lower()
        top = len(collections(message)) == 2
        wanted = {*(() if top else ("parent",)), field, f"{field}_id"}
        assert wanted <= set(names(method.input_type)) or deviates(10, method.name), method.name
        assert method.output_type is message


def test_a11_updates() -> None:
    """A 11: the resource, a mask that may be left out, and whether it may be missing."""
    for message, method in standard("Update"):
        field = re.sub(r"(?<!^)([A-Z])", r"_\1", message.name).lower()
        asked = method.input_type
        assert {field, "update_mask", "allow_missing"} <= set(names(asked))
        assert field_behavior_pb2.OPTIONAL in behaviors(asked.fields_by_name["update_mask"])
        assert method.output_type is message


def test_a12_deletes() -> None:
    """A 12: name, etag, whether it may be missing, and force where it can have children."""
    for message, method in standard("Delete"):
        asked = set(names(method.input_type))
        assert {"name", "etag", "allow_missing"} <= asked
        parents = {tuple(collections(other)[:-2]) for other in resources().values()}
        if tuple(collections(message)) in parents and not deviates(12, message.name):
            assert "force" in asked, method.name
        assert method.output_type.full_name == "google.protobuf.Empty"


_PREPOSITIONS = {
    "And",
    "As",
    "At",
    "By",
    "For",
    "From",
    "In",
    "Of",
    "On",
    "Or",
    "To",
    "With",
    "Async",
}
_SYNONYMS = {"Add", "Fetch", "Modify", "Put", "Query", "Read", "Remove", "Retrieve", "Set", "Show"}
"""Words for what a standard method does."""


def test_a13_custom_methods() -> None:
    """A 13: a verb and a noun without prepositions, no other word for a standard method, and a
    request of its own."""
    usual = re.compile(r"(Get|List|Create|Update|Delete|BatchGet)[A-Z]")
    for method in methods():
        if usual.match(method.name) or deviates(13, method.name):
            continue
        words = re.findall(r"[A-Z][a-z]+", method.name)
        assert "".join(words) == method.name, method.name
        assert len(words) > 1, method.name
        assert not _PREPOSITIONS & set(words), method.name
        assert words[0] not in _SYNONYMS | set(resources()), method.name
        assert method.input_type.name == f"{method.name}Request"


def test_a14_standard_fields() -> None:
    """A 14: every resource that people write has the standard fields."""
    wrong = [
        f"{name}.{field}"
        for name, message in resources().items()
        for field in sorted(STANDARD - set(names(message)))
    ]
    assert failing(14, wrong) == []
    for message in resources().values():
        uid = message.fields_by_name.get("uid")
        if uid is not None:
            info = uid.GetOptions().Extensions[field_info_pb2.field_info]
            assert info.format == field_info_pb2.FieldInfo.UUID4
            assert field_behavior_pb2.OUTPUT_ONLY in behaviors(uid)


def test_a15_writes_can_be_tried_and_repeated() -> None:
    """A 15: every write has `validate_only`, and `request_id` as a UUID."""
    for method in methods():
        if not re.match(r"(Create|Update|Delete|Apply|Start)[A-Z]", method.name):
            continue
        asked = method.input_type
        assert {"validate_only", "request_id"} <= set(names(asked)), method.name
        info = asked.fields_by_name["request_id"].GetOptions().Extensions[field_info_pb2.field_info]
        assert info.format == field_info_pb2.FieldInfo.UUID4


def test_a16_a17_fields_say_how_they_behave() -> None:
    """A 16, 17: every field has a behavior; every reference says to what, and is text."""
    for message in messages():
        for field in message.fields:
            assert behaviors(field) or deviates(16, message.name), field.full_name
            reference = field.GetOptions().Extensions[resource_pb2.resource_reference]
            if reference.type or reference.child_type:
                assert field.type == FieldDescriptor.TYPE_STRING
                target = (reference.type or reference.child_type).removeprefix("cellplane.dev/")
                assert target == "*" or target in resources(), field.full_name
    embedded = [
        field.full_name
        for name, message in resources().items()
        for field in message.fields
        if field.message_type is not None and field.message_type.name in resources()
    ]
    assert failing(17, embedded) == []


def test_a18_times_and_counts() -> None:
    """A 18: times end in `_time`, and nothing is `created_at`."""
    for message in messages():
        for field in message.fields:
            kind = field.message_type.full_name if field.message_type is not None else ""
            assert (kind == "google.protobuf.Timestamp") == field.name.endswith("_time"), (
                field.full_name
            )
            assert not field.name.endswith(("_at", "_on"))


def test_a19_enums() -> None:
    """A 19: the first value is unspecified; the life of a resource is its nested `State`."""

    def enums() -> Iterator[EnumDescriptor]:
        for file in files():
            yield from file.enum_types_by_name.values()
        for message in messages():
            yield from message.enum_types

    for enum in enums():
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
    for message in resources().values():
        state = message.fields_by_name.get("state")
        if state is not None:
            assert state.enum_type is not None
            assert state.enum_type.containing_type is message
            assert behaviors(state) == {field_behavior_pb2.OUTPUT_ONLY}
        assert "status" not in names(message)


def test_a20_long_running_methods() -> None:
    """A 20: what takes long answers an operation that says what it ends in."""
    found = [
        method
        for method in methods()
        if method.output_type.full_name == "google.longrunning.Operation"
    ]
    assert [method.name for method in found] == ["StartDeletion"]
    for method in found:
        info = method.GetOptions().Extensions[operations_pb2.operation_info]
        assert info.response_type
        assert info.metadata_type == "Operation"


def test_a21_batches() -> None:
    """A 21: many are read by their names, a thousand at most, as the contract says."""
    having = {message.name for message, _ in standard("BatchGet")}
    assert failing(21, [name for name in resources() if name not in having]) == []
    for message, method in standard("BatchGet"):
        assert method.output_type.fields_by_number[1].message_type is message
        made = message_factory.GetMessageClass(method.input_type)
        fields = {"parent": "x"} if "parent" in names(method.input_type) else {}
        full = made(**fields, names=["x"] * 1000)
        protovalidate.validate(full)
        for wrong in (made(**fields), made(**fields, names=["x"] * 1001)):
            with pytest.raises(protovalidate.ValidationError):
                protovalidate.validate(wrong)


def test_a22_a23_revisions_and_masks() -> None:
    """A 22, 23: releases are a nested collection with a snapshot; no request has a read mask."""
    release = resources()["Release"]
    assert {"snapshot", "create_time"} <= set(names(release))
    for method in methods():
        assert "read_mask" not in names(method.input_type)


def test_a25_every_method_has_a_path() -> None:
    """A 25: the verb table of HTTP holds for every unary method."""
    table = {
        "Get": "get",
        "List": "get",
        "BatchGet": "get",
        "Create": "post",
        "Update": "patch",
        "Delete": "delete",
    }
    for method in methods():
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        if method.server_streaming:
            assert not rule.WhichOneof("pattern")
            continue
        verb = rule.WhichOneof("pattern")
        assert verb, method.full_name
        usual = re.match(r"(BatchGet|Get|List|Create|Update|Delete)[A-Z]", method.name)
        if usual is not None:
            assert verb == table[usual[1]], method.full_name
        path = getattr(rule, verb)
        assert path.startswith("/v1/"), method.full_name
        for variable in re.findall(r"\{([a-z_.]+)", path):
            assert variable.split(".")[0] in names(method.input_type)


def test_a26_ids_are_checked() -> None:
    """A 26: the id in every Create is one that AIP-122 allows, and nothing else passes."""
    for message, method in standard("Create"):
        if deviates(10, method.name):
            continue
        field = next(
            f for f in method.input_type.fields if f.name.endswith("_id") and f.name != "request_id"
        )
        made = message_factory.GetMessageClass(method.input_type)
        for text, fits in (
            ("a", True),
            ("a-1", True),
            ("A", False),
            ("1a", False),
            ("a-", False),
            ("a" * 64, False),
        ):
            violations = protovalidate.collect_violations(made(**{field.name: text}))
            wrong = any(v.proto.field.elements[0].field_name == field.name for v in violations)
            assert wrong is not fits, (message.name, text)


def test_every_deviation_is_one() -> None:
    """The document excuses nothing that is not there."""
    known = {m.name for m in methods()} | set(resources()) | {m.name for m in messages()}
    known |= {field.full_name for message in messages() for field in message.fields}
    known |= {f"{n}.{f.name}" for n, m in resources().items() for f in m.fields} | STANDARD
    known |= {f"{m.name}.{f.name}" for m in methods() for f in m.input_type.fields}
    for verb in ("Get", "List", "Create", "Update", "Delete"):
        known |= {f"{verb}{name}" for name in resources()}
    known |= {f"{name}.{field}" for name in resources() for field in STANDARD}
    listed = re.findall(r"^\| A\d+ \|([^|\n]*)\|", RULES, re.MULTILINE)
    assert listed
    for cell in listed:
        for symbol in re.findall(r"`([^`]+)`", cell):
            assert symbol in known, symbol


def test_what_shows_a_rule_exists() -> None:
    """The document names tests that are there."""
    named = re.findall(r"`((?:contract|service|unit|e2e)/[a-z_/]+\.py)::(test_\w+)`", RULES)
    assert len(named) > 40
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), (file, test)
    # Every rule has a row: a test, or the word of a deviation that says why.
    rows = dict(re.findall(r"^\| ([BC]\d+) [^|]*\|([^|]*)\|", RULES, re.MULTILINE))
    rules = {f"B{n}" for n in range(27, 47)} | {f"C{n}" for n in range(47, 61)}
    assert rules <= set(rows)
    assert all("::test_" in rows[rule] or "a deviation" in rows[rule] for rule in rules)

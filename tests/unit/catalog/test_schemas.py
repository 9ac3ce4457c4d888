"""What a change of schema means to those who use it, format by format."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.model.catalog import descriptors
from cellplane.model.catalog.schemas import reading
from cellplane.model.catalog.schemas.finding import Finding, Weight
from cellplane.model.domain.resources import SchemaFormat

OPENAPI = """\
openapi: 3.0.3
info: {title: Orders, version: "1"}
paths:
  /orders/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: depth, in: query, schema: {type: integer, maximum: 9}}
      responses:
        "200":
          description: one
          headers: {X-Trace: {schema: {type: string}}}
          content:
            application/json: {schema: {$ref: "#/components/schemas/Order"}}
    put:
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
      requestBody:
        content:
          application/json: {schema: {$ref: "#/components/schemas/Order"}}
      responses:
        "204": {description: done}
components:
  schemas:
    Order:
      type: object
      required: [id]
      properties:
        id: {type: string}
        state: {type: string, enum: [open, closed]}
        parent: {$ref: "#/components/schemas/Order"}
"""
ASYNCAPI = """\
asyncapi: 3.0.0
info: {title: Orders, version: "1"}
channels:
  placed:
    address: orders.placed
    messages:
      order: {$ref: "#/components/messages/order"}
operations:
  tell:
    action: send
    channel: {$ref: "#/channels/placed"}
components:
  messages:
    order:
      payload: {type: object, required: [id], properties: {id: {type: string}}}
"""
PROTO = """\
syntax = "proto3";
package orders.v1;
service Orders { rpc Get(GetRequest) returns (Order); }
message GetRequest { string id = 1; }
message Order { string id = 1; int32 count = 2; State state = 3; }
enum State { STATE_UNSPECIFIED = 0; STATE_OPEN = 1; }
"""
GRAPHQL = "type Query { order(id: ID!): Order }\ntype Order { id: ID! note: String }\n"
DATA = '{"type": "object", "properties": {"id": {"type": "string"}}}'
TEXTS = {
    SchemaFormat.OPENAPI: OPENAPI,
    SchemaFormat.ASYNCAPI: ASYNCAPI,
    SchemaFormat.PROTOBUF: PROTO,
    SchemaFormat.GRAPHQL: GRAPHQL,
    SchemaFormat.JSON_SCHEMA: DATA,
}


def read(format: SchemaFormat, text: str) -> Any:
    if format is SchemaFormat.PROTOBUF:
        return descriptors.read(text.encode())
    return reading.read(format, text.encode())


def differ(format: SchemaFormat, old: str, new: str) -> tuple[Finding, ...]:
    assert not read(format, old).wrong
    assert not read(format, new).wrong
    if format is SchemaFormat.PROTOBUF:
        return descriptors.differ(old.encode(), new.encode())
    return reading.compare(format, old.encode(), new.encode())


@pytest.mark.parametrize(
    ("format", "operation"),
    [
        (SchemaFormat.OPENAPI, "GET /orders/{id}"),
        (SchemaFormat.ASYNCAPI, "orders.placed order"),
        (SchemaFormat.PROTOBUF, "orders.v1.Orders/Get"),
        (SchemaFormat.GRAPHQL, "Query order"),
        (SchemaFormat.JSON_SCHEMA, "id"),
    ],
)
def test_a_schema_says_what_it_offers(format: SchemaFormat, operation: str) -> None:
    """It is found good, tells its first operation, and differs from itself in nothing."""
    found = read(format, TEXTS[format])

    assert found.wrong == ()
    assert found.operations[0] == operation
    assert differ(format, TEXTS[format], TEXTS[format]) == ()


CASES = [
    # format, what is replaced, by what, the gravest finding: weight, reason, a part of its place
    ("OPENAPI", "    put:", "    post:", "BREAKING", "OPERATION_REMOVED", "PUT /orders/{}"),
    ("OPENAPI", "/orders/{id}:", "/orders/{order}:", "", "", ""),
    ("OPENAPI", "required: [id]", "required: [id, state]", "BREAKING", "REQUIRED_ADDED", ".state"),
    ("OPENAPI", "      required: [id]\n", "", "BREAKING", "REQUIRED_REMOVED", "200.id"),
    ("OPENAPI", "maximum: 9", "maximum: 5", "BREAKING", "BOUND_TIGHTENED", "parameter depth"),
    ("OPENAPI", "maximum: 9", "maximum: 50", "", "", ""),
    ("OPENAPI", "in: query,", "in: query, required: true,", "BREAKING", "REQUIRED_ADDED", "depth"),
    ("OPENAPI", "[open, closed]", "[open]", "BREAKING", "VALUES_REMOVED", "body.state"),
    ("OPENAPI", "[open, closed]", "[open, closed, lost]", "DANGEROUS", "VALUES_ADDED", "200.state"),
    ("OPENAPI", "X-Trace", "X-Other", "BREAKING", "HEADER_REMOVED", "X-Trace"),
    ("OPENAPI", "        state:", "        status:", "BREAKING", "PROPERTY_REMOVED", "200.state"),
    (
        "OPENAPI",
        "requestBody:\n",
        "requestBody:\n        required: true\n",
        "BREAKING",
        "REQUIRED_ADDED",
        "body",
    ),
    ("OPENAPI", "application/json", "text/json", "BREAKING", "MEDIA_TYPE_REMOVED", "GET"),
    (
        "OPENAPI",
        "paths:",
        "security: [{key: []}]\npaths:",
        "BREAKING",
        "CREDENTIALS_REQUIRED",
        "GET",
    ),
    ("ASYNCAPI", "orders.placed", "orders.new", "BREAKING", "CHANNEL_REMOVED", "orders.placed"),
    ("ASYNCAPI", "{id: {type: string}}", "{}", "BREAKING", "PROPERTY_REMOVED", "order.id"),
    ("ASYNCAPI", "string", "integer", "BREAKING", "TYPE_WIDENED", "order.id"),
    ("ASYNCAPI", "{id: {", "{at: {type: string}, id: {", "COMPATIBLE", "PROPERTY_ADDED", ".at"),
    ("PROTOBUF", "int32 count = 2", "int32 count = 4", "BREAKING", "FIELD_REMOVED", "Order.count"),
    ("PROTOBUF", "int32 count", "int64 count", "DANGEROUS", "TYPE_CHANGED", "Order.count"),
    ("PROTOBUF", "int32 count", "string count", "BREAKING", "TYPE_CHANGED", "Order.count"),
    ("PROTOBUF", "int32 count", "repeated int32 count", "BREAKING", "LABEL_CHANGED", "count"),
    ("PROTOBUF", "int32 count", "int32 number", "DANGEROUS", "FIELD_RENAMED", "Order.count"),
    ("PROTOBUF", "rpc Get(", "rpc Fetch(", "BREAKING", "METHOD_REMOVED", "Orders/Get"),
    ("PROTOBUF", "returns (", "returns (stream ", "BREAKING", "STREAMING_CHANGED", "Orders/Get"),
    ("PROTOBUF", "STATE_OPEN = 1", "STATE_OPEN = 2", "BREAKING", "VALUE_REMOVED", "STATE_OPEN"),
    ("PROTOBUF", "state = 3;", "state = 3; bool x = 9;", "COMPATIBLE", "FIELD_ADDED", "Order.x"),
    ("GRAPHQL", " note: String", "", "BREAKING", "FIELD_REMOVED", "Order.note"),
    ("GRAPHQL", "id: ID!)", "id: ID!, at: Int!)", "BREAKING", "REQUIRED_ARG_ADDED", "Query.order"),
    ("GRAPHQL", "id: ID!)", "id: ID!, at: Int)", "DANGEROUS", "OPTIONAL_ARG_ADDED", "Query.order"),
    ("JSON_SCHEMA", '"id"', '"key"', "BREAKING", "PROPERTY_REMOVED", "data.id"),
    ("JSON_SCHEMA", '"string"', '["string", "null"]', "BREAKING", "TYPE_WIDENED", "data.id"),
]


@pytest.mark.parametrize(("format", "old", "new", "weight", "reason", "place"), CASES)
def test_a_change_is_told_as_what_it_is(
    format: str, old: str, new: str, weight: str, reason: str, place: str
) -> None:
    """The gravest finding has its weight, its reason and its place; or there is none."""
    own = SchemaFormat(format)
    assert old in TEXTS[own]
    changed = TEXTS[own].replace(old, new)
    if old == "/orders/{id}:":
        changed = changed.replace("name: id", "name: order")
    found = differ(own, TEXTS[own], changed)
    if not weight:
        assert [f for f in found if f.weight is not Weight.COMPATIBLE] == []
        return
    gravest = [f for f in found if f.weight is found[0].weight]

    assert found[0].weight is Weight(weight), found
    assert any(f.reason == reason and place in f.place for f in gravest), found


WRONG = [
    ("OPENAPI", "openapi: 3.0.3", "openapi: 2.0.0", "line 1: openapi"),
    ("OPENAPI", "#/components/schemas/Order", "http://127.0.0.1/x", "outside of the document"),
    ("OPENAPI", "  /orders/{id}:", "  orders:", "line 3: paths"),
    ("OPENAPI", "info: {", "info: [", "line 2"),
    ("OPENAPI", "info: {title", "info: &a {x: *a, title", "line 2: aliases are not read"),
    ("ASYNCAPI", "action: send", "action: shout", "line 10: operations.tell.action"),
    ("ASYNCAPI", "#/channels/placed", "#/channels/none", "leads nowhere"),
    ("ASYNCAPI", "type: object", "type: thing", "payload"),
    ("PROTOBUF", "int32 count = 2", "int32 count = 1", "line 5"),
    ("PROTOBUF", "package", 'import "other.proto";\npackage', "other.proto"),
    ("GRAPHQL", "Order }", "Nothing }", "Nothing"),
    ("GRAPHQL", "type Query {", "type Query (", "line 1"),
    ("JSON_SCHEMA", '"string"', '"text"', "properties.id.type"),
    ("JSON_SCHEMA", "{", "[{", "neither YAML nor JSON"),
]


@pytest.mark.parametrize(("format", "old", "new", "told"), WRONG)
def test_what_is_wrong_is_told_with_its_place(format: str, old: str, new: str, told: str) -> None:
    """A document that is not what it claims to be is refused, by line or by path."""
    own = SchemaFormat(format)
    assert old in TEXTS[own]
    found = read(own, TEXTS[own].replace(old, new, 1))

    assert found.wrong
    assert any(told in str(w) for w in found.wrong), [str(w) for w in found.wrong]


def test_descriptors_are_a_schema_too() -> None:
    """A set with all imports is read as its source is; one that misses an import is refused."""
    compiled, _ = descriptors.descriptors(PROTO.encode())
    assert compiled is not None
    whole = compiled.SerializeToString()
    compiled.file[0].dependency.append("other.proto")
    broken = descriptors.read(compiled.SerializeToString())

    assert descriptors.read(whole) == descriptors.read(PROTO.encode())
    assert descriptors.differ(whole, PROTO.encode()) == ()
    assert "other.proto" in str(broken.wrong[0])
    assert "neither" in str(descriptors.read(b"\xff\xfe").wrong[0])


def test_a_schema_that_names_itself_ends() -> None:
    """Schemas that are recursive, or that fan out without end, are compared in bounded time."""
    schema = '{"$defs": {%s}, "$ref": "#/$defs/n0"}'
    fan = ", ".join(
        f'"n{n}": {{"allOf": [{{"$ref": "#/$defs/n{n}"}}], "properties": '
        f'{{"a": {{"$ref": "#/$defs/n{n + 1}"}}, "b": {{"$ref": "#/$defs/n{n + 1}"}}}}}}'
        for n in range(30)
    )
    old = schema % f'{fan}, "n30": {{"type": "string"}}'
    new = schema % f'{fan}, "n30": {{"type": "number"}}'
    found = differ(SchemaFormat.JSON_SCHEMA, old, new)

    assert any(f.reason in ("TOO_MUCH", "TYPE_WIDENED") for f in found)

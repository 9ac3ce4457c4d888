"""Laws of the language of types: it means what CEL means, and it always comes to an end."""

from __future__ import annotations

import json
from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell.definition import (
    Definition,
    Patch,
    PatchAction,
    PatchOperation,
    PatchTarget,
    ResourceTemplate,
)
from cellplane.model.template.definition import Compiled, compile_definition
from cellplane.model.template.findings import Faults
from cellplane.model.template.holes import Failed, compile_expression, compile_template
from cellplane.model.template.kinds import ANY
from cellplane.model.template.limits import MAX_STEPS, Budget
from cellplane.model.template.render import Rendered, TraitUse, render
from cellplane.model.template.schema import read_schema

SCOPE: dict[str, Any] = {
    "n": 7,
    "d": 2.5,
    "s": "shop-42",
    "t": True,
    "xs": [3, 1, 2],
    "ws": ["b", "a"],
    "m": {"k": 1, "name": "web"},
}
TYPES = dict.fromkeys(SCOPE, ANY)
FAILED = object()

numbers: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["0", "1", "2", "-3", "n", "m.k", "xs[0]", "xs[n]", "size(s)"])
        | st.builds(lambda a, o, b: f"({a} {o} {b})", numbers, st.sampled_from("+-*/%"), numbers)
        | st.builds(lambda a, b, c: f"({a} ? {b} : {c})", truths, numbers, numbers)
        | st.builds(lambda a: f"size({a})", lists)
        | st.builds(lambda a, b: f"({a})[{b}]", lists, numbers)
        | st.builds(lambda a: f"-({a})", numbers)
    )
)
texts: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["s", "''", "'a'", '"b\\n"', "m.name", "ws[1]", "m['name']"])
        | st.builds(lambda a, b: f"({a} + {b})", texts, texts)
        | st.builds(lambda a, b, c: f"({a} ? {b} : {c})", truths, texts, texts)
    )
)
truths: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["true", "false", "t", "has(m.k)", "has(m.none)", "'k' in m"])
        | st.builds(
            lambda a, o, b: f"({a} {o} {b})",
            numbers,
            st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
            numbers,
        )
        | st.builds(
            lambda a, o, b: f"({a} {o} {b})", texts, st.sampled_from(["==", "!=", "<"]), texts
        )
        | st.builds(lambda a, o, b: f"({a} {o} {b})", truths, st.sampled_from(["&&", "||"]), truths)
        | st.builds(lambda a: f"!({a})", truths)
        | st.builds(lambda a, b: f"({a} in {b})", numbers, lists)
        | st.builds(lambda a, b: f"({a} == {b})", lists, lists)
        | st.builds(
            lambda a, f, b: f"({a}).{f}({b})",
            texts,
            st.sampled_from(["startsWith", "endsWith", "contains"]),
            texts,
        )
        | st.builds(
            lambda a, f, b: f"({a}).{f}(x, {b})",
            lists,
            st.sampled_from(["all", "exists", "exists_one"]),
            st.sampled_from(["x > 1", "x == n", "x in xs"]),
        )
    )
)
lists: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["xs", "[]", "[1, 2]", "[n]"])
        | st.builds(lambda a, b: f"[{a}, {b}]", numbers, numbers)
        | st.builds(lambda a, b: f"({a} + {b})", lists, lists)
        | st.builds(lambda a: f"({a}).filter(x, x > 1)", lists)
        | st.builds(lambda a, b: f"({a}).map(x, x * {b})", lists, numbers)
    )
)
expressions = st.one_of(numbers, texts, truths, lists).filter(lambda text: text.count("(") < 30)


def ours(text: str) -> Any:
    """What this evaluator gives; ``FAILED`` for what it refuses."""
    faults = Faults()
    compiled = compile_expression(text, TYPES, faults)
    if compiled is None:
        return FAILED
    try:
        return compiled.fill(dict(SCOPE), Budget())
    except Failed:
        return FAILED


def theirs(text: str) -> Any:
    """What the Rust implementation of CEL gives."""
    try:
        return cel.evaluate(text, SCOPE)
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ArithmeticError):
        return FAILED


@given(text=expressions)
@settings(max_examples=120)
def test_an_expression_means_what_another_implementation_of_cel_says(text: str) -> None:
    """Both give the same value, or both refuse."""
    one, other = ours(text), theirs(text)
    assert (one is FAILED) is (other is FAILED), text
    if one is not FAILED:
        assert json.dumps(one) == json.dumps(other), text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("1.0 / 4.0", 0.25),
        ("1 == 1.0", True),
        ("'a' + 'b'", "ab"),
        ("[1] + [2]", [1, 2]),
        ("true || m.none", True),
        ("m.none || true", True),
        ("false && m.none == 1", False),
        ("has(m.none)", False),
        ("has(m.k) ? m.k : 9", 1),
        ("xs.map(x, x > 1, x * 2)", [6, 4]),
        ("xs.filter(x, x != 2)", [3, 1]),
        ("xs.exists_one(x, x == 1)", True),
        ("[1, 2].exists(x, x / (x - 1) > 1)", True),
        ("[1, 3].all(x, 6 / (x - 1) > 9)", False),
        ("m.map(k, k)", ["k", "name"]),
        ("'k' in m", True),
        ("s.matches('^shop-[0-9]+$')", True),
        ("s.split('-')", ["shop", "42"]),
        ("ws.sort().join(',')", "a,b"),
        ("int('42') + n", 49),
        ("r'\\d' + '\\u0041'", "\\dA"),
        ("m.merge({'k': 2}).k", 2),
        ("m.entries().map(e, e.key)", ["k", "name"]),
    ],
)
def test_an_expression_has_its_value(text: str, value: Any) -> None:
    """Values are those of CEL's specification."""
    assert ours(text) == value


BOMBS = [
    "xs.map(a, xs.map(b, xs.map(c, ws.join(s + s))))",
    "big.map(a, big.map(b, big.map(c, a + b + c)))",
    "big.map(a, big.map(b, big.filter(c, c == a)))",
    "[s].map(a, a + a + a + a)" + ".map(a, a + a + a + a + a + a)" * 20,
    "[1]" + ".map(a, [a, a])" * 90 + " == [1]",
    "[big]" + ".map(a, [a, a])" * 40 + ".map(a, json(a))",
    "s.replace('', s + s + s + s).replace('', s + s + s + s).replace('', s + s + s).replace('', s)",
    "(s + '(a*)*b').matches('(((((((a*)*)*)*)*)*)*)*b')",
    "((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))",
    "1" + " + 1" * 500,
    "-" * 500 + "1",
    "[" * 200 + "]" * 200,
]


@pytest.mark.parametrize("text", BOMBS)
def test_whatever_an_expression_asks_for_it_ends(text: str) -> None:
    """What would grow without end is refused within the steps that a component has."""
    faults, budget = Faults(), Budget()
    compiled = compile_expression(text, {**TYPES, "big": ANY}, faults)
    if compiled is None:
        assert faults.found
        return
    scope = dict(SCOPE) | {"big": list(range(1000)), "s": "a" * 1000}
    try:
        compiled.fill(scope, budget)
    except Failed as failed:
        assert failed.fault.reason in ("BUDGET_EXHAUSTED", "EXPRESSION_FAILED")  # noqa: PT017
    assert budget.steps > -MAX_STEPS


@given(text=st.text(max_size=60))
@settings(max_examples=200)
def test_any_text_is_a_template_or_is_told_why_not(text: str) -> None:
    """Nothing that people write raises: it compiles, or there is a finding with its place."""
    faults = Faults()
    compiled = compile_template({"a": [text]}, TYPES, faults)
    for fault in faults.found:
        assert fault.path == "a[0]"
        assert 0 <= fault.offset <= len(text)
    if not faults.found:
        try:
            compiled.fill(dict(SCOPE), Budget())
        except Failed as failed:
            assert failed.fault.path == "a[0]"  # noqa: PT017


PARAMETERS = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer", "default": 2, "minimum": 0},
        "ports": {
            "type": "array",
            "default": [],
            "items": {
                "type": "object",
                "properties": {
                    "port": {"type": "integer"},
                    "protocol": {"type": "string", "default": "TCP"},
                },
            },
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "ratio": {"type": "number", "default": 1},
    },
}
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["replicas", "ports", "port", "labels", "x"]), inner)
    ),
    max_leaves=8,
)


@given(value=st.dictionaries(st.sampled_from([*PARAMETERS["properties"], "x"]), _json))
@settings(max_examples=100)
def test_filling_in_defaults_twice_is_filling_them_in_once(value: dict[str, Any]) -> None:
    """A default that was filled in is as if it had been written, and what was written stays."""
    schema = read_schema(PARAMETERS, Faults())
    once = schema.fill(value)
    assert schema.fill(once) == once
    assert value.keys() <= once.keys()


MANIFEST = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}],
                "volumes": [],
            }
        },
    },
}
TYPE = compile_definition(
    Definition(definition="t", resources=(ResourceTemplate(template="run", manifest=MANIFEST),)),
    {},
)
PLACES = [
    "/spec/replicas",
    "/spec/paused",
    "/spec/template/spec/containers/0/image",
    "/spec/template/spec/containers/[name=main]/image",
    "/spec/template/spec/containers/[name=main]/env/0/value",
    "/spec/template/spec/containers/[name=main]/env/[name=A]/value",
    "/spec/template/spec/containers/[name=main]/env",
    "/spec/template/spec/containers/-",
    "/spec/template/spec/volumes/-",
    "/spec/template/metadata/annotations/a",
    "/spec/template/metadata/annotations",
]
CANONICAL = {
    place: place.replace("containers/0", "containers/[name=main]").replace("env/0", "env/[name=A]")
    for place in PLACES
}


def _trait(place: str, value: Any) -> Compiled:
    operation = PatchOperation(action=PatchAction.ADD, path=place, value=value)
    patch = Patch(target=PatchTarget(kind="Deployment"), operations=(operation,))
    return compile_definition(Definition(definition=place, patches=(patch,)), {})


TRAITS = {place: _trait(place, f"v{index}") for index, place in enumerate(PLACES)}


def _rendered(places: list[tuple[int, str]]) -> Rendered:
    uses = [TraitUse(instance=f"t{i}", trait=TRAITS[p]) for i, p in places]
    return render(TYPE, {}, parameters={}, environment_parameters={}, traits=uses)


@given(places=st.lists(st.sampled_from(PLACES), max_size=4), random=st.randoms())
@settings(max_examples=100)
def test_two_traits_that_patch_one_field_are_told_so(places: list[str], random: Any) -> None:
    """A conflict is found exactly where one place is the other, or in it; order means nothing."""
    numbered = list(enumerate(places))
    shuffled = list(numbered)
    random.shuffle(shuffled)
    one, other = _rendered(numbered), _rendered(shuffled)
    assert one == other
    real = [CANONICAL[p].strip("/").split("/") for p in places if not p.endswith("/-")]
    clash = any(
        a[: min(len(a), len(b))] == b[: min(len(a), len(b))]
        for i, a in enumerate(real)
        for b in real[i + 1 :]
    )
    assert bool([f for f in one.faults if f.reason == "PATCH_CONFLICT"]) is clash
    if not clash:
        assert not one.faults
        assert len(one.objects) == 1


DEEP = "${[1]" + ".map(a, [[[[[[[[[[a]]]]]]]]]])" * 60 + "}"


@pytest.mark.parametrize("action", ["value", "merge", "manifest"])
def test_what_is_too_deep_or_too_large_is_refused_wherever_it_is_made(action: str) -> None:
    """A value without end is a finding in a template, in a patch and in a merge alike."""
    target = PatchTarget(kind="Deployment")
    operation = PatchOperation(action=PatchAction.ADD, path="/spec/deep", value=DEEP)
    patch = (
        Patch(target=target, operations=(operation,))
        if action == "value"
        else Patch(target=target, merge={"spec": {"deep": DEEP}})
    )
    template = ResourceTemplate(template="run", manifest={**MANIFEST, "spec": {"deep": DEEP}})
    own = compile_definition(Definition(definition="deep", resources=(template,)), {})
    trait = compile_definition(Definition(definition="deep", patches=(patch,)), {})
    assert not own.faults.found + trait.faults.found
    rendered = render(
        own if action == "manifest" else TYPE,
        {},
        parameters={},
        environment_parameters={},
        traits=[TraitUse(instance="one", trait=TRAITS["/spec/paused"])]
        if action == "manifest"
        else [TraitUse(instance="one", trait=trait)],
    )
    assert [fault.reason for fault in rendered.faults] == ["BUDGET_EXHAUSTED"]
    assert not rendered.objects

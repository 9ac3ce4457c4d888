"""Laws of the catalog's pure rules."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.model.catalog.exchange.score import from_score, to_score
from cellplane.model.catalog.rules.impact import Edge, impact
from cellplane.model.catalog.rules.words import TIERS, Words, terms_of, tier_of, words_of
from cellplane.model.catalog.schemas.finding import Changes, Weight
from cellplane.model.catalog.schemas.values import Comparison

LAW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.sampled_from("abcdef")
EDGES = st.lists(st.tuples(NAMES, NAMES, st.sampled_from("xy")), max_size=14)


def reached(edges: list[Edge], gone: str, offers: frozenset[str]) -> dict[str, int]:
    """Who breaks, and how far off, by asking again and again until nothing is new."""
    distance: dict[str, int] = {}
    broken = {gone}
    for step in range(1, 10):
        fresh = set()
        for consumer, provider, offer in edges:
            counts = offer in offers if step == 1 and offers else True
            if provider in broken and counts and consumer not in distance:
                fresh.add(consumer)
        if not offers:
            fresh.discard(gone)
        distance |= dict.fromkeys(sorted(fresh), step)
        broken = fresh
    return distance


@LAW
@given(edges=EDGES, gone=NAMES, offers=st.sampled_from([frozenset(), frozenset("x")]))
def test_impact_is_what_brute_force_finds(
    edges: list[Edge], gone: str, offers: frozenset[str]
) -> None:
    """The same components at the same distances, each by steps that are connections."""
    found = impact(edges, [gone], offers)

    assert {r.component: len(r.steps) for r in found} == reached(edges, gone, offers)
    for one in found:
        assert one.steps[0].provider == gone
        assert one.steps[-1].consumer == one.component
        for step in one.steps:
            assert (step.consumer, step.provider, step.offer) in edges
        for before, after in zip(one.steps, one.steps[1:], strict=False):
            assert before.consumer == after.provider


@LAW
@given(edges=EDGES, gone=NAMES, order=st.randoms())
def test_the_order_of_connections_does_not_matter(edges: list[Edge], gone: str, order: Any) -> None:
    """Shuffled, the ways are the same."""
    shuffled = list(edges)
    order.shuffle(shuffled)

    assert impact(shuffled, [gone]) == impact(edges, [gone])


TEXT = st.text(max_size=30)


@LAW
@given(texts=st.lists(TEXT, max_size=4))
def test_words_are_found_by_themselves(texts: list[str]) -> None:
    """Every word of a name is a hit of the first rank, and each beginning of one of the second."""
    words = Words(name=words_of(texts))
    for word in words.name:
        assert tier_of(words, [word]) == 0
        assert tier_of(words, [word[:1]]) in (0, 1)


@LAW
@given(query=TEXT)
def test_terms_are_plain(query: str) -> None:
    """Nothing of a query reaches a database but letters and digits."""
    assert all(term and term.isalnum() for term in terms_of(query))


def test_ranks_are_in_the_order_of_worth() -> None:
    """Whole names, beginnings of names, owners, text, schema."""
    fields = [Words(name=("pay",)), Words(name=("payment",)), Words(owner=("payment",))]
    fields += [Words(text=("payment",)), Words(schema=("payment",))]

    assert [tier_of(w, ["pay"]) for w in fields] == list(range(len(TIERS)))
    assert tier_of(Words(text=("payment",)), ["pay", "x"]) is None


SCALARS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", ["string", "null"]])},
    optional={
        "enum": st.lists(st.sampled_from(["a", "b", 1]), min_size=1, unique=True),
        "minimum": st.integers(0, 3),
        "maxLength": st.integers(0, 3),
        "format": st.sampled_from(["date", "int32"]),
    },
)


def _grown(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    objects = st.dictionaries(st.sampled_from("pqr"), inner, max_size=3).flatmap(
        lambda properties: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(properties),
                "required": st.lists(st.sampled_from(sorted(properties) or ["p"]), unique=True),
            },
            optional={"additionalProperties": st.booleans()},
        )
    )
    return st.one_of(
        objects,
        inner.map(lambda i: {"type": "array", "items": i}),
        st.lists(inner, min_size=1, max_size=2).map(lambda some: {"oneOf": some}),
    )


SCHEMAS = st.recursive(SCALARS, _grown, max_leaves=6)


def compared(old: Any, new: Any, *, written: bool) -> Changes:
    changes = Changes()
    Comparison(old_root=old, new_root=new, changes=changes).compare(
        old, new, "value", written=written
    )
    return changes


@LAW
@given(schema=SCHEMAS, written=st.booleans())
def test_a_schema_is_compatible_with_itself(schema: dict[str, Any], written: bool) -> None:
    """Nothing is found where nothing changed."""
    assert compared(schema, schema, written=written).found == []


@LAW
@given(schema=SCHEMAS)
def test_what_anybody_may_write_breaks_no_writer(schema: dict[str, Any]) -> None:
    """A schema that takes everything takes what it took, and one that gives it all was narrower."""
    widened = compared(schema, {}, written=True).found

    assert all(f.weight is not Weight.BREAKING for f in widened)


@LAW
@given(properties=st.dictionaries(st.sampled_from("pqrs"), SCALARS, min_size=1), data=st.data())
def test_a_property_that_goes_breaks_readers(
    properties: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever else it says, a reader that used it fails; the place names it."""
    gone = data.draw(st.sampled_from(sorted(properties)))
    rest = {name: schema for name, schema in properties.items() if name != gone}
    old, new = ({"type": "object", "properties": p} for p in (properties, rest))
    found = compared(old, new, written=False).found

    assert [(f.weight, f.place) for f in found] == [(Weight.BREAKING, f"value.{gone}")]


IDS = st.from_regex(r"[a-z]([a-z0-9-]{0,13}[a-z0-9])?", fullmatch=True)
VARIABLES = st.from_regex(r"[A-Z][A-Z0-9_]{0,6}", fullmatch=True)


@st.composite
def components(draw: st.DrawFn) -> dict[str, Any]:
    """A component as documents write it."""
    names = draw(st.lists(VARIABLES, unique=True, max_size=6))
    literal, injected = names[::2], names[1::2]
    endpoints = [
        {"endpoint": own, "protocol": draw(st.sampled_from(["HTTP", "UDP", "TCP"])), "port": 80 + n}
        | draw(st.sampled_from([{}, {"targetPort": 8080}, {"visibilities": ["PUBLIC"]}]))
        for n, own in enumerate(draw(st.lists(IDS, unique=True, max_size=3)))
    ]
    connections = []
    for own in draw(st.lists(IDS, unique=True, max_size=3)):
        connection: dict[str, Any] = {"connection": own}
        if draw(st.booleans()):
            target = {"component": "projects/p/components/c", "endpoint": "e"}
            connection["componentEndpoint"] = target
        else:
            connection["externalHost"] = {"host": "example.com", "port": 443, "protocol": "TLS"}
        if injected:
            word = draw(st.sampled_from(["url", "host", "port", "address"]))
            connection["inject"] = {word: injected.pop()}
        connections.append(connection)
    env: list[dict[str, Any]] = [
        {"name": name, "value": draw(st.text(min_size=1, max_size=9))} for name in literal
    ]
    workload: dict[str, Any] = {"image": "a:1"} | ({"env": env} if env else {})
    workload |= draw(st.sampled_from([{}, {"replicas": 3}, {"resources": {"cpuLimit": "1"}}]))
    found = {
        "kind": "Component",
        "name": f"projects/p/components/{draw(IDS)}",
        "componentKind": draw(st.sampled_from(["SERVICE", "JOB"])),
        "workload": workload,
    }
    more = {"endpoints": endpoints, "connections": connections}
    return found | {word: value for word, value in more.items() if value}


def _sorted(component: dict[str, Any]) -> dict[str, Any]:
    """Without the order of connections, which means nothing."""
    own = dict(component)
    own["connections"] = sorted(own.get("connections", []), key=lambda c: c["connection"])
    return own


@LAW
@given(component=components())
def test_score_takes_and_gives_back_a_component(component: dict[str, Any]) -> None:
    """Exported and imported, every component is the same."""
    written = to_score(component)
    read = from_score(written.document, "projects/p")

    assert _sorted(read.document) == _sorted(component)
    assert read.notes == ()

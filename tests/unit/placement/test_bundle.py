"""Bundles: revisions, what changed since when, and removals that are remembered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.placement.rollout.bundle import Bundle, advance, applied, remove, since
from cellplane.placement.rollout.diff import BundleObject, apply


def thing(name: str, digest: str = "1", part: str = "") -> BundleObject:
    """A ConfigMap."""
    key = ObjectKey(api_version="v1", kind="ConfigMap", namespace="n", object=name)
    return BundleObject(key=key, part=part, phase=Phase.CONFIGURATION, digest=digest)


def test_the_same_objects_are_the_same_revision() -> None:
    """Only the Cell's own revision goes on where nothing changed for the data plane."""
    first, _ = advance(Bundle(), [thing("a")], 1)
    second, delta = advance(first, [thing("a")], 2)
    assert (first.revision, second.revision, second.cell_revision) == (1, 1, 2)
    assert not delta


def test_an_empty_cell_has_a_first_revision() -> None:
    """Nothing at all is something to be delivered, too."""
    first, _ = advance(Bundle(), [], 1)
    assert first.revision == 1


def test_what_was_removed_is_named_until_that_is_applied() -> None:
    """A removal is part of every difference from before it, and is forgotten once done."""
    first, _ = advance(Bundle(), [thing("a"), thing("b")], 1)
    second, _ = advance(first, [thing("a")], 2)
    third, _ = advance(second, [thing("a", "2")], 3)
    assert since(third, 1).removals == (thing("b").key,)
    assert since(third, 2).removals == ()
    assert since(applied(third, 2), 0).removals == ()
    assert since(applied(third, 1), 0).removals == (thing("b").key,)


def test_what_returns_is_not_removed() -> None:
    """An object that comes back is wanted, and no longer named as removed."""
    first, _ = advance(Bundle(), [thing("a")], 1)
    second, _ = advance(first, [], 2)
    third, _ = advance(second, [thing("a")], 3)
    assert since(third, 0).removals == ()
    assert [o.key for o in since(third, 2).changed] == [thing("a").key]


def test_a_removed_cell_names_all_of_it_and_its_return_is_a_higher_revision() -> None:
    """Removal empties the bundle, at a revision of its own; so does what comes after it."""
    first, _ = advance(Bundle(), [thing("a"), thing("b")], 1)
    gone = remove(first)
    assert gone.removed
    assert gone.revision == 2
    assert set(since(gone, 0).removals) == {thing("a").key, thing("b").key}
    assert remove(gone) is gone
    back, _ = advance(gone, [thing("a")], 4)
    assert (back.revision, back.removed) == (3, False)
    assert since(back, 0).removals == (thing("b").key,)


def test_changed_parts_are_those_of_changed_and_removed_objects() -> None:
    """A part that lost an object has changed, too."""
    first, _ = advance(Bundle(), [thing("a", part="x"), thing("b", part="y")], 1)
    second, _ = advance(first, [thing("b", "2", part="y")], 2)
    assert second.changed_parts(1) == {"x", "y"}
    assert second.changed_parts(2) == frozenset()


steps = st.lists(
    st.lists(
        st.builds(thing, st.sampled_from("abc"), st.sampled_from("12")),
        max_size=3,
        unique_by=lambda o: o.key,
    ),
    min_size=1,
    max_size=6,
)


@given(history=steps, data=st.data())
def test_the_difference_from_any_revision_leads_to_the_latest(
    history: list[list[BundleObject]], data: st.DataObject
) -> None:
    """Whatever revision an agent has stored, the change since then makes it the latest one."""
    stored: dict[int, list[BundleObject]] = {0: []}
    bundle = Bundle()
    for number, objects in enumerate(history, start=1):
        bundle, _ = advance(bundle, objects, number)
        stored[bundle.revision] = objects
    base = data.draw(st.sampled_from(sorted(stored)))
    assert set(apply(stored[base], since(bundle, base))) == set(history[-1])

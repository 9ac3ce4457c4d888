"""Words for kinds: given ones, and the last word of a long one where nobody else has it."""

from __future__ import annotations

from collections import Counter

from cellplane.cli.kinds import all_kinds, of_noun, short_names


def test_no_two_kinds_share_a_word() -> None:
    """Every word means one kind, also among those that are made up."""
    words = Counter(
        word.lower()
        for kind in all_kinds()
        for word in {kind.name, kind.singular, kind.plural, *short_names(kind)}
        if word != kind.name or word.lower() != kind.singular.lower()
    )
    assert [word for word, count in words.items() if count > 1] == []


def test_the_last_word_is_enough_where_it_is_alone() -> None:
    """A subscription is an event subscription; an event is not."""
    assert of_noun("subscription").name == "EventSubscription"
    assert of_noun("changes").name == "ResourceChange"
    assert of_noun("events").name == "Event"
    assert of_noun("revision").name == "CellRevision"


def test_ids_may_be_numbers() -> None:
    """What a service numbers has a name like everything else."""
    change = of_noun("change")
    assert change.short("organizations/acme/resourceChanges/17") == "17"
    # A kind whose resources hang on several others knows each of their patterns.
    below = "organizations/acme/projects/boutique/resourceChanges/18"
    assert change.ids(below) == ("acme", "boutique", "18")

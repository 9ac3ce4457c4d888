"""One engine for every kind: nouns, names and parents come from the contracts."""

from __future__ import annotations

import pytest

from cellplane.cli.exits import Ended
from cellplane.cli.kinds import all_kinds, by_name, of_noun
from cellplane.cli.render.columns import COLUMNS, cell, columns


def test_every_kind_of_the_contracts_is_there() -> None:
    """Kinds need no list of their own here: those of the contracts are all."""
    found = {kind.name: kind for kind in all_kinds()}

    assert {"Organization", "Component", "Cell", "DataPlane", "Event"} <= set(found)
    assert found["Component"].service == "model"
    assert found["DataPlane"].service == "placement"
    assert found["Event"].service == "observability"
    assert {k.name for k in found.values() if k.applicable} == {
        "Organization",
        "Environment",
        "DeploymentPipeline",
        "Project",
        "SecretReference",
        "Trait",
        "Component",
        "ComponentType",
        "Deployment",
        "EventSubscription",
        "Preview",
        "ResourceClaim",
        "ResourceType",
        "DataPlane",
    }


@pytest.mark.parametrize(
    "noun",
    ["dataPlane", "dataplanes", "data-planes", "data_plane", "DATAPLANE", "dp", "planes"],
)
def test_a_noun_is_taken_in_every_spelling(noun: str) -> None:
    """Singular, plural, short names, and any case or separator."""
    assert of_noun(noun).name == "DataPlane"


def test_no_noun_means_two_kinds() -> None:
    """Every word leads to one kind."""
    words = [w for k in all_kinds() for w in {k.singular.lower(), k.plural.lower()}]
    from cellplane.cli.kinds import short_names

    words += [w for k in all_kinds() for w in short_names(k)]

    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        ("Organization", "acme", "organizations/acme"),
        ("Project", "boutique", "organizations/acme/projects/boutique"),
        ("Project", "projects/boutique", "organizations/acme/projects/boutique"),
        ("Component", "boutique/cart", "organizations/acme/projects/boutique/components/cart"),
        ("Component", "other/p/c", "organizations/other/projects/p/components/c"),
        ("Cell", "projects/b/cells/d", "organizations/acme/projects/b/cells/d"),
        ("Cell", "organizations/o/projects/b/cells/d", "organizations/o/projects/b/cells/d"),
        ("Decision", "b/d", "organizations/acme/projects/b/cells/d/decision"),
    ],
)
def test_a_name_is_taken_full_relative_or_as_ids(kind: str, text: str, name: str) -> None:
    """People write what is shortest; services get full names."""
    assert by_name(kind).parse(text, "acme") == name


@pytest.mark.parametrize("text", ["cart", "a/b/c/d", "projects/boutique", "Boutique/cart", ""])
def test_what_is_no_name_is_refused_with_the_form(text: str) -> None:
    """The refusal says how names of the kind are written."""
    with pytest.raises(Ended) as ended:
        by_name("Component").parse(text, "acme")

    assert ended.value.code == 2
    assert "<project>/<component>" in ended.value.message


def test_lists_read_across_what_is_not_named() -> None:
    """A parent has the organization's id, and `-` for whatever was not given."""
    assert by_name("Organization").parent("acme") == ""
    assert by_name("DataPlane").parent("acme") == "organizations/acme"
    assert by_name("Component").parent("acme") == "organizations/acme/projects/-"
    assert by_name("Component").parent("acme", ("b",)) == "organizations/acme/projects/b"
    deployments = by_name("Deployment").parent("acme", ("b",))
    assert deployments == "organizations/acme/projects/b/components/-"


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_column_is_a_field(name: str) -> None:
    """Columns name fields that the contract has, and show a dash where nothing is set."""
    kind = by_name(name)

    for column in columns(kind, wide=True):
        assert cell(kind.message(), column.path) in ("-", "0", "no")

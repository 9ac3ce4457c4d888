"""Laws of the expressions by which a westbound route knows its callers."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cellplane.gateway.compiler.callers import VALUE_LIMIT, caller_expressions

ids = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


def header(organization: str, project: str, environment: str, plane: str = "uid-1") -> str:
    """What Envoy writes for a caller."""
    return (
        f"Hash={'a' * 64};URI=spiffe://td.example/organizations/{organization}"
        f"/dataPlanes/{plane}/cells/{project}/{environment}"
    )


@given(st.sets(ids, max_size=8), ids, ids, ids, ids)
def test_exactly_the_named_cells_match(
    projects: set[str], organization: str, environment: str, other: str, elsewhere: str
) -> None:
    """A caller matches if, and only if, its project is named, here and in this environment."""
    expressions = caller_expressions("td.example", organization, environment, projects)

    def passes(value: str) -> bool:
        return any(re.fullmatch(expression, value) for expression in expressions)

    assert all(passes(header(organization, project, environment)) for project in projects)
    assert passes(header(organization, other, environment)) == (other in projects)
    for project in projects:
        assert passes(header(organization, project, elsewhere)) == (elsewhere == environment)
        assert passes(header(elsewhere, project, environment)) == (elsewhere == organization)


@given(st.sets(ids, min_size=1, max_size=300))
def test_no_value_is_longer_than_the_api_allows(projects: set[str]) -> None:
    """However many callers there are, each expression fits, and none is lost or doubled."""
    expressions = caller_expressions("td.example", "acme", "production", projects)

    assert all(len(expression) <= VALUE_LIMIT for expression in expressions)
    for project in projects:
        value = header("acme", project, "production")
        assert 1 == sum(bool(re.fullmatch(e, value)) for e in expressions)


@given(st.lists(ids, max_size=20))
def test_order_does_not_matter(projects: list[str]) -> None:
    """The same callers give the same expressions, in whatever order they come."""
    assert caller_expressions("td", "o", "e", projects) == caller_expressions(
        "td", "o", "e", reversed(projects)
    )

"""Page tokens: opaque, bound to their list, and never misread."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.cell.problem import Invalid
from cellplane.rpc.pagination import (
    DEFAULT_SIZE,
    MAX_SIZE,
    Listing,
    Page,
    PageTokens,
    derive_key,
    page_size,
)

TOKENS = PageTokens(derive_key(b"secret"))
LISTING = Listing(method="ListNotes", parent="projects/p", filter="a=1", order_by="name")


@given(st.lists(st.text(), min_size=1).map(tuple))
def test_a_token_leads_on(cursor: tuple[str, ...]) -> None:
    """A token read for its own list gives the cursor that it was made from."""
    token = TOKENS.next(LISTING, cursor)
    assert TOKENS.read(LISTING, size=10, token=token) == Page(size=10, cursor=cursor)


@pytest.mark.parametrize("change", ["method", "parent", "filter", "order_by"])
def test_a_token_is_of_one_list(change: str) -> None:
    """A token is refused for a list that differs in anything."""
    token = TOKENS.next(LISTING, ("a",))
    with pytest.raises(Invalid) as refused:
        TOKENS.read(replace(LISTING, **{change: "other"}), size=0, token=token)
    assert refused.value.problems[0].field == "page_token"


@given(st.binary(max_size=64))
def test_a_forged_token_is_refused(raw: bytes) -> None:
    """Nothing that was not made with the key is read."""
    forged = base64.urlsafe_b64encode(raw).decode()
    if not forged:
        return
    with pytest.raises(Invalid):
        TOKENS.read(LISTING, size=0, token=forged)


@given(st.text(min_size=1))
def test_any_text_is_refused_politely(text: str) -> None:
    """Text that is no token is an invalid argument, whatever it holds."""
    with pytest.raises(Invalid):
        TOKENS.read(LISTING, size=0, token=text)


def test_a_token_of_another_key_is_refused() -> None:
    """Keys of other purposes make other tokens."""
    other = PageTokens(derive_key(b"secret", "other"))
    with pytest.raises(Invalid):
        TOKENS.read(LISTING, size=0, token=other.next(LISTING, ("a",)))


def test_sizes() -> None:
    """No size is the default, too large is the most, negative is refused."""
    assert page_size(0) == DEFAULT_SIZE
    assert page_size(10_000) == MAX_SIZE
    assert page_size(7) == 7
    with pytest.raises(Invalid) as refused:
        page_size(-1)
    assert refused.value.problems[0].field == "page_size"

"""Pages of a list (AIP-158): how many, after what, and tokens that say nothing.

A token is sealed: nobody reads it, and it opens for the list alone that it was made for: the same
method, parent, filter and order. That of another list, or a changed one, is refused, not misread.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from typing import TypeAlias, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from cellplane.cell.problem import Invalid, Problem

DEFAULT_SIZE = 50
MAX_SIZE = 500

_MAX_TOKEN = 65536

Cursor: TypeAlias = tuple[str | int | float, ...]
"""Where a page ends: values that only whoever reads the list can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a page belongs to; a token is good for an equal one alone."""

    method: str
    """Any stable name, such as ``ListComponents``."""
    parent: str = ""
    filter: str = ""
    order_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What to read: ``size`` items after ``cursor``."""

    size: int
    cursor: Cursor = ()
    """Sort key of the last item of the page before; empty for the first page."""


def derive_key(secret: bytes, purpose: str = "page-token") -> bytes:
    """A key of 32 bytes for one purpose, from a secret of the server."""
    return hmac.digest(secret, f"cellplane/{purpose}".encode(), "sha256")


def page_size(asked: int) -> int:
    """Default 50, at most 500; raises ``Invalid`` when negative (AIP-158)."""
    if asked < 0:
        problem = Problem(
            reason="PAGE_SIZE_NEGATIVE",
            message=f"page size {asked} is negative: leave it out for {DEFAULT_SIZE}",
            field="page_size",
            value=str(asked),
        )
        raise Invalid(problem.message, problems=[problem], reason=problem.reason)
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


class PageTokens:
    """Makes and reads page tokens with one key."""

    __slots__ = ("_box",)

    def __init__(self, key: bytes) -> None:
        """*key* has 32 bytes."""
        self._box = AESSIV(key)

    def read(self, listing: Listing, *, size: int, token: str) -> Page:
        """The page that a request asks for.

        Raises ``Invalid`` for a negative size, or a token that was not made for this list.
        """
        return Page(size=page_size(size), cursor=self._open(listing, token) if token else ())

    def next(self, listing: Listing, cursor: Cursor) -> str:
        """The token of the page after the item whose sort key is ``cursor``."""
        content = json.dumps(cursor, ensure_ascii=False, separators=(",", ":")).encode()
        sealed = self._box.encrypt(content, [_bound(listing)])
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _open(self, listing: Listing, token: str) -> Cursor:
        try:
            # Past the longest token that we make, there is nothing worth decoding.
            raw = base64.b64decode(
                token[:_MAX_TOKEN].encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True
            )
            content = self._box.decrypt(raw, [_bound(listing)])
        except (binascii.Error, UnicodeEncodeError, InvalidTag, ValueError):
            raise refused() from None
        return tuple(cast("list[str | int | float]", json.loads(content)))


def _bound(listing: Listing) -> bytes:
    return json.dumps([listing.method, listing.parent, listing.filter, listing.order_by]).encode()


def refused() -> Invalid:
    """What a token is answered with that is not this list's."""
    problem = Problem(
        reason="PAGE_TOKEN_INVALID",
        message="page token was not made for this list: start again without one",
        field="page_token",
    )
    return Invalid(problem.message, problems=[problem], reason=problem.reason)

"""Pages of a list (AIP-158): how many, after what, and tokens that say no more than they must.

A token is opaque, and bound by a keyed digest to the list that it was made for: the same parent,
filter and order. A token of another list, or a changed one, is refused, not misread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import cast

from cellplane.cell.problem import Invalid, Problem

DEFAULT_SIZE = 50
MAX_SIZE = 500

_DIGEST = 16
_MAX_TOKEN = 4096


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
    cursor: tuple[str, ...] = ()
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

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def read(self, listing: Listing, *, size: int, token: str) -> Page:
        """The page that a request asks for.

        Raises ``Invalid`` for a negative size, or a token that was not made for this list.
        """
        return Page(size=page_size(size), cursor=self._open(listing, token) if token else ())

    def next(self, listing: Listing, cursor: tuple[str, ...]) -> str:
        """The token of the page after the item whose sort key is ``cursor``."""
        content = json.dumps(cursor, ensure_ascii=False, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._seal(listing, content) + content).decode().rstrip("=")

    def _open(self, listing: Listing, token: str) -> tuple[str, ...]:
        try:
            # Past the longest token that we make, there is nothing worth decoding.
            raw = base64.b64decode(
                token[:_MAX_TOKEN].encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True
            )
        except (binascii.Error, UnicodeEncodeError):
            raise _refused() from None
        seal, content = raw[:_DIGEST], raw[_DIGEST:]
        if not hmac.compare_digest(seal, self._seal(listing, content)):
            raise _refused()
        return tuple(cast("list[str]", json.loads(content)))

    def _seal(self, listing: Listing, content: bytes) -> bytes:
        bound = json.dumps(
            [listing.method, listing.parent, listing.filter, listing.order_by]
        ).encode()
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        digest.update(len(bound).to_bytes(8, "big") + bound + content)
        return digest.digest()[:_DIGEST]


def _refused() -> Invalid:
    problem = Problem(
        reason="PAGE_TOKEN_INVALID",
        message="page token was not made for this list: start again without one",
        field="page_token",
    )
    return Invalid(problem.message, problems=[problem], reason=problem.reason)

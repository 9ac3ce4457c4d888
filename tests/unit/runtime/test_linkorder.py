"""The order of a link's messages, as both sides count them."""

from __future__ import annotations

import pytest

from cellplane.cell.problem import Unavailable
from cellplane.runtime.linkorder import Incoming, Outgoing


@pytest.mark.parametrize("first", [1, 77, 2**30 - 1])
def test_what_comes_in_order_is_taken_and_a_repeat_is_not(first: int) -> None:
    """Each message is taken once, however often it comes."""
    out, incoming = Outgoing(first), Incoming()
    numbers = [out.number() for _ in range(6)]
    assert 0 not in numbers
    taken = [incoming.take(n) for number in numbers for n in (number, number, numbers[0])]
    assert taken == [True, False, False] * 6


@pytest.mark.parametrize("number", [12, 9, 0, 2**30])
def test_case_79_a_gap_and_a_message_of_another_stream_end_the_stream(number: int) -> None:
    """Neither what was skipped nor what was captured elsewhere is looked at."""
    incoming = Incoming()
    assert incoming.take(10)
    with pytest.raises(Unavailable, match="begin anew"):
        incoming.take(number)


def test_who_does_not_count_is_heard() -> None:
    """Agents of before are answered without numbers."""
    out, incoming = Outgoing(0), Incoming()
    assert [out.number() for _ in range(3)] == [0, 0, 0]
    assert all(incoming.take(0) for _ in range(3))

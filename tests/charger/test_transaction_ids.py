"""Transaction ids of 1.6: positive, unique, leased ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.charger.transaction_ids import TransactionIds


@given(st.lists(st.integers(1, 5), max_size=6))
def test_every_leased_id_is_given_once_in_order(sizes: list[int]) -> None:
    ids, expected, first = TransactionIds(), [], 1
    for size in sizes:
        ids.add(first, first + size - 1)
        expected += range(first, first + size)
        first += size
    assert [ids.take() for _ in expected] == expected
    assert ids.take() is None
    assert (ids.given, ids.refusals, ids.left) == (len(expected), 1, 0)


def test_two_untouched_blocks_are_kept_behind_the_one_in_use() -> None:
    ids, told = TransactionIds(), []
    ids.on_wanted = lambda: told.append(ids.wanted)
    assert ids.wanted == 3
    for first in (1, 11, 21):
        ids.add(first, first + 9)
    assert ids.wanted == 0
    for _ in range(10):
        ids.take()
    assert ids.wanted == 0  # the block in use is used up, and goes with the next id
    assert told == []
    ids.take()
    assert ids.wanted == 1
    assert told == [1], "whoever leases need not look again and again"


@pytest.mark.parametrize(("first", "last"), [(0, 5), (-1, 5), (5, 4), (1, 2**31)])
def test_a_block_outside_31_bits_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="no block"):
        TransactionIds().add(first, last)

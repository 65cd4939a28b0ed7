"""A token bucket that is booked ahead; what is taken at once is held against its rate in tests/gateway/test_gates.py."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.buckets import TokenBucket


@given(st.integers(1, 1000), st.floats(0, 1e7), st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 3)), max_size=200))
def test_what_is_booked_comes_in_order_within_the_time_that_was_asked_for_and_no_faster_than_the_rate(
    rate: int, now: float, bookings: list[tuple[float, float]]
) -> None:
    bucket, turns = TokenBucket(rate), list[float]()
    for gap_s, longest_s in bookings:
        now += gap_s / rate
        wait_s = bucket.book(now, longest_s)
        if wait_s is not None:
            assert 0.0 <= wait_s <= longest_s
            turns.append(now + wait_s)
    assert all(later >= earlier - 1e-5 for earlier, later in pairwise(turns))
    for first, began in enumerate(turns):
        for last in range(first, len(turns)):
            assert last - first + 1 <= rate * (turns[last] - began) + rate + 0.05


def test_a_booking_that_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(1)
    assert bucket.book(0.0, 5.0) == 0.0
    assert [bucket.book(0.0, 0.5) for _ in range(3)] == [None] * 3
    assert bucket.book(0.0, 5.0) == 1.0
    assert bucket.book(0.5, 5.0) == 1.5

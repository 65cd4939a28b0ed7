"""When whose chargers are sent away in a drain."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.bus.waves import WINDOW_S_MAX, Window, windows

TIMES = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("slots", "now", "until", "found"),
    [
        ([], 5.0, 9.0, {}),
        ([7], 5.0, 9.0, {7: Window(5, 9)}),
        ([9, 3], 5.0, 9.0, {9: Window(5, 7), 3: Window(7, 9)}),
        ([9, 3], 5.0, 5.0, {9: Window(5, 5), 3: Window(5, 5)}),  # at once
        ([9, 3], 5.0, 1.0, {9: Window(5, 5), 3: Window(5, 5)}),
        ([1, 2, 3], 0.0, 300.0, {1: Window(0, 10), 2: Window(100, 110), 3: Window(200, 210)}),
    ],
)
def test_the_slots_share_the_time(slots: list[int], now: float, until: float, found: dict[int, Window]) -> None:
    assert windows(slots, now, until) == found


@given(st.lists(st.integers(0, 63), unique=True, min_size=1), TIMES, TIMES, st.floats(0, 1))
def test_one_after_the_other_each_long_enough_and_none_too_long_or_too_late(
    slots: list[int], now: float, lasts: float, chance: float
) -> None:
    until = now + lasts
    found = windows(slots, now, until)
    assert list(found) == slots
    edges = [edge for window in found.values() for edge in (window.begins, window.ends)]
    share = lasts / len(slots)
    rounding = 1e-9 * until
    for window in found.values():
        assert now <= window.begins <= window.moment(chance) <= window.ends + rounding
        assert window.ends <= until + rounding
        assert window.ends - window.begins == pytest.approx(min(share, WINDOW_S_MAX), abs=rounding)
        assert window.since(window.begins) == Window(0.0, window.ends - window.begins)
    assert all(later >= earlier - rounding for earlier, later in pairwise(edges))

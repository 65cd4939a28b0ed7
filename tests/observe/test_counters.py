"""Counters and gauges: `cpms_actors.observe.counters`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.observe.counters import NAMES_MAX, Counters, Gauge


def test_a_snapshot_is_flat_and_in_order() -> None:
    counters = Counters()
    counters.counter("frames.in").add(3)
    waiting = counters.gauge("mailbox", bound=64)
    waiting.set(5)
    waiting.set(2)
    waiting.refuse()
    counters.probe("chargers", lambda: 12)
    assert counters.snapshot() == {
        "chargers": 12,
        "frames.in": 3,
        "mailbox": 2,
        "mailbox.bound": 64,
        "mailbox.peak": 5,
        "mailbox.refused": 1,
    }


def test_a_name_asked_for_twice_is_one_counter() -> None:
    counters = Counters()
    assert counters.counter("a") is counters.counter("a")
    assert counters.gauge("b", bound=1) is counters.gauge("b")


def test_a_name_has_one_kind() -> None:
    counters = Counters()
    counters.counter("a")
    counters.gauge("b")
    with pytest.raises(ValueError, match="a is no gauge"):
        counters.gauge("a")
    with pytest.raises(ValueError, match="b is no counter"):
        counters.counter("b")
    with pytest.raises(ValueError, match="a is no probe"):
        counters.probe("a", lambda: 0)


@pytest.mark.parametrize("name", ["", "A", "a-b", "a..b", ".a", "a.", "a b", "a\n", "charger/CP-1"])
def test_a_name_is_lower_case_words_joined_by_dots(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a counter"):
        Counters().counter(name)


def test_names_made_from_data_are_refused_before_they_fill_memory() -> None:
    counters = Counters()
    for number in range(NAMES_MAX):
        counters.counter(f"n{number}")
    with pytest.raises(ValueError, match="made from data"):
        counters.counter("one_more")
    assert counters.counter("n0").value == 0


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_a_gauge_knows_its_highest_value(values: list[int]) -> None:
    gauge = Gauge(None)
    for value in values:
        gauge.set(value)
    assert (gauge.value, gauge.peak) == (values[-1], max(values))


def test_a_gauge_without_a_bound_shows_none() -> None:
    counters = Counters()
    counters.gauge("open")
    assert "open.bound" not in counters.snapshot()

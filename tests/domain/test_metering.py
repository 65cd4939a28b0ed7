"""Readings become periods: energy is kept to the Wh, whatever the register did."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.domain.metering import (
    IDLE_STATES,
    MeteredSession,
    Period,
    Reading,
    StateChange,
    merged,
    metered_periods,
)


def session(
    *registers: tuple[int, int], end: int = 100, start_wh: int = 500, stop_wh: int = 500, states: tuple[tuple[int, str], ...] = ()
) -> MeteredSession:
    return MeteredSession(0, end, start_wh, stop_wh - start_wh, [Reading(*r) for r in registers], [StateChange(*s) for s in states])


def shown(metered: MeteredSession) -> list[tuple[int, int, int, str]]:
    return [(p.start_ms, p.end_ms, p.energy_wh, p.kind) for p in metered_periods(metered)]


@pytest.mark.parametrize(
    ("metered", "periods"),
    [
        (session(), [(0, 100, 0, "parking")]),
        (session(end=0), []),
        (session(stop_wh=900), [(0, 100, 400, "charging")]),
        (session((40, 700), stop_wh=900), [(0, 40, 200, "charging"), (40, 100, 200, "charging")]),
        (session((40, 900), stop_wh=900), [(0, 40, 400, "charging"), (40, 100, 0, "parking")]),
        (session((20, 500), (60, 900), stop_wh=900), [(0, 20, 0, "parking"), (20, 60, 400, "charging"), (60, 100, 0, "parking")]),
        (session((-30, 600), (130, 800), stop_wh=800), [(0, 0, 100, "charging"), (0, 100, 200, "charging")]),
        (session(end=0, stop_wh=900), [(0, 0, 400, "charging")]),
        (session(end=-50, stop_wh=900), [(0, 0, 400, "charging")]),
    ],
    ids=[
        "no energy",
        "nothing took place",
        "start and stop only",
        "samples tell when",
        "full after 40",
        "samples at the ends",
        "samples outside of the session count at its ends",
        "no duration keeps its energy",
        "clock set back keeps its energy",
    ],
)
def test_energy_that_rose_is_charging_and_none_is_parking(metered: MeteredSession, periods: list[tuple[int, int, int, str]]) -> None:
    assert shown(metered) == periods


@pytest.mark.parametrize(
    ("registers", "energy_wh", "rises"),
    [
        ((5000, 5800, 0, 6000), 1000, [800, 200]),
        ((5000, 5800, 5700, 6000), 1000, [800, 0, 200]),
        ((5000, 9_999_999, 6000), 1000, [1000]),
        ((5000, 4000, 6000), 1000, [1000]),
        ((5000, 5800, 0, 400), 800, [800, 0]),
        ((5000, 400, 0), 0, [0]),
    ],
    ids=["a dip to zero", "a small dip", "a spike", "a dip below the start", "a reset", "falling only"],
)
def test_a_register_that_goes_backwards_never_makes_energy(registers: tuple[int, ...], energy_wh: int, rises: list[int]) -> None:
    readings = [Reading(10 * i, wh) for i, wh in enumerate(registers)]
    periods = metered_periods(MeteredSession(0, 10 * len(registers) - 10, 5000, energy_wh, readings))
    assert [p.energy_wh for p in periods] == rises


@pytest.mark.parametrize(
    ("states", "stop_wh", "periods"),
    [
        (((0, "Charging"), (60, "SuspendedEV")), 900, [(0, 60, 900, "charging"), (60, 100, 0, "parking")]),
        (((60, "Finishing"),), 900, [(0, 60, 900, "charging"), (60, 100, 0, "parking")]),
        (((-5, "EVConnected"), (75, "Charging")), 900, [(0, 75, 0, "parking"), (75, 100, 900, "charging")]),
        (
            ((0, "Charging"), (30, "SuspendedEVSE"), (40, "SuspendedEV"), (60, "Charging")),
            700,
            [(0, 30, 300, "charging"), (30, 60, 0, "parking"), (60, 100, 400, "charging")],
        ),
        (((0, "SuspendedEV"),), 900, [(0, 100, 900, "charging")]),  # energy is stronger evidence than a state
        (((0, "Charging"),), 0, [(0, 100, 0, "parking")]),
        (((0, "SuspendedEV"), (100, "Charging")), 10, [(0, 100, 10, "charging")]),
    ],
)
def test_known_states_cut_a_stretch(
    states: tuple[tuple[int, str], ...], stop_wh: int, periods: list[tuple[int, int, int, str]]
) -> None:
    assert shown(session(start_wh=0, stop_wh=stop_wh, states=states)) == periods


def test_merged_periods_are_the_same_told_shorter() -> None:
    metered = session((20, 100), (40, 200), (60, 200), (80, 200), start_wh=0, stop_wh=300)
    assert merged(metered_periods(metered)) == (
        Period(0, 40, 200, "charging"),
        Period(40, 80, 0, "parking"),
        Period(80, 100, 100, "charging"),
    )


moments = st.integers(-50, 1050)
states = st.lists(st.tuples(moments, st.sampled_from(["Charging", *sorted(IDLE_STATES)])), max_size=8)
wild = st.lists(st.tuples(moments, st.integers(0, 10_000)), max_size=12)


@st.composite
def sessions(draw: st.DrawFn) -> MeteredSession:
    """Any registers at all, in order of time."""
    readings = [Reading(*r) for r in sorted(draw(wild), key=lambda r: r[0])]
    changes = [StateChange(*s) for s in sorted(draw(states), key=lambda s: s[0])]
    return MeteredSession(0, draw(st.integers(-10, 1000)), draw(st.integers(0, 5_000)), draw(st.integers(0, 5_000)), readings, changes)


@given(sessions())
def test_periods_follow_each_other_from_start_to_end(metered: MeteredSession) -> None:
    for periods in (metered_periods(metered), merged(metered_periods(metered))):
        end = max(metered.start_ms, metered.end_ms)
        assert sum(p.duration_ms for p in periods) == end - metered.start_ms
        assert all(p.duration_ms >= 0 for p in periods)
        assert all(before.end_ms == after.start_ms for before, after in pairwise(periods))
        assert not periods or (periods[0].start_ms, periods[-1].end_ms) == (metered.start_ms, end)


@given(sessions())
def test_energy_is_kept_to_the_watt_hour(metered: MeteredSession) -> None:
    for periods in (metered_periods(metered), merged(metered_periods(metered))):
        assert sum(p.energy_wh for p in periods) == metered.energy_wh
        assert all(p.energy_wh >= 0 for p in periods)
        assert all(p.energy_wh == 0 for p in periods if p.kind == "parking")


@given(st.integers(0, 5_000), st.lists(st.integers(0, 500), min_size=1, max_size=10))
def test_a_sane_register_is_believed_reading_by_reading(start_wh: int, rises: list[int]) -> None:
    """A register that only rises, read every 10 ms: each stretch has the energy it rose by."""
    registers = [start_wh, *(start_wh + sum(rises[: n + 1]) for n in range(len(rises)))]
    readings = [Reading(10 * n, wh) for n, wh in enumerate(registers)]
    periods = metered_periods(MeteredSession(0, 10 * len(rises), start_wh, sum(rises), readings))
    assert [p.energy_wh for p in periods] == rises
    assert [p.kind for p in periods] == ["charging" if rise else "parking" for rise in rises]

"""One session's life and truth, without any protocol; and the station's clock."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cpms_actors.base.errors import OperatorError
from cpms_actors.simulator.clock import StationClock
from cpms_actors.simulator.curve import ChargeCurve
from cpms_actors.simulator.session import MOVES, Happening, Period, Phase, Session, SessionPlan, StopReason

T = 1_767_225_600_000


def begun(**plan: object) -> Session:
    session = Session(SessionPlan("T1", **plan), "T1", T - 5000, 1_000, 1)  # type: ignore[arg-type]
    session.begin(T)
    return session


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("target", Phase)
def test_a_session_moves_only_along_the_table(phase: Phase, target: Phase) -> None:
    session = Session(SessionPlan("T1"), "T1", T, 0, 1, phase=phase)
    if target in MOVES[phase]:
        session.move(target)
        assert session.phase is target
    else:
        with pytest.raises(ValueError, match="cannot become"):
            session.move(target)


def test_readings_fall_due_at_the_interval_and_at_the_end_of_charging() -> None:
    session = begun(charging_s=150, parking_s=60, meter_interval_s=60)
    due: list[tuple[int, Happening]] = []
    while (next_due := session.next_due()) is not None and len(due) < 10:
        moment, what = next_due
        due.append(((moment - T) // 1000, what))
        if what is Happening.READ:
            session.advance_read()
        elif what is Happening.FULL:
            session.suspend(moment)
        else:
            session.end(moment, StopReason.LOCAL)
            break
    assert due == [(60, Happening.READ), (120, Happening.READ), (150, Happening.FULL), (180, Happening.READ), (210, Happening.STOP)]


def test_a_battery_that_is_full_early_parks_early() -> None:
    curve = ChargeCurve(11_000, 10_000, 0.9)
    session = begun(charging_s=36_000, curve=curve, meter_interval_s=36_000)
    assert session.next_due() == (T + round(curve.full_after_s() * 1000), Happening.FULL)


@example(charging_s=1012, parking_s=0, power_w=2700.0)
@given(charging_s=st.integers(1, 20_000), parking_s=st.integers(0, 20_000), power_w=st.floats(1_000, 150_000))
def test_the_truth_adds_up(charging_s: int, parking_s: int, power_w: float) -> None:
    """The periods cover the transaction without a gap, and their energy is the difference of the register."""
    session = begun(charging_s=charging_s, parking_s=parking_s, curve=ChargeCurve(power_w, 1e9, 0))
    turn = T + charging_s * 1000
    session.suspend(turn)
    session.end(turn + parking_s * 1000, StopReason.LOCAL)
    session.move(Phase.GONE)
    facts = session.facts("CP1", "1.6")
    assert (facts.charging_s, facts.parking_s, facts.outcome) == (charging_s, parking_s, "completed")
    assert facts.meter_stop_wh - facts.meter_start_wh == facts.energy_wh == int(power_w * charging_s / 3600)
    assert sum(period.energy_wh for period in facts.periods) == facts.energy_wh
    assert [facts.periods[0].start, facts.periods[-1].end] == [facts.started_at, facts.ended_at]
    assert all(a.end == b.start for a, b in zip(facts.periods, facts.periods[1:], strict=False))


def test_a_session_stopped_while_it_charges_has_no_parking() -> None:
    session = begun(charging_s=600)
    session.end(T + 36_000, StopReason.REMOTE)
    facts = session.facts("CP1", "1.6")
    assert facts.periods == (Period(T, T + 36_000, 110, True),)
    assert (facts.parking_s, facts.reason) == (0, "Remote")


def test_the_meter_is_flat_while_the_car_only_parks() -> None:
    session = begun(charging_s=600)
    session.suspend(T + 36_000)
    readings = [session.read(T + seconds * 1000) for seconds in (36, 60, 6_000)]
    assert [reading.register_wh for reading in readings] == [1_110, 1_110, 1_110]
    assert [reading.power_w for reading in readings] == [0, 0, 0]


def test_a_meter_interval_of_nothing_is_refused() -> None:
    with pytest.raises(OperatorError, match="meter_interval_s"):
        SessionPlan("T1", meter_interval_s=0)


@given(st.floats(0.1, 5_000), st.integers(0, 10**9), st.integers(-(10**8), 10**8))
def test_the_real_moment_of_a_station_moment_is_the_first_that_shows_it(speed: float, elapsed: int, skew: int) -> None:
    clock = StationClock(T, T - 1_000_000, speed, skew)
    shown = clock.at(T + elapsed)
    real = clock.real(shown)
    assert clock.at(real + 1) >= shown
    assert clock.at(real - 1) <= shown


def test_skew_and_speed_shift_and_stretch_the_clock() -> None:
    clock = StationClock(T, T, speed=60, skew_ms=-120_000)
    assert clock.at(T) == T - 120_000
    assert clock.at(T + 1000) == T - 60_000

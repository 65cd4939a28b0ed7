"""The charge curve: constant power to the knee at 80 %, then a taper, in closed form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.errors import OperatorError
from cpms_actors.simulator.curve import KNEE, TAPER_END, ChargeCurve

curves = st.builds(
    ChargeCurve,
    power_max_w=st.floats(1_000, 350_000),
    capacity_wh=st.floats(5_000, 120_000),
    soc_start=st.floats(0, 0.99),
)


def test_below_the_knee_energy_is_power_times_time() -> None:
    curve = ChargeCurve(11_000, 60_000, 0.3)
    assert curve.energy_wh(3600) == 11_000
    assert curve.power_w(3600) == 11_000


@pytest.mark.parametrize(("soc", "share"), [(0.8, 1.0), (0.9, 0.55), (0.95, 0.325)])
def test_above_the_knee_power_falls_in_a_line_over_the_state_of_charge(soc: float, share: float) -> None:
    curve = ChargeCurve(50_000, 80_000, 0.5)
    moment = curve.seconds_to((soc - 0.5) * 80_000)
    assert curve.power_w(moment) == pytest.approx(share * 50_000)
    assert curve.soc(moment) == pytest.approx(soc)


@given(curves, st.floats(0, 90_000), st.floats(0, 90_000))
def test_energy_never_falls_and_never_exceeds_the_room_in_the_battery(curve: ChargeCurve, one_s: float, other_s: float) -> None:
    early, late = sorted((one_s, other_s))
    assert 0 <= curve.energy_wh(early) <= curve.energy_wh(late) <= (1 - curve.soc_start) * curve.capacity_wh
    assert curve.soc_start <= curve.soc(late) <= 1


@given(curves)
def test_a_full_battery_has_taken_its_room_and_takes_no_more(curve: ChargeCurve) -> None:
    full_s = curve.full_after_s()
    assert curve.energy_wh(full_s) == pytest.approx((1 - curve.soc_start) * curve.capacity_wh)
    assert curve.power_w(full_s) == 0
    assert curve.power_w(full_s * 0.999) >= TAPER_END * curve.power_max_w * 0.99


@given(curves, st.floats(0.01, 0.98))
def test_power_is_the_slope_of_energy(curve: ChargeCurve, share: float) -> None:
    moment, step = share * curve.full_after_s(), 0.5
    slope_w = (curve.energy_wh(moment + step) - curve.energy_wh(moment - step)) / (2 * step) * 3600
    if moment > step and moment + step < curve.full_after_s():
        assert slope_w == pytest.approx(curve.power_w(moment), rel=0.05)


@given(curves, st.floats(0, 1))
def test_seconds_to_is_the_inverse_of_energy(curve: ChargeCurve, share: float) -> None:
    wanted_wh = share * (1 - curve.soc_start) * curve.capacity_wh * 0.999
    assert curve.energy_wh(curve.seconds_to(wanted_wh)) == pytest.approx(wanted_wh, abs=1e-3)


def test_more_than_there_is_room_for_takes_for_ever() -> None:
    assert ChargeCurve(11_000, 60_000, 0.5).seconds_to(30_001) == float("inf")


def test_a_battery_above_the_knee_begins_on_the_taper() -> None:
    curve = ChargeCurve(10_000, 50_000, 0.9)
    assert curve.soc_start > KNEE
    assert curve.power_w(0) == pytest.approx(5_500)


@pytest.mark.parametrize("fault", [{"power_max_w": 0}, {"capacity_wh": -1}, {"soc_start": 1.1}])
def test_what_is_no_battery_is_refused(fault: dict[str, float]) -> None:
    with pytest.raises(OperatorError, match="battery"):
        ChargeCurve(**fault)

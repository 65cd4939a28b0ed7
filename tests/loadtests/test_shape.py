"""The rule of a load shape: pure."""

import pytest

from loadtests import scenario
from loadtests.shape import Stage, share_at

SHAPE = (Stage(2.0, 0.1), Stage(4.0, 0.1), Stage(5.0, 1.0))


@pytest.mark.parametrize(("at_s", "share"), [(0.0, 0.0), (1.0, 0.05), (2.0, 0.1), (3.0, 0.1), (4.5, 0.55), (5.0, 1.0), (60.0, 1.0)])
def test_a_fleet_grows_evenly_from_stage_to_stage(at_s: float, share: float) -> None:
    assert share_at(SHAPE, at_s) == pytest.approx(share)


@pytest.mark.parametrize("name", scenario.NAMES)
def test_every_shape_rises_to_the_whole_fleet_within_its_seconds(name: str) -> None:
    shape = scenario.load(name).shape(10.0)
    moments, shares = [stage.at_s for stage in shape], [stage.share for stage in shape]
    assert moments == sorted(set(moments))
    assert shares == sorted(shares)
    assert not shape or (shares[-1], moments[-1]) == (1.0, 10.0)

"""Truths of the restart arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.policy import Affected, Backoff, Ended, Intensity, Restart, RestartWindow, Strategy, affected, should_restart

moments = st.lists(st.floats(0, 1000, allow_nan=False), max_size=30).map(sorted)


@pytest.mark.parametrize(
    ("restart", "how_ended", "again"),
    [
        (Restart.permanent, Ended.finished, True),
        (Restart.permanent, Ended.failed, True),
        (Restart.permanent, Ended.stopped, False),
        (Restart.transient, Ended.finished, False),
        (Restart.transient, Ended.failed, True),
        (Restart.transient, Ended.stopped, False),
        (Restart.temporary, Ended.finished, False),
        (Restart.temporary, Ended.failed, False),
        (Restart.temporary, Ended.stopped, False),
    ],
)
def test_who_is_started_again(restart: Restart, how_ended: Ended, again: bool) -> None:
    assert should_restart(restart, how_ended) is again


@pytest.mark.parametrize(
    ("strategy", "failed", "stop", "start"),
    [
        (Strategy.one_for_one, "b", "", "b"),
        (Strategy.one_for_all, "b", "dca", "abcd"),
        (Strategy.one_for_all, "a", "dcb", "abcd"),
        (Strategy.rest_for_one, "b", "dc", "bcd"),
        (Strategy.rest_for_one, "d", "", "d"),
        (Strategy.rest_for_one, "a", "dcb", "abcd"),
    ],
)
def test_whom_a_failure_takes_along(strategy: Strategy, failed: str, stop: str, start: str) -> None:
    assert affected(strategy, list("abcd"), failed) == Affected(tuple(stop), tuple(start))


@given(st.sampled_from(Strategy), st.lists(st.integers(), unique=True, min_size=1), st.data())
def test_the_stop_order_is_the_start_order_reversed_without_the_failed(
    strategy: Strategy, children: list[int], data: st.DataObject
) -> None:
    failed = data.draw(st.sampled_from(children))
    stop, start = affected(strategy, children, failed)
    assert list(start) == [child for child in children if child in start]
    assert list(stop) == [child for child in reversed(start) if child != failed]
    assert failed in start


def test_a_stranger_has_no_siblings() -> None:
    with pytest.raises(ValueError, match="not in list"):
        affected(Strategy.one_for_one, ["a"], "z")


@pytest.mark.parametrize(
    ("restarts", "window_s", "noted", "allowed"),
    [
        (0, 10.0, [0.0], [False]),
        (1, 10.0, [0.0, 10.0], [True, False]),  # the window is closed at both ends
        (1, 10.0, [0.0, 10.1], [True, True]),
        (2, 10.0, [0.0, 1.0, 2.0, 13.0], [True, True, False, True]),
    ],
)
def test_a_restart_too_many_within_the_window_is_refused(
    restarts: int, window_s: float, noted: list[float], allowed: list[bool]
) -> None:
    window = RestartWindow(Intensity(restarts, window_s))
    assert [window.note(now) for now in noted] == allowed


@given(st.integers(0, 5), st.floats(0, 100), moments)
def test_note_agrees_with_counting_and_holds_no_more_than_it_needs(restarts: int, window_s: float, noted: list[float]) -> None:
    window = RestartWindow(Intensity(restarts, window_s))
    for position, now in enumerate(noted):
        within = sum(now - earlier <= window_s for earlier in noted[: position + 1])
        assert window.note(now) is (within <= restarts)
        assert len(window) <= restarts + 1


@pytest.mark.parametrize(
    ("attempt", "chance", "delay_s"),
    [
        (1, 0.0, 1.0),
        (2, 0.0, 3.0),
        (3, 0.0, 9.0),
        (4, 0.0, 10.0),
        (1, 1.0, 0.5),
        (0, 0.0, 1.0),
        (100_000, 0.0, 10.0),
        (100_000, 1.0, 5.0),
    ],
)
def test_delays_grow_by_the_factor_up_to_the_most(attempt: int, chance: float, delay_s: float) -> None:
    assert Backoff(first_s=1.0, factor=3.0, max_s=10.0, jitter=0.5).delay(attempt, chance) == delay_s


def test_no_first_delay_is_no_delay_ever() -> None:
    assert Backoff(first_s=0.0, factor=3.0, max_s=10.0).delay(100_000, 0.3) == 0.0


@given(st.floats(0.001, 10), st.floats(1, 10), st.floats(0.001, 100), st.floats(0, 1), st.integers(1, 5000), st.floats(0, 1))
def test_delays_never_shrink_nor_exceed_the_most_and_jitter_takes_at_most_its_share(
    first_s: float, factor: float, max_s: float, jitter: float, attempt: int, chance: float
) -> None:
    backoff = Backoff(first_s, factor, max_s, jitter)
    full_s = backoff.delay(attempt, 0.0)
    assert full_s <= backoff.delay(attempt + 1, 0.0) <= max_s
    assert full_s * (1 - jitter) - 1e-9 <= backoff.delay(attempt, chance) <= full_s

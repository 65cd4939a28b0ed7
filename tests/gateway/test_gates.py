"""The storm gates: how many come in, when the others may return, and that everybody gets in. No clock, no chance."""

import heapq
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.buckets import TokenBucket
from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.engine import Limits, Refused
from cpms_actors.gateway.gates import (
    BACK_S,
    LINE_S_MAX,
    LOOKS,
    PACE_LEAST,
    RETRY_AFTER_S,
    TICK_LATE_S,
    TICK_S,
    TICKS_MOST,
    WINDOW_FLOOR,
    WINDOW_NO_LIMIT,
    WINDOW_S,
    AdmissionLimit,
    Backlog,
    Gates,
    Pace,
)
from cpms_actors.observe.counters import Counters

RATES = st.one_of(st.integers(1, 5000), st.floats(0.01, 5000))
MANY = 1_000_000  # connected, so that it is the pace itself that is looked at
STARTS = st.floats(0, 1e7)  # of a monotonic clock: the age of the machine


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def gates(clock: Clock, counters: Counters | None = None, chance: float = 0.5, **limits: float) -> Gates:
    bounds = Limits(1, 1, 1, 1, 1.0, 1.0, 1.0, **limits)  # type: ignore[arg-type]
    return Gates(bounds, counters or Counters(), lambda: chance, clock)


def retry_after(refused: Refused | None) -> int:
    assert refused is not None
    assert refused.status == 503
    return int(dict(refused.headers)["Retry-After"])


# The bucket


@given(RATES, STARTS, st.lists(st.floats(0, 3), max_size=300))
def test_a_bucket_never_gives_more_than_its_rate_and_its_burst_in_any_window(rate: float, now: float, gaps: list[float]) -> None:
    bucket, given_at = TokenBucket(rate), []
    for gap in gaps:
        now += gap if gap > 0.5 else gap / rate  # pauses, and arrivals closer than the rate
        if bucket.take(now):
            given_at.append(now)
    burst = max(1.0, rate)
    for first, began in enumerate(given_at):
        for last in range(first, len(given_at)):
            assert last - first + 1 <= rate * (given_at[last] - began) + burst + 0.01


@given(st.integers(1, 3000), STARTS)
def test_a_full_bucket_gives_one_second_s_worth_at_once(rate: int, now: float) -> None:
    bucket = TokenBucket(rate)
    assert sum(bucket.take(now) for _ in range(rate + 5)) == rate
    assert sum(bucket.take(now + 1.0001) for _ in range(rate + 5)) == rate


def test_less_than_one_a_second_is_one_now_and_the_next_when_it_is_due() -> None:
    bucket = TokenBucket(0.1)
    assert (bucket.take(5.0), bucket.take(14.9), bucket.take(15.0), bucket.take(15.1)) == (True, False, True, False)


# The queue


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 0.999)), max_size=300), RATES)
def test_the_refused_are_told_five_seconds_to_two_minutes(refused: list[tuple[float, float]], rate: float) -> None:
    backlog, now = Backlog(), 0.0
    for gap, chance in refused:
        now += gap
        assert RETRY_AFTER_S[0] <= backlog.retry_after_s(now, rate, chance) <= RETRY_AFTER_S[1]


def test_the_more_are_refused_the_later_they_return_and_it_is_forgotten_when_they_have_had_their_turn() -> None:
    backlog = Backlog()
    assert backlog.retry_after_s(0.0, 100.0, 0.999) == 14
    told = [backlog.retry_after_s(0.0, 100.0, 0.999) for _ in range(20_000)]
    assert told == sorted(told)
    assert told[2000] == 5 + 29  # 2001 at two thirds of 100 a second
    assert told[-1] == 119
    assert backlog.retry_after_s(201.0, 100.0, 0.999) == 14


def test_a_fleet_that_was_refused_at_once_returns_no_faster_than_the_rate() -> None:
    backlog, rate, fleet = Backlog(), 2000.0, 14_000
    seconds = [backlog.retry_after_s(0.0, rate, (number * 0.618034) % 1.0) for number in range(fleet)]
    assert max(seconds.count(second) for second in set(seconds)) <= rate


# The limit by lag


def admitted(limit: AdmissionLimit, asked: int = 10_000) -> int:
    return sum(limit.take() for _ in range(asked))


def test_without_lag_there_is_no_limit() -> None:
    limit = AdmissionLimit(250.0)
    assert admitted(limit) == 10_000
    limit.window(0.0)
    assert admitted(limit) == 10_000


def test_lag_halves_what_may_come_in_down_to_the_floor() -> None:
    limit, seen = AdmissionLimit(250.0), []
    for _ in range(7):
        limit.window(251.0)
        seen.append(admitted(limit))
    assert seen == [200, 100, 50, 25, WINDOW_FLOOR, WINDOW_FLOOR, WINDOW_FLOOR]


def test_the_limit_stays_while_lag_is_between_half_and_all_of_what_is_allowed() -> None:
    limit = AdmissionLimit(250.0)
    limit.window(300.0)
    for lag_ms in (125.0, 200.0, 250.0):
        limit.window(lag_ms)
        assert admitted(limit) == 200


@given(st.lists(st.floats(0, 5000), max_size=100), st.floats(1, 1000))
def test_the_limit_keeps_to_its_bounds_and_is_gone_four_seconds_after_the_lag(lags_ms: list[float], lag_max_ms: float) -> None:
    limit = AdmissionLimit(lag_max_ms)
    for lag_ms in lags_ms:
        limit.window(lag_ms)
        assert WINDOW_FLOOR <= limit.allowed <= WINDOW_NO_LIMIT
        assert admitted(limit, WINDOW_FLOOR) == WINDOW_FLOOR
    for _ in range(40):
        limit.window(0.0)
    assert admitted(limit) == 10_000


# All of them


@given(
    st.lists(st.floats(0, 30), min_size=1, max_size=60),
    st.integers(1, 20),
    st.lists(st.floats(0, 0.999), min_size=1, max_size=20),
    st.lists(st.floats(0, 2000), max_size=50),
)
def test_whoever_honours_retry_after_gets_in_and_never_too_many_at_once(
    arrivals: list[float], rate: int, chances: list[float], lags_ms: list[float]
) -> None:
    """Whatever the arrivals, the draws and the lag; the lag ends some day."""
    clock, chance, lags = Clock(), cycle(chances), iter(lags_ms)
    kept = Gates(
        Limits(1, 1, 1, 1, 1.0, 1.0, 1.0, admissions_per_s=rate, lag_max_ms=250.0, flaps_max=3), Counters(), lambda: next(chance), clock
    )
    queue = [(at, number) for number, at in enumerate(arrivals)]
    heapq.heapify(queue)
    let_in: list[float] = []
    told = 0
    kept.probe()
    while queue:
        assert told <= len(arrivals) ** 2, "somebody is refused for ever"
        at, number = heapq.heappop(queue)
        if at > clock.now:
            clock.now = max(at, clock.now + WINDOW_S + next(lags, 0.0) / 1000)
            kept.probe()
        refused = kept.refusal(b"/ocpp/CP%d" % number)
        if refused is None:
            let_in.append(clock.now)
        else:
            told += 1
            heapq.heappush(queue, (clock.now + retry_after(refused), number))
    assert len(let_in) == len(arrivals)
    for first, began in enumerate(let_in):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= rate * (let_in[last] - began) + rate + 0.01


def test_the_rate_is_counted() -> None:
    counters = Counters()
    kept = gates(Clock(), counters, admissions_per_s=2)
    assert kept.refusal(b"/1") is kept.refusal(b"/2") is None
    assert retry_after(kept.refusal(b"/3")) == 10
    assert counters.snapshot()["gateway.gate.rate"] == 1


def test_the_loop_s_lag_is_shown_and_limits_what_comes_in() -> None:
    counters, clock = Counters(), Clock(100.0)
    kept = gates(clock, counters, lag_max_ms=250.0)
    kept.probe()
    for late_s in (2.0, 2.0, 2.0, 2.0, 2.0, 0.2):
        clock.now += WINDOW_S + late_s
        kept.probe()
    assert [kept.refusal(b"/1") for _ in range(WINDOW_FLOOR)] == [None] * WINDOW_FLOOR
    assert retry_after(kept.refusal(b"/1")) == 10
    numbers = counters.snapshot()
    assert (numbers["gateway.lag_ms"], numbers["gateway.lag_ms.peak"], numbers["gateway.lag_ms.bound"]) == (200, 2000, 250)
    assert numbers["gateway.gate.lag"] == 1


def test_who_is_stopped_by_an_earlier_gate_is_not_counted_at_a_later_one() -> None:
    counters, clock = Counters(), Clock()
    kept = gates(clock, counters, admissions_per_s=1, lag_max_ms=1.0, flaps_max=1)
    kept._flaps.ended(b"/1", 0.0)  # type: ignore[union-attr]
    assert [retry_after(kept.refusal(b"/1")) for _ in range(2)] == [2, 10]
    numbers = counters.snapshot()
    assert [numbers[f"gateway.gate.{name}"] for name in ("rate", "lag", "flapping")] == [1, 0, 1]


@pytest.mark.parametrize("lag_s", [0.0, 60.0])
def test_limits_have_no_gates_unless_they_are_asked_for(lag_s: float) -> None:
    clock, counters = Clock(), Counters()
    kept = gates(clock, counters)
    kept.probe()
    clock.now += lag_s
    kept.probe()
    assert [kept.refusal(b"/1") for _ in range(10_000)] == [None] * 10_000


def test_the_settings_ask_for_them() -> None:
    limits = Limits.of(Gateway())
    assert (limits.admissions_per_s, limits.lag_max_ms, limits.flaps_max) == (2000, 250.0, 6)


# Chargers with a running transaction


CHARGING = b"/ocpp/CHARGING"


def with_charging(clock: Clock, counters: Counters, asked: list[bytes], **limits: float) -> Gates:
    def charging(path: bytes) -> bool:
        asked.append(path)
        return path == CHARGING

    return Gates(Limits(1, 1, 1, 1, 1.0, 1.0, 1.0, **limits), counters, lambda: 0.5, clock, charging)  # type: ignore[arg-type]


def test_who_is_charging_comes_in_when_the_others_have_to_wait_and_is_told_to_return_sooner_when_the_reserve_is_gone() -> None:
    counters, asked = Counters(), list[bytes]()
    kept = with_charging(Clock(), counters, asked, admissions_per_s=100)
    assert [kept.refusal(b"/ocpp/CP1") for _ in range(100)] == [None] * 100
    assert asked == []  # while no gate holds nobody is asked
    assert retry_after(kept.refusal(b"/ocpp/CP1")) == 10
    assert [kept.refusal(CHARGING) for _ in range(25)] == [None] * 25
    assert retry_after(kept.refusal(CHARGING)) == 2
    numbers = counters.snapshot()
    assert (numbers["gateway.first"], numbers["gateway.gate.rate"]) == (25, 2)


def test_what_they_take_the_others_wait_for() -> None:
    """The rate holds over any longer time."""
    clock = Clock()
    kept = with_charging(clock, Counters(), [], admissions_per_s=100)
    let_in = sum(kept.refusal(CHARGING) is None for _ in range(1000))
    assert let_in == 125
    clock.now = 0.2
    assert kept.refusal(b"/ocpp/CP1") is not None
    assert kept.refusal(CHARGING) is None
    clock.now = 1.25
    assert sum(kept.refusal(b"/ocpp/CP1") is None for _ in range(1000)) == 99


def test_of_the_limit_by_lag_they_take_a_part_of_the_next_window() -> None:
    clock, counters, asked = Clock(100.0), Counters(), list[bytes]()
    kept = with_charging(clock, counters, asked, lag_max_ms=250.0)
    kept.probe()
    clock.now += WINDOW_S + 0.3
    kept.probe()
    assert [kept.refusal(b"/ocpp/CP1") for _ in range(200)] == [None] * 200
    assert asked == []
    assert retry_after(kept.refusal(b"/ocpp/CP1")) == 10
    assert sum(kept.refusal(CHARGING) is None for _ in range(1000)) == 50
    clock.now += WINDOW_S + 0.2
    kept.probe()
    assert sum(kept.refusal(b"/ocpp/CP1") is None for _ in range(1000)) == 150
    numbers = counters.snapshot()
    assert (numbers["gateway.first"], numbers["gateway.gate.rate"]) == (50, 0)


# How long a charger that has just started is to wait


def test_without_a_queue_nobody_who_starts_waits() -> None:
    counters = Counters()
    kept = gates(Clock(), counters, admissions_per_s=2000, lag_max_ms=250.0)
    kept.refusal(b"/1")
    assert (kept.boot_wait_s(), gates(Clock()).boot_wait_s()) == (0.0, 0.0)
    assert counters.snapshot()["gateway.gate.boot"] == 0


def test_when_the_loop_is_late_again_whoever_starts_waits_and_not_longer() -> None:
    clock, counters = Clock(100.0), Counters()
    kept = gates(clock, counters, lag_max_ms=250.0)
    kept.probe()
    waits = []
    for _ in range(3):
        clock.now += WINDOW_S + 0.3
        kept.probe()
        waits.append(kept.boot_wait_s())
    assert waits == [0.0, 10.0, 10.0]
    for _ in range(6):
        clock.now += WINDOW_S
        kept.probe()
    assert kept.boot_wait_s() == 0.0
    assert counters.snapshot()["gateway.gate.boot"] == 2


def test_the_longer_the_queue_the_longer_whoever_starts_waits_up_to_two_minutes() -> None:
    clock = Clock()
    kept = gates(clock, admissions_per_s=10)
    waits = []
    for _ in range(1000):
        kept.refusal(b"/1")
        waits.append(kept.boot_wait_s())
    assert waits[:76] == [0.0] * 76  # ten came in, 66 are ten seconds' worth and no more than a first one is told
    assert waits[76] == pytest.approx(10.05)
    assert waits == sorted(waits)
    assert waits[-1] == 120.0
    clock.now = 100.0
    assert kept.boot_wait_s() == 0.0


@given(st.integers(1, 10_000), st.integers(0, 1_000_000), st.lists(st.tuples(st.floats(0, 0.1), st.booleans()), max_size=300))
def test_the_pace_keeps_to_its_bounds_and_gives_no_more_turns_than_it_says(
    per_s: int, held: int, ticks: list[tuple[float, bool]]
) -> None:
    pace = Pace(per_s, 4096)
    least = min(per_s, PACE_LEAST)
    given_out = allowed = 0.0
    for late_s, wanted in ticks:
        before = pace.per_s
        given_out += pace.tick(late_s, wanted=wanted, held=held)
        allowed += pace.allowed * min(1 + late_s / TICK_S, TICKS_MOST)
        assert least - 1e-6 <= pace.per_s <= min(per_s, max(least, held / BACK_S)) + 1e-6
        assert pace.per_s <= before if late_s > TICK_LATE_S or not wanted else pace.per_s >= before
    assert allowed - 1.001 <= given_out <= allowed + 0.001


@pytest.mark.parametrize("late_s", [0.0, 0.002, 0.008, 0.03])
def test_a_busy_loop_lets_in_the_least_per_second_however_late_its_ticks_are(late_s: float) -> None:
    pace = Pace(10_000, 4096)
    ticks = int(60 / (TICK_S + late_s))
    turns = sum(pace.tick(late_s, wanted=True, held=0) for _ in range(ticks))
    assert turns == pytest.approx(60 * PACE_LEAST, rel=0.01)


def test_what_a_loop_that_stood_still_has_missed_does_not_come_in_at_once() -> None:
    pace = Pace(10_000, 4096)
    assert pace.tick(60.0, wanted=True, held=MANY) == PACE_LEAST * TICK_S * TICKS_MOST


def test_the_pace_grows_while_somebody_waits_and_halves_when_a_tick_is_late() -> None:
    pace = Pace(2000, 4096)
    assert pace.per_s == PACE_LEAST
    for _ in range(70):
        pace.tick(0.0, wanted=True, held=MANY)
    assert pace.per_s == pytest.approx(2 * PACE_LEAST, rel=0.01)
    pace.tick(2 * TICK_LATE_S, wanted=True, held=MANY)
    assert pace.per_s == pytest.approx(PACE_LEAST, rel=0.01)
    for _ in range(int(3 / TICK_S)):
        pace.tick(0.0, wanted=True, held=MANY)
    assert pace.per_s == 2000


@pytest.mark.parametrize(
    ("held", "back_s"),
    [(0, 0.0), (1_000, 5.0), (10_000, BACK_S), (18_000, BACK_S), (50_000, BACK_S)],
    ids=lambda value: str(value),
)
def test_as_many_as_were_ever_in_are_let_in_again_within_their_time_and_no_faster_than_that_needs(held: int, back_s: float) -> None:
    pace = Pace(10_000, 4096)
    for _ in range(int(10 / TICK_S)):
        pace.tick(0.0, wanted=True, held=held)
    turns = ticks = 0
    while turns < held:
        turns += pace.tick(0.0, wanted=True, held=held)
        ticks += 1
    assert ticks * TICK_S == pytest.approx(back_s, abs=2 * TICK_S)


def test_the_line_is_as_long_as_the_pace_needs_and_leaves_room_for_those_who_have_not_been_looked_at() -> None:
    assert Pace(10, 4096).room == 10 * LINE_S_MAX
    fast = Pace(2000, 4096)
    fast.allowed = 2000 * TICK_S
    assert fast.room == 0.75 * 4096


def test_who_is_accepted_late_and_waits_for_a_turn_has_it_while_a_charger_still_waits() -> None:
    assert BACK_S / LOOKS + LINE_S_MAX <= 25.0  # of 30 s: the rest is for the handshake and the first answer


def test_a_pace_that_nobody_tries_does_not_grow() -> None:
    pace = Pace(2000, 4096)
    for _ in range(int(60 / TICK_S)):
        pace.tick(0.0, wanted=False, held=MANY)
    assert pace.per_s == PACE_LEAST

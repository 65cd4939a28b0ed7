"""When a transaction is over although nobody said so: never one that runs, and in the end every one that does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cpms_actors.domain.silence import ENDLESS, FAILED_START, HEARTBEATS_MIN, SAYS, Known, Limits, judge

T0 = 1_700_000_000_000
S, MIN, H = 1_000, 60_000, 3_600_000
FIELD = Limits(failed_start_s=300, endless_s=21_600, heartbeat_s=300)
STARTED = Known(started_at=T0, heard_at=T0)


def status(word: str, at: int = T0 + MIN) -> tuple[tuple[str, int], ...]:
    return ((word, at),)


@pytest.mark.parametrize(
    ("known", "after", "verdict"),
    [
        # the connector is free again, and no energy has flowed
        (replace(STARTED, statuses=status("Available")), 6 * MIN, FAILED_START),
        (replace(STARTED, statuses=status("Reserved")), 6 * MIN, FAILED_START),
        (replace(STARTED, statuses=status("Available")), 6 * MIN - 1, None),
        (replace(STARTED, statuses=status("Available"), heard_at=T0 + 3 * MIN), 8 * MIN - 1, None),
        (replace(STARTED, statuses=status("Available"), heard_at=T0 + 3 * MIN), 8 * MIN, FAILED_START),
        # another session has begun at its EVSE, whatever the connector says of that one
        (replace(STARTED, statuses=status("Charging"), overtaken_at=T0 + MIN), 6 * MIN, FAILED_START),
        # energy has flowed: it is more than a start
        (replace(STARTED, statuses=status("Available"), drew=True), 6 * H - 1, None),
        (replace(STARTED, statuses=status("Available"), drew=True), 6 * H, ENDLESS),
        # what was said before the start is of the time before
        (replace(STARTED, statuses=status("Available", T0)), 6 * H - 1, None),
        (replace(STARTED, statuses=status("Available", T0 - MIN)), 6 * H, ENDLESS),
        # the line is lost right after the start: a charge of two hours, and nobody hears of it
        (STARTED, 2 * H, None),
        (replace(STARTED, statuses=status("Charging"), charger_heard_at=T0 + MIN), 2 * H, None),
        (replace(STARTED, statuses=status("Charging"), charger_heard_at=T0 + MIN), 6 * H + MIN, ENDLESS),
        # words that say nothing
        (replace(STARTED, statuses=status("Preparing")), 6 * H - 1, None),
        (replace(STARTED, statuses=status("Finishing")), 6 * H - 1, None),
        (replace(STARTED, statuses=status("Faulted"), charger_heard_at=T0 + 6 * H), 6 * H, ENDLESS),
        # a car that stands there overnight, at a charger that lives and samples nothing
        (replace(STARTED, statuses=status("SuspendedEV"), drew=True, charger_heard_at=T0 + 30 * H), 30 * H, None),
        (replace(STARTED, statuses=status("Occupied", T0 - H), drew=True, charger_heard_at=T0 + 30 * H), 30 * H, None),
        (replace(STARTED, statuses=status("Charging"), overtaken_at=T0 + H, drew=True, charger_heard_at=T0 + 6 * H), 6 * H, ENDLESS),
        # an EVSE of several connectors is free when all of them are
        (replace(STARTED, statuses=(("Available", T0 + MIN), ("Occupied", T0 + MIN))), 6 * MIN, None),
        (replace(STARTED, statuses=(("Available", T0 + MIN), ("Available", T0 + 2 * MIN))), 7 * MIN, FAILED_START),
    ],
)
def test_silence_alone_is_no_failed_start_and_no_sign_of_it_is_an_end(known: Known, after: int, verdict: str | None) -> None:
    assert judge(known, FIELD, T0 + after) == verdict


def test_a_limit_of_zero_is_never() -> None:
    failed, ended = replace(STARTED, statuses=status("Available")), replace(STARTED, drew=True)
    assert judge(failed, Limits(0, 21_600, 300), T0 + H) is None
    assert judge(failed, Limits(0, 21_600, 300), T0 + 6 * H) == ENDLESS
    assert judge(ended, Limits(300, 0, 300), T0 + 9_999 * H) is None


def test_who_says_something_once_a_day_is_not_silent_before_two_days_are_over() -> None:
    daily = replace(FIELD, heartbeat_s=86_400)
    assert judge(STARTED, daily, T0 + 48 * H - 1) is None
    assert judge(STARTED, daily, T0 + 48 * H) == ENDLESS


MOMENTS = st.integers(T0 - H, T0 + 40 * H)
WORDS = st.sampled_from([*SAYS, "Preparing", "Finishing", "Unavailable", "Faulted", "no word at all"])
LIMITS = st.builds(Limits, st.integers(0, 90_000), st.integers(0, 90_000), st.integers(10, 86_400))
KNOWN = st.builds(
    Known,
    started_at=MOMENTS,
    heard_at=MOMENTS,
    drew=st.booleans(),
    statuses=st.lists(st.tuples(WORDS, MOMENTS), max_size=2).map(tuple),
    charger_heard_at=st.none() | MOMENTS,
    overtaken_at=st.none() | MOMENTS,
)


@given(KNOWN, LIMITS, MOMENTS, st.integers(0, 400 * H))
def test_who_is_over_stays_over_while_nothing_is_heard_and_in_the_end_everyone_is(
    known: Known, limits: Limits, now: int, later: int
) -> None:
    if judge(known, limits, now) is not None:
        assert judge(known, limits, now + later) is not None
    assert (judge(known, limits, now + 400 * H) is not None) or not limits.endless_s


@given(KNOWN, LIMITS, MOMENTS)
def test_what_is_heard_of_a_transaction_within_the_limits_keeps_it(known: Known, limits: Limits, now: int) -> None:
    shortest = min((limit for limit in (limits.failed_start_s, limits.endless_s) if limit), default=1)
    assert judge(replace(known, heard_at=now - shortest * S + 1), limits, now) is None


@given(KNOWN, LIMITS, MOMENTS, WORDS.filter(lambda word: SAYS.get(word) == "used"), MOMENTS)
def test_a_charge_at_a_charger_that_lives_is_never_closed_however_little_is_told_of_it(
    known: Known, limits: Limits, now: int, word: str, since: int
) -> None:
    alive = now - HEARTBEATS_MIN * limits.heartbeat_s * S + 1
    running = replace(known, statuses=((word, since),), charger_heard_at=alive, overtaken_at=None)
    assert judge(running, limits, now) is None


@given(KNOWN, LIMITS, MOMENTS, WORDS.filter(lambda word: SAYS.get(word) != "free"), MOMENTS)
def test_a_charger_that_is_only_away_has_no_failed_start(known: Known, limits: Limits, now: int, word: str, since: int) -> None:
    for statuses in ((), ((word, since),)):
        assert judge(replace(known, statuses=statuses, overtaken_at=None), limits, now) != FAILED_START


@given(KNOWN, LIMITS, MOMENTS)
def test_energy_is_never_a_failed_start(known: Known, limits: Limits, now: int) -> None:
    assert judge(replace(known, drew=True), limits, now) != FAILED_START

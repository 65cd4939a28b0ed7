"""The rules of a session: what chargers report late, twice and out of order comes out the same."""

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cpms_actors.domain import charging, sequence
from cpms_actors.domain.charging import Outcome, Session, flags, fold, gaps
from cpms_actors.domain.events import (
    Event,
    IdToken,
    Metered,
    Sample,
    TransactionAnswered,
    TransactionEnded,
    TransactionLapsed,
    TransactionStarted,
    TransactionUpdated,
)

T0 = 1_700_000_000_000
MIN = 60_000


def event(body: Any, received_at: int = T0) -> Event:
    return Event(3, 1, 1, "default", "CP1", 1, "m", received_at, body)


def register(at: int, wh: float, context: str = "Sample.Periodic", **more: Any) -> Sample:
    return Sample(at, wh, context=context, **more)


def start16(at: int = T0, transaction: str = "1000", meter: int = 100, tag: str = "AB12") -> TransactionStarted:
    return TransactionStarted(transaction, 1, 1, at, IdToken(tag), meter, status="Accepted")


def meter16(at: int, wh: float, transaction: str = "1000", **more: Any) -> TransactionUpdated:
    return TransactionUpdated(transaction, at, trigger="MeterValuePeriodic", samples=(register(at, wh, **more),))


def stop16(at: int = T0 + 60 * MIN, meter: int | None = 7_100, transaction: str = "1000", **more: Any) -> TransactionEnded:
    return TransactionEnded(transaction, at, meter, "Local", **more)


def folded(*bodies: Any, session: Session | None = None) -> Session:
    for body in bodies:
        outcome = fold(session, event(body))
        assert outcome.parked is None, outcome
        session = outcome.session
    assert session is not None
    return session


# -- OCPP 1.6


def test_a_session_lasts_from_its_start_to_its_stop_and_costs_the_difference_of_the_registers() -> None:
    session = folded(start16(), meter16(T0 + MIN, 1_000), meter16(T0 + 30 * MIN, 4_000))
    assert (session.status, session.version, session.meter_last_wh, session.energy_wh) == ("Active", 0, 4_000, 3_900)
    session = folded(stop16(), session=session)
    assert (session.status, session.version) == ("Ended", 1)
    assert (session.meter_start_wh, session.meter_stop_wh, session.energy_wh) == (100, 7_100, 7_000)
    assert (session.started_at, session.ended_at, session.reason) == (T0, T0 + 60 * MIN, "Local")
    assert (session.evse, session.connector, session.token, session.authorization) == (1, 1, IdToken("AB12"), "Accepted")
    assert flags(session) == ()


def test_a_repeated_start_is_the_same_session_whatever_id_it_was_given() -> None:
    session = folded(start16())
    for repetition in (start16(), start16(transaction="2000")):
        assert fold(session, event(repetition)) == Outcome(session)
        assert fold(session, event(repetition)).session is session
        assert charging.start_key(repetition) == session.start_key


@pytest.mark.parametrize(
    "other",
    [start16(at=T0 + 1), start16(meter=101), start16(tag="CD34"), replace(start16(), evse=2), replace(start16(), token=None)],
    ids=["time", "register", "driver", "connector", "no driver"],
)
def test_a_start_that_differs_in_content_is_another_start(other: TransactionStarted) -> None:
    assert charging.start_key(other) != charging.start_key(start16())


def test_a_transaction_id_that_comes_again_with_another_start_is_parked_and_changes_nothing() -> None:
    outcome = fold(folded(start16()), event(start16(at=T0 + MIN)))
    assert outcome.parked is not None
    assert outcome.parked.reason == charging.TRANSACTION_REUSED


@pytest.mark.parametrize(
    ("transaction", "reason"),
    [("-1", "no-transaction"), ("0", "no-transaction"), ("", "no-transaction"), ("9223372036854775807", "unknown-transaction")],
)
def test_a_stop_of_no_known_transaction_is_parked_with_its_register_and_keeps_its_readings(transaction: str, reason: str) -> None:
    reading = register(T0, 50)
    outcome = fold(None, event(stop16(transaction=transaction, samples=(reading,))))
    assert outcome.session is None
    assert outcome.readings == (reading,)
    assert outcome.parked is not None
    assert outcome.parked.reason == reason
    assert "7100 Wh" in outcome.parked.detail


def test_an_event_beyond_the_gaps_that_are_kept_counts_all_the_same() -> None:
    """Some stations number their events across transactions: an end that is not counted would never be billed."""
    session = folded(start2(), *(update2(2 * n) for n in range(1, charging.GAPS_MAX + 1)))
    assert len(gaps(session)) == 2 * charging.GAPS_MAX
    ended = folded(end2(2 * charging.GAPS_MAX + 4, 900), session=session)
    assert (ended.status, ended.energy_wh, len(gaps(ended))) == ("Ended", 800, 2 * charging.GAPS_MAX)
    assert len(gaps(folded(update2(1), session=ended))) == 2 * (charging.GAPS_MAX - 1)


# -- ids that come again, clocks that cannot be right


def second_start2(at: int, seq: int = 0) -> Event:
    return event(TransactionStarted("tx", 2, 0, at, seq=seq), received_at=at)


@pytest.mark.parametrize(
    ("at", "seq", "anew"),
    [
        (T0 + 10 * MIN, 0, True),
        (T0 + 2 * MIN, 0, False),  # not after the end
        (T0 + 10 * MIN, 5, False),  # a number that the first one never used: its own events, badly ordered
        (T0, 0, False),  # the same start again
        (1_000, 0, False),  # a clock that was never set tells nothing
    ],
)
def test_a_station_that_counts_from_the_beginning_again_begins_another_transaction(at: int, seq: int, anew: bool) -> None:
    session = folded(start2(), update2(1, 300), end2(2, 900))
    start = second_start2(at, seq)
    assert isinstance(start.body, TransactionStarted)
    assert charging.begins_anew(session, start, start.body) == anew


def test_a_running_transaction_is_not_begun_anew_but_a_start_at_another_time_is_parked() -> None:
    session, start = folded(start2(), update2(1, 300)), second_start2(T0 + 10 * MIN)
    assert isinstance(start.body, TransactionStarted)
    assert not charging.begins_anew(session, start, start.body)
    outcome = fold(session, start)
    assert outcome.session is session
    assert outcome.parked is not None
    assert outcome.parked.reason == charging.TRANSACTION_REUSED


def test_an_id_of_ours_that_was_leased_twice_begins_another_transaction() -> None:
    """Postgres was restored from a backup, and its sequence with it."""
    session = folded(start16(), stop16())
    for at, anew in ((T0 + 90 * MIN, True), (T0, False)):
        assert charging.begins_anew(session, event(start16(at=at), received_at=at), start16(at=at)) == anew


@pytest.mark.parametrize("wrong", [0, 1_000, charging.CLOCK_SET_AT - 2, T0 + charging.CLOCK_AHEAD_MS + 1, 2**62])
def test_nobody_pays_for_the_years_that_a_clock_was_wrong_by(wrong: int) -> None:
    session: Session | None = None
    for body, received_at in ((start16(at=wrong), T0), (stop16(at=wrong + 1), T0 + 30 * MIN), (stop16(at=wrong + 1), T0 + 40 * MIN)):
        outcome = fold(session, event(body, received_at))
        assert outcome.parked is None
        session = outcome.session
    assert session is not None
    if wrong == T0 + charging.CLOCK_AHEAD_MS + 1:  # by the time of its stop the clock may be right
        assert (session.started_at, session.version) == (T0, 1)
    else:
        assert (session.started_at, session.ended_at, session.version) == (T0, T0 + 30 * MIN, 1)
    assert "clock" in flags(session)


@pytest.mark.parametrize(("transaction", "parked"), [("0", False), ("-1", False), ("4711", True)])
def test_meter_values_of_no_known_transaction_are_kept_and_parked_only_if_they_name_one(transaction: str, parked: bool) -> None:
    outcome = fold(None, event(meter16(T0, 1_000, transaction)))
    assert (outcome.session, len(outcome.readings), outcome.parked is not None) == (None, 1, parked)


def test_the_same_stop_again_is_no_news_and_another_is_for_a_person_to_judge() -> None:
    session = folded(start16(), stop16())
    assert fold(session, event(stop16())) == Outcome(session)
    for other in (stop16(meter=9_000), stop16(at=T0 + 61 * MIN)):
        outcome = fold(session, event(other))
        assert outcome.session is session
        assert outcome.parked is not None
        assert outcome.parked.reason == charging.SECOND_STOP


def test_a_late_fact_amends_an_ended_session_by_one_version_and_keeps_its_end() -> None:
    session = folded(start16(), stop16())
    amended = folded(meter16(T0 + 10 * MIN, 2_000), session=session)
    assert (amended.version, amended.status, amended.energy_wh) == (2, "Ended", 7_000)


def test_meter_values_outside_transactions_are_readings_only() -> None:
    sample = register(T0, 5)
    assert fold(None, event(Metered(0, 0, (sample,)))) == Outcome(None, (sample,))


# -- what a station says when it is asked about a transaction


def answer(queued: bool, ongoing: bool | None = None, up_to: int = 3) -> TransactionAnswered:
    return TransactionAnswered("tx", queued, ongoing, up_to)


@pytest.mark.parametrize(
    ("queued", "ongoing", "heard_of", "said"),
    [
        (True, True, True, ("gaps",)),
        (True, False, True, ("gaps",)),
        (True, None, True, ("gaps",)),
        (False, True, True, ("lost",)),
        (False, False, False, ("lost",)),
        (False, None, False, ("lost",)),
    ],
)
def test_what_is_queued_may_come_what_is_not_is_lost_and_what_goes_on_is_heard_of(
    queued: bool, ongoing: bool | None, heard_of: bool, said: tuple[str, ...]
) -> None:
    running = folded(start2(), update2(1, 300), update2(3, 900))
    assert flags(running) == ("gaps",)
    asked = fold(running, event(answer(queued, ongoing), T0 + MIN)).session
    assert asked is not None
    assert (asked.heard_at, flags(asked), gaps(asked)) == (T0 + MIN if heard_of else T0, said, (2, 2))
    assert replace(asked, heard_at=T0, marks=running.marks) == running, "no figure changes"


def test_an_answer_says_nothing_of_the_figures_or_the_version_of_a_session_that_has_ended() -> None:
    ended = folded(start2(), end2(3, 900))
    asked = folded(answer(False), session=ended)
    assert (flags(asked), replace(asked, marks=ended.marks)) == (("lost",), ended)
    assert fold(ended, event(answer(True), T0 + MIN)) == Outcome(ended)
    assert fold(asked, event(answer(False), T0 + MIN)).session is asked, "said twice is no news"
    assert fold(None, event(answer(False))) == Outcome(None)


def test_what_was_lost_and_comes_all_the_same_is_taken() -> None:
    asked = folded(answer(False), session=folded(start2(), update2(2, 600), end2(3, 900)))
    whole = folded(update2(1, 300), session=asked)
    assert (flags(whole), gaps(whole), whole.version) == ((), (), asked.version + 1)


def test_a_gap_above_what_was_known_when_the_station_was_asked_is_another_one() -> None:
    asked = folded(answer(False), session=folded(start2(), update2(1, 300), update2(3, 900)))
    more = folded(update2(6, 1_500), session=asked)
    assert (gaps(more), flags(more)) == ((2, 2, 4, 5), ("gaps", "lost"))
    assert flags(folded(answer(False, up_to=6), session=more)) == ("lost",)
    assert flags(folded(answer(False, up_to=6), answer(False, up_to=3), session=more)) == ("lost",)
    assert flags(folded(update2(2, 600), session=more)) == ("gaps",)


def test_a_transaction_that_goes_on_is_not_closed_by_a_sweeper_that_had_not_heard_its_answer() -> None:
    running = folded(start2())
    asked = fold(running, event(answer(False, True), T0 + MIN)).session
    assert fold(asked, event(lapse(running))) == Outcome(asked)


# -- sessions that were closed because nothing was heard of them


def lapse(session: Session, reason: str = "endless") -> TransactionLapsed:
    """What a sweeper says that knows the session as it is."""
    return TransactionLapsed(session.transaction, session.heard_at, session.version, reason)


def test_a_session_that_lapses_ends_with_what_is_known_and_is_provisional() -> None:
    running = folded(start16(), meter16(T0 + MIN, 1_000), meter16(T0 + 30 * MIN, 4_000))
    closed = folded(lapse(running), session=running)
    assert (closed.status, closed.version, closed.ended_at, closed.reason) == ("Ended", 1, T0 + 30 * MIN, "endless")
    assert (closed.meter_stop_wh, closed.energy_wh, flags(closed)) == (4_000, 3_900, ("provisional",))
    never = folded(start16())
    closed = folded(lapse(never, "failed-start"), session=never)
    assert (closed.started_at, closed.ended_at, closed.energy_wh, closed.reason) == (T0, T0, 0, "failed-start")


@pytest.mark.parametrize(("read_at", "ended_at"), [(T0 + MIN, T0 + MIN), (T0 + 10**12, T0 + 60 * MIN), (0, T0)])
def test_a_session_that_was_stored_before_its_last_moment_was_kept_ends_at_its_last_reading(read_at: int, ended_at: int) -> None:
    running = folded(start16(), meter16(read_at, 1_000)) if read_at else folded(start16())
    old = replace(running, marks=replace(running.marks, last_at=None), heard_at=T0 + 60 * MIN)
    assert folded(lapse(old), session=old).ended_at == ended_at


def test_a_second_lapse_and_one_that_knew_less_than_we_do_change_nothing() -> None:
    running = folded(start16(), meter16(T0 + MIN, 1_000))
    closed = folded(lapse(running), session=running)
    assert fold(closed, event(lapse(running, "failed-start"))) == Outcome(closed)
    assert fold(closed, event(lapse(closed))) == Outcome(closed)
    heard = fold(running, event(meter16(T0 + 2 * MIN, 2_000), T0 + 1)).session
    assert heard is not None
    assert fold(heard, event(lapse(running))) == Outcome(heard)
    again = folded(meter16(T0 + 2 * MIN, 2_000), session=closed)  # heard of in the very same millisecond, and a version higher
    assert fold(again, event(lapse(running))) == Outcome(again)
    ended = folded(stop16(), session=running)
    assert fold(ended, event(lapse(ended))) == Outcome(ended)
    assert fold(None, event(lapse(running))) == Outcome(None)


def test_the_end_of_a_session_that_lapsed_amends_it() -> None:
    running = folded(start16(), meter16(T0 + MIN, 1_000))
    whole = folded(stop16(), session=folded(lapse(running), session=running))
    assert (whole.status, whole.version, flags(whole)) == ("Ended", 2, ())
    assert (whole.ended_at, whole.reason, whole.energy_wh) == (T0 + 60 * MIN, "Local", 7_000)
    assert fold(whole, event(stop16())) == Outcome(whole)


def test_a_session_that_lapsed_and_goes_on_is_active_again_and_lapses_again() -> None:
    running = folded(start16(), meter16(T0 + MIN, 1_000))
    again = folded(meter16(T0 + 600 * MIN, 2_000), session=folded(lapse(running), session=running))
    assert (again.status, again.version, again.ended_at, again.reason, flags(again)) == ("Active", 2, None, None, ())
    assert (again.meter_last_wh, again.meter_stop_wh) == (2_000, None)
    more = folded(meter16(T0 + 601 * MIN, 3_000), session=again)
    assert (more.status, more.version) == ("Active", 2)
    closed = folded(lapse(more), session=more)
    assert (closed.status, closed.version, closed.energy_wh) == ("Ended", 3, 2_900)
    whole = folded(stop16(T0 + 700 * MIN), session=closed)
    assert (whole.status, whole.version, whole.energy_wh, flags(whole)) == ("Ended", 4, 7_000, ())


def test_a_start_that_is_repeated_tells_nothing_of_whether_it_goes_on() -> None:
    running = folded(start16())
    closed = folded(lapse(running), session=running)
    assert fold(closed, event(start16(), T0 + 9)) == Outcome(closed)


def test_a_station_that_counts_anew_after_its_transaction_lapsed_begins_another() -> None:
    """Before that its start would be parked: a running transaction is not begun anew."""
    running, start = folded(start2(), update2(1, 300)), second_start2(T0 + 10 * MIN)
    assert isinstance(start.body, TransactionStarted)
    assert charging.begins_anew(folded(lapse(running), session=running), start, start.body)
    assert not charging.begins_anew(folded(lapse(running), session=running), event(start2()), start2())


def test_hearing_the_same_later_is_no_new_version() -> None:
    """`heard_at` is ours, and nothing is billed by it."""
    ended = folded(start16(), meter16(T0 + MIN, 1_000), stop16())
    bare = TransactionUpdated("1000", T0 + MIN)
    heard = fold(ended, event(bare, T0 + 9)).session
    assert heard == replace(ended, heard_at=T0 + 9)


# -- which registers count


@pytest.mark.parametrize(
    ("bodies", "start", "last", "stop", "energy", "words"),
    [
        ((start16(meter=100), stop16(meter=300)), 100, 300, 300, 200, ()),
        ((start16(meter=100), meter16(T0 + MIN, 250), stop16(meter=None)), 100, 250, 250, 150, ()),
        ((start16(meter=100), stop16(meter=100)), 100, 100, 100, 0, ()),
        # a stop that says 0, as some firmware does: what was measured until then counts
        (
            (start16(meter=100), meter16(T0 + MIN, 800), meter16(T0 + 2 * MIN, 900), stop16(meter=0)),
            100,
            0,
            0,
            700,
            ("register-fell",),
        ),
        ((start16(meter=100), stop16(meter=50)), 100, 50, 50, 0, ("register-fell",)),
        ((start16(meter=100), meter16(T0 + MIN, 9_000), stop16(meter=500)), 100, 500, 500, 400, ("register-fell",)),
        # one phase, the grid side, another measurand: not this transaction's register
        ((start16(meter=100), meter16(T0 + MIN, 900, phase="L1"), stop16(meter=300)), 100, 300, 300, 200, ()),
        ((start16(meter=100), meter16(T0 + MIN, 900, location="Inlet"), stop16(meter=300)), 100, 300, 300, 200, ()),
        ((start16(meter=100), meter16(T0 + MIN, 900, measurand="Power.Active.Import"), stop16(meter=300)), 100, 300, 300, 200, ()),
        # a register of SignedData (1.6) is inside it, and not the value 0 beside it
        ((start16(meter=100), meter16(T0 + MIN, 0.0, signed="OCMF|"), stop16(meter=300)), 100, 300, 300, 200, ()),
        ((start16(meter=100), meter16(T0 + MIN, float("nan")), stop16(meter=300)), 100, 300, 300, 200, ()),
        ((start16(meter=100), meter16(T0 + MIN, float("inf")), stop16(meter=300)), 100, 300, 300, 200, ()),
        ((start16(at=T0, meter=100), stop16(at=T0 - MIN, meter=300)), 100, 100, 300, 200, ("clock",)),
    ],
)
def test_energy_is_the_difference_of_the_registers_that_bound_the_transaction(
    bodies: tuple[Any, ...], start: int, last: int, stop: int, energy: int, words: tuple[str, ...]
) -> None:
    session = folded(*bodies)
    assert (session.meter_start_wh, session.meter_last_wh, session.meter_stop_wh, session.energy_wh) == (start, last, stop, energy)
    assert flags(session) == words


READINGS = (meter16(T0 + 10 * MIN, 2_000), meter16(T0 + 20 * MIN, 3_000), meter16(T0 + 30 * MIN, 4_000))
SPIKE = meter16(T0 + 15 * MIN, 9_999_999)


@pytest.mark.parametrize(
    ("bodies", "energy", "words"),
    [
        # the meter was reset on the way: the last reading but one is what two agree on
        ((start16(), *READINGS, stop16(meter=0)), 2_900, ("register-fell",)),
        ((start16(), *READINGS, READINGS[2], stop16(meter=0)), 2_900, ("register-fell",)),  # a repetition confirms nothing
        ((start16(), READINGS[0], stop16(meter=0)), 0, ("register-fell",)),
        # a spike, then a stop that says 0: the spike is not billed
        ((start16(), *READINGS, SPIKE, stop16(meter=0)), 3_900, ("register-fell",)),
        ((start16(), SPIKE, stop16(meter=0)), 0, ("register-fell",)),
        # two spikes agree, but no charger delivers that much
        ((start16(), *READINGS, SPIKE, meter16(T0 + 16 * MIN, 9_999_998), stop16(meter=0)), 0, ("register-fell",)),
        # a spike under a good stop changes nothing
        ((start16(), *READINGS, SPIKE, stop16(meter=7_100)), 7_000, ("register-fell",)),
        # the stop itself is the spike: firmware that writes 2**32 - 1
        ((start16(), *READINGS, stop16(meter=2**32 - 1)), 3_900, ("register-implausible",)),
        ((start16(), stop16(meter=2**32 - 1)), 0, ("register-implausible",)),
        # what a charger can deliver is billed
        ((start16(), stop16(meter=4_000_100)), 4_000_000, ()),
        ((start16(), stop16(meter=4_000_101)), 0, ("register-implausible",)),
        # a clock that jumped back is no proof against the meter
        ((start16(), stop16(at=T0 + 1, meter=60_100)), 60_000, ()),
    ],
)
def test_what_is_billed_is_sure_and_the_operator_is_told_of_the_rest(
    bodies: tuple[Any, ...], energy: int, words: tuple[str, ...]
) -> None:
    session = folded(*bodies)
    assert (session.energy_wh, flags(session)) == (energy, words)


def test_without_any_register_the_energy_is_zero_and_said_to_be_unknown() -> None:
    bare = TransactionStarted("tx", 1, 1, T0, seq=0)
    session = folded(bare, TransactionEnded("tx", T0 + MIN, seq=1))
    assert (session.energy_wh, session.meter_start_wh, flags(session)) == (0, None, ("register-unknown",))


# -- OCPP 2.x


def start2(seq: int = 0, at: int = T0, **more: Any) -> TransactionStarted:
    return TransactionStarted("tx", 2, 0, at, seq=seq, samples=(register(at, 100, "Transaction.Begin"),), **more)


def update2(seq: int, wh: float | None = None, **more: Any) -> TransactionUpdated:
    at = T0 + seq * MIN
    return TransactionUpdated("tx", at, seq=seq, samples=() if wh is None else (register(at, wh),), **more)


def end2(seq: int, wh: float, **more: Any) -> TransactionEnded:
    at = T0 + seq * MIN
    return TransactionEnded("tx", at, reason="EVDisconnected", seq=seq, samples=(register(at, wh, "Transaction.End"),), **more)


def test_the_register_of_a_transaction_is_the_one_at_its_outlet_in_whatever_order_a_station_lists_them() -> None:
    """The grid side has a meter too, and its register is not the driver's."""

    def both(at: int, grid: float, outlet: float, context: str) -> tuple[Sample, Sample]:
        return register(at, grid, context, location="Inlet"), register(at, outlet, context, location="Outlet")

    begin, end = both(T0, 50_000, 100, "Transaction.Begin"), both(T0 + MIN, 51_000, 900, "Transaction.End")
    session = folded(
        TransactionStarted("tx", 1, 1, T0, meter_wh=50_000, seq=0, samples=begin),
        TransactionEnded("tx", T0 + MIN, 51_000, seq=1, samples=end),
    )
    assert (session.meter_start_wh, session.meter_stop_wh, session.energy_wh, flags(session)) == (100, 900, 800, ())


def test_events_are_ordered_by_seqno_not_by_arrival() -> None:
    session = folded(
        start2(), update2(3, 900, charging_state="SuspendedEV"), update2(1, 300, charging_state="Charging", token=IdToken("A"))
    )
    assert (session.charging_state, session.meter_last_wh, session.token) == ("SuspendedEV", 900, IdToken("A"))
    assert (session.seqs, gaps(session), flags(session)) == ((0, 1, 3, 3), (2, 2), ("gaps",))


def test_an_end_before_its_start_opens_a_provisional_session_that_the_start_completes() -> None:
    early = folded(end2(2, 900))
    assert (early.status, early.version, early.started_at) == ("Ended", 1, T0 + 2 * MIN)
    assert flags(early) == ("provisional", "gaps", "register-guessed")
    whole = folded(start2(remote_start_id=7, status="Accepted"), update2(1, 500), session=early)
    assert (whole.started_at, whole.energy_wh, whole.version, flags(whole)) == (T0, 800, 3, ())
    assert (whole.remote_start_id, whole.authorization, whole.evse) == (7, "Accepted", 2)


@pytest.mark.parametrize("again", [start2(), update2(1, 999), end2(2, 999)])
def test_a_seqno_that_came_before_is_ignored(again: Any) -> None:
    session = folded(start2(), update2(1, 300), end2(2, 900))
    assert fold(session, event(again)) == Outcome(session)


def test_a_driver_is_who_authorized_first_and_who_stopped_is_kept_beside() -> None:
    session = folded(
        start2(), update2(2, token=IdToken("late")), update2(1, token=IdToken("first")), end2(3, 900, token=IdToken("stopper"))
    )
    assert (session.token, session.stop_token) == (IdToken("first"), IdToken("stopper"))


def test_an_end_whose_seqno_was_used_before_still_ends_the_session() -> None:
    """Some stations repeat a seqNo; losing an end loses money."""
    session = folded(start2(), update2(1, 300), end2(1, 900))
    assert (session.status, session.energy_wh) == ("Ended", 800)


def test_offline_events_are_marked() -> None:
    assert flags(folded(start2(), update2(1, 200, offline=True))) == ("offline",)


def samples(context: str) -> st.SearchStrategy[tuple[Sample, ...]]:
    one = st.builds(
        register,
        st.integers(T0, T0 + 99 * MIN),
        st.integers(0, 50),
        st.sampled_from(["Sample.Periodic", "Sample.Clock", context]),
        phase=st.sampled_from([None, None, "L1"]),
    )
    return st.lists(one, max_size=2).map(tuple)


@st.composite
def transactions(draw: st.DrawFn) -> list[Any]:
    """A transaction of OCPP 2.x as a station tells it: one Started, some Updated, at most one Ended, perhaps with holes."""
    last = draw(st.integers(1, 7))
    token = st.none() | st.sampled_from([IdToken("A"), IdToken("B")])
    state = st.sampled_from([None, "EVConnected", "Charging", "SuspendedEVSE"])
    evse, connector = st.sampled_from([None, 1, 2]), st.sampled_from([None, 0, 1])
    at = st.integers(T0, T0 + 99 * MIN)
    bodies: list[Any] = [
        TransactionStarted(
            "tx", draw(st.integers(0, 1)), 0, draw(at), draw(token), draw(st.none() | st.integers(0, 9)), 0, draw(st.booleans()),
            charging_state=draw(state), samples=draw(samples("Transaction.Begin")),
        )
    ]  # fmt: skip
    bodies += [
        TransactionUpdated(
            "tx", draw(at), seq, draw(st.booleans()), None, draw(state), draw(token), draw(evse), draw(connector),
            draw(samples("Sample.Periodic")),
        )
        for seq in range(1, last)
    ]  # fmt: skip
    if draw(st.booleans()):
        bodies.append(
            TransactionEnded(
                "tx", draw(at), draw(st.none() | st.integers(0, 60)), "Local", draw(token), last,
                samples=draw(samples("Transaction.End")),
            )
        )  # fmt: skip
    kept = draw(st.sets(st.sampled_from(range(len(bodies))), min_size=1))
    return [bodies[index] for index in sorted(kept)]


@settings(max_examples=400, deadline=None)
@given(transactions(), st.randoms(use_true_random=False))
def test_any_permutation_and_repetition_of_a_transaction_ends_in_the_same_session(bodies: list[Any], chance: random.Random) -> None:
    in_order = folded(*bodies)
    shuffled = bodies + chance.choices(bodies, k=len(bodies))
    chance.shuffle(shuffled)
    assert replace(folded(*shuffled), version=0) == replace(in_order, version=0)


@settings(max_examples=300, deadline=None)
@given(transactions(), st.lists(st.integers(0, 9), max_size=5), st.randoms(use_true_random=False))
def test_wherever_a_session_lapsed_only_its_version_tells_once_more_is_heard(
    bodies: list[Any], lapses: list[int], chance: random.Random
) -> None:
    chance.shuffle(bodies)
    session: Session | None = None
    for number, body in enumerate(bodies):
        before = session
        session = fold(session, event(body, T0 + number)).session
        assert session is not None
        assert (session.version > (before.version if before else 0)) == (
            session.status == "Ended" or (before is not None and charging.lapsed(before))
        )
        if number in lapses and number + 1 < len(bodies):
            lapsed = fold(session, event(lapse(session), T0 + 99 * MIN)).session
            assert lapsed is not None
            assert (lapsed.status, charging.lapsed(lapsed)) == ("Ended", session.status == "Active" or charging.lapsed(session))
            session = lapsed
    whole = folded(*bodies)
    assert session is not None
    assert replace(session, version=0, heard_at=0) == replace(whole, version=0, heard_at=0)


@settings(max_examples=200, deadline=None)
@given(transactions(), st.randoms(use_true_random=False))
def test_a_version_tells_every_change_after_the_end_and_nothing_else(bodies: list[Any], chance: random.Random) -> None:
    shuffled = bodies * 2
    chance.shuffle(shuffled)
    session: Session | None = None
    for body in shuffled:
        outcome = fold(session, event(body))
        after = outcome.session
        assert after is not None
        before_version = session.version if session else 0
        changed = after is not session
        assert after.version == before_version + (1 if changed and after.status == "Ended" else 0)
        session = after


@settings(max_examples=300)
@given(st.lists(st.integers(0, 30)))
def test_ranges_are_the_set_they_stand_for(numbers: list[int]) -> None:
    ranges: sequence.Ranges = ()
    for number in numbers:
        ranges = sequence.add(ranges, number)
    pairs = list(zip(ranges[::2], ranges[1::2], strict=True))
    assert [n for low, high in pairs for n in range(low, high + 1)] == sorted(set(numbers))
    assert all(after[0] > before[1] + 1 for before, after in pairwise(pairs))
    assert all(sequence.contains(ranges, n) == (n in numbers) for n in range(-1, 32))
    holes = sequence.missing(ranges, 0)
    missing = [n for low, high in zip(holes[::2], holes[1::2], strict=True) for n in range(low, high + 1)]
    assert missing == ([n for n in range(max(numbers)) if n not in numbers] if numbers else [])


def test_the_cost_of_an_event_does_not_depend_on_the_history_of_its_transaction() -> None:
    """What is kept of a thousand events is as large as what is kept of ten."""
    few = folded(start2(), *(update2(n, n) for n in range(1, 10)))
    many = folded(start2(), *(update2(n, n) for n in range(1, 1_000)))
    assert many.seqs == (0, 999)
    assert len(msgspec.msgpack.encode(many)) - len(msgspec.msgpack.encode(few)) < 24  # the integers are wider, that is all

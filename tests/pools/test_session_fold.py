"""A batch in memory: what counts once, what is parked, and what a poison event costs."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest

from cpms_actors.domain import charging
from cpms_actors.domain.events import (
    NO_OWNER,
    Booted,
    Connected,
    Disconnected,
    Event,
    IdToken,
    Metered,
    Page,
    Parked,
    Reported,
    Sample,
    Seen,
    StatusChanged,
    TransactionAnswered,
    TransactionEnded,
    TransactionLapsed,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.pools.fold import Batch, StoredPage, accept, fold, keys_of
from cpms_actors.store.offsets import Progress
from cpms_actors.store.sessions import Found

T0 = 1_700_000_000_000


def event(body: Any, charger: str = "CP1", *, epoch: int = 1, slot: int = 3, connection: int = 1, at: int = T0, **more: Any) -> Event:
    return Event(slot, epoch, 1, more.get("tenant", "default"), charger, connection, "m", at, body)


def page(seq: int, *events: Event, writer: str = "w", number: int | None = None) -> StoredPage:
    return StoredPage(seq, msgspec.msgpack.encode(Page(writer, number or seq, events)))


def batch_of(*events: Event, found: Found | None = None, seen: dict[tuple[str, str], int] | None = None) -> Batch:
    ids: Iterator[int] = count(1)
    return fold(events, found or Found({}, {}), lambda: next(ids), seen or {})


def start(transaction: str = "1000", at: int = T0) -> TransactionStarted:
    return TransactionStarted(transaction, 2, 1, at, IdToken("A"), 100, status="Accepted")


SEEN = event(Seen())


def test_a_page_below_the_offset_or_stored_twice_is_folded_once() -> None:
    pages = [
        page(5, SEEN, number=1),
        page(6, SEEN, number=2),
        page(8, SEEN, number=2),
        page(9, SEEN, number=3),
        page(9, SEEN, number=4),
    ]
    accepted = accept(pages, Progress("s", 5, {"w": 1}, {}))
    assert (len(accepted.events), accepted.stored_twice, accepted.stream_seq, accepted.writers) == (2, 1, 9, {"w": 3})
    again = accept(pages, Progress("s", 0, {"w": 3}, {}))
    assert (len(again.events), again.stored_twice) == (0, 4)  # the offset was lost, the writers' numbers were not


def test_writers_are_told_apart() -> None:
    accepted = accept(
        [page(1, SEEN, writer="a", number=7), page(2, SEEN, writer="b", number=7)], Progress("s", 0, {"a": 6, "b": 6}, {})
    )
    assert (len(accepted.events), accepted.writers, accepted.parked) == (2, {"a": 7, "b": 7}, [])


def test_pages_that_the_journal_has_lost_are_told_of_and_what_is_there_is_folded() -> None:
    pages = [page(1, SEEN, writer="a", number=3), page(2, SEEN, writer="b", number=9), page(3, SEEN, writer="b", number=10)]
    accepted = accept(pages, Progress("s", 0, {"b": 5}, {}))
    assert (len(accepted.events), accepted.writers) == (3, {"a": 3, "b": 10})
    assert [(m.tenant, m.reason, m.received_at) for m in accepted.parked] == [("default", "journal-gap", T0)] * 2
    assert [m.detail.split(" are")[0] for m in accepted.parked] == ["pages 1 to 2 of writer a", "pages 6 to 8 of writer b"]
    assert msgspec.json.decode(accepted.parked[1].payload) == {"writer": "b", "first": 6, "last": 8}


def test_what_an_outdated_owner_of_a_slot_wrote_counts_but_for_what_it_says_of_its_connection() -> None:
    """Its charger was answered: that the slot was another's already is none of the driver's business. But a connection that began there
    after the newer owner had one would be taken for the newest, and when that one ends nobody would believe it."""
    pages = [
        page(1, event(Seen(), epoch=4)),
        page(
            2,
            event(Connected("1.6"), epoch=6),
            event(Connected("1.6"), epoch=5),
            event(start(), epoch=5),
            event(Disconnected(1006), epoch=5),
            event(SEEN.body, slot=11),
        ),
    ]
    accepted = accept(pages, Progress("s", 0, {}, {3: 4}))
    assert [(e.epoch, type(e.body)) for e in accepted.events] == [(4, Seen), (6, Connected), (5, TransactionStarted), (1, Seen)]
    assert (accepted.slot_epochs, accepted.stale, accepted.parked) == ({3: 6, 11: 1}, 3, [])


def test_what_a_pool_says_of_a_transaction_is_neither_of_an_owner_of_the_slot_nor_a_sign_of_life() -> None:
    lapse = event(TransactionLapsed("1000", T0, 0, "endless"), epoch=NO_OWNER, at=T0 + 10**8)
    accepted = accept([page(1, event(start(), epoch=4)), page(2, lapse)], Progress("s", 0, {}, {}))
    assert (accepted.slot_epochs, accepted.stale, accepted.parked) == ({3: 4}, 0, [])
    batch = batch_of(*accepted.events)
    assert [(stored.session.status, stored.session.version) for stored in batch.sessions.values()] == [("Ended", 1)]
    assert ([live.last_seen_at for live in batch.chargers.values()], batch.amended) == ([T0], True)


def test_what_a_station_answered_is_no_sign_of_an_owner_and_asks_nobody_to_rate_again() -> None:
    answer = event(TransactionAnswered("1000", False, None, 3), epoch=NO_OWNER, at=T0 + 10**8)
    accepted = accept([page(1, event(start(), epoch=4)), page(2, answer)], Progress("s", 0, {}, {}))
    assert (accepted.slot_epochs, accepted.stale, accepted.parked) == ({3: 4}, 0, [])
    batch = batch_of(*accepted.events)
    assert [stored.session.marks.lost for stored in batch.sessions.values()] == [3]
    assert ([live.last_seen_at for live in batch.chargers.values()], batch.amended) == ([T0], False)
    alone = batch_of(answer)
    assert (alone.sessions, alone.parked, alone.chargers) == ({}, [], {})


def test_a_lapse_of_a_transaction_that_is_not_here_or_goes_on_asks_for_nothing() -> None:
    lapse = event(TransactionLapsed("1000", T0 - 1, 0, "endless"), epoch=NO_OWNER)
    for events in ((lapse,), (event(start()), lapse)):
        batch = batch_of(*events)
        assert ([stored.session.status for stored in batch.sessions.values()], batch.amended) == (["Active"] * (len(events) - 1), False)
        assert (batch.parked, len(batch.transactions)) == ([], len(events) - 1)


def test_a_connection_counts_though_its_number_is_lower_than_that_of_the_worker_before() -> None:
    """Only some connections are checkpointed: who takes over counts on from the last one that was."""
    batch = batch_of(event(Connected("1.6"), connection=9), event(Connected("1.6"), connection=2, epoch=2))
    (live,) = batch.chargers.values()
    assert (live.connected, live.connection, live.opened) == (True, 2, True)


def test_an_id_that_begins_anew_is_a_session_of_its_own() -> None:
    bodies = [TransactionStarted("tx", 1, 1, T0, IdToken("A"), 100, 0), TransactionEnded("tx", T0 + 1, 300, seq=1)]
    again = [TransactionStarted("tx", 1, 1, T0 + 9, IdToken("B"), 300, 0), TransactionEnded("tx", T0 + 10, 1_000, seq=1)]
    batch = batch_of(*(event(body) for body in (*bodies, *again, *again)))
    assert [(s.session.token, s.session.energy_wh, s.session.version) for s in batch.sessions.values()] == [
        (IdToken("A"), 200, 1),
        (IdToken("B"), 700, 1),
    ]
    assert list(batch.transactions.items()) == [(("default", "CP1", "tx"), 2)]
    assert batch.parked == []


def test_a_page_nobody_can_read_is_parked_and_the_next_is_folded() -> None:
    accepted = accept([StoredPage(1, b"\xc1 no page"), page(2, SEEN, number=1)], Progress("s", 0, {}, {}))
    assert (len(accepted.events), [m.reason for m in accepted.parked], accepted.stream_seq) == (1, ["unreadable-page"], 2)
    assert accepted.parked[0].payload == b"\xc1 no page"


def test_a_tenant_that_cannot_be_one_never_reaches_the_list_of_tenants() -> None:
    accepted = accept([page(1, event(Seen(), tenant="a,b"))], Progress("s", 0, {}, {}))
    assert (accepted.events, [(m.tenant, m.reason) for m in accepted.parked]) == ([], [("default", "poison")])


def test_what_must_be_loaded_is_each_transaction_and_each_start_of_1_6_once() -> None:
    events = [
        event(start()),
        event(start()),
        event(TransactionEnded("7", T0, seq=1)),
        event(TransactionStarted("x", 1, 1, T0, seq=0)),
        SEEN,
    ]
    transactions, starts = keys_of(events)
    assert transactions == [("default", "CP1", "1000"), ("default", "CP1", "7"), ("default", "CP1", "x")]
    assert starts == [("default", "CP1", charging.start_key(start()))]


def test_a_whole_session_in_one_batch_is_one_row_and_its_readings_name_it() -> None:
    sample = Sample(T0, 900.0)
    batch = batch_of(
        event(start()),
        event(start("2000")),
        event(TransactionUpdated("2000", T0 + 1, samples=(sample,))),
        event(TransactionEnded("1000", T0 + 2, 1_100)),
        event(Metered(0, 0, (sample, sample))),
    )
    (stored,) = batch.sessions.values()
    assert (stored.session.status, stored.session.energy_wh, stored.session.transaction) == ("Ended", 1_000, "1000")
    assert [key[2] for key in batch.transactions] == ["1000", "2000"]
    assert [(*of[2:5], of[6]) for of in batch.readings] == [(2, 1, stored.id, (sample,)), (0, 0, None, (sample, sample))]
    assert batch.amended


def test_a_batch_without_news_asks_nobody_to_rate() -> None:
    assert not batch_of(event(start()), event(TransactionUpdated("1000", T0))).amended


def test_an_event_on_which_a_rule_raises_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(session: Any, event: Event) -> Any:
        if event.charger == "BAD":
            raise LookupError("planted")
        return whole(session, event)

    whole = charging.fold
    monkeypatch.setattr(charging, "fold", faulty)
    batch = batch_of(event(start()), event(start(), "BAD"), event(TransactionEnded("1000", T0, 200)))
    assert [stored.session.energy_wh for stored in batch.sessions.values()] == [100]
    assert [(m.charger, m.reason, m.detail) for m in batch.parked] == [("BAD", "poison", "LookupError: planted")]
    assert msgspec.json.decode(batch.parked[0].payload, type=Event) == event(start(), "BAD")


def test_what_a_worker_parked_and_reported_is_kept_as_it_came() -> None:
    batch = batch_of(event(Parked("why", "because", "StopTransaction", b"{x")), event(Reported("LogStatusNotification", b'{"a":1}')))
    assert [(m.reason, m.action, m.payload) for m in batch.parked] == [("why", "StopTransaction", b"{x")]
    assert batch.reports == [("default", "CP1", "LogStatusNotification", '{"a":1}', "m", T0)]


def test_the_newest_status_wins_and_a_clock_that_runs_ahead_counts_as_now() -> None:
    def status(word: str, at: int) -> Event:
        return event(StatusChanged(1, 1, word, at))

    late = batch_of(status("Charging", T0 - 5), status("Available", T0 - 9))
    assert [(live.status.status, live.at) for live in late.connectors.values()] == [("Charging", T0 - 5)]
    ahead = batch_of(status("Faulted", T0 + 10**12), status("Available", T0))
    assert [(live.status.status, live.at) for live in ahead.connectors.values()] == [("Available", T0)]


def test_the_end_of_an_older_connection_is_no_end() -> None:
    batch = batch_of(
        event(Connected("1.6"), connection=4),
        event(Connected("2.0.1"), connection=5, at=T0 + 1),
        event(Booted("V", "M", "Accepted"), connection=5),
        event(Disconnected(1006), connection=4, at=T0 + 2),
    )
    (live,) = batch.chargers.values()
    assert (live.connected, live.connection, live.ocpp, live.last_seen_at) == (True, 5, "2.0.1", T0 + 2)
    assert live.boot == Booted("V", "M", "Accepted")


@pytest.mark.parametrize(("last_written", "written"), [(T0 - 59_999, False), (T0 - 60_000, True)])
def test_any_event_shows_that_a_charger_lives_but_is_written_once_a_minute(last_written: int, written: bool) -> None:
    batch = batch_of(event(Metered(0, 0, ())), seen={("default", "CP1"): last_written})
    assert bool(batch.chargers) == written

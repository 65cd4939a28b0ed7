"""Sealing: whatever the events are, the pages are in order, none is too large, and only what cannot be kept is refused."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.bus.sealing import DETAIL_MAX, PARKED_BYTES_MAX, PAYLOAD_BYTES_MIN, Sealed, Sealer, encode
from cpms_actors.domain.events import PAGE_DECODER, Body, Event, Parked, Reported, Seen, TransactionUpdated

TOO_GREAT = TransactionUpdated("tx", 0, seq=2**64)


def event(number: int, body: Body | None = None, message_id: str = "") -> Event:
    return Event(0, 1, number, "default", "CP1", 1, message_id, 0, body or Seen())  # type: ignore[arg-type]


def stored(pages: Sequence[Sealed]) -> list[Event]:
    return [event for page in pages for event in PAGE_DECODER.decode(page.data).events]


def kept(data: bytes | None) -> Event:
    """What stands for an event, as a reader finds it."""
    assert data is not None
    (found,) = stored(Sealer("w", 1_000_000).seal([data], [None])[0])
    return found


def nobody(_: bool) -> None:
    raise AssertionError("sealing tells nobody")


def test_a_page_that_fits_is_one_page_and_refuses_nobody() -> None:
    events = [event(number) for number in range(100)]
    pages, refused = Sealer("w", 1_000_000).seal([encode(e) for e in events], [nobody] * 100)
    assert (len(pages), pages[0].number, refused) == (1, 1, [])
    assert stored(pages) == events
    assert PAGE_DECODER.decode(pages[0].data).writer == "w"
    assert list(pages[0].waiters) == [nobody] * 100


def test_nothing_makes_no_page() -> None:
    assert Sealer("w", 1_000_000).seal([], []) == ([], [])


@pytest.mark.parametrize(
    "body",
    [TOO_GREAT, TransactionUpdated("tx", -(2**63) - 1), TransactionUpdated("\ud800", 0), TransactionUpdated({1, object()}, 0)],  # type: ignore[arg-type]
    ids=["more than 64 bits", "less than 64 bits", "lone surrogate", "no type of msgpack"],
)
def test_an_event_that_cannot_be_encoded_has_something_to_stand_for_it(body: Body) -> None:
    with pytest.raises((OverflowError, UnicodeEncodeError, TypeError)) as raised:
        encode(event(2, body))
    parked = kept(Sealer("w", 1_000_000).unencodable(event(2, body), raised.value))
    assert (parked.number, parked.charger) == (2, "CP1")
    assert isinstance(parked.body, Parked)
    assert parked.body.reason == "unencodable"
    assert len(parked.body.detail) <= DETAIL_MAX
    assert parked.body.payload.startswith(b"TransactionUpdated(")


def test_what_stands_for_an_event_is_bounded() -> None:
    parked = kept(Sealer("w", 1_000_000).unencodable(event(1, TransactionUpdated("x" * 500_000, 2**64)), OverflowError()))
    assert isinstance(parked.body, Parked)
    assert len(parked.body.payload) == PARKED_BYTES_MAX


def test_an_event_whose_very_names_cannot_be_encoded_is_lost_and_only_logged() -> None:
    assert Sealer("w", 1_000_000).unencodable(event(2, message_id="\ud800"), UnicodeError()) is None


def test_an_event_larger_than_any_page_is_parked_with_the_beginning_of_its_payload() -> None:
    events = [encode(event(1)), encode(event(2, Reported("DataTransfer", b"x" * 30_000)))]
    pages, refused = Sealer("w", 20_000).seal(events, [nobody, nobody])
    assert [found.number for found in stored(pages)] == [1, 2]
    parked = stored(pages)[1].body
    assert isinstance(parked, Parked)
    assert (parked.reason, parked.action, set(parked.payload)) == ("oversize", "DataTransfer", {ord("x")})
    assert 0 < len(parked.payload) < 20_000
    assert refused == [nobody]
    assert [list(page.waiters) for page in pages] == [[nobody], [None]]


@given(sizes=st.lists(st.integers(0, 120_000), min_size=1, max_size=40), limit=st.integers(PAYLOAD_BYTES_MIN, 100_000))
def test_pages_hold_every_event_in_order_and_stay_below_the_limit(sizes: list[int], limit: int) -> None:
    events = [encode(event(n, Reported("A", b"x" * size))) for n, size in enumerate(sizes)]
    waiters = [lambda durable, n=n: None for n in range(len(sizes))]
    pages, refused = Sealer("w", limit).seal(events, waiters)
    assert [found.number for found in stored(pages)] == list(range(len(sizes)))
    assert all(len(page.data) < limit for page in pages)
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert [PAGE_DECODER.decode(page.data).number for page in pages] == [page.number for page in pages]
    assert len([then for page in pages for then in page.waiters if then]) + len(refused) == len(sizes)
    assert {id(then) for page in pages for then in page.waiters if then} | {id(then) for then in refused} == {id(w) for w in waiters}
    kept_as_is = {found.number for found in stored(pages) if isinstance(found.body, Reported)}
    assert {id(waiters[n]) for n in kept_as_is} == {id(then) for page in pages for then in page.waiters if then}


def test_pages_sealed_anew_are_smaller_and_keep_their_first_number() -> None:
    sealer = Sealer("w", 1_000_000)
    sealer.seal([encode(event(0))], [None])
    pages, _ = sealer.seal([encode(event(n, Reported("A", b"x" * 1000))) for n in range(1, 101)], [None] * 100)
    again = sealer.seal_smaller(pages)
    assert again is not None
    assert [page.number for page in again[0]] == list(range(2, 2 + len(again[0])))
    assert max(len(page.data) for page in again[0]) <= len(pages[0].data) // 2
    assert [found.number for found in stored(again[0])] == list(range(1, 101))
    assert sealer.seal([encode(event(101))], [None])[0][0].number == 2 + len(again[0])


def test_there_is_a_size_below_which_pages_are_not_cut() -> None:
    sealer = Sealer("w", 1_000_000)
    pages, _ = sealer.seal([encode(event(1)), encode(event(2))], [None, None])
    assert sealer.seal_smaller(pages) is None

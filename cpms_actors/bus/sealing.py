"""From events to pages: encoded, numbered, and never larger than the broker takes.

A page is encoded as a whole, which is all that happens on a good day. When that fails, or the page is too large, the events are looked
at one by one or by halves. An event that cannot be encoded, or is alone larger than a page may be, gives its place to a `Parked` fact
that says so: one event must not stop a lane. Whoever waited for it is refused, for the fact itself is not kept.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.bus.waiters import Then
from cpms_actors.domain.events import Event, Page, Parked, Reported
from cpms_actors.observe import logs

log = logs.get("journal")

PAYLOAD_BYTES_MAX: Final = 8 * 1024 * 1024
PAYLOAD_BYTES_MIN: Final = 8 * 1024  # room for a parked event with all its names and some of its payload
HEADROOM_BYTES: Final = 1024  # the broker counts the headers too
PARKED_BYTES_MAX: Final = 64 * 1024
DETAIL_MAX: Final = 500


class Sealed(Struct):
    """A page on its way: `data` is its encoding, the same however often it is sent. `weight` is the bytes its events carry."""

    number: int
    data: bytes
    events: Sequence[Event]
    waiters: Sequence[Then | None]
    weight: int = 0


class Sealer:
    """Makes the pages of one writer and counts them. `payload_bytes_max` is what the broker takes in one message."""

    def __init__(self, writer: str, payload_bytes_max: int) -> None:
        self.page_bytes_max = max(payload_bytes_max, PAYLOAD_BYTES_MIN) - HEADROOM_BYTES
        self.number = 0
        self._writer = writer
        self._encode = msgspec.msgpack.Encoder().encode

    def seal(self, events: Sequence[Event], waiters: Sequence[Then | None]) -> tuple[list[Sealed], list[Then]]:
        """The pages that hold the events, in order, mostly one; and the waiters of events whose place something else has taken."""
        pages: list[Sealed] = []
        refused: list[Then] = []
        before = self.number
        try:
            self._seal(events, waiters, pages, refused)
        except BaseException:
            self.number = before  # nothing has left: the next attempt starts where this one did
            raise
        return pages, refused

    def seal_smaller(self, pages: Sequence[Sealed]) -> tuple[list[Sealed], list[Then]] | None:
        """Seal anew what the broker found too large: pages of half that size, from the same number on. None when there is no less."""
        smaller = len(pages[0].data) // 2
        if smaller < PAYLOAD_BYTES_MIN - HEADROOM_BYTES:
            return None
        events = [event for page in pages for event in page.events]
        waiters = [then for page in pages for then in page.waiters]
        before, self.number = self.number, pages[0].number - 1
        self.page_bytes_max = smaller
        try:
            return self.seal(events, waiters)
        except BaseException:
            self.number = before
            raise

    def _seal(self, events: Sequence[Event], waiters: Sequence[Then | None], pages: list[Sealed], refused: list[Then]) -> None:
        try:
            data = self._encode_page(events)
        except Exception as error:  # OverflowError beyond 64 bits, UnicodeEncodeError, TypeError: whatever the encoder has
            log.error("page_unencodable", events=len(events), error=repr(error))
            events, waiters = self._encodable(events, waiters, refused)
            data = self._encode_page(events)
        if not events:
            return
        if len(data) <= self.page_bytes_max:
            self.number += 1
            pages.append(Sealed(self.number, data, events, waiters))
        elif len(events) > 1:
            half = len(events) // 2
            self._seal(events[:half], waiters[:half], pages, refused)
            self._seal(events[half:], waiters[half:], pages, refused)
        else:
            self._seal_cut(events[0], waiters[0], len(data), pages, refused)

    def _encode_page(self, events: Sequence[Event]) -> bytes:
        return self._encode(Page(self._writer, self.number + 1, tuple(events)))

    def _encodable(
        self, events: Sequence[Event], waiters: Sequence[Then | None], refused: list[Then]
    ) -> tuple[list[Event], list[Then | None]]:
        """The events that can be encoded, with something in the place of those that cannot."""
        good: list[Event] = []
        whose: list[Then | None] = []
        for event, then in zip(events, waiters, strict=True):
            kept: Event | None = event
            try:
                self._encode(event)
            except Exception as error:
                kept = self._parked(event, "unencodable", repr(error), None)
                if then is not None:
                    refused.append(then)
                then = None
            if kept is not None:
                good.append(kept)
                whose.append(then)
        return good, whose

    def _seal_cut(self, event: Event, then: Then | None, size: int, pages: list[Sealed], refused: list[Then]) -> None:
        """A page of one event that is too large for any page."""
        if then is not None:
            refused.append(then)
        body = event.body
        action = body.action if isinstance(body, Reported | Parked) else None
        kept = self._parked(event, "oversize", f"{size} bytes, and a page has room for {self.page_bytes_max}", action)
        if kept is None:
            return
        data = self._encode_page((kept,))
        if len(data) > self.page_bytes_max:
            log.error("event_lost", charger=event.charger, tenant=event.tenant, reason="its names alone are larger than a page")
            return
        self.number += 1
        pages.append(Sealed(self.number, data, (kept,), (None,)))

    def _parked(self, event: Event, reason: str, detail: str, action: str | None) -> Event | None:
        """What stands for the event; None, and logged, when not even that can be encoded."""
        room = min(PARKED_BYTES_MAX, self.page_bytes_max // 2)
        try:
            fact = event.body
            payload = fact.payload if isinstance(fact, Reported | Parked) else repr(fact).encode("utf-8", "backslashreplace")
            body = Parked(reason, detail[:DETAIL_MAX], action, bytes(payload[:room]))
            parked = replace(event, body=body)
            self._encode(parked)
        except Exception as error:
            log.error("event_lost", charger=event.charger, tenant=event.tenant, reason=reason, error=repr(error))
            return None
        log.error("event_parked", charger=event.charger, tenant=event.tenant, reason=reason, detail=body.detail)
        return parked


def weight_of(events: Sequence[Event]) -> int:
    """The bytes of payload that the events carry, roughly: what only charger and dialect know the size of."""
    return sum(len(event.body.payload) for event in events if isinstance(event.body, Reported | Parked))

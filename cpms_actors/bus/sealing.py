"""From encoded events to pages: numbered, and never larger than the broker takes.

Events are encoded one by one as they are appended, while all of an event is in the processor's cache, so a page is bytes put together.
An event that cannot be encoded, or is alone larger than a page may be, gives its place to a `Parked` fact that says so: one event must
not stop a lane. Whoever waited for it is refused, for the fact itself is not kept.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.bus.waiters import Then
from cpms_actors.domain.events import Event, Parked, Reported
from cpms_actors.observe import logs

log = logs.get("journal")

PAYLOAD_BYTES_MAX: Final = 8 * 1024 * 1024
PAYLOAD_BYTES_MIN: Final = 8 * 1024  # room for a parked event with all its names and some of its payload
HEADROOM_BYTES: Final = 1024  # the broker counts the headers too, and a page has a head of its own
PARKED_BYTES_MAX: Final = 64 * 1024
DETAIL_MAX: Final = 500

encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Event).decode
# msgpack: an array of three (domain.events.Page), and one whose length stands in the four bytes that follow.
_ARRAY_OF_3: Final = b"\x93"
_ARRAY: Final = b"\xdd"


class Sealed(Struct):
    """A page on its way: `data` is its encoding, the same however often it is sent."""

    number: int
    data: bytes
    events: Sequence[bytes]
    waiters: Sequence[Then | None]


class Sealer:
    """Makes the pages of one writer and counts them. `payload_bytes_max` is what the broker takes in one message."""

    def __init__(self, writer: str, payload_bytes_max: int) -> None:
        self.page_bytes_max = max(payload_bytes_max, PAYLOAD_BYTES_MIN) - HEADROOM_BYTES  # of the events of a page
        self.number = 0
        self._head = _ARRAY_OF_3 + encode(writer)

    def seal(self, events: Sequence[bytes], waiters: Sequence[Then | None]) -> tuple[list[Sealed], list[Then]]:
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
        smaller = len(pages[0].data) // 2 - HEADROOM_BYTES
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

    def _seal(self, events: Sequence[bytes], waiters: Sequence[Then | None], pages: list[Sealed], refused: list[Then]) -> None:
        together = b"".join(events)
        if len(together) <= self.page_bytes_max:
            if events:
                self._add(together, events, waiters, pages)
        elif len(events) > 1:
            half = len(events) // 2
            self._seal(events[:half], waiters[:half], pages, refused)
            self._seal(events[half:], waiters[half:], pages, refused)
        else:
            if waiters[0] is not None:
                refused.append(waiters[0])
            cut = self.oversize(_decode(events[0]), len(events[0]))
            if cut is not None:
                self._add(cut, (cut,), (None,), pages)

    def _add(self, together: bytes, events: Sequence[bytes], waiters: Sequence[Then | None], pages: list[Sealed]) -> None:
        self.number += 1
        data = b"".join((self._head, encode(self.number), _ARRAY, len(events).to_bytes(4, "big"), together))
        pages.append(Sealed(self.number, data, events, waiters))

    def oversize(self, event: Event, size: int) -> bytes | None:
        """What stands for an event larger than any page; None, and logged, when not even that can be kept."""
        body = event.body
        action = body.action if isinstance(body, Reported | Parked) else None
        cut = self._stand_in(event, "oversize", f"{size} bytes, and a page has room for {self.page_bytes_max}", action)
        if cut is not None and len(cut) > self.page_bytes_max:
            log.error("event_lost", charger=event.charger, tenant=event.tenant, reason="its names alone are larger than a page")
            return None
        return cut

    def unencodable(self, event: Event, error: Exception) -> bytes | None:
        """What stands for an event that `encode` raised for: OverflowError beyond 64 bits, UnicodeEncodeError, TypeError."""
        return self._stand_in(event, "unencodable", repr(error), None)

    def _stand_in(self, event: Event, reason: str, detail: str, action: str | None) -> bytes | None:
        room = min(PARKED_BYTES_MAX, self.page_bytes_max // 2)
        try:
            fact = event.body
            payload = fact.payload if isinstance(fact, Reported | Parked) else repr(fact).encode("utf-8", "backslashreplace")
            data = encode(replace(event, body=Parked(reason, detail[:DETAIL_MAX], action, bytes(payload[:room]))))
        except Exception as error:
            log.error("event_lost", charger=event.charger, tenant=event.tenant, reason=reason, error=repr(error))
            return None
        log.error("event_parked", charger=event.charger, tenant=event.tenant, reason=reason, detail=detail[:DETAIL_MAX])
        return data

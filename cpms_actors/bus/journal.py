"""The journal: nothing is answered before it is durable.

One lane is one subject of one JetStream stream. Events join the page that is filling; while one append is in flight the next page
fills (group commit), so a busy lane pays one publish for hundreds of events. A page is retried, under the same number, until the
broker has it; order within the lane is the order of appending. Readers fold a (writer, number) once, so a page that was stored
twice counts once.

    append ──▶ page that fills ──(sealing: encode, number, cut to size)──▶ sealed pages ──▶ the broker, one at a time

Each waiter is told once: True when its page is durable; False when the lane has stalled (the broker has not answered for
`append_timeout_s`). After False the event may still become durable: the page stays and is retried; the charger, unanswered, will
ask again, and content tells that it is the same fact.

A sealed page stays what it is, number and content, until the broker has it: through timeouts, through a crash of `run` and its restart
by the supervisor, and through the end, when it is sent once more before the lane closes.
"""

import asyncio
from collections import deque
from typing import Any, Final, Protocol

from msgspec import Struct
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.sealing import PAYLOAD_BYTES_MAX, Sealed, Sealer, weight_of
from cpms_actors.bus.waiters import Then, tell
from cpms_actors.domain.events import Event, Parked, Reported
from cpms_actors.observe import logs

log = logs.get("journal")

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
DRAIN_S: Final = 4.0  # of the 5 s that the supervisor gives a child to stop
DRAIN_STALLED_S: Final = 1.0  # a broker that was away already: nobody waits for these events, and the lanes stop one after the other
DRAIN_APPEND_S: Final = 1.0
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024

_HEAVY: Final = frozenset((Parked, Reported))  # facts that carry a payload as it came


class Publisher(Protocol):
    """Publishes to a stream and returns when the broker has it: JetStreamContext, or `publishing.StreamPublisher`, which costs less."""

    async def publish(self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str]) -> Any: ...


async def ensure_stream(jetstream: JetStreamContext, settings: Settings) -> None:
    """Create the journal's stream, or bring its limits to the settings. Full means refusal of appends, never loss of pages."""
    config = StreamConfig(
        name=subjects.JOURNAL_STREAM,
        subjects=[subjects.JOURNAL_ALL],
        storage=StorageType.FILE,
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        max_bytes=settings.journal.bytes_max,
        max_age=settings.journal.age_max_days * 86_400,
        duplicate_window=120,
        num_replicas=settings.nats.replicas,
        allow_direct=True,
    )
    try:
        await jetstream.stream_info(subjects.JOURNAL_STREAM)
        await jetstream.update_stream(config)
    except NotFoundError:
        await jetstream.add_stream(config)


class Statistics(Struct):
    """Counters of one lane's journal; `waiting` is the events not yet durable, `refusals` those that found no room.

    `waiting_bytes` is the payload they carry, as far as it is kept as it came.
    """

    pages: int = 0
    events: int = 0
    retries: int = 0
    stalls: int = 0
    refusals: int = 0
    waiting: int = 0
    waiting_peak: int = 0
    waiting_bytes: int = 0


class Journal:
    """The writing end of one lane in one process. Lives on the host loop; `append` never blocks.

    `payload_bytes_max` is what the broker takes in one message, headers included (`Client.max_payload`).
    """

    def __init__(
        self,
        jetstream: Publisher,
        lane: int,
        writer: str,
        settings: JournalSettings,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
    ) -> None:
        self.lane = lane
        self._statistics = Statistics()
        self._jetstream = jetstream
        self._subject = subjects.journal(lane)
        self._message_id = f"{writer}.{lane}."
        self._sealer = Sealer(writer, payload_bytes_max)
        self._linger_s = settings.linger_ms / 1000
        self._waiting_max = settings.waiting_max
        self._page_max = settings.page_events_max
        self._append_timeout_s = settings.append_timeout_s
        self._page: list[Event] = []
        self._waiters: list[Then | None] = []  # one per event of the page
        self._sealed: deque[Sealed] = deque()  # the first of them is on its way
        self._sealed_events = 0
        self._closed = False
        self._room = self._waiting_max  # how many events the filling page may hold
        self._awake = asyncio.Event()
        self._stalled = False

    @property
    def statistics(self) -> Statistics:
        """The counters as of now."""
        self._statistics.waiting = self._sealed_events + len(self._page)
        return self._statistics

    def append(self, event: Event, then: Then | None = None) -> bool:
        """Put the event on the page that is filling.

        False, and counted, when too much waits already or the lane is closed: `then` is not called.
        """
        page = self._page
        length = len(page)
        if length >= self._room:
            self._statistics.refusals += 1
            return False
        body = event.body
        if body.__class__ in _HEAVY and not self._find_room(body):
            return False
        page.append(event)
        if not length:
            self._awake.set()
        if self._stalled:
            self._waiters.append(None)
            tell((then,), False)
        else:
            self._waiters.append(then)
        return True

    def _find_room(self, body: Any) -> bool:
        """Count the payload's bytes; False when too many wait."""
        statistics = self._statistics
        if statistics.waiting_bytes + len(body.payload) > WAITING_BYTES_MAX:
            statistics.refusals += 1
            return False
        statistics.waiting_bytes += len(body.payload)
        return True

    def _count_sealed(self, events: int) -> None:
        """So many events more, or less, are on sealed pages; the filling page may hold what they leave."""
        self._sealed_events += events
        self._room = 0 if self._closed else self._waiting_max - self._sealed_events

    async def run(self) -> None:
        """Write pages until cancelled; then write what waits, as long as there is time, tell everybody, and close.

        May be run again: after a crash it goes on with the page that was on its way.
        """
        self._closed = self._stalled = False
        self._count_sealed(0)
        try:
            while True:
                await self._send_sealed(self._append_timeout_s)
                if not self._page:
                    self._awake.clear()
                    await self._awake.wait()
                    if self._linger_s and len(self._page) < self._page_max:
                        await asyncio.sleep(self._linger_s)  # at low load this is what makes pages at all
                self._seal_page()
        except asyncio.CancelledError:
            try:
                await self._drain()
            finally:
                self._closed = True
                self._count_sealed(0)
            raise
        finally:
            self._stalled = True  # nobody shall wait for what nobody does
            self._give_up_waiters()

    async def _drain(self) -> None:
        """The last attempt, bounded in time. What is not stored then is lost to this process; its waiters hear False."""
        try:
            async with asyncio.timeout(DRAIN_STALLED_S if self._stalled else DRAIN_S):
                while self._sealed or self._page:
                    await self._send_sealed(min(self._append_timeout_s, DRAIN_APPEND_S))
                    self._seal_page()
        except TimeoutError:
            log.warning("journal_closed_with_events", lane=self.lane, waiting=self.statistics.waiting)

    def _seal_page(self) -> None:
        """Take the first events off the page that fills and seal them."""
        limit = self._page_max
        events, waiters = self._page[:limit], self._waiters[:limit]
        statistics = self.statistics
        statistics.waiting_peak = max(statistics.waiting_peak, statistics.waiting)
        pages, refused = self._sealer.seal(events, waiters)
        self._page, self._waiters = self._page[limit:], self._waiters[limit:]
        self._take_over(pages, refused, weight_of(events) if statistics.waiting_bytes else 0)

    def _take_over(self, pages: list[Sealed], refused: list[Then], weight: int) -> None:
        """The pages now stand for events of that weight."""
        statistics = self._statistics
        if weight:
            for page in pages:
                page.weight = weight_of(page.events)
        self._count_sealed(sum(len(page.events) for page in pages))
        statistics.waiting_bytes += sum(page.weight for page in pages) - weight
        self._sealed.extend(pages)
        tell(refused, False)

    def _seal_smaller(self) -> bool:
        """The broker takes less than we were told: make smaller pages of the sealed ones. False when that is not possible."""
        old = list(self._sealed)
        sealed = self._sealer.seal_smaller(old)
        if sealed is None:
            return False
        log.warning("journal_pages_smaller", lane=self.lane, page_bytes_max=self._sealer.page_bytes_max)
        self._sealed.clear()
        self._count_sealed(-self._sealed_events)
        self._take_over(*sealed, sum(page.weight for page in old))
        return True

    async def _send_sealed(self, timeout_s: float) -> None:
        """Publish the sealed pages, each until the broker has it."""
        delay = RETRY_FIRST_S
        while self._sealed:
            page = self._sealed[0]
            headers = {"Nats-Msg-Id": f"{self._message_id}{page.number}"}
            try:
                await self._jetstream.publish(self._subject, page.data, timeout=timeout_s, headers=headers)
            except (NatsError, APIError, TimeoutError, OSError) as error:
                if isinstance(error, MaxPayloadError) and self._seal_smaller():
                    continue
                self._stall(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MAX_S)
            else:
                self._stored(page)
                delay = RETRY_FIRST_S

    def _stored(self, page: Sealed) -> None:
        """The broker has the first of the sealed pages."""
        self._sealed.popleft()
        self._count_sealed(-len(page.events))
        statistics = self._statistics
        statistics.pages += 1
        statistics.events += len(page.events)
        statistics.waiting_bytes -= page.weight
        if self._stalled:
            self._stalled = False
            log.info("journal_flows", lane=self.lane, waiting=self.statistics.waiting)
        tell(page.waiters, True)

    def _stall(self, error: Exception) -> None:
        """The broker does not take the page: nobody shall wait for it. The page stays."""
        self._statistics.retries += 1
        if not self._stalled:
            self._stalled = True
            self._statistics.stalls += 1
            log.warning("journal_stalled", lane=self.lane, error=repr(error), waiting=self.statistics.waiting)
        self._give_up_waiters()

    def _give_up_waiters(self) -> None:
        """Tell whoever waits that it need not: the events stay where they are."""
        waiters = [then for page in self._sealed for then in page.waiters] + self._waiters
        self._waiters = [None] * len(self._waiters)
        for page in self._sealed:
            page.waiters = [None] * len(page.events)
        tell(waiters, False)

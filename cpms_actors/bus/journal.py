"""The journal: nothing is answered before it is durable.

One lane is one subject of one JetStream stream. Events join the page that is filling; while one append is in flight the next page
fills (group commit), so a busy lane pays one publish for hundreds of events. A page is retried, under the same number, until the
broker has it; order within the lane is the order of appending. Readers fold a (writer, number) once, so a page that was stored
twice counts once.

Each waiter is told once: True when its page is durable; False when the lane has stalled (the broker has not answered for
`append_timeout_s`). After False the event may still become durable: the page stays and is retried; the charger, unanswered, will
ask again, and content tells that it is the same fact.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.domain.events import Event, Page
from cpms_actors.observe import logs

log = logs.get("journal")

Then = Callable[[bool], None]
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 2.0


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
    """Counters of one lane's journal; `waiting` is the events not yet durable, `refusals` those that found no room."""

    pages: int = 0
    events: int = 0
    retries: int = 0
    stalls: int = 0
    refusals: int = 0
    waiting: int = 0
    waiting_peak: int = 0


class Journal:
    """The writing end of one lane in one process. Lives on the host loop; `append` never blocks."""

    def __init__(self, jetstream: JetStreamContext, lane: int, writer: str, settings: JournalSettings) -> None:
        self.lane = lane
        self.statistics = Statistics()
        self._jetstream = jetstream
        self._subject = subjects.journal(lane)
        self._writer = writer
        self._linger_s = settings.linger_ms / 1000
        self._waiting_max = settings.waiting_max
        self._page_max = settings.page_events_max
        self._append_timeout_s = settings.append_timeout_s
        self._page: list[Event] = []
        self._waiters: list[Then | None] = []  # one per event of the page
        self._number = 0
        self._awake = asyncio.Event()
        self._stalled = False
        self._encode = msgspec.msgpack.Encoder().encode

    def append(self, event: Event, then: Then | None = None) -> bool:
        """Put the event on the page that is filling. False, and counted, when too much waits already: `then` is not called."""
        statistics = self.statistics
        if statistics.waiting >= self._waiting_max:
            statistics.refusals += 1
            return False
        statistics.waiting += 1
        page = self._page
        page.append(event)
        if self._stalled and then is not None:
            then(False)
            then = None
        self._waiters.append(then)
        if len(page) == 1:
            self._awake.set()
        return True

    async def run(self) -> None:
        """Write pages until cancelled; then try once more to write what waits, for a second at most."""
        try:
            while True:
                await self._awake.wait()
                if self._linger_s and len(self._page) < self._page_max:
                    await asyncio.sleep(self._linger_s)  # at low load this is what makes pages at all
                await self._commit()
        finally:
            try:
                async with asyncio.timeout(1):
                    while self._page:
                        await self._commit()
            except TimeoutError:
                log.warning("journal_closed_with_events", lane=self.lane, waiting=self.statistics.waiting)
            self._tell_waiting()

    async def _commit(self) -> None:
        statistics = self.statistics
        limit = self._page_max
        events, self._page = self._page[:limit], self._page[limit:]
        waiters, self._waiters = self._waiters[:limit], self._waiters[limit:]
        if not self._page:
            self._awake.clear()
        statistics.waiting_peak = max(statistics.waiting_peak, statistics.waiting)
        self._number += 1
        data = self._encode(Page(self._writer, self._number, tuple(events)))
        headers = {"Nats-Msg-Id": f"{self._writer}.{self.lane}.{self._number}"}
        try:
            await self._store(data, headers, waiters)
        finally:
            statistics.pages += 1
            statistics.events += len(events)
            statistics.waiting -= len(events)

    async def _store(self, data: bytes, headers: dict[str, str], waiters: list[Then | None]) -> None:
        """Publish until the broker has the page."""
        delay = RETRY_FIRST_S
        while True:
            try:
                await self._jetstream.publish(self._subject, data, timeout=self._append_timeout_s, headers=headers)
                break
            except (NatsError, APIError, TimeoutError, OSError) as error:
                self.statistics.retries += 1
                if not self._stalled:
                    self._stalled = True
                    self.statistics.stalls += 1
                    log.warning("journal_stalled", lane=self.lane, error=repr(error), waiting=self.statistics.waiting)
            _tell(waiters, False)
            waiters = []
            self._tell_waiting()
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)
        if self._stalled:
            self._stalled = False
            log.info("journal_flows", lane=self.lane, waiting=self.statistics.waiting)
        _tell(waiters, True)

    def _tell_waiting(self) -> None:
        """Tell those whose events still wait that they need not wait: their events stay on the page."""
        waiters, self._waiters = self._waiters, [None] * len(self._waiters)
        _tell(waiters, False)


def _tell(waiters: Sequence[Then | None], durable: bool) -> None:
    for then in waiters:
        if then is not None:
            then(durable)

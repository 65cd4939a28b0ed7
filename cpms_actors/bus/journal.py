"""The journal: nothing is answered before it is durable.

One lane is one subject of one JetStream stream. Events join the page that is filling; while pages are on their way the next ones fill
(group commit), so a busy lane pays one publish for hundreds of events. The lanes of a process send their pages together, in rounds:
waking up for each alone, and again for each acknowledgement, costs more than the pages. A page is retried, under the same number,
until the broker has it; order within the lane is the order of appending. Readers fold a (writer, number) once, so a page that was
stored twice counts once.

    append ──(encode)──▶ page that fills ──(sealing: number, cut to size)──▶ sealed pages ──▶ the broker, one of a lane at a time

Each waiter is told once: True when its page is durable; False when the lane has stalled (the broker has not answered for
`append_timeout_s`). After False the event may still become durable: the page stays and is retried; the charger, unanswered, will
ask again, and content tells that it is the same fact.

A sealed page stays what it is, number and content, until the broker has it: through timeouts, through a crash of `run` and its restart
by the supervisor, and through the end, when it is sent once more before the lane closes.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
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
from cpms_actors.bus.sealing import PAYLOAD_BYTES_MAX, Sealed, Sealer, encode
from cpms_actors.bus.waiters import Then, tell
from cpms_actors.domain.events import Event
from cpms_actors.observe import logs

log = logs.get("journal")

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
RETRY_JITTER: Final = 0.5  # the share of a wait that chance may take away: all workers lose the same broker at once
DRAIN_S: Final = 4.0  # of the 5 s that the supervisor gives a child to stop
DRAIN_STALLED_S: Final = 1.0  # a broker that was away already: nobody waits for these events
DRAIN_APPEND_S: Final = 1.0
WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
LIGHT_BYTES_MAX: Final = 1024  # events up to here are bounded by their number alone


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

    `waiting_bytes` is what the large ones among them hold, `stalled` why nothing becomes durable now.
    """

    pages: int = 0
    events: int = 0
    retries: int = 0
    stalls: int = 0
    refusals: int = 0
    waiting: int = 0
    waiting_peak: int = 0
    waiting_bytes: int = 0
    stalled: str = ""


class Lane:
    """The writing end of one lane in one process. Lives on the host loop; `append` never blocks."""

    def __init__(
        self,
        number: int,
        publisher: Publisher,
        sealer: Sealer,
        message_id: str,
        settings: JournalSettings,
        wake: Callable[[], None],
        chance: Callable[[], float],
    ) -> None:
        self.number = number
        self.page: list[bytes] = []  # encoded events
        self.sealed: deque[Sealed] = deque()  # the first of them is on its way
        self.stalled = False
        self.retry_at = 0.0  # on the loop's clock: before that the broker is not asked again
        self._retry_s = RETRY_FIRST_S
        self._statistics = Statistics()
        self._publisher = publisher
        self._subject = subjects.journal(number)
        self._message_id = message_id
        self._sealer = sealer
        self._wake = wake
        self._chance = chance
        self._waiting_max = settings.waiting_max
        self._page_max = settings.page_events_max
        self._waiters: list[Then | None] = []  # one per event of the page
        self._sealed_events = 0
        self._closed = False
        self._room = self._waiting_max  # how many events the filling page may hold

    @property
    def statistics(self) -> Statistics:
        """The counters as of now."""
        self._statistics.waiting = self._sealed_events + len(self.page)
        return self._statistics

    @property
    def full(self) -> bool:
        """Whether the filling page is as long as a page may be."""
        return len(self.page) >= self._page_max

    def append(self, event: Event, then: Then | None = None) -> bool:
        """Put the event on the page that is filling.

        False, and counted, when too much waits already or the lane is closed: `then` is not called.
        """
        page = self.page
        if len(page) >= self._room:
            self._statistics.refusals += 1
            return False
        try:
            data = encode(event)
        except Exception as error:  # whatever the encoder has
            return self._append_unusual(self._sealer.unencodable(event, error), then, kept=False)
        if len(data) > LIGHT_BYTES_MAX:
            kept = len(data) <= self._sealer.page_bytes_max
            return self._append_unusual(data if kept else self._sealer.oversize(event, len(data)), then, kept=kept)
        if not page:
            self._wake()
        page.append(data)
        if self.stalled:
            self._waiters.append(None)
            tell((then,), False)
        else:
            self._waiters.append(then)
        return True

    def _append_unusual(self, data: bytes | None, then: Then | None, *, kept: bool) -> bool:
        """A large event, or what stands for one that cannot be kept, if anything does: what waits of these is bounded in bytes."""
        waits = kept and not self.stalled
        if data is not None:
            statistics, heavy = self._statistics, _heavy((data,))
            if statistics.waiting_bytes + heavy > WAITING_BYTES_MAX:
                statistics.refusals += 1
                return False
            statistics.waiting_bytes += heavy
            self.page.append(data)
            self._waiters.append(then if waits else None)
            self._wake()
        if not waits:
            tell((then,), False)
        return True

    def open(self) -> None:
        """Take events from now on, and let whoever brings one wait for it."""
        self._closed = self.stalled = False
        self.retry_at = 0.0
        self._count_sealed(0)

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self._count_sealed(0)

    def give_up(self) -> None:
        """Nobody sends pages now: whoever waits need not, and nobody shall wait from now on."""
        self.stalled = True
        self._give_up_waiters()

    def settled(self, then: Callable[[], None]) -> None:
        """Call `then` when everything that was appended so far is durable, or nobody waits for it any more."""
        if self.stalled or not (self.page or self.sealed):
            then()
        elif self.page:
            last = self._waiters[-1]

            def told(durable: bool) -> None:
                tell((last,), durable)
                then()

            self._waiters[-1] = told
        else:
            self.sealed[-1].waiters = [*self.sealed[-1].waiters, lambda durable: then()]

    def seal(self) -> None:
        """Take the first events off the page that fills and seal them, unless sealed pages wait already."""
        if self.sealed or not self.page:
            return
        limit = self._page_max
        events, waiters = self.page[:limit], self._waiters[:limit]
        statistics = self.statistics
        statistics.waiting_peak = max(statistics.waiting_peak, statistics.waiting)
        pages, refused = self._sealer.seal(events, waiters)
        self.page, self._waiters = self.page[limit:], self._waiters[limit:]
        self._take_over(pages, refused)

    async def send(self, timeout_s: float) -> None:
        """Publish the first of the sealed pages, once. When the broker does not have it the lane has stalled, and rests for a while."""
        page = self.sealed[0]
        headers = {"Nats-Msg-Id": f"{self._message_id}{page.number}"}
        try:
            await self._publisher.publish(self._subject, page.data, timeout=timeout_s, headers=headers)
        except (NatsError, APIError, TimeoutError, OSError) as error:
            if not (isinstance(error, MaxPayloadError) and self._seal_smaller()):
                self._stall(error)
        else:
            self._stored(page)

    def _take_over(self, pages: list[Sealed], refused: list[Then]) -> None:
        self._count_sealed(sum(len(page.events) for page in pages))
        self.sealed.extend(pages)
        tell(refused, False)

    def _seal_smaller(self) -> bool:
        """The broker takes less than we were told: make smaller pages of the sealed ones. False when that is not possible."""
        sealed = self._sealer.seal_smaller(list(self.sealed))
        if sealed is None:
            return False
        log.warning("journal_pages_smaller", lane=self.number, page_bytes_max=self._sealer.page_bytes_max)
        self.sealed.clear()
        self._count_sealed(-self._sealed_events)
        self._take_over(*sealed)
        return True

    def _count_sealed(self, events: int) -> None:
        """So many events more, or less, are on sealed pages; the filling page may hold what they leave."""
        self._sealed_events += events
        self._room = 0 if self._closed else self._waiting_max - self._sealed_events

    def _stored(self, page: Sealed) -> None:
        """The broker has the first of the sealed pages."""
        self.sealed.popleft()
        self._count_sealed(-len(page.events))
        statistics = self._statistics
        if statistics.waiting_bytes:
            statistics.waiting_bytes -= _heavy(page.events)
        statistics.pages += 1
        statistics.events += len(page.events)
        if self.stalled:
            self.stalled = False
            statistics.stalled = ""
            self._retry_s = RETRY_FIRST_S
            log.info("journal_flows", lane=self.number, waiting=self.statistics.waiting)
        tell(page.waiters, True)

    def _stall(self, error: Exception) -> None:
        """The broker does not take the page: nobody shall wait for it. The page stays."""
        self._statistics.retries += 1
        self._statistics.stalled = str(error) or type(error).__name__
        self.retry_at = asyncio.get_running_loop().time() + self._retry_s * (1.0 - RETRY_JITTER * self._chance())
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
        if not self.stalled:
            self.stalled = True
            self._statistics.stalls += 1
            log.warning("journal_stalled", lane=self.number, error=repr(error), waiting=self.statistics.waiting)
        self._give_up_waiters()

    def _give_up_waiters(self) -> None:
        """Tell whoever waits that it need not: the events stay where they are."""
        waiters = [then for page in self.sealed for then in page.waiters] + self._waiters
        self._waiters = [None] * len(self._waiters)
        for page in self.sealed:
            page.waiters = [None] * len(page.events)
        tell(waiters, False)


def _heavy(events: Iterable[bytes]) -> int:
    """The bytes of the large ones among encoded events."""
    return sum(len(event) for event in events if len(event) > LIGHT_BYTES_MAX)


class Journal:
    """The lanes of one process, and the rounds in which their pages are sent.

    `writer` is a name that no other process ever has. `payload_bytes_max` is what the broker takes in one message, headers included
    (`Client.max_payload`).
    """

    def __init__(
        self,
        publisher: Publisher,
        lanes: Iterable[int],
        writer: str,
        settings: JournalSettings,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._awake = asyncio.Event()
        self.lanes = [
            Lane(lane, publisher, Sealer(writer, payload_bytes_max), f"{writer}.{lane}.", settings, self._awake.set, chance)
            for lane in lanes
        ]
        self._linger_s = settings.linger_ms / 1000
        self._append_timeout_s = settings.append_timeout_s

    async def run(self) -> None:
        """Write pages until cancelled; then write what waits, as long as there is time, tell everybody, and close.

        May be run again: after a crash it goes on with the pages that were on their way.
        """
        for lane in self.lanes:
            lane.open()
        try:
            while True:
                await self._round(self._append_timeout_s)
        except asyncio.CancelledError:
            try:
                await self._drain()
            finally:
                for lane in self.lanes:
                    lane.close()
            raise
        finally:
            for lane in self.lanes:
                lane.give_up()

    async def _round(self, timeout_s: float) -> None:
        """Send a page of every lane that has one and does not rest after a failure; when none has, wait until there is one."""
        for lane in self.lanes:
            lane.seal()
        now = asyncio.get_running_loop().time()
        lanes = [lane for lane in self.lanes if lane.sealed and lane.retry_at <= now]
        if not lanes:
            await self._rest()
        elif len(lanes) == 1:  # no tasks for one
            await lanes[0].send(timeout_s)
        else:
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane.send(timeout_s))

    async def _rest(self) -> None:
        self._awake.clear()
        retry_at = min((lane.retry_at for lane in self.lanes if lane.sealed), default=None)
        try:
            async with asyncio.timeout_at(retry_at):
                await self._awake.wait()
        except TimeoutError:
            return
        if self._linger_s and not any(lane.full for lane in self.lanes):
            await asyncio.sleep(self._linger_s)  # at low load this is what makes pages at all

    async def _drain(self) -> None:
        """The last attempt, bounded in time. What is not stored then is lost to this process; its waiters hear False."""
        stalled = any(lane.stalled for lane in self.lanes)
        for lane in self.lanes:
            lane.retry_at = 0.0
        try:
            async with asyncio.timeout(DRAIN_STALLED_S if stalled else DRAIN_S):
                while any(lane.sealed or lane.page for lane in self.lanes):
                    await self._round(min(self._append_timeout_s, DRAIN_APPEND_S))
        except TimeoutError:
            log.warning("journal_closed_with_events", waiting={lane.number: lane.statistics.waiting for lane in self.lanes})

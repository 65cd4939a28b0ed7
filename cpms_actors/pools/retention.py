"""What grows is kept within its bounds: telemetry in Postgres by age, the journal by size.

    every minute    is the journal more than half full?   then folded pages make room
    every hour      is telemetry older than its days?     then it goes

A full journal refuses appends (that is what keeps it from losing pages), and nobody can start or stop a session any more. So pages
whose content is in Postgres make room: of each lane the older half of what is folded, again and again, but not the last hour, which
serves whoever has to restore Postgres from a moment ago; when the journal is nearly full the hour goes too. A page that is not folded
never goes: when those fill the journal, the fold has stood still for long, and the log says so as an error.

Every process of the session pool does this; doing it twice changes nothing. A failure costs the next look.
"""

from collections.abc import Awaitable, Callable
from time import time
from typing import Final

import anyio
import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.observe import logs
from cpms_actors.pools.pages import page_from, stream_name
from cpms_actors.store import meter_values, offsets
from cpms_actors.store.database import Connection, Database

log = logs.get("session")

LOOK_S: Final = 60.0
TELEMETRY_LOOKS: Final = 60  # once an hour
HALF_FULL: Final = 0.5
NEARLY_FULL: Final = 0.8
KEPT_S: Final = 3_600.0
ROUNDS_MAX: Final = 40  # each halves what is folded: after the last one nothing is left to halve
DELETED_MAX: Final = 5_000  # rows per statement
STATEMENTS_MAX: Final = 1_000  # per hour: five million rows of each kind
TELEMETRY_DAYS_MIN: Final = 2  # the day that ends and the one before: younger ones the database refuses to drop


class Retention:
    """Makes room until cancelled. `purged` counts pages of the journal that went, `dropped` days of telemetry, `deleted` rows of it."""

    def __init__(
        self, client: Client, database: Database, settings: Settings, *, clock: Callable[[], float] = time, kept_s: float = KEPT_S
    ) -> None:
        self.purged = 0
        self.dropped = 0
        self.deleted = 0
        self._jetstream: JetStreamContext = client.jetstream()
        self._database = database
        self._bytes_max = settings.journal.bytes_max
        self._days = max(settings.postgres.telemetry_days, TELEMETRY_DAYS_MIN)
        self._clock = clock
        self._kept_s = kept_s

    async def run(self, started: Callable[[], None]) -> None:
        """Look every LOOK_S. What fails is looked at again: keeping house must not stop the fold."""
        started()
        looks = 0
        while True:
            await _or_later(self.make_room())
            if looks % TELEMETRY_LOOKS == 0:
                await _or_later(self.forget_telemetry())
            looks += 1
            await anyio.sleep(LOOK_S)

    async def forget_telemetry(self) -> None:
        """Delete readings, reports and resolved parked messages beyond their days. Raises Unavailable."""
        day = int(self._clock() * 1000) // meter_values.DAY_MS - self._days

        async def drop(connection: Connection) -> int:
            return await meter_values.drop_before(connection, day)

        async def delete(connection: Connection) -> int:
            return await meter_values.delete_before(connection, day, DELETED_MAX)

        dropped = await self._database.run((), drop)
        deleted = 0
        for _ in range(STATEMENTS_MAX):
            rows = await self._database.run((), delete)
            deleted += rows
            if not rows:
                break
        self.dropped += dropped
        self.deleted += deleted
        if dropped or deleted:
            log.info("telemetry_deleted", days=dropped, rows=deleted, older_than_days=self._days)

    async def make_room(self) -> None:
        """Purge folded pages while the journal is more than half full. Raises Unavailable, or as nats-py does."""
        if self._bytes_max <= 0:  # no limit: age alone bounds it
            return
        info = await self._jetstream.stream_info(subjects.JOURNAL_STREAM)
        before = info.state.messages
        for _ in range(ROUNDS_MAX):
            full = info.state.bytes / self._bytes_max
            if full < HALF_FULL:
                break
            went = await self._purge_half(info, spare_the_newest=full < NEARLY_FULL)
            info = await self._jetstream.stream_info(subjects.JOURNAL_STREAM)
            if not went:
                break
            log.info("journal_purged", full_before=round(full, 3), full_now=round(info.state.bytes / self._bytes_max, 3))
        self.purged += max(0, before - info.state.messages)
        if info.state.bytes / self._bytes_max >= NEARLY_FULL:
            log.error(
                "journal_fills", full=round(info.state.bytes / self._bytes_max, 3), remedy="its pages are not folded: see the lag"
            )

    async def _purge_half(self, info: StreamInfo, *, spare_the_newest: bool) -> bool:
        """Purge the older half of each lane's folded pages; whether there was one to purge.

        The page at a lane's offset stays always: by it the lane sees whether the journal has lost pages.
        """
        async with self._database.transaction(()) as connection:
            folded = await offsets.folded(connection, stream_name(info))
        await self._database.flush()  # the fold does not: what a crash of Postgres takes back is read from the journal again
        went = False
        for lane, offset in folded.items():
            first = await page_from(self._jetstream, lane, 1)
            if first is None or first.seq is None or first.seq >= offset:
                continue
            middle = first.seq + (offset - first.seq + 1) // 2
            kept = await page_from(self._jetstream, lane, middle)
            if kept is None or kept.time is None or (spare_the_newest and self._clock() - kept.time.timestamp() < self._kept_s):
                continue
            await self._jetstream.purge_stream(subjects.JOURNAL_STREAM, seq=middle, subject=subjects.journal(lane))
            went = True
        return went


async def _or_later(work: Awaitable[None]) -> None:
    try:
        await work
    except (Unavailable, asyncpg.PostgresError, NatsError, TimeoutError, OSError) as error:
        log.warning("retention_waits", error=repr(error))

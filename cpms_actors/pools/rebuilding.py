"""The journal replayed into an empty database, and the result held against the one that is in use.

    journal ══ every lane up to where it is folded ══▶ cpms_rebuild ──┐
    registry (tenants, chargers, tokens, tariffs) ── copied ─▶        ├── checksums per table: the same, or which rows differ
    the database in use, as of one moment ────────────────────────────┘

It is the same fold (pools/lane.py) and the same drawing up of CDRs, so whatever the database in use has and the journal does not give
is a fact that never was in the journal, was folded twice, or was changed by hand. CDRs are priced with the tariff that they were priced
with. The system may go on meanwhile: compared is one snapshot of it, with the offsets that it has. The extra database goes at the end.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryFile
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from msgspec import Struct
from msgspec.structs import replace
from nats.aio.client import Client
from nats.js.api import StreamInfo

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Settings
from cpms_actors.bus import subjects
from cpms_actors.domain.cdr import draw_up
from cpms_actors.pools.commanding import as_command
from cpms_actors.pools.fold import StoredPage
from cpms_actors.pools.lane import BATCH_BYTES_MAX, Lane
from cpms_actors.pools.ledger import PostgresLedger
from cpms_actors.pools.pages import JournalPages, page_from, stream_name
from cpms_actors.store import cdrs, comparing, dumping, offsets
from cpms_actors.store.cdrs import Claimed
from cpms_actors.store.comparing import Checksum, Differing, Horizon
from cpms_actors.store.database import Connection, Database, open_database
from cpms_actors.store.migrate import migrate
from cpms_actors.store.owning import Owner, as_owner

DATABASE: Final = "cpms_rebuild"
LOCK: Final = 0x7265_6275  # "rebu": one rebuild at a time
_RATED_AT_ONCE: Final = 100
_FOR_LONG_S: Final = 7 * 86_400.0  # nobody else claims lanes there
_FOLD_LAG: Final = timedelta(hours=1)  # what came in the first hour of a purged journal may belong to pages that are gone

# What operators decide and no charger says; a charger's live columns come from the journal.
_REGISTRY: Final = ("tenants", "sites", "chargers", "tokens", "tariffs", "tariff_assignments")
_LIVE: Final = (
    "vendor", "reported_model", "serial", "firmware", "ocpp", "connected", "connection", "last_seen_at", "booted_at", "boot_status"
)  # fmt: skip


class Table(Struct, frozen=True):
    """What was found of one table. `differing`: some of the rows that do, when the checksums do."""

    table: str
    identical: bool
    stored: Checksum
    rebuilt: Checksum
    differing: list[Differing]


class Rebuilt(Struct, frozen=True):
    """A replay. `since`: what began before it was not compared, because its pages were purged; None: everything was."""

    identical: bool
    since: datetime | None
    pages: int
    events: int
    cdrs: int
    tables: list[Table]


Progress: TypeAlias = Callable[[int, int], None]
"""How many pages are folded, and of how many at most."""


async def rebuild(settings: Settings, *, limit: int, progress: Progress) -> Rebuilt:
    """Replay and compare; of each table at most `limit` rows that differ.

    Raises OperatorError when the owner may not make a database or another rebuild is under way, Unavailable without NATS or Postgres.
    """
    async with as_command(settings, "rebuild") as client:
        return await _rebuild(settings, client, limit, progress)


async def _rebuild(settings: Settings, client: Client, limit: int, progress: Progress) -> Rebuilt:
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(as_owner(settings.postgres.owner_dsn))
        if not await live.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            raise OperatorError("rebuild", "another `cpms rebuild` is under way; wait for it")
        dsn = await stack.enter_async_context(_empty_database(live, settings.postgres.owner_dsn))
        await migrate(dsn)
        fresh = await stack.enter_async_context(as_owner(dsn))
        await stack.enter_async_context(live.transaction(isolation="repeatable_read", readonly=True))
        info = await client.jetstream().stream_info(subjects.JOURNAL_STREAM)
        targets = await offsets.folded(live, stream_name(info))  # the snapshot is taken here
        await live.execute("SET LOCAL enable_nestloop = off")  # as in store/reconciling.py
        for table in _REGISTRY:
            await _copy(live, fresh, table)
        database = await stack.enter_async_context(open_database(replace(settings.postgres, dsn=dsn, connections_max=2)))
        pages, events = await _replay(client, database, targets, lambda pages: progress(pages, info.state.messages))
        await fresh.execute("ANALYZE")
        drawn = await _draw_up(live, database)
        since = await _begins(live, client, info, targets)
        days = timedelta(days=settings.postgres.telemetry_days - 1)
        horizon = Horizon(since, datetime.now(UTC) - days)
        tables = [await _compare(live, fresh, table, horizon, limit) for table in comparing.TABLES]
        return Rebuilt(all(table.identical for table in tables), since, pages, events, drawn, tables)


@asynccontextmanager
async def _empty_database(live: Owner, dsn: str) -> AsyncIterator[str]:
    """An empty database beside the one in use, until the block ends; one that a killed rebuild has left goes first."""
    parts = urlsplit(dsn)
    async with as_owner(dsn) as owner:  # the other connection will be in a transaction, where none can be made or dropped
        try:
            await owner.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            await owner.execute(f"CREATE DATABASE {DATABASE}")
        except asyncpg.InsufficientPrivilegeError:
            role = await owner.fetchval("SELECT current_user")
            raise OperatorError("owner_rights", f"{role} may not make a database; `ALTER ROLE {role} CREATEDB` lets it") from None
        try:
            yield urlunsplit(parts._replace(path=f"/{DATABASE}"))
        finally:
            await owner.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


async def _copy(live: Owner, fresh: Owner, table: str) -> None:
    """A table of the registry, as the snapshot has it."""
    columns = [name for name in await dumping.columns_of(live, table) if table != "chargers" or name not in _LIVE]
    with TemporaryFile() as between:
        await live.copy_from_query(f"SELECT {dumping.listed(columns)} FROM {table}", output=between, format="binary")
        between.seek(0)
        await fresh.execute(f"DELETE FROM {table}")  # a migration may have put a first row there
        await fresh.copy_to_table(table, source=between, columns=columns, format="binary")


async def _replay(client: Client, database: Database, targets: dict[int, int], folded: Callable[[int], None]) -> tuple[int, int]:
    """Fold every lane up to its target; the pages and the events that were."""
    async with database.transaction(()) as connection:
        claims, _ = await offsets.hold(connection, "rebuild", _FOR_LONG_S)
    pages = events = 0
    for claim in claims:
        lane = Lane(claim, JournalPages(client), PostgresLedger(database), _nobody_waits)
        await lane.recall()
        async for batch in _pages(client, claim.lane, targets.get(claim.lane, 0)):
            await lane.fold_pages(batch)
            pages += len(batch)
            folded(pages)
        events += lane.statistics.events
    return pages, events


async def _pages(client: Client, lane: int, target: int) -> AsyncIterator[list[StoredPage]]:
    """The pages of a lane up to one of them, in batches."""
    if not target:
        return
    reader = JournalPages(client).reader(lane, 0)
    try:
        await reader.open()
        last = 0
        while last < target and reader.pending:
            pages = await reader.fetch(BATCH_BYTES_MAX)
            last = pages[-1].stream_seq
            yield [page for page in pages if page.stream_seq <= target]
    finally:
        await reader.close()


async def _draw_up(live: Owner, database: Database) -> int:
    """A CDR for every session that has one, with the same tariff; how many."""
    drawn = 0

    async def some(connection: Connection) -> tuple[int, int]:
        claimed = await cdrs.claim(connection, limit=_RATED_AT_ONCE, gap_grace_s=0)
        return len(claimed), sum([await _draw_up_one(live, connection, each) for each in claimed])

    while True:
        looked_at, written = await database.run((), some)
        drawn += written
        if not looked_at:
            return drawn


async def _draw_up_one(live: Owner, connection: Connection, claimed: Claimed) -> bool:
    session = claimed.session
    await cdrs.mark_rated(connection, claimed)
    known_as = await connection.fetchrow("SELECT tenant_id, charger, transaction, started_at FROM sessions WHERE id = $1", session.id)
    assert known_as is not None  # it was claimed
    stored = await live.fetchval(
        "SELECT id FROM sessions WHERE tenant_id = $1 AND charger = $2 AND transaction = $3 AND started_at = $4", *known_as
    )
    former = None if stored is None else await cdrs.current(live, session.tenant, stored)
    if former is None:
        return False
    cdr = draw_up(
        session,
        former.detail.tariff,
        cdr_id=former.id,
        currency=former.currency,
        now=former.created_at,
        provisional=former.provisional,
    )
    await cdrs.insert(connection, cdr)
    return True


async def _begins(live: Owner, client: Client, info: StreamInfo, targets: dict[int, int]) -> datetime | None:
    """The moment from which the journal has every fact that is in the database; None: it has them all."""
    first: list[datetime] = []
    for lane in targets:
        page = await page_from(client.jetstream(), lane, 1)
        first += [page.time] if page is not None and page.time else []
    made = min([info.created or datetime.now(UTC), *first])  # one that was restored is older than it says
    older = await live.fetchval("SELECT EXISTS (SELECT FROM sessions WHERE created_at < $1)", made)
    if info.state.first_seq <= 1 and not info.state.num_deleted and not older:
        return None
    return max([made, *first]) + _FOLD_LAG


async def _compare(live: Owner, fresh: Owner, table: str, horizon: Horizon, limit: int) -> Table:
    stored = await comparing.checksum(live, table, horizon)
    rebuilt = await comparing.checksum(fresh, table, horizon)
    differing: list[Differing] = []
    if stored != rebuilt:
        async with fresh.transaction():
            differing = await comparing.differences(live, fresh, table, horizon, limit=limit)
    return Table(table, stored == rebuilt, stored, rebuilt, differing)


async def _nobody_waits() -> None:
    """For a doorbell: there is no pool behind this database."""

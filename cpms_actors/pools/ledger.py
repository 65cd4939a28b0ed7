"""Postgres as a lane uses it (`pools.lane.Ledger`), one statement per table and batch, and as the tariff pool does
(`pools.tariff.Rating`)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final

import asyncpg

from cpms_actors.domain.cdr import Cdr, EndedSession
from cpms_actors.domain.tariff import Tariff
from cpms_actors.pools.fold import Accepted, Batch
from cpms_actors.pools.lane import Folding, Refused
from cpms_actors.store import cdrs, chargers_live, meter_values, offsets, parked, reports, sessions, tariffs
from cpms_actors.store.cdrs import Claimed
from cpms_actors.store.database import Connection, Database
from cpms_actors.store.offsets import Claim, Progress
from cpms_actors.store.sessions import Found, Key

# What a value can do that no rule foresaw. ValueError is also what the driver raises for an argument it cannot encode.
_REFUSED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    OverflowError,
)


class PostgresLedger:
    """The tables of a database that lanes write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def progress(self, lane: int) -> Progress:
        """How far the lane is folded. Raises Unavailable."""
        async with self._database.transaction(()) as connection:
            return await offsets.load_progress(connection, lane)

    async def forget_stream(self, claim: Claim) -> None:
        """The journal began anew: the lane is folded from its beginning, if it is ours. Raises Unavailable."""

        async def forget(connection: Connection) -> None:
            await offsets.forget_stream(connection, claim)

        await self._database.run((), forget)

    async def make_days(self, days: Iterable[int]) -> None:
        """Make the partitions of these days, but for those that no clock should say. Raises Unavailable."""

        async def create(connection: Connection) -> None:
            for day in sorted(day for day in days if day in meter_values.DAYS):
                await meter_values.create_day(connection, day)

        await self._database.run((), create)

    async def fold(self, tenants: Iterable[str], work: Callable[[Folding], Awaitable[Batch]]) -> Batch:
        """The work in one transaction, repeated when another was in its way. Raises Refused, Unavailable and what the work raises.

        Postgres does not flush it: what a crash takes back is read again from the journal, and who needs it to last flushes it with
        what it writes itself (a CDR), or has it flushed (`Database.flush`).
        """

        async def in_transaction(connection: Connection) -> Batch:
            return await work(_Folding(connection))

        with _refusals():
            return await self._database.run(tenants, in_transaction, flushed=False)


class _Folding:
    """A transaction that is open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def advance(self, claim: Claim, progress: Progress, accepted: Accepted) -> bool:
        connection = self._connection
        if not await offsets.advance(connection, claim, progress, accepted.stream_seq):
            return False
        await offsets.save_writers(connection, claim.lane, accepted.writers)
        await offsets.save_slot_epochs(connection, accepted.slot_epochs)
        await parked.save(connection, accepted.parked)
        return True

    async def load(self, transactions: Sequence[Key], starts: Sequence[Key]) -> Found:
        return await sessions.load(self._connection, transactions, starts)

    async def draw_ids(self, count: int) -> Sequence[int]:
        return await sessions.draw_ids(self._connection, count)

    async def save(self, batch: Batch) -> None:
        connection = self._connection
        await sessions.save(connection, list(batch.sessions.values()))
        await sessions.save_transactions(connection, batch.transactions)
        await meter_values.save(connection, batch.readings)
        await reports.save(connection, batch.reports)
        await parked.save(connection, batch.parked)
        await chargers_live.save_chargers(connection, list(batch.chargers.values()))
        await chargers_live.save_connectors(connection, list(batch.connectors.values()))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        with _refusals():
            async with self._connection.transaction():
                yield


class PostgresRating:
    """A transaction of the tariff pool that is open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, limit: int, gap_grace_s: float) -> Sequence[Claimed]:
        """Lock sessions that need a CDR, none that another transaction has."""
        return await cdrs.claim(self._connection, limit=limit, gap_grace_s=gap_grace_s)

    async def current(self, session: EndedSession) -> Cdr | None:
        """The CDR of the session that no credit took back."""
        return await cdrs.current(self._connection, session.tenant, session.id)

    async def tariff(self, session: EndedSession) -> Tariff | None:
        """The tariff of its charger when it began. Raises OperatorError when it does not exist."""
        return await tariffs.in_force(self._connection, session.tenant, session.charger, session.metered.start_ms)

    async def insert(self, cdr: Cdr) -> None:
        """Write a CDR or a credit. Raises asyncpg.UniqueViolationError when there is one."""
        await cdrs.insert(self._connection, cdr)

    async def mark_rated(self, claimed: Claimed) -> None:
        """The session's version has its CDR."""
        await cdrs.mark_rated(self._connection, claimed)

    async def mark_failed(self, session: EndedSession, error: str) -> None:
        """Keep why the session could not be priced, and when to try again."""
        await cdrs.mark_failed(self._connection, session, error)

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        """What is written in the block is undone when it raises."""
        return self._connection.transaction()


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except _REFUSED as error:
        raise Refused(str(error)) from error

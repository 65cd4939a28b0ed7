"""The tariff pool: every ended session gets its CDR.

    sessions ──claim──▶ periods ──price──▶ cdrs, rated_version      one transaction per batch of sessions
       ▲                                        │
    doorbell, or once a second                  ▼ doorbell of the billing pool

Nothing is handed over in memory: what is to be done is a query (store/cdrs.py), a doorbell only says "look now". So a lost doorbell
costs a second, a crash nothing, and any number of processes may run. A session that was amended since its CDR gets a credit and a
new CDR, priced with the tariff the first one was priced with (or free, as that one was): what a driver was promised does not change
because a fact came late. Where the fact changes nothing in the CDR, that one stands. A session with missing events waits GAP_GRACE_S
for them and is then priced provisionally; one that was closed provisionally (pools/sweeper.py) waits for nothing.

A session that cannot be priced never stops another: each is priced in a savepoint of its own, and what went wrong is kept beside it
(session_rating_errors), tried again ever more rarely, and counted in the status. Where no tariff is assigned the session is free, and
its CDR says so by having no tariff; a tariff that is assigned but does not exist is an error.
"""

import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol
from uuid import uuid4

import anyio
import asyncpg
import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects
from cpms_actors.domain.cdr import Cdr, EndedSession, draw_up, issued
from cpms_actors.domain.tariff import Tariff
from cpms_actors.observe import logs
from cpms_actors.pools.ledger import PostgresRating
from cpms_actors.store import cdrs, tenants
from cpms_actors.store.cdrs import Claimed
from cpms_actors.store.database import Connection, Database, open_database
from supervisors.supervisor import ChildSpec, Supervisor

log = logs.get("tariff")

STATUS_SUBJECT: Final = "cpms.tariff.status"
BATCH_MAX: Final = 100  # sessions per transaction: their rows stay locked for about a tenth of a second
POLL_S: Final = 1.0
GAP_GRACE_S: Final = 60.0

# What a session can be guilty of itself. All else is the database's doing, or a bug before any session was looked at.
_OWN_FAULTS: Final = (
    OperatorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
)


class Rating(Protocol):
    """One transaction of the pool: `pools.ledger.PostgresRating`. What it has claimed nobody else claims until it ends."""

    async def claim(self, limit: int, gap_grace_s: float) -> Sequence[Claimed]:
        """Ended sessions without a CDR of their version; those with missing events when nothing came for so long."""

    async def current(self, session: EndedSession) -> Cdr | None:
        """The CDR of the session that no credit took back."""

    async def tariff(self, session: EndedSession) -> Tariff | None:
        """The tariff of its charger when it began; None: it is free. Raises OperatorError when it does not exist."""

    async def insert(self, cdr: Cdr) -> None:
        """Write a CDR or a credit."""

    async def mark_rated(self, claimed: Claimed) -> None:
        """The session's version has its CDR."""

    async def mark_failed(self, session: EndedSession, error: str) -> None:
        """The session could not be priced."""

    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        """What is written in the block is undone when it raises."""


class Counts(Struct):
    """What was done: CDRs, credits among them, CDRs without a tariff, sessions that could not be priced."""

    cdrs: int = 0
    credits: int = 0
    free: int = 0
    failures: int = 0

    def add(self, other: "Counts") -> None:
        """Add what another round did."""
        self.cdrs += other.cdrs
        self.credits += other.credits
        self.free += other.free
        self.failures += other.failures


class TariffStatus(Struct, frozen=True):
    """One process of the pool. The first five are of the database and None while it does not answer (see store.cdrs.Backlog);
    the others are counts since the process started."""

    owner: str
    postgres: bool
    waiting: int | None
    gaps: int | None
    errors: int | None
    oldest_s: int | None
    rated: int
    credits: int
    free: int
    failures: int
    outages: int


async def run(settings: Settings, *, started: Callable[[], None]) -> None:
    """Draw up CDRs until cancelled; `started` is called once the pool hears its doorbell. Postgres may be down meanwhile."""
    client = await bus.connect(settings.nats, "tariff")
    try:
        async with open_database(settings.postgres) as database:
            pool = TariffPool(database, client)
            children = [ChildSpec("rating", pool.rate), ChildSpec("status", pool.report)]
            await Supervisor("tariff", children).run(started)
    finally:
        with anyio.CancelScope(shield=True):
            await bus.close(client)


class TariffPool:
    """The two children of one process: `rate` draws up CDRs, `report` answers for the status."""

    def __init__(self, database: Database, client: Client, *, gap_grace_s: float = GAP_GRACE_S) -> None:
        self._database = database
        self._client = client
        self._gap_grace_s = gap_grace_s
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._counts = Counts()
        self._outages = 0
        self._postgres = True

    async def rate(self, started: Callable[[], None]) -> None:
        """Rate whatever there is, then wait for the doorbell or POLL_S."""
        bell = anyio.Event()

        async def ring(_: Msg) -> None:
            bell.set()

        subscription = await self._client.subscribe(subjects.doorbell("tariff"), cb=ring)
        try:
            await self._quietly(bus.subscribed(self._client))
            started()
            while True:
                bell = anyio.Event()
                await self._rate_all()
                with anyio.move_on_after(POLL_S):
                    await bell.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await self._quietly(subscription.unsubscribe())

    async def report(self, started: Callable[[], None]) -> None:
        """Answer STATUS_SUBJECT; every process of the pool does."""

        async def answer(message: Msg) -> None:
            if message.reply:
                await self._quietly(message.respond(msgspec.msgpack.encode(await self.status())))

        subscription = await self._client.subscribe(STATUS_SUBJECT, cb=answer)
        try:
            await self._quietly(bus.subscribed(self._client))
            started()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self._quietly(subscription.unsubscribe())

    async def status(self) -> TariffStatus:
        """How this process is doing, and how much there is to do for all."""
        try:
            async with self._database.transaction(()) as connection:
                names = await tenants.ids(connection)
            async with self._database.transaction(names) as connection:
                backlog = await cdrs.backlog(connection)
        except Unavailable:
            backlog = None
        return TariffStatus(
            owner=self._owner,
            postgres=backlog is not None,
            waiting=backlog.waiting if backlog else None,
            gaps=backlog.gaps if backlog else None,
            errors=backlog.errors if backlog else None,
            oldest_s=backlog.oldest_s if backlog else None,
            rated=self._counts.cdrs,
            credits=self._counts.credits,
            free=self._counts.free,
            failures=self._counts.failures,
            outages=self._outages,
        )

    async def _rate_all(self) -> None:
        """Batch after batch until nothing is left, or Postgres is not there: the next poll tries again."""
        more = True
        while more:
            try:
                counts, more = await rate_batch(self._database, gap_grace_s=self._gap_grace_s)
            except Unavailable as error:
                self._outages += 1
                if self._postgres:
                    log.warning("postgres_lost", error=str(error))
                self._postgres = False
                return
            if not self._postgres:
                log.info("postgres_back")
            self._postgres = True
            self._counts.add(counts)
            if counts.cdrs:
                log.info("rated", cdrs=counts.cdrs, credits=counts.credits, free=counts.free)
                await self._quietly(self._client.publish(subjects.doorbell("billing"), b""))

    async def _quietly(self, sent: Awaitable[None]) -> None:
        """Do without NATS where it is not there: nothing that is said to it here is more than a hint."""
        try:
            await sent
        except NatsError as error:
            log.warning("nats_did_not_take_it", error=repr(error))


async def rate_batch(
    database: Database,
    *,
    gap_grace_s: float = GAP_GRACE_S,
    batch_max: int = BATCH_MAX,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    new_id: Callable[[], str] = lambda: str(uuid4()),
) -> tuple[Counts, bool]:
    """Claim and rate up to `batch_max` sessions of all tenants in one transaction; what was done, and whether there may be more.

    Raises Unavailable when Postgres is; then nothing was done, or all of it and only the answer is lost.
    """
    async with database.transaction(()) as connection:
        names = await tenants.ids(connection)

    async def work(connection: Connection) -> tuple[Counts, bool]:
        return await rate_some(PostgresRating(connection), gap_grace_s, batch_max, clock, new_id)

    return await database.run(names, work)


async def rate_some(
    rating: Rating, gap_grace_s: float, batch_max: int, clock: Callable[[], int], new_id: Callable[[], str]
) -> tuple[Counts, bool]:
    """The same in a transaction that is open."""
    counts = Counts()
    claimed = await rating.claim(batch_max, gap_grace_s)
    for each in claimed:
        counts.add(await _rate_one(rating, each, clock(), new_id))
    return counts, len(claimed) == batch_max


async def _rate_one(rating: Rating, claimed: Claimed, now: int, new_id: Callable[[], str]) -> Counts:
    """Rate a session, or keep why not. Its writes are a savepoint, so that its failure undoes nothing of the others."""
    session = claimed.session
    try:
        async with rating.savepoint():
            written = await _draw_up(rating, claimed, now, new_id)
            await rating.mark_rated(claimed)
    except _OWN_FAULTS as error:
        reason = error.text if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"
        log.error(
            "not_rated",
            tenant=session.tenant,
            charger=session.charger,
            session=session.id,
            reason=reason,
            exc_info=None if isinstance(error, OperatorError) else error,
        )
        await rating.mark_failed(session, reason)
        return Counts(failures=1)
    return Counts(
        cdrs=len(written),
        credits=sum(1 for cdr in written if cdr.credits),
        free=sum(1 for cdr in written if not cdr.credits and cdr.tariff_id is None),
    )


async def _draw_up(rating: Rating, claimed: Claimed, now: int, new_id: Callable[[], str]) -> tuple[Cdr, ...]:
    """Write the CDR of a session, and before it the credit of the one it replaces; nothing when that one says the same."""
    session = claimed.session
    former = await rating.current(session) if claimed.rated else None
    tariff = await rating.tariff(session) if former is None else former.detail.tariff
    currency = former.currency if former else claimed.currency
    cdr = draw_up(session, tariff, cdr_id=new_id(), currency=currency, now=now, provisional=claimed.provisional)
    written = issued(cdr, former, new_id=new_id)
    for each in written:
        await rating.insert(each)
    return written

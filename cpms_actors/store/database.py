"""The pool of connections to Postgres, and what a transaction of a pool is.

Every connection belongs to the role `cpms_app`, which row level security binds: a transaction names the tenants it may see, and sees
no row of another. That is a setting of the transaction (`set_config(..., is_local => true)`), so it ends with it and works behind a
pooler too. Nothing connects before it is needed: a process starts while Postgres is down, and finds it again when it is back.

Two kinds of failure leave here. A conflict with another transaction (serialization 40001, deadlock 40P01, a plan that a
migration made stale) is repeated by `run`, a few times, with jitter. A server that cannot be reached, is shutting down, has no room or
answers too late is `Unavailable`: whether the work was done is then unknown, and the caller's own idempotency decides.
"""

import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias, TypeVar

import anyio
import asyncpg

from cpms_actors.base import settings
from cpms_actors.base.errors import Unavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Result = TypeVar("Result")

CONNECT_S: Final = 5.0
ACQUIRE_S: Final = 10.0
CLOSE_S: Final = 2.0
STATEMENT_S: Final = 25.0
LOCK_S: Final = 10.0
COMMAND_MARGIN_S: Final = 1.5  # above that of a statement: the server gives up first and the connection stays usable
ATTEMPTS_MAX: Final = 6
BACKOFF_S: Final = 0.01  # doubled by every attempt, and jittered
_CONFLICTS: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,
)
_OUTAGES: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,  # class 08, and the loss of a connection in use
    asyncpg.OperatorInterventionError,  # class 57: shutting down, starting up, killed by the administrator
    asyncpg.InsufficientResourcesError,  # class 53: no connection, no memory, a full disk
)
_BEGIN: Final = "SELECT set_config('cpms.tenants', $1, true)"
_BEGIN_UNFLUSHED: Final = f"{_BEGIN}, set_config('synchronous_commit', 'off', true)"
PEER_S: Final = 5
_TCP_OPTIONS: Final = {"TCP_KEEPIDLE": 2, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": PEER_S - 2, "TCP_USER_TIMEOUT": PEER_S * 1000}
_SERVER_SETTINGS: Final = {
    "application_name": "cpms",
    "timezone": "UTC",
    "jit": "off",  # short statements: compiling them costs more than running them
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "30",
}


class Database:
    """Connections of one process. `conflicts` counts the transactions that were repeated, `outages` those that failed."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", jitter: Callable[[], float] = random.random) -> None:
        self._pool = pool
        self._jitter = jitter
        self.conflicts = 0
        self.outages = 0

    @asynccontextmanager
    async def transaction(self, tenants: Iterable[str], *, flushed: bool = True) -> AsyncIterator[Connection]:
        """A transaction that sees the rows of these tenants (none: only tables that belong to no tenant).

        Committed at the end of the block, rolled back when it raises. One that is not `flushed` is on the disk within a second, or with
        the next that is: if Postgres crashes before, it has never been. Raises Unavailable when Postgres is.
        """
        try:
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection:
                try:
                    async with connection.transaction():
                        await connection.execute(_BEGIN if flushed else _BEGIN_UNFLUSHED, ",".join(tenants))
                        yield connection
                except TimeoutError:  # after the server's own: it is frozen, or cut off, and the driver would wait for its farewell
                    with suppress(asyncpg.InterfaceError):  # it has died meanwhile, and the pool has taken it back already
                        connection.terminate()
                    raise
                except asyncpg.InterfaceError as error:
                    if not _is_gone(connection):
                        raise  # a mistake in the use of the driver
                    self.outages += 1
                    raise Unavailable(f"Postgres closed the connection: {error}") from error
        except (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError) as error:  # over its time, but the server is well
            raise Unavailable(f"Postgres took too long: {error}") from error
        except _OUTAGES as error:
            self.outages += 1
            raise Unavailable(f"Postgres is not available: {error or type(error).__name__}") from error

    async def flush(self) -> None:
        """What was committed before is on the disk, and on those of synchronous standbys, when this returns. Raises Unavailable."""
        async with self.transaction(()) as connection:
            await connection.execute("SET LOCAL synchronous_commit = on")  # whatever this server is set to
            await connection.execute("SELECT pg_logical_emit_message(true, 'cpms', '')")  # a commit that writes nothing flushes nothing

    async def run(self, tenants: Iterable[str], work: Callable[[Connection], Awaitable[Result]], *, flushed: bool = True) -> Result:
        """The work in one transaction, repeated when another transaction was in its way; its effects in memory must bear that.

        Raises Unavailable when Postgres is, or when ATTEMPTS_MAX attempts met a conflict.
        """
        names = tuple(tenants)
        for attempt in range(ATTEMPTS_MAX):
            try:
                async with self.transaction(names, flushed=flushed) as connection:
                    return await work(connection)
            except _CONFLICTS as error:
                self.conflicts += 1
                if attempt == ATTEMPTS_MAX - 1:
                    raise Unavailable(f"gave up after {ATTEMPTS_MAX} conflicts: {error}") from error
                await anyio.sleep(BACKOFF_S * 2**attempt * (0.5 + self._jitter()))
        raise AssertionError("unreachable: the loop returns or raises")


def _is_gone(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> bool:
    """Whether the connection died in our hands; the pool has then taken it back already, and it cannot even be asked."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


async def _notice_a_dead_peer(connection: Connection) -> None:
    """A server that is cut off without a word is given up after some PEER_S, waiting for its answer or to take what was sent.

    The limit of a statement cannot be that short, for a server that is slow is not dead. Where a system lacks an option, the others do.
    """
    peer: socket.socket = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]  # private, and pinned
    if peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _TCP_OPTIONS.items():
        if (option := getattr(socket, name, None)) is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, value)


async def _nothing_to_reset(connection: object) -> None:
    """What a transaction sets ends with it, and there is nothing else: the driver's five statements would cost as much as one of ours,
    after every transaction."""


@asynccontextmanager
async def open_database(
    postgres: settings.Postgres, *, statement_s: float = STATEMENT_S, lock_s: float = LOCK_S
) -> AsyncIterator[Database]:
    """The database of these settings until the block ends. Never waits for the server: the first transaction does.

    A statement that takes longer than `statement_s`, or waits for a lock longer than `lock_s`, is given up as Unavailable.
    """
    limits = {"statement_timeout": f"{statement_s * 1000:.0f}", "lock_timeout": f"{lock_s * 1000:.0f}"}
    pool = asyncpg.create_pool(
        postgres.dsn,
        min_size=0,
        max_size=postgres.connections_max,
        max_inactive_connection_lifetime=300.0,
        timeout=CONNECT_S,
        command_timeout=statement_s + COMMAND_MARGIN_S,
        server_settings=_SERVER_SETTINGS | limits,
        init=_notice_a_dead_peer,
        reset=_nothing_to_reset,
    )
    async with pool:
        try:
            yield Database(pool)
        finally:
            # A cancelled transaction gives its connection back in a task of the driver's: it is waited for, not cut off.
            with anyio.move_on_after(CLOSE_S, shield=True):
                await pool.close()

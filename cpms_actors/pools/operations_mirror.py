"""The registry as workers know it: a mirror of Postgres in the KV bucket CPMS_REGISTRY.

    tenant.<tenant>                    msgpack domain.access.Tenant
    charger.<slot>.<tenant>.<charger>  msgpack domain.access.ChargerRecord

After each commit the row is read again and written under the revision that was read before it (compare and set). So two operators,
or two processes of this pool, that change one charger at the same time can never leave the older row in the bucket: whoever loses
the race reads again.

At start, whenever a write fails, and every few minutes, the whole bucket is compared with Postgres and what differs is written;
keys of rows that are gone are deleted. Equal values are not written again: a restart of this pool costs the workers nothing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import anyio
import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import APIError, BucketNotFoundError, KeyDeletedError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import slot_of, subject_token
from cpms_actors.base.settings import Nats
from cpms_actors.bus import commands, subjects
from cpms_actors.observe import logs
from cpms_actors.store import chargers, tenants
from cpms_actors.store.database import Database

log = logs.get("operations")

ROUNDS_MAX: Final = 8  # lost races in a row over one key; a ninth means that something else is wrong
ROWS_PAGE: Final = 2_000
KNOWN_S: Final = 2.0
RESYNC_S: Final = 300.0
RETRY_S: Final = 2.0
WATCH_S: Final = 10.0

# JSStreamWrongLastSequenceErr and its constant form: the client translates them for `update` but not for `delete`.
_WRONG_LAST_SEQUENCE: Final = (10071, 10164)

Read = Callable[[], Awaitable[bytes | None]]
_ENCODE: Final = msgspec.msgpack.Encoder().encode


def tenant_key(tenant: str) -> str:
    """A tenant's key in the bucket."""
    return f"tenant.{subject_token(tenant)}"


def charger_key(tenant: str, charger: str) -> str:
    """A charger's key in the bucket; the slot comes first so that a worker watches what it owns."""
    return f"charger.{subjects.charger_key(slot_of(tenant, charger), tenant, charger)}"


class Statistics(Struct):
    """Counters of the mirror: `races` are lost comparisons, `failures` writes that NATS did not take, `keys` the last full count."""

    puts: int = 0
    deletes: int = 0
    races: int = 0
    failures: int = 0
    resyncs: int = 0
    keys: int = 0


class Mirror:
    """Keeps the bucket equal to Postgres. One per process of the pool; several may run."""

    def __init__(self, client: Client, database: Database, nats: Nats) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=nats.request_timeout_s)
        self._database = database
        self._replicas = nats.replicas
        self._bucket: KeyValue | None = None
        self._wanted = anyio.Event()
        self.statistics = Statistics()

    async def tenant_changed(self, tenant: str) -> bool:
        """Write a tenant's row as it is now. False: NATS did not take it, and a full comparison is due."""

        async def read() -> bytes | None:
            async with self._database.transaction((tenant,)) as connection:
                row = await tenants.find(connection, tenant)
            return None if row is None else _ENCODE(row.policy())

        return await self._changed(tenant_key(tenant), read) is not None

    async def charger_changed(self, tenant: str, charger: str) -> bool:
        """Write a charger's row as it is now, and wait until the worker that serves it knows: an operator who has let a charger in
        finds it let in. False: NATS did not take it, and a full comparison is due.
        """
        revision = await self._changed(charger_key(tenant, charger), self._charger_reader(tenant, charger))
        if revision is None:
            return False
        await self._until_known(subjects.charger_command(slot_of(tenant, charger), tenant, charger, commands.KNOWN_VERB), revision)
        return True

    async def _until_known(self, subject: str, revision: int) -> None:
        """Until the slot's worker has read the bucket up to there. One that is away, or starting, reads all of it before it serves."""
        try:
            await self._client.request(subject, _ENCODE(revision), timeout=KNOWN_S)
        except NoRespondersError:
            pass
        except NatsError as error:
            log.warning("registry_change_unconfirmed", subject=subject, revision=revision, error=repr(error))

    def _charger_reader(self, tenant: str, charger: str) -> Read:
        async def read() -> bytes | None:
            async with self._database.transaction((tenant,)) as connection:
                row = await chargers.find(connection, tenant, charger)
            return None if row is None else _ENCODE(row.record())

        return read

    async def _changed(self, key: str, read: Read) -> int | None:
        """Settle a key: the revision of the bucket that has it as it should be, or None."""
        try:
            return await self._settle(key, read)
        except (NatsError, Unavailable, TimeoutError) as error:
            self.statistics.failures += 1
            self._bucket = None  # it may have gone with the server that held it
            log.warning("registry_not_written", key=key, error=repr(error))
            self._wanted.set()
            return None

    async def _settle(self, key: str, read: Read) -> int:
        """Make the key what `read` says, however many others are at it; the revision at which it was so."""
        bucket = await self._open()
        for _ in range(ROUNDS_MAX):
            value, revision = await _current(bucket, key)
            wanted = await read()
            if wanted == value:
                return revision
            try:
                return await self._write(bucket, key, wanted, revision)
            except KeyWrongLastSequenceError:
                self.statistics.races += 1
        raise Unavailable(f"{key} changed {ROUNDS_MAX} times while it was written")

    async def _write(self, bucket: KeyValue, key: str, value: bytes | None, revision: int) -> int:
        """Put, or (None) delete, under a revision; the revision that it has then (of a deletion: the one before)."""
        if value is not None:
            written = await bucket.update(key, value, last=revision)
            self.statistics.puts += 1
            return written
        try:
            await bucket.delete(key, last=revision)
        except APIError as error:
            if error.err_code not in _WRONG_LAST_SEQUENCE:
                raise
            raise KeyWrongLastSequenceError(description=error.description) from error
        self.statistics.deletes += 1
        return revision

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            try:
                self._bucket = await self._jetstream.key_value(subjects.REGISTRY_BUCKET)
            except BucketNotFoundError:
                self._bucket = await self._jetstream.create_key_value(
                    KeyValueConfig(
                        bucket=subjects.REGISTRY_BUCKET,
                        description="what workers know of tenants and chargers; written by the operations pool",
                        history=1,
                        storage=StorageType.FILE,
                        replicas=self._replicas,
                    )
                )
        return self._bucket

    async def keep(self, *, first: Callable[[], None]) -> None:
        """Compare the whole bucket with Postgres now, after a failure and every RESYNC_S, until cancelled; `first` after the first."""
        told = False
        while True:
            try:
                await self.resync()
            except (NatsError, Unavailable, TimeoutError) as error:
                self.statistics.failures += 1
                self._bucket = None
                log.warning("registry_not_synced", error=repr(error), retry_s=RETRY_S)
                await anyio.sleep(RETRY_S)
                continue
            if not told:
                first()
                told = True
            with anyio.move_on_after(RESYNC_S):
                await self._wanted.wait()
                await anyio.sleep(RETRY_S)

    async def resync(self) -> None:
        """Make the bucket equal to Postgres: write what differs, delete what is gone.

        The bucket is read before Postgres. A key that is added meanwhile is not in what was read, so it cannot be deleted; one that is
        changed meanwhile has a new revision, so it cannot be overwritten with an older row.
        """
        self._wanted = anyio.Event()
        bucket = await self._open()
        stored = await _contents(bucket)
        before = self.statistics.puts + self.statistics.deletes
        keys = 0
        async for key, value, read in self._rows():
            keys += 1
            was, revision = stored.pop(key, (None, 0))
            if was != value:
                await self._set(bucket, key, value, revision, read)
        for key, (_, revision) in stored.items():
            try:
                await self._write(bucket, key, None, revision)
            except KeyWrongLastSequenceError:
                self.statistics.races += 1  # whoever wrote it read a row that we did not see: leave it
        self.statistics.resyncs += 1
        self.statistics.keys = keys
        log.info("registry_synced", keys=keys, written=self.statistics.puts + self.statistics.deletes - before)

    async def _set(self, bucket: KeyValue, key: str, value: bytes, revision: int, read: Read) -> None:
        try:
            await self._write(bucket, key, value, revision)
        except KeyWrongLastSequenceError:  # changed meanwhile, or deleted once: settle it by itself
            await self._settle(key, read)

    async def _rows(self) -> AsyncIterator[tuple[str, bytes, Read]]:
        """Every key with its value in Postgres, and how to read it again."""
        async with self._database.transaction(()) as connection:
            names = await tenants.ids(connection)
        for name in names:
            async with self._database.transaction((name,)) as connection:
                row = await tenants.find(connection, name)
            if row is not None:
                policy = _ENCODE(row.policy())
                yield tenant_key(name), policy, _constant(policy)
            after: str | None = None
            while True:
                async with self._database.transaction((name,)) as connection:
                    records = await chargers.records(connection, name, limit=ROWS_PAGE, after=after)
                for record in records:
                    key = charger_key(name, record.identity)
                    yield key, _ENCODE(record), self._charger_reader(name, record.identity)
                if len(records) < ROWS_PAGE:
                    break
                after = records[-1].identity


def _constant(value: bytes) -> Read:
    async def read() -> bytes | None:
        return value

    return read


async def _current(bucket: KeyValue, key: str) -> tuple[bytes | None, int]:
    """The key's value and revision; (None, revision) for a deleted one, (None, 0) for one that never was."""
    try:
        entry = await bucket.get(key)
    except KeyDeletedError as error:
        return None, error.entry.revision or 0
    except KeyNotFoundError as error:
        return None, (error.entry.revision or 0) if error.entry is not None else 0
    return entry.value, entry.revision or 0


async def _contents(bucket: KeyValue) -> dict[str, tuple[bytes | None, int]]:
    """Every living key with value and revision. Its size is that of the fleet: some 200 bytes a charger."""
    contents: dict[str, tuple[bytes | None, int]] = {}
    watcher: Any = await bucket.watchall(ignore_deletes=True)  # the client leaves its watcher untyped
    try:
        while (entry := await watcher.updates(timeout=WATCH_S)) is not None:
            contents[entry.key] = (entry.value, entry.revision or 0)
    finally:
        await watcher.stop()
    return contents

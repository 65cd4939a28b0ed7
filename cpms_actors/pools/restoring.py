"""A backup put back into an empty system, of which nothing runs yet but its servers.

    every checksum ─▶ is anything here? ─▶ migrations of the backup ─▶ ┌ tables, streams ┐ ─▶ migrations of this release
                                                                       └ all or nothing  ┘

The streams are the ones that were (bus/snapshots.py): the lanes' offsets point to the same pages as before, so the session pool reads
on behind them when it starts, and folds what the tables had not. Epochs of slots go on from above all that pages and checkpoints know.
Transaction ids go on far above those that the backup knows of, since more may have been given out after it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import asyncpg
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.errors import NotFoundError

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Settings
from cpms_actors.bus import snapshots, spare_ids, subjects
from cpms_actors.bus.live import open_bucket
from cpms_actors.bus.questions import STATUS_SUBJECT
from cpms_actors.pools.backing_up import STREAMS
from cpms_actors.pools.backup_files import CREDENTIAL_KEY, Manifest, StreamDump, chunks, read_manifest, verify
from cpms_actors.pools.commanding import as_command
from cpms_actors.pools.pages import stream_name
from cpms_actors.store import dumping
from cpms_actors.store.migrate import load_migrations, migrate, pending
from cpms_actors.store.owning import Owner, as_owner

EMPTY: Final = "restore into an empty system: servers without data, or another --data directory"
_ASKED: Final = (STATUS_SUBJECT, "cpms.tariff.status", subjects.WORKER_STATUS)
_ASKED_S: Final = 2.0

Say = Callable[[str], None]


def checked(folder: Path, settings: Settings) -> Manifest:
    """The manifest of a backup that is whole and can be restored by this release. Reads all of it. Raises OperatorError."""
    manifest = read_manifest(folder)
    verify(folder, manifest)
    try:
        pending(load_migrations(), manifest.migrations)
    except OperatorError as error:
        text = f"release {manifest.release} made the backup, and this one does not know its database: {error}"
        raise OperatorError("backup-newer", text) from None
    key = credential_key(folder, manifest)
    if key and settings.credential_key and key != settings.credential_key:
        text = f"the chargers' passwords were kept under another CPMS_CREDENTIAL_KEY; set it to what is in {folder / CREDENTIAL_KEY}"
        raise OperatorError("credential_key", text)
    return manifest


def credential_key(folder: Path, manifest: Manifest) -> str:
    """The key of the chargers' passwords, when whoever made the backup had it."""
    if CREDENTIAL_KEY not in {file.name for file in manifest.files}:
        return ""
    return (folder / CREDENTIAL_KEY).read_text()


async def restore(settings: Settings, folder: Path, manifest: Manifest, *, say: Say) -> None:
    """Put back what `checked` has found good.

    Raises OperatorError when the system is not empty or something of it runs, Unavailable without NATS or Postgres. The system is empty
    then, and a restore can begin again; only if the last migrations fail is all there, and `cpms migrate` goes on.
    """
    try:
        async with as_command(settings, "restore") as client:
            await _nobody_runs(client)
            async with as_owner(settings.postgres.owner_dsn) as connection:
                await _empty(client, connection, manifest)
            await migrate(settings.postgres.owner_dsn, up_to=max(manifest.migrations, default=0))
            await _restore(settings, client, folder, manifest, say)
            await migrate(settings.postgres.owner_dsn)
    except asyncpg.PostgresError as error:  # it is there, and says no
        raise OperatorError("backup-refused", f"Postgres refuses what is in the backup: {error}; use another backup") from error


async def _nobody_runs(client: Client) -> None:
    """Raise OperatorError when a worker or a pool answers: it would fold, claim and lease in the middle of it."""
    for subject in _ASKED:
        try:
            await client.request(subject, b"", timeout=_ASKED_S)
        except NoRespondersError:
            continue
        except NatsError:  # it hears and does not answer
            pass
        raise OperatorError("restore-running", "workers or pools are running; stop them, restore, and start them again")


async def _empty(client: Client, connection: Owner, manifest: Manifest) -> None:
    """Raise OperatorError unless the system is empty."""
    applied = await dumping.migrations(connection)
    if not set(applied) <= set(manifest.migrations):
        text = f"the database is at migration {max(applied):04} and the backup at {max(manifest.migrations, default=0):04}; "
        raise OperatorError("restore-migrated", text + "restore into a database without tables")
    if used := await dumping.in_use(connection):
        raise OperatorError("restore-not-empty", f"the database is in use: there are rows in {', '.join(sorted(used)[:5])}; {EMPTY}")
    with suppress(NotFoundError):
        info = await client.jetstream().stream_info(subjects.JOURNAL_STREAM)
        if info.state.messages or info.state.last_seq:
            raise OperatorError("restore-not-empty", f"the journal is in use: it has had {info.state.last_seq} pages; {EMPTY}")


async def _restore(settings: Settings, client: Client, folder: Path, manifest: Manifest, say: Say) -> None:
    async with as_owner(settings.postgres.owner_dsn) as connection:
        async with connection.transaction(), _streams(client):
            if set(await dumping.tables(connection)) != {dumped.table for dumped in manifest.tables}:
                raise OperatorError("backup-manifest", "the backup has other tables than its migrations make; use another backup")
            await dumping.make_room(connection, manifest.days)
            for dumped in manifest.tables:
                await dumping.load(connection, dumped, folder / dumped.file)
                say(f"table {dumped.table}: {dumped.rows} rows")
            await dumping.set_sequences(connection, manifest.sequences)
            for stream in manifest.streams:
                await _put_back(client, folder, stream, settings.nats.replicas)
                say(f"stream {stream.stream}: {snapshots.state_of(stream.snapshot).messages} messages")
            info = await client.jetstream().stream_info(subjects.JOURNAL_STREAM)
            await dumping.hand_over_lanes(connection, manifest.journal, stream_name(info))
            ids = await open_bucket(client.jetstream(), subjects.IDS_BUCKET, settings.nats.replicas)
            await spare_ids.skip(ids)
        await connection.execute("ANALYZE")  # a planner without figures reads whole tables


@asynccontextmanager
async def _streams(client: Client) -> AsyncIterator[None]:
    """The streams are to be made while the block runs. What an empty system had of them goes before, and at a failure all of it."""
    await _delete_streams(client)
    try:
        yield
    except BaseException:
        with anyio.move_on_after(5, shield=True), suppress(NatsError, TimeoutError, OSError):
            await _delete_streams(client)
        raise


async def _delete_streams(client: Client) -> None:
    for stream in (*STREAMS, f"KV_{subjects.REGISTRY_BUCKET}"):
        with suppress(NotFoundError):
            await client.jetstream().delete_stream(stream)


async def _put_back(client: Client, folder: Path, dumped: StreamDump, replicas: int) -> None:
    if dumped.stream not in STREAMS:
        raise OperatorError("backup-manifest", f"the backup has a stream {dumped.stream!r} that is none of ours; use another backup")
    await snapshots.put_back(client, dumped.stream, dumped.snapshot, chunks(folder / dumped.file), replicas=replicas)
    info = await client.jetstream().stream_info(dumped.stream)
    state = snapshots.state_of(dumped.snapshot)
    if info.state.last_seq < state.last_seq:
        text = f"the broker made {info.state.last_seq} of {state.last_seq} messages of {dumped.stream}; use another backup"
        raise OperatorError("backup-damaged", text)

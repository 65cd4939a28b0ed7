"""A backup of a system that goes on meanwhile.

    Postgres as of one moment: every table, and how far each lane is folded ─┐
    then the journal, whole, as of a later one                               ├─▶ a folder, its manifest last
    checkpoints, spare transaction ids, leases of slots ─────────────────────┘

The order is what makes it one backup: the journal is read after the tables, so it has every page that they have not, and a pool that
reads on from the tables' offsets comes to the journal's end. What a page or a checkpoint says was written under the lease of a slot, so
the leases are read last: their revisions, the epochs, are above all that the backup knows. The registry's bucket is a mirror of
Postgres and made anew.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from nats.aio.client import Client
from nats.js.api import StreamInfo
from nats.js.errors import NotFoundError

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import LANES
from cpms_actors.base.settings import Settings
from cpms_actors.bus import snapshots, subjects
from cpms_actors.pools.backup_files import CREDENTIAL_KEY, FORMAT, Draft, LaneDump, Manifest, StreamDump, drafted
from cpms_actors.pools.commanding import as_command
from cpms_actors.pools.pages import last_page, page_from, stream_name
from cpms_actors.store import dumping, offsets
from cpms_actors.store.database import Connection
from cpms_actors.store.dumping import TableDump
from cpms_actors.store.owning import as_owner

# In this order. Checkpoints before the journal: what they tell is in it.
STREAMS: Final = (
    f"KV_{subjects.LIVE_BUCKET}",
    subjects.JOURNAL_STREAM,
    f"KV_{subjects.IDS_BUCKET}",
    f"KV_{subjects.SLOTS_BUCKET}",
)

Say = Callable[[str], None]
"""Hears what is done, in a sentence."""


async def _at_once() -> None:
    return None


async def backup(settings: Settings, folder: Path, *, say: Say, dumped: Callable[[], Awaitable[None]] = _at_once) -> Manifest:
    """Write a backup into a folder that is new or empty; `dumped` is waited for between the tables and the journal.

    Raises OperatorError when the folder or the owner's right is missing, Unavailable without NATS or Postgres; no folder is left then.
    """
    async with as_command(settings, "backup") as client:
        with drafted(folder) as draft:
            manifest = await _write(settings, client, draft, say, dumped)
            draft.finish(manifest)
            return manifest


async def _write(settings: Settings, client: Client, draft: Draft, say: Say, dumped: Callable[[], Awaitable[None]]) -> Manifest:
    created_at = datetime.now(UTC)
    async with as_owner(settings.postgres.owner_dsn) as connection:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            info = await client.jetstream().stream_info(subjects.JOURNAL_STREAM)
            folded = await offsets.folded(connection, stream_name(info))  # the snapshot is taken here
            migrations = await dumping.migrations(connection)
            tables = [await _dump(connection, draft, table, say) for table in await dumping.tables(connection)]
            days = await dumping.days(connection)
        sequences = await dumping.sequences(connection)
    await dumped()
    streams = [await _take(client, draft, info, say) for info in await _existing(client)]
    lanes = [await _lane(client, lane, folded.get(lane, 0)) for lane in range(LANES)]
    if settings.credential_key:
        with draft.file(CREDENTIAL_KEY) as write:
            write(settings.credential_key.encode())
    return Manifest(
        format=FORMAT,
        created_at=created_at,
        release=version("cpms-actors"),
        migrations=migrations,
        tables=tables,
        sequences=sequences,
        days=days,
        journal=stream_name(info),
        lanes=lanes,
        streams=streams,
        files=draft.files,
    )


async def _dump(connection: Connection, draft: Draft, table: str, say: Say) -> TableDump:
    name = f"table.{table}.copy"
    with draft.file(name) as write:
        done = await dumping.dump(connection, table, name, write)
    say(f"table {table}: {done.rows} rows")
    return done


async def _existing(client: Client) -> list[StreamInfo]:
    """The streams, of those that exist: a bucket is made when it is first needed."""
    found = []
    for stream in STREAMS:
        try:
            found.append(await client.jetstream().stream_info(stream))
        except NotFoundError:
            if stream == subjects.JOURNAL_STREAM:
                raise
    return found


async def _take(client: Client, draft: Draft, info: StreamInfo, say: Say) -> StreamDump:
    stream = info.config.name or ""
    name = f"stream.{stream}.snapshot"
    with draft.file(name) as write:
        snapshot = await snapshots.take(client, stream, write)
    say(f"stream {stream}: {snapshots.state_of(snapshot).messages} messages, {draft.files[-1].bytes} bytes")
    return StreamDump(stream, name, snapshot)


async def _lane(client: Client, lane: int, folded: int) -> LaneDump:
    """Which pages of a lane there are. The one at the offset is kept by whoever makes room; if it has gone, so have some behind it."""
    jetstream = client.jetstream()
    first, ends = await page_from(jetstream, lane, 1), await last_page(jetstream, lane)
    if first is None:
        return LaneDump(lane, folded, 0, 0)
    begins = first.seq or 0
    if folded and begins > folded:
        text = "the journal was full and made room while it was read: pages that the tables have not are gone; begin the backup again"
        raise OperatorError("backup-overtaken", text)
    return LaneDump(lane, folded, begins, ends)

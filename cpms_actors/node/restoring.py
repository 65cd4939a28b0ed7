"""The servers into which a backup is restored: those of a data directory, run for that, or those that the settings name."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from msgspec.structs import replace

from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.node import broker
from cpms_actors.node.data_dir import DataDir, is_external
from cpms_actors.node.servers import nats_server, postgres_server
from cpms_actors.pools import restoring
from cpms_actors.pools.backup_files import Manifest
from cpms_actors.pools.restoring import Say


async def restore(settings: Settings, environment: Mapping[str, str], folder: Path, *, say: Say) -> Manifest:
    """Restore a backup where the settings lead. What was restored is its manifest.

    Raises OperatorError, also when a stack runs in the data directory, and Unavailable.
    """
    manifest = await anyio.to_thread.run_sync(restoring.checked, folder, settings)
    say(f"{len(manifest.files)} files of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC are whole")
    own_broker = not is_external(settings.nats.url, Nats().url, environment, "CPMS_NATS_URL")
    own_database = not is_external(settings.postgres.dsn, Postgres().dsn, environment, "CPMS_POSTGRES_DSN")
    async with AsyncExitStack() as stack:
        if own_broker or own_database:
            data = DataDir(Path(settings.data))
            stack.enter_context(data.owned())
        if own_broker:
            nats = await stack.enter_async_context(nats_server(data.path, sync_interval=broker.SYNC_ALWAYS))
            settings = replace(settings, nats=replace(settings.nats, url=nats.system_url))
        if own_database:
            postgres = await stack.enter_async_context(postgres_server(data.path, durable=True))
            settings = replace(settings, postgres=replace(settings.postgres, dsn=postgres.dsn, owner_dsn=postgres.owner_dsn))
        await restoring.restore(settings, folder, manifest, say=say)
        key = restoring.credential_key(folder, manifest)
        if key and (own_broker or own_database):
            data.adopt(key)
    return manifest

"""The registry bucket is Postgres again after whatever happened to either, and never holds an older row than Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import asyncpg
import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from cpms_actors.base.ids import slot_of
from cpms_actors.base.settings import Nats, Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects
from cpms_actors.domain.access import ChargerRecord
from cpms_actors.pools.operations_mirror import Mirror, charger_key, tenant_key
from cpms_actors.store.database import Database, open_database

Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(operations_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(operations_settings.postgres) as database:
        yield database


@pytest.fixture
def mirror(client: Client, database: Database, operations_settings: Settings) -> Mirror:
    return Mirror(client, database, operations_settings.nats)


@pytest.fixture
async def owner(operations_settings: Settings) -> AsyncIterator[Owner]:
    """The owner of the database, who is bound by no policy: whoever changes rows behind the pool's back."""
    connection = await asyncpg.connect(operations_settings.postgres.owner_dsn)
    await connection.execute("DELETE FROM chargers")
    yield connection
    await connection.close()


async def bucket_of(client: Client) -> KeyValue:
    return await client.jetstream().key_value(subjects.REGISTRY_BUCKET)


async def keys_of(client: Client) -> set[str]:
    return set(await (await bucket_of(client)).keys())


async def revision_of(client: Client, key: str) -> int | None:
    return (await (await bucket_of(client)).get(key)).revision


async def record_of(client: Client, tenant: str, charger: str) -> ChargerRecord:
    entry = await (await bucket_of(client)).get(charger_key(tenant, charger))
    return msgspec.msgpack.decode(entry.value or b"", type=ChargerRecord)


async def test_a_resync_adds_what_is_missing_rewrites_what_differs_and_deletes_what_is_gone(
    mirror: Mirror, client: Client, owner: Owner
) -> None:
    await owner.execute(
        "INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'stays'), ('default', 'goes'), ('default', 'a:b')"
    )
    await mirror.resync()
    assert await keys_of(client) == {tenant_key("default"), *(charger_key("default", name) for name in ("stays", "goes", "a:b"))}
    revision = await revision_of(client, charger_key("default", "stays"))

    await owner.execute("DELETE FROM chargers WHERE identity = 'goes'")
    await owner.execute("UPDATE chargers SET boot = 'Rejected' WHERE identity = 'a:b'")
    await owner.execute("INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'new')")
    await mirror.resync()
    assert await keys_of(client) == {tenant_key("default"), *(charger_key("default", name) for name in ("stays", "new", "a:b"))}
    assert (await record_of(client, "default", "a:b")).boot == "Rejected"
    assert await revision_of(client, charger_key("default", "stays")) == revision, "what is equal is not written again"

    await owner.execute("INSERT INTO chargers (tenant_id, identity, enabled) VALUES ('default', 'goes', false)")
    await mirror.resync()
    assert (await record_of(client, "default", "goes")).enabled is False, "a key that was deleted can come back"


async def test_a_key_that_nobody_knows_is_deleted_and_rubbish_is_replaced(mirror: Mirror, client: Client, owner: Owner) -> None:
    await owner.execute("INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'here')")
    await mirror.resync()
    bucket = await bucket_of(client)
    await bucket.put("charger.7.ghost.ghost", b"x")
    await bucket.put(charger_key("default", "here"), b"rubbish")
    await mirror.resync()
    with pytest.raises(KeyNotFoundError):
        await bucket.get("charger.7.ghost.ghost")
    assert (await record_of(client, "default", "here")).identity == "here"


class Overtaken(Mirror):
    """A mirror that, once, is overtaken by another between reading the row and writing the key."""

    def __init__(self, client: Client, database: Database, nats: Nats, overtake: Callable[[], Awaitable[None]]) -> None:
        super().__init__(client, database, nats)
        self._overtake: Callable[[], Awaitable[None]] | None = overtake

    async def _write(self, bucket: KeyValue, key: str, value: bytes | None, revision: int) -> int:
        if self._overtake is not None:
            overtake, self._overtake = self._overtake, None
            await overtake()
        return await super()._write(bucket, key, value, revision)


@pytest.mark.parametrize("start", ["changed", "resync"])
async def test_a_mirror_that_is_overtaken_by_another_leaves_the_newer_row(
    start: str, mirror: Mirror, client: Client, database: Database, operations_settings: Settings, owner: Owner
) -> None:
    await owner.execute("INSERT INTO chargers (tenant_id, identity) VALUES ('default', 'contested')")
    await mirror.resync()

    async def newer() -> None:
        await owner.execute("UPDATE chargers SET security_profile = 3 WHERE identity = 'contested'")
        assert await mirror.charger_changed("default", "contested")

    overtaken = Overtaken(client, database, operations_settings.nats, newer)
    await owner.execute("UPDATE chargers SET security_profile = 2 WHERE identity = 'contested'")
    if start == "changed":
        assert await overtaken.charger_changed("default", "contested")
    else:
        await overtaken.resync()
    assert (await record_of(client, "default", "contested")).security_profile == 3
    assert (overtaken.statistics.puts, mirror.statistics.puts >= 2) == (0, True)


async def test_a_bucket_that_was_lost_is_made_again(ask: Callable[..., Awaitable[Any]], client: Client) -> None:
    await ask("charger.add", charger="survivor", password="0123456789abcdef01")
    await client.jetstream().delete_key_value(subjects.REGISTRY_BUCKET)
    changed = await ask("charger.set", charger="survivor", boot="Pending")
    assert changed["boot"] == "Pending", "what is in Postgres is done, whatever the bucket does"
    with anyio.fail_after(20):
        while True:
            try:
                assert (await record_of(client, "default", "survivor")).boot == "Pending"
                break
            except Exception:
                pass
            await anyio.sleep(0.05)
    assert tenant_key("default") in await keys_of(client)


@pytest.mark.parametrize("verb", ["charger.add", "charger.set"])
async def test_a_change_is_answered_once_the_charger_s_worker_knows_it(
    ask: Callable[..., Awaitable[Any]], client: Client, verb: str
) -> None:
    """Whoever has let a charger in, or given it another password, finds it so at the very next connection."""
    identity = f"ASKED-{verb}"
    if verb == "charger.set":
        await ask("charger.add", charger=identity, password="0123456789abcdef01")
    key = charger_key("default", identity)
    asked, answer, answered = anyio.Event(), anyio.Event(), anyio.Event()

    async def worker(message: Msg) -> None:
        assert (message.subject.rsplit(".", 1)[1], msgspec.msgpack.decode(message.data)) == ("known", await revision_of(client, key))
        asked.set()
        await answer.wait()
        await message.respond(b"")

    async def operator() -> None:
        assert (await ask(verb, charger=identity, password="abcdef0123456789ab"))["charger"] == identity
        answered.set()

    subscription = await client.subscribe(subjects.slot_commands(slot_of("default", identity)), cb=worker)
    await bus.subscribed(client)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(operator)
            await asked.wait()
            await ask("charger.list")  # a whole round through the pool
            assert not answered.is_set()
            answer.set()
            await answered.wait()
    await subscription.unsubscribe()

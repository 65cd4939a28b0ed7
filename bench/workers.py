"""A real worker to be measured: `cpms worker` on its core, a real nats-server beside the load.

The pools and Postgres do not run. A worker asks them for transaction ids and for verdicts, both before a window begins, and a responder
here answers; what it knows of tenants and chargers it reads from the registry bucket, which is filled here as the operations pool
does it. What is missing in a window is the readers of the journal. Their CPU is not the worker's, and on two cores they would take
theirs from load and broker: pages would grow longer and the worker look cheaper than it does here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.kv import KeyValue

from bench.processes import Child, Cores, running
from cpms_actors.base.ids import DEFAULT_TENANT, slot_of
from cpms_actors.base.settings import Gateway, Logs, Nats, Settings, to_environment
from cpms_actors.bus import questions, subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.commands import WorkerStatus
from cpms_actors.bus.live import open_bucket
from cpms_actors.domain.access import ChargerRecord, Tenant, Verdict, credential_digest
from cpms_actors.node import broker, ready
from cpms_actors.node.data_dir import HOST, DataDir
from cpms_actors.node.servers import nats_server
from cpms_actors.pools.operations_status import scatter

Engine = Literal["picows", "trio-websocket"]

TOLD_S: Final = 0.1
TOGETHER_MAX: Final = 250  # registry writes under way
ASK_S_MAX: Final = 10.0
REGISTERED_S_MAX: Final = 60.0
_STATUS: Final[msgspec.msgpack.Decoder[WorkerStatus]] = msgspec.msgpack.Decoder(WorkerStatus)


Start: TypeAlias = Callable[[str], AbstractAsyncContextManager[tuple[Child, str]]]
"""Starts one more worker of that name on the same bus and the same port, while the block runs."""


class Cpms:
    """A running worker, and the bus it is on."""

    def __init__(self, process: Child, url: str, client: Client, start: Start) -> None:
        self.process = process
        self.pid = process.pid
        self.url = url
        self.client = client
        self.start = start

    async def workers(self) -> list[WorkerStatus]:
        """What every worker on the bus says of itself."""
        answers = await scatter(self.client, subjects.WORKER_STATUS, TOLD_S)
        return [_STATUS.decode(answer) for answer in answers]

    async def status(self) -> WorkerStatus:
        """What the worker, or the first of several, says of itself."""
        return _STATUS.decode((await self.client.request(subjects.WORKER_STATUS, timeout=ASK_S_MAX)).data)

    async def appended(self) -> tuple[int, int]:
        """Pages and events that the worker has appended to the journal."""
        journal = (await self.status()).journal.values()
        return sum(lane.pages for lane in journal), sum(lane.events for lane in journal)


@asynccontextmanager
async def worker(
    folder: Path,
    cores: Cores,
    chargers: int,
    *,
    engine: Engine = "picows",
    sync_interval: str = broker.SYNC_DEFAULT,
    password: str = "",
    name: str = "",
) -> AsyncIterator[Cpms]:
    """A worker that serves `chargers` chargers of the default tenant while the block runs; everything of it lies in `folder`.

    It is called `name`. With a password all of them have it (security profile 1), without one they come as they are.
    """
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(nats_server(folder, sync_interval=sync_interval))
        client = await connect(Nats(url=bus.system_url), "bench", patient=False)
        stack.push_async_callback(client.close)
        await _answer_questions(client)
        key = DataDir(folder).secrets().credential_key
        credential = credential_digest(key.encode(), password) if password else None
        await _register(await open_bucket(client.jetstream(), subjects.REGISTRY_BUCKET, 1), chargers, credential)
        settings = Settings(
            nats=Nats(url=bus.system_url),
            # What bounds a rate is off, the pace with the lag: what a worker could do is asked, not what it is allowed.
            gateway=Gateway(
                host=HOST, port=DataDir(folder).port("gateway"), engine=engine, admissions_per_s=0, messages_per_s=0, lag_max_ms=0
            ),
            logs=Logs(level="warning"),
            credential_key=key,
            data=str(folder),
        )

        def start(name: str) -> AbstractAsyncContextManager[tuple[Child, str]]:
            return running(
                f"the worker with {engine}",
                "cpms_actors.cli.main",
                *("worker", "--name", name),
                cores=[cores.server],
                env=to_environment(settings) | {"CPMS_CONFIG": ""},
                ready=ready.LINE,
            )

        process, _ = await stack.enter_async_context(start(name))
        yield Cpms(process, f"ws://{HOST}:{settings.gateway.port}/ocpp", client, start)


async def _register(registry: KeyValue, count: int, credential: bytes | None) -> None:
    """Let the chargers CP0 and following in."""
    await registry.put(f"tenant.{DEFAULT_TENANT}", msgspec.msgpack.encode(Tenant(DEFAULT_TENANT, profile0=True)))

    async def put(number: int) -> None:
        record = ChargerRecord(DEFAULT_TENANT, f"CP{number}", 0 if credential is None else 1, credential)
        key = subjects.charger_key(slot_of(DEFAULT_TENANT, record.identity), DEFAULT_TENANT, record.identity)
        await registry.put(f"charger.{key}", msgspec.msgpack.encode(record))

    async with asyncio.timeout(REGISTERED_S_MAX):
        for begin in range(0, count, TOGETHER_MAX):
            await asyncio.gather(*map(put, range(begin, min(begin + TOGETHER_MAX, count))))


async def _answer_questions(client: Client) -> None:
    """Stand in for the session pool: every token may charge, blocks of ids go up from 1."""
    given = 0

    async def lease(message: Msg) -> None:
        nonlocal given
        block = questions.IdBlock(given + 1, given + questions.LEASE_BLOCK)
        given = block.last
        await message.respond(questions.ENCODE(block))

    async def authorize(message: Msg) -> None:
        await message.respond(questions.ENCODE(Verdict("Accepted")))

    await client.subscribe(subjects.session("*", questions.LEASE), cb=lease)
    await client.subscribe(subjects.session("*", questions.AUTHORIZE), cb=authorize)

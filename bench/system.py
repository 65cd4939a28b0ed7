"""A whole system to be measured: `cpms up` as it is deployed on one machine, with real servers, and every process of it counted.

Journal and database are flushed to disk as `cpms up` does it.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import psutil
from nats.aio.client import Client

from bench import load
from bench.processes import Child, cpu_s_with_ended, running
from bench.words import PASSWORD, TOKEN
from cpms_actors.base.settings import Nats
from cpms_actors.bus.client import connect
from cpms_actors.node.data_dir import DataDir
from loadtests import desk

_PARTS: Final = (  # what a command line holds, and what the process is called
    ("nats-server", "nats-server"),
    ("postgres", "postgres"),
    ("worker", "workers"),
    ("session", "session pool"),
    ("tariff", "tariff pool"),
    ("operations", "operations pool"),
)
_REST: Final = "supervisor"
_OPEN: Final = {
    "CPMS_GATEWAY_ADMISSIONS_PER_S": "0",
    "CPMS_GATEWAY_MESSAGES_PER_S": "0",
    "CPMS_GATEWAY_LAG_MAX_MS": "0",  # and with it the pace
}


class System:
    """A running system. `database`, a connection to `dsn`, may read every table, `client` every subject."""

    def __init__(self, process: Child, url: str, operator: Nats, client: Client, dsn: str, database: asyncpg.Connection) -> None:
        self.pid = process.pid
        self.url = url
        self.dsn = dsn
        self.client = client
        self.database = database
        self._process = psutil.Process(process.pid)
        self._operator = operator

    async def register(self, numbers: Iterable[int]) -> None:
        """Let chargers in, CP0 and so on, with PASSWORD, and the token of the load; there is a tariff for all of them."""
        chargers = [f"CP{number}" for number in numbers]
        await asyncio.to_thread(partial(desk.register, self._operator, chargers, PASSWORD, [TOKEN], price=True))

    def cpu_s(self) -> Counter[str]:
        """The CPU time that each part has used so far, in seconds, with that of processes that have come and gone."""
        used: Counter[str] = Counter()
        for part, process in self._parts():
            used[part] += cpu_s_with_ended(process)  # type: ignore[assignment]  # seconds
        return used

    def memory_bytes(self) -> dict[str, int]:
        """The memory of each part: its proportional set size, which counts pages that processes share once."""
        held: Counter[str] = Counter()
        for part, process in self._parts():
            held[part] += process.memory_full_info().pss
        return dict(held)

    def _parts(self) -> list[tuple[str, psutil.Process]]:
        """Every process, but for those that just end."""
        found = []
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                line = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            program, words = os.path.basename(line[0]) if line else "", set(line[:5])
            found.append((next((part for word, part in _PARTS if program.startswith(word) or word in words), _REST), process))
        return found


@asynccontextmanager
async def system(folder: Path, *, workers: int = 1, gates: bool = False, cores: Sequence[int] = ()) -> AsyncIterator[System]:
    """A system while the block runs, on all cores or these; everything of it lies in `folder`.

    Without `gates` those are open that bound a rate: what it can do is asked.
    """
    async with AsyncExitStack() as stack:
        process, _ = await stack.enter_async_context(
            running(
                "the system",
                "cpms_actors.cli.main",
                *("up", "--json", "--port", "0", "--data", str(folder), "--workers", str(workers)),
                cores=cores or every_core(),
                env={"CPMS_LOGS_LEVEL": "warning", "CPMS_CONFIG": ""} | ({} if gates else _OPEN),
                ready="",
            )
        )
        told = DataDir(folder).connection()
        assert told is not None  # it has said that it runs
        client = await connect(Nats(url=told.nats_url), "bench", patient=False)
        stack.push_async_callback(client.close)
        database = await asyncpg.connect(told.postgres_owner_dsn)
        stack.push_async_callback(database.close)
        yield System(process, told.websocket_url, desk.operator_of(folder), client, told.postgres_owner_dsn, database)


@asynccontextmanager
async def drivers(
    url: str, count: int = 1, *, module: str = "bench.load", ready: str = load.READY, cores: Sequence[int] = ()
) -> AsyncIterator[list[Child]]:
    """Processes of the load while the block runs, on all cores or these."""
    async with AsyncExitStack() as stack:
        starting = (running("the load", module, url, cores=cores or every_core(), ready=ready) for _ in range(count))
        yield [(await stack.enter_async_context(each))[0] for each in starting]


def every_core() -> list[int]:
    """All that this process may use."""
    return sorted(os.sched_getaffinity(0))

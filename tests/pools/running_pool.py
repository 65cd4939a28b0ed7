"""A pool, run in the loop of a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from cpms_actors.base.settings import Settings

START_S = 30


@asynccontextmanager
async def running(run: Callable[..., Awaitable[Any]], settings: Settings) -> AsyncIterator[Callable[[], None]]:
    """`run` of a pool's module, once it has started; the function stops it before the block ends."""
    async with anyio.create_task_group() as group:
        up = anyio.Event()

        async def until_stopped() -> None:
            await run(settings, started=up.set)

        group.start_soon(until_stopped)
        with anyio.fail_after(START_S):
            await up.wait()
        yield group.cancel_scope.cancel
        group.cancel_scope.cancel()

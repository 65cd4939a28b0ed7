"""Whoever serves a slot hears what is asked of its chargers."""

import asyncio
from types import SimpleNamespace
from typing import Any

from cpms_actors.base.settings import Nats
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.client import connect
from cpms_actors.node.worker_desk import Desk

SLOT = 3


def test_a_slot_that_is_claimed_at_the_second_try_is_listened_to(nats_url: str) -> None:
    """After the first try nobody had it here for a while, and the look that ends its subscription falls into the second."""

    async def script() -> None:
        client = await connect(Nats(url=nats_url), "desk", patient=False)
        worker: Any = SimpleNamespace(slots={}, node="n1", find=lambda tenant, identity: None)
        nobody: Any = None
        desk = Desk(worker, nobody, client, nobody)
        try:
            await desk._subscribe()
            await desk.follow([SLOT])
            await desk._unfollow()
            await desk.follow([SLOT])
            await desk._unfollow()
            worker.slots[SLOT] = "served from now on"
            asked = await client.request(subjects.charger_command(SLOT, "t", "c", "fly"), b"\x90", timeout=5)
            assert commands.ANSWER_DECODER.decode(asked.data).kind == "failed"
        finally:
            await desk._unsubscribe()
            await client.close()

    asyncio.run(script())

"""Spare transaction ids on a real nats-server: far above the pool's, and never given twice."""

import asyncio

import pytest

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.settings import Nats
from cpms_actors.bus import spare_ids, subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.live import open_bucket


def test_two_workers_never_share_a_block_and_the_end_is_told(nats_url: str) -> None:
    async def main() -> None:
        client = await connect(Nats(url=nats_url), "test")
        bucket = await open_bucket(client.jetstream(), subjects.IDS_BUCKET, 1)
        blocks = await asyncio.gather(*(spare_ids.lease(bucket) for _ in range(4)))
        given = [number for block in blocks for number in range(block.first, block.last + 1)]
        assert len(set(given)) == len(given) == 4000
        assert min(given) == spare_ids.FIRST
        await bucket.put(spare_ids.KEY, str(spare_ids.LAST).encode())
        with pytest.raises(Unavailable, match="used up"):
            await spare_ids.lease(bucket)
        await client.close()

    asyncio.run(main())

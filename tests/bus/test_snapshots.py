"""A stream is taken while it is in use and put back as it was: sequences, ids, moments and revisions."""

from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Settings
from cpms_actors.bus import snapshots, spare_ids, subjects
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.bus.live import open_bucket

pytestmark = pytest.mark.anyio

STREAM = subjects.JOURNAL_STREAM


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await ensure_stream(client.jetstream(), Settings())
    yield client
    await client.jetstream().delete_stream(STREAM)
    await client.close()


async def fill(client: Client, pages: int, size: int) -> None:
    for number in range(pages):
        # What does not repeat itself is not pressed together: there shall be several pieces.
        data = b"".join((number * 7919 + n * 104_729).to_bytes(8, "big") for n in range(size // 8))
        await client.jetstream().publish(subjects.journal(number % 2), data, headers={"Nats-Msg-Id": f"w.{number}"})


async def test_a_stream_comes_back_with_its_sequences_ids_and_moments(client: Client) -> None:
    await fill(client, 120, 40_000)
    await client.jetstream().purge_stream(STREAM, seq=11, subject=subjects.journal(0))
    before = [await client.jetstream().get_msg(STREAM, seq) for seq in (2, 11, 120)]
    pieces: list[bytes] = []
    snapshot = await snapshots.take(client, STREAM, pieces.append)
    assert len(pieces) > 1
    await client.jetstream().delete_stream(STREAM)
    await snapshots.put_back(client, STREAM, snapshot, pieces, replicas=1)
    assert [await client.jetstream().get_msg(STREAM, seq) for seq in (2, 11, 120)] == before
    assert (await client.jetstream().publish(subjects.journal(0), b"")).seq == 121


async def test_a_bucket_goes_on_counting_its_revisions(client: Client) -> None:
    bucket = await open_bucket(client.jetstream(), "CPMS_TEST", 1)
    for _ in range(5):
        revision = await bucket.put("a.b", b"x")
    pieces: list[bytes] = []
    snapshot = await snapshots.take(client, "KV_CPMS_TEST", pieces.append)
    await client.jetstream().delete_key_value("CPMS_TEST")
    await snapshots.put_back(client, "KV_CPMS_TEST", snapshot, pieces, replicas=1)
    bucket = await open_bucket(client.jetstream(), "CPMS_TEST", 1)
    assert (await bucket.get("a.b")).revision == revision
    assert await bucket.update("a.b", b"y", last=revision) == revision + 1


async def test_a_stream_is_not_put_over_another(client: Client) -> None:
    pieces: list[bytes] = []
    snapshot = await snapshots.take(client, STREAM, pieces.append)
    with pytest.raises(Unavailable, match="already in use"):
        await snapshots.put_back(client, STREAM, snapshot, pieces, replicas=1)


async def test_what_cannot_be_written_ends_it(client: Client) -> None:
    await fill(client, 30, 40_000)

    def full(data: bytes) -> None:
        raise OperatorError("backup-folder", "no space")

    with pytest.raises(OperatorError, match="no space"):
        await snapshots.take(client, STREAM, full)


async def test_spare_ids_go_on_far_ahead(client: Client) -> None:
    bucket = await open_bucket(client.jetstream(), subjects.IDS_BUCKET, 1)
    first = await spare_ids.lease(bucket)
    await spare_ids.skip(bucket)
    assert (await spare_ids.lease(bucket)).first == first.last + 1 + spare_ids.SKIPPED

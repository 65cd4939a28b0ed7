"""StreamPublisher on a real nats-server: it answers and fails as nats-py's own JetStreamContext.publish does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NoStreamResponseError

from cpms_actors.base.settings import Nats
from cpms_actors.bus.client import connect
from cpms_actors.bus.publishing import StreamPublisher

Use = Callable[[Client, Any], Awaitable[None]]


def with_publisher(url: str, use: Use, ours: bool = True) -> None:
    async def main() -> None:
        client = await connect(Nats(url=url), "test")
        try:
            jetstream = client.jetstream()
            await jetstream.add_stream(StreamConfig(name="S", subjects=["s.>"]))
            await jetstream.purge_stream("S")
            await use(client, StreamPublisher(client) if ours else jetstream)
        finally:
            await client.close()

    asyncio.run(main())


@pytest.fixture(params=[True, False], ids=["ours", "nats-py"])
def ours(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_an_answer_says_where_it_is_stored_and_whether_it_was_before(nats_url: str, ours: bool) -> None:
    async def use(client: Client, publisher: Any) -> None:
        name = uuid4().hex
        first = await publisher.publish("s.a", b"1", timeout=5, headers={"Nats-Msg-Id": name})
        again = await publisher.publish("s.a", b"1", timeout=5, headers={"Nats-Msg-Id": name})
        second = await publisher.publish("s.a", b"2", timeout=5, headers={"Nats-Msg-Id": f"{name}.2"})
        assert (again.seq, bool(again.duplicate), bool(first.duplicate)) == (first.seq, True, False)
        assert second.seq == first.seq + 1

    with_publisher(nats_url, use, ours)


def test_a_refusal_is_the_error_that_jetstream_names(nats_url: str, ours: bool) -> None:
    async def use(client: Client, publisher: Any) -> None:
        with pytest.raises(APIError) as refused:
            await publisher.publish("s.a", b"1", timeout=5, headers={"Nats-Expected-Last-Subject-Sequence": "12345"})
        assert refused.value.err_code == 10_071

    with_publisher(nats_url, use, ours)


def test_a_subject_without_a_stream_and_a_message_too_large_fail_at_once(nats_url: str, ours: bool) -> None:
    async def use(client: Client, publisher: Any) -> None:
        with pytest.raises(NoStreamResponseError):
            await publisher.publish("nobody.listens", b"1", timeout=5, headers={})
        with pytest.raises(MaxPayloadError):
            await publisher.publish("s.a", b"x" * (client.max_payload + 1), timeout=5, headers={})

    with_publisher(nats_url, use, ours)


def test_no_answer_is_a_timeout_and_a_late_one_is_nobodys(nats_url: str, ours: bool) -> None:
    async def use(client: Client, publisher: Any) -> None:
        late: list[Any] = []

        async def keep(message: Any) -> None:
            late.append(message)

        await client.subscribe("slow", cb=keep)
        with pytest.raises(NatsTimeout):
            await publisher.publish("slow", b"1", timeout=0.05, headers={})
        await late[0].respond(b"{}")
        await client.flush()
        assert (await publisher.publish("s.a", b"1", timeout=5, headers={})).seq > 0

    with_publisher(nats_url, use, ours)


def test_many_at_once_each_get_their_own_answer(nats_url: str) -> None:
    async def use(client: Client, publisher: StreamPublisher) -> None:
        acks = await asyncio.gather(*(publisher.publish("s.a", b"", timeout=5, headers={"n": str(n)}) for n in range(200)))
        first = acks[0].seq
        assert [ack.seq for ack in acks] == list(range(first, first + 200))

    with_publisher(nats_url, use)


def test_it_answers_again_after_an_outage(nats_server: Any) -> None:
    async def use(client: Client, publisher: StreamPublisher) -> None:
        await publisher.publish("s.a", b"1", timeout=5, headers={})
        nats_server.stop()
        with pytest.raises(NatsError):
            await publisher.publish("s.a", b"2", timeout=0.2, headers={})
        nats_server.start()  # in this thread: the server dies with the thread that starts it
        async with asyncio.timeout(15):
            while True:
                try:
                    assert (await publisher.publish("s.a", b"3", timeout=1, headers={})).seq >= 2
                    break
                except NatsError:
                    await asyncio.sleep(0.05)

    with_publisher(nats_server.url, use)

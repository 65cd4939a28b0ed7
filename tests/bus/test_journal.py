"""The journal on a real nats-server: durable before it is told, in order, in pages, and through an outage of the broker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client
from nats.js.errors import APIError

from cpms_actors.base.settings import Journal as JournalSettings
from cpms_actors.base.settings import Nats, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.journal import Journal, Lane, ensure_stream
from cpms_actors.bus.publishing import StreamPublisher
from cpms_actors.domain.events import PAGE_DECODER, Event, Page, Reported, Seen


def event(number: int) -> Event:
    return Event(0, 1, number, "default", "CP1", 1, "", 0, Seen())


async def pages(client: Client) -> list[Page]:
    """All pages of the stream, in order."""
    jetstream = client.jetstream()
    info = await jetstream.stream_info(subjects.JOURNAL_STREAM)
    found = []
    for number in range(info.state.first_seq, info.state.last_seq + 1):
        message = await jetstream.get_msg(subjects.JOURNAL_STREAM, number)
        assert message.data is not None
        found.append(PAGE_DECODER.decode(message.data))
    return found


def with_journal(url: str, use: Callable[[Client, Lane], Awaitable[None]], **settings: Any) -> None:
    """Run `use` with a journal on an empty stream."""

    async def main() -> None:
        all_settings = Settings(nats=Nats(url=url), journal=JournalSettings(**settings))
        client = await connect(all_settings.nats, "test")
        try:
            await ensure_stream(client.jetstream(), all_settings)
            await client.jetstream().purge_stream(subjects.JOURNAL_STREAM)
            journal = Journal(StreamPublisher(client), [3], uuid4().hex, all_settings.journal)
            running = asyncio.create_task(journal.run())
            try:
                await use(client, journal.lanes[0])
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        finally:
            await client.close()

    asyncio.run(main())


async def until(true: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.005)


def test_events_are_told_durable_in_order_and_a_thousand_take_few_pages(nats_url: str) -> None:
    async def use(client: Client, lane: Lane) -> None:
        told: list[int] = []
        for number in range(1000):
            assert lane.append(event(number), lambda durable, n=number: told.append(n) if durable else None)
        await until(lambda: len(told) == 1000)
        assert told == list(range(1000))
        stored = await pages(client)
        assert [e.number for page in stored for e in page.events] == list(range(1000))
        assert [page.number for page in stored] == list(range(1, len(stored) + 1))
        assert len(stored) <= 4
        assert lane.statistics.waiting == 0
        assert lane.statistics.waiting_peak == 1000

    with_journal(nats_url, use)


def test_a_waiter_hears_only_of_its_own_page(nats_url: str) -> None:
    """A page that was full must not speak for the events that were left for the next one."""

    async def use(client: Client, lane: Lane) -> None:
        durable_when_told: list[bool] = []

        def tell(durable: bool, number: int) -> None:
            durable_when_told.append(durable and lane.statistics.pages * 10 + 10 > number)

        for number in range(35):
            lane.append(event(number), lambda durable, n=number: tell(durable, n))
        await until(lambda: len(durable_when_told) == 35)
        assert all(durable_when_told)
        assert len(await pages(client)) == 4

    with_journal(nats_url, use, page_events_max=10)


def test_one_can_wait_for_what_was_appended_so_far_on_the_page_that_fills_and_on_its_way(nats_url: str) -> None:
    async def use(client: Client, lane: Lane) -> None:
        told: list[str] = []
        lane.settled(lambda: told.append("nothing waits"))
        assert told == ["nothing waits"]
        lane.append(event(1), lambda durable: told.append("first"))
        lane.settled(lambda: told.append("on the page"))
        lane.seal()
        lane.settled(lambda: told.append("on its way"))
        lane.append(event(2), lambda durable: told.append("second"))
        lane.append(event(3))
        lane.settled(lambda: told.append("the next"))
        assert len(told) == 1
        await until(lambda: len(told) == 6)
        assert told[1:] == ["first", "on the page", "on its way", "second", "the next"]
        assert lane.statistics.waiting == 0
        lane.give_up()
        lane.append(event(4))
        lane.settled(lambda: told.append("nobody waits"))
        assert told[-1] == "nobody waits"

    with_journal(nats_url, use)


def test_a_full_journal_refuses_and_counts(nats_url: str) -> None:
    async def use(client: Client, lane: Lane) -> None:
        assert [lane.append(event(number)) for number in range(7)] == [True] * 5 + [False] * 2
        assert lane.statistics.refusals == 2
        await until(lambda: lane.statistics.waiting == 0)
        assert lane.append(event(9))

    with_journal(nats_url, use, waiting_max=5)


def test_a_stream_without_room_refuses_appends_and_loses_no_page(nats_url: str) -> None:
    """discard=new: what was acknowledged is never thrown away to make room."""

    async def use(client: Client, lane: Lane) -> None:
        jetstream = client.jetstream()
        info = await jetstream.stream_info(subjects.JOURNAL_STREAM)
        info.config.max_bytes = 2000
        await jetstream.update_stream(info.config)
        told: list[bool] = []
        for number in range(100):
            lane.append(event(number), told.append)
        await until(lambda: len(told) == 100)
        assert not all(told)
        info.config.max_bytes = 1_000_000
        await jetstream.update_stream(info.config)
        await until(lambda: lane.statistics.waiting == 0)
        assert [e.number for page in await pages(client) for e in page.events] == list(range(100))

    with_journal(nats_url, use, page_events_max=40)


@pytest.mark.parametrize("outage_s", [0.3])
def test_through_an_outage_waiters_are_told_and_every_event_is_stored_once(nats_server: Any, outage_s: float) -> None:
    async def use(client: Client, lane: Lane) -> None:
        told: list[bool] = []
        lane.append(event(0), told.append)
        await until(lambda: told == [True])
        nats_server.stop()
        for number in range(1, 6):
            lane.append(event(number), told.append)
        await until(lambda: len(told) == 6)
        assert told[1:] == [False] * 5
        lane.append(event(6), told.append)
        assert told[-1] is False  # a stalled lane keeps nobody waiting
        await asyncio.sleep(outage_s)
        nats_server.start()  # in this thread: the server dies with the thread that starts it
        await until(lambda: lane.statistics.waiting == 0)
        lane.append(event(7), told.append)
        await until(lambda: len(told) == 8)
        assert told[-1] is True
        stored = {page.number: page for page in await pages(client)}  # a page stored twice has one number
        assert [e.number for number in sorted(stored) for e in stored[number].events] == list(range(8))

    with_journal(nats_server.url, use, append_timeout_s=0.3)


def test_the_stream_refuses_to_grow_beyond_its_bound_and_says_so(nats_url: str) -> None:
    async def use(client: Client, lane: Lane) -> None:
        info = await client.jetstream().stream_info(subjects.JOURNAL_STREAM)
        assert info.config.discard is not None
        assert str(info.config.discard) == "new"
        assert info.config.max_bytes == 123_456
        with pytest.raises(APIError, match="maximum bytes"):
            await client.jetstream().publish(subjects.journal(0), b"x" * 200_000)

    with_journal(nats_url, use, bytes_max=123_456)


def test_more_bytes_than_the_server_takes_in_one_message_go_out_in_several(nats_url: str) -> None:
    """nats-server takes 1 MiB unless told otherwise, and ends the connection of a client that sends more."""

    async def use(client: Client, lane: Lane) -> None:
        told: list[bool] = []
        for number in range(60):
            body = Reported("DataTransfer", b"x" * 60_000)
            assert lane.append(Event(0, 1, number, "default", "CP1", 1, "", 0, body), told.append)
        await until(lambda: len(told) == 60)
        assert told == [True] * 60
        assert [e.number for page in await pages(client) for e in page.events] == list(range(60))
        assert client.stats["reconnects"] == 0

    with_journal(nats_url, use)


def test_the_end_of_a_lane_stores_what_waits(nats_url: str) -> None:
    async def main() -> None:
        settings = Settings(nats=Nats(url=nats_url))
        client = await connect(settings.nats, "test")
        await ensure_stream(client.jetstream(), settings)
        await client.jetstream().purge_stream(subjects.JOURNAL_STREAM)
        journal = Journal(client.jetstream(), [3], uuid4().hex, settings.journal, client.max_payload)
        running = asyncio.create_task(journal.run())
        await asyncio.sleep(0)
        told: list[bool] = []
        for number in range(2000):
            journal.lanes[0].append(event(number), told.append)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert told == [True] * 2000
        assert [e.number for page in await pages(client) for e in page.events] == list(range(2000))
        await client.close()

    asyncio.run(main())

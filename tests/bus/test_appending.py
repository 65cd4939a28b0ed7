"""Facts that are appended beside the workers' journals: whole or not at all, and the same again is nothing new."""

from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.settings import Nats, Settings
from cpms_actors.bus import subjects
from cpms_actors.bus.appending import append, pages_of
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.domain.events import PAGE_DECODER, Event, Fact, Page, Reported, TransactionStarted

T0 = 1_700_000_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await ensure_stream(client.jetstream(), Settings(nats=Nats(url=nats_url)))
    yield client
    await client.close()


def event(body: Fact) -> Event:
    return Event(3, 1, -5, "default", "CP1", 0, "m1", T0, body)


async def last_sequence(client: Client) -> int:
    return int((await client.jetstream().stream_info(subjects.JOURNAL_STREAM)).state.last_seq)


@pytest.mark.anyio
async def test_what_is_appended_is_on_its_lane_and_the_same_again_is_not_stored(client: Client) -> None:
    events = [event(TransactionStarted("1", 1, 1, T0)), event(Reported("DataTransfer", b"{}"))]
    for _ in range(3):
        await append(client, "replay.1", 1, events, timeout_s=5)
    last = await last_sequence(client)
    message = await client.jetstream().get_msg(subjects.JOURNAL_STREAM, last)
    assert message.subject == subjects.journal(1)
    assert PAGE_DECODER.decode(message.data or b"") == Page("replay.1", 1, tuple(events))
    await append(client, "replay.2", 1, events, timeout_s=5)
    assert await last_sequence(client) == last + 1, "another writer says it for himself"


@pytest.mark.anyio
async def test_without_a_journal_it_is_said_that_nothing_was_kept(client: Client) -> None:
    await client.jetstream().delete_stream(subjects.JOURNAL_STREAM)
    with pytest.raises(NatsError):
        await append(client, "replay.3", 1, [event(TransactionStarted("1", 1, 1, T0))], timeout_s=2)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (TransactionStarted("1", 1, 1, 2**70), "the journal cannot hold it"),
        (Reported("DataTransfer", b"x" * 20_000), "larger than the 15360 bytes of a page; raise max_payload"),
    ],
)
def test_what_no_page_can_hold_is_refused_and_not_cut(body: Fact, said: str) -> None:
    with pytest.raises(OperatorError) as raised:
        pages_of("w", [event(body)], 16_384)
    assert (raised.value.code, said in raised.value.text) == ("not-journalled", True)


def test_events_that_need_several_pages_are_numbered_in_order() -> None:
    events = [event(Reported("DataTransfer", bytes([number]) * 5_000)) for number in range(7)]
    pages = [PAGE_DECODER.decode(page.data) for page in pages_of("w", events, 16_384)]
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    assert [each for page in pages for each in page.events] == events

"""The journal, read back by whoever measures what was written to it."""

from collections.abc import AsyncIterator
from typing import Final

from nats.aio.client import Client
from nats.js.api import ConsumerConfig, DeliverPolicy

from cpms_actors.bus import subjects
from cpms_actors.domain.events import PAGE_DECODER, Page

PAGE_S_MAX: Final = 60.0


async def last_seq(client: Client) -> int:
    """The sequence of the newest page."""
    return (await client.jetstream().stream_info(subjects.JOURNAL_STREAM)).state.last_seq


async def pages(client: Client, first: int, last: int) -> AsyncIterator[tuple[int, int, Page]]:
    """Sequence, lane and page of those from `first` to `last`, in order; one that is stored twice comes once."""
    if last < first:
        return
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
    subscription = await client.jetstream().subscribe(
        subjects.JOURNAL_ALL, stream=subjects.JOURNAL_STREAM, ordered_consumer=True, config=config
    )
    seen = set()
    sequence = 0
    while sequence < last:
        message = await subscription.next_msg(timeout=PAGE_S_MAX)
        sequence = message.metadata.sequence.stream
        page = PAGE_DECODER.decode(message.data)
        if (page.writer, message.subject, page.number) not in seen:
            seen.add((page.writer, message.subject, page.number))
            yield sequence, int(message.subject.rpartition(".")[2]), page
    await subscription.unsubscribe()

"""Reading the lanes of the journal, each in order and without a hole (`pools.lane.Pages`).

An ephemeral pull consumer that starts behind the stored offset and acknowledges nothing: the offset in Postgres is the only truth, and
the consumer may be thrown away at any time. One request for pages is open at once; the server's heartbeats on it tell that both
still live. Silence, a hole in the consumer's own sequence (a page lost on the way), or a consumer that is gone (a restarted server
forgets it) end the reader with Unavailable, and whoever reads opens another from the offset.
"""

from collections import deque
from contextlib import suppress
from typing import Final

import anyio
import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg, StreamInfo
from nats.js.errors import NotFoundError

from cpms_actors.base.errors import Unavailable
from cpms_actors.bus import subjects
from cpms_actors.pools.fold import StoredPage

PULL_PAGES: Final = 128  # more than a worker sends to a lane while that folds and rests
EXPIRES_S: Final = 30
HEARTBEAT_S: Final = 1
SILENT_S: Final = 3.5  # three heartbeats, and a half for the way
INACTIVE_S: Final = 60.0
_NS: Final = 1_000_000_000
_REQUEST: Final = msgspec.json.encode({"batch": PULL_PAGES, "expires": EXPIRES_S * _NS, "idle_heartbeat": HEARTBEAT_S * _NS})
_HEARTBEAT: Final = "100"
_REQUEST_OVER: Final = ("404", "408")  # no messages; the request's time is over


def stream_name(info: StreamInfo) -> str:
    """What tells a journal from one that was made anew: when it was created."""
    return info.created.isoformat() if info.created else ""


async def page_from(jetstream: JetStreamContext, lane: int, seq: int) -> RawStreamMsg | None:
    """The first page of a lane at or above a sequence of the stream; None when there is none."""
    try:
        return await jetstream.get_msg(subjects.JOURNAL_STREAM, seq, subject=subjects.journal(lane), next=True)
    except NotFoundError:
        return None


async def last_page(jetstream: JetStreamContext, lane: int) -> int:
    """The sequence of a lane's last page; 0 when there is none."""
    try:
        message = await jetstream.get_last_msg(subjects.JOURNAL_STREAM, subjects.journal(lane))
    except NotFoundError:
        return 0
    return message.seq or 0


class PageReader:
    """Pages of one subject, those after a stream sequence."""

    def __init__(self, client: Client, stream: str, subject: str, after: int) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=SILENT_S)
        self._stream = stream
        self._subject = subject
        self._after = after
        self._held = 0  # pages that the server has not sent yet
        self._buffer: deque[StoredPage] = deque()  # at most PULL_PAGES
        self._wanted = 0  # pages of the open request that are still to come
        self._expected = 1  # the consumer's own sequence, which has no holes
        self._failure = ""
        self._consumer = ""
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._news = anyio.Event()

    @property
    def pending(self) -> int:
        """How many pages are still to be fetched."""
        return self._held + len(self._buffer)

    async def open(self) -> None:
        """Make the consumer. Raises Unavailable when the journal is not there."""
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            filter_subject=self._subject,
            inactive_threshold=INACTIVE_S,
            num_replicas=1,
            mem_storage=True,
        )
        try:
            info = await self._jetstream.add_consumer(self._stream, config)
            self._consumer = info.name
            self._held = info.num_pending or 0
            self._inbox = self._client.new_inbox()
            self._subscription = await self._client.subscribe(self._inbox, cb=self._on_message)
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"the journal cannot be read: {error!r}") from error

    async def close(self) -> None:
        """Give the consumer back; a server that does not answer forgets it by itself."""
        with suppress(NatsError, TimeoutError, OSError), anyio.move_on_after(1, shield=True):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            if self._consumer:
                await self._jetstream.delete_consumer(self._stream, self._consumer)

    async def fetch(self, bytes_max: int) -> list[StoredPage]:
        """The next pages: at least one, which is waited for, and no more than fit in `bytes_max`, but for the first.

        Raises Unavailable when the reader is of no use any more.
        """
        while not self._buffer:
            if self._failure:
                raise Unavailable(f"{self._subject}: {self._failure}")
            if self._wanted <= 0:
                await self._request()
            self._news = anyio.Event()
            with anyio.move_on_after(SILENT_S) as scope:
                await self._news.wait()
            if scope.cancelled_caught:
                self._failure = f"no heartbeat for {SILENT_S} s"
        pages = [self._buffer.popleft()]
        size = len(pages[0].data)
        while self._buffer and (size := size + len(self._buffer[0].data)) <= bytes_max:
            pages.append(self._buffer.popleft())
        if self._wanted <= 0 and not self._buffer and not self._failure:
            await self._request()  # the next pages come while these are folded
        return pages

    async def _request(self) -> None:
        self._wanted = PULL_PAGES
        try:
            await self._client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}", _REQUEST, reply=self._inbox)
        except (NatsError, OSError) as error:
            raise Unavailable(f"the journal cannot be read: {error!r}") from error

    async def _on_message(self, message: Msg) -> None:
        headers = message.headers
        status = headers.get("Status") if headers else None
        if status is None:
            self._on_page(message)
        elif status in _REQUEST_OVER:
            self._wanted = 0
        elif status != _HEARTBEAT:
            self._failure = f"the server ended the reader: {status} {headers.get('Description', '') if headers else ''}"
        self._news.set()

    def _on_page(self, message: Msg) -> None:
        metadata = message.metadata
        if metadata.sequence.consumer != self._expected:
            self._failure = f"page {self._expected} of the reader is missing, {metadata.sequence.consumer} came"
            return
        self._expected += 1
        self._wanted -= 1
        self._held = metadata.num_pending
        self._buffer.append(StoredPage(metadata.sequence.stream, message.data))


class JournalPages:
    """The journal of a client, for whoever reads its lanes."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def stream(self) -> tuple[str, int]:
        """What tells this journal from one that was made anew, and its last sequence. Raises Unavailable."""
        try:
            info = await self._client.jetstream().stream_info(subjects.JOURNAL_STREAM)
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"no journal: {error!r}") from error
        return stream_name(info), info.state.last_seq

    async def page_at(self, seq: int) -> tuple[str, bytes] | None:
        """The subject and the data of the page that has this sequence; None when it has made room. Raises Unavailable."""
        try:
            message = await self._client.jetstream().get_msg(subjects.JOURNAL_STREAM, seq)
        except NotFoundError:
            return None
        except (NatsError, TimeoutError, OSError) as error:
            raise Unavailable(f"no journal: {error!r}") from error
        return message.subject or "", message.data or b""

    def reader(self, lane: int, after: int) -> PageReader:
        """A reader of a lane's pages behind a sequence; it is to be opened, and closed."""
        return PageReader(self._client, subjects.JOURNAL_STREAM, subjects.journal(lane), after)

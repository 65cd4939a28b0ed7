"""A JetStream stream as a file, and back, by the broker's own snapshots.

    take      stream ──chunks, each acknowledged──▶ whoever writes them        the stream is in use meanwhile
    put_back  chunks ──one after the other──▶ the same stream on another broker

What is put back is the same stream, not a copy: its messages have their sequences, moments and ids, a bucket has its revisions. So
offsets in Postgres and epochs of slots go on to mean what they meant. Only the moment of its creation is another.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cpms_actors.base.errors import CpmsError, Unavailable

CHUNK_BYTES: Final = 128 * 1024  # well below what any broker takes in one message
SILENT_S: Final = 30.0
MADE_S: Final = 600.0  # the broker reads all of a stream before it says that it has it
_FINE: Final = (None, "200", "204")  # how the last message of a snapshot says that it is whole


class Snapshot(Struct, frozen=True):
    """What the broker says of a stream that it gives away: it wants both again."""

    config: msgspec.Raw
    state: msgspec.Raw


class State(Struct, frozen=True):
    """What we read of a stream's state."""

    messages: int
    first_seq: int
    last_seq: int


class _Error(Struct, frozen=True):
    description: str = "no reason given"


class _Answer(Struct, frozen=True):
    error: _Error | None = None
    config: msgspec.Raw = msgspec.Raw(b"{}")
    state: msgspec.Raw = msgspec.Raw(b"{}")
    deliver_subject: str = ""


_read_answer: Final = msgspec.json.Decoder(_Answer).decode


def state_of(snapshot: Snapshot) -> State:
    """The numbers of a snapshot."""
    return msgspec.json.decode(snapshot.state, type=State)


async def take(client: Client, stream: str, write: Callable[[bytes], None]) -> Snapshot:
    """Give `write` the stream as it is now, piece by piece. Raises what `write` does, and Unavailable."""
    inbox = client.new_inbox()
    receiver = _Receiver(stream, write)
    try:
        subscription = await client.subscribe(inbox, cb=receiver.on_message)
        request = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK_BYTES}
        answer = await _ask(client, f"$JS.API.STREAM.SNAPSHOT.{stream}", msgspec.json.encode(request))
        try:
            await receiver.whole()
        finally:
            await subscription.unsubscribe()
    except (NatsError, TimeoutError, OSError) as error:
        raise Unavailable(f"{stream} cannot be read: {error!r}") from error
    return Snapshot(answer.config.copy(), answer.state.copy())


class _Receiver:
    """Hears the pieces, in order. The broker sends the next ones when these are acknowledged."""

    def __init__(self, stream: str, write: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._write = write
        self._failure: CpmsError | None = None
        self._over = False
        self._news = asyncio.Event()

    async def on_message(self, message: Msg) -> None:
        status = message.headers.get("Status") if message.headers else None
        if not message.data:
            self._over = True
            if status not in _FINE:
                self._failure = Unavailable(f"the broker ended the snapshot of {self._stream}: {status}")
        elif self._failure is None:
            try:
                self._write(message.data)
            except CpmsError as error:
                self._failure = error
            else:
                if message.reply:  # the last piece asks for no acknowledgement
                    await message.respond(b"")
        self._news.set()

    async def whole(self) -> None:
        while self._failure is None and not self._over:
            self._news.clear()
            async with asyncio.timeout(SILENT_S):
                await self._news.wait()
        if self._failure is not None:
            raise self._failure


async def put_back(client: Client, stream: str, snapshot: Snapshot, chunks: Iterable[bytes], *, replicas: int) -> None:
    """Make the stream of a snapshot. Raises Unavailable when the broker refuses it, as when there is one of that name."""
    config = msgspec.json.decode(snapshot.config) | {"num_replicas": replicas}
    request = msgspec.json.encode({"config": config, "state": snapshot.state})
    try:
        where = (await _ask(client, f"$JS.API.STREAM.RESTORE.{stream}", request)).deliver_subject
        for chunk in chunks:
            await _ask(client, where, chunk)
        await _ask(client, where, b"", MADE_S)
    except (NatsError, TimeoutError, OSError) as error:
        raise Unavailable(f"{stream} cannot be restored: {error!r}") from error


async def _ask(client: Client, subject: str, request: bytes, timeout_s: float = SILENT_S) -> _Answer:
    data = (await client.request(subject, request, timeout=timeout_s)).data
    answer = _read_answer(data) if data.startswith(b"{") else _Answer()
    if answer.error is not None:
        raise Unavailable(f"the broker refuses {subject}: {answer.error.description}")
    return answer

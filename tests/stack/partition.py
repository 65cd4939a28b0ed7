"""The way between a client and a server, which a test can interrupt as networks do: nothing arrives, and nothing is closed."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

PIECE = 65_536


class Way:
    """A TCP proxy on a free port of 127.0.0.1, in a thread of its own. What is sent while it is interrupted arrives afterwards.

    It interrupts itself, once, when the client says `until`, which does not arrive either.
    """

    def __init__(self, host: str, port: int, until: bytes = b"") -> None:
        self.port = 0
        self.interrupted = threading.Event()
        self._until = until
        self._to = (host, port)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._ended = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        self._listens.wait()

    def interrupt(self) -> None:
        """From now on nothing arrives."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def restore(self) -> None:
        """What was sent meanwhile arrives, and all that follows."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        await self._ended.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError):
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._to)
            await asyncio.gather(self._pump(reader, far_writer, self._until), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: bytes = b"") -> None:
        with closing(writer), suppress(OSError):
            while data := await reader.read(PIECE):
                if until and until in data and not self.interrupted.is_set():
                    self._open.clear()
                    self.interrupted.set()
                await self._open.wait()
                writer.write(data)
                await writer.drain()
            await self._open.wait()


@contextmanager
def way_to(host: str, port: int, until: bytes = b"") -> Iterator[Way]:
    """A way to this server, while the block runs."""
    way = Way(host, port, until)
    try:
        yield way
    finally:
        way.close()

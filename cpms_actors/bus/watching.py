"""Following a KV bucket: every key is read at start, and every change after that is heard.

After every reconnection the watch begins anew: a watch that went silent with the broker would go unnoticed otherwise. What vanished
meanwhile is found by comparing with the keys that the new watch brought.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from contextlib import suppress
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NotFoundError
from nats.js.kv import KeyValue

from cpms_actors.observe import logs

log = logs.get("watch")

CHECK_S: Final = 2.0


class _Reading:
    """Whether all that a bucket had has come.

    The client says so with None, after what was the last of it. But it also says so when it is told that nothing is left to be sent and
    has received nothing, and a busy server may tell that before it has sent anything: then None comes first. So of a bucket that is not
    empty None is not believed, and what comes after it is read until nothing is left.
    """

    def __init__(self, bucket: KeyValue, keys: str) -> None:
        self._bucket = bucket
        self._keys = keys
        self._some = False
        self._early = False

    async def is_over(self, entry: KeyValue.Entry | None) -> bool:
        """After this entry, or None. Raises NatsError and the like."""
        if entry is not None:
            self._some = True
            return self._early and not entry.delta
        self._early = not self._some and await self._has_some()
        return not self._early

    async def _has_some(self) -> bool:
        bucket = self._bucket
        try:
            await bucket._js.get_last_msg(bucket._stream, f"{bucket._pre}{self._keys}")
        except NotFoundError:
            return False
        return True


async def entries(bucket: KeyValue, keys: str = ">") -> AsyncIterator[tuple[str, bytes | None, int]]:
    """What there is now: key, value (None: deleted) and revision. Read it to its end."""
    watcher = await bucket.watch(keys)
    reading = _Reading(bucket, keys)
    try:
        async for entry in watcher:
            if entry is not None:
                yield entry.key, entry.value if entry.operation is None else None, entry.revision or 0
            if await reading.is_over(entry):
                return
    finally:
        await watcher.stop()  # type: ignore[no-untyped-call]  # untyped in nats-py


OnEntry = Callable[[str, bytes | None, int], None]
OnRead = Callable[[Set[str]], None]


class Watch:
    """One bucket, followed until cancelled.

    `on_entry` hears key, value (None: deleted) and revision; `on_read` hears after each complete reading which keys there are. What
    they raise is logged and costs that entry only: one key that its reader cannot bear must not blind it to the others.
    """

    def __init__(self, client: Client, bucket: KeyValue, name: str, on_entry: OnEntry, on_read: OnRead) -> None:
        self._client = client
        self._bucket = bucket
        self._name = name
        self._on_entry = on_entry
        self._on_read = on_read
        self.failures = 0

    async def read(self) -> None:
        """Hear every key that there is now, once. Raises NatsError and the like."""
        async for entry in entries(self._bucket):
            self._heard(self._on_entry, *entry)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            reconnects = self._client.stats["reconnects"]
            try:
                await self._follow(reconnects)
            except (NatsError, APIError, TimeoutError, OSError) as error:
                log.warning("watch_failed", bucket=self._name, error=repr(error))
                await asyncio.sleep(CHECK_S / 4)

    async def _follow(self, reconnects: int) -> None:
        """Follow one watch until the client has reconnected."""
        watcher = await self._bucket.watchall()
        seen: set[str] = set()
        reading: _Reading | None = _Reading(self._bucket, ">")
        task = asyncio.current_task()
        try:
            while self._client.stats["reconnects"] == reconnects:
                try:
                    entry = await watcher.updates(CHECK_S)  # type: ignore[no-untyped-call]  # untyped in nats-py
                except NatsTimeout:
                    continue
                if task is not None and task.cancelling():  # wait_for of Python 3.11 returns what came together with a cancellation
                    raise asyncio.CancelledError
                if isinstance(entry, KeyValue.Entry):
                    if reading is not None:
                        seen.add(entry.key)
                    value = entry.value if entry.operation is None else None
                    self._heard(self._on_entry, entry.key, value, entry.revision or 0)
                elif entry is not None:
                    continue  # the watcher was stopped
                if reading is not None and await reading.is_over(entry):
                    reading = None
                    self._heard(self._on_read, seen)
        finally:
            with suppress(NatsError):  # of a closed client: raised from here it would take the place of a cancellation
                await watcher.stop()  # type: ignore[no-untyped-call]  # untyped in nats-py

    def _heard(self, listener: Callable[..., None], *args: object) -> None:
        try:
            listener(*args)
        except Exception as error:  # a value of a newer release, or a fault of the listener: this entry is lost on it, no other
            self.failures += 1
            key = args[0] if isinstance(args[0], str) else ""
            log.error("watch_entry_skipped", bucket=self._name, key=key, exc_info=error)

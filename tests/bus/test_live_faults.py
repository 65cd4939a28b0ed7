"""Checkpoints on a model of JetStream: an outage, an end, a waiter that raises. Whoever waits hears, once, and soon."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from nats.errors import MaxPayloadError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, ServiceUnavailableError

from cpms_actors.bus import live
from cpms_actors.bus.live import Checkpoint, LiveStore

OUTAGE = [NatsTimeout(), ConnectionResetError(), ServiceUnavailableError(code=503, err_code=10_008)]


class Bucket:
    """Revisions per key, one writer. A write waits until the bucket is open, and fails while there is a fault."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.fault: BaseException | None = None
        self.faults: dict[str, BaseException] = {}  # by key
        self.live: dict[str, bytes] = {}
        self.writes: list[str] = []
        self.revision = 0

    async def publish(self, subject: str, payload: bytes, *, timeout: float, headers: dict[str, str]) -> Any:
        key = subject.partition("CPMS_LIVE.")[2]
        self.writes.append(key)
        try:
            async with asyncio.timeout(timeout):
                await self.open.wait()
        except TimeoutError:
            raise NatsTimeout from None
        for fault in (self.fault, self.faults.get(key)):
            if fault is not None:
                raise fault
        self.revision += 1
        self.live[key] = msgspec.msgpack.decode(payload, type=Checkpoint).live
        return SimpleNamespace(seq=self.revision)


async def until(true: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.002)


def with_store(use: Callable[[Bucket, LiveStore, "asyncio.Task[None]"], Awaitable[None]]) -> None:
    async def main() -> None:
        bucket = Bucket()
        store = LiveStore(bucket, lambda _: None)  # type: ignore[arg-type]
        running = asyncio.create_task(store.run())
        await asyncio.sleep(0)
        await use(bucket, store, running)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_while_there_is_no_answer_everybody_hears_within_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the writes that were out already: nobody waits for another."""
    monkeypatch.setattr(live, "TIMEOUT_S", 0.1)

    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        bucket.open.clear()
        told: list[bool] = []
        writes_before: set[int] = set()

        def then(durable: bool) -> None:
            told.append(durable)
            writes_before.add(len(bucket.writes))

        for number in range(10 * live.TOGETHER_MAX):
            assert store.save(f"1.t.{number}", 1, b"", then)
        await until(lambda: len(told) == 10 * live.TOGETHER_MAX)
        assert writes_before == {live.TOGETHER_MAX}
        assert not any(told)
        assert store.save("1.t.new", 1, b"", told.append)
        assert told[-1] is False, "a new save hears at once"
        assert len(told) == 10 * live.TOGETHER_MAX + 1
        assert store.stalls == 1

    with_store(use)


@pytest.mark.parametrize("fault", OUTAGE, ids=lambda fault: type(fault).__name__)
def test_when_jetstream_answers_again_the_newest_of_each_charger_is_stored(fault: Exception) -> None:
    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        bucket.fault = fault
        told: list[bool] = []
        for number in range(300):
            store.save(f"1.t.{number}", 1, b"old", told.append)
        await until(lambda: len(told) == 300)
        for number in range(300):
            store.save(f"1.t.{number}", 1, b"new", told.append)
        assert told == [False] * 600
        assert store.waiting == 300
        writes = len(bucket.writes)
        await until(lambda: len(bucket.writes) > writes)
        assert len(bucket.writes) == writes + 1, "one goes out as a probe"
        bucket.fault = None
        await until(lambda: store.waiting == 0)
        assert bucket.live == {f"1.t.{number}": b"new" for number in range(300)}
        store.save("1.t.0", 1, b"last", told.append)
        await until(lambda: len(told) == 601)
        assert told[-1] is True
        assert told.count(True) == 1

    with_store(use)


@pytest.mark.parametrize("fault", [MaxPayloadError(), APIError(code=400, err_code=10_099), RuntimeError("a bug")], ids=repr)
def test_a_checkpoint_that_is_not_taken_costs_only_itself(fault: Exception) -> None:
    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        bucket.faults["1.t.bad"] = fault
        told: list[tuple[str, bool]] = []
        for key in ("1.t.a", "1.t.bad", "1.t.b"):
            store.save(key, 1, b"", lambda durable, key=key: told.append((key, durable)))  # type: ignore[misc]
        await until(lambda: len(told) == 3)
        assert told == [("1.t.a", True), ("1.t.bad", False), ("1.t.b", True)]
        assert (store.stalls, store.waiting) == (0, 0)
        assert not running.done()

    with_store(use)


def test_a_waiter_that_raises_costs_only_itself() -> None:
    def bad(_: bool) -> None:
        raise RuntimeError("a fault of the charger's")

    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        told: list[bool] = []
        store.save("1.t.a", 1, b"", bad)
        store.save("1.t.b", 1, b"", told.append)
        await until(lambda: told == [True])
        bucket.fault = NatsTimeout()
        store.save("1.t.b", 1, b"", told.append)
        await until(lambda: told == [True, False])
        assert store.save("1.t.a", 1, b"", bad)
        assert not running.done()

    with_store(use)


def test_at_the_end_everybody_hears_and_nothing_is_saved_any_more() -> None:
    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        bucket.open.clear()
        told: list[tuple[str, bool]] = []
        store.save("1.t.a", 1, b"a", lambda durable: told.append(("on its way", durable)))
        await until(lambda: len(bucket.writes) == 1)
        store.save("1.t.a", 1, b"newer", lambda durable: told.append(("behind it", durable)))
        store.save("1.t.b", 1, b"b", lambda durable: told.append(("waiting", durable)))
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert sorted(told) == [("behind it", False), ("on its way", False), ("waiting", False)]
        assert not store.save("1.t.c", 1, b"", lambda _: told.append(("refused", False)))
        assert store.refusals == 1

        bucket.open.set()
        again = asyncio.create_task(store.run())
        await until(lambda: bucket.live == {"1.t.a": b"newer", "1.t.b": b"b"})
        assert store.save("1.t.c", 1, b"", lambda durable: told.append(("after", durable)))
        await until(lambda: told[-1] == ("after", True))
        assert len(told) == 4
        again.cancel()

    with_store(use)


def test_a_newer_checkpoint_takes_the_place_of_one_that_waits_and_both_waiters_hear() -> None:
    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        told: list[bool] = []
        store.save("1.t.a", 1, b"one", told.append)
        store.save("1.t.a", 1, b"two", told.append)
        await until(lambda: told == [True, True])
        assert (bucket.live, bucket.writes) == ({"1.t.a": b"two"}, ["1.t.a"])

    with_store(use)


def test_what_waits_is_bounded_in_chargers_and_in_waiters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WAITING_MAX", 3)

    async def use(bucket: Bucket, store: LiveStore, running: "asyncio.Task[None]") -> None:
        told: list[bool] = []
        assert [store.save(f"1.t.{n}", 1, b"", told.append) for n in range(5)] == [True] * 3 + [False] * 2
        assert not store.save("1.t.0", 1, b"", told.append), "its waiter is one too many"
        assert store.refusals == 3
        await until(lambda: told == [True] * 3)
        bucket.fault = NatsTimeout()
        assert store.save("1.t.0", 1, b"", told.append)
        await until(lambda: told[-1] is False)
        assert [store.save(f"1.t.{n}", 1, b"", told.append) for n in range(5)] == [True] * 3 + [False] * 2
        assert store.save("1.t.2", 1, b"", told.append), "a newer one of a charger that waits needs no room"

    with_store(use)

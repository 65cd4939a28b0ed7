"""Leases of slots on a real nats-server: shared out, taken over from the dead, given back by who leaves, kept through an outage."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.kv import KeyValue

from cpms_actors.base.settings import Nats
from cpms_actors.bus import subjects
from cpms_actors.bus.client import connect
from cpms_actors.bus.live import open_bucket
from cpms_actors.bus.ownership import Terms, owner_of
from cpms_actors.bus.slots import Duties, Leases, Presence
from cpms_actors.bus.waves import Window

SLOTS = range(16)
TERMS = Terms(renew_s=0.1, suspend_s=0.4, lease_s=0.8, evict_s=1.5)


class Worker:
    """The duties of a worker, noted down."""

    def __init__(self, client: Client, bucket: KeyValue, name: str, instance: str = "", node: str = "", address: str = "") -> None:
        self.client = client
        self.said: list[tuple[str, tuple[int, ...]]] = []
        self.heard: set[int] = set()
        self.evicted = 0
        self.windows: dict[int, Window] = {}
        self.told: dict[int, float] = {}  # slot to when its window was told, and when it was lost, on the loop's clock
        self.ended: dict[int, float] = {}
        self.left: set[int] = set()  # slots that nobody is on any more
        self.moving: Callable[[], Awaitable[None]] | None = None  # what happens while it moves a slot, once
        duties = Duties(
            self._claiming,
            self._claimed,
            self._renewed,
            self._lost,
            self._settled,
            self._moved,
            self._evict,
            self._send_away,
            self._away,
            self._keep,
        )
        self.leases = Leases(client, bucket, Presence(name, instance or name, node, address), SLOTS, duties, TERMS)
        self._running: asyncio.Task[None] | None = None

    async def start(self, *, ready: bool = True) -> None:
        await self.leases.begin(ready=ready)
        self._running = asyncio.create_task(self.leases.run())

    async def stop(self) -> None:
        """In order."""
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def die(self) -> None:
        """Without a word."""
        await self.client.close()

    @property
    def slots(self) -> set[int]:
        return set(self.leases.serving)

    async def _claiming(self, slots: Iterable[int]) -> None:
        assert not self.slots & set(slots)
        self.heard |= set(slots)

    async def _claimed(self, epochs: Mapping[int, int]) -> None:
        assert not self.slots & set(epochs), "it is served only when this has returned"
        assert self.heard >= set(epochs)
        self.said.append(("claimed", tuple(sorted(epochs))))

    def _renewed(self, epochs: Mapping[int, int]) -> None:
        self.said.append(("renewed", tuple(sorted(epochs))))

    async def _lost(self, slots: Sequence[int]) -> None:
        self.said.append(("lost", tuple(sorted(slots))))
        self.ended |= dict.fromkeys(slots, asyncio.get_running_loop().time())

    async def _settled(self) -> None:
        self.said.append(("settled", ()))

    async def _moved(self, slot: int, epoch: int, heir: Presence) -> None:
        assert slot not in self.slots
        moving, self.moving = self.moving, None
        if moving is not None:
            await moving()
        self.said.append((f"moved to {heir.name}", (slot, epoch)))

    def _evict(self) -> None:
        self.evicted += 1

    def _send_away(self, windows: Mapping[int, Window]) -> None:
        assert set(windows) <= self.slots, "it is served while its chargers are sent away"
        assert not set(windows) & set(self.windows)
        self.windows |= windows
        self.told |= dict.fromkeys(windows, asyncio.get_running_loop().time())

    def _away(self, slot: int) -> bool:
        return slot in self.left

    def _keep(self) -> None:
        self.windows.clear()


Make = Callable[..., Awaitable[Worker]]


def with_workers(url: str, use: Callable[[Make], Awaitable[None]]) -> None:
    """Run `use` with a maker of workers, each on a connection of its own, on an empty bucket."""

    async def main() -> None:
        clients: list[Client] = []

        async def make(name: str, instance: str = "", **where: str) -> Worker:
            client = await connect(Nats(url=url, ping_interval_s=0.5), name)
            clients.append(client)
            return Worker(client, await open_bucket(client.jetstream(), subjects.SLOTS_BUCKET, 1), name, instance, **where)

        owner = await connect(Nats(url=url), "owner")
        clients.append(owner)
        await open_bucket(owner.jetstream(), subjects.SLOTS_BUCKET, 1)
        await owner.jetstream().purge_stream(f"KV_{subjects.SLOTS_BUCKET}")
        try:
            await use(make)
        finally:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                if "Leases.run" in repr(task):
                    task.cancel()
            for client in clients:
                await client.close()

    asyncio.run(main())


async def until(true: Callable[[], bool], deadline_s: float = 15) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():
            await asyncio.sleep(0.01)


def share(name: str, *names: str) -> set[int]:
    return {slot for slot in SLOTS if owner_of(slot, names) == name}


def test_a_worker_alone_has_every_slot_before_it_begins_to_serve(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a = await make("a")
        await a.leases.begin()
        assert a.slots == set(SLOTS)
        assert a.said == [("claimed", tuple(SLOTS))]
        assert len(set(a.leases.serving.values())) == len(SLOTS), "each epoch is a revision of its own"

    with_workers(nats_url, use)


def test_a_newcomer_gets_its_share_once_it_was_given_back(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a"), await make("b")
        await a.start()
        before = dict(a.leases.serving)
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        assert a.slots == share("a", "a", "b")
        assert all(b.leases.serving[slot] > before[slot] for slot in b.slots)
        assert a.said[1:] == [("lost", tuple(sorted(b.slots))), ("settled", ())]
        assert [b.leases.owner(slot) for slot in SLOTS] == [owner_of(slot, ("a", "b")) for slot in SLOTS]
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


def test_the_slots_of_a_dead_worker_are_claimed_when_its_lease_is_over_and_those_of_one_that_leaves_at_once(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b, c = await make("a"), await make("b"), await make("c")
        for worker in (a, b, c):
            await worker.start()
        await until(lambda: [w.slots for w in (a, b, c)] == [share(name, "a", "b", "c") for name in "abc"])
        loop = asyncio.get_running_loop()
        died = loop.time()
        await b.die()
        await until(lambda: [w.slots for w in (a, c)] == [share(name, "a", "c") for name in "ac"])
        assert loop.time() - died >= TERMS.suspend_s, "while it may still serve nobody takes its slots"
        await c.stop()
        assert c.slots == set()
        left = loop.time()
        await until(lambda: a.slots == set(SLOTS))
        assert loop.time() - left < TERMS.lease_s
        assert "c" not in a.leases.members, "who leaves takes its name away"
        await a.stop()

    with_workers(nats_url, use)


@pytest.mark.parametrize("step", ["_renew", "_step"])
def test_a_worker_ends_although_an_answer_of_the_broker_came_together_with_the_end(nats_url: str, step: str) -> None:
    """`wait_for` of Python 3.11, by which nats-py asks, returns such an answer, and the cancellation is lost."""

    async def use(make: Make) -> None:
        a = await make("a")
        await a.start()
        original, asked = getattr(a.leases, step), asyncio.Event()

        async def answered_at_the_end() -> None:
            if asked.is_set():
                await original()
                return
            asked.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        setattr(a.leases, step, answered_at_the_end)
        async with asyncio.timeout(5):
            await asked.wait()
        stopped, _ = await asyncio.wait([asyncio.create_task(a.stop())], timeout=5)
        assert stopped

    with_workers(nats_url, use)


def test_a_namesake_takes_over_at_once_and_the_older_one_serves_no_more(nats_url: str) -> None:
    async def use(make: Make) -> None:
        old, new = await make("a", "1"), await make("a", "2")
        await old.start()
        epochs = dict(old.leases.serving)
        await new.start()
        assert new.slots == set(SLOTS)
        assert all(new.leases.serving[slot] > epochs[slot] for slot in SLOTS)
        await until(lambda: not old.slots)
        assert old.leases.suspended, "it lets nobody in"
        epochs = dict(new.leases.serving)
        await asyncio.sleep(TERMS.lease_s)
        assert (old.slots, new.leases.serving) == (set(), epochs), "what is in its name is not its own to give back"
        await old.stop()
        assert new.slots == set(SLOTS)
        await new.stop()

    with_workers(nats_url, use)


def test_a_sibling_is_given_its_share_slot_by_slot_with_what_is_connected(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address="@a"), await make("b", node="n", address="@b")
        await a.start()
        before = dict(a.leases.serving)
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        assert sorted(a.said[1:]) == [("moved to b", (slot, before[slot])) for slot in sorted(b.slots)]
        assert {slot: b.leases.followed[slot] for slot in b.slots} == {slot: before[slot] for slot in b.slots}, "nobody was in between"
        assert a.leases.moves == len(b.slots)
        await b.stop()
        await until(lambda: a.slots == set(SLOTS))
        assert [said for said in b.said if said[0].startswith("moved")] != [], "who stops gives what it has to its sibling"
        await a.stop()

    with_workers(nats_url, use)


def test_a_sibling_that_leaves_while_it_is_given_its_share_is_given_no_more_of_it(nats_url: str) -> None:
    """Nobody there claims what it is given: until that was seen for each slot, what the sibling had given back was nobody's."""

    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address="a"), await make("b", node="n", address="b")
        await a.start()
        a.moving = b.stop
        await b.start()
        await until(lambda: a.moving is None)
        await until(lambda: a.slots == set(SLOTS))
        assert len([what for what, _ in a.said if what == "moved to b"]) == 1
        await a.stop()

    with_workers(nats_url, use)


def test_a_dead_sibling_s_slots_say_that_they_were_held_to_the_end(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address="@a"), await make("b", node="n", address="@b")
        await a.start()
        before = dict(a.leases.serving)
        await a.die()
        await b.start()
        await until(lambda: b.slots == set(SLOTS))
        assert b.leases.followed == before
        await b.stop()

    with_workers(nats_url, use)


@pytest.mark.parametrize(
    ("own", "node", "address"),
    [("@a", "elsewhere", "@b"), ("@a", "n", ""), ("", "n", "@b")],
    ids=["another node", "takes no connections", "can pass none"],
)
def test_without_a_way_for_connections_slots_go_without(nats_url: str, own: str, node: str, address: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address=own), await make("b", node=node, address=address)
        await a.start()
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        assert a.said[1:] == [("lost", tuple(sorted(b.slots))), ("settled", ())]
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


def test_who_is_not_ready_gets_nothing_before_it_joins_unless_it_is_alone(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a"), await make("b")
        await a.start(ready=False)
        assert a.slots == set(SLOTS), "nobody else is there"
        await b.start(ready=False)
        await until(lambda: "b" in a.leases.members)
        await asyncio.sleep(2 * TERMS.renew_s)
        assert (a.slots, b.slots) == (set(SLOTS), set())
        await b.leases.join()
        await until(lambda: b.slots == share("b", "a", "b"))
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


def test_a_successor_gets_what_its_predecessor_had_and_nobody_else_is_touched(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b, successor = [await make(name, node="n", address=f"@{name}") for name in ("a@n", "b@n", "a~2@n")]
        await a.start()
        await b.start()
        await until(lambda: b.slots == share("b@n", "a@n", "b@n"))
        had, others = a.slots, dict(b.leases.serving)
        await successor.start(ready=False)
        await successor.leases.join()
        await a.leases.leave()
        assert a.slots == set()
        await until(lambda: successor.slots == had)
        await a.stop()
        assert b.leases.serving == others
        assert {said for said, _ in a.said[-len(had) :]} == {"moved to a~2@n"}
        await b.stop()
        await successor.stop()

    with_workers(nats_url, use)


def test_who_leaves_and_is_alone_keeps_what_it_has(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a"), await make("b")
        await a.start()
        await b.start(ready=False)
        await until(lambda: "b" in a.leases.members)
        await a.leases.leave()
        assert a.slots == set(SLOTS), "one that is not ready serves nobody"
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


def test_a_drain_goes_in_waves_and_can_be_undone(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address="@a"), await make("b", node="m", address="@b")
        await a.start()
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        had, before = a.slots, len(a.said)
        await a.leases.leave(spread_s=4 * TERMS.renew_s / 2)
        assert a.slots == set()
        waves = [slots for said, slots in a.said[before:] if said == "lost"]
        assert set().union(*waves) == had
        assert len(waves) >= 4 or len(waves) == len(had)
        await until(lambda: b.slots == set(SLOTS))
        await a.leases.join()
        await until(lambda: a.slots == had)
        a.left = set(SLOTS)
        leaving = asyncio.create_task(a.leases.leave(spread_s=60.0))
        await until(lambda: a.slots != had)
        await a.leases.join()
        async with asyncio.timeout(10):
            await leaving  # what was undone need not be waited for
        assert a.windows == {}, "nobody is sent away any more"
        await until(lambda: a.slots == had)
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


def test_a_slot_is_given_back_when_its_time_is_up_or_when_nobody_is_left_on_it(nats_url: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address="@a"), await make("b", node="m", address="@b")
        await a.start()
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        had = sorted(a.slots)
        loop = asyncio.get_running_loop()
        a.left, began = {had[0]}, loop.time()
        await a.leases.leave(spread_s=1.6)
        took_s = {slot: a.ended[slot] - a.told[slot] for slot in had}
        assert all(took_s[slot] >= a.windows[slot].ends for slot in had[1:]), "somebody might be left there"
        assert took_s[had[0]] < a.windows[had[0]].ends
        assert list(took_s.values()) == sorted(took_s.values())
        assert max(took_s.values()) >= 1.5
        assert loop.time() - began < 1.6 + 1
        await until(lambda: b.slots == set(SLOTS))
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


@pytest.mark.parametrize("how", ["no spread", "stopped meanwhile"])
def test_a_drain_without_a_spread_is_over_at_once_and_so_is_one_that_a_stop_overtakes(nats_url: str, how: str) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a", node="n", address="@a"), await make("b", node="m", address="@b")
        await a.start()
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        before = len(a.said)
        if how == "no spread":
            await a.leases.leave()
            assert [said for said, _ in a.said[before:]] == ["lost", "settled"]
            assert a.windows == {}
        else:
            leaving = asyncio.create_task(a.leases.leave(spread_s=60.0))
            await until(lambda: bool(a.windows))
            await a.leases.leave()
            await leaving
        await until(lambda: b.slots == set(SLOTS))
        await a.stop()
        await b.stop()

    with_workers(nats_url, use)


def test_alone_it_keeps_its_slots_and_its_chargers_through_an_outage_but_lets_nobody_in(nats_server: Any) -> None:
    async def use(make: Make) -> None:
        a = await make("a")
        await a.start()
        epochs = dict(a.leases.serving)
        nats_server.stop()
        await until(lambda: a.leases.suspended)
        await asyncio.sleep(TERMS.evict_s)
        nats_server.start()  # in this thread: the server dies with the thread that starts it
        await until(lambda: not a.leases.suspended)
        await until(lambda: a.slots == set(SLOTS))
        assert all(a.leases.serving[slot] > epochs[slot] for slot in SLOTS), "it might have missed that another had them"
        assert (a.evicted, a.said) == (0, [("claimed", tuple(SLOTS)), ("renewed", tuple(SLOTS))])
        await a.stop()

    with_workers(nats_server.url, use)


def test_with_others_its_chargers_are_sent_away_when_the_outage_lasts(nats_server: Any) -> None:
    async def use(make: Make) -> None:
        a, b = await make("a"), await make("b")
        await a.start()
        await b.start()
        await until(lambda: b.slots == share("b", "a", "b"))
        nats_server.stop()
        await until(lambda: a.evicted > 0 and b.evicted > 0)
        nats_server.start()
        await until(lambda: not a.leases.suspended and not b.leases.suspended)
        await until(lambda: (a.slots, b.slots) == (share("a", "a", "b"), share("b", "a", "b")))
        await a.stop()
        await b.stop()

    with_workers(nats_server.url, use)

"""Relayed connections on their way from one worker to another: neither the charger nor the owner's node sees anything of it."""

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from websockets.asyncio.client import connect

from cpms_actors.gateway import relay
from cpms_actors.gateway.listening import endpoint, listen
from cpms_actors.gateway.passage import Passage, _name
from cpms_actors.gateway.relay import Relay
from cpms_actors.observe.counters import Counters
from tests.gateway.conftest import Worker, echoed, is_taken, named, sockets, started, until

KERNEL_BYTES = 16_384  # every socket holds so much, or twice that: what is under way waits in the worker
ON_THE_WAY_BYTES = 262_144  # who has said so much that was not heard yet waits: more than the sockets hold
SEGMENT_BYTES = 1_400  # with those of the loopback, larger than such a socket, the kernel would wait for a timer again and again
MOVES = 12


class Post:
    """What of a worker carries and passes on. Its time stands still unless a test has it pass, so no machine is too slow."""

    def __init__(self, folder: Path, name: str) -> None:
        self.counters = Counters()
        self.address = named(folder, name)
        self.now = 0.0
        self.relay = Relay(self.counters, clock=lambda: self.now)
        self.passage = Passage(self.address, _nothing_new, _nothing_open, self.relay.take_over, self.counters)
        self.passage.start()

    def count(self, name: str) -> int:
        return self.counters.snapshot()[f"gateway.{name}"]

    async def leave(self, *heirs: "Post | str") -> None:
        await self.relay.leave([heir if isinstance(heir, str) else heir.address for heir in heirs], self.passage.send_pair)

    def waiting(self) -> list[int]:
        """How many bytes wait here for each end that is connected."""
        ends = [end for pair in self.relay._pairs.values() for end in (pair.near, pair.far)]
        return [end._transport.get_write_buffer_size() for end in ends if end._transport is not None]

    async def narrow(self) -> None:
        """Have the kernel take little for those that are carried here."""
        await until(lambda: len(self.waiting()) == 2 * len(self.relay._pairs))
        for pair in self.relay._pairs.values():
            for end in (pair.near, pair.far):
                with socket.socket(fileno=os.dup(end.descriptor())) as same:
                    _narrow(same)

    async def stop(self) -> None:
        self.passage.stop()
        await self.relay.stop()


def _narrow(narrowed: socket.socket) -> None:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        narrowed.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)
    narrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)


def _nothing_new(taken: socket.socket) -> None:
    raise AssertionError("nobody passes a new connection here")


def _nothing_open(known: bytes, taken: socket.socket) -> None:
    raise AssertionError("nobody passes an open connection here")


class Street:
    """Workers one after the other, and connections that the first carries."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port = socket.create_server(("127.0.0.1", 0))
        for listening in (self._listening, self._port):
            _narrow(listening)  # and whatever it accepts
        self._peers: list[socket.socket] = [self._listening, self._port]
        self.posts: list[Post] = []

    def post(self) -> Post:
        self.posts.append(Post(self._folder, f"post{len(self.posts)}"))
        return self.posts[-1]

    async def carried(self, post: Post) -> tuple[socket.socket, socket.socket]:
        """The charger's and the owner's end of a connection that a worker carries; they do not block."""
        loop = asyncio.get_running_loop()
        charger = socket.socket()
        _narrow(charger)
        charger.connect(self._listening.getsockname())
        accepted, _ = self._listening.accept()
        for each in (charger, accepted, self._port):
            each.setblocking(False)
        assert post.relay.carry(accepted, endpoint(self._port.getsockname()))
        owner, _ = await loop.sock_accept(self._port)
        self._peers += (charger, owner)
        return charger, owner

    async def close(self) -> None:
        for post in self.posts:
            await post.stop()
        for peer in self._peers:
            peer.close()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def street(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Street], Awaitable[None]]], None]:
    """Runs a test with a street. Nothing may be left of it: no task, no descriptor, no name, no connection."""

    def run(use: Callable[[Street], Awaitable[None]]) -> None:
        async def main() -> None:
            before = sockets()
            street = Street(tmp_path)
            try:
                async with asyncio.timeout(20):
                    await use(street)
            finally:
                await street.close()
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
            assert [post.count("relayed") for post in street.posts] == [0] * len(street.posts)
            assert [post.count("relay_failed") for post in street.posts] == [0] * len(street.posts)
            assert not is_taken(tmp_path)
            await until(lambda: sockets() <= before)

        request.param(main())

    return run


async def say(peer: socket.socket, text: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(peer, text)


async def heard(peer: socket.socket, count: int) -> bytes:
    """So many bytes, or what was said until the end."""
    said = b""
    while len(said) < count and (part := await asyncio.get_running_loop().sock_recv(peer, count - len(said))):
        said += part
    return said


async def talk(one: socket.socket, other: socket.socket) -> None:
    for here, there in ((one, other), (other, one)):
        await say(here, b"hello")
        assert await heard(there, 5) == b"hello"


async def ended(peer: socket.socket) -> bool:
    try:
        return await asyncio.wait_for(heard(peer, 1), 5) == b""
    except ConnectionResetError:
        return True


class Speech:
    """What one side says to the other, on and on, and what that one hears, by fits and starts."""

    def __init__(self, speaker: socket.socket, hearer: socket.socket, chance: random.Random) -> None:
        self.said, self.heard = bytearray(), bytearray()
        self._speaker, self._hearer, self._chance = speaker, hearer, chance
        self._complete = False
        self._room = asyncio.Event()

    async def speak(self, over: asyncio.Event) -> None:
        """The last word comes after it is `over`: whoever hears waits for it, and for nothing else."""
        while not self._complete:
            while len(self.said) - len(self.heard) >= ON_THE_WAY_BYTES:
                self._room.clear()
                await self._room.wait()
            self._complete = over.is_set()
            words = self._chance.randbytes(self._chance.randrange(1, 50_000))
            self.said += words
            await say(self._speaker, words)

    async def hear(self, listening: asyncio.Event) -> None:
        while not (self._complete and len(self.heard) >= len(self.said)):
            await listening.wait()
            part = await asyncio.get_running_loop().sock_recv(self._hearer, self._chance.randrange(1, 50_000))
            assert part, "nobody has ended it"
            self.heard += part
            self._room.set()
            await asyncio.sleep(self._chance.choice((0, 0, 0.001)))


def test_nothing_is_lost_doubled_or_reordered_however_often_it_moves_under_traffic(street: Callable[..., None]) -> None:
    """Each move begins when something waits in the worker for every end, and both sides talk on until the last."""

    async def use(street: Street) -> None:
        post = first = street.post()
        pairs = [await street.carried(first) for _ in range(3)]
        await first.narrow()
        chance = random.Random(7)
        speeches = [Speech(*ends, chance) for pair in pairs for ends in (pair, pair[::-1])]
        listening, over = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for speech in speeches:
                group.create_task(speech.speak(over))
                group.create_task(speech.hear(listening))
            for _ in range(MOVES):
                heir = street.post()
                listening.clear()
                await until(lambda there=post: len(there.waiting()) == len(speeches) and all(there.waiting()))  # type: ignore[misc]
                listening.set()
                await post.leave(heir)  # it looks before the loop's next round: nothing that waits can leave until then
                await until(lambda there=heir: there.count("relays_moved_in") == len(pairs))  # type: ignore[misc]
                post = heir
            over.set()
        assert all(speech.heard == speech.said for speech in speeches)
        await until(lambda: [post.count("relayed") for post in street.posts] == [0] * MOVES + [len(pairs)])
        for pair in pairs:
            await talk(*pair)

    street(use)


@pytest.mark.parametrize("first", ["charger", "owner"])
def test_who_has_said_all_before_it_moves_still_hears_the_other_side_to_its_end(street: Callable[..., None], first: str) -> None:
    async def use(street: Street) -> None:
        here, there = street.post(), street.post()
        charger, owner = await street.carried(here)
        done, other = (charger, owner) if first == "charger" else (owner, charger)
        await talk(charger, owner)
        done.shutdown(socket.SHUT_WR)
        assert await heard(other, 1) == b""
        await here.leave(there)
        await here.stop()
        await say(other, b"x" * 100_000)
        other.shutdown(socket.SHUT_WR)
        assert await heard(done, 200_000) == b"x" * 100_000
        await until(lambda: there.count("relayed") == 0)

    street(use)


def test_an_end_that_comes_while_it_moves_arrives_there_after_what_was_said_before_it(street: Callable[..., None]) -> None:
    async def use(street: Street) -> None:
        here, there = street.post(), street.post()
        pairs = [await street.carried(here) for _ in range(20)]
        for charger, owner in pairs:
            await talk(charger, owner)
        leaving = asyncio.create_task(here.leave(there))
        for number, (charger, owner) in enumerate(pairs):
            charger.send(b"the last word")
            charger.shutdown(socket.SHUT_WR)
            owner.send(b"and the answer")
            if number % 2:
                owner.shutdown(socket.SHUT_WR)
            if number % 5 == 0:
                await asyncio.sleep(0)
        await leaving
        for charger, owner in pairs:
            assert await heard(owner, 100) == b"the last word"
            assert await heard(charger, 14) == b"and the answer"
            owner.close()
            assert await heard(charger, 1) == b""
        await until(lambda: there.count("relayed") == 0)

    street(use)


def test_one_that_is_just_being_connected_goes_too_once_it_is_there(street: Callable[..., None]) -> None:
    async def use(street: Street) -> None:
        here, there = street.post(), street.post()
        carried = asyncio.create_task(street.carried(here))
        await asyncio.sleep(0)
        await here.leave(there)
        charger, owner = await carried
        await until(lambda: there.count("relays_moved_in") == 1)
        await talk(charger, owner)

    street(use)


def test_without_an_heir_that_takes_it_a_connection_is_cut(street: Callable[..., None]) -> None:
    async def use(street: Street) -> None:
        for heirs in ((), (street.post().address + "-gone",)):
            here = street.post()
            charger, owner = await street.carried(here)
            await talk(charger, owner)
            leaving = asyncio.create_task(here.leave(*heirs))
            await asyncio.sleep(0)
            assert leaving.done() or heirs, "without any there is nothing to wait for"
            here.now = relay.MOVE_S
            await leaving
            await here.stop()
            assert here.count("relays_cut") == 1
            assert await ended(charger)
            assert await ended(owner)

    street(use)


def test_what_does_not_come_to_rest_in_time_is_cut_and_the_others_go(street: Callable[..., None]) -> None:
    async def use(street: Street) -> None:
        here, there = street.post(), street.post()
        stuck, quiet = await street.carried(here), await street.carried(here)
        await here.narrow()
        for pair in (stuck, quiet):
            await talk(*pair)
        saying = asyncio.create_task(say(stuck[0], bytes(2_000_000)))  # and the other side reads nothing
        await until(lambda: sum(here.waiting()) > relay.BUFFER_BYTES // 2)
        leaving = asyncio.create_task(here.leave(there))
        await until(lambda: there.count("relays_moved_in") == 1)
        here.now = relay.MOVE_S - 0.001
        for _ in range(3):
            await asyncio.sleep(2 * relay.MOVE_LOOK_S)
        assert not leaving.done()
        here.now = relay.MOVE_S
        await leaving
        await here.stop()
        assert (here.count("relays_moved_on"), here.count("relays_cut")) == (1, 1)
        with pytest.raises(ConnectionError):
            await saying
        await talk(*quiet)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "BUFFER_BYTES", 16 * KERNEL_BYTES)  # half of it is more than the sockets on the way can still take
        street(use)


@pytest.mark.parametrize("how", ["carried", "taken over"])
def test_what_has_only_just_come_when_it_stops_is_closed_and_nothing_is_taken_later(street: Callable[..., None], how: str) -> None:
    async def use(street: Street) -> None:
        here = street.post()
        (near, _), (far, _), *later = ends = [socket.socketpair() for _ in range(5)]
        carried_later: list[bool] = []

        def come_late() -> None:
            carried_later.append(here.relay.carry(later[0][0], "127.0.0.1:9"))
            here.relay.take_over(later[1][0], later[2][0])

        asyncio.get_running_loop().call_soon(come_late)
        if how == "taken over":
            here.relay.take_over(near, far)
        else:
            assert here.relay.carry(near, "127.0.0.1:9")
            far.close()
        await here.relay.stop()
        assert carried_later == [False], "it would be left behind"
        later[0][0].close()
        assert all(ours.fileno() == -1 for ours, _ in ends)
        for _, theirs in ends:
            assert theirs.recv(1) == b""
            theirs.close()

    street(use)


def test_an_heir_that_dies_before_it_has_taken_them_costs_a_reconnection(street: Callable[..., None], tmp_path: Path) -> None:
    async def use(street: Street) -> None:
        here = street.post()
        charger, owner = await street.carried(here)
        await talk(charger, owner)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dying:
            dying.bind(_name(named(tmp_path, "dying")))
            dying.listen()
            await here.leave(named(tmp_path, "dying"))
            await here.stop()
            assert (here.count("relays_moved_on"), here.count("relays_cut")) == (1, 0)
            await say(charger, b"nobody reads this")
        assert await ended(charger)
        assert await ended(owner)

    street(use)


def test_the_heir_s_bound_holds_and_two_heirs_share(street: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(street: Street) -> None:
        here, one, two = street.post(), street.post(), street.post()
        pairs = [await street.carried(here) for _ in range(8)]
        for pair in pairs:
            await talk(*pair)
        monkeypatch.setattr(relay, "RELAYED_MAX", 3)
        await here.leave(one, two)
        await until(lambda: [post.count("relays_moved_in") + post.count("relayed.refused") for post in (one, two)] == [4, 4])
        assert [post.count("relayed") for post in (one, two)] == [3, 3]
        alive = 0
        for pair in pairs:
            try:
                await asyncio.wait_for(talk(*pair), 5)
                alive += 1
            except (AssertionError, ConnectionError):
                assert await ended(pair[0])
        assert alive == 6

    street(use)


def test_who_leaves_takes_nothing_over(street: Callable[..., None]) -> None:
    async def use(street: Street) -> None:
        here, there = street.post(), street.post()
        charger, owner = await street.carried(here)
        await talk(charger, owner)
        await there.leave()
        await here.leave(there)
        assert await ended(charger)
        assert await ended(owner)
        assert there.count("relays_moved_in") == 0

    street(use)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_an_engine_that_stops_gives_what_it_carries_to_the_next_one(run: Callable[..., None], tmp_path: Path) -> None:
    """Accepted by A for B, which is another node; C is A's successor."""

    async def main() -> None:
        a, b, c = Worker(tmp_path, "A"), Worker(tmp_path, "B"), Worker(tmp_path, "C")
        b.inner = listen("127.0.0.1", 0)
        await b.engine.start()
        async with started(a) as port, started(c):
            a.others, a.successors = {"B": endpoint(b.inner.getsockname())}, [c.address]
            charger = await connect(f"ws://127.0.0.1:{port}/ocpp/B1", subprotocols=["ocpp1.6"], proxy=None)  # type: ignore[list-item]
            await echoed(charger)
            await a.engine.stop()
            await echoed(charger)
            assert (a.count("gateway.relays_moved_on"), c.count("gateway.relays_moved_in"), c.count("gateway.relayed")) == (1, 1, 1)
            await charger.close()
            assert charger.close_code == 1000
            await until(lambda: c.count("gateway.relayed") == 0)
        await b.engine.stop()
        b.inner.close()

    run(main())

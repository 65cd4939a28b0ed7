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
from cpms_actors.gateway.passage import Passage
from cpms_actors.gateway.relay import Relay
from cpms_actors.observe.counters import Counters
from tests.gateway.conftest import Worker, echoed, sockets, started, until

SIDE_BYTES = 3_000_000  # each side says so much
KERNEL_BYTES = 16_384  # the sockets of both sides hold so much: what is under way waits in the worker


class Post:
    """What of a worker carries and passes on."""

    def __init__(self, folder: Path, name: str) -> None:
        self.counters = Counters()
        self.address = str(folder / name)
        self.relay = Relay(self.counters)
        self.passage = Passage(self.address, _nothing_new, _nothing_open, self.relay.take_over, self.counters)
        self.passage.start()

    def count(self, name: str) -> int:
        return self.counters.snapshot()[f"gateway.{name}"]

    async def leave(self, *heirs: "Post | str") -> None:
        await self.relay.leave([heir if isinstance(heir, str) else heir.address for heir in heirs], self.passage.send_pair)

    async def stop(self) -> None:
        self.passage.stop()
        await self.relay.stop()


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
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listening.setsockopt(socket.SOL_SOCKET, option, KERNEL_BYTES)
        self._peers: list[socket.socket] = [self._listening, self._port]
        self.posts: list[Post] = []

    def post(self) -> Post:
        self.posts.append(Post(self._folder, f"post{len(self.posts)}"))
        return self.posts[-1]

    async def carried(self, post: Post) -> tuple[socket.socket, socket.socket]:
        """The charger's and the owner's end of a connection that a worker carries; they do not block."""
        loop = asyncio.get_running_loop()
        charger = socket.create_connection(self._listening.getsockname())
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
    """Runs a test with a street. Nothing may be left of it: no task, no descriptor, no file, no connection."""

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
            assert os.listdir(tmp_path) == []
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


def test_nothing_is_lost_doubled_or_reordered_however_often_it_moves_under_traffic(street: Callable[..., None]) -> None:
    """Both sides say more than the buffers on the way hold and read by fits and starts: what is under way goes along."""

    async def use(street: Street) -> None:
        first = street.post()
        pairs = [await street.carried(first) for _ in range(3)]
        chance = random.Random(7)
        loop = asyncio.get_running_loop()
        over = 0

        async def read(peer: socket.socket) -> bytes:
            nonlocal over
            said = b""
            while len(said) < SIDE_BYTES:
                part = await loop.sock_recv(peer, chance.randrange(1, 100_000))
                assert part, "nobody has ended it"
                said += part
                await asyncio.sleep(chance.choice((0, 0, 0.004)))
            over += 1
            return said

        async def drive() -> Post:
            post = first
            while over < 2 * len(pairs):
                await asyncio.sleep(0.02)
                heir = street.post()
                await post.leave(heir)
                await until(lambda there=heir: there.count("relays_moved_in") == len(pairs))  # type: ignore[misc]
                post = heir
            return post

        async with asyncio.TaskGroup() as group:
            reading = []
            for pair in pairs:
                for here, there in (pair, pair[::-1]):
                    said = chance.randbytes(SIDE_BYTES)
                    group.create_task(say(here, said))
                    reading.append((said, group.create_task(read(there))))
            driving = group.create_task(drive())
        assert all(task.result() == said for said, task in reading)
        assert len(street.posts) > 3
        await until(lambda: [post.count("relayed") for post in street.posts[:-1]] == [0] * (len(street.posts) - 1))
        assert driving.result().count("relayed") == len(pairs)
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
            await here.leave(*heirs)
            await here.stop()
            assert here.count("relays_cut") == 1
            assert await ended(charger)
            assert await ended(owner)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "MOVE_S", 0.05)
        street(use)


def test_what_does_not_come_to_rest_in_time_is_cut_and_the_others_go(street: Callable[..., None]) -> None:
    async def use(street: Street) -> None:
        here, there = street.post(), street.post()
        stuck, quiet = await street.carried(here), await street.carried(here)
        await talk(*stuck)
        saying = asyncio.create_task(say(stuck[0], bytes(20_000_000)))  # and the other side reads nothing
        await asyncio.sleep(0.05)
        await here.leave(there)
        await here.stop()
        assert (here.count("relays_moved_on"), here.count("relays_cut")) == (1, 1)
        with pytest.raises(ConnectionError):
            await saying
        await until(lambda: there.count("relays_moved_in") == 1)
        await talk(*quiet)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "MOVE_S", 0.1)
        street(use)


def test_an_heir_that_dies_before_it_has_taken_them_costs_a_reconnection(street: Callable[..., None], tmp_path: Path) -> None:
    async def use(street: Street) -> None:
        here = street.post()
        charger, owner = await street.carried(here)
        await talk(charger, owner)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dying:
            dying.bind(str(tmp_path / "dying"))
            dying.listen()
            await here.leave(str(tmp_path / "dying"))
            await here.stop()
            assert (here.count("relays_moved_on"), here.count("relays_cut")) == (1, 0)
            await say(charger, b"nobody reads this")
        (tmp_path / "dying").unlink()
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

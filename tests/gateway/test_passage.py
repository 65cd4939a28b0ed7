"""Sockets on their way from one worker to another, both in one loop."""

import array
import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from subprocess import PIPE

import pytest
import uvloop

from cpms_actors.gateway.passage import PACKET_BYTES_MAX, SIBLINGS_MAX, Passage, _name
from cpms_actors.observe.counters import Counters
from tests.gateway.conftest import is_taken, named


class Worker:
    """A passage and what came through it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.counters = Counters()
        self.address = named(folder, name)
        self.taken: list[socket.socket] = []
        self.moved: list[tuple[bytes, socket.socket]] = []
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.passage = Passage(self.address, self.taken.append, self._open, self._pair, self.counters)

    def _open(self, known: bytes, passed: socket.socket) -> None:
        self.moved.append((known, passed))

    def _pair(self, near: socket.socket, far: socket.socket) -> None:
        self.pairs.append((near, far))

    def count(self, name: str) -> int:
        return self.counters.snapshot()[name]

    def stop(self) -> None:
        self.passage.stop()
        for taken in (*self.taken, *(passed for _, passed in self.moved), *chain(*self.pairs)):
            taken.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection: the client's and the accepted one."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        with accepted:
            yield client, accepted


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[Worker, Worker], Awaitable[None]]], None]:
    """Runs a test with two workers, of which the second is started. It must leave no descriptor."""

    def run(use: Callable[[Worker, Worker], Awaitable[None]]) -> None:
        async def main() -> None:
            ours, theirs = Worker(tmp_path, "ours"), Worker(tmp_path, "theirs")
            theirs.passage.start()
            try:
                await use(ours, theirs)
            finally:
                ours.stop()
                theirs.stop()
            assert not is_taken(tmp_path)

        request.param(asyncio.sleep(0))  # what the loop's library opens once and keeps is there
        before = len(os.listdir("/proc/self/fd"))
        request.param(main())
        assert len(os.listdir("/proc/self/fd")) == before

    return run


def test_a_socket_is_passed_with_what_it_holds(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        for number in (1, 2):
            with connection() as (client, accepted):
                client.sendall(b"hello")
                assert ours.passage.send(theirs.address, accepted.fileno())
                accepted.close()
                await until(lambda wanted=number: len(theirs.taken) == wanted)
                passed = theirs.taken[-1]
                assert passed.recv(5) == b"hello"
                assert passed.getpeername() == client.getsockname()
                assert not passed.getblocking()
                assert not passed.get_inheritable()
        assert theirs.count("gateway.siblings.peak") == 1, "the connection is kept"

    pair(use)


def test_an_open_connection_is_passed_with_what_is_known_of_it(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        with connection() as (client, accepted):
            known = b"k" * (PACKET_BYTES_MAX - 1)
            assert ours.passage.send(theirs.address, accepted.fileno(), known)
            await until(lambda: len(theirs.moved) == 1)
            assert theirs.moved[0][0] == known
            assert theirs.moved[0][1].getpeername() == client.getsockname()
            assert not ours.passage.send(theirs.address, accepted.fileno(), known + b"k")
            assert theirs.taken == []

    pair(use)


def test_a_pair_is_passed_in_order(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        with connection() as (_, accepted), connection() as (_, far):
            assert ours.passage.send_pair(theirs.address, accepted.fileno(), far.fileno())
            await until(lambda: len(theirs.pairs) == 1)
            assert [passed.getpeername() for passed in theirs.pairs[0]] == [accepted.getpeername(), far.getpeername()]
            assert not any(passed.getblocking() or passed.get_inheritable() for passed in theirs.pairs[0])

    pair(use)


def test_who_is_of_another_user_is_sent_away_and_counted(pair: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger, connection() as (_, accepted):
            monkeypatch.setattr(os, "geteuid", lambda: 4711)  # not the user of this process, as the kernel tells it
            stranger.connect(_name(theirs.address))
            await until(lambda: theirs.count("gateway.pass_strangers") == 1)
            assert stranger.recv(1) == b""
            assert not ours.passage.send(theirs.address, accepted.fileno()), "to whoever has taken a sibling's name we pass nothing"
            await until(lambda: theirs.count("gateway.pass_strangers") == 2)
            monkeypatch.undo()
            assert ours.passage.send(theirs.address, accepted.fileno())
            await until(lambda: len(theirs.taken) == 1)
        assert theirs.count("gateway.pass_strangers") == 2

    pair(use)


def test_a_sibling_that_is_not_there_is_told_at_once(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        with connection() as (_, accepted):
            assert not ours.passage.send(ours.address, accepted.fileno())
            assert not ours.passage.send("@" + "x" * 200, accepted.fileno())
            assert ours.passage.send(theirs.address, accepted.fileno())
            theirs.stop()
            assert not ours.passage.send(theirs.address, accepted.fileno())

    pair(use)


def test_a_sibling_that_came_back_is_found_again(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        with connection() as (_, accepted):
            assert ours.passage.send(theirs.address, accepted.fileno())
            await until(lambda: len(theirs.taken) == 1)
            theirs.passage.stop()
            theirs.passage.start()
            assert ours.passage.send(theirs.address, accepted.fileno())
            await until(lambda: len(theirs.taken) == 2)

    pair(use)


def test_a_sibling_that_does_not_take_them_is_given_up_without_waiting_and_gets_them_later(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        with connection() as (_, accepted):
            sent = 0
            while ours.passage.send(theirs.address, accepted.fileno()):  # the loop does not run meanwhile: nothing is taken
                sent += 1
                assert sent < 5000, "there is no bound"
            assert sent > 10
            await until(lambda: len(theirs.taken) == sent)
            assert ours.passage.send(theirs.address, accepted.fileno())

    pair(use)


def test_the_name_of_a_worker_that_was_killed_is_free(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        bind = f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind({_name(ours.address)!r}); s.listen()"
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"{bind}; print(flush=True); input()", stdin=PIPE, stdout=PIPE
        )
        assert killed.stdout is not None
        await killed.stdout.readline()
        with pytest.raises(OSError, match="in use"):
            ours.passage.start()
        killed.kill()
        await killed.communicate()
        ours.passage.start()
        with connection() as (_, accepted):
            assert theirs.passage.send(ours.address, accepted.fileno())
            await until(lambda: len(ours.taken) == 1)

    pair(use)


def test_an_address_that_cannot_be_bound_is_an_error() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="too long"):
        Passage("@" + "x" * 120, lambda taken: None, lambda known, taken: None, lambda near, far: None, Counters()).start()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("packet", ["version", "none", "two", "long", "udp", "pipe", "half", "three", "mixed"])
def test_what_is_not_understood_is_closed_and_counted(pair: Callable[..., None], packet: str) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        ends = os.pipe()
        with (
            connection() as (_, accepted),
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            stranger.connect(_name(theirs.address))
            sent = {
                "version": (b"4", [accepted.fileno()]),
                "none": (b"1", []),
                "two": (b"1", [accepted.fileno(), accepted.fileno()]),
                "long": (b"1" + b" " * 40, [accepted.fileno()]),
                "udp": (b"1", [udp.fileno()]),
                "pipe": (b"1", [ends[0]]),
                "half": (b"3", [accepted.fileno()]),
                "three": (b"3", [accepted.fileno()] * 3),
                "mixed": (b"3", [accepted.fileno(), ends[0]]),
            }[packet]
            stranger.sendmsg([sent[0]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent[1]))] if sent[1] else [])
            await until(lambda: theirs.count("gateway.pass_unknown") == 1)
            assert theirs.taken == []
            socket.send_fds(stranger, [b"1"], [accepted.fileno()])
            await until(lambda: len(theirs.taken) == 1)
            stranger.shutdown(socket.SHUT_RDWR)
            await until(lambda: theirs.count("gateway.siblings") == 0)
            for end in ends:
                os.close(end)

    pair(use)


def test_the_connections_of_siblings_are_bounded(pair: Callable[..., None]) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        siblings = []
        for number in range(SIBLINGS_MAX + 1):
            sibling = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sibling.connect(_name(theirs.address))
            siblings.append(sibling)
            refused = int(number == SIBLINGS_MAX)
            await until(lambda wanted=(number + 1 - refused, refused): (
                theirs.count("gateway.siblings"), theirs.count("gateway.siblings.refused")) == wanted)  # fmt: skip
        assert siblings[-1].recv(1) == b""
        for sibling in siblings:
            sibling.close()
        await until(lambda: theirs.count("gateway.siblings") == 0)

    pair(use)


def test_the_connections_to_siblings_are_bounded(pair: Callable[..., None], tmp_path: Path) -> None:
    async def use(ours: Worker, theirs: Worker) -> None:
        workers = [Worker(tmp_path, f"worker{number}") for number in range(SIBLINGS_MAX + 1)]
        with connection() as (_, accepted):
            for worker in workers:
                worker.passage.start()
                assert ours.passage.send(worker.address, accepted.fileno())
            await until(lambda: all(worker.taken for worker in workers))
        await until(lambda: [worker.count("gateway.siblings") for worker in workers] == [0] + [1] * SIBLINGS_MAX)
        for worker in workers:
            worker.stop()

    pair(use)

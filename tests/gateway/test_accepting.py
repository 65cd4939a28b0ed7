"""The accept loop when accepting fails."""

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest
import uvloop

from cpms_actors.gateway.accepting import BATCH, PAUSE_S, Acceptor, reset
from cpms_actors.gateway.gates import TICK_S, TICKS_MOST
from cpms_actors.observe.counters import Counter


class Failing(socket.socket):
    """A listening socket whose next calls of accept fail as told."""

    def __init__(self, *failures: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.failures = list(failures)
        self.calls = 0
        self.bind(("127.0.0.1", 0))
        self.listen(BATCH * 4)
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "as told")
        return super().accept()


def accepting(failures: list[int], dialled: int) -> tuple[Failing, list[socket.socket], Counter, float]:
    """The listening socket, what was accepted, the pauses and the time it took, when so many clients dial."""
    paused, accepted = Counter(), []

    async def main() -> tuple[Failing, float]:
        listening, done = Failing(*failures), asyncio.Event()
        loop = asyncio.get_running_loop()

        def take(connection: socket.socket) -> None:
            accepted.append(connection)
            if len(accepted) == dialled:
                done.set()

        acceptor = Acceptor(listening, take, paused)
        clients = [socket.create_connection(listening.getsockname()) for _ in range(dialled)]
        began = loop.time()
        acceptor.start()
        await asyncio.wait_for(done.wait(), 5)
        took_s = loop.time() - began
        acceptor.stop()
        acceptor.stop()
        assert listening.fileno() == -1
        for connection in (*clients, *accepted):
            connection.close()
        return listening, took_s

    return *(found := uvloop.run(main()))[:1], accepted, paused, found[1]


@pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EINVAL])
def test_it_pauses_without_spinning_when_there_is_no_descriptor(failure: int) -> None:
    listening, accepted, paused, took_s = accepting([failure, failure], 3)
    assert len(accepted) == 3
    assert paused.value == 2
    assert took_s >= 1.5 * PAUSE_S
    assert listening.calls <= 2 + 3 + 3, "it tried while it paused"


def test_a_connection_that_died_in_the_queue_costs_nothing() -> None:
    _, accepted, paused, took_s = accepting([errno.ECONNABORTED, errno.EPROTO], 1)
    assert (len(accepted), paused.value) == (1, 0)
    assert took_s < PAUSE_S


def test_a_storm_is_accepted_in_batches() -> None:
    listening, accepted, _, _ = accepting([], BATCH * 2 + 1)
    assert len(accepted) == BATCH * 2 + 1 <= listening.calls


def test_a_round_of_the_loop_accepts_no_more_than_a_batch() -> None:
    async def main() -> list[int]:
        listening, accepted = Failing(), []
        acceptor = Acceptor(listening, accepted.append, Counter())
        clients = [socket.create_connection(listening.getsockname()) for _ in range(BATCH + 1)]
        acceptor.start()
        seen: list[int] = []
        async with asyncio.timeout(5):
            while len(accepted) < BATCH + 1:
                await asyncio.sleep(0)
                if len(accepted) not in seen:
                    seen.append(len(accepted))
        acceptor.stop()
        for connection in (*clients, *accepted):
            connection.close()
        return [count for count in seen if count]

    assert asyncio.run(main()) == [BATCH, BATCH + 1]


@pytest.mark.parametrize(("per_s", "per_tick"), [(400.0, 4), (1.0, 1), (1000.0, BATCH + 2)])
def test_no_more_are_accepted_than_the_pace_allows_and_nobody_is_lost(per_s: float, per_tick: int) -> None:
    async def main() -> list[float]:
        listening, accepted, loop = Failing(), [], asyncio.get_running_loop()
        moments: list[float] = []

        def take(connection: socket.socket) -> None:
            accepted.append(connection)
            moments.append(loop.time())

        clients = [socket.create_connection(listening.getsockname()) for _ in range(per_tick * 3)]
        acceptor = Acceptor(listening, take, Counter(), lambda: per_s)
        acceptor.start()
        async with asyncio.timeout(5):
            while len(accepted) < len(clients):
                await asyncio.sleep(0.001)
        acceptor.stop()
        for connection in (*clients, *accepted):
            connection.close()
        return moments

    moments = uvloop.run(main())
    for number, moment in enumerate(moments, 1):
        allowed = per_tick * (1 + (moment - moments[0] + 0.002) / TICK_S)  # uvloop's clock has milliseconds
        assert number <= allowed, moments


@pytest.mark.parametrize(
    ("later_s", "more"), [(0.5 * TICK_S, 0), (1.25 * TICK_S, 2), (2.75 * TICK_S, 5), (100 * TICK_S, 2 * TICKS_MOST)]
)
def test_a_loop_that_is_late_accepts_as_many_as_one_that_is_not(later_s: float, more: int) -> None:
    async def main() -> tuple[int, int]:
        loop, listening, accepted = asyncio.get_running_loop(), Failing(), []
        now = loop.time()
        loop.time = lambda: now  # type: ignore[method-assign]
        acceptor = Acceptor(listening, accepted.append, Counter(), lambda: 200.0)
        clients = [socket.create_connection(listening.getsockname()) for _ in range(16)]

        async def after(rounds: int = 100) -> int:
            for _ in range(rounds):
                await asyncio.sleep(0)
            return len(accepted)

        acceptor.start()
        first = await after()
        now += later_s
        second = await after() - first
        acceptor.stop()
        for connection in (*clients, *accepted):
            connection.close()
        return first, second

    assert asyncio.run(main()) == (2, more)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_may_be_stopped_while_it_pauses(run: Callable[..., None]) -> None:
    async def main() -> None:
        listening, paused = Failing(errno.EMFILE), Counter()
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        acceptor = Acceptor(listening, reset, paused)
        with socket.create_connection(listening.getsockname()) as client:
            acceptor.start()
            async with asyncio.timeout(5):
                while not paused.value:
                    await asyncio.sleep(0.001)
            acceptor.stop()
            await asyncio.sleep(1.5 * PAUSE_S)  # past the end of the pause: nothing may start again
            assert (listening.calls, faults) == (1, [])
            client.setblocking(False)
            with pytest.raises(ConnectionResetError):
                client.recv(1)

    run(main())

"""Connections that have gone are told so in order, a bounded number per tick, and all of them in the end."""

import asyncio
from collections.abc import Callable

import pytest

from cpms_actors.gateway.endings import PER_TICK, Endings
from cpms_actors.gateway.engine import Connection
from cpms_actors.gateway.gates import TICK_S
from cpms_actors.observe.counters import Counters
from tests.gateway.conftest import Echo, Site, until

MANY = PER_TICK * 3


class _Told:
    """A receiver that writes down what it is told, in a list that all share; `raises` after that."""

    def __init__(self, told: list[tuple[int, int, str]], number: int, raises: bool = False) -> None:
        self._told, self._number, self._raises = told, number, raises

    def on_open(self, connection: Connection) -> None: ...

    def on_text(self, text: bytes) -> None: ...

    def on_closed(self, code: int, reason: str) -> None:
        self._told.append((self._number, code, reason))
        if self._raises:
            raise RuntimeError("as told")


def _gone(numbers: range) -> list[tuple[int, int, str]]:
    return [(number, 1006, f"cut {number}") for number in numbers]


def test_of_many_that_go_at_once_a_few_are_told_at_once_and_the_rest_in_order_a_few_per_tick() -> None:
    async def main() -> None:
        told: list[tuple[int, int, str]] = []
        counters = Counters()
        endings = Endings(MANY, counters, pytest.fail)
        began = asyncio.get_running_loop().time()
        for number in range(MANY):
            endings.add(_Told(told, number), 1006, f"cut {number}")
        assert told == _gone(range(PER_TICK))
        assert len(endings) == counters.snapshot()["gateway.ending"] == MANY - PER_TICK
        steps = set()
        while len(endings):
            await asyncio.sleep(0)
            steps.add(len(told))
        assert told == _gone(range(MANY))
        assert asyncio.get_running_loop().time() - began >= (MANY / PER_TICK - 1) * TICK_S * 0.9
        assert steps == {PER_TICK, 2 * PER_TICK, MANY}
        assert counters.snapshot()["gateway.ending"] == 0
        assert counters.snapshot()["gateway.ending.peak"] == MANY - PER_TICK

    asyncio.run(main())


def test_at_the_end_all_are_told() -> None:
    async def main() -> None:
        told: list[tuple[int, int, str]] = []
        endings = Endings(MANY, Counters(), pytest.fail)
        for number in range(MANY):
            endings.add(_Told(told, number), 1006, f"cut {number}")
        endings.tell_all()
        assert told == _gone(range(MANY))
        assert len(endings) == 0
        endings.tell_all()
        await asyncio.sleep(2 * TICK_S)
        assert told == _gone(range(MANY))

    asyncio.run(main())


def test_beyond_the_bound_they_are_told_at_once_and_counted() -> None:
    async def main() -> None:
        told: list[tuple[int, int, str]] = []
        counters = Counters()
        endings = Endings(1, counters, pytest.fail)
        for number in range(PER_TICK + 3):
            endings.add(_Told(told, number), 1006, f"cut {number}")
        assert len(told) == PER_TICK + 2
        assert counters.snapshot()["gateway.ending.refused"] == 2
        endings.tell_all()
        assert len(told) == PER_TICK + 3

    asyncio.run(main())


def test_one_that_raises_is_a_fault_and_the_others_are_told() -> None:
    async def main() -> None:
        told: list[tuple[int, int, str]] = []
        faults: list[str] = []
        endings = Endings(MANY, Counters(), faults.append)
        for number in range(MANY):
            endings.add(_Told(told, number, raises=number == PER_TICK), 1006, f"cut {number}")
        endings.tell_all()
        assert told == _gone(range(MANY))
        assert faults == ["on_closed"]

    asyncio.run(main())


def test_an_engine_counts_a_connection_until_its_receiver_is_told_and_tells_everybody_before_it_stops(
    site: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(Echo, "on_closed", lambda self, code, reason: told.append(code))

    async def use(site: Site) -> None:
        await site.b.engine.stop()
        clients = [await site.client(f"A{number}") for number in range(2 * PER_TICK)]
        site.a.engine.connections.endings._turns = 0  # this tick's are used up
        for client in clients:
            client.transport.abort()
        await until(lambda: site.a.count("gateway.open") == 0)
        while len(told) < len(clients):
            assert site.a.engine.open_count == len(clients) - len(told)
            await asyncio.sleep(0)
        assert site.a.engine.open_count == 0
        clients = [await site.client(f"A{number}") for number in range(2 * PER_TICK)]
        await site.a.engine.stop()
        assert len(told) == 4 * PER_TICK
        assert site.a.engine.open_count == 0
        for client in clients:
            await client.wait_closed()

    site(use)

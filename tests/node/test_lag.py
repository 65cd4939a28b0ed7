"""How late a loop is, and the word for it."""

import time

import anyio
import pytest

from cpms_actors.node.lag import LATE_MS, PROBES, Lag, health
from cpms_actors.observe.counters import Gauge


def late(*lags_s: float) -> Lag:
    lag = Lag(Gauge(None))
    for lag_s in lags_s:
        lag.late(lag_s)
    return lag


def test_the_worst_of_the_last_seconds_is_told_and_forgotten_after_them() -> None:
    gauge = Gauge(None)
    lag = Lag(gauge)
    assert lag.worst_ms == 0.0
    for lag_s in (0.001, 0.7, -0.001):
        lag.late(lag_s)
    assert (lag.worst_ms, gauge.value) == (700.0, 700)
    for _ in range(PROBES):
        lag.late(0.002)
    assert (lag.worst_ms, gauge.value, gauge.peak) == (2.0, 2, 700)


@pytest.mark.parametrize(
    ("host_s", "guest_s", "late_ms", "word"),
    [(0.0, 0.0, 250.0, "ok"), (0.25, 0.25, 250.0, "ok"), (0.3, 0.0, 250.0, "late"), (0.0, 0.3, 250.0, "late"), (0.3, 0.3, 400.0, "ok")],
)
def test_a_worker_is_late_when_one_of_its_loops_is(host_s: float, guest_s: float, late_ms: float, word: str) -> None:
    assert health(late_ms, late(host_s), late(guest_s)) == word


def test_without_a_gate_by_lag_there_is_still_a_word() -> None:
    assert health(0.0, late(LATE_MS / 1000 - 0.001)) == "ok"
    assert health(0.0, late(LATE_MS / 1000 + 0.001)) == "late"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_is_held_up_is_late_by_as_much(backend: str) -> None:
    lag = late()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lag.run)
            await anyio.sleep(0.05)  # it has begun
            time.sleep(1.0)  # noqa: ASYNC251  # the loop is held up past the end of the probe, which began 50 ms ago and lasts 250 ms
            with anyio.fail_after(30):
                while lag.worst_ms < 700.0:
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    assert lag.worst_ms >= 700.0

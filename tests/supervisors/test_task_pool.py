"""Truths of temporary tasks, on both backends."""

import anyio
import pytest

from supervisors.reports import Happening, Report
from supervisors.supervisor import ChildSpec, Started, Supervisor
from supervisors.tasks import TaskPool

pytestmark = pytest.mark.anyio


async def test_a_task_that_fails_is_reported_and_harms_neither_tasks_nor_children() -> None:
    reports: list[Report] = []
    done: list[str] = []

    async def child(started: Started) -> None:
        started()
        await anyio.sleep_forever()

    async def fails() -> None:
        raise ValueError("bug")

    async def works(word: str) -> None:
        await anyio.sleep(0.01)
        done.append(word)

    top = Supervisor("top", [ChildSpec("a", child)], report=reports.append)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        assert top.start_task(works, "one")
        assert top.start_task(fails, name="turn of charger 7")
        assert top.start_task(works, "two")
        await anyio.sleep(0.05)
        assert sorted(done) == ["one", "two"]
        assert top.running() == ["a"]
        assert top.statistics().tasks == (0, 3, 0, 1)
        group.cancel_scope.cancel()
    failed = [(r.child, str(r.error)) for r in reports if r.happening is Happening.task_failed]
    assert failed == [("turn of charger 7", "bug")]


async def test_tasks_are_bounded_and_refusals_counted() -> None:
    top = Supervisor("top", tasks_max=2)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        assert [top.start_task(anyio.sleep, 0.01) for _ in range(3)] == [True, True, False]
        await anyio.sleep(0.05)
        assert top.start_task(anyio.sleep, 0.01)
        assert top.statistics().tasks == (1, 2, 1, 0)
        group.cancel_scope.cancel()


async def test_nothing_starts_before_or_after_the_supervisor_runs() -> None:
    top = Supervisor("top")
    assert not top.start_task(anyio.sleep, 0.01)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        group.cancel_scope.cancel()
    assert not top.start_task(anyio.sleep, 0.01)
    assert top.statistics().tasks.refused == 2


async def test_tasks_stop_before_the_children_they_may_need() -> None:
    log: list[str] = []

    async def child(started: Started) -> None:
        started()
        try:
            await anyio.sleep_forever()
        finally:
            log.append("child")

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            log.append("task")

    top = Supervisor("top", [ChildSpec("a", child)])
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        top.start_task(task)
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert log == ["task", "child"]


async def test_an_accepted_task_runs_to_its_first_checkpoint_even_if_all_stops_at_once() -> None:
    log: list[str] = []

    async def task() -> None:
        log.append("began")
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    top = Supervisor("top")
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        assert top.start_task(task)
        group.cancel_scope.cancel()
    assert log == ["began", "cancelled"]


async def test_a_task_that_ignores_its_stop_is_reported() -> None:
    reports: list[Report] = []

    async def deaf() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)

    top = Supervisor("top", tasks_shutdown_s=0.01, report=reports.append)
    async with anyio.create_task_group() as group:
        await group.start(lambda *, task_status: top.run(task_status=task_status))
        top.start_task(deaf, name="deaf")
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert [(r.happening, r.child) for r in reports] == [(Happening.overdue, "deaf")]


async def test_a_task_accepted_when_the_pool_was_already_told_to_stop_hears_of_it_too() -> None:
    log: list[str] = []

    async def task() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    pool = TaskPool("pool", 1)
    opened = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(pool.run, opened.set)
        await opened.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        assert pool.start(task)
    assert log == ["cancelled"]
    assert pool.statistics().tasks == 0

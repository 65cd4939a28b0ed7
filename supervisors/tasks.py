"""Temporary tasks in a bounded number: the rest of a turn that has to wait, a piece of work that ends.

`start` may be called from anywhere on the loop's thread, from a callback of the host loop as well: it only notes the work, and the
pool's own task, which knows its loop, spawns it. A task that fails is reported and harms nobody. Every task that was accepted runs at
least to its first checkpoint, even when the pool is stopped at once, so that whoever waits for its outcome hears of the cancellation.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVarTuple

import anyio
from anyio.abc import TaskGroup

from supervisors.reports import Happening, Report, Reporter, log_report

Ts = TypeVarTuple("Ts")


class TaskStatistics(NamedTuple):
    """`tasks` run now or are about to, `peak` at most were, `refused` were turned away, `failed` raised."""

    tasks: int
    peak: int
    refused: int
    failed: int


class _Task:
    """One piece of work; `scope` exists once it is spawned."""

    __slots__ = ("name", "scope", "work")

    def __init__(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self.work = work
        self.scope: anyio.CancelScope | None = None


class TaskPool:
    """At most `bound` tasks at a time. `shutdown_s` seconds after a stop those that still run are reported, and waited for."""

    def __init__(self, name: str, bound: int, *, shutdown_s: float = 5.0, report: Reporter = log_report) -> None:
        self.name = name
        self.bound = bound
        self.shutdown_s = shutdown_s
        self._report = report
        self._tasks: set[_Task] = set()
        self._noted: list[_Task] = []  # accepted, not yet spawned
        self._wake: anyio.Event | None = None  # exists while the pool is open
        self._last: anyio.Event | None = None  # while the pool stops: the last task has ended
        self._peak = 0
        self._refused = 0
        self._failed = 0

    def start(self, work: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: str | None = None) -> bool:
        """Run `work(*args)` in a task. False, and counted, when there are too many already or the pool is not open."""
        if self._wake is None or len(self._tasks) >= self.bound:
            self._refused += 1
            return False
        task = _Task(name or str(getattr(work, "__qualname__", "task")), lambda: work(*args))
        self._tasks.add(task)
        self._noted.append(task)
        self._peak = max(self._peak, len(self._tasks))
        self._wake.set()
        return True

    async def run(self, started: Callable[[], None]) -> None:
        """Be open until cancelled; then cancel the tasks and wait for them."""
        async with anyio.create_task_group() as group:
            self._wake = anyio.Event()
            started()
            try:
                while True:
                    await self._wake.wait()
                    self._wake = anyio.Event()
                    self._spawn(group)
            finally:
                self._wake = None
                self._spawn(group)
                with anyio.CancelScope(shield=True):
                    await self._stop()

    def statistics(self) -> TaskStatistics:
        """A snapshot for metrics."""
        return TaskStatistics(len(self._tasks), self._peak, self._refused, self._failed)

    def _spawn(self, group: TaskGroup) -> None:
        noted, self._noted = self._noted, []
        for task in noted:
            task.scope = anyio.CancelScope(shield=True)  # `_stop` cancels it, and not the end of the group
            group.start_soon(self._carry_out, task, name=task.name)

    async def _carry_out(self, task: _Task) -> None:
        assert task.scope is not None
        try:
            with task.scope:
                await task.work()
        except (Exception, anyio.get_cancelled_exc_class()) as error:
            # Cancelled, out of a shielded scope, is not ours: on asyncio something that the task awaited was cancelled.
            self._failed += 1
            self._report(Report(self.name, Happening.task_failed, task.name, error))
        finally:
            self._tasks.discard(task)
            if self._last is not None and not self._tasks:
                self._last.set()

    async def _stop(self) -> None:
        for task in self._tasks:
            if task.scope is not None:
                task.scope.cancel()
        if self._tasks:
            self._last = anyio.Event()
            with anyio.move_on_after(self.shutdown_s):
                await self._last.wait()
        for task in self._tasks:
            self._report(Report(self.name, Happening.overdue, task.name))

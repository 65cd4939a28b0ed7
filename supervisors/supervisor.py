"""A supervisor of tasks: children in start order, restarted by policy, stopped in reverse.

    children = [ChildSpec("journal", journal.run), ChildSpec("gateway", gateway.run)]
    supervisor = Supervisor("node", children, strategy=Strategy.rest_for_one)
    await supervisor.run()

A child is an async function that is given `started` and calls it once it is of use; the next child starts only then. `run` of a
Supervisor is such a function, so supervisors nest, and a supervisor that gives up is to its parent a child that failed.

One task, in `run`, takes all decisions: it starts what is due, sleeps until something is due or has ended, and applies the policy to
what ended. The children's tasks only run and note how they ended. Each runs in a shielded scope of its own: cancelling `run` reaches
this one task, and it stops the children one by one, each within its `shutdown_s`. A task cannot be killed: one that ignores its
cancellation is reported when its deadline has passed, the others are stopped meanwhile, and `run` returns when it has ended. For the
same reason a child is never started again before its last run is over.

While a restart is due but not yet, the rest is unaffected: waiting for one child's backoff never delays another's restart. Waiting
for a child to signal `started` does, and is bounded by its `start_s`.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from random import random
from typing import Final, NamedTuple, TypeVarTuple

import anyio
from anyio.abc import TaskGroup, TaskStatus

from supervisors.child import Child, ChildSpec, Run, Started
from supervisors.policy import Backoff, Ended, Intensity, Restart, RestartWindow, Strategy, affected, should_restart
from supervisors.reports import Happening, Report, Reporter, log_report
from supervisors.tasks import TaskPool, TaskStatistics

__all__ = [
    "ChildSpec",
    "IntensityExceeded",
    "NotRunning",
    "NotStarted",
    "Started",
    "Supervisor",
    "SupervisorError",
    "SupervisorFull",
    "SupervisorStatistics",
]

Ts = TypeVarTuple("Ts")

RESTARTS_MAX: Final = Intensity(restarts=5, window_s=30.0)
BACKOFF: Final = Backoff()


class SupervisorError(Exception):
    """The root of what this module raises."""


class IntensityExceeded(SupervisorError):
    """Too many restarts in the window. The cause is the exception of the last child that failed."""


class NotStarted(SupervisorError):
    """A child did not signal that it had started: it ended before, or its `start_s` passed."""


class NotRunning(SupervisorError):
    """The supervisor does not run, or stops already."""


class SupervisorFull(SupervisorError):
    """The supervisor has as many children as it may."""


class SupervisorStatistics(NamedTuple):
    """`children` are supervised, of which `running` run; `restarts` since the start; `refused` were children too many."""

    children: int
    running: int
    restarts: int
    refused: int
    tasks: TaskStatistics


class Supervisor:
    """Supervises `children` and whatever is added while it runs. Use once, or again after `run` has ended."""

    def __init__(
        self,
        name: str,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.one_for_one,
        intensity: Intensity = RESTARTS_MAX,
        backoff: Backoff = BACKOFF,
        report: Reporter = log_report,
        clock: Callable[[], float] = anyio.current_time,
        chance: Callable[[], float] = random,
        children_max: int = 1024,
        tasks_max: int = 1024,
        tasks_shutdown_s: float = 5.0,
    ) -> None:
        """`clock` tells the seconds of the restart window, `chance` draws the jitter, 0 … 1. ValueError when a name occurs twice."""
        if len({spec.name for spec in children}) < len(children):
            raise ValueError(f"{name}: two children of one name among {[spec.name for spec in children]}")
        self.name = name
        self.strategy = strategy
        self.backoff = backoff
        self.children_max = children_max
        self._specs = tuple(children)
        self._intensity = intensity
        self._tell = report
        self._clock = clock
        self._chance = chance
        self._pool = TaskPool(name, tasks_max, shutdown_s=tasks_shutdown_s, report=report)
        self._pool_spec = ChildSpec("tasks", self._pool.run, shutdown_s=inf)  # it keeps its own deadline
        self._children: list[Child] = []
        self._group: TaskGroup | None = None  # exists while children may be started
        self._ended: deque[Run] = deque()  # not yet dealt with; at most one for each child
        self._batches = 0
        self._restarts = 0
        self._refused = 0

    async def run(self, started: Started | None = None, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Start the children in order, keep them running until cancelled, stop them in reverse.

        `started` is called, and `task_status` set, when all have started. Raises IntensityExceeded when restarts do not help.
        """
        if self._group is not None:
            raise SupervisorError(f"{self.name} runs already")
        failure: SupervisorError | None = None
        async with anyio.create_task_group() as group:
            self._open(group)
            pool = self._launch(self._pool_spec)
            try:
                await self._until_started(pool)  # before anybody is told that tasks may be started
                failure = await self._supervise(pool, started, task_status)
            finally:
                self._group = None
                with anyio.CancelScope(shield=True):
                    await self._stop(pool)
                    for child in tuple(reversed(self._children)):
                        await self._stop_child(child)
        if failure is not None:
            raise failure

    async def start_child(self, spec: ChildSpec) -> None:
        """Add a child at the end of the order and wait until it has started. From a task of the supervisor's own loop.

        Raises NotStarted, from the child's exception, when its first start fails: then it is not added. SupervisorFull, NotRunning,
        and ValueError when there is a child of this name.
        """
        if any(child.spec.name == spec.name for child in self._children):
            raise ValueError(f"{self.name} has a child {spec.name} already")
        if len(self._children) >= self.children_max:
            self._refused += 1
            raise SupervisorFull(f"{self.name} has {len(self._children)} children")
        child = Child(spec, joining=True)
        child.run = run = self._launch(spec)
        self._children.append(child)
        try:
            await self._until_started(run)
        finally:
            if not run.has_started:
                self._forget(child)
                with anyio.CancelScope(shield=True):
                    await self._stop(run)
        if run.has_started:
            self._tell(Report(self.name, Happening.started, spec.name))
        elif run.error is not None or run.how is not Ended.finished:
            raise NotStarted(f"{self.name}: {spec.name}") from run.error

    async def stop_child(self, name: str) -> None:
        """Stop a child for good. KeyError if there is none of this name."""
        for child in self._children:
            if child.spec.name == name:
                self._forget(child)
                await self._stop_child(child)
                return
        raise KeyError(name)

    def start_task(self, work: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: str | None = None) -> bool:
        """Run `work(*args)` in a temporary task, stopped before the children. May be called from anywhere on the loop's thread.

        Its failure is reported and has no other effect. False, and counted, when too many run or the supervisor does not.
        """
        return self._pool.start(work, *args, name=name)

    def running(self) -> list[str]:
        """The names of the children that run, in start order."""
        return [child.spec.name for child in self._children if child.running]

    def statistics(self) -> SupervisorStatistics:
        """A snapshot for metrics."""
        return SupervisorStatistics(len(self._children), len(self.running()), self._restarts, self._refused, self._pool.statistics())

    def _open(self, group: TaskGroup) -> None:
        self._group = group
        self._wake = anyio.Event()
        self._ended.clear()
        self._window = RestartWindow(self._intensity)
        self._children = [Child(spec) for spec in self._specs]
        self._plan(self._children, anyio.current_time())

    def _launch(self, spec: ChildSpec) -> Run:
        if self._group is None:
            raise NotRunning(self.name)
        run = Run(spec)
        self._group.start_soon(self._live, run, name=f"{self.name}/{spec.name}")
        return run

    async def _live(self, run: Run) -> None:
        """The child's own task: run, and note how it ended."""
        try:
            with run.scope:
                await run.spec.run(run.started)
            if run.error is None:
                run.how = Ended.finished
        except (Exception, anyio.get_cancelled_exc_class()) as error:
            # Cancelled, out of a shielded scope, is not ours: on asyncio something that the child awaited was cancelled.
            run.error = error
        finally:
            if run.stopping:
                run.how = Ended.stopped
            run.over.set()
            run.announced.set()
            self._ended.append(run)
            self._wake.set()

    async def _supervise(self, pool: Run, started: Started | None, task_status: TaskStatus[None]) -> SupervisorError | None:
        """Until there is a reason to give up, which is returned."""
        announced = False
        while True:
            while self._ended:
                run = self._ended.popleft()
                failure = SupervisorError(f"{self.name}: the pool of tasks ended") if run is pool else await self._deal_with(run)
                if failure is not None:
                    failure.__cause__ = run.error
                    return failure
            await self._start_due()
            if not announced and self._all_started():
                announced = True
                task_status.started()
                if started is not None:
                    started()
            await self._sleep()

    async def _deal_with(self, run: Run) -> SupervisorError | None:
        """Apply the policy to a run that has ended. Returns why to give up, if so."""
        child = next((child for child in self._children if child.run is run), None)
        if child is None or run.how is Ended.stopped:
            return None
        child.joining = child.joining and not run.has_started
        if child.joining:
            return None  # start_child tells its caller
        name = child.spec.name
        if not should_restart(child.spec.restart, run.how):
            self._forget(child)
            happening = Happening.finished if run.how is Ended.finished else Happening.failed
            self._tell(Report(self.name, happening, name, run.error))
            return None
        if not self._window.note(self._clock()):
            self._tell(Report(self.name, Happening.gave_up, name, run.error))
            return IntensityExceeded(f"{self.name}: {name} ended, and {self._intensity.restarts} restarts were allowed")
        self._restarts += 1
        self._tell(Report(self.name, Happening.restarting, name, run.error))
        await self._restart(child, run)
        return None

    async def _restart(self, child: Child, run: Run) -> None:
        """Stop those that the strategy names, and plan the next start of all that are to come back."""
        child.run = None
        lasted = run.has_started and anyio.current_time() - run.began_at >= self._intensity.window_s
        child.attempt = 1 if lasted else child.attempt + 1
        after_it = () if run.has_started else tuple(c for c in self._children if c.due is not None and c.batch == child.batch)
        settled = [c for c in self._children if not c.joining or (c.run is not None and c.run.has_started)]
        group = affected(self.strategy, settled, child)
        for other in group.stop:
            await self._stop_child(other)
            if other.spec.restart is Restart.temporary:
                self._forget(other)
        again = [c for c in group.start if c.spec.restart is not Restart.temporary]
        self._plan((*again, *after_it), anyio.current_time() + self.backoff.delay(child.attempt, self._chance()))

    def _plan(self, children: Iterable[Child], due: float) -> None:
        self._batches += 1
        for child in children:
            child.due, child.batch = due, self._batches

    def _startable(self) -> list[Child]:
        """Children whose start is planned, but for batches in which a last run is not over yet."""
        planned = [child for child in self._children if child.due is not None]
        held = {child.batch for child in planned if child.running}
        return [child for child in planned if child.batch not in held]

    async def _start_due(self) -> None:
        """Start what is due, one after the other; stop short when a run has ended, for that may change the plan."""
        now = anyio.current_time()
        for child in self._startable():
            if self._ended:
                return
            if child.due is None or child.due > now:
                continue
            child.due = None
            child.run = run = self._launch(child.spec)
            await self._until_started(run)
            if run.has_started:
                self._tell(Report(self.name, Happening.started, child.spec.name))
            elif not run.over.is_set():
                self._plan([c for c in self._children if c.due is not None and c.batch == child.batch], inf)
                child.batch = self._batches  # when it is over at last, these are planned with it

    async def _until_started(self, run: Run) -> None:
        """Until the child has started or is over. Too late is a failure: it is cancelled."""
        with anyio.move_on_after(run.spec.start_s):
            await run.announced.wait()
        if not run.announced.is_set():
            run.error = NotStarted(f"{run.spec.name} had {run.spec.start_s:g} s to start")
            run.scope.cancel()
            await self._until_over(run)

    def _all_started(self) -> bool:
        return not self._ended and all(
            child.due is None and (child.run is None or child.run.has_started or child.run.over.is_set()) for child in self._children
        )

    async def _sleep(self) -> None:
        """Until a start is due or a run has ended."""
        if self._ended:
            return
        due = min((child.due for child in self._startable() if child.due is not None), default=inf)
        with anyio.move_on_after(due - anyio.current_time()):
            await self._wake.wait()
        if self._wake.is_set():
            self._wake = anyio.Event()

    async def _stop_child(self, child: Child) -> None:
        """Stop a child and drop it from the plan."""
        child.due = None
        if child.run is not None:
            await self._stop(child.run)
            if child.run.over.is_set():
                child.run = None

    async def _stop(self, run: Run) -> None:
        if run.over.is_set():
            return
        run.stopping = True
        run.scope.cancel()
        await self._until_over(run)
        if run.error is not None:
            self._tell(Report(self.name, Happening.failed, run.spec.name, run.error))

    async def _until_over(self, run: Run) -> None:
        """Until a cancelled run is over, or its deadline has passed and that is reported."""
        with anyio.move_on_after(run.spec.shutdown_s):
            await run.over.wait()
        if not run.over.is_set():
            self._tell(Report(self.name, Happening.overdue, run.spec.name))

    def _forget(self, child: Child) -> None:
        child.due = None
        if child in self._children:
            self._children.remove(child)

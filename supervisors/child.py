"""What a supervisor knows of a child: its specification, its present run, and its place in the plan of starts."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

import anyio

from supervisors.policy import Ended, Restart

Started: TypeAlias = Callable[[], None]


class ChildSpec(NamedTuple):
    """A child: what to run, when to restart it, and how many seconds its start and its stop may take."""

    name: str
    run: Callable[[Started], Awaitable[None]]
    restart: Restart = Restart.permanent
    shutdown_s: float = 5.0
    start_s: float = 30.0


class Run:
    """One run of a child, from its start to its end. Made in a task of the right loop, for it holds events."""

    __slots__ = ("announced", "began_at", "error", "has_started", "how", "over", "scope", "spec", "stopping")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.scope = anyio.CancelScope(shield=True)
        self.began_at = anyio.current_time()
        self.has_started = False
        self.announced = anyio.Event()  # it has started, or is over
        self.over = anyio.Event()
        self.stopping = False  # its end is wanted
        self.how = Ended.failed
        self.error: BaseException | None = None

    def started(self) -> None:
        """What the child is given to call. More than once does no harm."""
        self.has_started = True
        self.announced.set()


class Child:
    """A place in the start order: the present or last run, and when the next is due."""

    __slots__ = ("attempt", "batch", "due", "joining", "run", "spec")

    def __init__(self, spec: ChildSpec, *, joining: bool = False) -> None:
        self.spec = spec
        self.run: Run | None = None
        self.due: float | None = None  # a moment of the loop's clock; None: no start is planned
        self.batch = 0  # children planned together start in order: if one cannot, those after it wait with it
        self.attempt = 0  # starts in a row that did not last
        self.joining = joining  # added while the supervisor runs, and not yet started for the first time

    @property
    def running(self) -> bool:
        """Whether its last run is not over."""
        return self.run is not None and not self.run.over.is_set()

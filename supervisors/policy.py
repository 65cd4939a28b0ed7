"""When to restart, whom with it, how soon, and when to give up. Arithmetic only: the moment and the chance come in as numbers.

The words are those of the OTP supervisor: a *strategy* says which siblings go down with a failed child, a *restart* kind which ways
of ending call for a restart at all, and an *intensity* how many restarts within a window are still an accident and not a habit.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Strategy(Enum):
    """Which children are restarted when one of them has to be."""

    one_for_one = "one_for_one"  # only itself: children that do not need each other
    one_for_all = "one_for_all"  # all of them: none is of use without the others
    rest_for_one = "rest_for_one"  # itself and those started after it: each builds on the ones before


class Restart(Enum):
    """Which ways of ending call for a restart."""

    permanent = "permanent"  # every one: it should always run
    transient = "transient"  # only failure: it has work that ends
    temporary = "temporary"  # none: whoever started it deals with its end


class Ended(Enum):
    """How a child's run ended."""

    finished = "finished"  # it returned
    failed = "failed"  # it raised
    stopped = "stopped"  # its supervisor stopped it, and then it stays down


_RESTARTED: dict[Restart, frozenset[Ended]] = {
    Restart.permanent: frozenset({Ended.finished, Ended.failed}),
    Restart.transient: frozenset({Ended.failed}),
    Restart.temporary: frozenset(),
}


def should_restart(restart: Restart, how_ended: Ended) -> bool:
    """Whether a child of this kind, ended this way, is to be started again."""
    return how_ended in _RESTARTED[restart]


class Affected(NamedTuple, Generic[T]):
    """What a failure sets in motion: `stop` the siblings in this order, then `start` in that."""

    stop: tuple[T, ...]
    start: tuple[T, ...]


def affected(strategy: Strategy, children: Sequence[T], failed: T) -> Affected[T]:
    """Whom to stop and start when `failed` has to be restarted; `children` are in start order.

    `stop` runs against the start order and leaves out the failed child, which is already down. ValueError if it is no child.
    """
    position = children.index(failed)
    start: tuple[T, ...]
    match strategy:
        case Strategy.one_for_one:
            start = (failed,)
        case Strategy.one_for_all:
            start = tuple(children)
        case Strategy.rest_for_one:
            start = tuple(children[position:])
    return Affected(tuple(child for child in reversed(start) if child != failed), start)


class Intensity(NamedTuple):
    """At most `restarts` restarts within any `window_s` seconds; one more is giving up. No restart at all is (0, any)."""

    restarts: int
    window_s: float


class RestartWindow:
    """The restarts of the last `window_s` seconds. Never holds more than `restarts` + 1 moments."""

    __slots__ = ("_moments", "intensity")

    def __init__(self, intensity: Intensity) -> None:
        self.intensity = intensity
        self._moments: deque[float] = deque(maxlen=intensity.restarts + 1)

    def note(self, now: float) -> bool:
        """Note a restart at `now`, seconds on a clock that does not run backwards. False when that is one too many."""
        moments = self._moments
        moments.append(now)
        while now - moments[0] > self.intensity.window_s:
            moments.popleft()
        return len(moments) <= self.intensity.restarts

    def __len__(self) -> int:
        return len(self._moments)


class Backoff(NamedTuple):
    """How long to wait before a restart: `first_s`, then `factor` times as long each time, at most `max_s`.

    `jitter`, 0 … 1, is the share of the delay that chance may take away, so that what failed together does not return together.
    """

    first_s: float = 0.1
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 0.5

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds before the `attempt`-th try in a row (1 is the first); `chance` is drawn from 0 … 1 by the caller."""
        try:
            full_s = min(self.max_s, self.first_s * self.factor ** max(0, attempt - 1))
        except OverflowError:
            full_s = self.max_s if self.first_s else 0.0
        return full_s * (1.0 - self.jitter * chance)


NO_BACKOFF = Backoff(first_s=0.0, factor=1.0, max_s=0.0, jitter=0.0)

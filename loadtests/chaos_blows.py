"""Whom chaos hits next, and how: killed (SIGKILL) or frozen (SIGSTOP, and SIGCONT after a while). Pure, but for the chance it is given.

Any process of the stack but its supervisor may be hit, at any moment: while it starts, while another is frozen. One thing is heeded,
what `cpms up` promises: whatever ends is started again, ever more slowly, and a supervisor whose children end more than five times
within half a minute gives up, as it should. Nobody has to bear a machine that kills faster than that. So

- a process is killed IN_A_ROW times as soon as chance wants it; then it is left alone until it has lived SETTLED_S, after which its
  supervisor starts it at once again. Without that all of them would soon be waiting for their next start, and nothing would be tested.
  For the same reason one that has just been started is spared more often than one that has had the time to be of use;
- the children of one supervisor are killed PER_WINDOW times within WINDOW_S at most, which leaves it a start that fails by itself.
"""

from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Final, Literal

from msgspec import Struct

IN_A_ROW: Final = 3
YOUNG_SHARE: Final = 0.15  # of the blows that would hit a process that was started this moment, so many do
SETTLED_S: Final = 32.0  # a supervisor forgets what was before when a child has lasted for 30
PER_WINDOW: Final = 4  # of the five restarts that are allowed
WINDOW_S: Final = 32.0
KILLS_SHARE: Final = 0.7  # of all blows
FREEZE_S: Final = (0.5, 6.0)  # a worker's lease ends after three
PAUSE_S: Final = (0.3, 1.3)  # between two blows

# Two servers are children of one supervisor; every other process has a supervisor of its own.
_SHARED: Final = {"nats-server": "servers", "postgres": "servers"}


class Blow(Struct, frozen=True):
    """Who is hit. `seconds`: for how long it is frozen; None: it is killed."""

    victim: str
    seconds: float | None

    @property
    def kind(self) -> Literal["kills", "freezes"]:
        """As it is counted."""
        return "kills" if self.seconds is None else "freezes"


class Chooser:
    """Draws the blows. Moments in seconds on one clock; `ripe_s`: after so long a process is of use, on this machine today."""

    def __init__(self, random: Random, ripe_s: float) -> None:
        self._random = random
        self._ripe_s = ripe_s
        self._in_a_row: dict[str, int] = {}
        self._killed_at: dict[str, deque[float]] = {}  # by supervisor; at most PER_WINDOW each

    def pause_s(self) -> float:
        """How long until the next blow."""
        return self._random.uniform(*PAUSE_S)

    def draw(self, now: float, born_at: Mapping[str, float]) -> Blow | None:
        """The next blow, of those who are there and not frozen, by when they were started; None when this time nobody is hit."""
        kill, chance, mercy = self._random.random() < KILLS_SHARE, self._random.random(), self._random.random()
        seconds = self._random.uniform(*FREEZE_S)
        mortal = [name for name in sorted(born_at) if self._may_kill(name, now, now - born_at[name])] if kill else []
        victims = mortal or sorted(born_at)
        if not victims:
            return None
        victim = victims[int(chance * len(victims))]
        age_s = now - born_at[victim]
        if mercy > max(YOUNG_SHARE, age_s / self._ripe_s):
            return None
        if not mortal:
            return Blow(victim, round(seconds, 2))
        self._note(victim, now, age_s)
        return Blow(victim, None)

    def _may_kill(self, name: str, now: float, age_s: float) -> bool:
        if self._in_a_row.get(name, 0) >= IN_A_ROW and age_s < SETTLED_S:
            return False
        killed_at = self._killed_at.get(_SHARED.get(name, name), ())
        return sum(now - moment < WINDOW_S for moment in killed_at) < PER_WINDOW

    def _note(self, name: str, now: float, age_s: float) -> None:
        self._in_a_row[name] = 1 if age_s >= SETTLED_S else self._in_a_row.get(name, 0) + 1
        self._killed_at.setdefault(_SHARED.get(name, name), deque(maxlen=PER_WINDOW)).append(now)

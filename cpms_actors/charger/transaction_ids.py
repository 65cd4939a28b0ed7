"""Transaction ids of OCPP 1.6: positive, 31 bits, unique, handed out from blocks that were leased ahead.

Two blocks are kept ahead, so that sessions start while Postgres is away. The lease itself is somebody else's: `wanted` says how many
blocks to fetch, `on_wanted` is called when there is one more, `add` brings one.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

AHEAD: Final = 2


def _nobody() -> None:
    pass


class TransactionIds:
    """The ids this process may give."""

    def __init__(self) -> None:
        self._blocks: deque[range] = deque()
        self._at = 0
        self.on_wanted: Callable[[], None] = _nobody
        self.given = 0
        self.refusals = 0

    def take(self) -> int | None:
        """The next id; None, and counted, when none is left."""
        while self._blocks:
            block = self._blocks[0]
            if self._at < len(block):
                number = block[self._at]
                self._at += 1
                self.given += 1
                return number
            self._blocks.popleft()
            self._at = 0
            self.on_wanted()
        self.refusals += 1
        return None

    def add(self, first: int, last: int) -> None:
        """A leased block, both ends included. ValueError for a block outside 1 … 2**31 - 1 or an empty one."""
        if not 0 < first <= last < 2**31:
            raise ValueError(f"no block of transaction ids: {first} … {last}")
        self._blocks.append(range(first, last + 1))

    @property
    def wanted(self) -> int:
        """How many blocks to lease now: so many that two untouched ones lie behind the one in use."""
        return max(0, AHEAD + 1 - len(self._blocks))

    @property
    def left(self) -> int:
        """Ids that can be given without another lease."""
        return sum(len(block) for block in self._blocks) - self._at

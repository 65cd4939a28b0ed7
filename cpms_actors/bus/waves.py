"""When the chargers of a worker that is drained are sent away: the rules, pure.

    |── slot 3 ────|── slot 9 ────|── slot 12 ───| …      the slots share the time, one after the other
    |x  xx   x ▲   |x   xxx   x▲  | x x    x   ▲ |        x: a charger, at a moment drawn by chance; ▲: given back

A charger that was sent away is served by nobody until its slot is given back. So however long the whole takes, the chargers of a slot
go within WINDOW_S_MAX.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

WINDOW_S_MAX: Final = 10.0


class Window(Struct, frozen=True):
    """From when until when the chargers of a slot are sent away, in seconds of whoever's clock."""

    begins: float
    ends: float

    def moment(self, chance: float) -> float:
        """When one of them is; `chance` is 0 … 1."""
        return self.begins + chance * (self.ends - self.begins)

    def since(self, moment: float) -> "Window":
        """The same, counted from a moment."""
        return Window(self.begins - moment, self.ends - moment)


def windows(slots: Sequence[int], now: float, until: float) -> dict[int, Window]:
    """The window of each slot: they share the time from now on, in this order, and none ends after `until`."""
    share = max(0.0, until - now) / max(1, len(slots))
    begins = {slot: now + number * share for number, slot in enumerate(slots)}
    return {slot: Window(begun, max(begun, min(until, begun + min(share, WINDOW_S_MAX)))) for slot, begun in begins.items()}

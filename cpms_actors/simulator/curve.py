"""How a battery takes energy: constant power to the knee of the curve, then a taper as it fills.

    power                          The knee is at 80 % state of charge. Above it the power falls in a straight line over the
    ───────────────╮               state of charge, to TAPER_END of the maximum when the battery is full; over time that is an
                    ╲___           exponential, so energy, power and state of charge have closed forms of the elapsed time.
    0 %           80 %  100 %      Nothing is accumulated: any two samples of one curve agree, whatever lies between them.

Pure, in SI terms of the charging world: W, Wh, seconds, and 0 … 1 for the state of charge.
"""

from math import exp, inf, log

from msgspec import Struct

from cpms_actors.base.errors import OperatorError

KNEE = 0.8
TAPER_END = 0.1


class ChargeCurve(Struct, frozen=True):
    """One car at one connector. `power_max_w` is what both can do, `capacity_wh` the battery, `soc_start` 0 … 1."""

    power_max_w: float = 11_000.0
    capacity_wh: float = 60_000.0
    soc_start: float = 0.3

    def __post_init__(self) -> None:
        if self.power_max_w <= 0 or self.capacity_wh <= 0 or not 0 <= self.soc_start <= 1:
            raise OperatorError("curve", f"{self} is no battery: power and capacity are positive, soc_start is 0 to 1")

    @property
    def _flat_wh(self) -> float:
        """Energy that still fits below the knee."""
        return max(0.0, (KNEE - self.soc_start) * self.capacity_wh)

    @property
    def _slope(self) -> float:
        """Loss of power per Wh above the knee, in W/Wh = 1/h."""
        return self.power_max_w * (1 - TAPER_END) / ((1 - KNEE) * self.capacity_wh)

    def _entry_w(self) -> float:
        """Power at the moment charging begins: less than the maximum for a battery that is already above the knee."""
        return self.power_max_w - self._slope * max(0.0, self.soc_start - KNEE) * self.capacity_wh

    def full_after_s(self) -> float:
        """Seconds until the battery is full."""
        if self.soc_start >= 1:
            return 0.0
        taper_h = log(self._entry_w() / (self.power_max_w * TAPER_END)) / self._slope
        return (self._flat_wh / self.power_max_w + taper_h) * 3600

    def energy_wh(self, elapsed_s: float) -> float:
        """Energy taken since the beginning; never falls, and ends at what the battery had room for."""
        flat_wh, hours = self._flat_wh, max(0.0, elapsed_s) / 3600
        flat_h = flat_wh / self.power_max_w
        if hours <= flat_h:
            return max(0.0, elapsed_s) * self.power_max_w / 3600  # not over hours, which would cost a whole Wh its last bit
        room_wh = (1 - self.soc_start) * self.capacity_wh
        taper_wh = self._entry_w() / self._slope * (1 - exp(-self._slope * (hours - flat_h)))
        return min(room_wh, flat_wh + taper_wh)

    def power_w(self, elapsed_s: float) -> float:
        """Power at a moment; 0 before the beginning and once the battery is full."""
        if elapsed_s < 0 or elapsed_s >= self.full_after_s():
            return 0.0
        return self._entry_w() - self._slope * max(0.0, self.energy_wh(elapsed_s) - self._flat_wh)

    def soc(self, elapsed_s: float) -> float:
        """State of charge at a moment, 0 … 1."""
        return min(1.0, self.soc_start + self.energy_wh(elapsed_s) / self.capacity_wh)

    def seconds_to(self, energy_wh: float) -> float:
        """Seconds until so much energy was taken; infinite for more than there is room for."""
        if energy_wh > (1 - self.soc_start) * self.capacity_wh:
            return inf
        if energy_wh <= self._flat_wh:
            return energy_wh / self.power_max_w * 3600
        taper_h = -log(1 - (energy_wh - self._flat_wh) * self._slope / self._entry_w()) / self._slope
        return (self._flat_wh / self.power_max_w + taper_h) * 3600

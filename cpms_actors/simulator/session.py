"""One charging session at one connector: its plan, its life as a table of moves, its meter, and the truth about it.

    PLUGGED ──▶ AUTHORIZING ──▶ CHARGING ──▶ PARKED ──▶ ENDED ──▶ GONE
       │             │              └────────────────────▲         ▲
       └─────────────┴────────────────────────────────────────────┘ refused, or unplugged before a start

The car charges, then stands idle with a flat meter until the driver comes back: two periods that a tariff prices differently.
Moments are station time in ms and planned: a reading that is taken late by a slow shell still carries the moment it was due, at
the exact boundary of its period. So the truth (`SessionFacts`) does not depend on who drives the simulation, or how fast.
"""

from enum import Enum
from typing import Literal

import msgspec
from msgspec import Struct

from cpms_actors.base.errors import OperatorError
from cpms_actors.simulator.curve import ChargeCurve

Outcome = Literal["running", "completed", "refused", "lost"]
METER_INTERVAL_S_MIN = 1.0


class Phase(Enum):
    """Where a session is; see the picture above."""

    PLUGGED = "plugged"
    AUTHORIZING = "authorizing"
    CHARGING = "charging"
    PARKED = "parked"
    ENDED = "ended"
    GONE = "gone"


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.PLUGGED: frozenset({Phase.AUTHORIZING, Phase.CHARGING, Phase.GONE}),
    Phase.AUTHORIZING: frozenset({Phase.CHARGING, Phase.GONE}),
    Phase.CHARGING: frozenset({Phase.PARKED, Phase.ENDED}),
    Phase.PARKED: frozenset({Phase.ENDED}),
    Phase.ENDED: frozenset({Phase.GONE}),
    Phase.GONE: frozenset(),
}
RUNNING = frozenset({Phase.CHARGING, Phase.PARKED})


class StopReason(Enum):
    """Why a transaction ended; the dialects translate."""

    LOCAL = "Local"
    REMOTE = "Remote"
    EV_DISCONNECTED = "EVDisconnected"
    DEAUTHORIZED = "DeAuthorized"
    SOFT_RESET = "SoftReset"
    HARD_RESET = "HardReset"
    UNLOCK = "UnlockCommand"


class SessionPlan(Struct, frozen=True):
    """What a driver will do, in station seconds.

    `after_s` from the previous session (or the first accepted boot) to plugging in; `authorize_after_s` from there to showing the
    token, None for never (a remote start is awaited); `charging_s` how long the car takes energy, None until it is full;
    `parking_s` how long it then blocks the connector, None until somebody stops it; `unplug_after_s` from the stop.
    """

    token: str
    evse: int = 1
    after_s: float = 5.0
    authorize_after_s: float | None = 5.0
    charging_s: float | None = 1200.0
    parking_s: float | None = 600.0
    unplug_after_s: float = 5.0
    meter_interval_s: float = 60.0
    stop: StopReason = StopReason.LOCAL
    token_kind: str = "ISO14443"
    curve: ChargeCurve = ChargeCurve()

    def __post_init__(self) -> None:
        if self.meter_interval_s < METER_INTERVAL_S_MIN:
            raise OperatorError("plan", f"meter_interval_s is {self.meter_interval_s}; the least is {METER_INTERVAL_S_MIN}")


class Sample(Struct, frozen=True, gc=False):
    """One reading of the meter: register in whole Wh, power in W, state of charge in percent."""

    at: int
    register_wh: int
    power_w: int
    soc: int
    context: str = "Sample.Periodic"


class Period(Struct, frozen=True, gc=False):
    """A stretch of a session: charging, or parked with a flat meter. Moments in station ms, half open."""

    start: int
    end: int
    energy_wh: int
    charging: bool


class SessionFacts(Struct, frozen=True):
    """The truth about one session, to hold against what the server stored and billed.

    `transaction` as the server knows it (decimal for 1.6, None when it was never told). `outcome`: "completed" when every message
    was acknowledged, "lost" when one was discarded, "refused" when the driver could not begin. `register` holds (moment, Wh) of
    every reading sent.
    """

    identity: str
    version: str
    evse: int
    token: str
    transaction: str | None
    started_at: int | None
    ended_at: int | None
    meter_start_wh: int
    meter_stop_wh: int
    energy_wh: int
    charging_s: float
    parking_s: float
    reason: str | None
    authorization: str | None
    acknowledged: int
    discarded: int
    outcome: Outcome
    periods: tuple[Period, ...] = ()
    register: tuple[tuple[int, int], ...] = ()


class Happening(Enum):
    """What falls due in a session as its time passes."""

    AUTHORIZE = "authorize"
    READ = "read"
    FULL = "full"
    STOP = "stop"
    UNPLUG = "unplug"


class Session(Struct, eq=False):
    """The life of one session. Mutable; owned by one charge point."""

    plan: SessionPlan
    token: str
    plugged_at: int
    register_start_wh: int
    number: int
    phase: Phase = Phase.PLUGGED
    transaction: str | None = None
    remote_start_id: int | None = None
    remote: bool = False
    authorization: str | None = None
    started_at: int | None = None
    charged_until: int | None = None  # when the car stopped taking energy
    ended_at: int | None = None
    reason: StopReason | None = None
    next_read_at: int = 0
    charging_ends_at: int = 0
    stops_at: int | None = None
    seq: int = 0
    pending: int = 0  # transaction messages not yet acknowledged or discarded
    acknowledged: int = 0
    discarded: int = 0
    unheard: set[str] = msgspec.field(default_factory=set)  # actions whose answer a quirk has already lost
    register: list[tuple[int, int]] = msgspec.field(default_factory=list)

    def move(self, phase: Phase) -> None:
        """Go on to a phase; an illegal move is a bug and raises."""
        if phase not in MOVES[self.phase]:
            raise ValueError(f"a session that is {self.phase.value} cannot become {phase.value}")
        self.phase = phase

    @property
    def running(self) -> bool:
        """Whether the transaction has begun and not ended."""
        return self.phase in RUNNING

    @property
    def energy_wh(self) -> int:
        """Energy delivered up to the last known moment, in whole Wh as the register shows it."""
        return int(self.plan.curve.energy_wh(self._charged_ms(self._last_moment()) / 1000))

    def next_due(self) -> tuple[int, Happening] | None:
        """The next moment at which something happens by plan, or None when the session waits for somebody."""
        if self.phase is Phase.CHARGING:
            end = self.charging_ends_at
            return (end, Happening.FULL) if end <= self.next_read_at else (self.next_read_at, Happening.READ)
        if self.phase is Phase.PARKED:
            stop = self.stops_at
            return (stop, Happening.STOP) if stop is not None and stop <= self.next_read_at else (self.next_read_at, Happening.READ)
        if self.phase is Phase.PLUGGED and self.plan.authorize_after_s is not None:
            return self.plugged_at + _ms(self.plan.authorize_after_s), Happening.AUTHORIZE
        if self.phase is Phase.ENDED and self.ended_at is not None:
            return self.ended_at + _ms(self.plan.unplug_after_s), Happening.UNPLUG
        return None

    def begin(self, at: int) -> None:
        """The transaction begins, and energy flows."""
        self.move(Phase.CHARGING)
        self.started_at = at
        self.next_read_at = at + _ms(self.plan.meter_interval_s)
        full_s = self.plan.curve.full_after_s()
        self.charging_ends_at = at + _ms(full_s if self.plan.charging_s is None else min(full_s, self.plan.charging_s))

    def suspend(self, at: int) -> None:
        """The car takes no more energy; the meter is flat from here."""
        self.move(Phase.PARKED)
        self.charged_until = at
        if self.plan.parking_s is not None:
            self.stops_at = at + _ms(self.plan.parking_s)

    def end(self, at: int, reason: StopReason) -> None:
        """The transaction ends."""
        self.move(Phase.ENDED)
        if self.charged_until is None:
            self.charged_until = at
        self.ended_at, self.reason = at, reason

    def read(self, at: int, context: str = "Sample.Periodic") -> Sample:
        """The meter at a moment of the session, rounded down to whole Wh as registers are."""
        elapsed_s = self._charged_ms(at) / 1000
        charging = self.phase is Phase.CHARGING or (self.phase is Phase.ENDED and at == self.charged_until)
        curve = self.plan.curve
        power_w = int(curve.power_w(elapsed_s)) if charging and context != "Transaction.End" else 0
        return Sample(at, self.register_start_wh + int(curve.energy_wh(elapsed_s)), power_w, int(curve.soc(elapsed_s) * 100), context)

    def facts(self, identity: str, version: str) -> SessionFacts:
        """The truth so far; final once the session is GONE and nothing of it is pending."""
        last, taken_wh = self._last_moment(), self.energy_wh
        periods = self._periods(last, taken_wh)
        return SessionFacts(
            identity=identity,
            version=version,
            evse=self.plan.evse,
            token=self.token,
            transaction=self.transaction,
            started_at=self.started_at,
            ended_at=self.ended_at,
            meter_start_wh=self.register_start_wh,
            meter_stop_wh=self.register_start_wh + taken_wh,
            energy_wh=taken_wh,
            charging_s=sum(p.end - p.start for p in periods if p.charging) / 1000,
            parking_s=sum(p.end - p.start for p in periods if not p.charging) / 1000,
            reason=self.reason.value if self.reason else None,
            authorization=self.authorization,
            acknowledged=self.acknowledged,
            discarded=self.discarded,
            outcome=self._outcome(),
            periods=periods,
            register=tuple(self.register),
        )

    def _outcome(self) -> Outcome:
        if self.phase is not Phase.GONE or self.pending:
            return "running"
        if self.started_at is None:
            return "refused"
        return "lost" if self.discarded else "completed"

    def _periods(self, last: int, taken_wh: int) -> tuple[Period, ...]:
        if self.started_at is None:
            return ()
        turn = last if self.charged_until is None else self.charged_until
        both = (Period(self.started_at, turn, taken_wh, True), Period(turn, last, 0, False))
        return tuple(p for p in both if p.end > p.start)

    def _last_moment(self) -> int:
        if self.ended_at is not None:
            return self.ended_at
        return self.charged_until or self.started_at or self.plugged_at

    def _charged_ms(self, at: int) -> int:
        if self.started_at is None:
            return 0
        until = at if self.charged_until is None else min(at, self.charged_until)
        return max(0, until - self.started_at)

    def advance_read(self) -> None:
        """The reading that was due is taken: the next is one interval later."""
        self.next_read_at += _ms(self.plan.meter_interval_s)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

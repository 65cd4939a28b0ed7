"""The physical side of a charge point: connectors, the cars at them, the drivers' plans, the meter. Station time only.

It knows nothing of OCPP or of the network. What has to be told goes to a `Reporter` (the charge point); what the server wants
done comes in through the methods. Planned sessions run one after the other; sessions the server starts run beside them.
"""

from collections import deque
from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec.structs import replace

from cpms_actors.simulator.queue import Kind
from cpms_actors.simulator.session import Happening, Phase, Sample, Session, SessionPlan, StopReason
from cpms_actors.simulator.words import ConnectorWord

_WORDS: dict[Phase, ConnectorWord] = {
    Phase.PLUGGED: "Preparing",
    Phase.AUTHORIZING: "Preparing",
    Phase.CHARGING: "Charging",
    Phase.PARKED: "SuspendedEV",
    Phase.ENDED: "Finishing",
    Phase.GONE: "Available",
}
_CHARGING_STATES: dict[Phase, str] = {Phase.CHARGING: "Charging", Phase.PARKED: "SuspendedEV", Phase.ENDED: "EVConnected"}


class Reporter(Protocol):
    """Who is told what happens at the connectors."""

    def status(self, evse: int, at: int) -> None:
        """The word for a connector may have changed."""

    def authorize(self, session: Session, at: int) -> None:
        """A driver showed a token: answer with `authorized` or `refused`, now or later."""

    def transaction(self, kind: Kind, session: Session, sample: Sample, trigger: str, charging_state: str) -> None:
        """A transaction began, has a reading, or ended."""

    def name_transaction(self, session: Session) -> str | None:
        """The id of a transaction that begins, where the station gives it (2.x)."""


class Connectors:
    """All of them, numbered from 1; `sessions` are those at a connector now, by its number."""

    def __init__(
        self, reporter: Reporter, evses: int, plans: Sequence[SessionPlan], remote_plan: SessionPlan, keep_register: bool, meter_wh: int
    ) -> None:
        self._reporter = reporter
        self._plans = deque(plans)
        self._remote_plan = remote_plan
        self._keep_register = keep_register
        self._inoperative: set[int] = set()
        self._meter_wh = dict.fromkeys(range(1, evses + 1), meter_wh)
        self._plan_at: int | None = None
        self._due: int | None = None  # what `next_due` found, until something changes: it is asked twice per frame
        self._stale = False
        self._number = 0
        self._leaving: list[Session] = []  # gone, with messages not yet acknowledged
        self.sessions: dict[int, Session] = {}
        self.meter_interval_s: float | None = None

    @property
    def evses(self) -> range:
        """The numbers of the connectors, from 1."""
        return range(1, len(self._meter_wh) + 1)

    @property
    def finished(self) -> bool:
        """Whether every plan is carried out and nothing of a session is unsettled."""
        return not self._plans and not self.sessions and not self._leaving

    def open(self, at: int) -> None:
        """The charge point is accepted for the first time: the first driver is on the way."""
        self._schedule(at)

    def dismiss(self) -> None:
        """The drivers who are still to come stay away."""
        self._plans.clear()
        self._plan_at, self._stale = None, True

    def next_due(self) -> int | None:
        """The next moment at which something happens by plan."""
        if self._stale:
            moments = [due[0] for session in self.sessions.values() if (due := session.next_due())]
            if self._plan_at is not None:
                moments.append(self._plan_at)
            self._due, self._stale = min(moments, default=None), False
        return self._due

    def advance(self, until: int) -> None:
        """Let time pass: everything that is due happens, in order, at the moment it was due."""
        while (due := self.next_due()) is not None and due <= until:
            if due == self._plan_at:
                self._next_driver(due)
                continue
            for session in list(self.sessions.values()):
                planned = session.next_due()
                if planned is not None and planned[0] == due:
                    self._happen(session, planned[1], due)

    def plug_in(self, plan: SessionPlan, at: int) -> Session:
        """A car is plugged in. The connector must be free."""
        if plan.evse in self.sessions or plan.evse not in self._meter_wh:
            raise ValueError(f"connector {plan.evse} is occupied or does not exist")
        if self.meter_interval_s is not None:
            plan = replace(plan, meter_interval_s=self.meter_interval_s)
        self._stale = True
        self._number += 1
        session = Session(plan, plan.token, at, self._meter_wh[plan.evse], self._number)
        self.sessions[plan.evse] = session
        self._reporter.status(plan.evse, at)
        return session

    def present(self, session: Session, token: str, at: int) -> None:
        """A token is shown: it asks to begin, or stops the transaction it began."""
        if session.running and token == session.token:
            self.end(session, at, StopReason.LOCAL)
        elif session.phase is Phase.PLUGGED:
            self._stale = True
            session.token = token
            session.move(Phase.AUTHORIZING)
            self._reporter.authorize(session, at)

    def authorized(self, session: Session, at: int, status: str | None) -> None:
        """The driver may charge: the transaction begins, unless he left meanwhile. `status` None: nobody could be asked."""
        if session.phase is Phase.AUTHORIZING:
            session.authorization = status
            self._begin(session, at)

    def refused(self, session: Session, at: int, status: str) -> None:
        """The driver may not charge and leaves."""
        if session.phase is Phase.AUTHORIZING:
            session.authorization = status
            self._leave(session, at)

    def end(self, session: Session, at: int, reason: StopReason) -> None:
        """A running transaction ends."""
        session.end(at, reason)
        state = "Idle" if reason is StopReason.EV_DISCONNECTED else "EVConnected"
        self._tell(Kind.END, session, session.read(at, "Transaction.End"), "", state)
        self._meter_wh[session.plan.evse] = session.register_start_wh + session.energy_wh
        if reason is StopReason.EV_DISCONNECTED:
            self._leave(session, at)
        else:
            self._reporter.status(session.plan.evse, at)

    def unplug(self, session: Session, at: int) -> None:
        """The car leaves; that ends what runs."""
        if session.running:
            self.end(session, at, StopReason.EV_DISCONNECTED)
        else:
            self._leave(session, at)

    def remote_start(self, token: str, kind: str, evse: int | None, remote_start_id: int | None, at: int, ask: bool) -> bool:
        """Begin for a token at a connector, or at the first that can. False: there is none."""
        target = next((e for e in ([evse] if evse else self.evses) if self._can_start(e)), None)
        if target is None:
            return False
        session = self.sessions.get(target)
        template = session.plan if session else self._remote_plan
        plan = replace(template, token=token, token_kind=kind, evse=target, authorize_after_s=None)
        if session is None:
            session = self.plug_in(plan, at)
        self._stale = True
        session.plan, session.token = plan, token
        session.remote, session.remote_start_id = True, remote_start_id
        if ask:
            session.move(Phase.AUTHORIZING)
            self._reporter.authorize(session, at)
        else:
            self._begin(session, at)
        return True

    def find(self, transaction: str) -> Session | None:
        """The session of a transaction id that is not over."""
        return next((s for s in (*self.sessions.values(), *self._leaving) if s.transaction == transaction), None)

    def change_availability(self, evse: int, operative: bool, at: int) -> Literal["Accepted", "Scheduled", "Rejected"]:
        """Into or out of service; where a transaction runs it waits for the end (1.6 section 5.2)."""
        targets = list(self.evses) if evse == 0 else [evse]
        if any(target not in self._meter_wh for target in targets):
            return "Rejected"
        if operative:
            self._inoperative.difference_update(targets)
        else:
            self._inoperative.update(targets)
        for target in targets:
            self._reporter.status(target, at)
        if operative and self._plan_at is None and self._plans and self._plans[0].evse not in self.sessions:
            self._schedule(at)
        return "Scheduled" if not operative and any(target in self.sessions for target in targets) else "Accepted"

    def word(self, evse: int) -> ConnectorWord:
        """The state of a connector in the words of 1.6, which are the finest. Connector 0 is the charge point."""
        session = self.sessions.get(evse)
        if session is not None:
            return _WORDS[session.phase]
        out = evse in self._inoperative if evse else self._inoperative.issuperset(self.evses)
        return "Unavailable" if out else "Available"

    def read(self, evse: int, at: int) -> Sample:
        """The meter of a connector because the server asked."""
        session = self.sessions.get(evse)
        return session.read(at, "Trigger") if session else Sample(at, self._meter_wh[evse], 0, 0, "Trigger")

    def trigger(self, session: Session, at: int) -> None:
        """A reading because the server asked."""
        self._tell(Kind.UPDATE, session, session.read(at, "Trigger"), "Trigger", _CHARGING_STATES[session.phase])

    def settle(self) -> list[Session]:
        """The sessions that are over and of which nothing is pending any more; each is returned once."""
        settled = [session for session in self._leaving if not session.pending]
        if settled:
            self._leaving = [session for session in self._leaving if session.pending]
        return settled

    def _schedule(self, at: int) -> None:
        self._stale = True
        self._plan_at = at + round(self._plans[0].after_s * 1000) if self._plans else None

    def _next_driver(self, at: int) -> None:
        self._stale = True
        self._plan_at = None  # when the connector is taken, the departure there schedules the plan again
        if self._plans[0].evse not in self.sessions and self._plans[0].evse not in self._inoperative:
            self.plug_in(self._plans.popleft(), at)

    def _can_start(self, evse: int) -> bool:
        session = self.sessions.get(evse)
        return evse in self._meter_wh and evse not in self._inoperative and (session is None or session.phase is Phase.PLUGGED)

    def _happen(self, session: Session, what: Happening, at: int) -> None:
        if what is Happening.READ:
            session.advance_read()
            self._tell(Kind.UPDATE, session, session.read(at), "MeterValuePeriodic", _CHARGING_STATES[session.phase])
        elif what is Happening.FULL:
            session.suspend(at)
            if session.next_read_at == at:
                session.advance_read()
            self._tell(Kind.UPDATE, session, session.read(at), "ChargingStateChanged", "SuspendedEV")
            self._reporter.status(session.plan.evse, at)
        elif what is Happening.STOP:
            self.end(session, at, session.plan.stop)
        elif what is Happening.AUTHORIZE:
            self.present(session, session.token, at)
        else:
            self._leave(session, at)

    def _begin(self, session: Session, at: int) -> None:
        session.begin(at)
        session.transaction = self._reporter.name_transaction(session)
        trigger = "RemoteStart" if session.remote else "Authorized"
        self._tell(Kind.START, session, session.read(at, "Transaction.Begin"), trigger, "Charging")
        self._reporter.status(session.plan.evse, at)

    def _tell(self, kind: Kind, session: Session, sample: Sample, trigger: str, state: str) -> None:
        self._stale = True
        if self._keep_register:
            session.register.append((sample.at, sample.register_wh))
        self._reporter.transaction(kind, session, sample, trigger, state)

    def _leave(self, session: Session, at: int) -> None:
        session.move(Phase.GONE)
        self._stale = True
        del self.sessions[session.plan.evse]
        self._leaving.append(session)
        self._reporter.status(session.plan.evse, at)
        if self._plan_at is None:
            self._schedule(at)

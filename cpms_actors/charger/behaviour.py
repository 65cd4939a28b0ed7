"""What a charger's message means: pure decisions, one set for every version of OCPP.

A decision is the new live state and the effects that follow. Nothing here waits, reads a clock or knows a socket; a dialect spells
the words. The order of every decision is the same: is the action known, may this charger speak yet, is the payload sound, and
then the table `_on` by kind of message.

    Frames that move money (START, STOP, EVENT, and METER of a transaction) are answered when their fact is durable.
    Everything else is answered at once and journalled beside.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from msgspec import ValidationError
from msgspec.structs import replace

from cpms_actors.charger.live import HELD, Answer, Ask, Asked, Inbound, Live, Note, OpenTransaction, share, spread
from cpms_actors.domain.access import Tenant
from cpms_actors.domain.events import (
    Parked,
    Reported,
    Seen,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.ocpp import frames
from cpms_actors.ocpp.catalogue import DECODE_FAULTS, fault_of
from cpms_actors.ocpp.dialect import Dialect, Doubts, Kind, Rule, Start
from cpms_actors.ocpp.frames import Call, Send
from cpms_actors.ocpp.quirks import decode_lenient
from supervisors.actor import Decision

SEEN_EVERY_MS: Final = 60_000
PENDING_INTERVAL_S: Final = 60
GATED: Final = ("Pending", "Rejected")
SILENT: Final = (*GATED, HELD)  # what a charger's boot is when it may not speak
PENDING_FIRST_S: Final = 5  # the soonest that a charger is asked back for a queue
PLANTED_VENDOR: Final = "cpms.test"


def _no_queue() -> float:
    return 0.0


class PlantedBug(Exception):
    """Raised on purpose by a message that only a test sends (setting `charging.planted_bug`)."""


class Behaviour:
    """The decisions for the chargers of one tenant. Shared by all of them, so that a new policy holds for all at once.

    `boot_wait_s` says within how many seconds a charger that has just started is to ask again because there is a queue, 0 without one.
    It is asked for such a charger only.
    """

    def __init__(
        self,
        dialects: Mapping[str, Dialect],
        tenant: Tenant,
        *,
        planted_bug: bool = False,
        boot_wait_s: Callable[[], float] = _no_queue,
    ) -> None:
        self.tenant = tenant
        self._boot_wait_s = boot_wait_s
        self._dialects = dialects
        self._planted_bug = planted_bug
        self._doubts = Doubts()  # nearly always empty: the next message uses it again
        self._on: dict[Kind, Callable[..., Decision[Live]]] = {
            Kind.BOOT: self._boot,
            Kind.HEARTBEAT: self._heartbeat,
            Kind.AUTHORIZE: self._authorize,
            Kind.START: self._start,
            Kind.STOP: self._stop,
            Kind.EVENT: self._event,
            Kind.METER: self._meter,
            Kind.STATUS: self._status,
            Kind.REPORT: self._report,
        }

    def decide(self, state: Live, inbound: Inbound) -> Decision[Live]:
        """The decision on one CALL or SEND."""
        call = inbound.call
        dialect = self._dialects[inbound.line.version]
        rule = dialect.rules.get(call.action)
        if rule is None:
            return self._unknown(state, inbound, dialect)
        if rule.send is not (type(call) is Send):
            return self._refuse(
                state, inbound, "NotSupported", f"{call.action} does not travel as this message type", "wrong_message_type"
            )
        if state.boot != "Accepted" and state.boot in SILENT and rule.kind is not Kind.BOOT:
            text = f"BootNotification was answered {'Pending' if state.boot == HELD else state.boot}: boot first"
            return self._refuse(state, inbound, "SecurityError", text, "not_accepted")
        doubts = self._doubts
        if doubts.reasons:
            doubts = self._doubts = Doubts()
        try:
            request = rule.decode(call.payload)
        except DECODE_FAULTS as error:
            repaired = self._repair(rule, call, error, doubts)
            if repaired is None:
                return self._refuse(state, inbound, fault_of(error, dialect.version), str(error), "invalid_payload")
            request = repaired
        decision = self._on[rule.kind](state, inbound, dialect, rule, request, doubts)
        return _with_doubts(decision, inbound, doubts) if doubts.reasons else decision

    def _repair(self, rule: Rule, call: Call | Send, error: Exception, doubts: Doubts) -> Any:
        """The request as a lenient tenant reads it; None when nothing sensible can be made of it."""
        if self.tenant.strictness != "lenient" or not isinstance(error, ValidationError):
            return None
        try:
            request, repairs = decode_lenient(rule.action, call.payload)
        except ValidationError:
            return None
        for repair in repairs:
            doubts.add(f"{repair.path}: {repair.what}")
        return request

    # -- refusals

    def _unknown(self, state: Live, inbound: Inbound, dialect: Dialect) -> Decision[Live]:
        """1.6 4.2.3 and 2.1 part 4 4.3: NotImplemented is an action nobody knows, NotSupported one that we do not take."""
        action = inbound.call.action
        if action in dialect.known:
            return self._refuse(state, inbound, "NotSupported", f"{action} is not for a charger to send", "unknown_action")
        text = f"{action[:50]} is no action of OCPP {dialect.version}"
        return self._refuse(state, inbound, "NotImplemented", text, "unknown_action")

    def _refuse(self, state: Live, inbound: Inbound, code: str, text: str, reason: str) -> Decision[Live]:
        call = inbound.call
        answer = None if type(call) is Send else frames.error(call.id, code, text)
        parked = Parked(reason, f"{code}: {text}", call.action, bytes(call.payload))
        return Decision(state, (Answer(inbound, answer, parked),))

    # -- one decision per kind

    def _boot(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        status = inbound.boot_policy
        if status == "Accepted" and not state.boot and not state.open and (wait_s := self._boot_wait_s()):
            return self._hold(state, inbound, dialect, request, wait_s)
        heartbeat = self.tenant.heartbeat_s
        # A rejected charger is silent for the interval (1.6 4.2): as long as a heartbeat; a pending one is asked back sooner.
        interval = spread(inbound.call.id, min(PENDING_INTERVAL_S, heartbeat) if status == "Pending" else heartbeat)
        answer = frames.result(inbound.call.id, dialect.boot_answer(status, interval, inbound.now))
        # The gate outlives the worker: its opening and closing are checkpointed.
        gate = status != state.boot and (status in GATED or state.boot in GATED)
        new = replace(state, boot=status, seen_at=inbound.now)
        return Decision(new, (Answer(inbound, answer, dialect.boot(request, status), durable=gate, checkpoint=gate),))

    def _hold(self, state: Live, inbound: Inbound, dialect: Dialect, request: Any, wait_s: float) -> Decision[Live]:
        """There is a queue: nobody whom we have accepted or who is charging waits, and whoever waited once does not wait again.

        Pending (1.6 4.2; 2.0.1 B02), but for us alone: nothing of it is durable, and another worker knows nothing of it.
        """
        interval = PENDING_FIRST_S + round(share(inbound.call.id) * wait_s)
        answer = frames.result(inbound.call.id, dialect.boot_answer("Pending", interval, inbound.now))
        new = replace(state, boot=HELD, seen_at=inbound.now)
        return Decision(new, (Answer(inbound, answer, dialect.boot(request, "Pending")),))

    def _heartbeat(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        now = inbound.now
        text = frames.result(inbound.call.id, dialect.heartbeat_answer(now))
        if 0 <= now - state.seen_at < SEEN_EVERY_MS:  # else it is due, or the clock was put back
            return Decision(state, (Answer(inbound, text),))
        return Decision(replace(state, seen_at=now), (Answer(inbound, text, Seen()),))

    def _authorize(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        token = dialect.token(request)
        assert token is not None  # idTag and idToken are required here
        return Decision(state, (Ask(token, False, partial(self._authorized, inbound, dialect)),))

    def _authorized(self, inbound: Inbound, dialect: Dialect, state: Live, asked: Asked) -> Decision[Live]:
        text = frames.result(inbound.call.id, dialect.authorize_answer(asked.verdict))
        return Decision(state, (Answer(inbound, text, Reported("Authorize", bytes(inbound.call.payload))),))

    def _start(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        start = dialect.start(request, inbound.now, doubts)
        known = dict(state.starts).get(start.key)
        return Decision(state, (Ask(start.token, known is None, partial(self._started, inbound, dialect, start, known)),))

    def _started(
        self, inbound: Inbound, dialect: Dialect, start: Start, known: int | None, state: Live, asked: Asked
    ) -> Decision[Live]:
        """Always answered with an id, whatever the verdict (1.6 4.8); a repeated start gets the id it had."""
        number = known if known is not None else asked.number
        if number is None:
            return Decision(state, (Answer(inbound, None),))  # no id is left until the pool is back: the charger asks again
        verdict = asked.verdict
        fact = TransactionStarted(
            transaction=str(number),
            evse=start.evse,
            connector=1,
            at=start.at,
            token=start.token,
            meter_wh=start.meter_wh,
            reservation=start.reservation,
            status=verdict.status,
        )
        opened = OpenTransaction(fact.transaction, start.evse, start.at, start.token.id)
        text = frames.result(inbound.call.id, dialect.start_answer(number, verdict))
        new = state.with_start(opened, start.key, number)
        return Decision(new, (Answer(inbound, text, fact, durable=True, checkpoint=True),))

    def _stop(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        """Always answered, whatever we think of the transaction or the tag (1.6 4.10, errata 3.18)."""
        fact = dialect.stop(request, inbound.now, doubts)
        if fact.token is not None:
            return Decision(state, (Ask(fact.token, False, partial(self._money, inbound, dialect, fact)),))
        return self._money(inbound, dialect, fact, state, None)

    def _event(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        """TransactionEvent cannot be refused (2.0.1 part 6, TC_E_53)."""
        fact = dialect.event(request, inbound.now, doubts)
        if fact.token is not None:
            return Decision(state, (Ask(fact.token, False, partial(self._money, inbound, dialect, fact)),))
        return self._money(inbound, dialect, fact, state, None)

    def _money(
        self,
        inbound: Inbound,
        dialect: Dialect,
        fact: TransactionStarted | TransactionUpdated | TransactionEnded,
        state: Live,
        asked: Asked | None,
    ) -> Decision[Live]:
        verdict = asked.verdict if asked is not None else None
        new = state
        if isinstance(fact, TransactionEnded):
            new = state.with_end(fact.transaction)
        elif isinstance(fact, TransactionStarted):
            if verdict is not None:
                fact = replace(fact, status=verdict.status)
            new = state.with_start(OpenTransaction(fact.transaction, fact.evse, fact.at, fact.token.id if fact.token else None))
        text = frames.result(inbound.call.id, dialect.transaction_answer(verdict))
        # A retry checkpoints again: the first time may have failed after the state was new.
        return Decision(new, (Answer(inbound, text, fact, durable=True, checkpoint=not isinstance(fact, TransactionUpdated)),))

    def _meter(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        fact = dialect.meter(request, inbound.now, doubts)
        text = frames.result(inbound.call.id, dialect.meter_answer)
        return Decision(state, (Answer(inbound, text, fact, type(fact) is TransactionUpdated),))

    def _status(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        fact = dialect.status(request, inbound.now, doubts)
        text = frames.result(inbound.call.id, dialect.status_answer)
        return Decision(state.with_status(fact.evse, fact.connector, fact.status, fact.at), (Answer(inbound, text, fact),))

    def _report(self, state: Live, inbound: Inbound, dialect: Dialect, rule: Rule, request: Any, doubts: Doubts) -> Decision[Live]:
        call = inbound.call
        if self._planted_bug and call.action == "DataTransfer" and request.vendorId == PLANTED_VENDOR and request.messageId == "raise":
            raise PlantedBug("asked for by the test")
        fact = Reported(call.action, bytes(call.payload))
        if rule.answer is None:  # a SEND
            return Decision(state, (Answer(inbound, None, fact),))
        return Decision(state, (Answer(inbound, frames.result(call.id, rule.answer(request, inbound.now)), fact),))


def _with_doubts(decision: Decision[Live], inbound: Inbound, doubts: Doubts) -> Decision[Live]:
    """The decision, and the whole payload parked beside it: the good part is used, nothing is dropped."""
    call = inbound.call
    parked = Parked("repaired", "; ".join(doubts.reasons)[:2000], call.action, bytes(call.payload))
    return Decision(decision.state, (Note(parked, inbound.now, call.id), *decision.effects))

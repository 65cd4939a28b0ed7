"""What the server's answers mean: to the boot, to a driver who waits, to the queue; and what it means when none comes."""

from collections.abc import Callable

from msgspec import Raw

from cpms_actors.simulator.connectors import Connectors
from cpms_actors.simulator.desk import Present
from cpms_actors.simulator.firmware import Firmware
from cpms_actors.simulator.options import Options
from cpms_actors.simulator.outbox import Call, Outbox, Purpose
from cpms_actors.simulator.queue import Kind, TransactionMessage
from cpms_actors.simulator.registration import Registration
from cpms_actors.simulator.session import Session, StopReason
from cpms_actors.simulator.words import Words


class Answers:
    """Reads answers for one charge point.

    `on_accepted` is called when a boot is, `on_acknowledged` with each transaction message; `fail` notes what went wrong.
    """

    def __init__(
        self,
        options: Options,
        words: Words,
        present: Present,
        connectors: Connectors,
        outbox: Outbox,
        registration: Registration,
        firmware: Firmware,
        on_accepted: Callable[[], None],
        on_acknowledged: Callable[[TransactionMessage], None],
        fail: Callable[[str], None],
    ) -> None:
        self._options, self._words, self._present = options, words, present
        self._connectors, self._outbox, self._registration, self._firmware = connectors, outbox, registration, firmware
        self._on_accepted, self._on_acknowledged, self._fail = on_accepted, on_acknowledged, fail

    def is_unheard(self, call: Call) -> bool:
        """Whether the quirk `loses_answers_to` swallows this answer."""
        action, session = call.request.action, call.session
        if session is None or action in session.unheard or action not in self._options.quirks.loses_answers_to:
            return False
        session.unheard.add(action)
        return True

    def answered(self, call: Call, payload: Raw) -> None:
        """A CALLRESULT came; raises msgspec.DecodeError, with nothing done, when it breaks the schema."""
        if call.purpose is Purpose.TRANSACTION:
            self._transaction(call, payload)
        elif call.purpose is Purpose.AUTHORIZE and call.session is not None:
            status = self._words.read_authorize(payload)
            if status == "Accepted":
                self._connectors.authorized(call.session, self._present.at, status)
            else:
                self._connectors.refused(call.session, self._present.at, status)
        elif call.purpose is Purpose.BOOT:
            self._registration.answered(self._words.read_boot(payload), self._present.now)
            if self._registration.accepted:
                self._on_accepted()
        elif call.purpose is Purpose.FIRMWARE:
            self._firmware.answered()

    def failed(self, call: Call, why: str) -> None:
        """A CALL came to nothing: a CALLERROR, an unreadable answer, or none in time."""
        if call.purpose is Purpose.TRANSACTION:
            given_up = self._outbox.queue.failed(self._present.now)
            if given_up is not None:
                self._fail(f"{call.request.action} discarded after {given_up.attempts} attempts: {why}")
            return
        self._fail(f"{call.request.action}: {why}")
        if call.purpose is Purpose.AUTHORIZE and call.session is not None:
            self._connectors.refused(call.session, self._present.at, "Unanswered")
        elif call.purpose is Purpose.BOOT:
            self._registration.boot_again_at(self._present.now + round(self._options.boot_retry_s * 1000))

    def abandoned(self, call: Call) -> None:
        """The connection was lost before this CALL was answered."""
        if call.purpose is Purpose.AUTHORIZE and call.session is not None:
            self.authorize_offline(call.session, self._present.at)
        elif call.purpose is Purpose.BOOT:
            self._registration.boot_again_at(self._present.now)

    def authorize_offline(self, session: Session, at: int) -> None:
        """Nobody can be asked: the charge point decides."""
        if self._options.offline_start:
            self._connectors.authorized(session, at, None)
        else:
            self._connectors.refused(session, at, "Offline")

    def _transaction(self, call: Call, payload: Raw) -> None:
        answer = self._words.read_transaction(call.request.action, payload)
        message = self._outbox.queue.acknowledged()
        session = message.session
        if message.kind is Kind.START:
            session.transaction = session.transaction or answer.transaction
        self._on_acknowledged(message)
        if answer.status is None or message.kind is Kind.END:
            return
        session.authorization = answer.status
        if answer.status != "Accepted" and session.running:  # 1.6 section 4.8 StopTransactionOnInvalidId, 2.x E05
            self._connectors.end(session, self._present.at, StopReason.DEAUTHORIZED)

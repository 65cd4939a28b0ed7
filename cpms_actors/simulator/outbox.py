"""What a charge point has to say, and the one CALL that is out: ordinary calls, the offline queue, message ids, deadlines.

One CALL is outstanding at a time (OCPP-J 1.6 section 4.1.1). Ordinary calls overtake the queue of transaction messages, which are
in order among themselves (OCPP 1.6 section 3.7). When the connection is lost, ordinary calls are forgotten and handed back to
their owner; the queue stays.
"""

from collections import deque
from enum import Enum

import msgspec
from msgspec import Struct

from cpms_actors.simulator.options import Options
from cpms_actors.simulator.queue import TransactionMessage, TransactionQueue
from cpms_actors.simulator.session import Session
from cpms_actors.simulator.words import Request, Words

CALLS_MAX = 64  # statuses of 16 connectors twice over, a boot, an authorization, triggered messages
_ENCODE = msgspec.json.Encoder().encode


class Purpose(Enum):
    """Why a CALL was made, so that its answer finds its reader."""

    BOOT = "boot"
    HEARTBEAT = "heartbeat"
    STATUS = "status"
    AUTHORIZE = "authorize"
    METER = "meter"
    TRANSACTION = "transaction"
    FIRMWARE = "firmware"


class Call(Struct, eq=False):
    """A CALL that waits or is out. `always`: it may be sent before the boot is accepted."""

    purpose: Purpose
    request: Request
    session: Session | None = None
    evse: int | None = None
    always: bool = False
    message_id: str = ""
    deadline: int = 0


class Outbox:
    """Decides what is sent next. `prefix` begins every message id; `refused` counts ordinary calls that found no room."""

    def __init__(self, options: Options, words: Words) -> None:
        self._options, self._words = options, words
        self.prefix = ""
        self._calls: deque[Call] = deque()
        self._number = 0
        self.queue = TransactionQueue(options.queue_max, options.attempts_max, round(options.retry_interval_s * 1000))
        self.outstanding: Call | None = None
        self.refused = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to say and nothing to wait for."""
        return self.outstanding is None and not self._calls and not self.queue

    def call(self, call: Call) -> None:
        """Queue an ordinary call; when there is no room the newest is refused and counted."""
        if len(self._calls) >= CALLS_MAX:
            self.refused += 1
        elif call.purpose is Purpose.BOOT:
            self._calls.appendleft(call)
        else:
            self._calls.append(call)

    def next(self, now: int, registered: bool) -> str | None:
        """The text to send now, which becomes the outstanding CALL; None when something is out or nothing may be said."""
        if self.outstanding is not None:
            return None
        call = self._ordinary(registered)
        if call is None and registered:
            head = self.queue.head()
            call = self._transaction(head) if head is not None and now >= self.queue.not_before else None
        if call is None:
            return None
        call.deadline = now + round(self._options.call_timeout_s * 1000)
        self.outstanding = call
        return _ENCODE([2, call.message_id, call.request.action, call.request.payload]).decode()

    def take(self, message_id: str) -> Call | None:
        """The outstanding CALL if it has this id; it is no longer outstanding. None for the answer to nothing."""
        call = self.outstanding
        if call is None or call.message_id != message_id:
            return None
        self.outstanding = None
        return call

    def expired(self, now: int) -> Call | None:
        """The outstanding CALL if its deadline has passed; it is no longer outstanding."""
        call = self.outstanding
        if call is None or now < call.deadline:
            return None
        self.outstanding = None
        return call

    def next_due(self, registered: bool) -> int | None:
        """The real moment at which there is something to do: a deadline, or the end of a wait before a retry."""
        if self.outstanding is not None:
            return self.outstanding.deadline
        return self.queue.not_before if registered and self.queue else None

    def connection_lost(self) -> list[Call]:
        """Forget the ordinary calls, sent or not, and return them. A transaction message stays the head of the queue."""
        lost = [*([self.outstanding] if self.outstanding else ()), *self._calls]
        self.outstanding = None
        self._calls.clear()
        return [call for call in lost if call.purpose is not Purpose.TRANSACTION]

    def _ordinary(self, registered: bool) -> Call | None:
        if not self._calls:
            return None
        if registered or self._calls[0].always:
            call = self._calls.popleft()
            call.message_id = self._new_id()
            return call
        return None

    def _transaction(self, head: TransactionMessage) -> Call:
        if head.message_id is None or not self._options.retry_same_id:
            head.message_id = self._new_id()
        return Call(Purpose.TRANSACTION, self._words.transaction(head), head.session, message_id=head.message_id)

    def _new_id(self) -> str:
        if self._options.quirks.constant_message_id is not None:
            return self._options.quirks.constant_message_id
        self._number += 1
        return f"{self.prefix}-{self._number}"

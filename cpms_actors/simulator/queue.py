"""The offline queue: transaction messages in order, one at a time, each tried until it is acknowledged or given up.

OCPP 1.6 sections 3.7 and 3.7.1 (and E13 of OCPP 2.x): a message that the server fails to process is repeated after
interval x attempts, at most `attempts_max` times in all, then discarded. A lost connection is no failed attempt. The message is
kept as what happened, not as text: the transaction id of 1.6 is known only once the start was answered.
"""

from collections import deque
from enum import Enum

from msgspec import Struct

from cpms_actors.simulator.session import Sample, Session


class Kind(Enum):
    """What a transaction message tells."""

    START = "start"
    UPDATE = "update"
    END = "end"


class TransactionMessage(Struct, eq=False):
    """One line of the queue. `seq`, `offline`, `trigger` and `charging_state` are spoken by 2.x only."""

    kind: Kind
    session: Session
    sample: Sample
    seq: int
    offline: bool
    trigger: str
    charging_state: str
    attempts: int = 0
    message_id: str | None = None


class TransactionQueue:
    """At most `bound` messages, oldest first. `refused` counts meter values dropped for want of room, `peak` the longest queue."""

    def __init__(self, bound: int, attempts_max: int, interval_ms: int) -> None:
        self._messages: deque[TransactionMessage] = deque()
        self._held: list[TransactionMessage] = []
        self._bound, self._attempts_max, self._interval_ms = bound, attempts_max, interval_ms
        self.not_before = 0
        self.peak = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: TransactionMessage) -> bool:
        """Queue a message. False: a meter value found no room (OCPP 1.6 section 3.7 lets those go first)."""
        if len(self._messages) >= self._bound and message.kind is Kind.UPDATE:
            self.refused += 1
            return False
        self._messages.append(message)
        message.session.pending += 1
        self.peak = max(self.peak, len(self._messages))
        return True

    def hold(self, message: TransactionMessage) -> None:
        """Keep a message back until `release`: it is pending, and nobody's turn."""
        self._held.append(message)
        message.session.pending += 1

    def release(self) -> None:
        """What was kept back comes behind all others."""
        self._messages.extend(self._held)
        self._held.clear()

    def head(self) -> TransactionMessage | None:
        """The message whose turn it is, however long it still has to wait (`not_before`, real ms)."""
        return self._messages[0] if self._messages else None

    def holds(self, session: Session) -> bool:
        """Whether something of the session is not yet acknowledged."""
        return session.pending > 0

    def acknowledged(self) -> TransactionMessage:
        """The head was answered."""
        message = self._leave()
        message.session.acknowledged += 1
        return message

    def failed(self, now: int) -> TransactionMessage | None:
        """The head was answered by a CALLERROR, or not at all. Returns it when it is given up, None when it will be repeated."""
        message = self._messages[0]
        message.attempts += 1
        if message.attempts < self._attempts_max:
            self.not_before = now + self._interval_ms * message.attempts
            return None
        self._leave()
        message.session.discarded += 1
        return message

    def _leave(self) -> TransactionMessage:
        message = self._messages.popleft()
        message.session.pending -= 1
        self.not_before = 0
        return message

"""The live state of one charger, and what its turns may ask to be done.

The state is a frozen value: a turn makes a new one or leaves it, so a turn that fails has changed nothing. It is acyclic and
untracked by the cyclic collector; there is one per connected charger.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.charger.line import Line
from cpms_actors.domain.access import BootPolicy, Verdict
from cpms_actors.domain.events import Fact, IdToken
from cpms_actors.ocpp.frames import Call, Send

STARTS_MAX: Final = 8
ENDED_MAX: Final = 8
OPEN_MAX: Final = 64
CONNECTORS_MAX: Final = 64
HELD: Final = "Held"  # `Live.boot` of a charger that was answered Pending because there was a queue, not because somebody wants it so


class OpenTransaction(Struct, frozen=True, array_like=True, gc=False):
    """A transaction that has begun and, as far as we were told, not ended."""

    transaction: str
    evse: int
    since: int
    token: str | None = None


class Live(Struct, frozen=True, array_like=True, gc=False):
    """What the actor knows.

    `boot` is what the last BootNotification was answered, or HELD, and "" when we saw none: a charger may reconnect without one (OCPP
    1.6 5.4, 2.1 part 4 5.4). `starts` holds the content keys of the last StartTransactions with the ids they got, so that a retry
    under a new message id gets the same transaction. `ended` are the last that ended: a late start must not open them again.
    """

    boot: str = ""
    seen_at: int = 0
    open: tuple[OpenTransaction, ...] = ()
    starts: tuple[tuple[str, int], ...] = ()
    ended: tuple[str, ...] = ()
    statuses: tuple[tuple[int, int, str, int], ...] = ()  # evse, connector, status, at

    def with_start(self, opened: OpenTransaction, key: str = "", number: int = 0) -> "Live":
        """With the transaction open, unless it has ended, and its content key remembered when it has one (1.6)."""
        if opened.transaction in self.ended:
            return self
        others = tuple(o for o in self.open if o.transaction != opened.transaction)[-OPEN_MAX + 1 :]
        starts = self.starts
        if key and (key, number) not in starts:
            starts = (*starts[-STARTS_MAX + 1 :], (key, number))
        return replace(self, open=(*others, opened), starts=starts)

    def with_end(self, transaction: str) -> "Live":
        """With the transaction ended, whether it was open or not."""
        others = tuple(e for e in self.ended if e != transaction)[-ENDED_MAX + 1 :]
        return replace(self, open=tuple(o for o in self.open if o.transaction != transaction), ended=(*others, transaction))

    def with_status(self, evse: int, connector: int, status: str, at: int) -> "Live":
        """With a connector's status, unless a later one is known: queued offline notifications must not flip live state."""
        for known in self.statuses:
            if known[0] == evse and known[1] == connector:
                if known[3] > at:
                    return self
                others = tuple(s for s in self.statuses if s is not known)
                return replace(self, statuses=(*others, (evse, connector, status, at)))
        return replace(self, statuses=(*self.statuses[-CONNECTORS_MAX + 1 :], (evse, connector, status, at)))


class Inbound(Struct, frozen=True, gc=False):
    """A CALL or SEND for the actor: the message, when it came, on which line, and the boot policy in force for its charger."""

    call: Call | Send
    now: int
    line: Line
    boot_policy: BootPolicy


class Answer(Struct, frozen=True, gc=False):
    """Answer the CALL by `text` (None: say nothing) after `fact` is in the journal.

    With `durable` the answer waits until the journal's page is stored; with `checkpoint` also until the live state is. A durable
    answer is remembered for retries under the same message id.
    """

    inbound: Inbound
    text: bytes | None
    fact: Fact | None = None
    durable: bool = False
    checkpoint: bool = False
    then: ClassVar[None] = None  # nothing follows from it; saying so spares the runtime the search


class Note(Struct, frozen=True, gc=False):
    """Put a fact into the journal without waiting for it."""

    fact: Fact
    now: int
    message_id: str = ""
    then: ClassVar[None] = None


class Asked(Struct, frozen=True, gc=False):
    """The answer to an Ask. `number` is None when no id was wanted or none is left."""

    verdict: Verdict
    number: int | None


class Ask(Struct, frozen=True, gc=False):
    """Ask for the verdict on a token and, with `with_id`, for a transaction id; the turn goes on in `then(state, Asked)`."""

    token: IdToken
    with_id: bool
    then: Callable[[Live, Asked], Any]


def spread(message_id: str, interval_s: int) -> int:
    """The interval, moved by up to a tenth either way. Message ids differ over a fleet and from boot to boot: they are the chance."""
    return max(1, round(interval_s * (0.9 + 0.2 * share(message_id))))


def share(message_id: str) -> float:
    """What this message draws of 0 … 1."""
    return crc32(message_id.encode()) / 0xFFFFFFFF

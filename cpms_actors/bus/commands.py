"""What is asked of workers: a call to a charger, and how the worker is doing.

A call goes to `subjects.charger_command(slot, tenant, charger, "call")` and is answered by the worker that owns the slot; nobody
answers when no worker owns it. With the verb "known" and a revision of the registry the worker answers as soon as its mirror has come
that far, so that whoever was just let in is let in. `subjects.WORKER_STATUS` is answered by every worker. All are msgpack; fields may
be added at the end with a default, so that a pool and a worker of neighbouring releases understand each other.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct, field

CALL_VERB: Final = "call"
KNOWN_VERB: Final = "known"

Kind = Literal["result", "error", "failed"]
"""`result`: the charger's CALLRESULT. `error`: the charger's CALLERROR. `failed`: the worker could not get an answer."""

NOT_CONNECTED: Final = "NotConnected"  # the charger has no connection
DISCONNECTED: Final = "Disconnected"  # the connection ended while the call was outstanding
TIMEOUT: Final = "Timeout"  # no answer within timeout_s
BUSY: Final = "Busy"  # more calls wait for this charger than charging.commands_max, or for the worker than it may send within timeout_s
UNKNOWN_ACTION: Final = "UnknownAction"  # no action that a CSMS may send in the charger's version of OCPP
INVALID_PAYLOAD: Final = "InvalidPayload"  # the payload does not fit the action's request
NOT_ALLOWED: Final = "NotAllowed"  # the charger's boot status forbids the action (OCPP 1.6 section 4.2)
INVALID_ANSWER: Final = "InvalidAnswer"  # the CALLRESULT does not fit the action; `payload` is what came


class CallQuestion(Struct, frozen=True):
    """Send one CSMS-initiated action to a charger. `payload` is the request's JSON object, `timeout_s` the wait for its answer."""

    action: str
    payload: bytes
    timeout_s: float


class CallAnswer(Struct, frozen=True):
    """What became of a call.

    result: `payload` is the answer's JSON object. error: `code` and `text` are the CALLERROR's, `payload` its details (JSON).
    failed: `code` is one of the words above, `text` a sentence for the operator; `payload` is empty.
    """

    kind: Kind
    payload: bytes = b""
    code: str = ""
    text: str = ""


class LaneJournal(Struct, frozen=True):
    """The journal of one lane in one worker: events not yet durable now and at most, pages and events appended, refused events.

    `stalled`: why the broker takes nothing now; "" while it does.
    """

    waiting: int = 0
    waiting_peak: int = 0
    pages: int = 0
    events: int = 0
    refusals: int = 0
    stalled: str = ""


class WorkerStatus(Struct, frozen=True):
    """How one worker is doing. Counters count since `started_at` (ms); rates are per second over the last seconds.

    `journal` is keyed by lane ("0", "1", …). `refusals` counts what was turned away, by reason; `counters` is whatever else counts.
    `host_lag_ms` and `guest_lag_ms` are how late uvloop and trio were at worst in the last seconds, `loop_lag_ms` the worse of them;
    `health` is "ok" or "late", and "" from a worker that does not tell.
    """

    name: str
    pid: int
    started_at: int
    slots: int = 0
    connections: int = 0
    open_transactions: int = 0
    messages_in: int = 0
    messages_out: int = 0
    messages_in_per_s: float = 0.0
    loop_lag_ms: float = 0.0
    memory_bytes: int = 0
    journal: dict[str, LaneJournal] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    host_lag_ms: float = 0.0
    guest_lag_ms: float = 0.0
    health: str = ""


class Replaced(Struct, frozen=True):
    """A worker that a rollout has replaced: the names of its old process and its new one."""

    before: str
    after: str
    seconds: float


class RolloutAnswer(Struct, frozen=True):
    """What became of a rollout. `error`: why it went no further."""

    replaced: list[Replaced] = field(default_factory=list)
    error: str = ""


class DrainQuestion(Struct, frozen=True):
    """Give every slot to other workers, over so many seconds where connections must be closed for it; or (`back`) serve again."""

    spread_s: float = 0.0
    back: bool = False


class DrainAnswer(Struct, frozen=True):
    """A worker that will; how many slots it has at this moment."""

    worker: str
    slots: int


ROLLOUT_DECODER: Final = msgspec.msgpack.Decoder(RolloutAnswer)
DRAIN_DECODER: Final = msgspec.msgpack.Decoder(DrainQuestion)
DRAINED_DECODER: Final = msgspec.msgpack.Decoder(DrainAnswer)
REVISION_DECODER: Final = msgspec.msgpack.Decoder(int)
QUESTION_DECODER: Final = msgspec.msgpack.Decoder(CallQuestion)
ANSWER_DECODER: Final = msgspec.msgpack.Decoder(CallAnswer)
STATUS_DECODER: Final = msgspec.msgpack.Decoder(WorkerStatus)

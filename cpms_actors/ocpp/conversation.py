"""One WebSocket's conversation, sans-I/O: who has asked what, and which answer belongs to it.

One CALL may be outstanding in each direction, independently (OCPP-J 1.6 4.1.1, OCPP 2.1 part 4 4.1.1): what we have outstanding
never delays or refuses what the charger asks. `receive` sorts what came; `call` opens our side; `remembered` is the answer to the
charger's last money frame, so that a retry under the same message id gets the same answer (2.1 part 4 4.1.4). One is enough: the
charger has one CALL outstanding, and what it repeats is that one.
"""

from typing import Final, TypeAlias
from zlib import crc32

from msgspec import Raw, Struct

from cpms_actors.base.errors import RemoteFault
from cpms_actors.ocpp import frames
from cpms_actors.ocpp.frames import Call, CallError, CallResult, Malformed, Send, read

LENIENT_ID_LENGTH_MAX: Final = 255
REMEMBERED_BYTES_MAX: Final = 1024


class OutboundCall(Struct, frozen=True, gc=False):
    """A CALL of ours that waits for its answer."""

    id: str
    action: str


class Answered(Struct, frozen=True, gc=False):
    """Our CALL was answered."""

    call: OutboundCall
    payload: Raw


class Refused(Struct, frozen=True, gc=False):
    """Our CALL was answered by a CALLERROR."""

    call: OutboundCall
    error: CallError


class Repeated(Struct, frozen=True, gc=False):
    """The charger asked again what was answered: send the same answer."""

    answer: bytes


class Ignored(Struct, frozen=True, gc=False):
    """Nothing to do but count: a late or unknown answer, an unknown message type. `reason` is a stable word."""

    reason: str


class Faulty(Struct, frozen=True, gc=False):
    """No message of this protocol: park the text, send `answer` when there is one."""

    reason: str
    answer: bytes | None


Received: TypeAlias = Call | Send | Answered | Refused | Repeated | Ignored | Faulty


Remembered: TypeAlias = tuple[str, Raw | int, bytes]
"""Message id, content and answer of what was answered."""


class CallOutstanding(RemoteFault):
    """A second CALL was tried while one is outstanding: the caller's queue should have waited."""


def content(payload: Raw) -> Raw | int:
    """What tells a payload from another: itself, or of a large one, whose memory would be kept for ever, a digest."""
    return payload if len(payload) <= REMEMBERED_BYTES_MAX else crc32(payload)


class Conversation:
    """The state of one connection's conversation. `version` is "1.6", "2.0.1" or "2.1"."""

    __slots__ = ("_id_max", "lenient", "outstanding", "remembered", "version")

    def __init__(self, version: str, *, lenient: bool = False) -> None:
        self.version = version
        self.lenient = lenient
        self.outstanding: OutboundCall | None = None
        self.remembered: Remembered | None = None  # of the last money frame
        self._id_max = LENIENT_ID_LENGTH_MAX if lenient else frames.ID_LENGTH_MAX

    def receive(self, text: bytes) -> Received:
        """What the text means here. Never raises for what a charger may send."""
        frame = read(text)
        if type(frame) is not Call:
            return self._receive_other(frame)
        id_ = frame.id
        if len(id_) > self._id_max:
            return self._faulty("the message id is too long", id_[:LENIENT_ID_LENGTH_MAX])
        remembered = self.remembered
        # The same id with other content is a charger that counts badly, not a retry: it wants its own answer.
        if remembered is not None and remembered[0] == id_ and remembered[1] == content(frame.payload):
            return Repeated(remembered[2])
        return frame

    def _receive_other(self, frame: frames.Frame) -> Received:
        match frame:
            case CallResult():
                outbound = self._take(frame.id)
                return Answered(outbound, frame.payload) if outbound else Ignored("late_answer")
            case CallError(about_result=False):
                outbound = self._take(frame.id)
                return Refused(outbound, frame) if outbound else Ignored("late_answer")
            case CallError() if self.version == "2.1":
                return Ignored("result_refused")
            case Send() if self.version == "2.1":
                return frame
            case Malformed():
                return self._faulty(frame.reason, frame.id)
            case _:
                return Ignored("unknown_message_type")

    def call(self, id_: str, action: str, payload: object) -> bytes:
        """The text of our next CALL, from now on outstanding. Raises CallOutstanding when one is already."""
        if self.outstanding is not None:
            raise CallOutstanding(f"{self.outstanding.action} is outstanding")
        self.outstanding = OutboundCall(id_, action)
        return frames.call(id_, action, payload)

    def expire(self) -> None:
        """Give up the outstanding CALL: its deadline passed or the socket is gone. An answer that still comes is late."""
        self.outstanding = None

    def _take(self, id_: str) -> OutboundCall | None:
        outbound = self.outstanding
        if outbound is None or outbound.id != id_:
            return None
        self.outstanding = None
        return outbound

    def _faulty(self, reason: str, id_: str | None) -> Faulty:
        if id_ is None or (self.version == "1.6" and id_ == frames.UNREADABLE_ID):
            return Faulty(reason, None)  # 1.6 knows no answer to a CALL whose id cannot be read
        code = "FormationViolation" if self.version == "1.6" else "RpcFrameworkError"
        return Faulty(reason, frames.error(id_, code, reason))

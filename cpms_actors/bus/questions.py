"""What is asked of the session pool: may this token charge, more transaction ids, and how far behind it is.

`subjects.session(lane, AUTHORIZE)` and `…(lane, LEASE)` are answered by any process of the pool (one queue group per subject),
`STATUS_SUBJECT` by every process that holds lanes. All are msgpack; fields may be added at the end with a default. An empty answer
means that the pool cannot ask Postgres: the decoders below raise Unavailable, and the worker's offline policy decides.
"""

from typing import Final

import msgspec
from msgspec import Struct

from cpms_actors.base.errors import Unavailable
from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import IdToken

AUTHORIZE: Final = "authorize"
LEASE: Final = "lease"
STATUS_SUBJECT: Final = "cpms.session.status"
QUEUE_GROUP: Final = "session"

LEASE_BLOCK: Final = 1000  # transaction ids per block
LEASE_BLOCKS_MAX: Final = 16


class AuthorizeQuestion(Struct, frozen=True, array_like=True):
    """May this token charge at this charger?"""

    tenant: str
    charger: str
    token: IdToken


class LeaseQuestion(Struct, frozen=True, array_like=True):
    """Give me transaction ids of OCPP 1.6: `blocks` of LEASE_BLOCK, 1 to LEASE_BLOCKS_MAX."""

    tenant: str
    blocks: int = 1


class IdBlock(Struct, frozen=True, array_like=True):
    """Transaction ids `first` to `last`, both included: positive, 31 bits, given to nobody else."""

    first: int
    last: int


class LaneStatus(Struct, frozen=True):
    """One lane as its owner sees it.

    `offset` is the stream sequence up to which the lane is folded, `stream_last` the newest of the whole journal (pages of other
    lanes lie between), `lag_pages` how many pages of the lane wait, `lag_ms` how long ago a worker received the event that was
    folded last, 0 when nothing waits. Counts are since the lane was claimed.
    """

    lane: int
    epoch: int
    offset: int
    stream_last: int
    lag_pages: int
    lag_ms: int
    events: int
    events_per_s: float
    parked: int
    stored_twice: int
    failures: int


class SessionStatus(Struct, frozen=True):
    """One process of the session pool and the lanes it holds. Since it started: how many transactions it has closed provisionally, how
    often it has asked a station about one, had no answer, learnt that events are lost, had to put a question off, and asked nothing
    because too many were asked about."""

    owner: str
    lanes: tuple[LaneStatus, ...]
    postgres: bool
    failed_starts: int = 0
    endless: int = 0
    asked: int = 0
    unanswered: int = 0
    lost: int = 0
    postponed: int = 0
    unremembered: int = 0


NO_ANSWER: Final = b""
ENCODE: Final = msgspec.msgpack.Encoder().encode
AUTHORIZE_QUESTION: Final[msgspec.msgpack.Decoder[AuthorizeQuestion]] = msgspec.msgpack.Decoder(AuthorizeQuestion)
LEASE_QUESTION: Final[msgspec.msgpack.Decoder[LeaseQuestion]] = msgspec.msgpack.Decoder(LeaseQuestion)
STATUS_ANSWER: Final[msgspec.msgpack.Decoder[SessionStatus]] = msgspec.msgpack.Decoder(SessionStatus)
_VERDICT: Final[msgspec.msgpack.Decoder[Verdict]] = msgspec.msgpack.Decoder(Verdict)
_ID_BLOCK: Final[msgspec.msgpack.Decoder[IdBlock]] = msgspec.msgpack.Decoder(IdBlock)


def decode_verdict(answer: bytes) -> Verdict:
    """The answer to an AuthorizeQuestion. Raises Unavailable when the pool had none."""
    if answer == NO_ANSWER:
        raise Unavailable("the session pool cannot ask Postgres now")
    return _VERDICT.decode(answer)


def decode_id_block(answer: bytes) -> IdBlock:
    """The answer to a LeaseQuestion. Raises Unavailable when the pool had none."""
    if answer == NO_ANSWER:
        raise Unavailable("the session pool cannot ask Postgres now")
    return _ID_BLOCK.decode(answer)

"""When a station is asked what became of a transaction of which something is missing: one pure function, and what became of it before.

OCPP 2.0.1 and 2.1 (part 2, use case E14) have a question for it, GetTransactionStatus. The answer says whether the station still holds
messages of the transaction (`messagesInQueue`) and, if it likes, whether that goes on (`ongoingIndicator`; one that does not say so is
taken not to). It is asked for two reasons:

    events     seqNos are missing, of a transaction that runs or has ended
    end        nothing was heard of it for so long that it would be closed provisionally (domain/silence.py)

                   asks                                            left alone after
    events         when there is a gap, ever more rarely           ASKED_MAX questions, or UNANSWERED_MAX in a row without an answer
    end            at each limit of silence, ever more rarely      UNANSWERED_MAX in a row without an answer: then silence decides

What an answer means is for the fold (TransactionAnswered in domain/charging.py). A station that cannot be asked, because it is away or
speaks OCPP 1.6, is left alone: what it has kept it tells when it is back.
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Missing: TypeAlias = Literal["events", "end"]
Step: TypeAlias = Literal["ask", "wait", "leave"]

AGAIN_MS_FIRST: Final = 120_000  # longer than an answer takes to be folded; doubled by every question
AGAIN_MS_MAX: Final = 21_600_000
ASKED_MAX: Final = 12  # with the pauses between them more than a day
UNANSWERED_MAX: Final = 5
_DOUBLINGS: Final = (AGAIN_MS_MAX // AGAIN_MS_FIRST).bit_length()


class Asked(Struct, frozen=True, gc=False):
    """How often a station was asked about a transaction, how often in a row without an answer, and when it may be again (ms)."""

    times: int = 0
    unanswered: int = 0
    not_before: int = 0


NEVER: Final = Asked()


def next_step(missing: Missing, asked: Asked, *, reachable: bool, now: int) -> Step:
    """What to do about a transaction now. `reachable`: its station is connected and speaks OCPP 2.x."""
    if not reachable or asked.unanswered >= UNANSWERED_MAX or (missing == "events" and asked.times >= ASKED_MAX):
        return "leave"
    return "ask" if now >= asked.not_before else "wait"


def after(asked: Asked, *, answered: bool, now: int) -> Asked:
    """What is known once it was asked at `now`. A CALLERROR is no answer: it says nothing of the transaction."""
    again_ms = min(AGAIN_MS_FIRST << min(asked.times, _DOUBLINGS), AGAIN_MS_MAX)
    return Asked(asked.times + 1, 0 if answered else asked.unanswered + 1, now + again_ms)

"""When silence means that a transaction is over: a table of what connectors say, and one pure function.

Chargers are silent for good reasons: they are offline in the middle of a charge, they sample once an hour or not at all, the car has
had enough and stands there until the morning. So silence alone proves nothing, and each rule asks for something else:

    failed start    no energy, and since the start its connector was said to be free, or another session has begun at its EVSE;
                    neither of that, nor anything of the transaction, is younger than the limit
    endless         no sign of it within the limit: nothing was heard of the transaction, and of its charger nothing while its connector
                    was said to be in use

That a charger is not connected proves neither: it may have lost its line right after the start, and will tell the whole charge when it
is back. Such a transaction is endless one day, and is closed with what is known until then; what comes later amends it.
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Reason: TypeAlias = Literal["failed-start", "endless"]
FAILED_START: Final = "failed-start"
ENDLESS: Final = "endless"

# What a status says of a transaction at its connector. Words that are missing here say nothing: a connector may be Faulted or
# Unavailable in the middle of a charge, many chargers are Preparing until the car draws, and Finishing with the cable in.
SAYS: Final[dict[str, Literal["free", "used"]]] = {
    "Available": "free",
    "Reserved": "free",
    "Charging": "used",  # OCPP 1.6
    "SuspendedEV": "used",
    "SuspendedEVSE": "used",
    "Occupied": "used",  # OCPP 2.x
}
HEARTBEATS_MIN: Final = 2  # that may be missing before a charger counts as silent
_MS: Final = 1000


class Limits(Struct, frozen=True):
    """A tenant's, in seconds; 0 is never. `heartbeat_s` is how often its chargers say at least something."""

    failed_start_s: int
    endless_s: int
    heartbeat_s: int


class Known(Struct, frozen=True, kw_only=True):
    """What is known of an active session, moments in ms.

    `heard_at`: its newest fact. `drew`: energy has flowed. `statuses`: the last word of its connector, or of each connector of its EVSE
    where it named none, and since when. `charger_heard_at`: anything of its charger. `overtaken_at`: when a later session began at its
    EVSE.
    """

    started_at: int
    heard_at: int
    drew: bool = False
    statuses: tuple[tuple[str, int], ...] = ()
    charger_heard_at: int | None = None
    overtaken_at: int | None = None


def judge(known: Known, limits: Limits, now: int) -> Reason | None:
    """Why the session is to be closed; None: it is not."""
    gone_at = _gone_at(known)
    never_began = not known.drew and gone_at is not None and now - max(known.heard_at, gone_at) >= limits.failed_start_s * _MS
    if limits.failed_start_s and never_began:
        return FAILED_START
    endless_s = max(limits.endless_s, HEARTBEATS_MIN * limits.heartbeat_s)
    if limits.endless_s and now - _last_sign(known) >= endless_s * _MS:
        return ENDLESS
    return None


def _gone_at(known: Known) -> int | None:
    """Since when something else than silence tells that it does not run; None when nothing does.

    A status that is older than the start tells nothing: it is of the time before.
    """
    if known.overtaken_at is not None:
        return known.overtaken_at
    if not known.statuses or any(SAYS.get(word) != "free" or at <= known.started_at for word, at in known.statuses):
        return None
    return max(at for _, at in known.statuses)


def _last_sign(known: Known) -> int:
    """When something was heard that only a running transaction explains. What a connector says after another start is of that one."""
    used = known.overtaken_at is None and any(SAYS.get(word) == "used" for word, _ in known.statuses)
    return max(known.heard_at, known.charger_heard_at) if used and known.charger_heard_at is not None else known.heard_at

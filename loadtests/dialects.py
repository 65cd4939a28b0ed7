"""What differs between the versions of OCPP in a storm: one table, a row for each. No loop, no I/O.

What a charger says by itself (subprotocol, boot, token, transaction with its readings, stop, what it queued) is in the simulator's
`Words`. Here is the rest: what the operator sends to a charger, and the rubbish that a poisonous one sends.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from cpms_actors.simulator.options import VERSIONS, Version

Ocpp = Literal["1.6", "2.0.1", "2.1", "mixed"]
CHOICES: Final[tuple[Ocpp, ...]] = get_args(Ocpp)
REQUEST: Final = 1  # the id of a remote start and of an update: no charger of a storm gets a second one
UNUSABLE: Final = 2  # of its rubbish at least so many messages the system keeps, whenever they come: p2 and p3


class Command(Struct, frozen=True):
    """A call for a charger, as its version has it."""

    action: str
    payload: Mapping[str, Any]


class Dialect(Struct, frozen=True):
    """One row: commands by token, by transaction, by where the firmware is and when to fetch it; and the rubbish, equally many each."""

    start: Callable[[str], Command]
    stop: Callable[[str], Command]
    update: Callable[[str, datetime], Command]
    rubbish: tuple[str, ...]


def _rubbish(status: str, readings: str) -> tuple[str, ...]:
    """What is no JSON, no frame, no action, of the wrong shape, endless. The two texts are wrong in a way of the version's own."""
    return (
        "rubbish",
        "[]",
        "{}",
        '[2,"p1"]',
        '[2,"p2","Fly",{}]',
        status,
        readings,
        f'[2,"{"p" * 300}","Heartbeat",{{}}]',
        '[9,"p5",{}]',
        '[3,"p6",{}]',
        "[" * 2000,
    )


_STATUS_2: Final = '[2,"p3","StatusNotification",{"evseId":"one"}]'
_V201: Final = Dialect(
    start=lambda token: Command(
        "RequestStartTransaction", {"evseId": 1, "remoteStartId": REQUEST, "idToken": {"idToken": token, "type": "ISO14443"}}
    ),
    stop=lambda transaction: Command("RequestStopTransaction", {"transactionId": transaction}),
    update=lambda location, at: Command(
        "UpdateFirmware", {"requestId": REQUEST, "firmware": {"location": location, "retrieveDateTime": at.isoformat()}}
    ),
    rubbish=_rubbish(_STATUS_2, '[2,"p4","TransactionEvent",[]]'),
)
TABLE: Final[Mapping[Version, Dialect]] = {
    "1.6": Dialect(
        start=lambda token: Command("RemoteStartTransaction", {"connectorId": 1, "idTag": token}),
        stop=lambda transaction: Command("RemoteStopTransaction", {"transactionId": int(transaction)}),
        update=lambda location, at: Command("UpdateFirmware", {"location": location, "retrieveDate": at.isoformat()}),
        rubbish=_rubbish('[2,"p3","StatusNotification",{"connectorId":"one"}]', '[2,"p4","MeterValues",[]]'),
    ),
    "2.0.1": _V201,
    # 2.1 says the same, and can also send what is never answered.
    "2.1": Dialect(_V201.start, _V201.stop, _V201.update, _rubbish(_STATUS_2, '[6,"p4","NotifyPeriodicEventStream",[]]')),
}


def version_of(ocpp: Ocpp, place: int) -> Version:
    """What the charger at a place of the fleet speaks; mixed, they take the versions by turns."""
    return VERSIONS[place % len(VERSIONS)] if ocpp == "mixed" else ocpp

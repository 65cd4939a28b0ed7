"""Which actions each version of OCPP has, who may send them, and how their payloads are decoded.

The schemas name the messages but not their senders: who sends what is the table below. Whatever it does not name is sent by the
CSMS. Everything is built on the first question about a version (2.1: under 0.1 s) and never again.

    action = actions("1.6")["MeterValues"]
    try:
        request = action.decode_request(call.payload)
    except DECODE_FAULTS as error:
        code = fault_of(error, action.version)
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import DecodeError, Raw, Struct, ValidationError

Version: TypeAlias = Literal["1.6", "2.0.1", "2.1"]
Decode: TypeAlias = Callable[[bytes | Raw], Any]

_MODULES: Final = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}

# OCPP 1.6 section 4; "Improved security for OCPP 1.6-J", section 6.
_FROM_CHARGER_16: Final = frozenset(
    (
        "Authorize",
        "BootNotification",
        "DataTransfer",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SecurityEventNotification",
        "SignCertificate",
        "SignedFirmwareStatusNotification",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    )
)
# OCPP 2.0.1 part 2, section 1 of Messages.
_FROM_CHARGER_201: Final = frozenset(
    (
        "Authorize",
        "BootNotification",
        "ClearedChargingLimit",
        "DataTransfer",
        "FirmwareStatusNotification",
        "Get15118EVCertificate",
        "GetCertificateStatus",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "NotifyChargingLimit",
        "NotifyCustomerInformation",
        "NotifyDisplayMessages",
        "NotifyEVChargingNeeds",
        "NotifyEVChargingSchedule",
        "NotifyEvent",
        "NotifyMonitoringReport",
        "NotifyReport",
        "PublishFirmwareStatusNotification",
        "ReportChargingProfiles",
        "ReservationStatusUpdate",
        "SecurityEventNotification",
        "SignCertificate",
        "StatusNotification",
        "TransactionEvent",
    )
)
# What OCPP 2.1 adds to 2.0.1.
_FROM_CHARGER_21: Final = _FROM_CHARGER_201 | frozenset(
    (
        "BatterySwap",
        "ClosePeriodicEventStream",
        "GetCertificateChainStatus",
        "NotifyDERAlarm",
        "NotifyDERStartStop",
        "NotifyPeriodicEventStream",
        "NotifyPriorityCharging",
        "NotifySettlement",
        "OpenPeriodicEventStream",
        "PullDynamicScheduleUpdate",
        "ReportDERControl",
        "VatNumberValidation",
    )
)
FROM_CHARGER: Final[Mapping[str, frozenset[str]]] = {"1.6": _FROM_CHARGER_16, "2.0.1": _FROM_CHARGER_201, "2.1": _FROM_CHARGER_21}
FROM_BOTH: Final = frozenset(("DataTransfer",))
SENT: Final = frozenset(("NotifyPeriodicEventStream",))
"""Actions that travel as SEND, message type 6, and have no response: OCPP 2.1 part 4, section 4.2.5."""


class Action(Struct, frozen=True):
    """One action of one version.

    `response` and `decode_response` are None for what is never answered (`send`: it travels as SEND). The decoders take the JSON of
    the payload and raise one of DECODE_FAULTS; they agree with the JSON schema of the message (see the tests for the few exceptions).
    """

    name: str
    version: str
    request: type[Struct]
    response: type[Struct] | None
    from_charger: bool
    from_csms: bool
    send: bool
    decode_request: Decode
    decode_response: Decode | None


@cache
def actions(version: str) -> Mapping[str, Action]:
    """The actions of "1.6", "2.0.1" or "2.1" by name, in alphabetical order. KeyError for any other version."""
    module = vars(import_module(f"cpms_actors.ocpp.messages.{_MODULES[version]}"))
    names = {name.removesuffix("Request") for name in module if name.endswith("Request")} | (SENT & module.keys())
    return MappingProxyType({name: _action(name, version, module) for name in sorted(names)})


def _action(name: str, version: str, module: Mapping[str, Any]) -> Action:
    send = name in SENT
    request = module[name if send else f"{name}Request"]
    response = None if send else module[f"{name}Response"]
    from_charger = name in FROM_CHARGER[version]
    return Action(
        name=name,
        version=version,
        request=request,
        response=response,
        from_charger=from_charger,
        from_csms=not from_charger or name in FROM_BOTH,
        send=send,
        decode_request=msgspec.json.Decoder(request).decode,
        decode_response=None if response is None else msgspec.json.Decoder(response).decode,
    )


DECODE_FAULTS: Final = (DecodeError, UnicodeDecodeError, RecursionError)
"""Whatever a decoder raises for a payload it cannot take: not JSON or not as the schema says, not UTF-8, nested too deeply."""

Fault: TypeAlias = Literal["format", "occurrence", "type", "property"]

_AT: Final = " - at `$"  # before the path in the message of a ValidationError, which the root does not have
# How the message of a ValidationError begins, and what it says. The first match wins.
_FAULTS: Final[tuple[tuple[str, Fault], ...]] = (
    ("Object missing required field", "occurrence"),
    ("Object contains unknown field", "format"),
    ("Expected `array` of length", "occurrence"),
    ("Expected `str` of length", "property"),
    ("Expected a multiple of", "property"),
    ("Invalid enum value", "property"),
    ("Number out of range", "property"),
    ("Integer value out of range", "property"),
    ("Expected `int` <", "property"),
    ("Expected `int` >", "property"),
    ("Expected `float` <", "property"),
    ("Expected `float` >", "property"),
    ("Expected `", "type"),
)
# OCPP-J 1.6 table 7 (whose spelling of occurrence it is); OCPP 2.0.1 and 2.1 part 4, section 4.3.
_CODES_16: Final[Mapping[Fault, str]] = {
    "format": "FormationViolation",
    "occurrence": "OccurenceConstraintViolation",
    "type": "TypeConstraintViolation",
    "property": "PropertyConstraintViolation",
}
_CODES_2: Final[Mapping[Fault, str]] = {**_CODES_16, "format": "FormatViolation", "occurrence": "OccurrenceConstraintViolation"}


def fault_of(error: Exception, version: str) -> str:
    """The error code for the CALLERROR that answers a payload which raised `error`, one of DECODE_FAULTS, in the version's spelling.

    "format": no JSON, no object, or keys the message does not have. "occurrence": a required field is absent, an array has too few
    or too many elements. "type": a value of another JSON type, null included. "property": a value outside its enumeration, range or
    length.
    """
    fault: Fault = "format"
    if isinstance(error, ValidationError):
        text = str(error)
        if _AT in text or not text.startswith("Expected `"):  # else the payload itself is no object
            fault = next((fault for words, fault in _FAULTS if text.startswith(words)), "format")
    return (_CODES_16 if version == "1.6" else _CODES_2)[fault]

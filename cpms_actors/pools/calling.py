"""An action for a charger, by way of the worker that owns its slot: an operator's, or one of ours (asking.py)."""

from typing import Any, Final

import msgspec
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from cpms_actors.base.errors import CpmsError, OperatorError, Unavailable
from cpms_actors.base.ids import slot_of
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.verbs_fleet import ChargerAnswer, ChargerCall

ANSWER_MARGIN_S: Final = 5.0  # how much longer the pool waits for the worker than the worker for the charger

# The words of `status` in CALLRESULTs that say no, over all actions of OCPP 1.6, 2.0.1 and 2.1 that a CSMS sends.
REFUSALS: Final = frozenset(
    {
        "Rejected",
        "Failed",
        "NotSupported",
        "NotImplemented",
        "NotFound",
        "Unsupported",
        "UnlockFailed",
        "VersionMismatch",
        "UnknownMessageId",
        "UnknownVendorId",
        "UnknownVendor",
        "UnknownConnector",
        "OngoingAuthorizedTransaction",
        "Occupied",
        "Faulted",
        "Unavailable",
        "UnknownComponent",
        "UnknownVariable",
        "NotSupportedAttributeType",
        "InvalidCertificate",
        "RevokedCertificate",
        "InvalidSignature",
        "NoTransaction",
        "NoProfile",
        "DuplicateRequestId",
    }
)


class ChargerRefused(CpmsError):
    """The charger answered a call with a CALLERROR."""

    def __init__(self, text: str, details: dict[str, Any]) -> None:
        super().__init__(text)
        self.text = text
        self.details = details


async def call(client: Client, request: ChargerCall) -> ChargerAnswer:
    """Ask the worker that owns the charger's slot. Raises ChargerRefused for a CALLERROR, Unavailable when nobody could be asked."""
    tenant, charger = request.tenant, request.charger
    slot = slot_of(tenant, charger)
    question = commands.CallQuestion(request.action, msgspec.json.encode(request.payload), request.timeout_s)
    try:
        reply = await client.request(
            subjects.charger_command(slot, tenant, charger, commands.CALL_VERB),
            msgspec.msgpack.encode(question),
            timeout=request.timeout_s + ANSWER_MARGIN_S,
        )
    except NoRespondersError:
        raise Unavailable(
            f"no worker owns slot {slot}, to which charger {charger!r} belongs; `cpms status` shows the workers, `cpms up` starts them"
        ) from None
    except NatsTimeoutError:
        raise Unavailable(f"the worker of slot {slot} did not answer; whether {charger!r} got {request.action} is unknown") from None
    return _answer(request, commands.ANSWER_DECODER.decode(reply.data))


def _answer(request: ChargerCall, answer: commands.CallAnswer) -> ChargerAnswer:
    charger, action = request.charger, request.action
    if answer.kind == "error":
        details = msgspec.json.decode(answer.payload) if answer.payload else {}
        raise ChargerRefused(
            f"charger {charger!r} answered {action} with CALLERROR {answer.code}{': ' if answer.text else ''}{answer.text}",
            {"code": answer.code, "description": answer.text, "details": details},
        )
    if answer.kind == "failed":
        raise _failure(request, answer)
    payload = msgspec.json.decode(answer.payload, type=dict[str, Any]) if answer.payload else {}
    return ChargerAnswer(
        tenant=request.tenant, charger=charger, action=action, answer=payload, refused=payload.get("status") in REFUSALS
    )


def _failure(request: ChargerCall, answer: commands.CallAnswer) -> CpmsError:
    """The worker's word in a sentence for the operator."""
    charger, action = request.charger, request.action
    match answer.code:
        case commands.NOT_CONNECTED:
            return Unavailable(f"charger {charger!r} is not connected; `cpms charger show {charger}` tells when it was last seen")
        case commands.DISCONNECTED:
            return Unavailable(f"charger {charger!r} disconnected before it answered {action}; whether it acted is unknown")
        case commands.TIMEOUT:
            return Unavailable(f"charger {charger!r} did not answer {action} within {request.timeout_s:g} s; --timeout waits longer")
        case commands.BUSY:
            return Unavailable(f"{action} was not sent to charger {charger!r}: {answer.text or 'too many calls wait'}; try again later")
        case commands.UNKNOWN_ACTION:
            return OperatorError("unknown-action", answer.text or f"{charger!r} speaks a version of OCPP without the action {action}")
        case commands.INVALID_PAYLOAD:
            return OperatorError("invalid-payload", f"the payload is no {action} request: {answer.text}")
        case commands.NOT_ALLOWED:
            return OperatorError("not-allowed", answer.text or f"{action} is not allowed before {charger!r} is accepted")
        case code:
            return Unavailable(f"the worker could not send {action} to {charger!r}: {answer.text or code}")

"""OCPP 2.0.1 and 2.1 in the words of the domain. 2.1 states only its differences: more actions, the same rules."""

from types import ModuleType
from typing import Any, Final

from cpms_actors.base.time import format_rfc3339
from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import (
    Booted,
    IdToken,
    Metered,
    Sample,
    StatusChanged,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from cpms_actors.ocpp.catalogue import actions
from cpms_actors.ocpp.dialect import (
    PERIODIC,
    UNITS,
    VALUE_MAX,
    Dialect,
    Doubts,
    Kind,
    Rule,
    Start,
    TransactionFact,
    energy_register,
    measurand_of,
    moment,
)
from cpms_actors.ocpp.messages import v21, v201

_KINDS: Final = {
    "BootNotification": Kind.BOOT,
    "Heartbeat": Kind.HEARTBEAT,
    "Authorize": Kind.AUTHORIZE,
    "TransactionEvent": Kind.EVENT,
    "MeterValues": Kind.METER,
    "StatusNotification": Kind.STATUS,
}
# What is required in an answer beyond the empty object. No certificate authority, contract service, scheduler or VAT register is
# configured yet, so each says so in the words of the specification.
_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "DataTransfer": {"status": "UnknownVendorId"},
    "Get15118EVCertificate": {"status": "Failed", "exiResponse": ""},
    "GetCertificateStatus": {"status": "Failed"},
    "NotifyEVChargingNeeds": {"status": "Rejected"},
    "NotifyEVChargingSchedule": {"status": "Accepted"},
    "OpenPeriodicEventStream": {"status": "Rejected"},
    "PullDynamicScheduleUpdate": {"status": "Rejected"},
    "SignCertificate": {"status": "Rejected"},
}
_WH: Final = UNITS["Wh"]


class Dialect2(Dialect):
    """OCPP 2.0.1 edition 3, or OCPP 2.1 edition 1."""

    def __init__(self, version: str, messages: ModuleType) -> None:
        self.version = version
        self.known = actions(version)
        self._m: Any = messages
        self.rules = {
            name: Rule.of(action, _KINDS.get(name, Kind.REPORT), None if name in _KINDS else self._answer(name))
            for name, action in self.known.items()
            if action.from_charger
        }
        self.meter_answer = messages.MeterValuesResponse()
        self.status_answer = messages.StatusNotificationResponse()

    def _answer(self, name: str) -> Any:
        if name == "VatNumberValidation":
            response = self._m.VatNumberValidationResponse
            return lambda request, _now: response(vatNumber=request.vatNumber, evseId=request.evseId, status="Rejected")
        if name == "GetCertificateChainStatus":
            return self._chain_status
        kind = getattr(self._m, f"{name}Response", None)
        if kind is None:  # a SEND has no answer
            return None
        constant = kind(**_ANSWERS.get(name, {}))
        return lambda _request, _now: constant

    def _chain_status(self, request: Any, now: int) -> Any:
        """Nothing is known of any certificate: "Unknown", to be asked again after a day."""
        again = format_rfc3339(now + 86_400_000)
        statuses = [
            self._m.CertificateStatusType(
                certificateHashData=asked.certificateHashData, source=asked.source, status="Unknown", nextUpdate=again
            )
            for asked in request.certificateStatusRequests
        ]
        return self._m.GetCertificateChainStatusResponse(certificateStatus=statuses)

    def boot(self, request: Any, status: str) -> Booted:
        station = request.chargingStation
        modem = station.modem
        return Booted(
            vendor=station.vendorName,
            model=station.model,
            status=status,
            serial=station.serialNumber,
            firmware=station.firmwareVersion,
            iccid=modem.iccid if modem is not None else None,
            imsi=modem.imsi if modem is not None else None,
            reason=request.reason,
        )

    def boot_answer(self, status: str, interval_s: int, now: int) -> Any:
        return self._m.BootNotificationResponse(currentTime=format_rfc3339(now), interval=interval_s, status=status)

    def heartbeat_answer(self, now: int) -> Any:
        return self._m.HeartbeatResponse(currentTime=format_rfc3339(now))

    def token(self, request: Any) -> IdToken | None:
        shown = request.idToken
        return IdToken(shown.idToken, shown.type) if shown is not None else None

    def authorize_answer(self, verdict: Verdict) -> Any:
        return self._m.AuthorizeResponse(idTokenInfo=self._token_info(verdict))

    def _token_info(self, verdict: Verdict) -> Any:
        return self._m.IdTokenInfoType(
            status=verdict.status,
            cacheExpiryDateTime=format_rfc3339(verdict.expires_at) if verdict.expires_at is not None else None,
            groupIdToken=self._m.IdTokenType(idToken=verdict.group[:36], type="Central") if verdict.group else None,
        )

    def status(self, request: Any, now: int, doubts: Doubts) -> StatusChanged:
        return StatusChanged(request.evseId, request.connectorId, request.connectorStatus, moment(request.timestamp, now, doubts))

    def meter(self, request: Any, now: int, doubts: Doubts) -> Metered | TransactionUpdated:
        return Metered(request.evseId, min(request.evseId, 1), _samples(request.meterValue, now, doubts))

    def start(self, request: Any, now: int, doubts: Doubts) -> Start:
        raise TypeError("OCPP 2.x has no StartTransaction")

    def start_answer(self, transaction: int, verdict: Verdict) -> Any:
        raise TypeError("OCPP 2.x has no StartTransaction")

    def stop(self, request: Any, now: int, doubts: Doubts) -> TransactionEnded:
        raise TypeError("OCPP 2.x has no StopTransaction")

    def event(self, request: Any, now: int, doubts: Doubts) -> TransactionFact:
        info = request.transactionInfo
        evse = request.evse
        samples = _samples(request.meterValue, now, doubts) if request.meterValue else ()
        common: dict[str, Any] = {
            "transaction": info.transactionId,
            "at": moment(request.timestamp, now, doubts),
            "token": self.token(request),
            "seq": request.seqNo,
            "offline": bool(request.offline),
            "trigger": request.triggerReason,
            "charging_state": info.chargingState,
            "samples": samples,
        }
        match request.eventType:
            case "Started":
                return TransactionStarted(
                    evse=evse.id if evse is not None else 0,
                    connector=(evse.connectorId or 1) if evse is not None else 0,
                    meter_wh=energy_register(samples, "Transaction.Begin"),
                    remote_start_id=info.remoteStartId,
                    reservation=request.reservationId,
                    **common,
                )
            case "Updated":
                return TransactionUpdated(**_place(evse), **common)
            case _:
                return TransactionEnded(
                    meter_wh=energy_register(samples, "Transaction.End"),
                    reason=info.stoppedReason or "Local",  # 2.0.1 part 2, TransactionType: absent means Local
                    **_place(evse),
                    **common,
                )

    def transaction_answer(self, verdict: Verdict | None) -> Any:
        if verdict is None:
            return self._m.TransactionEventResponse()
        return self._m.TransactionEventResponse(idTokenInfo=self._token_info(verdict))


def dialect201() -> Dialect2:
    """OCPP 2.0.1."""
    return Dialect2("2.0.1", v201)


def dialect21() -> Dialect2:
    """OCPP 2.1."""
    return Dialect2("2.1", v21)


def _place(evse: Any) -> dict[str, Any]:
    if evse is None:
        return {"evse": None, "connector": None}
    return {"evse": evse.id, "connector": evse.connectorId or 1}


def _samples(meter_values: Any, now: int, doubts: Doubts) -> tuple[Sample, ...]:
    samples: list[Sample] = []
    for meter_value in meter_values:
        at = moment(meter_value.timestamp, now, doubts)
        for sampled in meter_value.sampledValue:
            unit = sampled.unitOfMeasure
            measurand = sampled.measurand or measurand_of(unit.unit if unit is not None else None)
            if unit is None:
                factor, name = _WH if measurand.startswith("Energy") else (1.0, None)
            else:
                factor, name = UNITS.get(unit.unit or "Wh") or (1.0, unit.unit)
                if unit.multiplier:
                    factor *= 10.0 ** max(-30, min(30, unit.multiplier))
            value = sampled.value * factor
            if not -VALUE_MAX < value < VALUE_MAX:  # also when it is no number
                doubts.add(f"sampled value {sampled.value!r} is not a measurement")
                continue
            signed = sampled.signedMeterValue
            samples.append(
                Sample(
                    at,
                    value,
                    measurand,
                    sampled.context or PERIODIC,
                    sampled.phase,
                    sampled.location,
                    name,
                    signed.signedMeterData if signed is not None else None,
                )
            )
    return tuple(samples)

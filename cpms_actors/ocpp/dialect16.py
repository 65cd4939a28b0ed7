"""OCPP 1.6 with the security extension, in the words of the domain."""

from math import nan
from typing import Any, Final

from cpms_actors.base.time import format_rfc3339, parse_rfc3339
from cpms_actors.domain.access import Verdict
from cpms_actors.domain.events import Booted, IdToken, Metered, Sample, StatusChanged, TransactionEnded, TransactionUpdated
from cpms_actors.ocpp.catalogue import actions
from cpms_actors.ocpp.dialect import (
    BASE_UNITS,
    PERIODIC,
    UNITS,
    VALUE_MAX,
    Dialect,
    Doubts,
    Kind,
    Rule,
    Start,
    TransactionFact,
    measurand_of,
    moment,
)
from cpms_actors.ocpp.messages import v16

# 1.6 knows fewer words than the domain (2.x): what it cannot say becomes the nearest refusal.
_STATUS: Final[dict[str, v16.AuthorizationStatus]] = {
    "Accepted": "Accepted",
    "Blocked": "Blocked",
    "Expired": "Expired",
    "ConcurrentTx": "ConcurrentTx",
}
_KINDS: Final = {
    "BootNotification": Kind.BOOT,
    "Heartbeat": Kind.HEARTBEAT,
    "Authorize": Kind.AUTHORIZE,
    "StartTransaction": Kind.START,
    "StopTransaction": Kind.STOP,
    "MeterValues": Kind.METER,
    "StatusNotification": Kind.STATUS,
}
_ANSWERS: Final = {
    "DataTransfer": lambda _request, _now: v16.DataTransferResponse(status="UnknownVendorId"),
    "DiagnosticsStatusNotification": lambda _request, _now: v16.DiagnosticsStatusNotificationResponse(),
    "FirmwareStatusNotification": lambda _request, _now: v16.FirmwareStatusNotificationResponse(),
    "LogStatusNotification": lambda _request, _now: v16.LogStatusNotificationResponse(),
    "SecurityEventNotification": lambda _request, _now: v16.SecurityEventNotificationResponse(),
    "SignCertificate": lambda _request, _now: v16.SignCertificateResponse(status="Rejected"),  # no authority is configured
    "SignedFirmwareStatusNotification": lambda _request, _now: v16.SignedFirmwareStatusNotificationResponse(),
}


class Dialect16(Dialect):
    """OCPP 1.6 edition 2, errata sheet v4, security white paper edition 3."""

    version = "1.6"

    def __init__(self) -> None:
        self.known = actions("1.6")
        self.rules = {
            name: Rule.of(action, _KINDS.get(name, Kind.REPORT), _ANSWERS.get(name))
            for name, action in self.known.items()
            if action.from_charger
        }
        self.meter_answer = v16.MeterValuesResponse()
        self.status_answer = v16.StatusNotificationResponse()

    def boot(self, request: v16.BootNotificationRequest, status: str) -> Booted:
        return Booted(
            vendor=request.chargePointVendor,
            model=request.chargePointModel,
            status=status,
            serial=request.chargePointSerialNumber or request.chargeBoxSerialNumber,
            firmware=request.firmwareVersion,
            iccid=request.iccid,
            imsi=request.imsi,
        )

    def boot_answer(self, status: str, interval_s: int, now: int) -> Any:
        return v16.BootNotificationResponse(currentTime=format_rfc3339(now), interval=interval_s, status=status)  # type: ignore[arg-type]

    def heartbeat_answer(self, now: int) -> Any:
        return v16.HeartbeatResponse(currentTime=format_rfc3339(now))

    def token(self, request: Any) -> IdToken | None:
        return IdToken(request.idTag) if request.idTag is not None else None

    def authorize_answer(self, verdict: Verdict) -> Any:
        return v16.AuthorizeResponse(idTagInfo=_id_tag_info(verdict))

    def status(self, request: v16.StatusNotificationRequest, now: int, doubts: Doubts) -> StatusChanged:
        return StatusChanged(
            evse=request.connectorId,
            connector=min(request.connectorId, 1),
            status=request.status,
            at=moment(request.timestamp, now, doubts),
            error_code=request.errorCode,
            info=request.info,
            vendor_error=request.vendorErrorCode,
        )

    def meter(self, request: v16.MeterValuesRequest, now: int, doubts: Doubts) -> Metered | TransactionUpdated:
        samples = _samples(request.meterValue, now, doubts)
        evse = request.connectorId
        if request.transactionId is None:
            return Metered(evse, min(evse, 1), samples)
        at = samples[0].taken_at if samples else now
        # By position, all ten of them: by name costs twice as much, and this is the most frequent fact there is.
        return TransactionUpdated(
            str(request.transactionId), at, None, False, "MeterValuePeriodic", None, None, evse, 1 if evse > 0 else evse, samples
        )

    def start(self, request: v16.StartTransactionRequest, now: int, doubts: Doubts) -> Start:
        return Start(
            key=f"{request.connectorId}|{request.idTag}|{request.timestamp}|{request.meterStart}",
            evse=request.connectorId,
            token=IdToken(request.idTag),
            at=moment(request.timestamp, now, doubts),
            meter_wh=request.meterStart,
            reservation=request.reservationId,
        )

    def start_answer(self, transaction: int, verdict: Verdict) -> Any:
        info = _id_tag_info(verdict)
        return v16.StartTransactionResponse(transactionId=transaction, idTagInfo=info)

    def stop(self, request: v16.StopTransactionRequest, now: int, doubts: Doubts) -> TransactionEnded:
        return TransactionEnded(
            transaction=str(request.transactionId),
            at=moment(request.timestamp, now, doubts),
            meter_wh=request.meterStop,
            reason=request.reason or "Local",  # 1.6 6.49: absent means Local
            token=self.token(request),
            samples=_samples(request.transactionData, now, doubts) if request.transactionData else (),
        )

    def event(self, request: Any, now: int, doubts: Doubts) -> TransactionFact:
        raise TypeError("OCPP 1.6 has no TransactionEvent")

    def transaction_answer(self, verdict: Verdict | None) -> Any:
        if verdict is None:
            return v16.StopTransactionResponse()
        return v16.StopTransactionResponse(idTagInfo=_id_tag_info(verdict))


def _id_tag_info(verdict: Verdict) -> v16.IdTagInfo:
    return v16.IdTagInfo(
        status=_STATUS.get(verdict.status, "Invalid"),
        expiryDate=format_rfc3339(verdict.expires_at) if verdict.expires_at is not None else None,
        parentIdTag=verdict.group[:20] if verdict.group else None,
    )


def _samples(meter_values: Any, now: int, doubts: Doubts) -> tuple[Sample, ...]:
    samples: list[Sample] = []
    for meter_value in meter_values:
        at = parse_rfc3339(meter_value.timestamp)
        if at is None:
            at = moment(meter_value.timestamp, now, doubts)
        for sampled in meter_value.sampledValue:
            unit, measurand = sampled.unit, sampled.measurand
            if unit in BASE_UNITS and measurand is not None and sampled.format != "SignedData":  # as nearly all are
                try:
                    value = float(sampled.value)
                except ValueError:
                    value = nan
                if abs(value) < VALUE_MAX:
                    samples.append(Sample(at, value, measurand, sampled.context or PERIODIC, sampled.phase, sampled.location, unit))
                    continue
            _add_sample(samples, sampled, at, doubts)
    return tuple(samples)


def _add_sample(samples: list[Sample], sampled: Any, at: int, doubts: Doubts) -> None:
    """One that leaves something out, is signed, or says a unit that is not the base unit of its measurand."""
    unit: str | None = sampled.unit
    measurand = sampled.measurand or measurand_of(unit)
    context = sampled.context or PERIODIC
    if sampled.format == "SignedData":
        samples.append(Sample(at, 0.0, measurand, context, sampled.phase, sampled.location, None, sampled.value))
        return
    factor = 1.0
    if unit is not None:
        factor, unit = UNITS.get(unit) or (1.0, unit)
    elif measurand.startswith("Energy"):
        unit = "Wh"
    try:
        value = float(sampled.value) * factor
    except ValueError:
        doubts.add(f"sampled value {sampled.value[:40]!r} is no number")
        return
    if abs(value) < VALUE_MAX:  # not so when it is no number
        samples.append(Sample(at, value, measurand, context, sampled.phase, sampled.location, unit))
    else:
        doubts.add(f"sampled value {sampled.value[:40]!r} is not a measurement")

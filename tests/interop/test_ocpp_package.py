"""The charge point classes of the `ocpp` package, over `websockets`, run a session in each version.

The package validates every answer of ours against the schemas of the specification, and turns a CALLERROR into an exception.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call as call16
from ocpp.v16.enums import ChargePointErrorCode, ChargePointStatus, Reason
from ocpp.v21 import ChargePoint as ChargePoint21
from ocpp.v21 import call as call21
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call as call201
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

PASSWORD = "0123456789abcdefghij"
RUN_S = 30
CHARGE_POINTS = {"1.6": ChargePoint16, "2.0.1": ChargePoint201, "2.1": ChargePoint21}


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def token_of(charge_point: Any) -> str:
    """The token that was registered for this charge point alone."""
    return f"T-{charge_point.id}"


def authorization(identity: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{identity}:{password}".encode()).decode()}


async def converse(running_cpms: Any, identity: str, version: str, script: Callable[[Any], Awaitable[None]]) -> None:
    """Connect as a charge point of the package, run the script, close."""
    url = f"{running_cpms.ws_url}/{identity}"
    subprotocols = [Subprotocol(f"ocpp{version}")]
    async with asyncio.timeout(RUN_S):
        async with connect(url, subprotocols=subprotocols, additional_headers=authorization(identity, PASSWORD)) as socket:
            assert socket.subprotocol == f"ocpp{version}"
            charge_point = CHARGE_POINTS[version](identity, socket)
            listening = asyncio.ensure_future(charge_point.start())
            try:
                await script(charge_point)
            finally:
                listening.cancel()
                await asyncio.wait([listening])


async def session16(charge_point: Any) -> None:
    tag = token_of(charge_point)

    async def ask(payload: Any) -> Any:
        return await charge_point.call(payload, suppress=False)

    def status(word: ChargePointStatus) -> Any:
        return call16.StatusNotification(connector_id=1, error_code=ChargePointErrorCode.no_error, status=word, timestamp=now())

    def readings(wh: int) -> list[dict[str, Any]]:
        energy = {"value": str(wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh", "context": "Sample.Periodic"}
        return [{"timestamp": now(), "sampled_value": [energy]}]

    boot = await ask(call16.BootNotification(charge_point_model="package", charge_point_vendor="mobilityhouse"))
    assert boot.status == "Accepted"
    assert boot.interval > 0
    await ask(status(ChargePointStatus.preparing))
    authorized = await ask(call16.Authorize(id_tag=tag))
    assert authorized.id_tag_info["status"] == "Accepted"
    started = await ask(call16.StartTransaction(connector_id=1, id_tag=tag, meter_start=1000, timestamp=now()))
    assert started.id_tag_info["status"] == "Accepted"
    assert started.transaction_id > 0
    await ask(status(ChargePointStatus.charging))
    await ask(call16.MeterValues(connector_id=1, transaction_id=started.transaction_id, meter_value=readings(1500)))
    stop = call16.StopTransaction(
        meter_stop=2000, timestamp=now(), transaction_id=started.transaction_id, reason=Reason.local, id_tag=tag
    )
    await ask(stop)
    await ask(status(ChargePointStatus.available))
    await ask(call16.DataTransfer(vendor_id="org.example", data="hello"))
    assert (await ask(call16.Heartbeat())).current_time


def session2(call: Any) -> Callable[[Any], Awaitable[None]]:
    """The script for 2.0.1 or 2.1, whose payload classes are in `call`."""
    transaction = {"transaction_id": f"pkg-{datetime.now(UTC).timestamp()}"}

    def event(kind: str, seq: int, trigger: str, wh: int, **more: Any) -> Any:
        energy = {"value": wh, "measurand": "Energy.Active.Import.Register", "unit_of_measure": {"unit": "Wh"}}
        return call.TransactionEvent(
            event_type=kind,
            timestamp=now(),
            trigger_reason=trigger,
            seq_no=seq,
            transaction_info=transaction | more.pop("info", {}),
            meter_value=[{"timestamp": now(), "sampled_value": [energy]}],
            **more,
        )

    async def script(charge_point: Any) -> None:
        token = {"id_token": token_of(charge_point), "type": "ISO14443"}

        async def ask(payload: Any) -> Any:
            return await charge_point.call(payload, suppress=False)

        station = {"model": "package", "vendor_name": "mobilityhouse"}
        boot = await ask(call.BootNotification(charging_station=station, reason="PowerUp"))
        assert boot.status == "Accepted"
        status = {"evse_id": 1, "connector_id": 1}
        await ask(call.StatusNotification(timestamp=now(), connector_status="Occupied", **status))
        authorized = await ask(call.Authorize(id_token=token))
        assert authorized.id_token_info["status"] == "Accepted"
        evse = {"id": 1, "connector_id": 1}
        started = await ask(event("Started", 0, "Authorized", 1000, id_token=token, evse=evse, info={"charging_state": "Charging"}))
        assert started.id_token_info["status"] == "Accepted"
        await ask(event("Updated", 1, "MeterValuePeriodic", 1500))
        await ask(event("Ended", 2, "StopAuthorized", 2000, id_token=token, info={"stopped_reason": "Local"}))
        await ask(call.StatusNotification(timestamp=now(), connector_status="Available", **status))
        await ask(call.DataTransfer(vendor_id="org.example", data="hello"))
        assert (await ask(call.Heartbeat())).current_time

    return script


@pytest.mark.parametrize(("version", "script"), [("1.6", session16), ("2.0.1", session2(call201)), ("2.1", session2(call21))])
def test_a_charge_point_of_the_package_charges_a_car(running_cpms: Any, version: str, script: Callable[[Any], Awaitable[None]]) -> None:
    identity = f"PKG-{version}"
    running_cpms.add_charger(identity, PASSWORD)
    running_cpms.add_token(f"T-{identity}")
    asyncio.run(converse(running_cpms, identity, version, script))


def test_a_stranger_is_refused_before_the_upgrade(running_cpms: Any) -> None:
    """Unknown identity: 404 (OCPP-J 1.6 section 3.2); wrong credentials: 401 (security white paper, A00.FR.205)."""
    running_cpms.add_charger("PKG-AUTH", PASSWORD)

    async def knock(identity: str, password: str) -> int:
        url = f"{running_cpms.ws_url}/{identity}"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], additional_headers=authorization(identity, password)):
                pass
        return refused.value.response.status_code

    assert asyncio.run(knock("PKG-AUTH", "not the password of it")) == 401
    assert asyncio.run(knock("PKG-NOBODY", PASSWORD)) == 404

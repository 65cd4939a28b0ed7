"""The verbs of chargers."""

from typing import Final

from msgspec.structs import asdict, replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import lane_of, slot_of
from cpms_actors.base.time import to_datetime
from cpms_actors.bus.verbs_fleet import ChargerAnswer, ChargerCall
from cpms_actors.bus.verbs_registry import (
    ChargerAdd,
    ChargerDetail,
    ChargerList,
    ChargerPage,
    ChargerSet,
    ChargerShow,
    ChargerView,
    ConnectorView,
)
from cpms_actors.domain.access import credential_digest
from cpms_actors.pools.calling import call
from cpms_actors.pools.operations_desk import Desk, Handler, next_of, require_tenant
from cpms_actors.pools.operations_tenants import changes_of, unknown_site
from cpms_actors.store import chargers, sites
from cpms_actors.store.database import Connection
from cpms_actors.store.tenants import Tenant


async def charger_add(desk: Desk, request: ChargerAdd) -> ChargerView:
    """Store it, then tell the workers."""
    row = chargers.Charger(
        tenant_id=request.tenant,
        identity=request.charger,
        security_profile=request.security_profile,
        credential=_credential(desk, request.password),
        boot=request.boot,
        enabled=request.enabled,
        site_id=request.site,
        model=request.model,
        note=request.note,
    )
    async with desk.database.transaction((request.tenant,)) as connection:
        await _check(connection, await require_tenant(connection, request.tenant), row)
        added = await chargers.add(connection, row)
    if added is None:
        raise OperatorError("exists", f"charger {request.charger!r} exists; `cpms charger set {request.charger}` changes it")
    await desk.mirror.charger_changed(added.tenant_id, added.identity)
    return _view(added)


async def charger_set(desk: Desk, request: ChargerSet) -> ChargerView:
    """Change what is given, then tell the workers."""
    given = changes_of(request, without=("tenant", "charger"))
    if "password" in given:
        given["credential"] = _credential(desk, given.pop("password"))
    if "site" in given:
        given["site_id"] = given.pop("site")
    async with desk.database.transaction((request.tenant,)) as connection:
        tenant = await require_tenant(connection, request.tenant)
        before = await chargers.locked(connection, request.tenant, request.charger)
        if before is None:
            raise unknown_charger(request.tenant, request.charger)
        after = replace(before, **given)
        await _check(connection, tenant, after)
        await chargers.save(connection, after)
    await desk.mirror.charger_changed(after.tenant_id, after.identity)
    return _view(after)


async def charger_show(desk: Desk, request: ChargerShow) -> ChargerDetail:
    """One charger and its connectors."""
    async with desk.database.transaction((request.tenant,)) as connection:
        row = await require_charger(connection, request.tenant, request.charger)
        connectors = await chargers.connectors(connection, request.tenant, request.charger)
    slot = slot_of(request.tenant, request.charger)
    return ChargerDetail(
        charger=_view(row),
        connectors=[ConnectorView(**{**asdict(each), "status_at": to_datetime(each.status_at)}) for each in connectors],
        slot=slot,
        lane=lane_of(slot),
    )


async def charger_list(desk: Desk, request: ChargerList) -> ChargerPage:
    """A tenant's chargers by identity."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await chargers.page(
            connection,
            request.tenant,
            limit=request.limit,
            after=request.after,
            site=request.site,
            connected=request.connected,
            boot=request.boot,
        )
    return ChargerPage(chargers=[_view(row) for row in rows], next=next_of(rows, request.limit, "identity"))


async def charger_call(desk: Desk, request: ChargerCall) -> ChargerAnswer:
    """Have a worker ask it (calling.py)."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_charger(connection, request.tenant, request.charger)
    return await call(desk.client, request)


HANDLERS: Final[dict[str, Handler]] = {
    "charger.add": charger_add,
    "charger.set": charger_set,
    "charger.show": charger_show,
    "charger.list": charger_list,
    "charger.call": charger_call,
}


def unknown_charger(tenant: str, charger: str) -> OperatorError:
    """There is no such charger."""
    return OperatorError(
        "unknown-charger",
        f"tenant {tenant!r} has no charger {charger!r}; `cpms charger list --tenant {tenant}` shows them",
    )


async def require_charger(connection: Connection, tenant: str, charger: str) -> chargers.Charger:
    """The charger. Raises OperatorError("unknown-tenant") or OperatorError("unknown-charger")."""
    await require_tenant(connection, tenant)
    row = await chargers.find(connection, tenant, charger)
    if row is None:
        raise unknown_charger(tenant, charger)
    return row


async def _check(connection: Connection, tenant: Tenant, charger: chargers.Charger) -> None:
    """What must hold of a charger beyond its fields. Raises OperatorError."""
    if charger.security_profile == 0 and not tenant.profile0:
        raise OperatorError(
            "profile0-not-allowed",
            f"tenant {tenant.id!r} does not allow security profile 0; choose 1, 2 or 3, or `cpms tenant set {tenant.id} --profile0`",
        )
    if charger.security_profile in (1, 2) and charger.credential is None:
        raise OperatorError(
            "password-required",
            f"security profile {charger.security_profile} needs a password: --password (16 to 40 characters) or --generate-password",
        )
    if charger.site_id is not None and await sites.find(connection, tenant.id, charger.site_id) is None:
        raise unknown_site(tenant.id, charger.site_id)


def _credential(desk: Desk, password: str | None) -> bytes | None:
    """The digest to store. Raises OperatorError when the deployment has no key: an unkeyed digest would be no secret."""
    if password is None:
        return None
    if not desk.settings.credential_key:
        raise OperatorError(
            "no-credential-key", "passwords need CPMS_CREDENTIAL_KEY, the same secret in every process; set it and restart"
        )
    return credential_digest(desk.settings.credential_key.encode(), password)


def _view(row: chargers.Charger) -> ChargerView:
    return ChargerView(
        tenant=row.tenant_id,
        charger=row.identity,
        security_profile=row.security_profile,
        has_password=row.credential is not None,
        boot=row.boot,
        enabled=row.enabled,
        site=row.site_id,
        model=row.model,
        note=row.note,
        created_at=to_datetime(row.created_at),
        vendor=row.vendor,
        reported_model=row.reported_model,
        serial=row.serial,
        firmware=row.firmware,
        ocpp=row.ocpp,
        connected=row.connected,
        last_seen_at=None if row.last_seen_at is None else to_datetime(row.last_seen_at),
        booted_at=None if row.booted_at is None else to_datetime(row.booted_at),
        boot_status=row.boot_status,
    )

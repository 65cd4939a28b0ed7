"""The verbs of what was charged and what it came to: tariffs, sessions, CDRs."""

from time import time
from typing import Final
from uuid import uuid4

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.time import from_datetime, to_datetime
from cpms_actors.bus import subjects
from cpms_actors.bus.verbs_ledger import (
    AssignmentView,
    CdrDetail,
    CdrList,
    CdrPage,
    CdrShow,
    DifferenceView,
    Reconcile,
    Reconciliation,
    RuleView,
    SessionDetail,
    SessionList,
    SessionPage,
    SessionShow,
    TariffAssign,
    TariffAssigned,
    TariffList,
    TariffPage,
    TariffSet,
    TariffShow,
    TariffView,
)
from cpms_actors.domain.tariff import Tariff
from cpms_actors.observe import logs
from cpms_actors.pools import operations_queries as queries
from cpms_actors.pools.operations_chargers import unknown_charger
from cpms_actors.pools.operations_desk import Desk, Handler, next_of, number_of, require_tenant, wrong_cursor
from cpms_actors.pools.operations_tenants import unknown_site
from cpms_actors.store import audit, chargers, meter_values, reconciling, sites, tariffs
from cpms_actors.store.database import Connection
from cpms_actors.store.tariffs import Assignment, StoredTariff

ASSIGNMENTS_MAX: Final = 1_000

log = logs.get("operations")


async def tariff_set(desk: Desk, request: TariffSet) -> TariffView:
    """Store the tariff as the next version of its id."""
    now = int(time() * 1000)
    valid_from = now if request.valid_from is None else from_datetime(request.valid_from)
    async with desk.database.transaction((request.tenant,)) as connection:
        tenant = await require_tenant(connection, request.tenant)
        tariff = Tariff(
            id=request.id,
            version=1,
            currency=request.currency or tenant.currency,
            components=request.components,
            tax_percent=request.tax_percent,
            min_price=request.min_price,
            max_price=request.max_price,
        )
        stored = await tariffs.add_version(connection, request.tenant, tariff, valid_from=valid_from)
    return _tariff_view(request.tenant, stored)


async def tariff_show(desk: Desk, request: TariffShow) -> TariffView:
    """One version of a tariff."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        stored = await tariffs.find(connection, request.tenant, request.id, request.version)
    if stored is None:
        version = "" if request.version is None else f" in version {request.version}"
        raise OperatorError(
            "unknown-tariff",
            f"tenant {request.tenant!r} has no tariff {request.id!r}{version}; `cpms tariff list --tenant {request.tenant}` shows them",
        )
    return _tariff_view(request.tenant, stored)


async def tariff_list(desk: Desk, request: TariffList) -> TariffPage:
    """A tenant's tariffs by id, and where they apply."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await tariffs.page(connection, request.tenant, limit=request.limit, after=request.after)
        assigned = [] if request.after is not None else await _assignments(connection, request.tenant)
    following = rows[-1].tariff.id if len(rows) == request.limit else None
    return TariffPage(tariffs=[_tariff_view(request.tenant, row) for row in rows], assignments=assigned, next=following)


async def tariff_assign(desk: Desk, request: TariffAssign) -> TariffAssigned:
    """Let a tariff apply, or the next wider scope decide."""
    key = request.tenant if request.scope == "tenant" else request.key
    if key is None or (request.scope == "tenant" and request.key not in (None, request.tenant)):
        raise OperatorError("invalid-request", "key is the site's id or the charger's identity; for the scope tenant leave it out")
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        if request.scope == "charger" and await chargers.find(connection, request.tenant, key) is None:
            raise unknown_charger(request.tenant, key)
        if request.scope == "site" and await sites.find(connection, request.tenant, key) is None:
            raise unknown_site(request.tenant, key)
        if request.tariff is None:
            await tariffs.unassign(connection, request.tenant, request.scope, key)
        else:
            await tariffs.assign(connection, request.tenant, Assignment(request.scope, key, request.tariff))
        return TariffAssigned(assignments=await _assignments(connection, request.tenant))


async def session_list(desk: Desk, request: SessionList) -> SessionPage:
    """A tenant's sessions, the newest first."""
    before = number_of(request.after)
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await queries.sessions(connection, request, before)
    return SessionPage(sessions=rows, next=next_of(rows, request.limit, "id"))


async def session_show(desk: Desk, request: SessionShow) -> SessionDetail:
    """One session with its readings."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        found = await queries.session(connection, request.tenant, request.id, request.readings)
    if found is None:
        raise OperatorError(
            "unknown-session",
            f"tenant {request.tenant!r} has no session {request.id}; `cpms session list --tenant {request.tenant}` shows them",
        )
    return found


async def cdr_list(desk: Desk, request: CdrList) -> CdrPage:
    """A tenant's CDRs, the newest first."""
    before = None
    if request.after is not None:
        before = queries.parse_cdr_cursor(request.after)
        if before is None:
            raise wrong_cursor(request.after)
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await queries.cdrs(connection, request, before)
    return CdrPage(cdrs=rows, next=queries.cdr_cursor(rows, request.limit))


async def cdr_show(desk: Desk, request: CdrShow) -> CdrDetail:
    """One CDR and how its totals came about."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        found = await queries.cdr(connection, request.tenant, request.id)
    if found is None:
        raise OperatorError(
            "unknown-cdr", f"tenant {request.tenant!r} has no CDR {request.id!r}; `cpms cdr list --tenant {request.tenant}` shows them"
        )
    return found


async def reconcile(desk: Desk, request: Reconcile) -> Reconciliation:
    """Hold registers, sessions and CDRs against each other, and repair what is safe if that is asked for."""
    now = int(time() * 1000)
    since = now - request.days * meter_values.DAY_MS

    async def work(connection: Connection) -> tuple[tuple[int, int], list[RuleView]]:
        await require_tenant(connection, request.tenant)
        rules = [await _checked(connection, rule, request, since, now) for rule in reconciling.RULES]
        if done := {rule.rule: rule.repaired for rule in rules if rule.repaired}:
            subject = f"tenant {request.tenant}"
            await audit.note(connection, request.tenant, operator=desk.operator, verb="reconcile", subject=subject, detail=done)
        return await reconciling.counts(connection, request.tenant, since=since), rules

    (sessions, records), rules = await desk.database.run((request.tenant,), work)
    repaired = sum(rule.repaired for rule in rules)
    if repaired:
        log.warning("reconciled", tenant=request.tenant, repaired={rule.rule: rule.repaired for rule in rules if rule.repaired})
        await desk.client.publish(subjects.doorbell("tariff"), b"")
    return Reconciliation(
        tenant=request.tenant,
        since=to_datetime(since),
        sessions=sessions,
        cdrs=records,
        found=sum(rule.found for rule in rules),
        repaired=repaired,
        rules=rules,
    )


async def _checked(connection: Connection, rule: reconciling.Rule, request: Reconcile, since: int, now: int) -> RuleView:
    total, found = await reconciling.find(connection, rule, request.tenant, since=since, limit=request.limit)
    repaired = 0
    if request.repair and rule.repair is not None:
        for difference in found:
            repaired += await reconciling.repair(
                connection, rule.repair, request.tenant, difference, now=now, new_id=lambda: str(uuid4())
            )
    return RuleView(
        rule=rule.name,
        text=rule.text,
        remedy=rule.remedy,
        found=total,
        repaired=repaired,
        differences=[DifferenceView(session=each.session_id, charger=each.charger, cdr=each.cdr, detail=each.detail) for each in found],
    )


HANDLERS: Final[dict[str, Handler]] = {
    "reconcile": reconcile,
    "tariff.set": tariff_set,
    "tariff.show": tariff_show,
    "tariff.list": tariff_list,
    "tariff.assign": tariff_assign,
    "session.list": session_list,
    "session.show": session_show,
    "cdr.list": cdr_list,
    "cdr.show": cdr_show,
}


async def _assignments(connection: Connection, tenant: str) -> list[AssignmentView]:
    rows = await tariffs.assignments(connection, tenant, limit=ASSIGNMENTS_MAX)
    return [AssignmentView(scope=row.scope, key=row.key, tariff=row.tariff_id) for row in rows]


def _tariff_view(tenant: str, stored: StoredTariff) -> TariffView:
    tariff = stored.tariff
    return TariffView(
        tenant=tenant,
        id=tariff.id,
        version=tariff.version,
        currency=tariff.currency,
        components=tariff.components,
        tax_percent=tariff.tax_percent,
        min_price=tariff.min_price,
        max_price=tariff.max_price,
        valid_from=to_datetime(stored.valid_from),
        created_at=to_datetime(stored.created_at),
    )

"""The verbs of tenants and sites."""

from typing import Any, Final
from zoneinfo import available_timezones

from msgspec import UNSET, Struct
from msgspec.structs import asdict, replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.time import to_datetime
from cpms_actors.bus.verbs_registry import (
    SiteAdd,
    SiteList,
    SitePage,
    SiteSet,
    SiteShow,
    SiteView,
    TenantAdd,
    TenantList,
    TenantPage,
    TenantSet,
    TenantShow,
    TenantView,
)
from cpms_actors.domain.tariff import CURRENCIES
from cpms_actors.pools.operations_desk import Desk, Handler, next_of, require_tenant, unknown_tenant
from cpms_actors.store import sites, tariffs, tenants
from cpms_actors.store.database import Connection

SILENCE_S_MIN: Final = 60  # what a meter value may take on its way, and a status after it
_ZONES: Final = frozenset({"UTC", *available_timezones()})


async def tenant_add(desk: Desk, request: TenantAdd) -> TenantView:
    """Store it, then tell the workers."""
    _check_zone(request.timezone)
    _check_currency(request.currency)
    _check_silence(request.failed_start_s, request.endless_s)
    if request.default_tariff is not None:
        raise OperatorError(
            "unknown-tariff",
            f"a new tenant has no tariff {request.default_tariff!r} yet; add the tenant, `cpms tariff set` it, then"
            f" `cpms tenant set {request.id} --default-tariff {request.default_tariff}`",
        )
    async with desk.database.transaction((request.id,)) as connection:
        added = await tenants.add(connection, tenants.Tenant(**asdict(request)))
    if added is None:
        raise OperatorError("exists", f"tenant {request.id!r} exists; `cpms tenant set {request.id}` changes it")
    await desk.mirror.tenant_changed(added.id)
    return _tenant_view(added)


async def tenant_set(desk: Desk, request: TenantSet) -> TenantView:
    """Change what is given, then tell the workers."""
    given = changes_of(request, without=("id",))
    _check_zone(given.get("timezone"))
    _check_currency(given.get("currency"))
    _check_silence(given.get("failed_start_s"), given.get("endless_s"))
    async with desk.database.transaction((request.id,)) as connection:
        before = await tenants.locked(connection, request.id)
        if before is None:
            raise unknown_tenant(request.id)
        if given.get("default_tariff") is not None:
            await _require_tariff(connection, request.id, given["default_tariff"])
        after = replace(before, **given)
        await tenants.save(connection, after)
    await desk.mirror.tenant_changed(after.id)
    return _tenant_view(after)


async def tenant_show(desk: Desk, request: TenantShow) -> TenantView:
    """One tenant."""
    async with desk.database.transaction((request.id,)) as connection:
        return _tenant_view(await require_tenant(connection, request.id))


async def tenant_list(desk: Desk, request: TenantList) -> TenantPage:
    """Tenants by id."""
    async with desk.database.transaction(()) as connection:
        rows = await tenants.page(connection, limit=request.limit, after=request.after)
    return TenantPage(tenants=[_tenant_view(row) for row in rows], next=next_of(rows, request.limit, "id"))


async def site_add(desk: Desk, request: SiteAdd) -> SiteView:
    """Store it."""
    _check_zone(request.timezone)
    given = asdict(request)
    given["tenant_id"] = given.pop("tenant")
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        added = await sites.add(connection, sites.Site(**given))
    if added is None:
        raise OperatorError("exists", f"site {request.id!r} exists; `cpms site set {request.id}` changes it")
    return _site_view(added)


async def site_set(desk: Desk, request: SiteSet) -> SiteView:
    """Change what is given."""
    given = changes_of(request, without=("tenant", "id"))
    _check_zone(given.get("timezone"))
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        before = await sites.locked(connection, request.tenant, request.id)
        if before is None:
            raise unknown_site(request.tenant, request.id)
        after = replace(before, **given)
        await sites.save(connection, after)
    return _site_view(after)


async def site_show(desk: Desk, request: SiteShow) -> SiteView:
    """One site."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        row = await sites.find(connection, request.tenant, request.id)
    if row is None:
        raise unknown_site(request.tenant, request.id)
    return _site_view(row)


async def site_list(desk: Desk, request: SiteList) -> SitePage:
    """A tenant's sites by id."""
    async with desk.database.transaction((request.tenant,)) as connection:
        await require_tenant(connection, request.tenant)
        rows = await sites.page(connection, request.tenant, limit=request.limit, after=request.after)
    return SitePage(sites=[_site_view(row) for row in rows], next=next_of(rows, request.limit, "id"))


HANDLERS: Final[dict[str, Handler]] = {
    "tenant.add": tenant_add,
    "tenant.set": tenant_set,
    "tenant.show": tenant_show,
    "tenant.list": tenant_list,
    "site.add": site_add,
    "site.set": site_set,
    "site.show": site_show,
    "site.list": site_list,
}


def changes_of(request: Struct, without: tuple[str, ...]) -> dict[str, Any]:
    """The fields that a `set` request gives. Raises OperatorError("nothing-to-change") when there is none."""
    given = {name: value for name, value in asdict(request).items() if value is not UNSET and name not in without}
    if not given:
        raise OperatorError("nothing-to-change", "nothing to change: give at least one field besides the id")
    return given


def unknown_site(tenant: str, site: str) -> OperatorError:
    """There is no such site."""
    return OperatorError(
        "unknown-site",
        f"tenant {tenant!r} has no site {site!r}; `cpms site list --tenant {tenant}` shows them",
    )


async def _require_tariff(connection: Connection, tenant: str, tariff: str) -> None:
    if await tariffs.find(connection, tenant, tariff) is None:
        raise OperatorError(
            "unknown-tariff",
            f"tenant {tenant!r} has no tariff {tariff!r}; `cpms tariff list --tenant {tenant}` shows them, `cpms tariff set` makes one",
        )


def _check_zone(zone: str | None) -> None:
    if zone is not None and zone not in _ZONES:
        raise OperatorError("unknown-timezone", f"{zone!r} is no time zone; give its name in the IANA database, such as Europe/Berlin")


def _check_currency(currency: str | None) -> None:
    if currency is not None and currency not in CURRENCIES:
        raise OperatorError("unknown-currency", f"{currency!r} is no currency; give a code of ISO 4217, such as EUR")


def _check_silence(failed_start_s: int | None, endless_s: int | None) -> None:
    for limit in (failed_start_s, endless_s):
        if limit and limit < SILENCE_S_MIN:
            text = f"{limit} s of silence are no sign of anything; give {SILENCE_S_MIN} or more, or 0 for never"
            raise OperatorError("too-short", text)


def _tenant_view(row: tenants.Tenant) -> TenantView:
    return TenantView(**{**asdict(row), "created_at": to_datetime(row.created_at)})


def _site_view(row: sites.Site) -> SiteView:
    fields = asdict(row)
    fields["tenant"] = fields.pop("tenant_id")
    return SiteView(**{**fields, "created_at": to_datetime(row.created_at)})

"""The commands of tenants and sites."""

from typing import Annotated, Literal

import typer

from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.cli.output import (
    AfterOption,
    JsonOption,
    LimitOption,
    TenantOption,
    answer,
    cleared,
    given,
    print_fields,
    print_next,
    print_table,
)

tenant_app = typer.Typer(no_args_is_help=True, help="Tenants: who shares this deployment, and their policies.")
site_app = typer.Typer(no_args_is_help=True, help="Sites: the places where chargers stand.")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Its id: 1 to 32 of a-z, 0-9 and hyphens.", show_default=False)]
NameOption = Annotated[str | None, typer.Option(help="Its name, for people.", show_default=False)]
Profile0Option = Annotated[
    bool | None, typer.Option("--profile0/--no-profile0", help="Whether a charger without a password may connect.", show_default=False)
]
StrictnessOption = Annotated[
    Literal["strict", "lenient"] | None,
    typer.Option(help="lenient: known faults of chargers are repaired; strict: they are refused. [new: lenient]", show_default=False),
]
OfflineOption = Annotated[
    Literal["cached", "accept", "reject"] | None,
    typer.Option(help="What a driver is told while nobody can be asked. [new: cached]", show_default=False),
]
HeartbeatOption = Annotated[
    int | None, typer.Option("--heartbeat", min=10, max=86_400, help="Seconds between heartbeats. [new: 300]", show_default=False)
]
FailedStartOption = Annotated[
    int | None,
    typer.Option(
        "--failed-start",
        min=0,
        max=2_592_000,
        help="Seconds of silence after which a start without energy at a free connector is closed; 0: never. [new: 300]",
        show_default=False,
    ),
]
EndlessOption = Annotated[
    int | None,
    typer.Option(
        "--endless",
        min=0,
        max=2_592_000,
        help="Seconds without a sign of a session after which it is closed; 0: never. [new: 21600]",
        show_default=False,
    ),
]
CurrencyOption = Annotated[str | None, typer.Option(help="ISO 4217. [new: EUR]", show_default=False)]
ZoneOption = Annotated[str | None, typer.Option(help="IANA time zone, such as Europe/Berlin. [new: UTC]", show_default=False)]


ClearDefaults = Annotated[list[str] | None, typer.Option(help="Forget this (default-tariff); may be repeated.", show_default=False)]


@tenant_app.command("add")
def tenant_add(
    tenant: TenantArgument,
    name: NameOption = None,
    profile0: Profile0Option = None,
    strictness: StrictnessOption = None,
    offline: OfflineOption = None,
    heartbeat: HeartbeatOption = None,
    failed_start: FailedStartOption = None,
    endless: EndlessOption = None,
    currency: CurrencyOption = None,
    timezone: ZoneOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a tenant. Its chargers dial /ocpp/TENANT/CHARGER.

    \b
    Examples:
      cpms tenant add north --name "Stadtwerke Nord" --currency EUR --timezone Europe/Berlin
      cpms tenant add lab --profile0 --strictness strict --heartbeat 60
    """
    fields = given(name=name, profile0=profile0, strictness=strictness, offline=offline)
    fields |= given(heartbeat_s=heartbeat, failed_start_s=failed_start, endless_s=endless, currency=currency, timezone=timezone)
    answer(as_json, verbs.TENANT_ADD, lambda: registry.TenantAdd(id=tenant, **fields), _show_tenant)


@tenant_app.command("set")
def tenant_set(
    tenant: TenantArgument,
    name: NameOption = None,
    profile0: Profile0Option = None,
    strictness: StrictnessOption = None,
    offline: OfflineOption = None,
    heartbeat: HeartbeatOption = None,
    failed_start: FailedStartOption = None,
    endless: EndlessOption = None,
    currency: CurrencyOption = None,
    timezone: ZoneOption = None,
    default_tariff: Annotated[str | None, typer.Option(help="The tariff where no narrower one applies.", show_default=False)] = None,
    clear: ClearDefaults = None,
    as_json: JsonOption = False,
) -> None:
    """Change a tenant's policies; what is not named stays.

    \b
    Examples:
      cpms tenant set north --offline accept
      cpms tenant set north --failed-start 600 --endless 43200
      cpms tenant set north --default-tariff day
      cpms tenant set north --clear default-tariff
    """
    fields = given(name=name, profile0=profile0, strictness=strictness, offline=offline)
    fields |= given(heartbeat_s=heartbeat, failed_start_s=failed_start, endless_s=endless, currency=currency, timezone=timezone)
    fields |= given(default_tariff=default_tariff)

    def request() -> registry.TenantSet:
        return registry.TenantSet(id=tenant, **(fields | cleared(clear, "default-tariff")))

    answer(as_json, verbs.TENANT_SET, request, _show_tenant)


@tenant_app.command("show")
def tenant_show(tenant: TenantArgument, as_json: JsonOption = False) -> None:
    """One tenant.

    \b
    Example:
      cpms tenant show default
    """
    answer(as_json, verbs.TENANT_SHOW, lambda: registry.TenantShow(id=tenant), _show_tenant)


@tenant_app.command("list")
def tenant_list(limit: LimitOption = 100, after: AfterOption = None, as_json: JsonOption = False) -> None:
    """All tenants, by id.

    \b
    Example:
      cpms tenant list --json
    """

    def show(page: registry.TenantPage) -> None:
        print_table(
            ["tenant", "name", "profile 0", "strictness", "offline", ">heartbeat s", "currency", "time zone", "default tariff"],
            [
                (t.id, t.name, t.profile0, t.strictness, t.offline, t.heartbeat_s, t.currency, t.timezone, t.default_tariff)
                for t in page.tenants
            ],
        )
        print_next(page.next, len(page.tenants))

    answer(as_json, verbs.TENANT_LIST, lambda: registry.TenantList(limit=limit, after=after), show)


SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Its id, unique in the tenant.", show_default=False)]
SiteZoneOption = Annotated[str | None, typer.Option(help="IANA time zone. [new: the tenant's]", show_default=False)]
AddressOption = Annotated[str | None, typer.Option(help="Street and number.", show_default=False)]
CityOption = Annotated[str | None, typer.Option(help="City.", show_default=False)]
CountryOption = Annotated[str | None, typer.Option(help="ISO 3166-1 alpha-2, such as DE.", show_default=False)]
LatitudeOption = Annotated[float | None, typer.Option(min=-90, max=90, help="Degrees north.", show_default=False)]
LongitudeOption = Annotated[float | None, typer.Option(min=-180, max=180, help="Degrees east.", show_default=False)]


@site_app.command("add")
def site_add(
    site: SiteArgument,
    name: NameOption = None,
    timezone: SiteZoneOption = None,
    address: AddressOption = None,
    city: CityOption = None,
    country: CountryOption = None,
    latitude: LatitudeOption = None,
    longitude: LongitudeOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Add a site.

    \b
    Example:
      cpms site add depot --name "Bus depot" --city Kiel --country DE --latitude 54.32 --longitude 10.13
    """
    fields = given(name=name, timezone=timezone, address=address, city=city, country=country, latitude=latitude, longitude=longitude)
    answer(as_json, verbs.SITE_ADD, lambda: registry.SiteAdd(tenant=tenant, id=site, **fields), _show_site)


@site_app.command("set")
def site_set(
    site: SiteArgument,
    name: NameOption = None,
    timezone: SiteZoneOption = None,
    address: AddressOption = None,
    city: CityOption = None,
    country: CountryOption = None,
    latitude: LatitudeOption = None,
    longitude: LongitudeOption = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Forget this field; may be repeated.", show_default=False),
    ] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Change a site; what is not named stays.

    \b
    Example:
      cpms site set depot --name "Bus depot north" --clear address
    """
    fields = given(name=name, timezone=timezone, address=address, city=city, country=country, latitude=latitude, longitude=longitude)

    def request() -> registry.SiteSet:
        names = cleared(clear, "timezone", "address", "city", "country", "latitude", "longitude")
        return registry.SiteSet(tenant=tenant, id=site, **(fields | names))

    answer(as_json, verbs.SITE_SET, request, _show_site)


@site_app.command("show")
def site_show(site: SiteArgument, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False) -> None:
    """One site.

    \b
    Example:
      cpms site show depot
    """
    answer(as_json, verbs.SITE_SHOW, lambda: registry.SiteShow(tenant=tenant, id=site), _show_site)


@site_app.command("list")
def site_list(
    tenant: TenantOption = DEFAULT_TENANT, limit: LimitOption = 100, after: AfterOption = None, as_json: JsonOption = False
) -> None:
    """A tenant's sites, by id.

    \b
    Example:
      cpms site list --tenant north
    """

    def show(page: registry.SitePage) -> None:
        print_table(
            ["site", "name", "city", "country", "time zone"],
            [(site.id, site.name, site.city, site.country, site.timezone) for site in page.sites],
            empty="no site yet; `cpms site add` makes one",
        )
        print_next(page.next, len(page.sites))

    answer(as_json, verbs.SITE_LIST, lambda: registry.SiteList(tenant=tenant, limit=limit, after=after), show)


def _show_tenant(tenant: registry.TenantView) -> None:
    print_fields(
        f"tenant {tenant.id}",
        [
            ("name", tenant.name or None),
            ("profile 0", tenant.profile0),
            ("strictness", tenant.strictness),
            ("offline", tenant.offline),
            ("heartbeat", f"{tenant.heartbeat_s} s"),
            ("failed start", f"after {tenant.failed_start_s} s" if tenant.failed_start_s else "never"),
            ("endless", f"after {tenant.endless_s} s" if tenant.endless_s else "never"),
            ("currency", tenant.currency),
            ("time zone", tenant.timezone),
            ("default tariff", tenant.default_tariff),
            ("since", tenant.created_at),
        ],
    )


def _show_site(site: registry.SiteView) -> None:
    place = None if site.latitude is None or site.longitude is None else f"{site.latitude}, {site.longitude}"
    print_fields(
        f"site {site.id}",
        [
            ("tenant", site.tenant),
            ("name", site.name or None),
            ("address", site.address),
            ("city", site.city),
            ("country", site.country),
            ("place", place),
            ("time zone", site.timezone),
            ("since", site.created_at),
        ],
    )

"""Admin verbs of the registry: tenants, sites, chargers, tokens.

In a `set` request a field that is left out stays as it is; null clears it where a value may be missing. Passwords go in and never
come back: a charger tells `has_password`.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from cpms_actors.bus.verbs_words import (
    After,
    Country,
    Currency,
    EndlessSeconds,
    FailedStartSeconds,
    HeartbeatSeconds,
    Identity,
    Limit,
    Line,
    Moment,
    PageRequest,
    Password,
    Request,
    Response,
    SecurityProfile,
    SiteId,
    TariffId,
    TenantId,
    TenantRequest,
    TokenId,
    TokenKind,
    TokenStatus,
    Zone,
)
from cpms_actors.domain.access import BootPolicy, OfflinePolicy, Strictness

Latitude = Annotated[float, Meta(ge=-90, le=90, description="Degrees, WGS 84.")]
Longitude = Annotated[float, Meta(ge=-180, le=180, description="Degrees, WGS 84.")]


class TenantAdd(Request, frozen=True, kw_only=True):
    """A new tenant and its policies."""

    id: TenantId
    name: Line = ""
    profile0: Annotated[bool, Meta(description="Whether a charger without credentials may connect.")] = False
    strictness: Annotated[Strictness, Meta(description="lenient repairs known faults of chargers, strict refuses them.")] = "lenient"
    offline: Annotated[OfflinePolicy, Meta(description="What a driver is told while the pools cannot be asked.")] = "cached"
    heartbeat_s: HeartbeatSeconds = 300
    failed_start_s: FailedStartSeconds = 300
    endless_s: EndlessSeconds = 21_600
    currency: Currency = "EUR"
    timezone: Zone = "UTC"
    default_tariff: TariffId | None = None


class TenantSet(Request, frozen=True, kw_only=True):
    """Changes of a tenant."""

    id: TenantId
    name: Line | UnsetType = UNSET
    profile0: bool | UnsetType = UNSET
    strictness: Strictness | UnsetType = UNSET
    offline: OfflinePolicy | UnsetType = UNSET
    heartbeat_s: HeartbeatSeconds | UnsetType = UNSET
    failed_start_s: FailedStartSeconds | UnsetType = UNSET
    endless_s: EndlessSeconds | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    timezone: Zone | UnsetType = UNSET
    default_tariff: TariffId | UnsetType | None = UNSET


class TenantShow(Request, frozen=True, kw_only=True):
    """Which tenant."""

    id: TenantId


class TenantList(Request, frozen=True, kw_only=True):
    """A page of all tenants, by id."""

    limit: Limit = 100
    after: After | None = None


class TenantView(Response, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    name: str
    profile0: bool
    strictness: str
    offline: str
    heartbeat_s: int
    failed_start_s: int
    endless_s: int
    currency: str
    timezone: str
    default_tariff: str | None
    created_at: Moment


class TenantPage(Response, frozen=True, kw_only=True):
    """A page of tenants; `next` is None on the last one."""

    tenants: list[TenantView]
    next: str | None


class SiteAdd(TenantRequest, frozen=True, kw_only=True):
    """A new site."""

    id: SiteId
    name: Line = ""
    timezone: Annotated[Zone | None, Meta(description="null: the tenant's.")] = None
    address: Line | None = None
    city: Line | None = None
    country: Country | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None


class SiteSet(TenantRequest, frozen=True, kw_only=True):
    """Changes of a site."""

    id: SiteId
    name: Line | UnsetType = UNSET
    timezone: Zone | UnsetType | None = UNSET
    address: Line | UnsetType | None = UNSET
    city: Line | UnsetType | None = UNSET
    country: Country | UnsetType | None = UNSET
    latitude: Latitude | UnsetType | None = UNSET
    longitude: Longitude | UnsetType | None = UNSET


class SiteShow(TenantRequest, frozen=True, kw_only=True):
    """Which site."""

    id: SiteId


class SiteList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's sites, by id."""


class SiteView(Response, frozen=True, kw_only=True):
    """A site. `timezone` null is the tenant's."""

    tenant: str
    id: str
    name: str
    timezone: str | None
    address: str | None
    city: str | None
    country: str | None
    latitude: float | None
    longitude: float | None
    created_at: Moment


class SitePage(Response, frozen=True, kw_only=True):
    """A page of sites; `next` is None on the last one."""

    sites: list[SiteView]
    next: str | None


class ChargerAdd(TenantRequest, frozen=True, kw_only=True):
    """A new charger: it may connect as soon as this is answered."""

    charger: Identity
    security_profile: SecurityProfile = 1
    password: Password | None = None
    boot: Annotated[BootPolicy, Meta(description="What its BootNotification is answered.")] = "Accepted"
    enabled: Annotated[bool, Meta(description="false: its connections are refused with 401.")] = True
    site: SiteId | None = None
    model: Line | None = None
    note: Line | None = None


class ChargerSet(TenantRequest, frozen=True, kw_only=True):
    """Changes of a charger."""

    charger: Identity
    security_profile: SecurityProfile | UnsetType = UNSET
    password: Password | UnsetType | None = UNSET
    boot: BootPolicy | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    site: SiteId | UnsetType | None = UNSET
    model: Line | UnsetType | None = UNSET
    note: Line | UnsetType | None = UNSET


class ChargerShow(TenantRequest, frozen=True, kw_only=True):
    """Which charger."""

    charger: Identity


class ChargerList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's chargers, by identity."""

    site: SiteId | None = None
    connected: Annotated[bool | None, Meta(description="Only those that are, or are not, connected.")] = None
    boot: BootPolicy | None = None


class ChargerView(Response, frozen=True, kw_only=True):
    """A charger: what the operator decided, then what the charger reported and when it was last heard of."""

    tenant: str
    charger: str
    security_profile: int
    has_password: bool
    boot: str
    enabled: bool
    site: str | None
    model: str | None
    note: str | None
    created_at: Moment
    vendor: str | None
    reported_model: str | None
    serial: str | None
    firmware: str | None
    ocpp: str | None
    connected: bool
    last_seen_at: Moment | None
    booted_at: Moment | None
    boot_status: str | None


class ConnectorView(Response, frozen=True, kw_only=True):
    """A connector's last StatusNotification; evse 0 is the charger itself."""

    evse: int
    connector: int
    status: str
    error_code: str | None
    info: str | None
    vendor_error: str | None
    status_at: Moment


class ChargerDetail(Response, frozen=True, kw_only=True):
    """A charger and its connectors. `slot` and `lane` tell who owns it."""

    charger: ChargerView
    connectors: list[ConnectorView]
    slot: int
    lane: int


class ChargerPage(Response, frozen=True, kw_only=True):
    """A page of chargers; `next` is None on the last one."""

    chargers: list[ChargerView]
    next: str | None


class TokenAdd(TenantRequest, frozen=True, kw_only=True):
    """A new token."""

    id: TokenId
    kind: Annotated[TokenKind, Meta(description="OCPP 2.x IdTokenEnumType.")] = "ISO14443"
    status: TokenStatus = "Accepted"
    group: Annotated[TokenId | None, Meta(description="OCPP 2.x groupIdToken: tokens of a group may end each other's sessions.")] = None
    parent: Annotated[TokenId | None, Meta(description="OCPP 1.6 parentIdTag; null: the group.")] = None
    expires_at: Moment | None = None
    note: Line | None = None


class TokenSet(TenantRequest, frozen=True, kw_only=True):
    """Changes of a token."""

    id: TokenId
    kind: TokenKind | UnsetType = UNSET
    status: TokenStatus | UnsetType = UNSET
    group: TokenId | UnsetType | None = UNSET
    parent: TokenId | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    note: Line | UnsetType | None = UNSET


class TokenBlock(TenantRequest, frozen=True, kw_only=True):
    """Which token shall not charge any more, and why."""

    id: TokenId
    note: Line | None = None


class TokenShow(TenantRequest, frozen=True, kw_only=True):
    """Which token."""

    id: TokenId


class TokenList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's tokens, by id."""

    status: TokenStatus | None = None
    group: TokenId | None = None


class TokenView(Response, frozen=True, kw_only=True):
    """A token as it was entered; its expiry counts beside its status."""

    tenant: str
    id: str
    kind: str
    status: str
    group: str | None
    parent: str | None
    expires_at: Moment | None
    note: str | None
    created_at: Moment


class TokenPage(Response, frozen=True, kw_only=True):
    """A page of tokens; `next` is None on the last one."""

    tokens: list[TokenView]
    next: str | None

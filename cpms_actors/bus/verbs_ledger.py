"""Admin verbs of what was charged and what it came to: tariffs, sessions, charge detail records.

Energy is in Wh, money in minor units of its currency; a price is a decimal in major units, as a string so that no reader makes a
float of it. Lists are newest first, but for tariffs, which go by id.
"""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from cpms_actors.bus.verbs_words import (
    Currency,
    Identity,
    Line,
    Moment,
    PageRequest,
    Response,
    TariffId,
    TenantRequest,
    TokenId,
)
from cpms_actors.domain.tariff import Component, Limit

SessionId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="The session's number.")]
CdrId = Annotated[str, Meta(min_length=1, max_length=36, description="The CDR's id.")]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class TariffSet(TenantRequest, frozen=True, kw_only=True):
    """A tariff, to be stored as the next version of its id. Older versions stay: sessions that began under them are priced by them."""

    id: TariffId
    currency: Annotated[Currency | None, Meta(description="null: the tenant's.")] = None
    components: Annotated[tuple[Component, ...], Meta(max_length=4, description="At most one price per dimension; none: free.")]
    tax_percent: Decimal = Decimal(0)
    min_price: Limit | None = None
    max_price: Limit | None = None
    valid_from: Annotated[Moment | None, Meta(description="Sessions that start at or after it; null: from now on.")] = None


class TariffShow(TenantRequest, frozen=True, kw_only=True):
    """Which tariff; `version` null is the newest."""

    id: TariffId
    version: Version | None = None


class TariffList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's tariffs, by id."""


class TariffAssign(TenantRequest, frozen=True, kw_only=True):
    """Where a tariff applies. The narrowest scope decides: charger, site, tenant. `tariff` null: the next wider one does."""

    scope: Literal["tenant", "site", "charger"]
    key: Annotated[Line | None, Meta(description="The site's id or the charger's identity; null for the tenant.")] = None
    tariff: TariffId | None


class TariffView(Response, frozen=True, kw_only=True):
    """One version of a tariff."""

    tenant: str
    id: str
    version: int
    currency: str
    components: tuple[Component, ...]
    tax_percent: Decimal
    min_price: Limit | None
    max_price: Limit | None
    valid_from: Moment
    created_at: Moment


class AssignmentView(Response, frozen=True, kw_only=True):
    """Where a tariff applies."""

    scope: str
    key: str
    tariff: str


class TariffPage(Response, frozen=True, kw_only=True):
    """A page of tariffs and, with the first page, where they apply (at most 1,000); `next` is None on the last page."""

    tariffs: list[TariffView]
    assignments: list[AssignmentView]
    next: str | None


class TariffAssigned(Response, frozen=True, kw_only=True):
    """Where the tenant's tariffs apply now (at most 1,000)."""

    assignments: list[AssignmentView]


class SessionShow(TenantRequest, frozen=True, kw_only=True):
    """Which session, and how many of its newest readings."""

    id: SessionId
    readings: Annotated[int, Meta(ge=0, le=1_000, description="At most so many readings, the newest.")] = 20


class SessionList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's sessions, the newest first."""

    charger: Identity | None = None
    token: TokenId | None = None
    status: Literal["Active", "Ended"] | None = None


class SessionView(Response, frozen=True, kw_only=True):
    """A session. `flags` are words for what was odd about it; `version` counts its amendments, 0 until it ended."""

    tenant: str
    id: int
    charger: str
    transaction: str
    evse: int
    connector: int
    token: str | None
    status: str
    started_at: Moment
    ended_at: Moment | None
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int
    reason: str | None
    charging_state: str | None
    offline: bool
    gaps: int
    flags: list[str]
    version: int
    rated_version: int
    updated_at: Moment


class Reading(Response, frozen=True, kw_only=True):
    """One sampled value of a session, in the base unit of its measurand."""

    taken_at: Moment
    value: float
    measurand: str
    context: str
    phase: str | None
    location: str | None
    unit: str | None


class SessionDetail(Response, frozen=True, kw_only=True):
    """A session, its newest readings (the oldest of them first), and its CDRs. `rating_error`: why it could not be priced."""

    session: SessionView
    transactions: list[str]
    readings: list[Reading]
    cdrs: list[str]
    rating_error: str | None


class CdrShow(TenantRequest, frozen=True, kw_only=True):
    """Which CDR."""

    id: CdrId


class CdrList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's CDRs, the newest first."""

    charger: Identity | None = None
    token: TokenId | None = None
    session: SessionId | None = None


class CdrView(Response, frozen=True, kw_only=True):
    """A charge detail record. `credits` names the CDR that this one takes back; then every figure is its negative."""

    tenant: str
    id: str
    session: int
    session_version: int
    charger: str
    token: str | None
    started_at: Moment
    ended_at: Moment
    energy_wh: int
    charging_s: int
    parking_s: int
    currency: str
    total_excl_minor: int
    tax_minor: int
    total_incl_minor: int
    tariff: str | None
    tariff_version: int | None
    provisional: bool
    credits: str | None
    created_at: Moment


class CostLine(Response, frozen=True, kw_only=True):
    """What one component of the tariff added. Quantities are Wh, ms, or 1 session; amounts are in major units."""

    kind: str
    quantity: int
    billed: int
    price: Decimal
    tax_percent: Decimal
    excl: Decimal
    tax: Decimal


class CostPeriod(Response, frozen=True, kw_only=True):
    """A stretch of the session that was metered as one."""

    kind: str
    started_at: Moment
    duration_ms: int
    energy_wh: int


class CdrDetail(Response, frozen=True, kw_only=True):
    """A CDR, the lines that add up to its totals, and the periods they were made of."""

    cdr: CdrView
    lines: list[CostLine]
    periods: list[CostPeriod]


class CdrPage(Response, frozen=True, kw_only=True):
    """A page of CDRs; `next` is None on the last one."""

    cdrs: list[CdrView]
    next: str | None


class SessionPage(Response, frozen=True, kw_only=True):
    """A page of sessions; `next` is None on the last one."""

    sessions: list[SessionView]
    next: str | None


class Reconcile(TenantRequest, frozen=True, kw_only=True):
    """Which sessions to look at, and whether to repair what is safe."""

    days: Annotated[int, Meta(ge=1, le=3_650, description="Sessions that started within so many days.")] = 31
    limit: Annotated[int, Meta(ge=1, le=1_000, description="At most so many differences of each rule are shown, and repaired.")] = 100
    repair: bool = False


class DifferenceView(Response, frozen=True, kw_only=True):
    """Where something does not fit; `cdr` is null when it is about the session."""

    session: int
    charger: str
    cdr: str | None
    detail: str


class RuleView(Response, frozen=True, kw_only=True):
    """A rule, and what it has found: `found` in all, `differences` as far as `limit` lets them be shown, `repaired` of those."""

    rule: str
    text: str
    remedy: str
    found: int
    repaired: int
    differences: list[DifferenceView]


class Reconciliation(Response, frozen=True, kw_only=True):
    """What does not fit: `found` in all, of which `repaired` were repaired just now; every rule with what it has found."""

    tenant: str
    since: Moment
    sessions: int
    cdrs: int
    found: int
    repaired: int
    rules: list[RuleView]

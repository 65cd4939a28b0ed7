"""Charge detail records: what a session came to, once and for all.

A CDR is never changed. When a late fact amends a session that has one, the CDR is taken back by a *credit*, its exact negative,
and a new CDR is drawn up: the sums over all CDRs of a session are the truth at any moment, and every statement that was ever made is
still there. (OCPI 2.2.1 mod_cdrs knows the same as Credit CDR; there only the cost is negative.)

    session version 1 ── CDR a: 12.00 EUR
    session version 2 ── CDR b: -12.00 EUR, credits a
                      └─ CDR c:  13.10 EUR

The detail of a CDR holds the tariff it was priced with, so that nobody has to look for a version that was in force then.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.domain.metering import MeteredSession, Period, merged, metered_periods
from cpms_actors.domain.tariff import Cost, Line, Tariff, price


class EndedSession(Struct, frozen=True):
    """A session to draw up a CDR for. `version` is raised by whatever amends the session; `token` is None when nobody showed one."""

    tenant: str
    id: int
    version: int
    charger: str
    token: str | None
    metered: MeteredSession


class Detail(Struct, frozen=True, omit_defaults=True):
    """How the totals came about. `tariff` None: none was assigned, the session was free. A credit repeats no periods."""

    tariff: Tariff | None
    periods: tuple[Period, ...] = ()
    lines: tuple[Line, ...] = ()


class Cdr(Struct, frozen=True):
    """A charge detail record. Moments in ms, durations in s (cut, never more than was metered), totals in minor units of `currency`.

    `provisional`: drawn up while events of the session, or its end, were still missing. `credits`: the id of the CDR that this one
    takes back; then energy, durations and totals are its negatives.
    """

    tenant: str
    id: str
    session_id: int
    session_version: int
    charger: str
    token: str | None
    started_at: int
    ended_at: int
    energy_wh: int
    charging_s: int
    parking_s: int
    currency: str
    total_excl_minor: int
    tax_minor: int
    total_incl_minor: int
    detail: Detail
    created_at: int
    provisional: bool = False
    credits: str | None = None

    @property
    def tariff_id(self) -> str | None:
        """The tariff it was priced with; None when the session was free for want of one."""
        return self.detail.tariff.id if self.detail.tariff else None

    @property
    def tariff_version(self) -> int | None:
        """The version of that tariff."""
        return self.detail.tariff.version if self.detail.tariff else None


def draw_up(session: EndedSession, tariff: Tariff | None, *, cdr_id: str, currency: str, now: int, provisional: bool = False) -> Cdr:
    """The CDR of a session under the tariff that was in force when it started.

    Without a tariff the session is free: a CDR of zero in `currency` (the tenant's), with energy and time as metered.
    """
    periods = merged(metered_periods(session.metered))
    cost = price(tariff, periods) if tariff else Cost(currency, (), 0, 0, 0)
    start, end = session.metered.start_ms, session.metered.end_ms
    return Cdr(
        tenant=session.tenant,
        id=cdr_id,
        session_id=session.id,
        session_version=session.version,
        charger=session.charger,
        token=session.token,
        started_at=start,
        ended_at=max(start, end),
        energy_wh=sum(period.energy_wh for period in periods),
        charging_s=sum(period.duration_ms for period in periods if period.kind == "charging") // 1000,
        parking_s=sum(period.duration_ms for period in periods if period.kind == "parking") // 1000,
        currency=cost.currency,
        total_excl_minor=cost.total_excl_minor,
        tax_minor=cost.tax_minor,
        total_incl_minor=cost.total_incl_minor,
        detail=Detail(tariff, periods, cost.lines),
        created_at=now,
        provisional=provisional,
    )


def says_the_same(cdr: Cdr, former: Cdr) -> bool:
    """Whether a new CDR of a session tells a driver nothing that the former did not."""
    return replace(cdr, id=former.id, session_version=former.session_version, created_at=former.created_at) == former


def issued(cdr: Cdr, former: Cdr | None, *, new_id: Callable[[], str]) -> tuple[Cdr, ...]:
    """What is to be written when this CDR of a session was drawn up and that one stands: nothing when it tells nothing new, else the
    credit of the former and then the new one."""
    if former is None:
        return (cdr,)
    if says_the_same(cdr, former):
        return ()
    return credit_of(former, cdr_id=new_id(), now=cdr.created_at), cdr


def credit_of(cdr: Cdr, *, cdr_id: str, now: int) -> Cdr:
    """The CDR that takes another one back: whatever adds up is negated. A credit itself cannot be credited (ValueError)."""
    if cdr.credits is not None:
        raise ValueError(f"CDR {cdr.id} is a credit of {cdr.credits}; draw up a new CDR instead")
    lines = tuple(
        replace(line, quantity=-line.quantity, billed=-line.billed, excl=-line.excl, tax=-line.tax) for line in cdr.detail.lines
    )
    return replace(
        cdr,
        id=cdr_id,
        energy_wh=-cdr.energy_wh,
        charging_s=-cdr.charging_s,
        parking_s=-cdr.parking_s,
        total_excl_minor=-cdr.total_excl_minor,
        tax_minor=-cdr.tax_minor,
        total_incl_minor=-cdr.total_incl_minor,
        detail=Detail(cdr.detail.tariff, (), lines),
        created_at=now,
        credits=cdr.id,
    )

"""The commands of sessions and charge detail records, and of whether they fit together."""

from typing import Annotated, Literal

import typer

from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.cli.output import (
    AfterOption,
    JsonOption,
    LimitOption,
    TenantOption,
    answer,
    duration,
    energy,
    given,
    money,
    print_fields,
    print_line,
    print_next,
    print_table,
    text,
)

session_app = typer.Typer(no_args_is_help=True, help="Sessions: who charged where, when and how much.")
cdr_app = typer.Typer(no_args_is_help=True, help="Charge detail records: what sessions came to.")

ChargerFilter = Annotated[str | None, typer.Option(help="Only those of this charger.", show_default=False)]
StatusFilter = Annotated[Literal["Active", "Ended"] | None, typer.Option(case_sensitive=False, help="Only these.", show_default=False)]
TokenFilter = Annotated[str | None, typer.Option(help="Only those of this token.", show_default=False)]


@session_app.command("list")
def session_list(
    charger: ChargerFilter = None,
    token: TokenFilter = None,
    status: StatusFilter = None,
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """A tenant's sessions, the newest first.

    \b
    Examples:
      cpms session list --status active
      cpms session list --charger CP01 --limit 10 --json
    """

    def show(page: ledger.SessionPage) -> None:
        print_table(
            [">session", "charger", ">EVSE", "token", "status", "started", "ended", ">energy", "reason", "flags"],
            [
                (s.id, s.charger, s.evse, s.token, s.status, s.started_at, s.ended_at, energy(s.energy_wh), s.reason, s.flags)
                for s in page.sessions
            ],
            empty="no such session",
        )
        print_next(page.next, len(page.sessions))

    fields = given(charger=charger, token=token, status=status, after=after)
    answer(as_json, verbs.SESSION_LIST, lambda: ledger.SessionList(tenant=tenant, limit=limit, **fields), show)


@session_app.command("show")
def session_show(
    session: Annotated[int, typer.Argument(metavar="SESSION", min=1, help="Its number.", show_default=False)],
    readings: Annotated[int, typer.Option(min=0, max=1000, help="At most so many meter readings, the newest.")] = 20,
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """One session with its meter readings and its CDRs.

    \b
    Example:
      cpms session show 42 --readings 100
    """
    request = ledger.SessionShow(tenant=tenant, id=session, readings=readings)
    answer(as_json, verbs.SESSION_SHOW, lambda: request, _show_session)


@cdr_app.command("list")
def cdr_list(
    charger: ChargerFilter = None,
    token: TokenFilter = None,
    session: Annotated[int | None, typer.Option(min=1, help="Only those of this session.", show_default=False)] = None,
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """A tenant's charge detail records, the newest first. A credit takes an earlier one back.

    \b
    Examples:
      cpms cdr list --token 04A2B3C4D5E6F7
      cpms cdr list --session 42 --json
    """

    def show(page: ledger.CdrPage) -> None:
        print_table(
            ["CDR", ">session", "charger", "token", "started", ">energy", ">excl. tax", ">incl. tax", "tariff", "credits"],
            [
                (
                    c.id,
                    c.session,
                    c.charger,
                    c.token,
                    c.started_at,
                    energy(c.energy_wh),
                    money(c.total_excl_minor, c.currency),
                    money(c.total_incl_minor, c.currency),
                    _tariff_name(c),
                    c.credits,
                )
                for c in page.cdrs
            ],
            empty="no such CDR",
        )
        print_next(page.next, len(page.cdrs))

    fields = given(charger=charger, token=token, session=session, after=after)
    answer(as_json, verbs.CDR_LIST, lambda: ledger.CdrList(tenant=tenant, limit=limit, **fields), show)


@cdr_app.command("show")
def cdr_show(
    cdr: Annotated[str, typer.Argument(metavar="CDR", help="Its id.", show_default=False)],
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """One charge detail record: its totals, the lines they add up from, and the periods that were metered.

    \b
    Example:
      cpms cdr list --session 42, then
      cpms cdr show 8f14e45f-ceea-467f-9d4c-3bd5c1b1a6b2
    """
    answer(as_json, verbs.CDR_SHOW, lambda: ledger.CdrShow(tenant=tenant, id=cdr), _show_cdr)


def reconcile(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Look at sessions that started within so many days.")] = 31,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired without losing or doubling anything.")] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Hold the chargers' registers, sessions and CDRs against each other: what does not fit, and what to do about it.

    Exits with 1 when something is left that does not fit. What --repair does is done by the tariff pool a moment later: run it again
    to see.

    \b
    Examples:
      cpms reconcile
      cpms reconcile --days 365 --repair
      cpms reconcile --json
    """
    request = ledger.Reconcile(tenant=tenant, days=days, limit=limit, repair=repair)
    found = answer(as_json, verbs.RECONCILE, lambda: request, _show_reconciliation)
    if found.found > found.repaired:
        raise typer.Exit(1)


def _tariff_name(cdr: ledger.CdrView) -> str:
    return "free" if cdr.tariff is None else f"{cdr.tariff} v{cdr.tariff_version}"


def _show_session(detail: ledger.SessionDetail) -> None:
    session = detail.session
    print_fields(
        f"session {session.id}",
        [
            ("tenant", session.tenant),
            ("charger", session.charger),
            ("EVSE, connector", (session.evse, session.connector)),
            ("transaction", detail.transactions or session.transaction),
            ("token", session.token),
            ("status", session.status),
            ("started", session.started_at),
            ("ended", session.ended_at),
            ("energy", energy(session.energy_wh)),
            ("meter at start", energy(session.meter_start_wh)),
            ("meter at end", energy(session.meter_stop_wh)),
            ("reason", session.reason),
            ("charging state", session.charging_state),
            ("offline", session.offline or None),
            ("missing events", session.gaps or None),
            ("flags", session.flags or None),
            ("CDRs", detail.cdrs or None),
            ("not priced", detail.rating_error),
        ],
    )
    print_table(
        ["taken", "measurand", ">value", "unit", "phase", "location", "context"],
        [(r.taken_at, r.measurand, r.value, r.unit, r.phase, r.location, r.context) for r in detail.readings],
        empty="  no meter reading",
    )


def _show_cdr(detail: ledger.CdrDetail) -> None:
    cdr = detail.cdr
    print_fields(
        f"CDR {cdr.id}",
        [
            ("tenant", cdr.tenant),
            ("session", f"{cdr.session}, version {cdr.session_version}"),
            ("charger", cdr.charger),
            ("token", cdr.token),
            ("started", cdr.started_at),
            ("ended", cdr.ended_at),
            ("energy", energy(cdr.energy_wh)),
            ("charging", duration(cdr.charging_s)),
            ("parking", duration(cdr.parking_s)),
            ("tariff", _tariff_name(cdr)),
            ("excl. tax", money(cdr.total_excl_minor, cdr.currency)),
            ("tax", money(cdr.tax_minor, cdr.currency)),
            ("incl. tax", money(cdr.total_incl_minor, cdr.currency)),
            ("provisional", cdr.provisional or None),
            ("credits", cdr.credits),
            ("drawn up", cdr.created_at),
        ],
    )
    print_table(
        ["line", ">billed", ">price", ">excl. tax", ">tax"],
        [(line.kind, line.billed, line.price, line.excl, line.tax) for line in detail.lines],
        empty="  no line: nothing was charged for",
    )
    if detail.periods:
        print_table(
            ["period", "from", ">for", ">energy"],
            [(each.kind, each.started_at, duration(each.duration_ms / 1000), energy(each.energy_wh)) for each in detail.periods],
        )


def _show_reconciliation(found: ledger.Reconciliation) -> None:
    for rule in found.rules:
        if rule.found:
            repaired = f", {rule.repaired} repaired" if rule.repaired else ""
            print_line(f"{rule.rule}: {rule.text} ({rule.found}{repaired})")
            print_line(f"  remedy: {rule.remedy}")
            print_table(
                [">session", "charger", "CDR", "detail"],
                [(each.session, each.charger, each.cdr, each.detail) for each in rule.differences],
            )
    what = f"{found.sessions} sessions and {found.cdrs} CDRs and credits since {text(found.since)}"
    print_line(f"{what}: {'all of it fits' if not found.found else f'{found.found} differences, {found.repaired} repaired'}")

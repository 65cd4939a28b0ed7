"""The commands of parked messages and of the audit."""

from typing import Annotated

import typer

from cpms_actors.base.ids import DEFAULT_TENANT
from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_parked as words
from cpms_actors.cli.operators_ledger import ChargerFilter
from cpms_actors.cli.output import (
    AfterOption,
    JsonOption,
    LimitOption,
    TenantOption,
    answer,
    energy,
    given,
    print_fields,
    print_json,
    print_line,
    print_next,
    print_table,
    text,
)

parked_app = typer.Typer(no_args_is_help=True, help="Parked messages: what could not be used and was not dropped.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit: what operators did.")

ParkedArgument = Annotated[int, typer.Argument(metavar="PARKED", min=1, help="Its number.", show_default=False)]


@parked_app.command("list")
def parked_list(
    charger: ChargerFilter = None,
    reason: Annotated[str | None, typer.Option(help="Only those parked for this reason.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="The resolved ones too.")] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """What chargers sent that could not be used, the newest first. It waits here for a person.

    \b
    Examples:
      cpms parked list
      cpms parked list --charger CP01 --all
    """

    def show(page: words.ParkedPage) -> None:
        print_table(
            [">parked", "charger", "received", "action", "reason", "detail", "resolved"],
            [(p.id, p.charger, p.received_at, p.action, p.reason, p.detail, p.resolution) for p in page.parked],
            empty="nothing is parked",
        )
        print_next(page.next, len(page.parked))

    request = words.ParkedList(
        tenant=tenant, limit=limit, resolved=None if everything else False, **given(charger=charger, reason=reason, after=after)
    )
    answer(as_json, verbs.PARKED_LIST, lambda: request, show)


@parked_app.command("show")
def parked_show(parked: ParkedArgument, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False) -> None:
    """One parked message with what it held.

    \b
    Example:
      cpms parked show 7
    """
    answer(as_json, verbs.PARKED_SHOW, lambda: words.ParkedShow(tenant=tenant, id=parked), _show_parked)


@parked_app.command("explain")
def parked_explain(parked: ParkedArgument, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False) -> None:
    """Why a message is parked, what usually causes that, what to do about it, and whether a replay would be of use now.

    \b
    Example:
      cpms parked explain 7
    """
    answer(as_json, verbs.PARKED_EXPLAIN, lambda: words.ParkedExplain(tenant=tenant, id=parked), _show_explanation)


@parked_app.command("replay")
def parked_replay(parked: ParkedArgument, tenant: TenantOption = DEFAULT_TENANT, as_json: JsonOption = False) -> None:
    """Try a parked message again: what it says goes into the journal, as if the charger had just been understood, and it is closed.

    It is folded a moment later, and once, however often you ask. What can still not be used then is parked anew, under another number.

    \b
    Examples:
      cpms parked explain 7, which says whether it would be of use, then
      cpms parked replay 7
    """

    def show(done: words.ParkedReplayed) -> None:
        facts = "1 fact" if done.events == 1 else f"{done.events} facts"
        print_line(f"parked message {done.parked.id} went into the journal again as {facts}, and is closed: {done.parked.resolution}")
        if done.sessions:
            print_line(f"it concerns session {text(done.sessions)}: `cpms session show {done.sessions[0]}` has it in a moment")
        print_line("should it be of no use again, `cpms parked list` has it in a moment, under a new number")

    answer(as_json, verbs.PARKED_REPLAY, lambda: words.ParkedReplay(tenant=tenant, id=parked), show)


@parked_app.command("discard")
def parked_discard(
    parked: ParkedArgument,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why it is not needed any more, in a sentence.", show_default=False)],
    tenant: TenantOption = DEFAULT_TENANT,
    as_json: JsonOption = False,
) -> None:
    """Close a parked message without using it, with the reason: it was a test, or what it told of was done by hand.

    \b
    Examples:
      cpms parked discard 7 "billed by hand, CDR 2026-0042"
      cpms parked discard 8 "a test of the installer's"
    """
    request = words.ParkedDiscard(tenant=tenant, id=parked, reason=reason)
    answer(as_json, verbs.PARKED_DISCARD, lambda: request, _show_parked)


@audit_app.command("list")
def audit_list(
    tenant: TenantOption = DEFAULT_TENANT,
    limit: LimitOption = 100,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which operator did what to what, the newest first: messages replayed and discarded, repairs of `cpms reconcile`.

    \b
    Examples:
      cpms audit list
      cpms audit list --limit 10 --json
    """

    def show(page: words.AuditPage) -> None:
        print_table(
            [">entry", "at", "operator", "verb", "subject", "detail"],
            [(a.id, a.at, a.operator, a.verb, a.subject, [f"{key}: {text(a.detail[key])}" for key in a.detail]) for a in page.audit],
            empty="nothing was done",
        )
        print_next(page.next, len(page.audit))

    answer(as_json, verbs.AUDIT_LIST, lambda: words.AuditList(tenant=tenant, limit=limit, **given(after=after)), show)


def _show_parked(detail: words.ParkedDetail) -> None:
    parked = detail.parked
    print_fields(
        f"parked message {parked.id}",
        [
            ("tenant", parked.tenant),
            ("charger", parked.charger),
            ("received", parked.received_at),
            ("message id", parked.message_id or None),
            ("action", parked.action),
            ("reason", parked.reason),
            ("detail", parked.detail),
            ("resolved", parked.resolved_at),
            ("resolved by", detail.resolved_by),
            ("resolution", parked.resolution),
        ],
    )
    if detail.payload_base64 is not None:
        print_line(f"  not JSON, in base64: {detail.payload_base64}")
    else:
        print_json(detail.payload)


def _show_explanation(found: words.ParkedExplanation) -> None:
    parked = found.parked
    charger = "not known" if found.connected is None else f"OCPP {found.ocpp or 'unknown'}, {_connected(found.connected)}"
    print_fields(
        f"parked message {parked.id}: {parked.reason}",
        [
            ("detail", parked.detail),
            ("means", found.means),
            ("usually", found.causes),
            ("remedy", found.remedy),
            ("replay", found.replay),
            ("charger", f"{parked.charger} ({charger})" if parked.charger else None),
            ("transaction", found.transaction),
        ],
    )
    if found.transaction is not None:
        print_table(
            [">session", "status", "started", "ended", ">energy"],
            [(s.id, s.status, s.started_at, s.ended_at, energy(s.energy_wh)) for s in found.sessions],
            empty=f"  no session has transaction {text(found.transaction)} of this charger",
        )


def _connected(connected: bool) -> str:
    return "connected" if connected else "not connected"

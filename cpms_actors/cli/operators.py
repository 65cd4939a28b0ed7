"""The operators' commands. Each is one request on an admin subject, so that whatever they do, another program can do too.

cpms tenant|site|charger|token|tariff|session|cdr|parked ...   what is in Postgres
cpms reconcile                                                 whether it fits together
cpms audit list                                                which operator did what
cpms call CHARGER ACTION [JSON]                                an action for a charger
cpms status                                                    how the processes are
cpms rollout|drain                                             new processes for a machine; the machine taken away
cpms verbs                                                     the requests themselves, with JSON schemas
"""

from collections.abc import Mapping
from time import time
from typing import Annotated, Any, Final

import typer

from cpms_actors.bus import verbs
from cpms_actors.bus import verbs_fleet as fleet
from cpms_actors.bus.commands import LaneJournal
from cpms_actors.cli import (
    operators_chargers,
    operators_ledger,
    operators_nodes,
    operators_parked,
    operators_tariffs,
    operators_tenants,
    operators_tokens,
)
from cpms_actors.cli.output import JsonOption, answer, duration, fail, print_json, print_line, print_table, text


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(operators_tenants.tenant_app, name="tenant")
    app.add_typer(operators_tenants.site_app, name="site")
    app.add_typer(operators_chargers.charger_app, name="charger")
    app.add_typer(operators_tokens.token_app, name="token")
    app.add_typer(operators_tariffs.tariff_app, name="tariff")
    app.add_typer(operators_ledger.session_app, name="session")
    app.add_typer(operators_ledger.cdr_app, name="cdr")
    app.add_typer(operators_parked.parked_app, name="parked")
    app.add_typer(operators_parked.audit_app, name="audit")
    app.command()(operators_ledger.reconcile)
    app.command()(operators_chargers.call)
    app.command("status")(status)
    app.command()(operators_nodes.rollout)
    app.command()(operators_nodes.drain)
    app.command("verbs")(list_verbs)


def status(
    wait: Annotated[int, typer.Option(min=50, max=5000, help="Milliseconds to wait for processes that do not answer.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Workers, slots, lanes, connections, rates and lag. A process that does not answer is not listed.

    \b
    Examples:
      cpms status
      watch -n 2 cpms status
      cpms status --json
    """
    answer(as_json, verbs.STATUS, lambda: fleet.StatusRequest(wait_ms=wait), _show_status)


def list_verbs(
    verb: Annotated[str | None, typer.Argument(metavar="[VERB]", help="Only this one.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """The requests behind these commands, for programs that do the same over NATS.

    A verb is a request on cpms.admin.OPERATOR.VERB with a JSON object; the reply is {"ok": {...}} or {"error": {"code", "text",
    "exit"}}. With --json: the JSON schemas of every request and response.

    \b
    Examples:
      cpms verbs
      cpms verbs charger.add --json
      nats request cpms.admin.local.charger.list '{"limit": 10}'
    """
    if verb is not None and verb not in verbs.VERBS:
        raise fail(as_json, verbs.Failure("unknown-verb", f"there is no verb {verb!r}; `cpms verbs` lists them", verbs.EXIT_OPERATOR))
    document = verbs.schemas()
    if as_json:
        print_json(document if verb is None else _narrowed(document, verb))
    elif verb is None:
        rows = [(each.name, each.doc) for each in verbs.VERBS.values()]
        print_table(["verb", "what it does"], rows, title="cpms.admin.<operator>.<verb>")
    else:
        print_line(f"{verb}: {verbs.VERBS[verb].doc}")
        for side in ("request", "response"):
            name = document["verbs"][verb][side]["$ref"].rpartition("/")[2]
            _show_schema(side, document["$defs"][name])


def _narrowed(document: dict[str, Any], verb: str) -> dict[str, Any]:
    """The schemas of one verb, with the definitions that they refer to."""
    needed: dict[str, Any] = {}
    waiting: list[Any] = [document["verbs"][verb], document["error"]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix("#/$defs/")
            if name and name not in needed:
                needed[name] = document["$defs"][name]
                waiting.append(needed[name])
            waiting += node.values()
    return {"verbs": {verb: document["verbs"][verb]}, "error": document["error"], "$defs": needed}


def _show_schema(side: str, schema: dict[str, Any]) -> None:
    required = schema.get("required", [])
    rows = [
        (name, "required" if name in required else "", _kind(field), field.get("description", ""))
        for name, field in schema["properties"].items()
    ]
    print_table([side, "", "type", ""], rows, empty=f"  the {side} has no fields")


def _kind(field: dict[str, Any]) -> str:
    """A field's type in a few words."""
    if "anyOf" in field:
        return " | ".join(_kind(each) for each in field["anyOf"])
    if "enum" in field:
        return " | ".join(str(word) for word in field["enum"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("type") == "array":
        return f"[{_kind(field.get('items', {}))}]"
    return str(field.get("format") or field.get("type", "anything"))


_HOLD_NOW: Final = {
    "gateway.in_line": "wait for their turn",
    "gateway.queue": "to return",
    "gateway.held": "read more slowly",
    "gateway.flapping": "seen flapping",
}
_HELD_SO_FAR: Final = {
    "gateway.gate.rate": "refused by the rate",
    "gateway.gate.pace": "by the pace",
    "gateway.gate.lag": "by the loop's lag",
    "gateway.gate.flapping": "for flapping",
    "gateway.open.refused": "for want of room",
    "gateway.opening.refused": "handshakes too many",
    "gateway.first": "let in first, charging",
    "gateway.gate.boot": "boots put off",
    "gateway.gate.messages": "times read more slowly",
    "calls_delayed": "calls delayed",
    "calls_over_rate": "calls refused by the rate",
}


def gates_of(counters: Mapping[str, int]) -> str:
    """What the gates of a worker hold back now and have done since it started, where there is anything; else empty."""
    now, so_far = (
        ", ".join(f"{counters[name]} {words}" for name, words in table.items() if counters.get(name))
        for table in (_HOLD_NOW, _HELD_SO_FAR)
    )
    return "; ".join(part for part in (now and f"now {now}", so_far and f"so far {so_far}") if part)


def journal_of(journal: Mapping[str, LaneJournal]) -> str:
    """What keeps a worker from journalling now, and what to do about it; empty while nothing does."""
    lanes = {lane: each.stalled for lane, each in journal.items() if each.stalled}
    if not lanes:
        return ""
    said = next(iter(lanes.values()))
    full = "maximum bytes" in said
    remedy = (
        "it is as large as CPMS_JOURNAL_BYTES_MAX lets it be: raise that, and start again"
        if full
        else "does nats-server run, and has its disk room? `cpms up` and the server's log say more"
    )
    return f"lane {', '.join(lanes)} takes nothing ({said}), and what moves money is not answered; {remedy}"


def _show_status(answered: fleet.FleetStatus) -> None:
    totals = answered.totals
    now = time() * 1000
    print_line(
        f"{totals.workers} workers own {totals.slots_owned} slots ({totals.slots_unowned} unowned); {totals.connections} connections,"
        f" {totals.open_transactions} transactions, {totals.messages_in_per_s:.1f} messages/s"
    )
    print_table(
        [
            "worker",
            "health",
            ">pid",
            ">up",
            ">slots",
            ">connections",
            ">transactions",
            ">messages",
            ">per s",
            ">loops late ms",
            ">MiB",
            ">refused",
        ],
        [
            (
                each.name,
                each.health or None,
                each.pid,
                duration((now - each.started_at) / 1000),
                each.slots,
                each.connections,
                each.open_transactions,
                each.messages_in,
                each.messages_in_per_s,
                f"{each.host_lag_ms:.0f}, {each.guest_lag_ms:.0f}",
                each.memory_bytes >> 20,
                sum(each.refusals.values()),
            )
            for each in answered.workers
        ],
        empty="no worker answers: no charger can connect; `cpms up` or `cpms worker` starts one",
    )
    for each in answered.workers:
        if gates := gates_of(each.counters):
            print_line(f"gates of {each.name}: {gates}")
        if journal := journal_of(each.journal):
            print_line(f"the journal of {each.name}: {journal}")
    print_table(
        [">lane", "owner", ">epoch", ">lag pages", ">lag ms", ">events", ">per s", ">parked", ">failures"],
        [
            (lane.lane, lane.owner, lane.epoch, lane.lag_pages, lane.lag_ms, lane.events, lane.events_per_s, lane.parked, lane.failures)
            for lane in answered.lanes
        ],
    )
    print_table(
        ["pool", "process", "counters"],
        [(each.pool, each.name, [f"{name} {text(value)}" for name, value in each.counters.items()]) for each in answered.pools],
    )

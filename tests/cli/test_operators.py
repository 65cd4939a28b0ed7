"""The operators' commands against a real pool: what people read, what programs get, and the exit codes they go by."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import asyncpg
import msgspec
import pytest
import typer
from nats.aio.msg import Msg
from typer.testing import CliRunner, Result

from cpms_actors.base.ids import slot_of
from cpms_actors.base.settings import Nats, Postgres, Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects, verbs
from cpms_actors.bus.commands import CallAnswer, LaneJournal, WorkerStatus
from cpms_actors.bus.journal import ensure_stream
from cpms_actors.cli import operators
from cpms_actors.pools import operations

Run = Callable[..., Result]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
operators.mount(app)

ANSWERS = {
    "ACCEPTS": CallAnswer("result", b'{"status":"Accepted"}'),
    "REJECTS": CallAnswer("result", b'{"status":"Rejected"}'),
    "ERRS": CallAnswer("error", b'{"why":"never"}', "NotImplemented", "no such thing"),
    "AWAY": CallAnswer("failed", code="NotConnected"),
}


@pytest.fixture(scope="module")
def settings(nats_url: str, postgres: Postgres) -> Settings:
    return Settings(nats=Nats(url=nats_url), postgres=postgres, credential_key="a secret of every process")


@pytest.fixture(scope="module", autouse=True)
def pool(settings: Settings) -> Iterator[None]:
    """A running operations pool, and a worker that answers for the chargers in ANSWERS, in a thread of their own."""
    started, ended = threading.Event(), threading.Event()

    async def answer(message: Msg) -> None:
        await message.respond(msgspec.msgpack.encode(ANSWERS[message.subject.split(".")[4]]))

    async def main() -> None:
        client = await bus.connect(settings.nats, "worker")
        for slot in {slot_of("default", charger) for charger in ANSWERS}:
            await client.subscribe(subjects.slot_commands(slot), cb=answer)
        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            await anyio.to_thread.run_sync(ended.wait)
            group.cancel_scope.cancel()
        await client.close()

    async def serve() -> None:
        await operations.run(settings, started=started.set)

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    assert started.wait(30)
    yield
    ended.set()
    thread.join(30)


@contextmanager
def workers(settings: Settings, *statuses: WorkerStatus) -> Iterator[None]:
    """Workers that say how they are, in a thread of their own."""
    started, ended = threading.Event(), threading.Event()

    async def answer(message: Msg) -> None:
        for status in statuses:
            await message.respond(msgspec.msgpack.encode(status))

    async def main() -> None:
        client = await bus.connect(settings.nats, "workers")
        await client.subscribe(subjects.WORKER_STATUS, cb=answer)
        await bus.subscribed(client)
        started.set()
        await anyio.to_thread.run_sync(ended.wait)
        await client.close()

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    assert started.wait(30)
    yield
    ended.set()
    thread.join(30)


@pytest.fixture
def run(settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty directory, with these servers in its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPMS_NATS_URL", settings.nats.url)
    runner = CliRunner()

    def ran(*arguments: str, stdin: str | None = None) -> Result:
        result = runner.invoke(app, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return ran


def document(result: Result) -> Any:
    """The one JSON document on stdout."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_charger_is_added_changed_shown_and_listed_for_people(run: Run) -> None:
    run("site", "add", "depot", "--name", "Bus depot", "--country", "DE")
    added = run("charger", "add", "CP01", "--generate-password", "--site", "depot", "--boot", "pending")
    assert (added.exit_code, "charger CP01" in added.stdout, "(shown this once)" in added.stdout) == (0, True, True)
    assert run("charger", "set", "CP01", "--boot", "Accepted", "--clear", "site", "--note", "moved").exit_code == 0
    shown = run("charger", "show", "CP01").stdout
    assert "Accepted" in shown
    assert "moved" in shown
    assert "depot" not in shown
    assert "no connector has reported" in shown
    assert "CP01" in run("charger", "list", "--disconnected").stdout
    assert "no such charger" in run("charger", "list", "--connected").stdout


def test_a_generated_password_is_one_that_every_version_of_ocpp_takes_and_is_never_told_again(run: Run) -> None:
    added = document(run("charger", "add", "SECRET", "--generate-password", "--json"))
    password = added["generated_password"]
    assert len(password) == 20
    assert password.isascii()
    assert added["has_password"] is True
    assert password not in run("charger", "show", "SECRET", "--json").stdout


def test_a_password_may_come_from_stdin_where_no_process_list_shows_it(run: Run) -> None:
    assert document(run("charger", "add", "PIPED", "--password", "-", "--json", stdin="0123456789abcdef\n"))["has_password"] is True
    empty = run("charger", "add", "EMPTY", "--password", "-", stdin="")
    assert (empty.exit_code, "reads the password from stdin" in empty.stderr) == (2, True)
    both = run("charger", "add", "BOTH", "--password", "0123456789abcdef", "--generate-password")
    assert (both.exit_code, "not both" in both.stderr) == (2, True)


def test_tenants_and_tokens_keep_apart_and_say_what_they_are(run: Run) -> None:
    assert (
        run("tenant", "add", "north", "--profile0", "--strictness", "strict", "--heartbeat", "60", "--currency", "SEK").exit_code == 0
    )
    changed = document(run("tenant", "set", "north", "--failed-start", "600", "--endless", "0", "--json"))
    assert (changed["failed_start_s"], changed["endless_s"]) == (600, 0)
    assert "after 600 s" in run("tenant", "show", "north").stdout
    changed = document(run("tenant", "set", "north", "--no-profile0", "--offline", "accept", "--json"))
    assert (changed["profile0"], changed["offline"], changed["heartbeat_s"], changed["currency"]) == (False, "accept", 60, "SEK")
    assert "north" in run("tenant", "list").stdout
    added = document(
        run("token", "add", "04A2", "-t", "north", "--type", "emaid", "--expires", "2031-01-31", "--group", "vans", "--json")
    )
    assert (added["kind"], added["expires_at"], added["group"]) == ("eMAID", "2031-01-31T00:00:00Z", "vans")
    changed = document(run("token", "set", "04a2", "-t", "north", "--status", "nocredit", "--clear", "expires", "--json"))
    assert (changed["status"], changed["expires_at"]) == ("NoCredit", None)
    assert document(run("token", "block", "04A2", "-t", "north", "--note", "lost", "--json"))["status"] == "Blocked"
    assert "04A2" in run("token", "list", "-t", "north", "--status", "blocked").stdout
    assert document(run("token", "list", "--json")) == {"tokens": [], "next": None}


def test_a_tariff_is_set_from_prices_or_from_a_file_and_assigned(run: Run, tmp_path: Any) -> None:
    day = document(run("tariff", "set", "day", "--per-kwh", "0.45", "--per-minute-parking", "0.10", "--tax", "19", "--json"))
    assert [(each["dimension"], each["price"]) for each in day["components"]] == [("ENERGY", "0.45"), ("PARKING_TIME", "6.00")]
    (tmp_path / "odd.json").write_text('{"components": [{"dimension": "ENERGY", "price": "0.3", "step_size": 100}], "currency": "SEK"}')
    odd = run("tariff", "set", "odd", "--file", str(tmp_path / "odd.json"), "--currency", "EUR")
    assert "0.3/kWh, in steps of 100" in odd.stdout
    assert run("tariff", "assign", "day", "--default").exit_code == 0
    listed = run("tariff", "list").stdout
    assert "0.45/kWh" in listed
    assert "default" in listed
    assert "sessions are free" in run("tariff", "assign", "--none", "--default").stdout
    free = document(run("tariff", "set", "free", "--per-kwh", "0", "--json"))
    assert (free["version"], document(run("tariff", "set", "free", "--per-kwh", "0", "--json"))["version"]) == (1, 2)


def test_lists_of_nothing_are_a_sentence_for_people_and_an_empty_list_for_programs(run: Run) -> None:
    assert run("session", "list").stdout == "no such session\n"
    assert document(run("cdr", "list", "--json")) == {"cdrs": [], "next": None}
    assert run("parked", "list").stdout == "nothing is parked\n"
    assert run("audit", "list").stdout == "nothing was done\n"


def park(settings: Settings, reason: str, action: str, payload: bytes) -> str:
    """A parked message of charger SHY in the ledger of a journal that is there; its number."""

    async def work() -> int:
        client = await bus.connect(settings.nats, "journal")
        await ensure_stream(client.jetstream(), settings)
        await client.close()
        owner = await asyncpg.connect(settings.postgres.owner_dsn)
        await owner.execute("UPDATE chargers SET ocpp = '1.6' WHERE identity = 'SHY'")
        number: int = await owner.fetchval(
            "INSERT INTO parked_messages (tenant_id, charger, reason, detail, action, payload, message_id, received_at)"
            " VALUES ('default', 'SHY', $1, 'it said too much', $2, $3, 'm1', now()) RETURNING id",
            reason,
            action,
            payload,
        )
        await owner.close()
        return number

    return str(anyio.run(work))


def test_a_parked_message_is_explained_with_what_can_be_done_about_it(run: Run, settings: Settings) -> None:
    run("charger", "add", "SHY", "--generate-password")
    number = park(settings, "no-transaction", "TransactionEnded", b'{"transactionId": -1}')
    explained = run("parked", "explain", number).stdout
    assert f"parked message {number}: no-transaction" in explained
    for words in ("The charger started while it was offline", "it names no transaction", "SHY (OCPP 1.6, not connected)"):
        assert words in explained
    assert "no session has transaction -1 of this charger" in explained
    refused = run("parked", "replay", number)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"parked message {number} (no-transaction) cannot be replayed: it names no transaction" in refused.stderr
    assert json.loads(run("parked", "replay", number, "--json").stdout)["error"]["code"] == "no-replay"
    assert document(run("parked", "explain", number, "--json"))["replayable"] is False


def test_a_message_is_replayed_or_discarded_once_and_the_audit_has_both(run: Run, settings: Settings) -> None:
    run("charger", "add", "SHY", "--generate-password")
    good, bad = (park(settings, "crashed", "FirmwareStatusNotification", status) for status in (b'{"status":"Idle"}', b"{}"))
    assert f"`cpms parked replay {good}` puts 1 fact into the journal" in run("parked", "explain", good).stdout
    replayed = run("parked", "replay", good)
    assert (replayed.exit_code, f"parked message {good} went into the journal again as 1 fact, and is closed" in replayed.stdout) == (
        0,
        True,
    )
    assert "should it be of no use again, `cpms parked list` has it in a moment" in replayed.stdout
    again = run("parked", "replay", good)
    assert (again.exit_code, "is resolved already by local: replayed by local at 20" in again.stderr) == (2, True)

    discarded = run("parked", "discard", bad, "a test of the installer's").stdout
    assert "resolved by  local" in discarded
    assert "a test of the installer's" in discarded
    assert "resolved by  local" in run("parked", "show", good).stdout
    listed = run("audit", "list", "--limit", "2")
    assert "2 shown; go on with --after" in listed.stdout
    assert "reason: a test of the installer's" in listed.stdout
    entries = document(run("audit", "list", "--limit", "2", "--json"))["audit"]
    assert [(each["operator"], each["verb"], each["subject"]) for each in entries] == [
        ("local", "parked.discard", f"parked {bad}"),
        ("local", "parked.replay", f"parked {good}"),
    ]


def test_what_does_not_fit_is_told_with_its_remedy_and_by_the_exit_code(run: Run, settings: Settings) -> None:
    run("tenant", "add", "books")
    clean = run("reconcile", "--tenant", "books")
    assert (clean.exit_code, "0 sessions and 0 CDRs" in clean.stdout, "all of it fits" in clean.stdout) == (0, True, True)

    async def lose_a_cdr() -> None:
        owner = await asyncpg.connect(settings.postgres.owner_dsn)
        await owner.execute(
            "INSERT INTO sessions (tenant_id, charger, transaction, status, started_at, ended_at, version, rated_version, marks)"
            " VALUES ('books', 'CP1', '1', 'Ended', now() - interval '2 hours', now() - interval '1 hour', 1, 1, '{}')"
        )
        await owner.execute(
            "INSERT INTO session_transactions SELECT tenant_id, charger, transaction, id FROM sessions WHERE tenant_id = 'books'"
        )
        await owner.close()

    anyio.run(lose_a_cdr)
    told = run("reconcile", "--tenant", "books")
    assert told.exit_code == 1
    assert "no-cdr: a session counts as rated and has no CDR that stands (1)\n  remedy: --repair has it rated again" in told.stdout
    repaired = run("reconcile", "--tenant", "books", "--repair", "--json")
    assert (repaired.exit_code, json.loads(repaired.stdout)["repaired"]) == (0, 1)
    (entry,) = document(run("audit", "list", "--tenant", "books", "--json"))["audit"]
    assert (entry["operator"], entry["verb"], entry["subject"]) == ("local", "reconcile", "tenant books")
    assert entry["detail"] == {"no-cdr": 1}, "what was looked at only is no entry"
    assert run("reconcile", "--tenant", "nobody").exit_code == 2


def test_a_list_tells_how_to_see_the_rest_of_it(run: Run) -> None:
    for number in range(3):
        run("site", "add", f"many{number}", "--tenant", "default")
    first = run("site", "list", "--limit", "1")
    assert "1 shown; go on with --after" in first.stdout
    page = document(run("site", "list", "--limit", "1", "--json"))
    assert document(run("site", "list", "--limit", "1", "--after", page["next"], "--json"))["sites"] != page["sites"]


@pytest.mark.parametrize(
    ("charger", "arguments", "exit_code", "out", "err"),
    [
        ("ACCEPTS", ["Reset", '{"type": "Soft"}'], 0, '"status": "Accepted"', ""),
        ("REJECTS", ["Reset", "{}"], 4, '"status": "Rejected"', "refused Reset: Rejected"),
        ("ERRS", ["Reset"], 4, "", "answered Reset with CALLERROR NotImplemented: no such thing\n  details: {"),
        ("AWAY", ["Reset"], 3, "", "is not connected; `cpms charger show AWAY`"),
        ("ACCEPTS", ["Reset", "{type}"], 2, "", "the payload is no JSON object"),
        ("ACCEPTS", ["Reset", "[]"], 2, "", "the payload is no JSON object"),
        ("ACCEPTS", ["Re set"], 2, "", "an action is its name in OCPP"),
        ("GHOST", ["Reset"], 2, "", "`cpms charger list --tenant default` shows them"),
    ],
)
def test_a_call_prints_the_answer_and_its_exit_code_tells_what_the_charger_said(
    run: Run, charger: str, arguments: list[str], exit_code: int, out: str, err: str
) -> None:
    if charger in ANSWERS:
        run("charger", "add", charger, "--generate-password")
    result = run("call", charger, *arguments)
    assert result.exit_code == exit_code
    assert out in result.stdout
    assert err in result.stderr
    as_json = run("call", charger, *arguments, "--json")
    assert as_json.exit_code == exit_code
    assert ("error" in json.loads(as_json.stdout)) == (out == "")
    assert as_json.stderr == ""


def test_a_call_takes_its_payload_from_stdin_too(run: Run) -> None:
    run("charger", "add", "ACCEPTS", "--generate-password")
    assert document(run("call", "ACCEPTS", "Reset", "-", "--json", stdin='{"type": "Hard"}'))["answer"] == {"status": "Accepted"}


def test_status_prints_something_for_every_kind_of_process_even_when_none_answers(run: Run) -> None:
    printed = run("status", "--wait", "50")
    assert printed.exit_code == 0
    assert "no worker answers" in printed.stdout
    assert "64 unowned" in printed.stdout
    assert document(run("status", "--wait", "50", "--json"))["totals"]["workers"] == 0


def test_status_says_how_late_a_worker_is_and_what_its_gates_hold_back(run: Run, settings: Settings) -> None:
    counters = {
        "gateway.gate.rate": 120, "gateway.gate.lag": 0, "gateway.held": 3, "gateway.gate.messages": 7, "gateway.gate.boot": 40,
        "calls_over_rate": 2, "gateway.open": 9,
    }  # fmt: skip
    late = WorkerStatus("w1@n", 1, 1, counters=counters, loop_lag_ms=812.5, host_lag_ms=812.5, guest_lag_ms=3.0, health="late")
    well = WorkerStatus("w2@n", 2, 1, counters={"gateway.gate.rate": 0}, health="ok")
    with workers(settings, late, well):
        printed = run("status", "--wait", "1000").stdout
        said = document(run("status", "--wait", "1000", "--json"))["workers"]
    assert "late" in next(line for line in printed.splitlines() if line.startswith(" w1@n"))
    assert "812, 3" in printed
    assert (
        "gates of w1@n: now 3 read more slowly; so far 120 refused by the rate, 40 boots put off, 7 times read more slowly,"
        " 2 calls refused by the rate\n" in printed
    )
    assert "gates of w2@n" not in printed
    assert [(each["health"], each["host_lag_ms"], each["guest_lag_ms"]) for each in said] == [("late", 812.5, 3.0), ("ok", 0.0, 0.0)]
    assert said[0]["counters"] == counters


STALLED = [
    # why a lane takes nothing, what there is to do
    ("nats: timeout", "has its disk room?"),
    ("nats: ServiceUnavailableError: code=503 err_code=10077 description='maximum bytes exceeded'", "raise that"),
]


@pytest.mark.parametrize(("why", "remedy"), STALLED)
def test_status_says_whose_journal_takes_nothing_why_and_what_to_do(run: Run, settings: Settings, why: str, remedy: str) -> None:
    stalled = WorkerStatus("w1@n", 1, 1, journal={"0": LaneJournal(), "1": LaneJournal(stalled=why)})
    well = WorkerStatus("w2@n", 2, 1, journal={"0": LaneJournal(waiting=3)})
    with workers(settings, stalled, well):
        printed = run("status", "--wait", "1000").stdout
    (line,) = (line for line in printed.splitlines() if line.startswith("the journal of"))
    assert line.startswith(f"the journal of w1@n: lane 1 takes nothing ({why}), and what moves money is not answered; ")
    assert remedy in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["charger", "add", "X", "--tenant", "ghost", "--profile", "0"], "`cpms tenant add ghost`"),
        (["charger", "add", "X"], "--generate-password"),
        (["charger", "add", "X", "--password", "short"], "password: expected `str` of length >= 16"),
        (["charger", "set", "X"], "nothing to change"),
        (["charger", "set", "X", "--clear", "boot"], "it takes password, site, model, note"),
        (["token", "add", "X", "--expires", "soon"], "write 2031-01-31"),
        (["tariff", "set", "x"], "such as --per-kwh 0.45"),
        (["tariff", "set", "x", "--per-kwh", "cheap"], "'cheap' is no number"),
        (["tariff", "set", "x", "--file", "ghost.json"], "cannot read ghost.json"),
        (["tariff", "assign", "x"], "--charger CHARGER, --site SITE or --default"),
        (["session", "show", "99"], "`cpms session list --tenant default`"),
        (["parked", "explain", "99999"], "`cpms parked list --tenant default`"),
        (["parked", "discard", "99999", ""], "reason: expected `str` of length >= 1"),
        (["verbs", "charger.fly"], "`cpms verbs` lists them"),
        (["tenant", "add", "x", "--currency", "EURO"], "three capital letters"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_a_sentence_with_the_remedy(run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.startswith("cpms: ")
    assert result.stderr.count("\n") == 1
    error = json.loads(run(*arguments, "--json").stdout)["error"]
    assert (error["exit"], said in error["text"]) == (2, True)


def test_nobody_to_ask_ends_with_3_and_how_to_start_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPMS_NATS_URL", "nats://127.0.0.1:9")
    result = run("tenant", "list")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("cpms: NATS does not answer")
    assert json.loads(run("tenant", "list", "--json").stdout)["error"]["code"] == "unavailable"


def test_verbs_are_listed_with_schemas_that_refer_to_nothing_missing(run: Run) -> None:
    assert "charger.call" in run("verbs").stdout
    assert "required" in run("verbs", "charger.add").stdout
    everything = document(run("verbs", "--json"))
    assert everything["verbs"].keys() == verbs.VERBS.keys()
    for name in verbs.VERBS:
        one = document(run("verbs", name, "--json"))
        text = json.dumps(one)
        referred = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
        assert referred == one["$defs"].keys()


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
    else:
        for name, each in inner.items():
            yield from _commands(each, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_teaches_with_an_example_that_is_a_command_and_every_command_has_json(path: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(app, [*path, "--help"]).stdout
    examples = [line.strip() for line in printed.splitlines() if line.lstrip().startswith("cpms ")]
    assert any(example.startswith("cpms " + " ".join(path)) for example in examples), printed
    assert "--json" in printed

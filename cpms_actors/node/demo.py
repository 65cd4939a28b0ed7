"""`cpms demo`: a whole system in a scratch directory, simulated chargers of three protocol versions, and a verdict.

    scratch directory ─▶ the stack ─▶ tariff, token, chargers over NATS, as an operator ─▶ `cpms simulate` in a process of its own
                                                                                              │
    verdict ◀── each charger: sessions = CDRs, and the CDRs' energy and cost are those ◀── the simulators' own facts,
                of the facts, to the Wh and the cent                                        priced with the same tariff

Nothing of the verdict is taken from the system's own arithmetic of sessions: the facts are what the virtual cars did, and the pure rule
`domain.tariff.price` says what that costs. The scratch directory is removed whatever happens.
"""

import json
import os
import secrets
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import anyio
import msgspec
from msgspec.structs import replace
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.settings import Gateway, Nats, Settings
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects, verbs
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.bus.verbs import Verb
from cpms_actors.domain.tariff import Component, Tariff
from cpms_actors.node import exec_child, stack
from cpms_actors.node.data_dir import Connection
from cpms_actors.node.demo_verdict import Outcome, judge
from cpms_actors.simulator.fleet import FleetResult

CURRENCY: Final = "EUR"
TOKEN: Final = "DEMO-TOKEN"
PREFIX: Final = "DEMO-"
OUTPUT_LINES_MAX: Final = 400  # what the processes said, kept to be shown if the demo fails
SIMULATION_S_MAX: Final = 90.0
RATING_S_MAX: Final = 30.0
POLL_S: Final = 0.2
ASK_S_MAX: Final = 10.0

# Station time runs 400 times as fast and ends about now: half an hour of charging and parking in five seconds.
SIMULATION: Final = ("--speed", "400", "--backdate", "--charging", "20", "--parking", "10", "--version", "all", "--json")

# Prices in EUR excl. tax; OCPI counts time by the hour.
TARIFF: Final = ledger.TariffSet(
    id="demo",
    currency=CURRENCY,
    components=(
        Component("FLAT", Decimal("0.50")),
        Component("ENERGY", Decimal("0.49")),
        Component("TIME", Decimal("1.20")),
        Component("PARKING_TIME", Decimal("6.00")),
    ),
    tax_percent=Decimal("19"),
)


async def run(chargers: int, *, say: Callable[[str], None] | None) -> Outcome:
    """The whole demo; `say` gets a sentence at each step. Raises OperatorError or Unavailable when there can be no verdict."""
    tell = say or (lambda _: None)
    began = monotonic()
    output: deque[str] = deque(maxlen=OUTPUT_LINES_MAX)
    with _scratch() as scratch:
        tell(f"starting nats-server, Postgres, three pools and a worker in {scratch}")
        try:
            outcome = await _with_stack(scratch, chargers, tell, output)
        except Exception:
            _show(output)
            raise
    tell("everything is stopped, the scratch directory removed")
    if not outcome.equal:
        _show(output)
    return replace(outcome, seconds=round(monotonic() - began, 3))


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cpms-demo-"))
    try:
        folder.chmod(0o711)  # Postgres, which may run as another user, walks through
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _with_stack(scratch: Path, chargers: int, tell: Callable[[str], None], output: deque[str]) -> Outcome:
    # No settings of the environment: a demo must not touch servers that somebody means for something else.
    settings = Settings(gateway=Gateway(port=0), data=str(scratch / ".cpms"))
    found: list[Connection] = []
    running = anyio.Event()

    def started(connection: Connection) -> None:
        found.append(connection)
        running.set()

    def keep(name: str, line: str) -> None:
        output.append(f"{name:<10} | {line}")

    async with anyio.create_task_group() as group:
        group.start_soon(partial(stack.run, settings, stack.Plan(), environment={}, on_line=keep, started=started))
        await running.wait()
        outcome = await _verdict(found[0], scratch, chargers, tell)
        group.cancel_scope.cancel()
    return outcome


async def _verdict(connection: Connection, scratch: Path, chargers: int, tell: Callable[[str], None]) -> Outcome:
    nats = await bus.connect(Nats(), "demo", url=connection.nats_operator_url, inbox=bus.operator_inbox(connection.operator))
    try:
        desk = _Desk(nats, connection.operator)
        passwords = {f"{PREFIX}{number:04}": secrets.token_hex(16) for number in range(1, chargers + 1)}
        tell(f"adding a tariff, a token and {chargers} chargers, as an operator would")
        tariff = await _set_up(desk, passwords)
        tell(f"simulating {chargers} chargers on {connection.websocket_url}: a third each of OCPP 1.6, 2.0.1 and 2.1")
        result = await _simulate(connection, scratch, passwords)
        tell(f"{result.sessions} sessions, {result.energy_wh / 1000:.3f} kWh, {result.messages_sent} messages; waiting for the bills")
        return judge(chargers, result, await _billed(desk, chargers), tariff)
    finally:
        with anyio.CancelScope(shield=True):
            await bus.close(nats)


class _Desk:
    """An operator's place: asks verbs over NATS."""

    def __init__(self, nats: Client, operator: str) -> None:
        self._nats = nats
        self._operator = operator

    async def ask(self, verb: Verb[Any, Any], request: Any) -> Any:
        """The response. Raises VerbFailed, or Unavailable when nobody answers."""
        try:
            subject = subjects.admin(self._operator, verb.name)
            reply = await self._nats.request(subject, verbs.encode_request(request), timeout=ASK_S_MAX)
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"{verb.name} was not answered: {error!r}") from error
        return verb.decode_reply(reply.data)


async def _set_up(desk: _Desk, passwords: dict[str, str]) -> Tariff:
    # The simulated chargers' clocks begin in the past: the tariff was in force then.
    tariff = replace(TARIFF, valid_from=datetime.now(UTC) - timedelta(days=1))
    view: ledger.TariffView = await desk.ask(verbs.TARIFF_SET, tariff)
    await desk.ask(verbs.TARIFF_ASSIGN, ledger.TariffAssign(scope="tenant", tariff=TARIFF.id))
    await desk.ask(verbs.TOKEN_ADD, registry.TokenAdd(id=TOKEN))
    for identity, password in passwords.items():
        await desk.ask(verbs.CHARGER_ADD, registry.ChargerAdd(charger=identity, password=password))
    return Tariff(view.id, view.version, view.currency, view.components, view.tax_percent, view.min_price, view.max_price)


async def _simulate(connection: Connection, scratch: Path, passwords: dict[str, str]) -> FleetResult:
    file = scratch / "passwords.json"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as opened:
        json.dump(passwords, opened)
    argv = [
        sys.executable,
        "-m",
        "cpms_actors.cli.main",
        "simulate",
        "--url",
        connection.websocket_url,
        "--chargers",
        str(len(passwords)),
    ]
    argv += ["--prefix", PREFIX, "--passwords", str(file), "--token", TOKEN, "--deadline", str(SIMULATION_S_MAX), *SIMULATION]
    done = await anyio.run_process(exec_child.command(argv), check=False)
    try:
        return msgspec.json.decode(done.stdout, type=FleetResult)
    except msgspec.DecodeError:
        words = done.stderr.decode(errors="replace").strip() or f"it ended with status {done.returncode}"
        raise OperatorError("simulation", f"the simulation failed: {words}") from None


async def _billed(desk: _Desk, sessions: int) -> list[ledger.CdrView]:
    """The CDRs, once there is one for each session; after RATING_S_MAX, those there are."""
    cdrs: list[ledger.CdrView] = []
    with anyio.move_on_after(RATING_S_MAX):
        while len(cdrs) < sessions:
            await anyio.sleep(POLL_S)
            cdrs = await _all_cdrs(desk)
    return cdrs


async def _all_cdrs(desk: _Desk) -> list[ledger.CdrView]:
    found: list[ledger.CdrView] = []
    after: str | None = None
    while True:
        page: ledger.CdrPage = await desk.ask(verbs.CDR_LIST, ledger.CdrList(limit=1000, after=after))
        found += page.cdrs
        after = page.next
        if after is None:
            return found


def _show(output: Iterable[str]) -> None:
    """What the processes said, for whoever has to find out why."""
    for line in output:
        sys.stderr.write(line + "\n")

"""The operator's side of a storm: registers its chargers in bulk, and asks the system for the truth after it.

One NATS connection and many requests at once: there is no verb for more than one charger, and none is needed.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.ids import subject_token
from cpms_actors.base.settings import Logs, Nats, load
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects, verbs
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.bus.verbs import Verb, VerbFailed, encode_request
from cpms_actors.bus.verbs_words import Request, Response
from cpms_actors.domain.tariff import Component
from cpms_actors.observe import logs
from loadtests.report import Billed, StormReport, Truth

AT_ONCE: Final = 64  # requests in flight
ASK_S_MAX: Final = 30.0
SETTLE_S_MAX: Final = 30.0  # until the pools have caught up with what the chargers were answered
POLL_S: Final = 0.25
PAGE: Final = 1000
TARIFF: Final = "storm"

P = TypeVar("P", bound=Request)
Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)
T = TypeVar("T")


class Operator(Struct, frozen=True):
    """How to ask: the operator's name, and NATS as that operator."""

    operator: str
    nats_operator_url: str


def operator_of(data: Path | None) -> Operator:
    """The operator of the stack that runs in a directory; None: of the one in .cpms, unless the settings name another NATS."""
    logs.configure(Logs(level="error"))
    if data is None and any(os.environ.get(name) for name in ("CPMS_NATS_URL", "CPMS_NATS_OPERATOR_URL", "CPMS_CONFIG")):
        nats = load(os.environ).nats
        return Operator(nats.operator, nats.operator_url or nats.url)
    file = (data or Path(".cpms")) / "connection.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Operator)
    except (OSError, msgspec.DecodeError):
        text = f"there is no running stack in {file.parent}; run this beside it, or set CPMS_NATS_OPERATOR_URL and CPMS_NATS_OPERATOR"
        raise OperatorError("operator", text) from None


class _Desk:
    def __init__(self, nats: Client, operator: str) -> None:
        self._nats, self._operator = nats, subject_token(operator)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def ask(self, verb: Verb[Q, R], request: Q) -> R:
        async with self._room:
            try:
                reply = await self._nats.request(subjects.admin(self._operator, verb.name), encode_request(request), timeout=ASK_S_MAX)
            except (NatsError, TimeoutError) as error:
                raise Unavailable(f"{verb.name} was not answered: {error!r}") from error
        return verb.decode_reply(reply.data)

    async def put(self, add: Verb[Q, R], new: Q, change: Verb[P, R], known: P) -> None:
        """Add it, or change it when it is there."""
        try:
            await self.ask(add, new)
        except VerbFailed as error:
            if error.code != "exists":
                raise
            await self.ask(change, known)

    async def add_charger(self, charger: str, password: str) -> None:
        new = registry.ChargerAdd(charger=charger, password=password)
        known = registry.ChargerSet(charger=charger, password=password, security_profile=1, enabled=True)
        await self.put(verbs.CHARGER_ADD, new, verbs.CHARGER_SET, known)


def register(operator: Operator, chargers: Iterable[str], password: str, token: str, *, price: bool) -> None:
    """Let chargers and token in, new or known. `price`: also a tariff for the whole tenant, for a system of the laboratory's own.

    Raises Unavailable when nobody answers, VerbFailed when the system refuses.
    """

    async def work(desk: _Desk) -> None:
        if price:
            since = datetime.now(UTC) - timedelta(days=1)
            energy = (Component("ENERGY", Decimal("0.50")),)
            await desk.ask(verbs.TARIFF_SET, ledger.TariffSet(id=TARIFF, currency="EUR", components=energy, valid_from=since))
            await desk.ask(verbs.TARIFF_ASSIGN, ledger.TariffAssign(scope="tenant", tariff=TARIFF))
        await desk.put(verbs.TOKEN_ADD, registry.TokenAdd(id=token), verbs.TOKEN_SET, registry.TokenSet(id=token, status="Accepted"))
        await asyncio.gather(*(desk.add_charger(charger, password) for charger in chargers))

    _run(operator, work)


def truth(operator: Operator, report: StormReport, chargers: Iterable[str], token: str, expected: Callable[[Truth], bool]) -> Truth:
    """What the system says, as soon as it is as `expected`; after SETTLE_S_MAX as it is. Raises as `register` does."""

    async def work(desk: _Desk) -> Truth:
        deadline = time.monotonic() + SETTLE_S_MAX
        while True:
            seen = await _look(desk, report, frozenset(chargers), token)
            if expected(seen) or time.monotonic() > deadline:
                return seen
            await asyncio.sleep(POLL_S)

    return _run(operator, work)


async def _look(desk: _Desk, report: StormReport, chargers: frozenset[str], token: str) -> Truth:
    began = _moment(report.began_at)
    since = began if report.cut_at is None else _moment(report.cut_at)
    seen = [view for view in await _chargers(desk) if view.charger in chargers]
    sessions = [view for view in await _sessions(desk, token, began) if view.charger in chargers]
    cdrs = [view for view in await _cdrs(desk, token, began) if view.charger in chargers]
    return Truth(
        connected=frozenset(view.charger for view in seen if view.connected),
        booted=frozenset(view.charger for view in seen if view.booted_at is not None and view.booted_at >= since),
        ended=tuple(Billed(one.charger, one.id, one.energy_wh) for one in sessions if one.status == "Ended"),
        active=tuple(Billed(one.charger, one.id, one.energy_wh) for one in sessions if one.status != "Ended"),
        cdrs=tuple(Billed(one.charger, one.session, one.energy_wh) for one in cdrs),
    )


async def _chargers(desk: _Desk) -> list[registry.ChargerView]:
    """All chargers of the tenant."""
    found: list[registry.ChargerView] = []
    after: str | None = None
    while True:
        page = await desk.ask(verbs.CHARGER_LIST, registry.ChargerList(limit=PAGE, after=after))
        found += page.chargers
        after = page.next
        if after is None:
            return found


async def _sessions(desk: _Desk, token: str, began: datetime) -> list[ledger.SessionView]:
    """Newest first, so what is older than the storm ends the list."""
    found: list[ledger.SessionView] = []
    after: str | None = None
    while True:
        page = await desk.ask(verbs.SESSION_LIST, ledger.SessionList(limit=PAGE, after=after, token=token))
        found += [view for view in page.sessions if view.started_at >= began]
        after = page.next
        if after is None or page.sessions[-1].started_at < began:
            return found


async def _cdrs(desk: _Desk, token: str, began: datetime) -> list[ledger.CdrView]:
    """Newest first, as `_sessions`."""
    found: list[ledger.CdrView] = []
    after: str | None = None
    while True:
        page = await desk.ask(verbs.CDR_LIST, ledger.CdrList(limit=PAGE, after=after, token=token))
        found += [view for view in page.cdrs if view.started_at >= began]
        after = page.next
        if after is None or page.cdrs[-1].started_at < began:
            return found


def _moment(seconds: float) -> datetime:
    """To the ms, rounded down, as the system keeps moments."""
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)


def _run(operator: Operator, work: Callable[[_Desk], Awaitable[T]]) -> T:
    async def connected() -> T:
        inbox = bus.operator_inbox(operator.operator)
        nats = await bus.connect(Nats(), "storm", url=operator.nats_operator_url, inbox=inbox, patient=False)
        try:
            return await work(_Desk(nats, operator.operator))
        finally:
            await nats.close()

    return asyncio.run(connected())

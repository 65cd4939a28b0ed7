"""The operator's side of a storm: registers its chargers in bulk, and asks the system for the truth after it.

One NATS connection and many requests at once: there is no verb for more than one charger, and none is needed.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cpms_actors.base.errors import OperatorError, Unavailable
from cpms_actors.base.ids import subject_token
from cpms_actors.base.settings import Logs, Nats, load
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects, verbs, verbs_parked
from cpms_actors.bus import verbs_fleet as fleet
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.bus.verbs import Verb, VerbFailed, encode_request
from cpms_actors.bus.verbs_words import Request, Response
from cpms_actors.domain.tariff import Component
from cpms_actors.node.data_dir import attach, is_external
from cpms_actors.observe import logs
from loadtests.dialects import TABLE, Command, Dialect, Ocpp, version_of
from loadtests.report import Billed, StormReport, Truth
from loadtests.scenario import Scenario

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


def operator_of(data: Path | None) -> Nats:
    """How to ask the stack that runs in a directory; None: the one that a command of `cpms` would ask. Raises OperatorError."""
    logs.configure(Logs(level="error"))
    environment = os.environ if data is None else {}  # what is named is asked, whatever the environment names
    settings = load(environment)
    nats = attach(settings if data is None else replace(settings, data=str(data)), environment).nats
    if not nats.operator_url and not is_external(nats.url, Nats().url, environment, "CPMS_NATS_URL"):
        text = f"there is no running stack in {data or settings.data}; run this beside it, or set CPMS_NATS_OPERATOR_URL"
        raise OperatorError("operator", text)
    return nats


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

    async def add_token(self, token: str) -> None:
        await self.put(verbs.TOKEN_ADD, registry.TokenAdd(id=token), verbs.TOKEN_SET, registry.TokenSet(id=token, status="Accepted"))

    async def add_charger(self, charger: str, password: str, profile: int) -> None:
        new = registry.ChargerAdd(charger=charger, password=password, security_profile=profile)
        known = registry.ChargerSet(charger=charger, password=password, security_profile=profile, enabled=True)
        await self.put(verbs.CHARGER_ADD, new, verbs.CHARGER_SET, known)


def register(operator: Nats, chargers: Iterable[str], password: str, tokens: Iterable[str], *, price: bool, tls: bool = False) -> None:
    """Let chargers and tokens in, new or known. `price`: also a tariff for the whole tenant, for a system of the laboratory's own.

    Chargers that come with `tls` are of security profile 2, others of 1.

    Raises Unavailable when nobody answers, VerbFailed when the system refuses.
    """

    async def work(desk: _Desk) -> None:
        if price:
            since = datetime.now(UTC) - timedelta(days=1)
            energy = (Component("ENERGY", Decimal("0.50")),)
            await desk.ask(verbs.TARIFF_SET, ledger.TariffSet(id=TARIFF, currency="EUR", components=energy, valid_from=since))
            await desk.ask(verbs.TARIFF_ASSIGN, ledger.TariffAssign(scope="tenant", tariff=TARIFF))
        await asyncio.gather(*(desk.add_token(token) for token in tokens))
        await asyncio.gather(*(desk.add_charger(charger, password, 2 if tls else 1) for charger in chargers))

    _run(operator, work)


def truth(operator: Nats, report: StormReport, chargers: Iterable[str], past_s: float, expected: Callable[[Truth], bool]) -> Truth:
    """What the system says, as soon as it is as `expected`; after SETTLE_S_MAX as it is. Raises as `register` does.

    Sessions may have begun `past_s` before the storm.
    """

    async def work(desk: _Desk) -> Truth:
        deadline = time.monotonic() + SETTLE_S_MAX
        while True:
            seen = await _look(desk, report, frozenset(chargers), past_s)
            if expected(seen) or time.monotonic() > deadline:
                return seen
            await asyncio.sleep(POLL_S)

    return _run(operator, work)


def reconcile(operator: Nats) -> list[str]:
    """What the system's own reconciliation finds, a sentence each: as `cpms reconcile` does it. Raises as `register` does."""

    async def work(desk: _Desk) -> list[str]:
        found = await desk.ask(verbs.RECONCILE, ledger.Reconcile())
        return [
            f"{rule.rule}: session {one.session} of {one.charger}, {one.detail}" for rule in found.rules for one in rule.differences
        ]

    return _run(operator, work)


def operate(operator: Nats, storm: Scenario, chargers: Sequence[str], token: str, ocpp: Ocpp, seconds: float) -> list[str]:
    """What an operator does while the storm is on; the reasons to fail that come of it. Raises as `register` does.

    `chargers` are the first of the fleet.
    """

    async def work(desk: _Desk) -> list[str]:
        return await storm.operate(Operator(desk, chargers, token, ocpp, datetime.now(UTC)), seconds)

    return _run(operator, work)


class Operator:
    """See `scenario.Desk`."""

    def __init__(self, desk: _Desk, chargers: Sequence[str], token: str, ocpp: Ocpp, began: datetime) -> None:
        self.token = token
        self.chargers = chargers
        self._dialects = {charger: TABLE[version_of(ocpp, place)] for place, charger in enumerate(chargers)}
        self._desk, self._began = desk, began

    async def until(self, true: Callable[[], Awaitable[bool]], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not await true():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def connected(self) -> bool:
        seen = {view.charger for view in await _chargers(self._desk) if view.connected and view.boot_status == "Accepted"}
        return seen >= set(self.chargers)

    async def charging(self, some: Sequence[str] | None = None) -> bool:
        return (await self.transactions()).keys() >= set(self.chargers if some is None else some)

    async def transactions(self) -> Mapping[str, str]:
        return {view.charger: view.transaction for view in await _sessions(self._desk, self._began) if view.status == "Active"}

    async def rollout(self) -> None:
        await self._desk.ask(verbs.NODE_ROLLOUT, fleet.NodeRollout(timeout_s=ASK_S_MAX - 5))

    async def call_all(self, command: Callable[[Dialect, str], Command], some: Sequence[str] | None = None) -> set[str]:
        chosen = self.chargers if some is None else some

        async def call(charger: str) -> bool:
            said = command(self._dialects[charger], charger)
            request = fleet.ChargerCall(charger=charger, action=said.action, payload=dict(said.payload), timeout_s=ASK_S_MAX - 5)
            try:
                return not (await self._desk.ask(verbs.CHARGER_CALL, request)).refused
            except (VerbFailed, Unavailable):
                return False

        taken = await asyncio.gather(*(call(charger) for charger in chosen))
        return {charger for charger, went_well in zip(chosen, taken, strict=True) if not went_well}


async def _look(desk: _Desk, report: StormReport, chargers: frozenset[str], past_s: float) -> Truth:
    began = _moment(report.began_at)
    since = began if report.cut_at is None else _moment(report.cut_at)
    seen = [view for view in await _chargers(desk) if view.charger in chargers]
    charged_since = _moment(report.began_at - past_s)
    sessions = [view for view in await _sessions(desk, charged_since) if view.charger in chargers]
    cdrs = [view for view in await _cdrs(desk, charged_since) if view.charger in chargers]
    parked = [view.charger for view in await _parked(desk, began) if view.charger in chargers]
    return Truth(
        connected=frozenset(view.charger for view in seen if view.connected),
        booted=frozenset(view.charger for view in seen if view.booted_at is not None and view.booted_at >= since),
        ended=tuple(Billed(one.charger, one.id, one.energy_wh) for one in sessions if one.status == "Ended"),
        active=tuple(Billed(one.charger, one.id, one.energy_wh) for one in sessions if one.status != "Ended"),
        cdrs=tuple(Billed(one.charger, one.session, one.energy_wh) for one in cdrs),
        firmware={view.charger: view.firmware for view in seen},
        ocpp={view.charger: view.ocpp for view in seen},
        parked=tuple(parked),
    )


async def _chargers(desk: _Desk) -> list[registry.ChargerView]:
    """All chargers of the tenant."""

    async def page(after: str | None) -> tuple[Sequence[registry.ChargerView], str | None]:
        listed = await desk.ask(verbs.CHARGER_LIST, registry.ChargerList(limit=PAGE, after=after))
        return listed.chargers, listed.next

    return await _pages(page, lambda _: True)


async def _sessions(desk: _Desk, began: datetime) -> list[ledger.SessionView]:
    async def page(after: str | None) -> tuple[Sequence[ledger.SessionView], str | None]:
        listed = await desk.ask(verbs.SESSION_LIST, ledger.SessionList(limit=PAGE, after=after))
        return listed.sessions, listed.next

    return await _pages(page, lambda view: view.started_at >= began)


async def _cdrs(desk: _Desk, began: datetime) -> list[ledger.CdrView]:
    async def page(after: str | None) -> tuple[Sequence[ledger.CdrView], str | None]:
        listed = await desk.ask(verbs.CDR_LIST, ledger.CdrList(limit=PAGE, after=after))
        return listed.cdrs, listed.next

    return await _pages(page, lambda view: view.started_at >= began)


async def _parked(desk: _Desk, began: datetime) -> list[verbs_parked.ParkedView]:
    async def page(after: str | None) -> tuple[Sequence[verbs_parked.ParkedView], str | None]:
        listed = await desk.ask(verbs.PARKED_LIST, verbs_parked.ParkedList(limit=PAGE, after=after))
        return listed.parked, listed.next

    return await _pages(page, lambda view: view.received_at >= began)


async def _pages(page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]], wanted: Callable[[T], bool]) -> list[T]:
    """All that is wanted. Lists come newest first, so a page that ends with what is not is the last."""
    found: list[T] = []
    after: str | None = None
    while True:
        views, after = await page(after)
        found += filter(wanted, views)
        if after is None or not wanted(views[-1]):
            return found


def _moment(seconds: float) -> datetime:
    """To the ms, rounded down, as the system keeps moments."""
    return datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)


def _run(operator: Nats, work: Callable[[_Desk], Awaitable[T]]) -> T:
    async def connected() -> T:
        inbox = bus.operator_inbox(operator.operator)
        nats = await bus.connect(operator, "storm", url=operator.operator_url, inbox=inbox, patient=False)
        try:
            return await work(_Desk(nats, operator.operator))
        finally:
            await nats.close()

    return asyncio.run(connected())

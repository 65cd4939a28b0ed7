"""The verb `status`: ask every process at once, wait a moment, add up what came back."""

import os
from collections.abc import Sequence
from socket import gethostname
from typing import Any, Final

import anyio
import msgspec
from msgspec.structs import asdict
from nats.aio.client import Client
from nats.aio.msg import Msg

from cpms_actors.base.ids import LANES, SLOTS
from cpms_actors.bus import commands, questions, subjects
from cpms_actors.bus.verbs_fleet import FleetStatus, FleetTotals, LaneView, PoolView, StatusRequest
from cpms_actors.observe import logs
from cpms_actors.pools.operations_desk import Desk, Handler

log = logs.get("operations")

ANSWERS_MAX: Final = 4_096  # processes of one kind; more are not waited for
TARIFF_STATUS: Final = "cpms.tariff.status"
_PROCESS: Final = f"{gethostname()}:{os.getpid()}"
_NO_RESPONDERS: Final = "503"


async def status(desk: Desk, request: StatusRequest) -> FleetStatus:
    """Who answers within `wait_ms`, and what they say."""
    wait_s = request.wait_ms / 1000
    answers: dict[str, list[bytes]] = {}

    async def ask(subject: str) -> None:
        answers[subject] = await scatter(desk.client, subject, wait_s)

    async with anyio.create_task_group() as group:
        for subject in (subjects.WORKER_STATUS, questions.STATUS_SUBJECT, TARIFF_STATUS):
            group.start_soon(ask, subject)
    workers = sorted(_decoded(answers[subjects.WORKER_STATUS], commands.STATUS_DECODER), key=lambda worker: worker.name)
    sessions = sorted(_decoded(answers[questions.STATUS_SUBJECT], questions.STATUS_ANSWER), key=lambda pool: pool.owner)
    pools = [PoolView(pool="session", name=pool.owner, counters=_session_counters(pool)) for pool in sessions]
    pools += [_pool_view("tariff", answer) for answer in answers[TARIFF_STATUS]]
    counters = {"keys": desk.mirror.statistics.keys, "failures": desk.mirror.statistics.failures}
    pools.append(PoolView(pool="operations", name=_PROCESS, counters=counters))
    return FleetStatus(totals=_totals(workers), workers=workers, lanes=lanes_of(sessions), pools=pools)


HANDLERS: Final[dict[str, Handler]] = {"status": status}


async def scatter(client: Client, subject: str, wait_s: float, question: bytes = b"") -> list[bytes]:
    """Ask everybody who listens and collect what comes within `wait_s`; at once when nobody listens."""
    answers: list[bytes] = []
    nobody = anyio.Event()

    async def collect(message: Msg) -> None:
        if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            nobody.set()
        elif len(answers) < ANSWERS_MAX:
            answers.append(message.data)

    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=collect)
    try:
        await client.publish(subject, question, reply=inbox)
        with anyio.move_on_after(wait_s):
            await nobody.wait()
    finally:
        await subscription.unsubscribe()
    return answers


def lanes_of(sessions: Sequence[questions.SessionStatus]) -> list[LaneView]:
    """Every lane with its owner. While a lane moves two owners may answer: the higher epoch is the owner."""
    lanes = {lane: LaneView(lane=lane) for lane in range(LANES)}
    for pool in sessions:
        for each in pool.lanes:
            known = lanes.get(each.lane)
            if known is None or (known.epoch or 0) <= each.epoch:
                lanes[each.lane] = LaneView(
                    lane=each.lane,
                    owner=pool.owner,
                    epoch=each.epoch,
                    offset=each.offset,
                    lag_pages=each.lag_pages,
                    lag_ms=each.lag_ms,
                    events=each.events,
                    events_per_s=each.events_per_s,
                    parked=each.parked,
                    failures=each.failures,
                )
    return [lanes[lane] for lane in sorted(lanes)]


def _totals(workers: Sequence[commands.WorkerStatus]) -> FleetTotals:
    owned = sum(worker.slots for worker in workers)
    return FleetTotals(
        workers=len(workers),
        slots_owned=owned,
        slots_unowned=max(0, SLOTS - owned),
        connections=sum(worker.connections for worker in workers),
        open_transactions=sum(worker.open_transactions for worker in workers),
        messages_in=sum(worker.messages_in for worker in workers),
        messages_in_per_s=sum(worker.messages_in_per_s for worker in workers),
    )


def _session_counters(pool: questions.SessionStatus) -> dict[str, Any]:
    return {name: value for name, value in asdict(pool).items() if name not in ("owner", "lanes")}


def _decoded(answers: Sequence[bytes], decoder: "msgspec.msgpack.Decoder[Any]") -> list[Any]:
    """The answers that can be read; one of another release must not hide the rest."""
    decoded = []
    for answer in answers:
        try:
            decoded.append(decoder.decode(answer))
        except msgspec.DecodeError as error:
            log.warning("status_not_readable", error=str(error))
    return decoded


def _pool_view(pool: str, answer: bytes) -> PoolView:
    """A pool's own counters: a msgpack map whose `name` or `owner` is the process."""
    try:
        counters = msgspec.msgpack.decode(answer, type=dict[str, Any])
    except msgspec.DecodeError as error:
        log.warning("status_not_readable", pool=pool, error=str(error))
        return PoolView(pool=pool, name="?", counters={})
    name = counters.pop("owner", None) or counters.pop("name", "")
    return PoolView(pool=pool, name=str(name), counters=counters)

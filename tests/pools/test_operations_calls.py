"""Calls to chargers and the status of the fleet: a worker of the test's own answers, and every way it may fail has its sentence."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from cpms_actors.base.ids import LANES, SLOTS, slot_of
from cpms_actors.bus import commands, questions, subjects
from cpms_actors.bus.commands import CallAnswer, CallQuestion, LaneJournal, WorkerStatus
from cpms_actors.pools.operations_status import lanes_of

Ask = Callable[..., Awaitable[Any]]
CHARGER = "CALLED+1"

pytestmark = pytest.mark.anyio


class Worker:
    """Answers the calls to one slot with what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: CallAnswer | None = CallAnswer("result", b'{"status":"Accepted"}')
        self.questions: list[tuple[str, CallQuestion]] = []
        self.asked = anyio.Event()

    async def serve(self, message: Msg) -> None:
        self.questions.append((message.subject, commands.QUESTION_DECODER.decode(message.data)))
        self.asked.set()
        if self.answer is not None:
            await message.respond(msgspec.msgpack.encode(self.answer))


@pytest.fixture
async def worker(client: Client, ask: Ask) -> AsyncIterator[Worker]:
    worker = Worker()
    await ask("charger.add", charger=CHARGER, password="0123456789abcdef01")
    subscription = await client.subscribe(subjects.slot_commands(slot_of("default", CHARGER)), cb=worker.serve)
    yield worker
    await subscription.unsubscribe()


async def test_a_call_goes_to_the_worker_of_the_slot_and_its_answer_comes_back(ask: Ask, worker: Worker) -> None:
    answer = await ask("charger.call", charger=CHARGER, action="Reset", payload={"type": "Soft"}, timeout_s=7)
    assert (answer["answer"], answer["refused"], answer["action"]) == ({"status": "Accepted"}, False, "Reset")
    slot = slot_of("default", CHARGER)
    assert worker.questions == [(f"cpms.charger.{slot}.default.CALLED=2B1.call", CallQuestion("Reset", b'{"type":"Soft"}', 7.0))]


@pytest.mark.parametrize(
    ("payload", "refused"),
    [
        (b'{"status":"Rejected"}', True),
        (b'{"status":"NotSupported"}', True),
        (b'{"status":"Scheduled"}', False),
        (b'{"status":"RebootRequired"}', False),
        (b'{"configurationKey":[]}', False),
        (b"", False),
    ],
)
async def test_an_answer_whose_status_says_no_is_told_as_refused(ask: Ask, worker: Worker, payload: bytes, refused: bool) -> None:
    worker.answer = CallAnswer("result", payload)
    assert (await ask("charger.call", charger=CHARGER, action="ChangeConfiguration"))["refused"] is refused


@pytest.mark.parametrize(
    ("answer", "code", "exit_code", "said"),
    [
        (CallAnswer("failed", code="NotConnected"), "unavailable", 3, "is not connected; `cpms charger show"),
        (CallAnswer("failed", code="Disconnected"), "unavailable", 3, "disconnected before it answered Reset"),
        (CallAnswer("failed", code="Timeout"), "unavailable", 3, "did not answer Reset within 30 s"),
        (CallAnswer("failed", code="Busy"), "unavailable", 3, "too many calls"),
        (CallAnswer("failed", code="Unheard", text="of"), "unavailable", 3, "could not send Reset"),
        (CallAnswer("failed", code="UnknownAction", text="OCPP 1.6 has no Fly"), "unknown-action", 2, "OCPP 1.6 has no Fly"),
        (CallAnswer("failed", code="InvalidPayload", text="no type"), "invalid-payload", 2, "no Reset request: no type"),
        (CallAnswer("failed", code="NotAllowed"), "not-allowed", 2, "not allowed"),
        (CallAnswer("error", b'{"a":1}', "NotImplemented", "no"), "call-error", 4, "CALLERROR NotImplemented: no"),
        (CallAnswer("error", b"", "InternalError", ""), "call-error", 4, "CALLERROR InternalError"),
    ],
)
async def test_every_way_a_call_may_fail_has_its_code_its_exit_and_its_sentence(
    ask: Ask, worker: Worker, answer: CallAnswer, code: str, exit_code: int, said: str
) -> None:
    worker.answer = answer
    error = await ask("charger.call", charger=CHARGER, action="Reset")
    assert (error["code"], error["exit"]) == (code, exit_code)
    assert said in error["text"]
    if answer.payload:
        assert error["details"] == {"code": "NotImplemented", "description": "no", "details": {"a": 1}}


async def test_a_slot_that_no_worker_owns_is_told_at_once(ask: Ask) -> None:
    await ask("charger.add", charger="ORPHAN", password="0123456789abcdef01")
    with anyio.fail_after(5):
        error = await ask("charger.call", charger="ORPHAN", action="Reset", timeout_s=300)
    assert (error["code"], error["exit"]) == ("unavailable", 3)
    assert f"no worker owns slot {slot_of('default', 'ORPHAN')}" in error["text"]


async def test_an_unknown_charger_is_not_asked(ask: Ask, worker: Worker) -> None:
    assert (await ask("charger.call", charger="GHOST", action="Reset"))["code"] == "unknown-charger"
    assert worker.questions == []


async def test_a_call_that_waits_does_not_hold_up_other_operators(ask: Ask, worker: Worker) -> None:
    worker.answer = None

    async def call() -> None:
        await ask("charger.call", charger=CHARGER, action="Reset", timeout_s=2)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        with anyio.fail_after(2):
            await worker.asked.wait()
            assert (await ask("tenant.show", id="default"))["id"] == "default"
        group.cancel_scope.cancel()


async def test_status_adds_up_what_the_processes_say(ask: Ask, client: Client) -> None:
    one = WorkerStatus("w1", 11, 1, slots=32, connections=5, messages_in=100, journal={"0": LaneJournal(waiting_peak=3)})
    two = WorkerStatus("w2", 12, 1, slots=30, connections=7, messages_in=50, messages_in_per_s=2.5)
    lane = questions.LaneStatus(1, 9, 100, 103, 3, 250, 1000, 12.5, 1, 0, 0)

    async def answer_twice(message: Msg) -> None:
        for status in (two, one):
            await message.respond(msgspec.msgpack.encode(status))
        await message.respond(b"\xc1 of another release")

    async def answer(message: Msg) -> None:
        await message.respond(msgspec.msgpack.encode(questions.SessionStatus("s1", (lane,), True, 2, 1, 5, 2, 1, 3, 4)))

    subscriptions = [
        await client.subscribe(subjects.WORKER_STATUS, cb=answer_twice),
        await client.subscribe(questions.STATUS_SUBJECT, cb=answer),
    ]
    status = await ask("status", wait_ms=200)
    for subscription in subscriptions:
        await subscription.unsubscribe()
    assert [worker["name"] for worker in status["workers"]] == ["w1", "w2"]
    assert status["totals"] == {
        "workers": 2,
        "slots_owned": 62,
        "slots_unowned": SLOTS - 62,
        "connections": 12,
        "open_transactions": 0,
        "messages_in": 150,
        "messages_in_per_s": 2.5,
    }
    assert len(status["lanes"]) == LANES
    assert (status["lanes"][1]["owner"], status["lanes"][1]["lag_pages"]) == ("s1", 3)
    assert status["lanes"][0]["owner"] is None
    assert {pool["pool"] for pool in status["pools"]} == {"session", "operations"}
    [counters] = [pool["counters"] for pool in status["pools"] if pool["pool"] == "session"]
    assert counters == {
        "postgres": True,
        "failed_starts": 2,
        "endless": 1,
        "asked": 5,
        "unanswered": 2,
        "lost": 1,
        "postponed": 3,
        "unremembered": 4,
    }


async def test_status_of_nothing_is_an_answer_too(ask: Ask) -> None:
    with anyio.fail_after(3):  # nobody listens, so nobody is waited for
        status = await ask("status", wait_ms=5000)
    assert (status["totals"]["workers"], status["totals"]["slots_unowned"], status["workers"]) == (0, SLOTS, [])


async def test_while_a_lane_moves_the_higher_epoch_is_its_owner() -> None:
    def pool(owner: str, epoch: int) -> questions.SessionStatus:
        return questions.SessionStatus(owner, (questions.LaneStatus(0, epoch, 0, 0, 0, 0, 0, 0.0, 0, 0, 0),), True)

    for order in ([pool("old", 1), pool("new", 2)], [pool("new", 2), pool("old", 1)]):
        assert lanes_of(order)[0].owner == "new"

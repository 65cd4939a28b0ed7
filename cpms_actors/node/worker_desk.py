"""What is asked of a worker over NATS: a call to one of its chargers, how it is doing, and to forget what it knows of tokens."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import trio
from nats.aio.client import Client
from nats.aio.msg import Msg

from cpms_actors.base.ids import from_subject_token
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.client import subscribed
from cpms_actors.bus.commands import CallAnswer, CallQuestion, LaneJournal, WorkerStatus
from cpms_actors.bus.journal import Journal
from cpms_actors.charger.charger import Charger
from supervisors.host import Bridge
from supervisors.tasks import TaskPool

_encode = msgspec.msgpack.Encoder().encode


class Served(Protocol):
    """The worker whose desk it is."""

    def find(self, tenant: str, identity: str) -> Charger | None: ...

    def forget_verdicts(self, tenant: str) -> None: ...

    def status(self) -> WorkerStatus: ...


class Desk:
    """Subscriptions for the slots of one worker."""

    def __init__(self, worker: Served, bridge: Bridge, client: Client, slots: Sequence[int], tasks: TaskPool) -> None:
        self._worker = worker
        self._bridge = bridge
        self._client = client
        self._slots = slots
        self._tasks = tasks

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until cancelled. Trio."""
        subscriptions = await self._bridge.on_host(self._subscribe)
        started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await self._bridge.on_host(self._unsubscribe, subscriptions)

    async def _subscribe(self) -> list[Any]:
        client = self._client
        heard = [await client.subscribe(subjects.slot_commands(slot), cb=self._on_command) for slot in self._slots]
        heard.append(await client.subscribe(subjects.WORKER_STATUS, cb=self._on_status))
        heard.append(await client.subscribe(subjects.TOKENS_DOORBELL, cb=self._on_tokens))
        await subscribed(client)
        return heard

    async def _unsubscribe(self, subscriptions: list[Any]) -> None:
        for subscription in subscriptions:
            if self._client.is_connected:
                await subscription.unsubscribe()

    async def _on_command(self, message: Msg) -> None:
        """A command for one charger: it waits in a task of its own, so that one silent charger delays no other."""
        answer = self._refuse(message)
        if answer is not None:
            await message.respond(_encode(answer))

    def _refuse(self, message: Msg) -> CallAnswer | None:
        """Why the command cannot be carried out; None when a task has it."""
        *_, tenant, identity, verb = message.subject.split(".")
        charger = self._worker.find(from_subject_token(tenant), from_subject_token(identity))
        try:
            question = commands.QUESTION_DECODER.decode(message.data)
        except msgspec.DecodeError as error:
            return CallAnswer("failed", code=commands.INVALID_PAYLOAD, text=str(error))
        if verb != commands.CALL_VERB:
            return CallAnswer("failed", code=commands.UNKNOWN_ACTION, text=f"a charger knows no verb {verb}")
        if charger is None:
            return CallAnswer("failed", code=commands.NOT_CONNECTED, text="the charger is not connected; wait until it is")
        if not self._tasks.start(self._call, charger, question, message):
            return CallAnswer("failed", code=commands.BUSY, text="this worker carries as many calls as it can; try again")
        return None

    async def _call(self, charger: Charger, question: CallQuestion, message: Msg) -> None:
        answer = await charger.call(question.action, question.payload, question.timeout_s)
        await self._bridge.on_host(message.respond, _encode(answer))

    async def _on_tokens(self, message: Msg) -> None:
        self._worker.forget_verdicts(message.data.decode(errors="replace"))

    async def _on_status(self, message: Msg) -> None:
        if message.reply:
            await message.respond(_encode(self._worker.status()))


def lane_journals(journal: Journal) -> dict[str, LaneJournal]:
    """The journal of a worker, by lane, as its status tells it."""
    return {
        str(lane.number): LaneJournal(
            waiting=lane.statistics.waiting,
            waiting_peak=lane.statistics.waiting_peak,
            pages=lane.statistics.pages,
            events=lane.statistics.events,
            refusals=lane.statistics.refusals,
        )
        for lane in journal.lanes
    }

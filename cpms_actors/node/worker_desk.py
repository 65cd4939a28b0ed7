"""What is asked of a worker over NATS: a call to one of its chargers, whether it knows a charger, how it is doing, to forget tokens."""

from collections.abc import Callable, Set
from typing import Final, Protocol

import msgspec
import trio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from cpms_actors.base.ids import from_subject_token
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.client import subscribed
from cpms_actors.bus.commands import CallAnswer, CallQuestion, LaneJournal, WorkerStatus
from cpms_actors.bus.journal import Journal
from cpms_actors.charger.charger import Charger
from supervisors.host import Bridge
from supervisors.tasks import TaskPool

KNOWN_S: Final = 5.0

_encode = msgspec.msgpack.Encoder().encode


class Served(Protocol):
    """The worker whose desk it is."""

    @property
    def slots(self) -> Set[int]: ...

    def find(self, tenant: str, identity: str) -> Charger | None: ...

    def forget_verdicts(self, tenant: str) -> None: ...

    async def registry_reached(self, revision: int) -> None: ...

    def status(self) -> WorkerStatus: ...


class Desk:
    """Subscriptions for the slots of one worker, as they come and go."""

    def __init__(self, worker: Served, bridge: Bridge, client: Client, tasks: TaskPool) -> None:
        self._worker = worker
        self._bridge = bridge
        self._client = client
        self._tasks = tasks
        self._general: list[Subscription] = []
        self._by_slot: dict[int, Subscription] = {}
        self._open = False

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until cancelled. Trio."""
        await self._bridge.on_host(self._subscribe)
        started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await self._bridge.on_host(self._unsubscribe)

    async def follow(self) -> None:
        """Listen for commands to the slots that the worker has now, and to no others. Host loop."""
        if not self._open:
            return
        slots = self._worker.slots
        for slot in [slot for slot in self._by_slot if slot not in slots]:
            await self._end(self._by_slot.pop(slot))
        for slot in [slot for slot in slots if slot not in self._by_slot]:
            self._by_slot[slot] = await self._client.subscribe(subjects.slot_commands(slot), cb=self._on_command)
        await subscribed(self._client)

    async def _subscribe(self) -> None:
        client = self._client
        self._general.append(await client.subscribe(subjects.WORKER_STATUS, cb=self._on_status))
        self._general.append(await client.subscribe(subjects.TOKENS_DOORBELL, cb=self._on_tokens))
        self._open = True
        await self.follow()

    async def _unsubscribe(self) -> None:
        self._open = False
        subscriptions = [*self._general, *self._by_slot.values()]
        self._general, self._by_slot = [], {}
        for subscription in subscriptions:
            await self._end(subscription)

    async def _end(self, subscription: Subscription) -> None:
        if self._client.is_connected:
            await subscription.unsubscribe()

    async def _on_command(self, message: Msg) -> None:
        """A command for one charger: it waits in a task of its own, so that one silent charger delays no other."""
        if int(message.subject.split(".")[2]) not in self._worker.slots:
            return  # it was ours: whoever has it now answers
        answer = self._refuse(message)
        if answer is not None:
            await message.respond(_encode(answer))

    def _refuse(self, message: Msg) -> CallAnswer | None:
        """Why the command cannot be carried out; None when a task has it."""
        *_, tenant, identity, verb = message.subject.split(".")
        charger = self._worker.find(from_subject_token(tenant), from_subject_token(identity))
        try:
            if verb == commands.KNOWN_VERB:
                revision = commands.REVISION_DECODER.decode(message.data)
                return None if self._tasks.start(self._known, revision, message) else CallAnswer("failed", code=commands.BUSY)
            question = commands.QUESTION_DECODER.decode(message.data)
        except msgspec.DecodeError as error:
            return CallAnswer("failed", code=commands.INVALID_PAYLOAD, text=str(error))
        if verb != commands.CALL_VERB:
            return CallAnswer("failed", code=commands.UNKNOWN_ACTION, text=f"a charger knows no verb {verb}")
        if charger is None:
            return CallAnswer("failed", code=commands.NOT_CONNECTED, text="the charger is not connected; wait until it is")
        if not self._tasks.start(self._call, charger, question, message):
            return CallAnswer("failed", code=commands.BUSY, text="this worker carries as many calls as it can")
        return None

    async def _call(self, charger: Charger, question: CallQuestion, message: Msg) -> None:
        answer = await charger.call(question.action, question.payload, question.timeout_s)
        await self._bridge.on_host(message.respond, _encode(answer))

    async def _known(self, revision: int, message: Msg) -> None:
        with trio.move_on_after(KNOWN_S):  # a mirror that lags behind for longer: whoever asked has gone on
            await self._bridge.on_host(self._worker.registry_reached, revision)
            await self._bridge.on_host(message.respond, _encode(CallAnswer("result")))

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

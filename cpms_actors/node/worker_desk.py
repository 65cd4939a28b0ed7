"""What is asked of a worker over NATS: a call to one of its chargers, whether it knows a charger, how it is doing, to forget tokens."""

from collections.abc import Callable, Iterable, Set
from typing import Final, Protocol

import msgspec
import trio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from cpms_actors.base.ids import from_subject_token
from cpms_actors.bus import commands, subjects
from cpms_actors.bus.client import subscribed, unsubscribed
from cpms_actors.bus.commands import CallAnswer, CallQuestion, DrainAnswer, DrainQuestion, LaneJournal, WorkerStatus
from cpms_actors.bus.journal import Journal
from cpms_actors.charger.charger import Charger
from cpms_actors.charger.moving import OpenCall
from cpms_actors.observe import logs
from supervisors.host import Bridge
from supervisors.tasks import TaskPool

KNOWN_S: Final = 5.0
QUEUE_GROUP: Final = "slot"
UNFOLLOW_S: Final = 2.0
SAY_AGAIN_S: Final = 0.05

log = logs.get("desk")

_encode = msgspec.msgpack.Encoder().encode


class Served(Protocol):
    """The worker whose desk it is."""

    name: str
    node: str

    @property
    def slots(self) -> Set[int]: ...

    def find(self, tenant: str, identity: str) -> Charger | None: ...

    def forget_verdicts(self, tenant: str) -> None: ...

    async def registry_reached(self, revision: int) -> None: ...

    async def drain(self, spread_s: float) -> None: ...

    async def join(self) -> None: ...

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
        self._gone: set[int] = set()
        self._open = False

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until cancelled. Trio."""
        await self._bridge.on_host(self._subscribe)
        started()
        try:
            while True:
                await trio.sleep(UNFOLLOW_S)
                await self._bridge.on_host(self._unfollow)
        finally:
            with trio.CancelScope(shield=True):
                await self._bridge.on_host(self._unsubscribe)

    async def follow(self, slots: Iterable[int]) -> None:
        """Listen for commands to these slots, which the worker has or is about to have. Host loop."""
        if not self._open:
            return  # it begins with what the worker has then
        slots = tuple(slots)
        self._gone.difference_update(slots)  # what is about to be ours has not been somebody else's for long
        for slot in [slot for slot in slots if slot not in self._by_slot]:
            # While a slot changes hands both workers listen: a command is heard by one of them.
            self._by_slot[slot] = await self._client.subscribe(subjects.slot_commands(slot), QUEUE_GROUP, cb=self._on_command)
        await subscribed(self._client)

    async def _unfollow(self) -> None:
        """Listen no more for slots that have been somebody else's for a while: since the last time this was called."""
        gone = {slot for slot in self._by_slot if slot not in self._worker.slots}
        await unsubscribed(self._client, [self._by_slot.pop(slot) for slot in gone & self._gone])
        self._gone = gone & self._by_slot.keys()

    async def _subscribe(self) -> None:
        client = self._client
        self._general.append(await client.subscribe(subjects.WORKER_STATUS, cb=self._on_status))
        self._general.append(await client.subscribe(subjects.TOKENS_DOORBELL, cb=self._on_tokens))
        self._general.append(await client.subscribe(subjects.node(self._worker.node, subjects.DRAIN), cb=self._on_drain))
        self._open = True
        await self.follow(self._worker.slots)

    async def _unsubscribe(self) -> None:
        self._open = False
        subscriptions = [*self._general, *self._by_slot.values()]
        self._general, self._by_slot = [], {}
        await unsubscribed(self._client, subscriptions)

    async def _on_command(self, message: Msg) -> None:
        """A command for one charger: it waits in a task of its own, so that one silent charger delays no other."""
        if int(message.subject.split(".")[2]) not in self._worker.slots:
            self._tasks.start(self._say_again, message)  # it was ours: whoever has it now answers
            return
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
        if charger.slot.number not in self._worker.slots:  # since the message came
            await self._say_again(message)
            return
        answer = await charger.call(question.action, question.payload, question.timeout_s, message.reply)
        if answer is not None:
            await self._bridge.on_host(message.respond, _encode(answer))

    def go_on(self, charger: Charger, calls: Iterable[OpenCall]) -> None:
        """Wait for calls that came here with their charger, and answer them."""
        for asked in calls:
            if not self._tasks.start(self._go_on, charger, asked):
                log.warning("call_dropped", charger=charger.record.identity, action=asked.action)

    async def _go_on(self, charger: Charger, asked: OpenCall) -> None:
        answer = await charger.go_on(asked)
        if answer is not None and asked.reply_to:
            await self._bridge.on_host(self._client.publish, asked.reply_to, _encode(answer))

    async def _say_again(self, message: Msg) -> None:
        """Give a command back to the broker: the slot is changing hands. At our end at once, for then we do not hear it again."""
        try:
            await trio.sleep(SAY_AGAIN_S)
        finally:
            with trio.CancelScope(shield=True):
                await self._bridge.on_host(self._client.publish, message.subject, message.data, message.reply)

    async def _known(self, revision: int, message: Msg) -> None:
        with trio.move_on_after(KNOWN_S):  # a mirror that lags behind for longer: whoever asked has gone on
            await self._bridge.on_host(self._worker.registry_reached, revision)
            await self._bridge.on_host(message.respond, _encode(CallAnswer("result")))

    async def _on_tokens(self, message: Msg) -> None:
        self._worker.forget_verdicts(message.data.decode(errors="replace"))

    async def _on_drain(self, message: Msg) -> None:
        try:
            question = commands.DRAIN_DECODER.decode(message.data)
        except msgspec.DecodeError as error:
            log.warning("drain_unreadable", error=str(error))
            return
        if self._tasks.start(self._drain, question) and message.reply:
            await message.respond(_encode(DrainAnswer(self._worker.name, len(self._worker.slots))))

    async def _drain(self, question: DrainQuestion) -> None:
        if question.back:
            await self._bridge.on_host(self._worker.join)
        else:
            await self._bridge.on_host(self._worker.drain, question.spread_s)

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
            stalled=lane.statistics.stalled,
        )
        for lane in journal.lanes
    }

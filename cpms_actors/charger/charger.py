"""One charger: its actor, the conversation on its newest line, and the stage on which its turns are performed.

    line ──text──▶ conversation ──CALL──▶ actor (mailbox, turn) ──▶ journal, checkpoint ──▶ answer on the same line
                        └──CALLRESULT──▶ whoever waits in `call`

A *line* is one WebSocket. The newest line wins: an older one is closed and its late words are ignored, and so is an answer whose
question came on it. What we ask (`call`) and what the charger asks never wait for each other.
"""

from typing import Any, Final

import anyio
from msgspec import Raw

from cpms_actors.bus import commands
from cpms_actors.bus.commands import CallAnswer
from cpms_actors.charger.behaviour import Behaviour
from cpms_actors.charger.line import Line
from cpms_actors.charger.live import HELD, Answer, Ask, Asked, Inbound, Live, Note
from cpms_actors.charger.moving import Moved, MovedCall, OpenCall, packed, unpacked
from cpms_actors.charger.office import Office, Slot, Then
from cpms_actors.domain.access import ChargerRecord
from cpms_actors.domain.events import Booted, Connected, Disconnected, Fact, Parked, TransactionEnded, TransactionStarted
from cpms_actors.observe import logs
from cpms_actors.ocpp import frames
from cpms_actors.ocpp.catalogue import DECODE_FAULTS, Action, actions, fault_of
from cpms_actors.ocpp.conversation import Answered, Conversation, Faulty, OutboundCall, Refused, Remembered, Repeated, content
from cpms_actors.ocpp.frames import Call, Send
from supervisors.actor import PAUSE, Actor, DeadlinePassed, Pause, Reply, carry
from supervisors.policy import Intensity

log = logs.get("charger")

# What the CSMS may send before the charger is accepted. 1.6 4.2: Pending allows all but remote start and stop; Rejected nothing, save
# the trigger of another BootNotification (2.0.1 part 6, TC_B_30 and TC_B_31).
_REMOTE: Final = frozenset(("RemoteStartTransaction", "RemoteStopTransaction", "RequestStartTransaction", "RequestStopTransaction"))
_TRIGGERS: Final = frozenset(("TriggerMessage", "ExtendedTriggerMessage"))
EXPECTED_MS: Final = 30_000
ARRIVAL_S: Final = 1.0  # a line on its way from another worker is here in milliseconds, or not at all
_STATE_CHANGES: Final = frozenset((Booted, TransactionStarted, TransactionEnded))  # `type(…) in` costs a tenth of isinstance


_GONE: Final = CallAnswer("failed", code=commands.DISCONNECTED, text="the connection ended before the call was answered")


class HungUp(Exception):
    """The line ended while a call of ours was outstanding."""


class Charger:
    """The owner of one charger's actor, and its stage. Lives on the one thread; only `call` waits."""

    __slots__ = (
        "_answer",
        "_arrival",
        "_calls",
        "_expected_until",
        "_failed",
        "_lost",
        "_office",
        "_reply",
        "_untold",
        "_waits_for",
        "actor",
        "behaviour",
        "connection",
        "conversation",
        "line",
        "record",
        "slot",
    )

    def __init__(self, office: Office, slot: Slot, record: ChargerRecord, behaviour: Behaviour) -> None:
        self._office = office
        self.slot = slot
        self.record = record
        self.behaviour = behaviour
        self.connection = 0  # the connection epoch: grows with every line, in this process and the next
        self._expected_until = 0
        self.line: Line | None = None
        self.conversation: Conversation | None = None
        self.actor = self._new_actor(office.take_live(slot, record.tenant, record.identity))
        # What the paused turn will say once its fact is durable: where, and what a retry would be told. Made while all of it is in the
        # processor's cache; when the journal continues the turn, milliseconds later, nothing else of the message is touched.
        self._answer: tuple[Line, Remembered] | None = None
        self._waits_for = 0  # journal and checkpoint, as far as they have not said
        self._failed = False
        self._reply: Reply | None = None  # whoever waits for the outstanding call
        self._calls: list[OpenCall] = []  # in order; the first may go out
        self._untold: tuple[tuple[Connected | Disconnected, int], ...] = ()  # of the line, and when: the journal had no room for it
        self._lost: tuple[int, str] | None = None  # what a line is told that opens when the slot is another worker's
        self._arrival: list[Reply] | None = None  # who waits for a line that is on its way from another worker; None: none is

    def _new_actor(self, state: Live) -> Actor[Live, Inbound]:
        settings = self._office.settings
        intensity = Intensity(settings.restarts_max, settings.restarts_window_s)
        return Actor(self.record.identity, state, self.behaviour, self, settings.mailbox_max, intensity=intensity)

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost by forgetting this object: no line now or soon, no turn, no call, and nothing to be told."""
        return (
            self.line is None
            and not self.actor.busy
            and not self._calls
            and not self._untold
            and self._office.clock() > self._expected_until
        )

    def expect(self) -> None:
        """A line was admitted and will open, or not, within the time of a handshake."""
        self._expected_until = self._office.clock() + EXPECTED_MS

    def leave(self) -> None:
        """This object is about to be forgotten: hand the live state back, for when the charger returns to this worker."""
        self._office.put_live(self.slot, self.record.tenant, self.record.identity, self.actor.state)
        self.actor.retire()

    def lose(self, code: int, reason: str) -> None:
        """The slot is another worker's and this object is about to be forgotten: its line is closed, also one that has yet to open."""
        self._lost = code, reason
        if self.line is not None:
            self.line.close(code, reason)

    # -- the line

    def opened(self, line: Line, remote: str) -> None:
        """A new line: it takes over."""
        if self._lost is not None:
            line.close(*self._lost)
            return
        old, self.line = self.line, line
        self._arrived()
        if self.actor.stopped:
            self.actor = self._new_actor(self.actor.state)
        lenient = self.behaviour.tenant.strictness == "lenient"
        if self.conversation is None or (self.conversation.version, self.conversation.lenient) != (line.version, lenient):
            self.conversation = Conversation(line.version, lenient=lenient)
        self._hang_up(self.conversation)
        if old is not None:
            self._office.counters.taken_over += 1
            old.close(1008, "a newer connection of this charger took over")
        now = self._office.clock()
        self.connection = max(self.connection + 1, now)
        self._tell(Connected(line.version, remote))
        log.info("connected", tenant=self.record.tenant, charger=self.record.identity, ocpp=line.version, took_over=old is not None)

    def closed(self, line: Line, code: int, reason: str) -> None:
        """A line has ended. When it is not the newest, nothing changes."""
        if self.line is not line:
            return
        self.line = None
        if self.conversation is not None:
            self._hang_up(self.conversation)
        self._tell(Disconnected(code, reason))
        log.info("disconnected", tenant=self.record.tenant, charger=self.record.identity, code=code, reason=reason)

    def _tell(self, fact: Connected | Disconnected) -> None:
        """The journal is told of the line, now or as soon as it has room: what is said on a line that nobody knows of does not count,
        and one whose end nobody knows of would seem to be open for ever."""
        before = () if isinstance(fact, Connected) else self._untold
        self._untold = (*before, (fact, self._office.clock()))
        if not self.tell_the_rest():
            self._office.counters.journal_refusals += 1

    def tell_the_rest(self) -> bool:
        """Tell the journal what it had no room for when it happened to the line. Whether it has all of it."""
        while self._untold:
            fact, at = self._untold[0]
            if not self.slot.append(self.record, self.connection, "", at, fact, None):
                return False
            self._untold = self._untold[1:]
        return True

    # -- moving on to another worker, with the line

    def moving(self, epoch: int, agreement: str) -> Moved | None:
        """What the next worker must know to go on at this moment; None while a turn is unfinished."""
        line, conversation = self.line, self.conversation
        if line is None or conversation is None or self.actor.busy or self.actor.stopped:
            return None
        return Moved(
            tenant=self.record.tenant,
            identity=self.record.identity,
            epoch=epoch,
            version=line.version,
            lenient=conversation.lenient,
            remote=line.remote,
            agreement=agreement,
            connection=self.connection,
            live=self._office.encode_live(self.actor.state),
            remembered=packed(conversation.remembered),
            calls=tuple(MovedCall(each.action, each.payload, each.until, each.reply_to, each.id) for each in self._unanswered()),
        )

    def parted(self) -> None:
        """The next worker has the line: nothing that comes is ours, and whoever waits for a call is answered there."""
        for asked in self._unanswered():
            asked.carried = True
            if asked.scope is not None:
                asked.scope.cancel()
        self.line, self._untold = None, ()

    def _unanswered(self) -> list[OpenCall]:
        """The calls that wait for their turn or for their answer; not what was answered and has yet to be told."""
        outstanding = self.conversation.outstanding if self.conversation is not None else None
        return [asked for asked in self._calls if not asked.id or (outstanding is not None and outstanding.id == asked.id)]

    def take_over(self, moved: Moved) -> list[OpenCall]:
        """Begin where the worker before stopped. The calls that somebody waits for are to be gone on with (`go_on`), each in a task."""
        self.actor = self._new_actor(self._office.decode_live(moved.live))
        self.connection = moved.connection
        conversation = self.conversation = Conversation(moved.version, lenient=moved.lenient)
        conversation.remembered = unpacked(moved.remembered)
        for call in moved.calls:
            asked = OpenCall(call.action, call.payload, call.until, call.reply_to, call.id)
            if call.id:
                conversation.outstanding = OutboundCall(call.id, call.action)
                asked.reply = self._reply = Reply()
            self._calls.append(asked)
        self._arrival = []
        return list(self._calls)

    def continued(self, line: Line) -> None:
        """The line has come after it: to the charger it is the one it was.

        The journal is told of it again, under the same number. The worker before may have died before it was stored, or it is stored
        after our first event, and an outdated owner's word of a connection does not count.
        """
        if self._lost is not None:
            line.close(*self._lost)
            return
        if self.line is not None:  # a newer one has been faster
            line.close(1008, "a newer connection of this charger took over")
            return
        self.line = line
        self._tell(Connected(line.version, line.remote))
        self._arrived()
        log.info("moved_here", tenant=self.record.tenant, charger=self.record.identity, ocpp=line.version)

    def _arrived(self) -> None:
        """There is a line: whoever waits for one goes on."""
        waiting, self._arrival = self._arrival, None
        for reply in waiting or ():
            reply.set(None)

    def _hang_up(self, conversation: Conversation) -> None:
        """Nobody will answer what we asked on the line before: tell whoever waits, at once."""
        conversation.expire()
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.fail(HungUp())

    def heard(self, line: Line, text: bytes) -> None:
        """A text message came on the newest line."""
        office = self._office
        office.counters.messages_in += 1
        received = self.conversation.receive(text)  # type: ignore[union-attr]  # a line that speaks has been opened
        if type(received) is Call or type(received) is Send:
            if not self.actor.tell(Inbound(received, office.clock(), line, self.record.boot)):
                office.counters.mailbox_refusals += 1
            return
        counters = office.counters
        match received:
            case Answered() | Refused():
                if logs.debug_on:
                    self._log_answered(received)
                reply, self._reply = self._reply, None
                if reply is not None:
                    reply.set(received)
            case Repeated(answer):
                counters.repeated += 1
                self._say(line, answer)
            case Faulty(reason, answer):
                counters.faulty += 1
                self._append(Parked("malformed", reason, None, text), "", self._office.clock(), None)
                if answer is not None:
                    self._say(line, answer)
            case _:
                counters.ignored += 1

    def _say(self, line: Line, text: bytes) -> bool:
        """Send on a line, if it is still the one that counts and takes it."""
        if line is self.line and line.send(text):
            self._office.counters.messages_out += 1
            return True
        return False

    # -- the stage

    def perform(self, actor: Actor[Any, Any], effect: Any) -> Pause | None:
        """Do one effect of a turn."""
        if type(effect) is Answer:
            if logs.debug_on:
                self._log_handled(effect)
            if effect.durable:
                return self._checkpoint_too(effect) if effect.checkpoint else self._keep_then_answer(effect)
            self._answer_now(effect)
            return None
        if isinstance(effect, Note):
            self._append(effect.fact, effect.message_id, effect.now, None)
            return None
        return self._perform_ask(effect)

    def _answer_now(self, answer: Answer) -> None:
        inbound, fact = answer.inbound, answer.fact
        if fact is not None and not self._append(fact, inbound.call.id, inbound.now, None):
            self._office.counters.unanswered += 1  # what is not kept is not acknowledged
        elif answer.text is not None:
            self._say(inbound.line, answer.text)
        elif isinstance(inbound.call, Call):
            self._office.counters.unanswered += 1  # nothing can be said now: the charger will ask again

    def _keep_then_answer(self, answer: Answer) -> Pause | None:
        """Pause the turn until the fact is durable."""
        inbound = answer.inbound
        call, fact = inbound.call, answer.fact
        assert fact is not None  # what is durable is something
        self._answer = (inbound.line, (call.id, content(call.payload), answer.text))  # type: ignore[assignment]  # it has a text
        # `_append`, without a look for changes of state: they are checkpointed.
        room = not self._untold or self.tell_the_rest()
        if room and self.slot.append(self.record, self.connection, call.id, inbound.now, fact, self._kept):
            return PAUSE
        self._answer = None
        self._office.counters.journal_refusals += 1
        self._office.counters.unanswered += 1
        return None

    def _checkpoint_too(self, answer: Answer) -> Pause | None:
        """Pause the turn until fact and live state are durable."""
        inbound, fact, text = answer.inbound, answer.fact, answer.text
        assert fact is not None and text is not None  # noqa: PT018  # what is durable is something, and is answered
        # Encoded first: once the journal has the fact nothing may raise, or its waiter would speak for another turn.
        live = self._office.encode_live(self.actor.state)
        call = inbound.call
        self._answer = (inbound.line, (call.id, content(call.payload), text))
        self._failed = False
        self._waits_for = 2
        if not self._append(fact, call.id, inbound.now, self._kept_one):
            self._office.counters.unanswered += 1
            self._waits_for, self._answer = 0, None
            return None
        if not self._office.save_live(self.slot, self.record.tenant, self.record.identity, live, self._kept_one):
            self._kept_one(False)
        return PAUSE

    def _kept_one(self, durable: bool) -> None:
        """The journal, or the checkpoint, has it or has given up; after the last of them the turn goes on."""
        self._waits_for -= 1
        if not durable:
            self._failed = True
        if not self._waits_for:
            self._kept(not self._failed)

    def _kept(self, durable: bool) -> None:
        """All of it is durable, or given up: the turn goes on."""
        answer = self._answer
        if answer is not None:
            self._answer = None
            if durable:
                line, remembered = answer
                self.conversation.remembered = remembered  # type: ignore[union-attr]  # what was heard was heard in one
                if line is self.line and line.send(remembered[2]):  # `_say`
                    self._office.counters.messages_out += 1
            else:
                self._office.counters.unanswered += 1  # the charger will ask again, and content tells that it is the same
        self.actor.resume()

    def _perform_ask(self, ask: Ask) -> Pause | None:
        office = self._office
        verdict = office.known_verdict(self.record.tenant, ask.token)
        if verdict is None and office.tasks(carry, self.actor, self._find_verdict, ask):
            return PAUSE
        if verdict is None:
            verdict = office.verdicts.unasked(self.record.tenant, ask.token, self.behaviour.tenant.offline, office.clock())
        self.actor.resume(office.asked(verdict, ask.with_id))
        return PAUSE

    async def _find_verdict(self, ask: Ask) -> Asked:
        """The waiting part of a turn: runs in a task under the supervisor."""
        verdict = await self._office.find_verdict(self.behaviour.tenant, self.record.identity, ask.token, self.slot.lane)
        return self._office.asked(verdict, ask.with_id)

    def _append(self, fact: Fact, message_id: str, now: int, then: Then | None) -> bool:
        if type(fact) in _STATE_CHANGES:
            self._log_change(fact, message_id)
        if (not self._untold or self.tell_the_rest()) and self.slot.append(self.record, self.connection, message_id, now, fact, then):
            return True
        self._office.counters.journal_refusals += 1
        return False

    def _log_handled(self, answer: Answer) -> None:
        call, fact = answer.inbound.call, answer.fact
        log.debug(
            "handled",
            tenant=self.record.tenant,
            charger=self.record.identity,
            message_id=call.id,
            action=call.action,
            fact=type(fact).__name__ if fact is not None else None,
        )

    def _log_answered(self, received: Answered | Refused) -> None:
        log.debug(
            "answered",
            tenant=self.record.tenant,
            charger=self.record.identity,
            message_id=received.call.id,
            action=received.call.action,
            error=received.error.code if isinstance(received, Refused) else None,
        )

    def _log_change(self, fact: Fact, message_id: str) -> None:
        bound = log.bind(tenant=self.record.tenant, charger=self.record.identity, message_id=message_id)
        match fact:
            case Booted():
                bound.info("booted", status=fact.status, vendor=fact.vendor, model=fact.model)
            case TransactionStarted():
                bound.info("transaction_started", transaction=fact.transaction, evse=fact.evse, verdict=fact.status)
            case TransactionEnded():
                bound.info("transaction_ended", transaction=fact.transaction, reason=fact.reason)

    def crashed(self, actor: Actor[Any, Any], message: Any, error: Exception) -> None:
        """A turn crashed: answer its CALL with InternalError, keep the payload for somebody to look at, keep the socket."""
        self._office.counters.turns_crashed += 1
        self._answer, self._waits_for = None, 0
        log.error("turn_crashed", tenant=self.record.tenant, charger=self.record.identity, exc_info=error)
        if not isinstance(message, Inbound):
            return
        call = message.call
        self._append(Parked("crashed", repr(error)[:500], call.action, bytes(call.payload)), call.id, message.now, None)
        if isinstance(call, Call):
            self._say(message.line, frames.error(call.id, "InternalError", "a fault of this server; it is logged"))

    def gave_up(self, actor: Actor[Any, Any], error: Exception) -> None:
        """Too many crashes: this charger's connection ends, and no other's. A new connection starts a new actor."""
        self._office.counters.actors_given_up += 1
        log.error("actor_given_up", tenant=self.record.tenant, charger=self.record.identity)
        if self.line is not None:
            self.line.close(1011, "too many faults on messages of this connection")

    # -- what we ask

    async def call(self, action_name: str, payload: bytes, timeout_s: float, reply_to: str = "") -> CallAnswer | None:
        """Send one CSMS-initiated action and wait for its answer; calls of one charger go out one at a time, in order.

        Never raises for what a charger does: the CallAnswer says it. None: the charger has moved on to another worker meanwhile, and
        that one answers, to `reply_to`.
        """
        office = self._office
        office.counters.calls += 1
        until = office.clock() + round(timeout_s * 1000)
        answer = None
        if self._arrival is not None:
            answer = self._busy(len(self._arrival))
            if answer is None:
                await self._wait_for_line(self._arrival, min(timeout_s, ARRIVAL_S))
        answer = answer or self._refuse_call(self.line, action_name, payload) or self._busy(len(self._calls))
        if answer is not None:
            office.counters.calls_failed += 1
            return answer
        asked = OpenCall(action_name, payload, until, reply_to)
        self._calls.append(asked)
        return await self.go_on(asked)

    def _busy(self, waiting: int) -> CallAnswer | None:
        """Why one more call may not wait where so many do; None when it may."""
        if waiting < self._office.settings.commands_max:
            return None
        return CallAnswer("failed", code=commands.BUSY, text=f"{waiting} calls wait for this charger already")

    async def _wait_for_line(self, arrival: list[Reply], wait_s: float) -> None:
        """Wait for the line that is on its way from another worker, but not longer."""
        reply = Reply()
        arrival.append(reply)
        try:
            await reply.wait(wait_s)
        except DeadlinePassed:
            if wait_s == ARRIVAL_S and self._arrival is arrival:
                self._arrival = None  # its charger has gone
        finally:
            arrival.remove(reply)

    async def go_on(self, asked: OpenCall) -> CallAnswer | None:
        """Wait for the turn of a call that was admitted, send it unless it was sent before the charger came here, wait for its answer.

        One that has come here before its line waits for that first. As `call`.
        """
        line, answer = self.line, None
        timeout_s = max(0, asked.until - self._office.clock()) / 1000
        asked.turn = anyio.Event()
        try:
            with anyio.move_on_after(timeout_s) as scope:
                asked.scope = scope
                if self._arrival is not None:
                    await self._wait_for_line(self._arrival, min(timeout_s, ARRIVAL_S))
                    line = self.line
                while self._calls[0] is not asked:
                    await asked.turn.wait()
                if not asked.id:
                    answer = await self._its_turn(scope.deadline)
                # While it waited, the charger may have reconnected, with another version, or been told to wait.
                if answer is None and (line is None or self.line is not line):
                    answer = _GONE
                elif answer is None and not asked.id:
                    answer = self._refuse_call(line, asked.action, asked.payload)
                if answer is None:
                    answer = await self._call_now(asked, line, timeout_s)
        finally:
            self._calls.remove(asked)
            if self._calls and self._calls[0].turn is not None:
                self._calls[0].turn.set()
        if asked.carried:
            return None
        if answer is None:
            answer = CallAnswer("failed", code=commands.TIMEOUT, text=f"no answer within {timeout_s:g} s")
        if answer.kind != "result":
            self._office.counters.calls_failed += 1
        return answer

    async def _its_turn(self, deadline: float) -> CallAnswer | None:
        """Wait until this worker may send another call; BUSY, at once, when that would be after the deadline."""
        office = self._office
        if office.commands is None:
            return None
        now = anyio.current_time()
        wait_s = office.commands.book(now, deadline - now)
        if wait_s is None:
            office.counters.calls_over_rate += 1
            text = f"this worker sends {office.settings.commands_per_s} calls a second and has too many to send already"
            return CallAnswer("failed", code=commands.BUSY, text=text)
        if wait_s:
            office.counters.calls_delayed += 1
            await anyio.sleep(wait_s)
        return None

    def _refuse_call(self, line: Line | None, action_name: str, payload: bytes) -> CallAnswer | None:
        """Why the call cannot be sent on this line; None when it can."""
        if line is None:
            return CallAnswer("failed", code=commands.NOT_CONNECTED, text="the charger is not connected; wait until it is")
        version = line.version
        action = actions(version).get(action_name)
        if action is None or not action.from_csms:
            text = f"{action_name} is not for a CSMS to send in OCPP {version}"
            return CallAnswer("failed", code=commands.UNKNOWN_ACTION, text=text)
        boot = self.actor.state.boot
        if boot == HELD:
            boot = "Pending"
        if (boot == "Pending" and action_name in _REMOTE) or (boot == "Rejected" and action_name not in _TRIGGERS):
            text = f"its BootNotification was answered {boot}: {action_name} must wait until it is accepted"
            return CallAnswer("failed", code=commands.NOT_ALLOWED, text=text)
        try:
            action.decode_request(payload)
        except DECODE_FAULTS as error:
            return CallAnswer("failed", code=commands.INVALID_PAYLOAD, text=f"{fault_of(error, version)}: {error}")
        return None

    async def _call_now(self, asked: OpenCall, line: Line | None, timeout_s: float) -> CallAnswer:
        conversation = self.conversation
        assert line is not None and conversation is not None  # noqa: PT018  # or the call had been refused
        reply = asked.reply
        try:
            if reply is None:
                reply = asked.reply = self._reply = Reply()
                asked.id = self._office.new_id()
                if not self._say(line, conversation.call(asked.id, asked.action, Raw(asked.payload))):
                    return _GONE
            received = await reply.wait(timeout_s)
        except DeadlinePassed:
            return CallAnswer("failed", code=commands.TIMEOUT, text=f"no answer within {timeout_s:g} s")
        except HungUp:
            return _GONE
        finally:
            if self._reply is reply:  # given up: a late answer belongs to nobody
                self._reply = None
                conversation.expire()
        if isinstance(received, Refused):
            error = received.error
            return CallAnswer("error", error.details, error.code, error.description)
        return self._checked(line, actions(line.version)[asked.action], received)

    def _checked(self, line: Line, action: Action, received: Answered) -> CallAnswer:
        """The CALLRESULT, when it is one of the action. Before 2.1 a bad one is nobody's to complain about (2.1 part 4 4.2.4)."""
        payload = bytes(received.payload)
        assert action.decode_response is not None  # only a SEND has none, and it is not ours to call
        try:
            action.decode_response(payload)
        except DECODE_FAULTS as error:
            code = fault_of(error, line.version)
            if line.version == "2.1":
                self._say(line, frames.result_error(received.call.id, code, str(error)))
            return CallAnswer("failed", payload, commands.INVALID_ANSWER, f"{code}: {error}")
        return CallAnswer("result", payload)

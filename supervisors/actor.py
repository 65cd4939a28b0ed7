"""The passive actor: a mailbox, a state and one turn at a time, without a task of its own.

    tell ──▶ idle? ──yes──▶ decide ──▶ effect, effect, effect ──▶ idle, or the next message of the mailbox
               │no                        │        ▲
               ▼                          ▼ PAUSE  │ resume(value) / fail(error)
            mailbox                      the rest of the turn waits

A *turn* handles one message. The behaviour decides: a pure function from state and message to a new state and effects. The stage,
which belongs to the owner, performs the effects in order. An effect that cannot be done at once pauses the turn, and whoever completes
it calls `resume` or `fail` of the actor, exactly once: a journal when the page is durable, a task when its answer is there.
Nothing is woken for that and nothing is parked: the rest of the turn runs inside that call. While a turn is unfinished, messages
wait in the mailbox, so they are handled in the order in which they came, one at a time, each once.

An exception anywhere in a turn is a crash. The state goes back to what it was before the message, the stage is told so that it can
answer, and the next message is handled as if nothing had been. More crashes than the intensity allows stop the actor for good, and
the stage is told that too. Only the state is undone: effects that were performed are facts.

Everything here runs on the one thread of the loop and never waits, except `ask`, which is for tasks (trio or asyncio).
"""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from supervisors.mailbox import Mailbox, MailboxStatistics
from supervisors.policy import Intensity, RestartWindow
from supervisors.reply import ActorError, ActorStopped, DeadlinePassed, MailboxFull, NotPaused, Reply, TurnCancelled, TurnCrashed
from supervisors.stage import PAUSE, Behaviour, Decision, Effect, Later, Pause, Stage

__all__ = [  # whoever writes an actor needs these together
    "CRASHES_MAX",
    "PAUSE",
    "Actor",
    "ActorError",
    "ActorStatistics",
    "ActorStopped",
    "Behaviour",
    "DeadlinePassed",
    "Decision",
    "Effect",
    "Later",
    "MailboxFull",
    "NotPaused",
    "Pause",
    "Reply",
    "Stage",
    "TurnCancelled",
    "TurnCrashed",
    "carry",
]

S = TypeVar("S")
M = TypeVar("M")

CRASHES_MAX: Final = Intensity(restarts=3, window_s=60.0)


class ActorStatistics(NamedTuple):
    """What an actor has seen. `asking` replies are awaited now, `asking_peak` at most were, `asks_refused` were too many."""

    mailbox: MailboxStatistics
    crashes: int
    asking: int
    asking_peak: int
    asks_refused: int


# What the actor is doing. Plain integers: they are compared several times per message.
_IDLE: Final = 0  # no turn; the mailbox is empty
_TURNING: Final = 1  # inside decide, then, or the stage's crashed
_PERFORMING: Final = 2  # inside perform
_PAUSED: Final = 3  # an effect waits
_RESUMED: Final = 4  # inside perform, which has already called resume
_FAILED: Final = 5  # inside perform, which has already called fail
_STOPPED: Final = 6


class Actor(Generic[S, M]):
    """One actor. `state` is its state, within a turn that of the turn; `busy` whether a turn is unfinished."""

    __slots__ = (
        "_asking",
        "_asking_peak",
        "_asks_refused",
        "_at",
        "_before",
        "_behaviour",
        "_clock",
        "_crashes",
        "_effects",
        "_message",
        "_phase",
        "_stage",
        "_value",
        "_window",
        "intensity",
        "mailbox",
        "name",
        "state",
    )

    def __init__(
        self,
        name: str,
        state: S,
        behaviour: Behaviour[S, M],
        stage: Stage,
        mailbox_bound: int,
        *,
        intensity: Intensity = CRASHES_MAX,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`mailbox_bound` bounds the messages that wait, and likewise the replies that are awaited. `clock` tells seconds."""
        self.name = name
        self.state = state
        self.mailbox: Mailbox[M] = Mailbox(name, mailbox_bound)
        self.intensity = intensity
        self._behaviour = behaviour
        self._stage = stage
        self._clock = clock
        self._phase = _IDLE
        self._message: M | None = None
        self._before: S | None = None
        self._effects: tuple[Effect, ...] = ()  # of the paused turn; _at is where it goes on
        self._at = 0
        self._value: Any = None  # what a reentrant resume or fail brought
        self._window: RestartWindow | None = None
        self._crashes = 0
        self._asking: dict[Reply, M] | None = None
        self._asking_peak = 0
        self._asks_refused = 0

    @property
    def busy(self) -> bool:
        """Whether a turn is unfinished."""
        return self._phase not in (_IDLE, _STOPPED)

    @property
    def stopped(self) -> bool:
        """Whether it has stopped."""
        return self._phase == _STOPPED

    def retire(self) -> None:
        """It will be told nothing any more, and no turn is open: let go of the stage, which may hold this actor, so that both are gone
        as soon as nobody else holds them."""
        self._phase = _STOPPED
        del self._stage

    def tell(self, message: M) -> bool:
        """Handle the message here and now if the actor is idle, else queue it.

        False when it was refused: the mailbox is full, or the actor has stopped.
        """
        if self._phase != _IDLE:
            return self._queue(message)
        self._message = message
        self._run(None, 0, None)
        return True

    async def ask(self, make: Callable[[Reply], M], deadline_s: float) -> Any:
        """Tell the message that `make` builds around a Reply, and wait for that.

        Raises DeadlinePassed after `deadline_s` seconds, MailboxFull, ActorStopped (now or while waiting), TurnCrashed when
        the turn of the message crashed, or whatever the reply was failed with.
        """
        reply = Reply()
        message = make(reply)
        asking = self._admit(reply, message)
        try:
            if not self.tell(message):
                raise ActorStopped(self.name) if self.stopped else MailboxFull(self.name)
            return await reply.wait(deadline_s)
        finally:
            asking.pop(reply, None)
            if not asking and self._asking is asking:
                self._asking = None

    def resume(self, value: Any = None) -> None:
        """The effect that paused the turn is done: run the rest of the turn, and after it the mailbox.

        NotPaused if no effect waits. After a stop it does nothing: completions may be late.
        """
        if self._phase == _PAUSED:
            effects, self._effects = self._effects, ()
            self._phase = _TURNING
            self._run(effects, self._at, value)
        elif self._phase == _PERFORMING:
            self._value = value
            self._phase = _RESUMED
        elif self._phase != _STOPPED:
            raise NotPaused(self.name)

    def fail(self, error: Exception) -> None:
        """The effect that paused the turn cannot be done: the turn crashes with this error. Otherwise as `resume`."""
        if self._phase == _PAUSED:
            self._effects = ()
            self._phase = _TURNING
            if self._crash(error):
                self._run((), 0, None)
        elif self._phase == _PERFORMING:
            self._value = error
            self._phase = _FAILED
        elif self._phase != _STOPPED:
            raise NotPaused(self.name)

    def stop(self) -> None:
        """Handle nothing more.

        What waits is refused after all, askers get ActorStopped, an unfinished turn is undone and never goes on.
        """
        if self._phase == _STOPPED:
            return
        if self._phase != _IDLE:
            self.state = cast(S, self._before)
        self._phase = _STOPPED
        self._before = None
        self._effects = ()
        self._value = None
        self.mailbox.refusals += self.mailbox.clear()
        for reply in tuple(self._asking or ()):
            reply.fail(ActorStopped(self.name))

    def statistics(self) -> ActorStatistics:
        """A snapshot for metrics."""
        return ActorStatistics(self.mailbox.statistics(), self._crashes, len(self._asking or ()), self._asking_peak, self._asks_refused)

    def _queue(self, message: M) -> bool:
        if self._phase == _STOPPED:
            self.mailbox.refusals += 1
            return False
        return self.mailbox.put(message)

    def _admit(self, reply: Reply, message: M) -> dict[Reply, M]:
        asking = self._asking
        if asking is None:
            asking = self._asking = {}
        elif len(asking) >= self.mailbox.bound:
            self._asks_refused += 1
            raise MailboxFull(f"{self.name}: {len(asking)} replies are awaited already")
        asking[reply] = message
        self._asking_peak = max(self._asking_peak, len(asking))
        return asking

    def _run(self, effects: tuple[Effect, ...] | None, at: int, value: Any) -> None:
        """Run a turn from effects[at] on, the one before having come out as `value`; then the mailbox, until a pause or idle.

        Without effects the turn begins: they are decided. A loop and not a recursion: however much is queued, the stack does not grow.
        """
        while True:
            try:
                if effects is None:
                    self._phase = _TURNING
                    self._before = state = self.state
                    decision = self._behaviour.decide(state, self._message)  # type: ignore[arg-type]  # there is one
                    self.state, effects = decision.state, decision.effects
                while True:
                    if at:
                        then = getattr(effects[at - 1], "then", None)
                        if then is not None:
                            self._phase = _TURNING
                            decision = then(self.state, value)
                            self.state = decision.state
                            effects, at = decision.effects + effects[at:], 0
                    if at == len(effects):
                        break
                    self._phase = _PERFORMING
                    outcome = self._stage.perform(self, effects[at])
                    at += 1
                    value = None
                    if self._phase != _PERFORMING:
                        if self._phase == _STOPPED:
                            return
                        value = self._reentrant()
                    elif outcome is not None:
                        self._effects, self._at, self._phase = effects, at, _PAUSED
                        return
                if self.mailbox.queue is None:
                    self._message = self._before = None
                    self._phase = _IDLE
                    return
                self._message = self.mailbox.take()
                effects = None
            except Exception as error:
                if not self._crash(error):
                    return
                effects = ()
            except BaseException:
                self.stop()
                raise
            at = 0

    def _reentrant(self) -> Any:
        """What resume brought while perform was still running; raises what fail brought."""
        value, self._value = self._value, None
        if self._phase == _FAILED:
            raise value
        return value

    def _crash(self, error: Exception) -> bool:
        """Contain a crash of the present turn. False: the actor has stopped."""
        self._crashes += 1
        self._value = None
        if self._phase != _STOPPED:
            self.state = cast(S, self._before)
            self._phase = _TURNING
        message = cast(M, self._message)
        try:
            self._stage.crashed(self, message, error)
        except Exception as worse:
            if self._phase == _STOPPED:
                raise
            self._give_up(worse)
        for reply in [reply for reply, asked in (self._asking or {}).items() if asked is message]:
            crash = TurnCrashed(f"{self.name}: {type(error).__name__}")
            crash.__cause__ = error
            reply.fail(crash)
        if self._phase == _STOPPED:
            return False
        if self._window is None:
            self._window = RestartWindow(self.intensity)
        if self._window.note(self._clock()):
            return True
        self._give_up(error)
        return False

    def _give_up(self, error: Exception) -> None:
        self.stop()
        self._stage.gave_up(self, error)


async def carry(actor: Actor[Any, Any], work: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """Do the waiting for a paused turn, in a task: resume the actor with the result of `work(*args)`, or fail it with its exception.

    A task that is cancelled fails the turn with TurnCancelled, so that the actor is not paused for ever.
    """
    try:
        value = await work(*args)
    except Exception as error:
        actor.fail(error)
    except BaseException:
        actor.fail(TurnCancelled(actor.name))
        raise
    else:
        actor.resume(value)

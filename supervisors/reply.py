"""One answer to one question put to an actor, and the ways in which a question can go wrong.

ActorError
├── MailboxFull      too much waits already
├── ActorStopped     nobody is there any more
├── DeadlinePassed   no reply in time
├── TurnCrashed      the turn that was to reply crashed
├── TurnCancelled    the task that carried a turn on was cancelled
└── NotPaused        a turn was resumed twice: a fault of the owner of the actor

A reply is one-shot and first answer wins: the asker may have gone, and the one who answers need not know.
"""

from typing import Any

import anyio


class ActorError(Exception):
    """The root of what actors raise."""


class MailboxFull(ActorError):
    """The actor has as many messages waiting as it may; try again later."""


class ActorStopped(ActorError):
    """The actor has stopped and will handle no further message."""


class DeadlinePassed(ActorError):
    """No reply came in time. The message may still be handled, or have been."""


class TurnCrashed(ActorError):
    """The turn that was to reply crashed; its exception is the cause."""


class TurnCancelled(ActorError):
    """The task that carried a turn on was cancelled before it was done."""


class NotPaused(ActorError):
    """`resume` or `fail` was called although no effect waits: the fault of whoever called it twice."""


class Reply:
    """One answer for one asker, carried inside a message. May be set from anywhere on the loop's thread, host callbacks included."""

    __slots__ = ("_answered", "_error", "_event", "_value")

    def __init__(self) -> None:
        self._answered = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._event: anyio.Event | None = None

    @property
    def answered(self) -> bool:
        """Whether it was set, failed, or given up by the asker: a further answer would reach nobody."""
        return self._answered

    def set(self, value: Any) -> bool:
        """Give the answer. False when it reaches nobody: there was one already, or the asker has gone."""
        return self._answer(value, None)

    def fail(self, error: BaseException) -> bool:
        """Let the asker's `ask` raise this. False as for `set`."""
        return self._answer(None, error)

    def _answer(self, value: Any, error: BaseException | None) -> bool:
        if self._answered:
            return False
        self._answered, self._value, self._error = True, value, error
        if self._event is not None:
            self._event.set()
        return True

    async def wait(self, deadline_s: float) -> Any:
        """The answer, or what it failed with. DeadlinePassed after `deadline_s` seconds; from then on nobody listens."""
        try:
            if not self._answered:
                self._event = anyio.Event()
                with anyio.move_on_after(deadline_s):
                    await self._event.wait()
            if not self._answered:
                raise DeadlinePassed(f"no reply within {deadline_s:g} s")
            if self._error is not None:
                raise self._error
            return self._value
        finally:
            self._answered, self._value, self._error, self._event = True, None, None, None

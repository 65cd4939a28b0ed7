"""A bounded queue of messages for actors that are not tasks.

Most actors are idle most of the time and an idle actor's mailbox is empty, so the queue behind it exists only while something
waits: an empty mailbox is one small object. Nobody blocks here. A full mailbox refuses and counts, and the sender decides.
"""

from collections import deque
from typing import Generic, NamedTuple, TypeVar

M = TypeVar("M")


class MailboxStatistics(NamedTuple):
    """What a mailbox has seen. `waiting` is now, `peak` the most that ever waited, `refusals` the messages turned away."""

    waiting: int
    bound: int
    peak: int
    refusals: int


class Mailbox(Generic[M]):
    """First in, first out, at most `bound` messages. `queue` is None while it is empty."""

    __slots__ = ("bound", "name", "peak", "queue", "refusals")

    def __init__(self, name: str, bound: int) -> None:
        """`bound` is at least 1; ValueError otherwise."""
        if bound < 1:
            raise ValueError(f"mailbox {name}: a bound of {bound} would refuse every message")
        self.name = name
        self.bound = bound
        self.peak = 0
        self.refusals = 0
        self.queue: deque[M] | None = None

    def put(self, message: M) -> bool:
        """Queue the message. False, and counted, when the mailbox is full."""
        queue = self.queue
        if queue is None:
            queue = self.queue = deque()
        elif len(queue) >= self.bound:
            self.refusals += 1
            return False
        queue.append(message)
        if len(queue) > self.peak:
            self.peak = len(queue)
        return True

    def take(self) -> M:
        """The oldest message. IndexError when there is none."""
        queue = self.queue
        if queue is None:
            raise IndexError(f"mailbox {self.name} is empty")
        message = queue.popleft()
        if not queue:
            self.queue = None
        return message

    def clear(self) -> int:
        """Drop whatever waits; returns how many messages that were."""
        dropped = len(self)
        self.queue = None
        return dropped

    def __len__(self) -> int:
        return 0 if self.queue is None else len(self.queue)

    def statistics(self) -> MailboxStatistics:
        """A snapshot for metrics."""
        return MailboxStatistics(len(self), self.bound, self.peak, self.refusals)

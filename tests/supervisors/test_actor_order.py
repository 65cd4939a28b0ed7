"""The order of messages, under any interleaving that Hypothesis finds: in order, each once, one at a time."""

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from supervisors.actor import PAUSE, Actor, Decision, Pause
from supervisors.policy import Intensity

BOUND = 4


class Message(NamedTuple):
    """`pauses` says for each effect of the turn whether it waits; `crash_at` the effect that raises, -1 decide, None nothing."""

    number: int
    pauses: tuple[bool, ...]
    crash_at: int | None


class Step(Struct, frozen=True):
    """The effect `index` of message `number`."""

    number: int
    index: int
    waits: bool
    raises: bool


class Numbers:
    """The state is the numbers of the messages handled, without those that crashed."""

    def decide(self, state: tuple[int, ...], message: Message) -> Decision[tuple[int, ...]]:
        if message.crash_at == -1:
            raise ValueError
        steps = tuple(Step(message.number, i, waits, message.crash_at == i) for i, waits in enumerate(message.pauses))
        return Decision((*state, message.number), steps)


class Journal:
    """Notes every effect as it begins, and is the one that completes those that wait."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.crashed_numbers: list[int] = []
        self.waiting = 0

    def perform(self, actor: Actor[Any, Any], effect: Step) -> Pause | None:
        assert self.waiting == 0, "two turns at a time"
        self.begun.append((effect.number, effect.index))
        if effect.raises:
            raise ValueError
        self.waiting += effect.waits
        return PAUSE if effect.waits else None

    def crashed(self, actor: Actor[Any, Any], message: Message, error: Exception) -> None:
        self.crashed_numbers.append(message.number)

    def gave_up(self, actor: Actor[Any, Any], error: Exception) -> None:
        raise AssertionError("the intensity allows every crash of the test")


turns = st.tuples(st.lists(st.booleans(), max_size=3).map(tuple), st.none() | st.integers(-1, 2))
steps = st.lists(st.sampled_from(["resume", "fail"]) | turns, max_size=60)


@settings(max_examples=300)
@given(steps)
def test_accepted_messages_are_handled_in_order_each_once_one_at_a_time(script: list[Any]) -> None:
    stage = Journal()
    actor: Actor[tuple[int, ...], Message] = Actor("a", (), Numbers(), stage, BOUND, intensity=Intensity(1000, 1.0), clock=lambda: 0.0)
    accepted: list[Message] = []
    failed: list[int] = []

    def complete(how: str) -> None:
        stage.waiting -= 1
        if how == "fail":
            failed.append(stage.begun[-1][0])
            actor.fail(ValueError())
        else:
            actor.resume()

    for number, step in enumerate(script):
        if isinstance(step, tuple):
            full = len(actor.mailbox) == BOUND
            message = Message(number, *step)
            assert actor.tell(message) is not full
            accepted += [] if full else [message]
        elif stage.waiting:
            complete(step)
        assert actor.busy is bool(stage.waiting)
    while stage.waiting:
        complete("resume")

    assert not actor.busy
    assert len(actor.mailbox) == 0
    crashed = set(stage.crashed_numbers)
    assert stage.crashed_numbers == sorted(crashed)
    assert actor.state == tuple(message.number for message in accepted if message.number not in crashed)
    assert crashed == set(failed) | {m.number for m in accepted if m.crash_at == -1 or (m.number, m.crash_at) in stage.begun}
    assert stage.begun == sorted(set(stage.begun))
    for message in accepted:
        begun = [index for number, index in stage.begun if number == message.number]
        assert begun == list(range(len(begun)))
        assert len(begun) == len(message.pauses) or message.number in crashed

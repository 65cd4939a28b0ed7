"""Truths of asking an actor, on both backends."""

from typing import Any, NamedTuple

import anyio
import anyio.abc
import pytest

from supervisors.actor import (
    PAUSE,
    Actor,
    ActorStopped,
    DeadlinePassed,
    Decision,
    MailboxFull,
    Pause,
    Reply,
    TurnCancelled,
    TurnCrashed,
    carry,
)

pytestmark = pytest.mark.anyio


class Question(NamedTuple):
    """`kind` says what becomes of it."""

    kind: str
    reply: Reply


class Oracle:
    """Answers at once, waits, forgets, crashes or fails the reply, as the question says."""

    def decide(self, state: int, message: Question) -> Decision[int]:
        if message.kind == "crash":
            raise ValueError("bug")
        return Decision(state + 1, (message,))


class Booth:
    """A stage that keeps the questions."""

    def __init__(self) -> None:
        self.kept: list[Question] = []

    def perform(self, actor: Actor[Any, Any], effect: Question) -> Pause | None:
        match effect.kind:
            case "answer":
                effect.reply.set("yes")
            case "refuse":
                effect.reply.fail(PermissionError("no"))
            case "pause":
                self.kept.append(effect)
                return PAUSE
            case _:
                self.kept.append(effect)
        return None

    def crashed(self, actor: Actor[Any, Any], message: Question, error: Exception) -> None:
        if message.kind == "crash" and actor.name == "polite":
            message.reply.set("sorry")

    def gave_up(self, actor: Actor[Any, Any], error: Exception) -> None:
        pass


def make(name: str = "a", bound: int = 2) -> tuple[Actor[int, Question], Booth]:
    booth = Booth()
    return Actor(name, 0, Oracle(), booth, bound), booth


def question(kind: str) -> Any:
    return lambda reply: Question(kind, reply)


async def test_an_answer_given_in_the_turn_is_returned() -> None:
    actor, _ = make()
    assert await actor.ask(question("answer"), 1.0) == "yes"
    assert actor.statistics().asking == 0


async def test_an_answer_given_later_wakes_the_asker() -> None:
    actor, booth = make()
    async with anyio.create_task_group() as group:

        async def answer() -> None:
            assert booth.kept[0].reply.set(42)

        async def ask() -> None:
            assert await actor.ask(question("keep"), 1.0) == 42

        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert actor.statistics().asking == 1
        group.start_soon(answer)


async def test_no_answer_by_the_deadline_raises_and_a_late_one_reaches_nobody() -> None:
    actor, booth = make()
    with pytest.raises(DeadlinePassed):
        await actor.ask(question("keep"), 0.01)
    assert booth.kept[0].reply.answered
    assert not booth.kept[0].reply.set("late")
    assert actor.statistics().asking == 0


async def test_the_first_answer_wins() -> None:
    reply = Reply()
    assert [reply.set(1), reply.set(2), reply.fail(ValueError())] == [True, False, False]
    assert await reply.wait(1.0) == 1


async def test_a_failed_reply_raises_in_the_asker() -> None:
    actor, _ = make()
    with pytest.raises(PermissionError, match="no"):
        await actor.ask(question("refuse"), 1.0)


async def test_a_crash_of_the_turn_reaches_its_asker_at_once_with_the_cause() -> None:
    actor, _ = make()
    with pytest.raises(TurnCrashed) as caught:
        await actor.ask(question("crash"), 3600.0)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_crash_is_no_concern_of_other_askers() -> None:
    actor, booth = make()
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await actor.ask(question("keep"), 3600.0))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TurnCrashed):
            await actor.ask(question("crash"), 3600.0)
        booth.kept[0].reply.set("still there")
    assert answers == ["still there"]


async def test_what_the_stage_answers_to_a_crash_comes_first() -> None:
    actor, _ = make("polite")
    assert await actor.ask(question("crash"), 1.0) == "sorry"


async def test_a_full_mailbox_refuses_the_question() -> None:
    actor, booth = make(bound=1)
    actor.tell(Question("pause", Reply()))
    actor.tell(Question("answer", Reply()))
    with pytest.raises(MailboxFull):
        await actor.ask(question("answer"), 1.0)
    actor.resume()
    assert await actor.ask(question("answer"), 1.0) == "yes"
    assert len(booth.kept) == 1


async def test_replies_that_are_awaited_are_bounded_like_messages() -> None:
    actor, _ = make(bound=2)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(actor.ask, question("keep"), 3600.0)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            await actor.ask(question("answer"), 1.0)
        assert actor.statistics()[2:] == (2, 2, 1)
        group.cancel_scope.cancel()
    assert actor.statistics().asking == 0


@pytest.mark.parametrize("kind", ["keep", "pause"])
async def test_a_stop_tells_whoever_waits(kind: str) -> None:
    actor, _ = make()
    raised: list[str] = []

    async def ask(kind: str) -> None:
        with pytest.raises(ActorStopped):
            await actor.ask(question(kind), 3600.0)
        raised.append(kind)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, kind)
        group.start_soon(ask, "keep")
        await anyio.wait_all_tasks_blocked()
        actor.stop()
    assert sorted(raised) == sorted([kind, "keep"])
    with pytest.raises(ActorStopped):
        await actor.ask(question("answer"), 1.0)


async def test_an_asker_that_is_cancelled_leaves_no_trace() -> None:
    actor, _ = make()
    with anyio.move_on_after(0.01) as scope:
        await actor.ask(question("keep"), 3600.0)
    assert scope.cancelled_caught
    assert actor.statistics().asking == 0


async def test_a_task_can_carry_a_paused_turn_on() -> None:
    actor, booth = make()

    async def work(value: int) -> int:
        await anyio.sleep(0.001)
        return value

    actor.tell(Question("pause", Reply()))
    await carry(actor, work, 7)
    assert (actor.busy, actor.state, len(booth.kept)) == (False, 1, 1)


async def test_a_task_that_fails_or_is_cancelled_crashes_the_turn_it_carries() -> None:
    errors: list[Exception] = []

    class Listening(Booth):
        def crashed(self, actor: Actor[Any, Any], message: Question, error: Exception) -> None:
            errors.append(error)

    actor: Actor[int, Question] = Actor("a", 0, Oracle(), Listening(), 2)

    async def fails() -> None:
        raise OSError

    actor.tell(Question("pause", Reply()))
    await carry(actor, fails)
    actor.tell(Question("pause", Reply()))
    with anyio.move_on_after(0.01):
        await carry(actor, anyio.sleep_forever)
    assert [type(error) for error in errors] == [OSError, TurnCancelled]
    assert (actor.busy, actor.state) == (False, 0)

"""Truths of a turn: order, pauses, what a crash undoes and whom it touches."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from supervisors.actor import CRASHES_MAX, PAUSE, Actor, Decision, Later, NotPaused, Pause
from supervisors.policy import Intensity


class Send(Struct, frozen=True):
    """Done at once."""

    text: str


class Append(Later, frozen=True):
    """Pauses until the test resumes."""

    text: str


class Call(Struct, frozen=True):
    """Does whatever it says, inside perform."""

    do: Callable[[Actor[Any, Any]], Pause | None]


Script = tuple[Any, ...]  # a message of these tests: the effects of its turn, in order; an exception raises in decide


class Scripted:
    """The state is the messages' count; the message says which effects follow."""

    def decide(self, state: int, message: Script) -> Decision[int]:
        if message and isinstance(message[0], Exception):
            raise message[0]
        return Decision(state + 1, message)


class Recorder:
    """A stage that notes everything, pauses on Append, and never completes by itself."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.crashes: list[tuple[int, Any, Exception]] = []
        self.given_up: list[Exception] = []

    def perform(self, actor: Actor[int, Script], effect: Any) -> Pause | None:
        if isinstance(effect, Call):
            return effect.do(actor)
        self.done.append(effect.text)
        return PAUSE if isinstance(effect, Append) else None

    def crashed(self, actor: Actor[int, Script], message: Script, error: Exception) -> None:
        self.crashes.append((actor.state, message, error))

    def gave_up(self, actor: Actor[int, Script], error: Exception) -> None:
        self.given_up.append(error)


def make(
    bound: int = 8, intensity: Intensity = CRASHES_MAX, clock: Callable[[], float] = lambda: 0.0
) -> tuple[Actor[int, Script], Recorder]:
    stage = Recorder()
    return Actor("a", 0, Scripted(), stage, bound, intensity=intensity, clock=clock), stage


def raising(error: Exception) -> Call:
    def do(_: Actor[Any, Any]) -> None:
        raise error

    return Call(do)


def test_an_idle_actor_runs_the_turn_before_tell_returns() -> None:
    actor, stage = make()
    assert actor.tell((Send("1"), Send("2")))
    assert (stage.done, actor.state, actor.busy) == (["1", "2"], 1, False)


def test_a_pause_holds_back_the_rest_of_the_turn_and_every_later_message() -> None:
    actor, stage = make()
    actor.tell((Append("page"), Send("answer 1")))
    assert actor.tell((Send("answer 2"),))
    assert (stage.done, actor.busy) == (["page"], True)
    actor.resume()
    assert (stage.done, actor.busy) == (["page", "answer 1", "answer 2"], False)


def test_a_full_mailbox_refuses_while_a_turn_is_unfinished() -> None:
    actor, stage = make(bound=1)
    actor.tell((Append("page"),))
    assert [actor.tell((Send("in"),)), actor.tell((Send("out"),))] == [True, False]
    actor.resume()
    assert stage.done == ["page", "in"]
    assert actor.statistics().mailbox.refusals == 1


def test_then_sees_the_value_and_the_turns_state_and_its_effects_come_before_the_rest() -> None:
    actor, stage = make()

    def then(state: int, value: str) -> Decision[int]:
        return Decision(state + 10, (Send(f"then {state} {value}"),))

    actor.tell((Append("page", then=then), Send("rest")))
    actor.resume("v")
    assert (stage.done, actor.state) == (["page", "then 1 v", "rest"], 11)


def test_then_runs_with_none_when_the_effect_did_not_pause() -> None:
    class Now(Later, frozen=True):
        text: str

    actor, stage = make()
    actor.tell((Now("now", then=lambda state, value: Decision(state, (Send(f"then {value}"),))),))
    assert stage.done == ["now", "then None"]


def test_a_then_may_pause_again_and_go_on_with_another_then() -> None:
    actor, stage = make()
    second = Append("second", then=lambda state, value: Decision(state * value, (Send("end"),)))
    first = Append("first", then=lambda state, value: Decision(state + value, (second,)))
    actor.tell((first, Send("rest")))
    actor.resume(4)
    assert actor.busy
    actor.resume(10)
    assert (stage.done, actor.state, actor.busy) == (["first", "second", "end", "rest"], 50, False)


def test_perform_may_resume_before_it_returns() -> None:
    actor, stage = make()

    def at_once(a: Actor[Any, Any]) -> Pause:
        a.resume("v")
        return PAUSE

    actor.tell((Call(at_once), Send("rest")))
    assert (stage.done, actor.busy) == (["rest"], False)


def test_perform_may_fail_before_it_returns() -> None:
    actor, stage = make()
    error = LookupError()

    def at_once(a: Actor[Any, Any]) -> Pause:
        a.fail(error)
        return PAUSE

    actor.tell((Call(at_once), Send("never")))
    assert (stage.done, actor.state, actor.busy) == ([], 0, False)
    assert stage.crashes[0][2] is error


def test_what_an_actor_tells_itself_comes_after_the_turn() -> None:
    actor, stage = make()

    def tell_itself(a: Actor[Any, Any]) -> None:
        assert a.tell((Send("later"),))

    actor.tell((Call(tell_itself), Send("now")))
    assert stage.done == ["now", "later"]


def test_ten_thousand_queued_messages_do_not_deepen_the_stack() -> None:
    """Also when each of them crashes or resumes within perform."""
    actor, stage = make(bound=10_000, intensity=Intensity(10_000, 60.0))

    def at_once(a: Actor[Any, Any]) -> Pause:
        a.resume()
        return PAUSE

    actor.tell((Append("page"),))
    kinds: list[Script] = [(Send("x"),), (Call(at_once),), (ValueError(),), (raising(ValueError()),)]
    for number in range(10_000):
        assert actor.tell(kinds[number % 4])
    actor.resume()
    assert (actor.state, len(stage.crashes), actor.busy) == (5_001, 5_000, False)


CRASHES: list[tuple[str, Script]] = [
    ("in decide", (ValueError("bug"),)),
    ("in the first perform", (raising(ValueError("bug")), Send("never"))),
    ("in a later perform", (Send("a fact"), raising(ValueError("bug")), Send("never"))),
    ("in then", (Append("page", then=lambda state, value: [][0]), Send("never"))),
    ("in the stage, in an effect of then", (Append("page", then=lambda s, v: Decision(99, (raising(ValueError("bug")),))),)),
    ("after a pause", (Append("page"), raising(ValueError("bug")), Send("never"))),
]


@pytest.mark.parametrize("message", [message for _, message in CRASHES], ids=[name for name, _ in CRASHES])
def test_a_crash_anywhere_restores_the_state_and_the_next_message_is_handled(message: Script) -> None:
    actor, stage = make()
    actor.tell((Send("before"),))
    actor.tell(message)
    actor.tell((Send("after"),))
    if actor.busy:
        actor.resume()
    assert [(state, asked) for state, asked, _ in stage.crashes] == [(1, message)]
    assert "never" not in stage.done
    assert stage.done[-1] == "after"
    assert (actor.state, actor.busy, actor.statistics().crashes) == (2, False, 1)


def test_a_failed_effect_crashes_the_turn_with_its_error() -> None:
    actor, stage = make()
    actor.tell((Append("page"), Send("never")))
    actor.tell((Send("next"),))
    error = OSError("no disk")
    actor.fail(error)
    assert stage.crashes[0][2] is error
    assert (stage.done, actor.state) == (["page", "next"], 1)


def test_one_crash_too_many_in_the_window_stops_the_actor_and_tells() -> None:
    actor, stage = make(intensity=Intensity(2, 60.0))
    errors = [ValueError(str(n)) for n in range(3)]
    for error in errors:
        actor.tell((error,))
    assert actor.stopped
    assert stage.given_up == [errors[2]]
    assert len(stage.crashes) == 3  # the last message was answered too
    assert not actor.tell((Send("never"),))
    assert stage.done == []


def test_crashes_that_are_far_apart_are_forgiven() -> None:
    moments = iter([0.0, 100.0, 200.0, 300.0])
    actor, stage = make(intensity=Intensity(1, 60.0), clock=lambda: next(moments))
    for _ in range(4):
        actor.tell((ValueError(),))
    assert (actor.stopped, stage.given_up) == (False, [])


def test_a_stage_that_raises_while_told_of_a_crash_costs_the_actor_and_not_its_caller() -> None:
    class Broken(Recorder):
        def crashed(self, actor: Actor[int, Script], message: Script, error: Exception) -> None:
            raise RuntimeError("broken")

    stage = Broken()
    actor: Actor[int, Script] = Actor("a", 0, Scripted(), stage, 8)
    assert actor.tell((ValueError(),))
    assert actor.stopped
    assert [str(error) for error in stage.given_up] == ["broken"]


def test_a_stage_may_stop_the_actor_when_told_of_a_crash() -> None:
    class Strict(Recorder):
        def crashed(self, actor: Actor[int, Script], message: Script, error: Exception) -> None:
            actor.stop()

    stage = Strict()
    actor: Actor[int, Script] = Actor("a", 7, Scripted(), stage, 8)
    actor.tell((raising(ValueError()),))
    assert (actor.stopped, actor.state, stage.given_up) == (True, 7, [])


def test_a_stop_undoes_the_unfinished_turn_refuses_what_waits_and_ignores_late_completions() -> None:
    actor, stage = make()
    actor.tell((Append("page"), Send("never")))
    actor.tell((Send("never"),))
    actor.stop()
    actor.stop()
    actor.resume("late")
    actor.fail(ValueError("late"))
    assert (stage.done, actor.state, actor.busy, actor.stopped) == (["page"], 0, False, True)
    assert actor.statistics().mailbox.refusals == 1
    assert stage.crashes == []


def test_a_stop_inside_a_turn_ends_it_there() -> None:
    actor, stage = make()
    actor.tell((Send("1"), Call(lambda a: a.stop()), Send("never")))
    assert (stage.done, actor.stopped, actor.state) == (["1"], True, 0)


@pytest.mark.parametrize("complete", [lambda a: a.resume(), lambda a: a.fail(ValueError())], ids=["resume", "fail"])
def test_a_second_completion_is_the_fault_of_whoever_makes_it(complete: Callable[[Actor[Any, Any]], None]) -> None:
    actor, stage = make()
    actor.tell((Append("page"),))
    actor.resume()
    with pytest.raises(NotPaused):
        complete(actor)
    assert (stage.crashes, actor.state) == ([], 1)


def test_what_ends_the_process_stops_the_actor_and_is_not_swallowed() -> None:
    actor, _ = make()

    def interrupt(_: Actor[Any, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        actor.tell((Call(interrupt),))
    assert (actor.stopped, actor.state) == (True, 0)


def test_an_idle_actor_keeps_neither_its_last_message_nor_the_state_before_it() -> None:
    actor, _ = make()
    actor.tell((Append("page"),))
    actor.resume()
    assert (actor._message, actor._before, actor._effects) == (None, None, ())

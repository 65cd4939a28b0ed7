"""What the CSMS asks of a charger: one call at a time, in order, each answered or told why not."""

import json
from typing import Any

import pytest
import trio
import trio.testing
from harness import Bench, Wire, boot

from cpms_actors.bus import commands
from cpms_actors.bus.commands import CallAnswer
from cpms_actors.charger import charger
from cpms_actors.domain.access import ChargerRecord


async def call(
    bench: Bench, answers: list[CallAnswer], action: str = "Reset", payload: bytes = b'{"type":"Soft"}', s: float = 30
) -> None:
    answers.append(await bench.charger.call(action, payload, s))


def answer(wire: Wire, payload: Any, at: int = -1) -> None:
    """The charger answers the call that it was sent."""
    wire.line.on_text(json.dumps([3, wire.sent[at][1], payload]).encode())


@pytest.mark.trio
async def test_a_call_is_sent_and_its_answer_told(autojump_clock: Any) -> None:
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, bench, answers)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.sent == [[2, "ours0", "Reset", {"type": "Soft"}]]
        answer(wire, {"status": "Accepted"})
    assert answers == [CallAnswer("result", b'{"status": "Accepted"}')]


@pytest.mark.trio
async def test_calls_go_out_one_at_a_time_in_order(autojump_clock: Any) -> None:
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect()
    async with trio.open_nursery() as nursery:
        for kind in ("Soft", "Hard"):
            nursery.start_soon(call, bench, answers, "Reset", json.dumps({"type": kind}).encode())
            await trio.testing.wait_all_tasks_blocked()
        assert len(wire.sent) == 1
        answer(wire, {"status": "Accepted"})
        await trio.testing.wait_all_tasks_blocked()
        assert [frame[3]["type"] for frame in wire.sent] == ["Soft", "Hard"]
        answer(wire, {"status": "Rejected"})
    assert [json.loads(a.payload)["status"] for a in answers] == ["Accepted", "Rejected"]


@pytest.mark.trio
async def test_a_charger_that_does_not_answer_costs_its_caller_the_deadline_and_the_next_call_goes_out(autojump_clock: Any) -> None:
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect()
    await call(bench, answers, s=10)
    assert trio.current_time() == pytest.approx(10, abs=0.1)
    assert (answers[0].kind, answers[0].code) == ("failed", commands.TIMEOUT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, bench, answers)
        await trio.testing.wait_all_tasks_blocked()
        answer(wire, {"status": "Accepted"}, at=0)  # the late answer to the first belongs to nobody
        await trio.testing.wait_all_tasks_blocked()
        assert len(answers) == 1
        answer(wire, {"status": "Rejected"})
    assert answers[1].payload == b'{"status": "Rejected"}'


@pytest.mark.trio
async def test_when_the_charger_leaves_every_waiting_call_is_told_at_once(autojump_clock: Any) -> None:
    """citrineos#223: a station that leaves with a call outstanding."""
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call, bench, answers)
        await trio.testing.wait_all_tasks_blocked()
        wire.hang_up()
    assert trio.current_time() < 1
    assert [a.code for a in answers] == [commands.DISCONNECTED] * 3


@pytest.mark.trio
async def test_a_call_error_is_told_with_code_and_details(autojump_clock: Any) -> None:
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, bench, answers)
        await trio.testing.wait_all_tasks_blocked()
        wire.line.on_text(json.dumps([4, wire.sent[-1][1], "NotSupported", "no", {"a": 1}]).encode())
    assert answers == [CallAnswer("error", b'{"a": 1}', "NotSupported", "no")]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("version", "complaint"), [("1.6", None), ("2.0.1", None), ("2.1", [5, "ours0", "PropertyConstraintViolation"])]
)
async def test_a_bad_result_is_complained_about_in_2_1_only(version: str, complaint: Any, autojump_clock: Any) -> None:
    """2.1 part 4, 4.2.4; before, nothing may be sent."""
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect(version)
    async with trio.open_nursery() as nursery:
        payload = b'{"type":"Soft"}' if version == "1.6" else b'{"type":"Immediate"}'
        nursery.start_soon(call, bench, answers, "Reset", payload)
        await trio.testing.wait_all_tasks_blocked()
        sent = len(wire.sent)
        answer(wire, {"status": "Perhaps"})
    assert (answers[0].kind, answers[0].code) == ("failed", commands.INVALID_ANSWER)
    assert [frame[:3] for frame in wire.sent[sent:]] == ([complaint] if complaint else [])


@pytest.mark.trio
@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("MakeCoffee", b"{}", commands.UNKNOWN_ACTION),
        ("Heartbeat", b"{}", commands.UNKNOWN_ACTION),
        ("Reset", b'{"type":"Gently"}', commands.INVALID_PAYLOAD),
        ("Reset", b"nonsense", commands.INVALID_PAYLOAD),
    ],
)
async def test_a_call_that_the_charger_could_not_take_is_never_sent(action: str, payload: bytes, code: str) -> None:
    bench, answers = Bench(), list[CallAnswer]()
    wire = bench.connect()
    await call(bench, answers, action, payload)
    assert (answers[0].kind, answers[0].code, wire.sent) == ("failed", code, [])


@pytest.mark.trio
async def test_a_charger_without_a_connection_cannot_be_called() -> None:
    bench, answers = Bench(), list[CallAnswer]()
    await call(bench, answers)
    assert answers[0].code == commands.NOT_CONNECTED


@pytest.mark.trio
@pytest.mark.parametrize(
    ("policy", "action", "payload", "allowed"),
    [
        ("Pending", "RemoteStartTransaction", b'{"idTag":"T"}', False),
        ("Pending", "GetConfiguration", b"{}", True),
        ("Rejected", "GetConfiguration", b"{}", False),
        ("Rejected", "TriggerMessage", b'{"requestedMessage":"BootNotification"}', True),
        ("Pending", "TriggerMessage", b'{"requestedMessage":"BootNotification"}', True),
    ],
)
async def test_before_acceptance_only_some_calls_are_allowed(
    policy: Any, action: str, payload: bytes, allowed: bool, autojump_clock: Any
) -> None:
    """1.6 4.2; 2.0.1 part 6 TC_B_30, TC_B_31."""
    bench, answers = Bench(record=ChargerRecord("default", "CP1", boot=policy)), list[CallAnswer]()
    bench.connect().call("BootNotification", boot("1.6"))
    await call(bench, answers, action, payload, 1)
    assert answers[0].code == (commands.TIMEOUT if allowed else commands.NOT_ALLOWED)


@pytest.mark.trio
async def test_waiting_calls_are_bounded(autojump_clock: Any) -> None:
    bench, answers = Bench(commands_max=2), list[CallAnswer]()
    bench.connect()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call, bench, answers, "Reset", b'{"type":"Soft"}', 5)
    assert sorted(a.code for a in answers) == [commands.BUSY, commands.TIMEOUT, commands.TIMEOUT]


@pytest.mark.trio
async def test_at_debug_an_answer_to_a_call_of_ours_is_one_line_and_otherwise_none(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(charger.log, "debug", lambda event, **bound: lines.append((event, bound)), raising=False)
    for debug in (False, True):
        monkeypatch.setattr(charger.logs, "debug_on", debug)
        bench, answers = Bench(), list[CallAnswer]()
        wire = bench.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, bench, answers)
            await trio.testing.wait_all_tasks_blocked()
            answer(wire, {"status": "Accepted"})
    said = {"tenant": "default", "charger": "CP1", "message_id": "ours0", "action": "Reset", "error": None}
    assert [line for line in lines if line[0] == "answered"] == [("answered", said)]


@pytest.mark.trio
async def test_a_worker_sends_no_more_calls_than_its_rate_and_the_others_wait_for_their_turn(autojump_clock: Any) -> None:
    """The charger answers each at once: only the rate holds them up."""
    bench, answers = Bench(commands_per_s=10, commands_max=100), list[CallAnswer]()
    wire, sent_at = bench.connect(), list[float]()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(call, bench, answers)
        while len(answers) < 40:
            await trio.testing.wait_all_tasks_blocked()
            if len(wire.sent) > len(sent_at):
                sent_at.append(trio.current_time() - began)
                answer(wire, {"status": "Accepted"})
            else:
                await trio.sleep(0.01)
    assert [a.kind for a in answers] == ["result"] * 40
    assert sent_at[9] < 0.2  # the burst
    assert 2.9 < sent_at[-1] < 3.5
    assert all(late - early > 0.9 for early, late in zip(sent_at[9:], sent_at[19:], strict=False))
    assert (bench.office.counters.calls_delayed, bench.office.counters.calls_over_rate) == (30, 0)


@pytest.mark.trio
async def test_a_call_whose_turn_would_come_after_its_deadline_is_told_at_once(autojump_clock: Any) -> None:
    bench, answers = Bench(commands_per_s=1), list[CallAnswer]()
    wire = bench.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, bench, answers)
        await trio.testing.wait_all_tasks_blocked()
        answer(wire, {"status": "Accepted"})
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        await call(bench, answers, s=0.5)
        assert trio.current_time() - before < 0.1
    assert [a.code for a in answers] == ["", commands.BUSY]
    assert "1 calls a second" in answers[1].text
    assert len(wire.sent) == 1
    assert (bench.office.counters.calls_over_rate, bench.office.counters.calls_failed) == (1, 1)


@pytest.mark.trio
async def test_without_a_rate_nothing_is_held_up(autojump_clock: Any) -> None:
    bench, answers = Bench(commands_per_s=0, commands_max=1000), list[CallAnswer]()
    wire = bench.connect()
    async with trio.open_nursery() as nursery:
        for _ in range(600):
            nursery.start_soon(call, bench, answers)
        for _ in range(600):
            await trio.testing.wait_all_tasks_blocked()
            answer(wire, {"status": "Accepted"})
    assert trio.current_time() < 1
    assert len(answers) == 600

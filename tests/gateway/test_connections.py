"""The books of an engine: bounds, counts, and what a door may do."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.connections import Connections
from cpms_actors.gateway.engine import Admitted, Connection, Head, Limits, Refused, close_reason
from cpms_actors.gateway.gates import MESSAGES_BURST_S
from cpms_actors.observe.counters import Counters

HEAD = Head(b"/ocpp/CP1")


class Deaf:
    def on_open(self, connection: Connection) -> None: ...
    def on_text(self, text: bytes) -> None: ...
    def on_closed(self, code: int, reason: str) -> None: ...


class Peer:
    heard = True
    silent = 0
    spoke = 0
    budget = 0
    paid_until = 0.0
    reading = True

    def ping(self) -> None: ...
    def drop(self) -> None: ...
    def hold(self) -> None:
        self.reading = False

    def release(self) -> None:
        self.reading = True

    def descriptor(self) -> int:
        return -1  # nobody's


def books(
    counters: Counters,
    answer: Admitted | Refused | Exception | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    **limits: int,
) -> Connections[Peer]:
    def enter(head: Head) -> Admitted | Refused:
        if isinstance(answer, Exception):
            raise answer
        return answer or Admitted(Deaf(), "ocpp1.6")

    gateway = Limits.of(Gateway())
    bounds = {"connections": 2, "openings": 2} | limits
    changed = Limits(**{name: bounds.get(name, getattr(gateway, name)) for name in gateway.__struct_fields__})
    return Connections(enter, changed, counters, lambda: 0.5, clock)


def test_limits_come_from_the_settings() -> None:
    limits = Limits.of(Gateway(frame_bytes_max=3, message_bytes_max=2, outbound_bytes_max=3, connections_max=4, handshake_s=5))
    assert (limits.frame_bytes, limits.message_bytes, limits.outbound_bytes) == (2, 2, 3)
    assert (limits.connections, limits.handshake_s, limits.ping_interval_s, limits.pong_deadline_s) == (4, 5, 55, 20)


def test_the_bound_of_open_connections_is_kept_and_refusals_counted() -> None:
    counters = Counters()
    kept = books(counters)
    peers = [Peer(), Peer()]
    for peer in peers:
        assert isinstance(kept.answer(HEAD), Admitted)
        kept.opened(peer)
    refused = kept.answer(HEAD)
    assert refused == Refused(503, "no room, try again later", (("Retry-After", "17"),))
    kept.closed(peers[0], 1000)
    assert isinstance(kept.answer(HEAD), Admitted)
    numbers = counters.snapshot()
    assert (numbers["gateway.open"], numbers["gateway.open.peak"], numbers["gateway.open.refused"]) == (1, 2, 1)
    assert (numbers["gateway.refused.503"], numbers["gateway.closed.1000"]) == (1, 1)


def test_the_bound_of_unfinished_handshakes_is_kept() -> None:
    counters = Counters()
    kept = books(counters)
    assert (kept.arrive(), kept.arrive(), kept.arrive()) == (True, True, False)
    kept.depart(answered=True)
    kept.depart(answered=False)
    assert kept.arrive()
    numbers = counters.snapshot()
    assert (numbers["gateway.opening"], numbers["gateway.opening.refused"], numbers["gateway.unanswered"]) == (1, 1, 1)


def test_the_gates_refuse_before_the_door_is_asked() -> None:
    counters = Counters()
    kept = books(counters, RuntimeError("asked"), admissions_per_s=1, connections=1)
    assert kept.answer(HEAD) == Refused(500, "internal error")
    assert kept.answer(HEAD) == Refused(503, "no room, try again later", (("Retry-After", "10"),))
    numbers = counters.snapshot()
    assert (numbers["gateway.gate.rate"], numbers["gateway.refused.503"], numbers["gateway.faults"]) == (1, 1, 1)


def test_a_charger_that_goes_without_a_word_is_held_off_and_its_neighbour_is_not() -> None:
    counters = Counters()
    kept = books(counters, flaps_max=2)
    for _ in range(2):
        admitted = kept.answer(HEAD)
        assert isinstance(admitted, Admitted)
        admitted.receiver.on_closed(1006, "")
    assert kept.answer(HEAD) == Refused(503, "too many short connections, try again later", (("Retry-After", "2"),))
    assert isinstance(kept.answer(Head(b"/ocpp/CP2")), Admitted)
    assert counters.snapshot()["gateway.gate.flapping"] == 1


def test_a_charger_that_offers_no_subprotocol_of_ours_flaps() -> None:
    kept = books(Counters(), Admitted(Deaf(), None), flaps_max=1)
    assert isinstance(kept.answer(HEAD), Admitted)
    assert isinstance(kept.answer(HEAD), Refused)


@pytest.mark.parametrize("refused", [Refused(401, "no"), RuntimeError("bug")])
def test_who_is_not_let_in_can_hold_nobody_off(refused: Refused | Exception) -> None:
    kept = books(Counters(), refused, flaps_max=1)
    assert all(isinstance(answer, Refused) and answer.status != 503 for answer in (kept.answer(HEAD) for _ in range(10)))


@pytest.mark.parametrize(("status", "name"), [(404, "gateway.refused.404"), (418, "gateway.refused.other")])
def test_refusals_are_counted_by_status(status: int, name: str) -> None:
    counters = Counters()
    assert books(counters, Refused(status, "no")).answer(HEAD) == Refused(status, "no")
    assert counters.snapshot()[name] == 1


@pytest.mark.parametrize(("code", "name"), [(1006, "gateway.closed.1006"), (4999, "gateway.closed.other")])
def test_ends_are_counted_by_code_and_a_peer_cannot_make_names(code: int, name: str) -> None:
    counters = Counters()
    kept, peer = books(counters), Peer()
    kept.opened(peer)
    kept.closed(peer, code)
    assert counters.snapshot()[name] == 1


def test_a_door_that_raises_refuses_with_500() -> None:
    """The text of the exception stays here."""
    counters = Counters()
    assert books(counters, RuntimeError("secret")).answer(HEAD) == Refused(500, "internal error")
    assert counters.snapshot()["gateway.faults"] == 1


def test_emptied_is_told_when_the_last_has_gone() -> None:
    kept, peers, told = books(Counters()), [Peer(), Peer()], []
    kept.emptied = lambda: told.append(len(kept))
    for peer in peers:
        kept.opened(peer)
    for peer in peers:
        assert told == []
        kept.closed(peer, 1000)
    assert told == [0]


@pytest.mark.parametrize(("reason", "kept"), [("", 0), ("x" * 123, 123), ("x" * 200, 123), ("€" * 60, 41)])
def test_a_reason_is_cut_to_fit_a_close_frame(reason: str, kept: int) -> None:
    assert close_reason(reason) == reason[:kept]


# Messages of one connection


def speak(kept: Connections[Peer], peer: Peer, messages: int = 1) -> None:
    """As the engines count."""
    for _ in range(messages):
        peer.budget -= 1
        if not peer.budget:
            kept.spent(peer)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), max_size=60), st.integers(1, 50), st.floats(0, 1e7))
def test_whatever_a_charger_sends_it_is_heard_no_faster_than_the_rate_after_a_burst_and_not_held_for_longer(
    sends: list[tuple[float, int]], rate: int, now: float
) -> None:
    """It sends only while it is read from; the probe comes every tenth of a second."""
    at = [now]
    kept, peer = books(Counters(), clock=lambda: at[0], messages_per_s=rate), Peer()
    peer.budget = rate
    kept.opened(peer)
    heard = 0
    for pause_s, messages in sends:
        at[0] += pause_s
        kept.probe()
        for _ in range(messages):
            held_s = 0.0
            while not peer.reading:
                at[0] += 0.1
                held_s += 0.1
                kept.probe()
            assert held_s <= 1.2
            speak(kept, peer)
            heard += 1
            assert heard <= rate * (at[0] - now + MESSAGES_BURST_S + 1.0) + 1


def test_a_charger_that_keeps_to_the_rate_is_never_held() -> None:
    at, counters = [100.0], Counters()
    kept, peer = books(counters, clock=lambda: at[0], messages_per_s=10), Peer()
    peer.budget = 10
    kept.opened(peer)
    for _ in range(10_000):
        at[0] += 0.1
        speak(kept, peer)
    assert peer.reading
    assert counters.snapshot()["gateway.gate.messages"] == 0


def test_a_held_charger_is_counted_once_counts_as_heard_and_is_read_from_when_its_time_has_come() -> None:
    at, counters = [100.0], Counters()
    kept, peer = books(counters, clock=lambda: at[0], messages_per_s=10), Peer()
    peer.budget = 10
    kept.opened(peer)
    speak(kept, peer, 230)  # the last of them had been read already
    assert not peer.reading
    peer.heard = False
    at[0] += 2.9
    kept.probe()
    assert peer.heard
    assert not peer.reading
    at[0] += 0.2
    kept.probe()
    assert peer.reading
    numbers = counters.snapshot()
    assert (numbers["gateway.gate.messages"], numbers["gateway.held"], numbers["gateway.held.peak"]) == (1, 0, 1)


@pytest.mark.parametrize(
    "go", [lambda kept, peer: kept.closed(peer, 1006), lambda kept, peer: kept.moved(peer)], ids=["closed", "to another worker"]
)
def test_a_held_charger_that_goes_is_forgotten(go: Callable[[Connections[Peer], Peer], None]) -> None:
    counters = Counters()
    kept, peer = books(counters, clock=lambda: 0.0, messages_per_s=1), Peer()
    peer.budget = 1
    kept.opened(peer)
    speak(kept, peer, 30)
    assert counters.snapshot()["gateway.held"] == 1
    go(kept, peer)
    kept.probe()
    assert counters.snapshot()["gateway.held"] == 0
    assert not peer.reading


def test_without_a_limit_nobody_is_held() -> None:
    kept, peer = books(Counters(), clock=lambda: 0.0, messages_per_s=0), Peer()
    kept.opened(peer)
    speak(kept, peer, 100_000)
    assert peer.reading

"""Pings and deadlines, in rounds: no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.gateway.pings import Rounds, Wheel


class Peer:
    """Remembers at which visit it was pinged and dropped."""

    def __init__(self) -> None:
        self.heard = True
        self.silent = 0
        self.spoke = 0
        self.visits = 0
        self.pinged: list[int] = []
        self.dropped: list[int] = []

    def ping(self) -> None:
        self.pinged.append(self.visits)

    def drop(self) -> None:
        self.dropped.append(self.visits)

    def visited(self, rounds: Rounds, times: int = 1, chance: float = 0.0) -> "Peer":
        for _ in range(times):
            self.visits += 1
            rounds.visit(self, lambda: chance)
        return self


DEADLINES = st.tuples(st.floats(0.1, 300), st.floats(0.1, 300), st.floats(0, 0.999))


@given(DEADLINES)
def test_a_silent_peer_is_pinged_once_by_the_interval_and_dropped_at_the_deadline(case: tuple[float, float, float]) -> None:
    interval_s, deadline_s, chance = case
    rounds = Rounds.of(interval_s, deadline_s)
    peer = Peer().visited(rounds, 1 + rounds.drop_after, chance)
    assert len(peer.pinged) == 1
    # Heard just before the first visit at the earliest, a whole round before it at the latest.
    assert (peer.pinged[0] - 1 + 1) * rounds.round_s <= interval_s * 1.0001
    waited_s = (peer.dropped[0] - peer.pinged[0]) * rounds.round_s
    assert deadline_s * 0.9999 <= waited_s <= deadline_s + rounds.round_s * 1.0001


@given(DEADLINES, st.lists(st.booleans(), max_size=200))
def test_a_peer_is_dropped_only_after_a_ping_and_silence(case: tuple[float, float, float], frames: list[bool]) -> None:
    interval_s, deadline_s, chance = case
    rounds, peer, quiet = Rounds.of(interval_s, deadline_s), Peer(), 0
    for heard in frames:
        peer.heard |= heard
        quiet = 0 if heard else quiet + 1
        peer.visited(rounds, 1, chance)
        if peer.dropped:
            assert peer.pinged
            assert quiet >= rounds.drop_after - rounds.ping_after
            return


@pytest.mark.parametrize("visits", range(1, 60))
def test_any_frame_starts_the_count_again(visits: int) -> None:
    rounds = Rounds.of(55.0, 20.0)
    peer = Peer().visited(rounds, min(visits, rounds.drop_after))
    peer.heard = True
    peer.pinged.clear()
    peer.visited(rounds, rounds.ping_after)
    assert (peer.pinged, peer.dropped) == ([], [])


def test_the_defaults_in_seconds() -> None:
    """Ping after 40 to 55 s of silence, drop 20 s later, 50 ticks a second at most, each over a fraction of all."""
    rounds = Rounds.of(55.0, 20.0)
    assert (rounds.round_s, rounds.spokes, rounds.tick_s) == (2.5, 50, 0.05)
    assert (rounds.ping_after - rounds.jitter) * rounds.round_s == 40.0
    assert (rounds.ping_after + 1) * rounds.round_s == 55.0
    assert (rounds.drop_after - rounds.ping_after) * rounds.round_s == 20.0


def test_jitter_spreads_the_pings_of_a_fleet_that_connected_at_once() -> None:
    rounds = Rounds.of(55.0, 20.0)
    fleet = [Peer().visited(rounds, 1, number / 100).visited(rounds, rounds.ping_after) for number in range(100)]
    moments = [peer.pinged[0] for peer in fleet]
    assert len(set(moments)) == rounds.jitter + 1
    assert max(moments.count(moment) for moment in set(moments)) <= 100 / rounds.jitter


@given(DEADLINES, st.floats(0.01, 20))
def test_the_doomed_are_dropped_without_a_ping(case: tuple[float, float, float], deadline_s: float) -> None:
    rounds, peer = Rounds.of(*case[:2]), Peer()
    rounds.doom(peer, deadline_s)
    peer.visited(rounds, rounds.drop_after)
    assert peer.pinged == []
    certain_s = min(deadline_s, case[1] - rounds.round_s) - rounds.round_s  # the first visit may come at once
    assert peer.dropped[0] * rounds.round_s >= certain_s * 0.9999
    assert (peer.dropped[0] - 2) * rounds.round_s <= deadline_s * 1.0001


def test_a_doomed_peer_that_is_heard_is_saved() -> None:
    rounds, peer = Rounds.of(55.0, 20.0), Peer()
    rounds.doom(peer, 2.0)
    peer.heard = True
    peer.visited(rounds, 5)
    assert peer.dropped == []


@given(st.integers(1, 64), st.integers(0, 300))
def test_a_turn_of_the_wheel_visits_everyone_once_and_evenly(spokes: int, count: int) -> None:
    wheel: Wheel[Peer] = Wheel(spokes)
    peers = [Peer() for _ in range(count)]
    for peer in peers:
        wheel.add(peer)
    turns = [wheel.turn() for _ in range(spokes)]
    assert sorted(map(id, (peer for turn in turns for peer in turn))) == sorted(map(id, peers))
    assert max(map(len, turns)) - min(map(len, turns)) <= 1
    assert (len(wheel), set(wheel)) == (count, set(peers))


def test_what_was_taken_off_is_not_visited() -> None:
    wheel: Wheel[Peer] = Wheel(1)
    stays, goes = Peer(), Peer()
    wheel.add(stays)
    wheel.add(goes)
    wheel.remove(goes)
    assert (wheel.turn(), len(wheel)) == ((stays,), 1)
    with pytest.raises(KeyError):
        wheel.remove(goes)


def test_peers_may_leave_while_they_are_visited() -> None:
    wheel: Wheel[Peer] = Wheel(1)
    for _ in range(10):
        wheel.add(Peer())
    for peer in wheel:
        wheel.remove(peer)
    assert len(wheel) == 0

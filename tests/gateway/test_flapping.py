"""A charger that connects and goes again, over and over, is held off, and only it, and never for ever."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.gateway import flapping
from cpms_actors.gateway.engine import Connection
from cpms_actors.gateway.flapping import FLAP_S, SPAN_S, TABLE_MAX, Flaps, Watch, held_off

PATH = b"/ocpp/CP1"


class Deaf:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_open(self, connection: Connection) -> None:
        self.heard.append("open")

    def on_text(self, text: bytes) -> None:
        self.heard.append(text)

    def on_closed(self, code: int, reason: str) -> None:
        self.heard.append((code, reason))


class Wire:
    """A connection; with `hand_over` as the default engine's has it."""

    def send(self, text: bytes) -> bool:
        return True

    def close(self, code: int, reason: str = "") -> None: ...


class Handing(Wire):
    receiver: object = None

    def hand_over(self, receiver: object) -> None:
        self.receiver = receiver


def flapped(times: int, now: float = 0.0, flaps_max: int = 6) -> Flaps:
    flaps = Flaps(flaps_max)
    for _ in range(times):
        flaps.ended(PATH, now)
    return flaps


# The rule


def test_six_short_connections_in_a_minute_are_let_in() -> None:
    flaps, now = Flaps(6), 1000.0
    for _ in range(100):
        assert flaps.wait_s(PATH, now) == 0.0
        flaps.ended(PATH, now)
        now += 12.1  # five intervals are more than a minute


def test_the_seventh_in_a_minute_is_held_off_and_others_are_not() -> None:
    flaps = flapped(5)
    assert flaps.wait_s(PATH, 0.0) == 0.0
    flaps.ended(PATH, 0.0)
    assert (flaps.wait_s(PATH, 0.0), flaps.wait_s(PATH, 0.5), flaps.wait_s(PATH, 2.0)) == (2.0, 1.5, 0.0)
    assert flaps.wait_s(b"/ocpp/CP2", 0.0) == 0.0


def test_who_goes_on_flapping_is_held_off_for_twice_as_long_each_time_up_to_two_minutes() -> None:
    flaps, now, waits = flapped(6), 0.0, []
    for _ in range(9):
        waits.append(flaps.wait_s(PATH, now))
        now += waits[-1]
        assert flaps.wait_s(PATH, now) == 0.0
        flaps.ended(PATH, now)
    assert waits == [2, 4, 8, 16, 32, 64, 120, 120, 120]


def test_being_refused_does_not_make_it_longer() -> None:
    flaps = flapped(6)
    assert [flaps.wait_s(PATH, 1.0) for _ in range(100)] == [1.0] * 100


@pytest.mark.parametrize(("times", "held_s"), [(6, 2.0), (10, 32.0), (20, 120.0)])
def test_who_behaves_for_a_minute_and_for_as_long_as_it_was_held_off_begins_anew(times: int, held_s: float) -> None:
    behaved_s = held_s + max(SPAN_S, held_s)
    early, late = flapped(times), flapped(times)
    early.ended(PATH, behaved_s - 0.1)
    assert early.wait_s(PATH, behaved_s) > 0.0
    for _ in range(5):
        late.ended(PATH, behaved_s)
    assert late.wait_s(PATH, behaved_s) == 0.0


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.floats(0, 100)), max_size=100), st.integers(1, 8))
def test_whoever_honours_retry_after_is_let_in(history: list[tuple[bytes, float]], flaps_max: int) -> None:
    flaps, now = Flaps(flaps_max), 0.0
    for path, later_s in history:
        now += later_s
        wait_s = flaps.wait_s(path, now)
        assert 0.0 <= wait_s <= 120.0
        if wait_s:
            now += int(dict(held_off(wait_s).headers)["Retry-After"])
            assert flaps.wait_s(path, now) == 0.0
        flaps.ended(path, now)


# The table


def test_the_table_is_bounded_and_keeps_who_flapped_last() -> None:
    flaps = Flaps(1)
    for number in range(TABLE_MAX + 500):
        flaps.ended(b"/%d" % number, 0.0)
        assert len(flaps) <= TABLE_MAX
    assert (flaps.wait_s(b"/499", 0.0), flaps.wait_s(b"/500", 0.0)) == (0.0, 2.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 50), st.booleans()), max_size=200))
def test_the_table_never_exceeds_its_bound(history: list[tuple[int, float, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flapping, "TABLE_MAX", 10)
        flaps, now = Flaps(2), 0.0
        for number, later_s, ends in history:
            now += later_s
            if ends:
                flaps.ended(b"/%d" % number, now)
            else:
                flaps.wait_s(b"/%d" % number, now)
            assert len(flaps) <= 10


def test_those_who_never_return_are_forgotten() -> None:
    flaps = Flaps(6)
    for number in range(100):
        flaps.ended(b"/%d" % number, 0.0)
    for _ in range(100):
        flaps.ended(PATH, 1000.0)
    assert len(flaps) == 1


# What counts as a flap


class Watched:
    """A connection under watch, from its opening at 0 s to its end at `after_s`."""

    def __init__(self, after_s: float = 0.1, texts: int = 0, code: int = 1006, connection: Wire | None = None) -> None:
        self.now = 0.0
        self.flaps = Flaps(1)
        self.receiver = Deaf()
        watch = Watch(self.receiver, self.flaps, PATH, lambda: self.now)
        watch.on_open(connection or Wire())
        for _ in range(texts):
            watch.on_text(b"[]")
        self.now = after_s
        watch.on_closed(code, "why")

    @property
    def is_flap(self) -> bool:
        return self.flaps.wait_s(PATH, self.now) > 0.0


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1008, 4000])
def test_a_short_connection_without_a_text_is_a_flap(code: int) -> None:
    assert Watched(code=code).is_flap


@pytest.mark.parametrize("code", [1011, 1012, 1013])
def test_what_we_ended_for_reasons_of_our_own_is_none(code: int) -> None:
    assert not Watched(code=code).is_flap


def test_a_connection_that_spoke_or_lasted_is_none() -> None:
    assert not Watched(texts=1).is_flap
    assert not Watched(after_s=FLAP_S).is_flap


@pytest.mark.parametrize("texts", [0, 1, 3])
def test_the_receiver_hears_everything(texts: int) -> None:
    assert Watched(texts=texts).receiver.heard == ["open", *[b"[]"] * texts, (1006, "why")]


def test_the_watch_ends_with_the_first_text_where_the_engine_can_hand_over() -> None:
    connection = Handing()
    watched = Watched(texts=1, connection=connection)
    assert connection.receiver is watched.receiver


def test_the_answer_names_whole_seconds_and_never_too_few() -> None:
    for wait_s in (0.01, 1.0, 1.5, 120.0):
        assert held_off(wait_s).headers == (("Retry-After", str(ceil(wait_s))),)

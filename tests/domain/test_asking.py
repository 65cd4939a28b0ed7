"""When a station is asked about a transaction: ever more rarely, and never without an end where nothing comes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.domain.asking import AGAIN_MS_MAX, ASKED_MAX, NEVER, UNANSWERED_MAX, Asked, Missing, after, next_step

T0 = 1_700_000_000_000
MIN, H = 60_000, 3_600_000


@pytest.mark.parametrize(
    ("missing", "asked", "reachable", "step"),
    [
        ("events", NEVER, True, "ask"),
        ("end", NEVER, True, "ask"),
        # nobody is there, or nobody who knows the question
        ("events", NEVER, False, "leave"),
        ("end", NEVER, False, "leave"),
        ("events", Asked(1, 0, T0 + 1), False, "leave"),
        ("end", Asked(1, 0, T0 + 1), False, "leave"),
        # it was asked a moment ago
        ("events", Asked(1, 0, T0 + 1), True, "wait"),
        ("end", Asked(1, 1, T0 + 1), True, "wait"),
        ("events", Asked(1, 0, T0), True, "ask"),
        ("end", Asked(1, 1, T0), True, "ask"),
        # it does not answer
        ("events", Asked(9, UNANSWERED_MAX - 1, T0), True, "ask"),
        ("events", Asked(9, UNANSWERED_MAX, T0), True, "leave"),
        ("end", Asked(9, UNANSWERED_MAX, T0), True, "leave"),
        ("end", Asked(9, UNANSWERED_MAX, T0 + 1), True, "leave"),
        # it answers, and nothing comes of it: that it goes on is an answer for ever, that messages wait is not
        ("events", Asked(ASKED_MAX - 1, 0, T0), True, "ask"),
        ("events", Asked(ASKED_MAX, 0, T0), True, "leave"),
        ("end", Asked(ASKED_MAX, 0, T0), True, "ask"),
        ("end", Asked(10**6, 0, T0), True, "ask"),
    ],
)
def test_who_can_be_asked_is_asked_when_it_is_time_and_left_alone_when_it_is_of_no_use(
    missing: Missing, asked: Asked, reachable: bool, step: str
) -> None:
    assert next_step(missing, asked, reachable=reachable, now=T0) == step


def pauses(answered: bool, times: int) -> list[int]:
    """The minutes after each question until the next may be put."""
    asked, found = NEVER, []
    for _ in range(times):
        asked = after(asked, answered=answered, now=T0)
        found.append((asked.not_before - T0) // MIN)
    return found


@pytest.mark.parametrize("answered", [True, False])
def test_the_pauses_double_up_to_a_quarter_of_a_day(answered: bool) -> None:
    assert pauses(answered, ASKED_MAX) == [2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360, 360]


def test_a_transaction_with_a_gap_is_asked_about_for_more_than_a_day_and_one_that_nobody_answers_for_half_an_hour() -> None:
    assert 24 * 60 < sum(pauses(True, ASKED_MAX - 1)) < 48 * 60
    assert sum(pauses(False, UNANSWERED_MAX - 1)) == 30


def test_only_questions_in_a_row_without_an_answer_count() -> None:
    asked = NEVER
    for answered in (False, False, True, False):
        asked = after(asked, answered=answered, now=T0)
    assert (asked.times, asked.unanswered) == (4, 1)


@given(st.sampled_from(["events", "end"]), st.lists(st.tuples(st.booleans(), st.integers(0, 2 * MIN)), max_size=3_000))
def test_nobody_is_asked_more_often_than_the_pauses_allow(missing: Missing, looks: list[tuple[bool, int]]) -> None:
    """Whatever is answered, and whenever it is looked at."""
    asked, now, put = NEVER, T0, 0
    for answered, later in looks:
        now += later
        if next_step(missing, asked, reachable=True, now=now) == "ask":
            asked, put = after(asked, answered=answered, now=now), put + 1
            assert now < asked.not_before <= now + AGAIN_MS_MAX
    assert (asked.times, put <= ASKED_MAX or missing == "end") == (put, True)
    assert put <= 9 + (now - T0) // AGAIN_MS_MAX

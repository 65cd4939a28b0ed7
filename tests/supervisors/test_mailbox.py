"""Truths of the mailbox."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.mailbox import Mailbox, MailboxStatistics


def test_messages_come_out_in_the_order_they_went_in() -> None:
    box: Mailbox[int] = Mailbox("a", 3)
    assert [box.put(n) for n in range(3)] == [True, True, True]
    assert [box.take() for _ in range(3)] == [0, 1, 2]


def test_a_full_mailbox_refuses_and_counts_and_keeps_what_it_has() -> None:
    box: Mailbox[str] = Mailbox("a", 1)
    assert box.put("first")
    assert not box.put("second")
    assert not box.put("third")
    assert box.statistics() == MailboxStatistics(waiting=1, bound=1, peak=1, refusals=2)
    assert box.take() == "first"


def test_an_empty_mailbox_holds_no_queue_before_and_after_use() -> None:
    box: Mailbox[int] = Mailbox("a", 64)
    assert box.queue is None
    box.put(1)
    box.take()
    assert box.queue is None
    assert sys.getsizeof(box) < 100


def test_taking_from_an_empty_mailbox_names_it() -> None:
    with pytest.raises(IndexError, match="charger 7"):
        Mailbox[int]("charger 7", 1).take()


@pytest.mark.parametrize("bound", [0, -1])
def test_a_mailbox_that_could_hold_nothing_cannot_be_made(bound: int) -> None:
    with pytest.raises(ValueError, match="would refuse"):
        Mailbox("a", bound)


@given(st.integers(1, 5), st.lists(st.one_of(st.none(), st.integers())))
def test_it_behaves_as_a_list_with_a_bound(bound: int, steps: list[int | None]) -> None:
    """Any sequence of puts (a number) and takes (None) agrees with a plain list; the peak is the longest it was."""
    box: Mailbox[int] = Mailbox("a", bound)
    model: list[int] = []
    peak = refused = 0
    for step in steps:
        if step is not None:
            fits = len(model) < bound
            assert box.put(step) is fits
            refused += not fits
            model += [step] * fits
            peak = max(peak, len(model))
        elif model:
            assert box.take() == model.pop(0)
        assert box.statistics() == MailboxStatistics(len(model), bound, peak, refused)
    assert box.clear() == len(model)
    assert len(box) == 0

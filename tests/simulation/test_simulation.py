"""The whole system under faults, in virtual time: nothing lost, nothing billed twice; and the simulation would notice."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from mutants import MUTANTS, caught
from simulation import Result, run_seed

from cpms_actors.base.settings import Logs
from cpms_actors.observe import logs
from supervisors.mailbox import Mailbox

SEEDS = 200
AT_ONCE = 25
QUICKLY_CAUGHT = (
    "what is not durable is answered",
    "pages are not numbered",
    "an event that has come makes those below it known",
    "a charger moves in the middle of a turn",
)


@pytest.fixture(autouse=True)
def _only_errors() -> Iterator[None]:
    logs.configure(Logs(level="error"))
    yield
    logs.configure(Logs())


@pytest.mark.parametrize("first", range(1, SEEDS + 1, AT_ONCE))
def test_whatever_dies_what_chargers_were_acknowledged_is_stored_and_billed_once(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        result = run_seed(seed)
        assert result.failures == [], f"seed {seed}, `just simulate --seed {seed}`:\n" + "\n".join(result.history)


def test_the_same_seed_is_the_same_history() -> None:
    one, other = run_seed(7), run_seed(7)
    assert one == other
    assert one.history
    assert run_seed(8).history != one.history


def test_the_seeds_do_all_that_can_happen() -> None:
    """Else what holds may hold for want of a fault."""
    results: list[Result] = [run_seed(seed) for seed in range(1, 13)]
    told = {line.partition("  ")[2] for result in results for line in result.history}
    for part in (
        "loses its network",
        "half of the chargers",
        "dies",
        "taken over",
        "is cut off",
        "claims lane",
        "broker",
        "Postgres",
        "a standby",
        "Postgres crashes",
        "taken for dead",
        "what Postgres refuses",
        "hands slots over",
    ):
        assert any(part in line for line in told), part
    counts = {name: sum(result.counts[name] for result in results) for name in results[0].counts}
    happens = ("stored_twice", "deduplicated", "calls", "calls_answered", "passed", "credits", "poisoned")
    refuses = ("journal_full", "mailbox_full", "busy")
    assert all(counts[name] > 0 for name in (*happens, *refuses)), counts


def test_the_first_breach_ends_the_seed_and_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    def newest(mailbox: Mailbox[Any]) -> Any:
        assert mailbox.queue is not None
        message = mailbox.queue.pop()
        mailbox.queue = mailbox.queue or None
        return message

    monkeypatch.setattr(Mailbox, "take", newest)
    result = next(result for seed in range(1, 25) if (result := run_seed(seed)).failures)
    (failure,) = result.failures
    assert "is answered after what was asked later" in failure
    assert result.history[-1] == f"{result.seconds:9.3f} s  BROKEN: {failure}"


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.name in QUICKLY_CAUGHT], ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: object) -> None:
    found, how = caught(mutant, seeds=24)  # type: ignore[arg-type]
    assert found, how


def test_every_planted_bug_has_its_place() -> None:
    """A mutant whose text is gone finds nothing."""
    from mutants import ROOT

    assert len(MUTANTS) >= 20
    assert [each.name for each in MUTANTS if (ROOT / each.file).read_text().count(each.old) != 1] == []
    assert all(one != other for one, other in pairwise(sorted(each.name for each in MUTANTS)))

"""Verdicts as a worker keeps them, and what it says when the pool is away."""

import pytest

from cpms_actors.charger.verdicts import Verdicts
from cpms_actors.domain.access import OfflinePolicy, Verdict
from cpms_actors.domain.events import IdToken

TOKEN = IdToken("ABC")
ACCEPTED = Verdict("Accepted")


def test_a_fresh_verdict_is_served_and_an_old_one_asked_for_again() -> None:
    verdicts = Verdicts(ttl_s=60)
    verdicts.keep("t", TOKEN, ACCEPTED, now=0)
    assert verdicts.fresh("t", TOKEN, now=59_999) == ACCEPTED
    assert verdicts.fresh("t", TOKEN, now=60_000) is None


def test_ids_are_case_insensitive_and_tenants_are_apart() -> None:
    verdicts = Verdicts(60)
    verdicts.keep("t", TOKEN, ACCEPTED, 0)
    assert verdicts.fresh("t", IdToken("abc"), 1) == ACCEPTED
    assert verdicts.fresh("other", TOKEN, 1) is None
    assert verdicts.fresh("t", IdToken("ABC", "eMAID"), 1) is None


def test_a_token_that_expires_meanwhile_is_not_served_as_accepted() -> None:
    verdicts = Verdicts(60)
    verdicts.keep("t", TOKEN, Verdict("Accepted", expires_at=500), 0)
    assert verdicts.fresh("t", TOKEN, 499) is not None
    assert verdicts.fresh("t", TOKEN, 500) is None


@pytest.mark.parametrize(
    ("policy", "known", "answer"),
    [
        ("cached", None, "Invalid"),
        ("cached", Verdict("Accepted"), "Accepted"),
        ("cached", Verdict("Blocked"), "Blocked"),
        ("cached", Verdict("Accepted", expires_at=5), "Expired"),
        ("accept", None, "Accepted"),
        ("accept", Verdict("Blocked"), "Blocked"),
        ("reject", None, "Invalid"),
        ("reject", Verdict("Accepted"), "Invalid"),
    ],
)
def test_the_offline_policy_decides_while_the_pool_is_away(policy: OfflinePolicy, known: Verdict | None, answer: str) -> None:
    verdicts = Verdicts(ttl_s=0.001)
    if known is not None:
        verdicts.keep("t", TOKEN, known, 0)
    assert verdicts.unasked("t", TOKEN, policy, now=1_000_000).status == answer
    assert verdicts.offline == 1


def test_a_change_of_tokens_drops_only_that_tenants_verdicts() -> None:
    verdicts = Verdicts(60)
    verdicts.keep("a", TOKEN, ACCEPTED, 0)
    verdicts.keep("b", TOKEN, ACCEPTED, 0)
    verdicts.forget("a")
    assert verdicts.fresh("a", TOKEN, 1) is None
    assert verdicts.fresh("b", TOKEN, 1) == ACCEPTED


def test_the_cache_is_bounded_and_the_oldest_leaves_first() -> None:
    verdicts = Verdicts(60, cached_max=2)
    for name in "abc":
        verdicts.keep("t", IdToken(name), ACCEPTED, 0)
    assert len(verdicts) == 2
    assert verdicts.fresh("t", IdToken("a"), 1) is None
    assert verdicts.fresh("t", IdToken("c"), 1) == ACCEPTED

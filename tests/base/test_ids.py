"""Identities, slots and lanes: `cpms_actors.base.ids`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpms_actors.base.ids import (
    LANES,
    SLOTS,
    from_subject_token,
    is_identity,
    is_tenant,
    lane_of,
    parse_path,
    slot_of,
    subject_token,
)

PATHS = [
    # what a charger dials, whom that means
    (b"/ocpp/CP-1", ("default", "CP-1")),
    (b"/ocpp/acme/CP-1", ("acme", "CP-1")),
    (b"/ocpp/acme/CP%2D1", ("acme", "CP-1")),
    (b"/ocpp/acme/CP-1?token=x", ("acme", "CP-1")),
    (b"/ocpp/acme/DE*ABC*E1|2@x.y", ("acme", "DE*ABC*E1|2@x.y")),
    (b"/ocpp/acme/" + b"a" * 48, ("acme", "a" * 48)),
    (b"/ocpp/acme/" + b"a" * 49, None),
    (b"/ocpp/acme/CP%2F1", None),  # a slash in an identity cannot be told from a segment
    (b"/ocpp/acme/CP%252D1", None),  # decoded once: "CP%2D1" has a character that no identity has
    (b"/ocpp/acme/CP%201", None),
    (b"/ocpp/acme/%FF%FE", None),  # no UTF-8
    (b"/ocpp/ACME/CP-1", None),
    (b"/ocpp/-acme/CP-1", None),
    (b"/ocpp/acme/site/CP-1", None),
    (b"/ocpp/", None),
    (b"/ocpp", None),
    (b"/ocpp//CP-1", None),
    (b"ocpp/CP-1", None),
    (b"//ocpp/CP-1", None),
    (b"/OCPP/CP-1", None),
    (b"/", None),
    (b"", None),
    (b"/ocpp/CP-1/", None),
    (b"/ocpp/" + b"a" * 600, None),
]


@pytest.mark.parametrize(("path", "meant"), PATHS)
def test_a_path_names_a_tenant_and_a_charger(path: bytes, meant: tuple[str, str] | None) -> None:
    assert parse_path(path) == meant


TENANTS = [
    ("a", True),
    ("acme-2", True),
    ("a" * 32, True),
    ("a" * 33, False),
    ("", False),
    ("acme-", False),
    ("Acme", False),
    ("ac_me", False),
    ("acme\n", False),
]


@pytest.mark.parametrize(("text", "is_one"), TENANTS)
def test_a_tenant_is_a_short_label(text: str, is_one: bool) -> None:
    assert is_tenant(text) is is_one


def test_an_identity_ends_where_its_text_ends() -> None:
    """A newline at the end is no part of an identity, whatever `$` of a regular expression thinks."""
    assert is_identity("CP-1")
    assert not is_identity("CP-1\n")


SLOTS_OF = [("default", "CP-1", 35), ("default", "x", 18), ("acme", "CP-1", 62), ("acme", "DE*ABC*E1", 38)]


@pytest.mark.parametrize(("tenant", "charger", "slot"), SLOTS_OF)
def test_a_chargers_slot_never_changes(tenant: str, charger: str, slot: int) -> None:
    """CRC-32 of "tenant/charger": deployments hold state by slot, so a release that computed another one would lose it."""
    assert slot_of(tenant, charger) == slot


@given(st.text(max_size=60), st.text(max_size=60))
def test_every_charger_has_a_slot_and_every_slot_a_lane(tenant: str, charger: str) -> None:
    slot = slot_of(tenant, charger)
    assert 0 <= slot < SLOTS
    assert 0 <= lane_of(slot) < LANES


def test_each_lane_has_the_same_number_of_slots() -> None:
    per_lane = [sum(lane_of(slot) == lane for slot in range(SLOTS)) for lane in range(LANES)]
    assert per_lane == [SLOTS // LANES] * LANES


# Lone surrogates are no text: nothing that arrives over a wire as UTF-8 holds one.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
KV_KEY = re.compile(r"[-/_=.a-zA-Z0-9]+\Z")  # what JetStream's key-value buckets take


@given(TEXT)
def test_a_subject_token_is_one_token_and_comes_back(text: str) -> None:
    """No dot, wildcard or space reaches a NATS subject, and nothing is lost."""
    token = subject_token(text)
    assert not set(token) & set(".*> \t\r\n")
    assert from_subject_token(token) == text


@given(TEXT, TEXT)
def test_different_texts_have_different_tokens(one: str, other: str) -> None:
    assert (subject_token(one) == subject_token(other)) is (one == other)


@given(st.from_regex(r"[A-Za-z0-9*\-_=:+|@.]{1,48}", fullmatch=True))
def test_every_identity_can_be_part_of_a_key(identity: str) -> None:
    """The registry keeps each charger under a key made of its token."""
    assert is_identity(identity)
    assert KV_KEY.match(subject_token(identity))

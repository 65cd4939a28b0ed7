"""Whom an accepted socket is passed to, and what a worker leaves behind."""

import os
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from cpms_actors.base.errors import OperatorError
from cpms_actors.base.ids import slot_of
from cpms_actors.base.settings import Gateway
from cpms_actors.bus.slots import Presence
from cpms_actors.node.siblings import Siblings, siblings


def knowing(others: list[Presence], owner: str) -> Siblings:
    """The siblings of a worker on node "n", where `owner` holds every slot."""
    found = Siblings("n", "@ours")
    found.leases = SimpleNamespace(living=lambda: others, owner=lambda slot: owner)  # type: ignore[assignment]
    return found


SIBLING = Presence("b@n", "1", "n", "@theirs")
ELSEWHERE = Presence("c@m", "2", "m", "@far", inner="10.0.0.2:4711")
UNREACHED = Presence("e@m", "4", "m", "@far")
MUTE = Presence("d@n", "3", "n", "")


@pytest.mark.parametrize(
    ("others", "owner", "path", "address"),
    [
        ([SIBLING, ELSEWHERE], "b@n", b"/ocpp/CP1", "@theirs"),
        ([SIBLING, ELSEWHERE], "a@n", b"/ocpp/CP1", ""),
        ([SIBLING, ELSEWHERE], "b@n", b"/nowhere", ""),
        ([SIBLING, ELSEWHERE], "c@m", b"/ocpp/CP1", "10.0.0.2:4711"),
        ([SIBLING, UNREACHED], "e@m", b"/ocpp/CP1", ""),
        ([ELSEWHERE], "b@n", b"/ocpp/CP1", ""),  # dead: its slots will be claimed
        ([MUTE], "d@n", b"/ocpp/CP1", ""),
        ([], "", b"/ocpp/CP1", ""),
    ],
)
def test_a_socket_is_passed_to_the_living_sibling_that_holds_the_slot(
    others: list[Presence], owner: str, path: bytes, address: str
) -> None:
    assert knowing(others, owner).whose(path) == address


def test_the_slot_that_is_asked_for_is_the_chargers() -> None:
    asked: list[int] = []
    found = knowing([SIBLING], "b@n")
    leases: Any = found.leases
    leases.owner = lambda slot: asked.append(slot) or "b@n"
    found.whose(b"/ocpp/acme/CP%2D1")
    assert asked == [slot_of("acme", "CP-1")]


@pytest.mark.parametrize(("others", "alone"), [([], True), ([UNREACHED, MUTE], True), ([SIBLING], False), ([ELSEWHERE], False)])
def test_alone_is_who_has_no_sibling_to_pass_to(others: list[Presence], alone: bool) -> None:
    assert knowing(others, "").alone() is alone
    assert Siblings("n", "@ours").alone()


@pytest.mark.parametrize(
    ("others", "addresses"),
    [
        ([], []),
        ([SIBLING, replace(SIBLING, name="c@n", address="@third"), ELSEWHERE, MUTE], ["@theirs", "@third"]),
        ([SIBLING, replace(SIBLING, name="a~2@n", address="@next")], ["@next"]),
        ([replace(SIBLING, name=f"a~{number}@n", address=f"@next{number}") for number in (3, 10, 4)], ["@next10"]),
        ([SIBLING, replace(SIBLING, name="a~2@n", address="@next", leaving=True)], ["@theirs"]),
        ([replace(SIBLING, leaving=True)], []),
        ([replace(ELSEWHERE, name="a~2@m")], []),
    ],
    ids=["nobody", "siblings", "successor", "newest", "one that is not ready", "leaving", "elsewhere"],
)
def test_what_is_carried_goes_to_the_successor_or_else_to_those_who_serve_on_this_node(
    others: list[Presence], addresses: list[str]
) -> None:
    found = knowing(others, "")
    found.leases.presence = Presence("a@n", "0", "n", "@ours")  # type: ignore[union-attr]
    assert found.heirs() == addresses
    assert Siblings("n", "@ours").heirs() == []


def test_a_predecessor_takes_no_precedence() -> None:
    """A predecessor that has come back serves like any other."""
    found = knowing([replace(SIBLING, name="a@n"), SIBLING], "")
    found.leases.presence = Presence("a~2@n", "0", "n", "@ours")  # type: ignore[union-attr]
    assert found.heirs() == ["@theirs", "@theirs"]


def test_the_name_of_the_socket_tells_whose_it_is_and_is_nobody_elses() -> None:
    with siblings("n", Gateway()) as ours, siblings("n", Gateway()) as others:
        assert ours.address.startswith(f"@cpms-worker-{os.getpid()}-")
        assert len(ours.address.encode()) <= 108
        assert ours.address != others.address


@pytest.mark.parametrize(
    ("gateway", "host"),
    [
        (Gateway(host="127.0.0.2"), "127.0.0.2"),
        (Gateway(host="0.0.0.0"), ""),
        (Gateway(host="", inner_host="127.0.0.3"), "127.0.0.3"),
        (Gateway(engine="trio-websocket"), ""),
    ],
)
def test_other_nodes_reach_us_where_that_is_one_address_and_the_engine_takes_them(gateway: Gateway, host: str) -> None:
    with siblings("n", gateway) as ours:
        assert ours.inner_address.rpartition(":")[0] == host
        assert bool(ours.address) is (gateway.engine == "picows")


def test_an_inner_address_of_another_machine_is_refused_with_the_remedy() -> None:
    with pytest.raises(OperatorError, match="name an address of this machine"), siblings("n", Gateway(inner_host="192.0.2.1")):
        pass

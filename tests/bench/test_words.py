"""From where the chargers of the bench dial."""

from collections import Counter
from ipaddress import IPv4Address

import pytest

from bench import memory
from bench.words import SOURCE_CHARGERS, source


@pytest.mark.parametrize("begin", [0, 10_000, memory.CHARGERS_MAX, 3 * memory.CHARGERS_MAX], ids=str)
def test_no_address_has_more_chargers_than_the_kernel_finds_ports_for_at_once_and_all_are_this_machine(begin: int) -> None:
    addresses = Counter(source(number) for number in range(begin, begin + 4 * SOURCE_CHARGERS))
    assert set(addresses.values()) == {SOURCE_CHARGERS}
    assert all(IPv4Address(address).is_loopback for address in addresses)

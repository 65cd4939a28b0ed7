"""Actors that own Postgres work: session, tariff, operations."""

from typing import Final

# Of the pools, and of a Postgres that `cpms up` runs. Chargers wait for the workers and the journal, nobody waits for the fold.
NICE: Final = 10

"""Actors that own Postgres work: session, tariff, operations."""

from typing import Final

# Of the pools, and of a Postgres that `cpms up` runs: a third of a worker's weight. Chargers wait for the workers and the journal, and
# nobody for the fold, but a driver whose token is new waits for the session pool.
NICE: Final = 5

"""Actors that own Postgres work: session, tariff, operations."""

"""Postgres: migrations and one file per aggregate."""

"""Ids, money, time, errors, settings: what every floor above may use."""

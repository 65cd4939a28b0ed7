"""NATS: subjects, client, journal, registry."""

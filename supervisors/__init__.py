"""Supervised, passive actors on anyio, and the host that runs trio inside uvloop."""

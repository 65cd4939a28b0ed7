"""OCPP: frames, conversation, typed messages, dialects to and from domain words."""

"""Sockets: handshake, admission, engines."""

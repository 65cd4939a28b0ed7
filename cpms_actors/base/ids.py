"""Identities, slots and lanes.

A charger is known by (tenant, identity). The identity is the last segment of its WebSocket URL, percent-decoded. A *slot* is the
unit of ownership, a *lane* a group of slots that share a journal subject: design constants of a deployment, checked at start.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes
from zlib import crc32

DEFAULT_TENANT: Final = "default"
SLOTS: Final = 64
LANES: Final = 2

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\Z")
# OCPP 2.1 part 2, identifierString: a-z A-Z 0-9 * - _ = : + | @ . — the field also knows spaces and slashes in serial numbers,
# which are refused here: a path segment cannot carry them unambiguously.
_IDENTITY = re.compile(r"[A-Za-z0-9*\-_=:+|@.]{1,48}\Z")
_TOKEN_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")  # what a KV key and a subject token both allow; `=` escapes the rest


def is_tenant(text: str) -> bool:
    """Whether the text is a tenant's name: 1 to 32 of a-z, 0-9 and inner hyphens."""
    return _TENANT.match(text) is not None


def is_identity(text: str) -> bool:
    """Whether the text can be a charger's identity (OCPP 2.1 part 2, identifierString, at most 48)."""
    return _IDENTITY.match(text) is not None


def parse_path(path: bytes) -> tuple[str, str] | None:
    """Tenant and identity of `/ocpp/<tenant>/<charger>` or `/ocpp/<charger>`; None for any other path.

    A query is ignored; segments are percent-decoded once, as UTF-8, and checked.
    """
    if len(path) > 512:
        return None
    segments = path.split(b"?", 1)[0].split(b"/")
    if len(segments) not in (3, 4) or segments[0] or segments[1] != b"ocpp":
        return None
    try:
        names = [unquote_to_bytes(segment).decode() for segment in segments[2:]]
    except UnicodeDecodeError:
        return None
    tenant, identity = names if len(names) == 2 else (DEFAULT_TENANT, names[0])
    return (tenant, identity) if is_tenant(tenant) and is_identity(identity) else None


def slot_of(tenant: str, charger: str) -> int:
    """The slot, 0 … SLOTS - 1, that owns a charger; the same in every process and release."""
    return crc32(f"{tenant}/{charger}".encode()) % SLOTS


def lane_of(slot: int) -> int:
    """The lane, 0 … LANES - 1, that carries a slot's events."""
    return slot % LANES


def subject_token(text: str) -> str:
    """The text as one token of a NATS subject or KV key: other characters become `=XX` of their UTF-8 bytes."""
    if _TOKEN_PLAIN.match(text):
        return text
    return "".join(c if _TOKEN_PLAIN.match(c) else "".join(f"={b:02X}" for b in c.encode()) for c in text)


def from_subject_token(token: str) -> str:
    """The inverse of `subject_token`."""
    return unquote_to_bytes(token.replace("=", "%")).decode()

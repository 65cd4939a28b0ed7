"""Who may do what: tenants' policies, chargers' records, and the verdict on a token."""

from hashlib import blake2b
from hmac import compare_digest
from re import compile as pattern
from typing import Literal

from msgspec import Struct

BootPolicy = Literal["Accepted", "Pending", "Rejected"]
Strictness = Literal["strict", "lenient"]
OfflinePolicy = Literal["cached", "accept", "reject"]

_HEX_KEY = pattern(r"(?:[0-9a-fA-F]{2}){16,20}\Z")


class Tenant(Struct, frozen=True, gc=False):
    """A tenant and its policies.

    `profile0`: whether a charger without credentials (security profile 0) may connect. `offline`: what a driver is told while the
    pools cannot be asked and the worker's cache knows nothing: "cached" and "reject" refuse (the former uses cached verdicts even
    when they are stale), "accept" lets the driver charge.
    """

    id: str
    name: str = ""
    profile0: bool = False
    strictness: Strictness = "lenient"
    offline: OfflinePolicy = "cached"
    heartbeat_s: int = 300
    currency: str = "EUR"
    timezone: str = "UTC"


class ChargerRecord(Struct, frozen=True, gc=False):
    """What the gateway must know of a charger before it may connect. `credential` is `credential_digest` of its password."""

    tenant: str
    identity: str
    security_profile: int = 1
    credential: bytes | None = None
    boot: BootPolicy = "Accepted"
    enabled: bool = True


class Verdict(Struct, frozen=True, gc=False):
    """The answer to "may this token charge?"; `status` is a word of the OCPP 2.x AuthorizationStatusEnumType.

    `expires_at` (ms) is when the token itself expires, None for never. `group` is the parent id (1.6) or group id (2.x).
    """

    status: str
    expires_at: int | None = None
    group: str | None = None


def credential_digest(key: bytes, password: str) -> bytes:
    """The keyed BLAKE2b digest under which a charger's AuthorizationKey is stored: 32 bytes.

    The key of 16 to 20 bytes may arrive as up to 40 hex digits (OCPP 1.6 security white paper, A00.FR.205): both digest alike.
    """
    raw = bytes.fromhex(password) if _HEX_KEY.match(password) else password.encode()
    return blake2b(raw, key=key[:64], digest_size=32).digest()


def credential_matches(key: bytes, stored: bytes | None, password: str) -> bool:
    """Whether the password is the one whose digest is stored; the time it takes tells nothing."""
    return stored is not None and compare_digest(stored, credential_digest(key, password))

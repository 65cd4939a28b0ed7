"""Who may come in: the rules of the opening handshake, pure. All of it happens before the upgrade.

    head ─▶ path ─▶ tenant ─▶ charger ─▶ credentials ─▶ subprotocol ─▶ Admission
             400     404       404        401            none in common: complete the handshake, then close

Sources: OCPP-J 1.6 and OCPP 2.1 part 4, section 3 (path, 404, subprotocol); the OCPP 1.6 security white paper, A00.FR.001 – 207
(Basic authentication, profiles); RFC 6455, section 4.2 (the upgrade itself); RFC 7617 (Basic).

TLS is terminated in front of this process. So profile 2 (TLS with Basic) is checked like profile 1, and profile 3 (client
certificates) is refused: nobody here has seen the certificate.
"""

from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from cpms_actors.base.ids import parse_path
from cpms_actors.domain.access import ChargerRecord, Tenant, credential_matches
from cpms_actors.gateway.engine import Admitted, Door, Head, Receiver, Refused

SUBPROTOCOLS: Final = ("ocpp2.1", "ocpp2.0.1", "ocpp1.6")
"""The server's preference, newest first."""

WEBSOCKET_VERSION: Final = "13"

_BAD_PATH: Final = Refused(400, "the path is /ocpp/<charger> or /ocpp/<tenant>/<charger>")
_UNKNOWN: Final = Refused(404, "no such charger")
_CHALLENGE: Final = (("WWW-Authenticate", 'Basic realm="ocpp", charset="UTF-8"'),)
_NO_CREDENTIALS: Final = Refused(401, "credentials are required", _CHALLENGE)
_BAD_CREDENTIALS: Final = Refused(401, "wrong credentials", _CHALLENGE)
_NO_CERTIFICATE: Final = Refused(401, "security profile 3 needs a client certificate, which cannot be checked here", _CHALLENGE)


class Lookups(Struct, frozen=True):
    """What the rules may ask: tables in memory, so that a storm of reconnects asks no server."""

    tenant: Callable[[str], Tenant | None]
    charger: Callable[[str, str], ChargerRecord | None]
    credential_key: bytes


class Admission(Struct, frozen=True):
    """Who came in. `subprotocol` is None when the peer offers none of ours."""

    tenant: Tenant
    record: ChargerRecord
    subprotocol: str | None
    remote: str

    @property
    def identity(self) -> str:
        """The charger's identity, as its record spells it."""
        return self.record.identity


def admit(head: Head, lookups: Lookups) -> Admission | Refused:
    """Decide about one upgrade request."""
    names = parse_path(head.path)
    if names is None:
        return _BAD_PATH
    tenant = lookups.tenant(names[0])
    record = lookups.charger(*names) if tenant is not None else None
    if tenant is None or record is None or not record.enabled:
        return _UNKNOWN
    refused = _credential_fault(head.authorization, tenant, record, lookups.credential_key)
    if refused is not None:
        return refused
    return Admission(tenant, record, choose_subprotocol(head.subprotocols), head.remote)


def door(lookups: Lookups, receiver_of: Callable[[Admission], Receiver]) -> Door:
    """A door that applies the rules and asks `receiver_of` for the receiver of each admitted charger."""

    def answer(head: Head) -> Admitted | Refused:
        admission = admit(head, lookups)
        return admission if isinstance(admission, Refused) else Admitted(receiver_of(admission), admission.subprotocol)

    return answer


def choose_subprotocol(offered: tuple[str, ...]) -> str | None:
    """The newest OCPP version that both sides speak, whatever order the peer prefers; None when there is none."""
    return next((name for name in SUBPROTOCOLS if name in offered), None)


def upgrade_fault(headers: Mapping[str, str]) -> Refused | None:
    """What is wrong with the headers of an upgrade request (RFC 6455, 4.2.1), or None. `headers` ignores the case of names."""
    if headers.get("upgrade", "").lower() != "websocket":
        return Refused(400, "this is a WebSocket endpoint: Upgrade: websocket is missing")
    if "upgrade" not in (token.lower() for token in split_list(headers.get("connection"))):
        return Refused(400, "Connection: Upgrade is missing")
    version = headers.get("sec-websocket-version")
    if version != WEBSOCKET_VERSION:
        return Refused(426 if version else 400, "WebSocket version 13 is spoken here", (("Sec-WebSocket-Version", WEBSOCKET_VERSION),))
    try:
        key = b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except ValueError:  # also what a character outside ASCII raises
        key = b""
    return None if len(key) == 16 else Refused(400, "Sec-WebSocket-Key is not 16 bytes in base64")


def overloaded(retry_after_s: int) -> Refused:
    """The answer when there is no room; the peer may try again after that many seconds."""
    return Refused(503, "no room, try again later", (("Retry-After", str(retry_after_s)),))


def split_list(value: str | None) -> tuple[str, ...]:
    """The elements of a comma-separated header."""
    return tuple(element for part in value.split(",") if (element := part.strip())) if value else ()


def _credential_fault(authorization: str | None, tenant: Tenant, record: ChargerRecord, key: bytes) -> Refused | None:
    if record.security_profile == 0:
        # Credentials that a profile 0 charger sends anyway are ignored: there is nothing to compare them with.
        return None if tenant.profile0 else _NO_CREDENTIALS
    if record.security_profile >= 3:
        return _NO_CERTIFICATE
    if authorization is None:
        return _NO_CREDENTIALS
    password = _basic_password(authorization, record.identity)
    return None if password is not None and credential_matches(key, record.credential, password) else _BAD_CREDENTIALS


def _basic_password(authorization: str, identity: str) -> str | None:
    """The password of a Basic header whose user is the identity (A00.FR.204), else None.

    The identity may contain a colon, so it is compared as a prefix rather than split off. A key that was sent as raw bytes (the
    white paper's own example does) and is no UTF-8 becomes its hex digits, which digest alike.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user_and_password = b64decode(token.strip(), validate=True)
    except (BadBase64, ValueError):
        return None
    user = identity.encode() + b":"
    if not user_and_password.startswith(user):
        return None
    password = user_and_password[len(user) :]
    try:
        return password.decode()
    except UnicodeDecodeError:
        return password.hex()

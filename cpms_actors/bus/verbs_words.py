"""The words that admin verbs are made of: annotated types, so that a request is checked and documented by its own declaration."""

from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from cpms_actors.base.ids import DEFAULT_TENANT

# `$(?!\n)` is the end of the text in Python and in the ECMAScript of JSON Schema alike; `$` alone lets a newline through in Python.
TENANT_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$(?!\n)"
IDENTITY_PATTERN: Final = r"^[A-Za-z0-9*\-_=:+|@.]{1,48}$(?!\n)"
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:+@*-]{0,63}$(?!\n)"
TOKEN_PATTERN: Final = r"^[!-~]([ -~]{0,253}[!-~])?$(?!\n)"
ZONE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_+/-]{0,63}$(?!\n)"
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$(?!\n)"
COUNTRY_PATTERN: Final = r"^[A-Z]{2}$(?!\n)"
LINE_PATTERN: Final = r"^[^\u0000-\u001f\u007f]{0,255}$(?!\n)"
ACTION_PATTERN: Final = r"^[A-Za-z0-9]{1,64}$(?!\n)"

PATTERN_SENTENCES: Final = {
    TENANT_PATTERN: "a tenant is 1 to 32 of a-z, 0-9 and inner hyphens",
    IDENTITY_PATTERN: "a charger's identity is 1 to 48 of A-Z a-z 0-9 * - _ = : + | @ and .",
    NAME_PATTERN: "an id is 1 to 64 of A-Z a-z 0-9 . _ : + @ * - and starts with a letter or digit",
    TOKEN_PATTERN: "a token's id is 1 to 255 printable ASCII characters without a space at either end",
    ZONE_PATTERN: "a time zone is its name in the IANA database, such as Europe/Berlin",
    CURRENCY_PATTERN: "a currency is three capital letters of ISO 4217, such as EUR",
    COUNTRY_PATTERN: "a country is two capital letters of ISO 3166-1, such as DE",
    LINE_PATTERN: "a text is one line of at most 255 characters without control characters",
    ACTION_PATTERN: "an action is its name in OCPP, such as Reset",
}
"""What to tell an operator in place of a regular expression."""

TenantId: TypeAlias = Annotated[str, Meta(pattern=TENANT_PATTERN, description="The tenant's id: 1 to 32 of a-z, 0-9, inner hyphens.")]
Identity: TypeAlias = Annotated[str, Meta(pattern=IDENTITY_PATTERN, description="The charger's identity: last segment of its URL.")]
SiteId: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN, description="The site's id, unique in its tenant.")]
TariffId: TypeAlias = Annotated[str, Meta(pattern=NAME_PATTERN, description="The tariff's id, unique in its tenant.")]
TokenId: TypeAlias = Annotated[str, Meta(pattern=TOKEN_PATTERN, description="What the reader reads; case does not matter.")]
Currency: TypeAlias = Annotated[str, Meta(pattern=CURRENCY_PATTERN, description="ISO 4217.")]
Country: TypeAlias = Annotated[str, Meta(pattern=COUNTRY_PATTERN, description="ISO 3166-1 alpha-2.")]
Zone: TypeAlias = Annotated[str, Meta(pattern=ZONE_PATTERN, description="IANA time zone, such as Europe/Berlin.")]
Line: TypeAlias = Annotated[str, Meta(pattern=LINE_PATTERN, description="One line, at most 255 characters.")]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a zone.")]
Password: TypeAlias = Annotated[
    str,
    Meta(
        min_length=16,
        max_length=40,
        description="AuthorizationKey, BasicAuthPassword: 16 to 20 bytes or their hex digits; 16 to 40 characters in OCPP 2.x.",
    ),
]
HeartbeatSeconds: TypeAlias = Annotated[int, Meta(ge=10, le=86_400, description="Seconds between heartbeats, told at boot.")]
FailedStartSeconds: TypeAlias = Annotated[
    int,
    Meta(ge=0, le=2_592_000, description="Silent seconds after which a start without energy at a free connector is closed; 0: never."),
]
EndlessSeconds: TypeAlias = Annotated[
    int, Meta(ge=0, le=2_592_000, description="A session is closed after so many seconds without a sign of it; 0: never.")
]
SecurityProfile: TypeAlias = Annotated[
    int,
    Meta(ge=0, le=3, description="OCPP security profile: 0 nothing, 1 password, 2 TLS and password, 3 TLS with client certificate."),
]
Limit: TypeAlias = Annotated[int, Meta(ge=1, le=1_000, description="At most so many rows.")]
After: TypeAlias = Annotated[str, Meta(max_length=512, description="`next` of the page before.")]

TokenKind: TypeAlias = Literal[
    "Central", "DirectPayment", "eMAID", "EVCCID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress", "NoAuthorization", "VIN"
]
"""OCPP 2.0.1 part 2, IdTokenEnumType, and the three words that 2.1 adds to it."""

TokenStatus: TypeAlias = Literal[
    "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation", "NotAtThisTime"
]
"""The stored ones of OCPP 2.x AuthorizationStatusEnumType; ConcurrentTx and Unknown are found out, never stored."""


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The root of requests. An unknown field is an error: a misspelt option must not be ignored."""


class TenantRequest(Request, frozen=True, kw_only=True):
    """A request within one tenant."""

    tenant: TenantId = DEFAULT_TENANT


class PageRequest(TenantRequest, frozen=True, kw_only=True):
    """A request for one page of a list."""

    limit: Limit = 100
    after: After | None = None


class Response(Struct, frozen=True, kw_only=True):
    """The root of responses. Fields may be added in later releases: readers ignore what they do not know."""

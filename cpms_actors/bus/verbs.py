"""The admin verbs: what an operator, or a program in an operator's place, may ask.

A verb is one request on `cpms.admin.<operator>.<verb>`, JSON in and JSON out. The broker's permissions pin an operator to the token
in the subject; the operations pool answers. A reply holds either the response or why there is none:

    {"ok": {...}}
    {"error": {"code": "unknown-tenant", "text": "a sentence with the remedy", "exit": 2, "details": {...}}}

`code` is stable; `exit` is what the command line exits with: 2 the request cannot be done, 3 something needed does not answer, 4 the
charger refused. The table below is all there is: the pool serves exactly it, `cpms verbs` prints it with the JSON schemas.
"""

from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from cpms_actors.base.errors import CpmsError
from cpms_actors.bus import verbs_fleet as fleet
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.bus import verbs_parked as parked
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.bus.verbs_words import Request, Response

Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)

EXIT_OPERATOR: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_REFUSED: Final = 4


class Verb(Generic[Q, R]):
    """One verb: its name, the Structs of its request and response, and what it does."""

    __slots__ = ("_requests", "_responses", "doc", "name", "request", "response")

    def __init__(self, name: str, request: type[Q], response: type[R], doc: str) -> None:
        self.name = name
        self.request = request
        self.response = response
        self.doc = doc
        self._requests = msgspec.json.Decoder(request)
        self._responses = msgspec.json.Decoder(response)

    def decode_request(self, data: bytes) -> Q:
        """The request; no bytes are an empty object. Raises msgspec.DecodeError (or ValidationError, which is one)."""
        return self._requests.decode(data or b"{}")

    def decode_reply(self, data: bytes) -> R:
        """The response. Raises VerbFailed when the reply holds an error, or is none."""
        try:
            reply = _REPLY.decode(data)
            if reply.error is not UNSET:
                raise VerbFailed(reply.error.code, reply.error.text, reply.error.exit, reply.error.details)
            if reply.ok is not UNSET:
                return self._responses.decode(reply.ok)
        except msgspec.DecodeError as error:
            raise VerbFailed("foreign-reply", f"the answer to {self.name} is none: {error}; are both of one release?", 3) from None
        raise VerbFailed("foreign-reply", f"the answer to {self.name} is empty; are both of one release?", EXIT_UNAVAILABLE)


class VerbFailed(CpmsError):
    """A verb was answered with an error; `code`, `text`, `exit` and `details` as in the reply."""

    def __init__(self, code: str, text: str, exit_code: int, details: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.exit = exit_code
        self.details = details


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a verb was not done: a stable code, a sentence with the remedy, the command line's exit code."""

    code: str
    text: str
    exit: int
    details: dict[str, Any] | None = None


class Reply(Struct, frozen=True, omit_defaults=True):
    """What comes back: one of the two."""

    ok: Raw | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


_REPLY: Final = msgspec.json.Decoder(Reply)
_ENCODER: Final = msgspec.json.Encoder()


def encode_request(request: Request) -> bytes:
    """The request as it goes over the wire; what is UNSET is left out."""
    return _ENCODER.encode(request)


def encode_ok(response: Response) -> bytes:
    """A reply that holds the response."""
    return b'{"ok":' + _ENCODER.encode(response) + b"}"


def encode_error(failure: Failure) -> bytes:
    """A reply that holds an error."""
    return _ENCODER.encode({"error": failure})


TENANT_ADD: Final = Verb("tenant.add", registry.TenantAdd, registry.TenantView, "Add a tenant.")
TENANT_SET: Final = Verb("tenant.set", registry.TenantSet, registry.TenantView, "Change a tenant's policies.")
TENANT_SHOW: Final = Verb("tenant.show", registry.TenantShow, registry.TenantView, "One tenant.")
TENANT_LIST: Final = Verb("tenant.list", registry.TenantList, registry.TenantPage, "Tenants, by id.")
SITE_ADD: Final = Verb("site.add", registry.SiteAdd, registry.SiteView, "Add a site.")
SITE_SET: Final = Verb("site.set", registry.SiteSet, registry.SiteView, "Change a site.")
SITE_SHOW: Final = Verb("site.show", registry.SiteShow, registry.SiteView, "One site.")
SITE_LIST: Final = Verb("site.list", registry.SiteList, registry.SitePage, "A tenant's sites, by id.")
CHARGER_ADD: Final = Verb("charger.add", registry.ChargerAdd, registry.ChargerView, "Add a charger; it may connect at once.")
CHARGER_SET: Final = Verb("charger.set", registry.ChargerSet, registry.ChargerView, "Change what an operator decides of a charger.")
CHARGER_SHOW: Final = Verb("charger.show", registry.ChargerShow, registry.ChargerDetail, "One charger and its connectors.")
CHARGER_LIST: Final = Verb("charger.list", registry.ChargerList, registry.ChargerPage, "A tenant's chargers, by identity.")
CHARGER_CALL: Final = Verb("charger.call", fleet.ChargerCall, fleet.ChargerAnswer, "Send an OCPP action to a charger; its answer.")
TOKEN_ADD: Final = Verb("token.add", registry.TokenAdd, registry.TokenView, "Add a token.")
TOKEN_SET: Final = Verb("token.set", registry.TokenSet, registry.TokenView, "Change a token.")
TOKEN_BLOCK: Final = Verb("token.block", registry.TokenBlock, registry.TokenView, "Block a token: it starts no further session.")
TOKEN_SHOW: Final = Verb("token.show", registry.TokenShow, registry.TokenView, "One token.")
TOKEN_LIST: Final = Verb("token.list", registry.TokenList, registry.TokenPage, "A tenant's tokens, by id.")
TARIFF_SET: Final = Verb("tariff.set", ledger.TariffSet, ledger.TariffView, "Store a tariff, as its next version.")
TARIFF_SHOW: Final = Verb("tariff.show", ledger.TariffShow, ledger.TariffView, "One tariff: its newest version, or an older one.")
TARIFF_LIST: Final = Verb("tariff.list", ledger.TariffList, ledger.TariffPage, "A tenant's tariffs, the newest version of each.")
TARIFF_ASSIGN: Final = Verb("tariff.assign", ledger.TariffAssign, ledger.TariffAssigned, "Say where a tariff applies.")
SESSION_SHOW: Final = Verb("session.show", ledger.SessionShow, ledger.SessionDetail, "One session with its meter readings.")
SESSION_LIST: Final = Verb("session.list", ledger.SessionList, ledger.SessionPage, "A tenant's sessions, the newest first.")
CDR_SHOW: Final = Verb("cdr.show", ledger.CdrShow, ledger.CdrDetail, "One charge detail record and how its totals came about.")
CDR_LIST: Final = Verb("cdr.list", ledger.CdrList, ledger.CdrPage, "A tenant's charge detail records, the newest first.")
PARKED_SHOW: Final = Verb("parked.show", parked.ParkedShow, parked.ParkedDetail, "One parked message with its payload.")
PARKED_LIST: Final = Verb("parked.list", parked.ParkedList, parked.ParkedPage, "Messages that could not be used, the newest first.")
PARKED_EXPLAIN: Final = Verb("parked.explain", parked.ParkedExplain, parked.ParkedExplanation, "Why one is parked, and what to do.")
PARKED_REPLAY: Final = Verb("parked.replay", parked.ParkedReplay, parked.ParkedReplayed, "Try a parked message again.")
PARKED_DISCARD: Final = Verb("parked.discard", parked.ParkedDiscard, parked.ParkedDetail, "Close a parked message with a reason.")
AUDIT_LIST: Final = Verb("audit.list", parked.AuditList, parked.AuditPage, "What operators did, the newest first.")
RECONCILE: Final = Verb("reconcile", ledger.Reconcile, ledger.Reconciliation, "Hold registers, sessions and CDRs against each other.")
STATUS: Final = Verb("status", fleet.StatusRequest, fleet.FleetStatus, "Workers, slots, lanes, connections, rates and lag.")
NODE_ROLLOUT: Final = Verb("node.rollout", fleet.NodeRollout, fleet.NodeRolledOut, "Replace a machine's workers by new processes.")
NODE_DRAIN: Final = Verb("node.drain", fleet.NodeDrain, fleet.NodeDrained, "Have a machine's chargers served elsewhere, or here again.")

VERBS: Final[dict[str, Verb[Any, Any]]] = {
    verb.name: verb
    for verb in (
        TENANT_ADD,
        TENANT_SET,
        TENANT_SHOW,
        TENANT_LIST,
        SITE_ADD,
        SITE_SET,
        SITE_SHOW,
        SITE_LIST,
        CHARGER_ADD,
        CHARGER_SET,
        CHARGER_SHOW,
        CHARGER_LIST,
        CHARGER_CALL,
        TOKEN_ADD,
        TOKEN_SET,
        TOKEN_BLOCK,
        TOKEN_SHOW,
        TOKEN_LIST,
        TARIFF_SET,
        TARIFF_SHOW,
        TARIFF_LIST,
        TARIFF_ASSIGN,
        SESSION_SHOW,
        SESSION_LIST,
        CDR_SHOW,
        CDR_LIST,
        PARKED_SHOW,
        PARKED_LIST,
        PARKED_EXPLAIN,
        PARKED_REPLAY,
        PARKED_DISCARD,
        AUDIT_LIST,
        RECONCILE,
        STATUS,
        NODE_ROLLOUT,
        NODE_DRAIN,
    )
}
"""Every verb by its name, in the order above."""


def schemas() -> dict[str, Any]:
    """JSON schemas (draft 2020-12): `verbs` maps a name to doc, request and response; `$defs` holds what they refer to."""
    types: list[type] = [side for verb in VERBS.values() for side in (verb.request, verb.response)]
    references, components = msgspec.json.schema_components([*types, Failure], ref_template="#/$defs/{name}")
    pairs = zip(references[0:-1:2], references[1:-1:2], strict=True)
    verbs = {
        verb.name: {"doc": verb.doc, "request": request, "response": response}
        for verb, (request, response) in zip(VERBS.values(), pairs, strict=True)
    }
    return {"verbs": verbs, "error": references[-1], "$defs": components}

"""Admin verbs of parked messages, and of the audit: what operators did.

A parked message is open until it is resolved: replayed, or discarded with a reason.
"""

from typing import Annotated, Any

from msgspec import Meta

from cpms_actors.bus.verbs_ledger import SessionView
from cpms_actors.bus.verbs_words import Identity, Line, Moment, PageRequest, Response, TenantRequest

ParkedId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="The parked message's number.")]


class ParkedShow(TenantRequest, frozen=True, kw_only=True):
    """Which parked message."""

    id: ParkedId


class ParkedExplain(TenantRequest, frozen=True, kw_only=True):
    """Which parked message to explain."""

    id: ParkedId


class ParkedReplay(TenantRequest, frozen=True, kw_only=True):
    """Which parked message to try again."""

    id: ParkedId


class ParkedDiscard(TenantRequest, frozen=True, kw_only=True):
    """Close a parked message without using it. The reason may as well say what was done by hand instead."""

    id: ParkedId
    reason: Annotated[Line, Meta(min_length=1, description="Why it is not needed any more, in a sentence.")]


class ParkedList(PageRequest, frozen=True, kw_only=True):
    """A page of a tenant's parked messages, the newest first."""

    charger: Identity | None = None
    reason: Annotated[Line | None, Meta(description="Only those parked for this reason.")] = None
    resolved: Annotated[bool | None, Meta(description="Only those that are, or are not, resolved; null: both.")] = False


class ParkedView(Response, frozen=True, kw_only=True):
    """A message that could not be used and was not dropped: `reason` is a stable word, `detail` a sentence."""

    tenant: str
    id: int
    charger: str
    reason: str
    detail: str
    action: str | None
    message_id: str
    received_at: Moment
    resolved_at: Moment | None
    resolution: str | None


class ParkedDetail(Response, frozen=True, kw_only=True):
    """A parked message and what it held: `payload` when it is JSON, else `payload_base64`. `resolved_by` is an operator."""

    parked: ParkedView
    payload: Any
    payload_base64: str | None
    resolved_by: str | None


class ParkedPage(Response, frozen=True, kw_only=True):
    """A page of parked messages; `next` is None on the last one."""

    parked: list[ParkedView]
    next: str | None


class ParkedExplanation(Response, frozen=True, kw_only=True):
    """What the reason means, and what is known of the message now.

    `replayable`: a replay would be of use as things are; `replay` says so, or why not. `ocpp` and `connected` are null for a charger
    that is not known. `transaction` is the one that the payload names, `sessions` those that are known by it.
    """

    parked: ParkedView
    means: str
    causes: str
    remedy: str
    replayable: bool
    replay: str
    ocpp: str | None
    connected: bool | None
    transaction: str | None
    sessions: list[SessionView]


class ParkedReplayed(Response, frozen=True, kw_only=True):
    """A parked message that is in the journal again: so many facts, by that writer, which is folded once. `sessions` are those of them
    that are known already and will change. What cannot be used then either is parked anew."""

    parked: ParkedView
    events: int
    writer: str
    sessions: list[int]


class AuditList(PageRequest, frozen=True, kw_only=True):
    """A page of what operators did within a tenant, the newest first."""


class AuditView(Response, frozen=True, kw_only=True):
    """What an operator did: `subject` is the kind and name of what it was done to, `detail` what else the verb has to say."""

    id: int
    at: Moment
    operator: str
    verb: str
    subject: str
    detail: dict[str, Any]


class AuditPage(Response, frozen=True, kw_only=True):
    """A page of the audit; `next` is None on the last one."""

    audit: list[AuditView]
    next: str | None

"""Why messages are parked: one table of the reasons, for whoever finds one and wonders what to do.

A reason is a stable word. Where it is given lies all over the code (a malformed frame in the charger's actor, a stop of an unknown
transaction in the fold); what it means to an operator lies here. `tests/domain/test_parking.py` holds the two together.
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Form: TypeAlias = Literal["event", "message", "page"]
"""What a payload is that can be tried again: an event of the journal as JSON, the JSON object of an OCPP message, a journal page."""


class Reason(Struct, frozen=True, kw_only=True):
    """A word that messages are parked under: what it means, what usually causes it, what to do about it.

    `replayed_as` None: it cannot be replayed, and `replay` says why; else `replay` says when that is of use.
    """

    means: str
    causes: str
    remedy: str
    replay: str
    replayed_as: Form | None = None


REASONS: Final[dict[str, Reason]] = {
    # What the charger's actor refused.
    "malformed": Reason(
        means="A text that is no message of OCPP-J: no JSON array of a known type with the fields that belong to it.",
        causes="A fault in the charger's firmware, a text cut off on the way, or a program that is no charger.",
        remedy="Show the payload to the charger's manufacturer; when it tells of a session, enter that by hand. Then discard it.",
        replay="what it means is not known",
    ),
    "unknown_action": Reason(
        means="A message whose action is none of the charger's version of OCPP, or none that a charger may send.",
        causes="An action of a vendor's own or of another version, or a misspelt one.",
        remedy="Replay it when a later release, or the version the charger speaks now, knows the action; otherwise discard it.",
        replay="once the action is known",
        replayed_as="message",
    ),
    "wrong_message_type": Reason(
        means="A known action that came as a CALL and is sent unconfirmed (SEND) in OCPP 2.1, or the other way round.",
        causes="A fault in the charger's firmware.",
        remedy="Replay it: what it says can be used. Have the firmware corrected.",
        replay="at any time",
        replayed_as="message",
    ),
    "not_accepted": Reason(
        means="The charger spoke before its BootNotification was answered Accepted. It was told SecurityError.",
        causes="Its boot policy is Pending or Rejected, or it does not wait for the answer to its BootNotification.",
        remedy="Accept the charger (`cpms charger set CHARGER --boot accepted`), then replay what it said meanwhile.",
        replay="once the charger is accepted",
        replayed_as="message",
    ),
    "invalid_payload": Reason(
        means="A message whose payload breaks the schema of its action, beyond what may be repaired.",
        causes="A fault in the charger's firmware; or its tenant is strict, which repairs nothing.",
        remedy="Let the tenant be lenient (`cpms tenant set TENANT --strictness lenient`), or upgrade, and replay it.",
        replay="once the payload can be read, by another strictness or a later release",
        replayed_as="message",
    ),
    "repaired": Reason(
        means="A message with a fault that was used all the same; what could not be used of it is told by the detail.",
        causes="A known weakness of the charger's firmware: a wrong timestamp, a value that is no number, a field too long.",
        remedy="Compare the payload with what was made of it. When nothing of worth is missing, discard it.",
        replay="what is good of it was used when it came",
    ),
    "crashed": Reason(
        means="A message on which a rule of ours raised an error. The charger was answered InternalError.",
        causes="A fault of this system, which the worker's log shows.",
        remedy="Report the fault; upgrade when it is mended, and replay the message.",
        replay="once the fault is mended",
        replayed_as="message",
    ),
    # What stands in the journal for an event that it could not hold.
    "oversize": Reason(
        means="A message larger than a page of the journal. The charger was not answered; only the beginning was kept.",
        causes="A report or signed meter data of several MiB, or a nats-server that takes small messages only.",
        remedy="Raise max_payload of nats-server. The charger sends the message again; discard this one when it has come.",
        replay="only its beginning was kept",
    ),
    "unencodable": Reason(
        means="A fact that cannot be written to the journal. The charger was not answered; a description of it was kept.",
        causes="A number beyond 64 bits, or a text that is no Unicode.",
        remedy="Have the firmware corrected; when it tells of a session, enter that by hand. Then discard it.",
        replay="only a description was kept",
    ),
    # What the fold could not use.
    "unknown-transaction": Reason(
        means="Meter values or the stop of an OCPP 1.6 transaction that this charger never started here."
        " Of the meter values of one transaction only the first message is parked; the readings of all are kept, without a session.",
        causes="The transaction was started with another system, or its start is parked or was lost.",
        remedy="Look for the start (`cpms parked list --charger CHARGER`) and replay that first; when there is none, bill it by hand"
        " by the registers and discard it.",
        replay="once its transaction is known; of its meter values, those of this message then belong to the session",
        replayed_as="event",
    ),
    "no-transaction": Reason(
        means="The stop of an OCPP 1.6 transaction without a transaction id (0 or -1).",
        causes="The charger started while it was offline, and never got the answer to its StartTransaction.",
        remedy="Find the session by charger, tag and time (`cpms session list --charger CHARGER`), bill the rest by hand,"
        " and discard it.",
        replay="it names no transaction that it could end",
    ),
    "second-stop": Reason(
        means="Another stop, with other figures, of an OCPP 1.6 transaction that had ended.",
        causes="A charger that stops a transaction again after a reset, with the register or the clock of then.",
        remedy="Compare both with the charger's own log. When the first one is right, discard this one; else correct the bill by hand.",
        replay="only when the rules have changed: a transaction ends once",
        replayed_as="event",
    ),
    "transaction-reused": Reason(
        means="A start under the id of a transaction that was started before, with other content.",
        causes="A charger that counts its transactions from the beginning after a reset, while the old one is still open.",
        remedy="See whether the old session has ended (`cpms session list --charger CHARGER`), and replay this one when it has.",
        replay="once the transaction that had the id has ended",
        replayed_as="event",
    ),
    "poison": Reason(
        means="A fact on which the fold raised an error, or that Postgres refused.",
        causes="A value that no rule foresaw: a NUL in a text, a number beyond bigint, a text that should be JSON; or a fault of ours.",
        remedy="Report the fault if it is one of ours; upgrade when it is mended, and replay the fact.",
        replay="once the rules, or the database, take it",
        replayed_as="event",
    ),
    "unreadable-page": Reason(
        means="A page of the journal that cannot be read: none of its facts is folded.",
        causes="It was written by a later release than the session pool's, or was damaged.",
        remedy="Upgrade the pools to the release of the workers, and replay the page.",
        replay="once the page can be read; what it says of connections is left out, since that is over",
        replayed_as="page",
    ),
    "journal-gap": Reason(
        means="Pages of one writer are missing in the journal: what they held was answered, and is not folded.",
        causes="The broker lost acknowledged pages in a power failure, or somebody purged the stream.",
        remedy="Run `cpms reconcile`, which finds the sessions that do not fit any more; set sync_interval of nats-server to always.",
        replay="the pages are gone",
    ),
}
"""By the word."""

UNKNOWN: Final = Reason(
    means="A reason that this release does not know.",
    causes="It was parked by another release.",
    remedy="Ask `cpms parked explain` of the release that parked it, or judge it by its detail and its payload.",
    replay="this release does not know what its payload is",
)


def reason_of(word: str) -> Reason:
    """What the word means."""
    return REASONS.get(word, UNKNOWN)

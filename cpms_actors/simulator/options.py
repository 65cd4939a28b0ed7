"""What a virtual charge point is told at its birth: its manners, its faults, and what comes back from it.

Every quirk was seen in a real charger; without quirks every frame is valid against the schemas of its version.
"""

from typing import Literal

from msgspec import Struct

Version = Literal["1.6", "2.0.1", "2.1"]
VERSIONS: tuple[Version, ...] = ("1.6", "2.0.1", "2.1")
SUBPROTOCOLS: dict[Version, str] = {"1.6": "ocpp1.6", "2.0.1": "ocpp2.0.1", "2.1": "ocpp2.1"}


class Quirks(Struct, frozen=True):
    """Faults of real chargers, all off.

    `constant_message_id`: every CALL carries this id. `unit_synonyms`: "Hz" and "Celcius" as units. `numeric_values`: sampled
    values with the wrong JSON type (1.6: number, 2.x: string). `unknown_context`: a reading context that is in no specification.
    `serial_too_long`: 32 characters where 25 are allowed. `null_info`: StatusNotification says info "null" and has no timestamp
    (1.6). `naive_timestamps`: no zone in any timestamp. `forgets_transaction_id`: what follows a start says -1 (1.6, errata
    3.18). `huge_transaction_id`: meter values say 2^63 - 1 (1.6). `boots_on_reconnect`: BootNotification on each connection.
    `stops_without_token`: no idTag in a stop. `loses_answers_to`: the first answer to each of these actions in each session is
    not heard, so that the message comes again. `holds_back`: the events of these seqNos in each transaction are told behind all
    others, when the server has asked for the status of a transaction (2.x).
    """

    constant_message_id: str | None = None
    unit_synonyms: bool = False
    numeric_values: bool = False
    unknown_context: bool = False
    serial_too_long: bool = False
    null_info: bool = False
    naive_timestamps: bool = False
    forgets_transaction_id: bool = False
    huge_transaction_id: bool = False
    boots_on_reconnect: bool = False
    stops_without_token: bool = False
    loses_answers_to: frozenset[str] = frozenset()
    holds_back: frozenset[int] = frozenset()


class Outage(Struct, frozen=True, gc=False):
    """A loss of the network, in station seconds: begins `after_s` after the first start, lasts `for_s`."""

    after_s: float
    for_s: float


class Options(Struct, frozen=True):
    """How a charge point behaves. Real seconds: answers, retries, boots, reconnections, downloads. Station seconds: the rest.

    `attempts_max` and `retry_interval_s` are TransactionMessageAttempts and -RetryInterval: the wait is interval times attempts
    (OCPP 1.6 section 3.7.1), then the message is discarded. `retry_same_id`: retries carry the id of the first attempt, or a new
    one; OCPP allows both. `reconnect_*`: WaitMinimum, RandomRange and RepeatTimes of OCPP 2.1 part 4 section 5.4, for every
    version. `starts_at_ms`: what the clock shows at first, None for the real time. `offline_start`: whether a driver may begin
    while the station is offline. `remote_authorize`: Authorize before a remote start (AuthorizeRemoteTxRequests).
    `heartbeat_s` overrides what the server asks for. `queue_max` bounds the offline queue: beyond it meter values are dropped and
    counted, starts and stops never. `keep_register` remembers every reading for the ground truth.
    """

    vendor: str = "Virtual Chargers"
    model: str = "VC-22"
    firmware: str = "1.0.0"
    evses: int = 1
    speed: float = 1.0
    starts_at_ms: int | None = None
    skew_s: float = 0.0
    call_timeout_s: float = 30.0
    attempts_max: int = 3
    retry_interval_s: float = 10.0
    retry_same_id: bool = True
    boot_retry_s: float = 10.0
    heartbeat_s: float | None = None
    reconnect_min_s: float = 1.0
    reconnect_random_s: float = 2.0
    reconnect_doublings: int = 5
    connect_attempts_max: int = 12
    reboot_s: float = 1.0
    firmware_download_s: float = 5.0
    offline_start: bool = True
    remote_authorize: bool = False
    outages: tuple[Outage, ...] = ()
    queue_max: int = 10_000
    keep_register: bool = True
    quirks: Quirks = Quirks()


class Connect(Struct, frozen=True, gc=False):
    """Output: open a WebSocket with this subprotocol, then call `connected`, or `disconnected` when it failed."""

    subprotocol: str


class Send(Struct, frozen=True, gc=False):
    """Output: send this text message."""

    text: str


class Close(Struct, frozen=True, gc=False):
    """Output: close the connection, then call `disconnected`. `abort`: without a closing handshake, as a network fails."""

    code: int = 1000
    reason: str = ""
    abort: bool = False


Output = Connect | Send | Close

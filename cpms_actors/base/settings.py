"""Settings: one frozen struct per concern, read once at start from a TOML file and the environment, never after.

Order: the defaults here, then the file (`--config`, or CPMS_CONFIG), then environment variables named CPMS_<SECTION>_<FIELD>
(CPMS_NATS_URL, CPMS_POSTGRES_DSN, CPMS_GATEWAY_PORT, ...). An unknown key is an error that names the known ones.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from cpms_actors.base.errors import OperatorError


class Nats(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach NATS. `url` may carry user and password; several servers are separated by commas."""

    url: str = "nats://127.0.0.1:4222"
    operator_url: str = ""  # what the CLI uses; pinned by the broker to its own admin subjects. Empty: `url`.
    operator: str = "local"  # the operator's token in cpms.admin.<operator>.<verb>
    ping_interval_s: float = 1.5  # a peer that is silent for three of them is dead
    request_timeout_s: float = 5.0
    replicas: int = 1


class Postgres(Struct, frozen=True, forbid_unknown_fields=True):
    """How to reach Postgres: `dsn` as the role that row level security binds, `owner_dsn` as the one that migrates.

    Readings, reports and resolved parked messages are deleted `telemetry_days` (at least 2) after they came. Sessions and CDRs stay;
    one that is amended later than that is priced anew without its readings.
    """

    dsn: str = "postgresql://cpms_app@127.0.0.1:5432/cpms"
    owner_dsn: str = ""
    connections_max: int = 8
    telemetry_days: int = 400


class Gateway(Struct, frozen=True, forbid_unknown_fields=True):
    """Sockets. Sizes in bytes, times in seconds, lag in milliseconds.

    `inner_host` is the address on which workers of other nodes carry connections to this one; empty: `host`, unless that is every
    address. The last four are gates, and 0 opens one for good: three against storms of reconnects, which refuse with 503 and a
    Retry-After, and one against chargers that send without end, which are not read from for as long as they are ahead.
    """

    host: str = "127.0.0.1"
    port: int = 9000
    engine: Literal["picows", "trio-websocket"] = "picows"
    frame_bytes_max: int = 65_536
    message_bytes_max: int = 262_144
    outbound_bytes_max: int = 1_048_576
    handshake_s: float = 5.0
    ping_interval_s: float = 55.0
    pong_deadline_s: float = 20.0
    connections_max: int = 18_000
    inner_host: str = ""
    admissions_per_s: int = 2000  # after a burst of one second's worth
    lag_max_ms: float = 250.0  # a loop that is later than this lets in fewer, until it is not
    flaps_max: int = 6  # connections within a minute that end within ten seconds and without a message, then the charger is held off
    messages_per_s: int = 20  # of one charger, after a burst of twenty seconds' worth


class Charging(Struct, frozen=True, forbid_unknown_fields=True):
    """The charger actor. Times in seconds."""

    mailbox_max: int = 64  # frames that may wait while a turn is unfinished
    commands_max: int = 32  # CSMS-initiated calls that may wait per charger
    commands_per_s: int = 500  # CSMS-initiated calls of one worker, after a burst of one second's worth; 0: no limit
    call_timeout_s: float = 30.0
    authorize_timeout_s: float = 4.0
    verdict_ttl_s: float = 60.0
    restarts_max: int = 3
    restarts_window_s: float = 60.0
    planted_bug: bool = False  # test only: DataTransfer with vendorId "cpms.test" and messageId "raise" raises in its turn


class Journal(Struct, frozen=True, forbid_unknown_fields=True):
    """The durable log. `waiting_max` bounds the events of a lane that are not yet durable."""

    linger_ms: float = 5.0  # a page waits so long for company: charging has milliseconds to spare
    page_events_max: int = 512
    waiting_max: int = 20_000
    append_timeout_s: float = 5.0
    bytes_max: int = 8_589_934_592
    age_max_days: int = 30


class Logs(Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged: level debug, info, warning or error; format "console" for people, "json" for programs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All of them. `credential_key` keys the digests of chargers' passwords: secret, and the same in every process."""

    nats: Nats = Nats()
    postgres: Postgres = Postgres()
    gateway: Gateway = Gateway()
    charging: Charging = Charging()
    journal: Journal = Journal()
    logs: Logs = Logs()
    credential_key: str = ""
    data: str = ".cpms"
    node: str = ""  # this machine's name among others; empty: its host name


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Read the settings. Raises OperatorError("settings") with the remedy when the file or a variable is wrong."""
    if file is None and environment.get("CPMS_CONFIG"):
        file = Path(environment["CPMS_CONFIG"])
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text())
        except OSError as error:
            raise OperatorError("settings", f"cannot read {file}: {error.strerror}; name a readable TOML file") from None
        except tomllib.TOMLDecodeError as error:
            raise OperatorError("settings", f"{file} is no TOML: {error}") from None
    sections = {f.name: f.type for f in msgspec.structs.fields(Settings)}
    for name, value in environment.items():
        key = name.removeprefix("CPMS_").lower()
        if key == name.lower() or name == "CPMS_CONFIG":
            continue
        section, _, field = key.partition("_")
        if key in sections:
            tree[key] = value
        elif section in sections and issubclass(sections[section], Struct):
            tree.setdefault(section, {})[field] = value
        else:
            raise OperatorError("settings", f"unknown variable {name}; sections are {', '.join(sections)}")
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise OperatorError("settings", f"{error}; in {file or 'the environment'}") from None


def to_environment(settings: Settings) -> dict[str, str]:
    """The variables that make `load` return the same settings: how a parent hands them to its children."""
    variables: dict[str, str] = {}
    for name, value in msgspec.to_builtins(settings).items():
        if isinstance(value, dict):
            variables |= {f"CPMS_{name}_{field}".upper(): _text(inner) for field, inner in value.items()}
        else:
            variables[f"CPMS_{name}".upper()] = _text(value)
    return variables


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Admin verbs of the running fleet: calls to chargers, the status of the processes, and how machines are relieved of theirs."""

from typing import Annotated, Any

from msgspec import Meta, field

from cpms_actors.bus.commands import DrainAnswer, Replaced, WorkerStatus
from cpms_actors.bus.verbs_words import ACTION_PATTERN, Identity, Request, Response, TenantRequest

CALL_TIMEOUT_S_MAX = 600.0
ROLLOUT_TIMEOUT_S_MAX = 3600.0


class ChargerCall(TenantRequest, frozen=True, kw_only=True):
    """An action to send to a charger, as its version of OCPP knows it."""

    charger: Identity
    action: Annotated[str, Meta(pattern=ACTION_PATTERN, description="The action's name in OCPP, such as Reset.")]
    payload: Annotated[dict[str, Any], Meta(description="The request's JSON object, as OCPP defines it.")] = field(default_factory=dict)
    timeout_s: Annotated[float, Meta(gt=0, le=CALL_TIMEOUT_S_MAX, description="Seconds to wait for the charger's answer.")] = 30.0


class ChargerAnswer(Response, frozen=True, kw_only=True):
    """The charger's CALLRESULT. `refused`: its status says no (Rejected, NotSupported, ...). A CALLERROR is an error, call_error."""

    tenant: str
    charger: str
    action: str
    answer: dict[str, Any]
    refused: bool


class NodeRollout(Request, frozen=True, kw_only=True):
    """Replace every worker of a machine by a new process, which runs the code that is installed now."""

    node: Annotated[str | None, Meta(description="The machine; not needed when there is one.")] = None
    timeout_s: Annotated[float, Meta(gt=0, le=ROLLOUT_TIMEOUT_S_MAX, description="Seconds to wait for the last worker.")] = 300.0


class NodeRolledOut(Response, frozen=True, kw_only=True):
    """The workers that were replaced, in order."""

    node: str
    replaced: list[Replaced]


class NodeDrain(Request, frozen=True, kw_only=True):
    """Have the workers of a machine give their chargers to other machines, or (`back`) serve again."""

    node: Annotated[str | None, Meta(description="The machine; not needed when there is one.")] = None
    spread_s: Annotated[float, Meta(ge=0, le=3600, description="Seconds over which connections are closed.")] = 30.0
    back: bool = False


class NodeDrained(Response, frozen=True, kw_only=True):
    """The workers that were told, with the slots that they had then."""

    node: str
    workers: list[DrainAnswer]


class StatusRequest(Request, frozen=True, kw_only=True):
    """How the deployment is doing."""

    wait_ms: Annotated[int, Meta(ge=50, le=5_000, description="How long to wait for processes that do not answer.")] = 300


class LaneView(Response, frozen=True, kw_only=True):
    """One lane as its owner in the session pool sees it; everything is None while no owner answers."""

    lane: int
    owner: str | None = None
    epoch: int | None = None
    offset: int | None = None
    lag_pages: int | None = None
    lag_ms: int | None = None
    events: int | None = None
    events_per_s: float | None = None
    parked: int | None = None
    failures: int | None = None


class PoolView(Response, frozen=True, kw_only=True):
    """A pool that answered: its counters, as it names them."""

    pool: str
    name: str
    counters: dict[str, Any]


class FleetTotals(Response, frozen=True, kw_only=True):
    """Sums over the workers that answered; `slots_unowned` are slots nobody claims."""

    workers: int
    slots_owned: int
    slots_unowned: int
    connections: int
    open_transactions: int
    messages_in: int
    messages_in_per_s: float


class FleetStatus(Response, frozen=True, kw_only=True):
    """Who answered within wait_ms. A process that did not answer is not listed: it may be down."""

    totals: FleetTotals
    workers: list[WorkerStatus]
    lanes: list[LaneView]
    pools: list[PoolView]

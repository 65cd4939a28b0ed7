"""The engines by the name a setting gives them. Each is imported only when it is chosen: the other's libraries may be absent."""

from typing import TYPE_CHECKING

from cpms_actors.base.settings import Gateway
from cpms_actors.gateway.engine import Door, Engine, Limits
from cpms_actors.gateway.gates import Charging, nobody
from cpms_actors.gateway.routing import Routing
from cpms_actors.observe.counters import Counters

if TYPE_CHECKING:
    import trio


def engine_of(
    settings: Gateway,
    door: Door,
    counters: Counters,
    nursery: "trio.Nursery",
    routing: Routing | None = None,
    charging: Charging = nobody,
) -> Engine:
    """The engine that the settings choose. Look at its `loop`: start and stop it there. The nursery owns the tasks of a trio engine.

    With a routing the picows engine passes connections of chargers that are not ours to the worker that owns them. The trio engine
    passes nothing on: for them its door must answer. `charging` is for the gates.
    """
    limits = Limits.of(settings)
    if settings.engine == "picows":
        from cpms_actors.gateway.engines.picows import PicowsEngine

        return PicowsEngine(door, limits, counters, settings.host, settings.port, routing, charging)
    from cpms_actors.gateway.engines.trio_websocket import TrioWebsocketEngine

    return TrioWebsocketEngine(door, limits, counters, settings.host, settings.port, nursery, charging)

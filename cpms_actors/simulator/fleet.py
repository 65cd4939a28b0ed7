"""A fleet of virtual charge points over real WebSockets: trio and trio-websocket, one task per charge point.

Everything a charge point decides is in `charge_point`; a task here only opens what it wants opened, sends what it wants sent, and
tells it what arrives and when time has passed. At most `connecting_max` handshakes are in flight at once, and starts are spread
over `ramp_s`, so that a fleet does not measure its own storm unless it is asked to.
"""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from ssl import SSLContext, create_default_context
from urllib.parse import quote, urlsplit

import h11
import trio
import wsproto.utilities
from msgspec import Struct
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, WebSocketConnection, wrap_client_stream

from cpms_actors.base.errors import OperatorError
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.options import SUBPROTOCOLS, Close, Connect, Output, Send
from cpms_actors.simulator.session import SessionFacts

_FOREVER_S = 86_400.0  # nothing is due: look again once a day
_MESSAGES_WAITING = 16  # frames that may wait for a charge point between two turns; beyond it TCP makes the server wait


class FleetOptions(Struct, frozen=True):
    """How the fleet is driven; real seconds.

    `deadline_s` ends the run: with failures for the unfinished, or, when `hold` keeps charge points connected after their last
    session, as planned. `passwords` by identity; `password` for all others; None connects without credentials.
    """

    tenant: str | None = None
    password: str | None = None
    passwords: Mapping[str, str] = {}
    connecting_max: int = 50
    ramp_s: float = 0.0
    handshake_s: float = 15.0
    close_s: float = 5.0
    deadline_s: float | None = None
    hold: bool = False
    progress_s: float = 0.25


class Progress(Struct, frozen=True, gc=False):
    """Where the fleet is."""

    chargers: int
    online: int
    finished: int
    sessions: int
    energy_wh: int
    messages: int
    failures: int


class FleetResult(Struct, frozen=True):
    """What came of it. `sessions` counts the completed; `facts` has one entry per session, whatever its outcome.

    `complete`: every charge point finished, every session completed, and nothing failed on the way.
    """

    chargers: int
    sessions: int
    energy_wh: int
    complete: bool
    failures: list[str]
    connections: int
    messages_sent: int
    messages_received: int
    seconds: float
    facts: list[SessionFacts]


class _Watched(trio.abc.Stream):
    """A stream that ends a handshake when the peer hangs up: trio-websocket would wait for its answer for ever."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.handshake: trio.CancelScope | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            if not data and self.handshake is not None:
                self.handshake.cancel()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Fleet:
    """One run."""

    def __init__(self, points: Sequence[ChargePoint], url: str, options: FleetOptions, ssl: SSLContext | None) -> None:
        self.points, self.options = points, options
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise OperatorError("url", f"{url} is no WebSocket URL; give one like ws://127.0.0.1:9000/ocpp")
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "wss" else 80)
        self._ssl = (ssl or create_default_context()) if parts.scheme == "wss" else None
        self._path = parts.path.rstrip("/") + (f"/{quote(options.tenant, safe='')}" if options.tenant else "")
        self._connecting = trio.CapacityLimiter(options.connecting_max)
        self._wall_ms, self._began = time.time() * 1000, trio.current_time()

    @property
    def seconds(self) -> float:
        return trio.current_time() - self._began

    def now(self) -> int:
        """Real ms, monotonic, from the loop's clock: the virtual one of a test as well."""
        return int(self._wall_ms + self.seconds * 1000)

    def progress(self) -> Progress:
        return Progress(
            chargers=len(self.points),
            online=sum(point.online for point in self.points),
            finished=sum(point.finished for point in self.points),
            sessions=sum(len(point.facts) for point in self.points),
            energy_wh=sum(facts.energy_wh for point in self.points for facts in point.facts),
            messages=sum(point.counts.sent + point.counts.received for point in self.points),
            failures=sum(len(point.failures) for point in self.points),
        )

    async def drive(self, point: ChargePoint, delay_s: float) -> None:
        """The life of one charge point."""
        await trio.sleep(delay_s)
        outputs = point.start(self.now())
        while not self._done(point):
            if any(isinstance(output, Connect) for output in outputs):
                outputs = await self._connect(point)
            else:
                await self._sleep_until(point.next_wakeup)
                outputs = point.tick(self.now())

    def _done(self, point: ChargePoint) -> bool:
        return point.finished and not self.options.hold

    async def _sleep_until(self, wakeup: int | None) -> None:
        await trio.sleep(_FOREVER_S if wakeup is None else max(0.0, (wakeup - self.now()) / 1000))

    async def _connect(self, point: ChargePoint) -> list[Output]:
        """One connection, from the handshake to its end; returns what the charge point wants after it."""
        try:
            async with self._connecting:
                with trio.fail_after(self.options.handshake_s):
                    stream = await self._open_stream()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            return point.disconnected(self.now(), f"{type(error).__name__}: {error}")
        reason, retry_after_s = "", None
        try:
            async with stream, trio.open_nursery() as nursery:
                reason = await self._talk(point, stream, nursery)
                nursery.cancel_scope.cancel()
        except* ConnectionRejected as rejected:  # raised by the reader of trio-websocket, in the nursery
            reason, retry_after_s = _refusal(rejected)
        except* (ConnectionClosed, h11.ProtocolError, wsproto.utilities.ProtocolError, trio.BrokenResourceError) as broken:
            # raised there too: the peer hung up in the middle, or talks something else
            reason = f"the connection broke: {broken.exceptions[0]}"
        return point.disconnected(self.now(), reason, retry_after_s)

    async def _talk(self, point: ChargePoint, stream: "_Watched", nursery: trio.Nursery) -> str:
        """The handshake and the conversation; returns why it ended."""
        try:
            connection = await self._shake_hands(point, stream, nursery)
            return await self._converse(point, connection, stream)
        except HandshakeError as error:
            return f"no handshake: {error}"
        except ConnectionClosed as error:
            return str(error.reason)

    async def _open_stream(self) -> "_Watched":
        if self._ssl is None:
            return _Watched(await trio.open_tcp_stream(self._host, self._port))
        return _Watched(await trio.open_ssl_over_tcp_stream(self._host, self._port, ssl_context=self._ssl, https_compatible=True))

    async def _shake_hands(self, point: ChargePoint, stream: "_Watched", nursery: trio.Nursery) -> WebSocketConnection:
        password = self.options.passwords.get(point.identity, self.options.password)
        headers: list[tuple[bytes, bytes]] = []
        if password is not None:
            headers.append((b"Authorization", b"Basic " + b64encode(f"{point.identity}:{password}".encode())))
        connection: WebSocketConnection | None = None
        async with self._connecting:
            with trio.move_on_after(self.options.handshake_s) as stream.handshake:
                connection = await wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type] # it asks for a socket, and uses what any trio stream has
                    f"{self._host}:{self._port}",
                    f"{self._path}/{quote(point.identity, safe='')}",
                    subprotocols=[SUBPROTOCOLS[point.version]],
                    extra_headers=headers,
                    message_queue_size=_MESSAGES_WAITING,
                )
        stream.handshake = None
        if connection is None:
            raise HandshakeError("the connection was closed, or nothing came in time")
        if connection.subprotocol != SUBPROTOCOLS[point.version]:
            raise HandshakeError(f"the server offers no {SUBPROTOCOLS[point.version]}")
        return connection

    async def _converse(self, point: ChargePoint, connection: WebSocketConnection, stream: "_Watched") -> str:
        """Frames back and forth until one side has had enough; returns why it ended."""
        outputs = point.connected(self.now())
        while True:
            for output in outputs:
                if isinstance(output, Send):
                    await connection.send_message(output.text)
                elif isinstance(output, Close):
                    if output.abort:
                        await trio.aclose_forcefully(stream)
                    else:
                        await self._close(connection, output.code, output.reason)
                    return output.reason
            if self._done(point):
                await self._close(connection, 1000, "done")
                return "done"
            outputs = await self._event(point, connection)

    async def _event(self, point: ChargePoint, connection: WebSocketConnection) -> list[Output]:
        """What comes first: a message, or the moment the charge point wants to be woken."""
        wakeup = point.next_wakeup
        wait_s = float("inf") if wakeup is None else max(0.0, (wakeup - self.now()) / 1000)
        with trio.move_on_after(wait_s):
            text = await connection.get_message()
            return point.received(text, self.now())
        return point.tick(self.now())

    async def _close(self, connection: WebSocketConnection, code: int, reason: str) -> None:
        with trio.move_on_after(self.options.close_s):
            await connection.aclose(code, reason)

    def result(self, cut_short: bool) -> FleetResult:
        facts = [facts for point in self.points for facts in point.facts]
        failures = [failure for point in self.points for failure in point.failures]
        for point in self.points:
            running = [session.facts(point.identity, point.version) for session in point.sessions.values()]
            facts += running
            if not point.finished and not (self.options.hold and not running):
                failures.append(f"{point.identity}: not finished, {len(running)} sessions and {point.queue_length} messages open")
        completed = sum(one.outcome == "completed" for one in facts)
        return FleetResult(
            chargers=len(self.points),
            sessions=completed,
            energy_wh=sum(one.energy_wh for one in facts),
            complete=not cut_short and not failures and completed == len(facts),
            failures=failures,
            connections=sum(point.counts.connections for point in self.points),
            messages_sent=sum(point.counts.sent for point in self.points),
            messages_received=sum(point.counts.received for point in self.points),
            seconds=round(self.seconds, 3),
            facts=facts,
        )


def _refusal(rejected: "ExceptionGroup[ConnectionRejected]") -> tuple[str, float | None]:
    """Why a handshake was refused, and the seconds of its Retry-After."""
    error: BaseException = rejected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionRejected)  # what except* selected
    headers = {name.lower(): value for name, value in error.headers}
    asked = headers.get(b"retry-after", b"").decode()
    return f"refused with HTTP {error.status_code}", float(asked) if asked.isdecimal() else None


async def run_fleet(
    points: Sequence[ChargePoint],
    url: str,
    options: FleetOptions = FleetOptions(),  # noqa: B008 a frozen struct
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stop: trio.Event | None = None,
    ssl: SSLContext | None = None,
) -> FleetResult:
    """Drive the charge points until all have finished, the deadline, or `stop`; never raises for what a server does.

    `url` is everything before tenant and identity, such as ws://127.0.0.1:9000/ocpp. Raises OperatorError("url") when it is none.
    """
    fleet = _Fleet(points, url, options, ssl)
    deadline_s = float("inf") if options.deadline_s is None else options.deadline_s
    spread_s = options.ramp_s / max(1, len(points))
    async with trio.open_nursery() as around:
        around.start_soon(_report, fleet, on_progress)
        if stop is not None:
            around.start_soon(_stop, stop, around.cancel_scope)
        with trio.move_on_after(deadline_s):
            async with trio.open_nursery() as nursery:
                for number, point in enumerate(points):
                    nursery.start_soon(fleet.drive, point, number * spread_s)
        around.cancel_scope.cancel()
    if on_progress is not None:
        on_progress(fleet.progress())
    return fleet.result(cut_short=stop is not None and stop.is_set() and not options.hold)


async def _report(fleet: _Fleet, on_progress: Callable[[Progress], None] | None) -> None:
    while on_progress is not None:
        on_progress(fleet.progress())
        await trio.sleep(fleet.options.progress_s)


async def _stop(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()

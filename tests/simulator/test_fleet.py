"""The fleet over real sockets: a small CSMS on trio-websocket that answers, refuses, hangs up or is not there."""

import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from cpms_actors.base.errors import OperatorError
from cpms_actors.simulator.charge_point import ChargePoint
from cpms_actors.simulator.fleet import FleetOptions, Progress, run_fleet
from cpms_actors.simulator.options import VERSIONS, Options, Outage
from cpms_actors.simulator.session import SessionPlan

PLAN = SessionPlan("T1", charging_s=600, parking_s=300)
NOW = "2026-01-01T00:00:00Z"
FAST = Options(speed=3000, reconnect_min_s=0.05, reconnect_random_s=0.05)


class Csms:
    """Answers by the book; `refuse` decides about handshakes, `cut_after` hangs up after so many CALLs, once per charge point."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, tuple[str, ...], str]] = []
        self.calls: dict[str, list[str]] = {}
        self.refuse: Callable[[str], tuple[int, list[tuple[bytes, bytes]]] | None] = lambda _: None
        self.cut_after: int | None = None
        self.subprotocol = True
        self.open = 0
        self.open_peak = 0
        self._cut: set[str] = set()
        self._transactions = 0

    async def serve(self, request: WebSocketRequest) -> None:
        headers = {name.lower(): value for name, value in request.headers}
        credentials = b64decode(headers.get(b"authorization", b"Basic ")[6:]).decode()
        self.requests.append((request.path, tuple(request.proposed_subprotocols), credentials))
        identity = request.path.rsplit("/", 1)[1]
        refused = self.refuse(identity)
        if refused is not None:
            await request.reject(refused[0], extra_headers=refused[1])
            return
        connection = await request.accept(subprotocol=request.proposed_subprotocols[0] if self.subprotocol else None)
        self.open += 1
        self.open_peak = max(self.open, self.open_peak)
        try:
            while True:
                _, message_id, action, payload = json.loads(await connection.get_message())
                seen = self.calls.setdefault(identity, [])
                seen.append(action)
                if self.cut_after is not None and identity not in self._cut and len(seen) >= self.cut_after:
                    self._cut.add(identity)
                    await connection.aclose(1012, "restart")
                    return
                await connection.send_message(json.dumps([3, message_id, self.answer(action, payload)]))
        except ConnectionClosed:
            return
        finally:
            self.open -= 1

    def answer(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        accepted = {"status": "Accepted"}
        if action == "StartTransaction":
            self._transactions += 1
            return {"transactionId": self._transactions, "idTagInfo": accepted}
        answers: dict[str, dict[str, Any]] = {
            "BootNotification": {"status": "Accepted", "currentTime": NOW, "interval": 300},
            "Heartbeat": {"currentTime": NOW},
            "Authorize": {"idTagInfo": accepted} if "idTag" in payload else {"idTokenInfo": accepted},
        }
        return answers.get(action, {})


@pytest.fixture
def csms() -> Csms:
    return Csms()


@pytest.fixture
async def url(nursery: trio.Nursery, csms: Csms) -> str:
    server = await nursery.start(partial(serve_websocket, csms.serve, "127.0.0.1", 0, ssl_context=None))
    return f"ws://127.0.0.1:{server.port}/ocpp"


def fleet_of(count: int, plans: list[SessionPlan] | None = None, options: Options = FAST) -> list[ChargePoint]:
    plans = [PLAN] if plans is None else plans
    return [ChargePoint(f"CP-{number}", VERSIONS[number % 3], plans, options, Random(number)) for number in range(count)]


@pytest.mark.trio
async def test_a_fleet_of_all_versions_completes_its_sessions(url: str, csms: Csms) -> None:
    seen: list[Progress] = []
    with trio.fail_after(20):
        result = await run_fleet(fleet_of(9), url, FleetOptions(tenant="acme", password="pa:ss"), on_progress=seen.append)
    assert result.failures == []
    assert (result.complete, result.chargers, result.sessions, result.connections) == (True, 9, 9, 9)
    assert result.energy_wh == 9 * int(11_000 * 600 / 3600)
    assert {(f.charging_s, f.parking_s) for f in result.facts} == {(600, 300)}
    assert set(csms.requests) == {(f"/ocpp/acme/CP-{n}", (f"ocpp{VERSIONS[n % 3]}",), f"CP-{n}:pa:ss") for n in range(9)}
    assert (seen[-1].finished, seen[-1].sessions, seen[-1].energy_wh) == (9, 9, result.energy_wh)
    assert csms.open == 0


@pytest.mark.trio
async def test_an_identity_is_percent_encoded_in_the_path_and_plain_in_the_credentials(url: str, csms: Csms) -> None:
    point = ChargePoint("A|B=1", "1.6", [], FAST)
    with trio.fail_after(5):
        await run_fleet([point], url, FleetOptions(passwords={"A|B=1": "own"}, password="other"))
    assert csms.requests == [("/ocpp/A%7CB%3D1", ("ocpp1.6",), "A|B=1:own")]


@pytest.mark.trio
async def test_a_server_that_hangs_up_costs_no_message(url: str, csms: Csms) -> None:
    csms.cut_after = 7
    with trio.fail_after(20):
        result = await run_fleet(fleet_of(6), url)
    assert (result.complete, result.sessions, result.connections) == (True, 6, 12)
    assert all(calls.count("BootNotification") == 1 for calls in csms.calls.values())


@pytest.mark.trio
async def test_an_outage_by_plan_is_survived(url: str, csms: Csms) -> None:
    options = Options(speed=3000, reconnect_min_s=0.05, outages=(Outage(200, 400),))
    with trio.fail_after(20):
        result = await run_fleet(fleet_of(3, options=options), url)
    assert (result.complete, result.sessions, result.connections) == (True, 3, 6)


@pytest.mark.trio
async def test_a_refused_handshake_is_tried_again(url: str, csms: Csms) -> None:
    answers = iter([(503, [(b"Retry-After", b"0")]), (401, []), None])
    csms.refuse = lambda _: next(answers)
    with trio.fail_after(10):
        result = await run_fleet(fleet_of(1), url)
    assert result.complete
    assert len(csms.requests) == 3


@pytest.mark.trio
async def test_a_charge_point_that_is_always_refused_gives_up_and_says_why(url: str, csms: Csms) -> None:
    csms.refuse = lambda _: (404, [])
    options = Options(reconnect_min_s=0.01, reconnect_random_s=0.01, connect_attempts_max=3, reconnect_doublings=0)
    with trio.fail_after(10):
        result = await run_fleet(fleet_of(1, options=options), url)
    assert not result.complete
    assert result.failures == ["CP-0: gave up connecting: refused with HTTP 404"]
    assert len(csms.requests) == 3


async def _hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.aclose()


async def _babble(stream: trio.SocketStream) -> None:
    await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@pytest.mark.trio
@pytest.mark.parametrize("peer", [_hang_up, _babble])
async def test_a_peer_that_is_no_websocket_server_is_no_hang(
    nursery: trio.Nursery, peer: Callable[[trio.SocketStream], Awaitable[None]]
) -> None:
    listeners = await nursery.start(partial(trio.serve_tcp, peer, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    options = Options(reconnect_min_s=0.01, reconnect_random_s=0.01, connect_attempts_max=2)
    with trio.fail_after(5):
        result = await run_fleet(fleet_of(1, options=options), f"ws://127.0.0.1:{port}")
    assert "gave up connecting" in result.failures[0]


@pytest.mark.trio
async def test_a_server_without_the_subprotocol_is_left(url: str, csms: Csms) -> None:
    csms.subprotocol = False
    options = Options(reconnect_min_s=0.01, reconnect_random_s=0.01, connect_attempts_max=2)
    with trio.fail_after(5):
        result = await run_fleet(fleet_of(1, options=options), url)
    assert "offers no ocpp1.6" in result.failures[0]
    assert csms.calls == {}


@pytest.mark.trio
async def test_nobody_there_is_a_failure_and_no_crash() -> None:
    options = Options(reconnect_min_s=0.01, reconnect_random_s=0.01, connect_attempts_max=2)
    with trio.fail_after(5):
        result = await run_fleet(fleet_of(2, options=options), "ws://127.0.0.1:9/ocpp")
    assert len(result.failures) == 2
    assert not result.complete


@pytest.mark.trio
async def test_a_deadline_ends_the_run_and_names_the_unfinished(url: str, csms: Csms) -> None:
    endless = [SessionPlan("T1", charging_s=None, parking_s=None, after_s=0, authorize_after_s=0)]
    with trio.fail_after(5):
        result = await run_fleet(fleet_of(2, endless), url, FleetOptions(deadline_s=0.3))
    assert not result.complete
    assert [failure.split(":")[0] for failure in result.failures] == ["CP-0", "CP-1"]
    assert [facts.outcome for facts in result.facts] == ["running", "running"]


@pytest.mark.trio
async def test_a_fleet_on_hold_stays_connected_until_it_is_stopped(url: str, csms: Csms) -> None:
    stop = trio.Event()
    with trio.fail_after(5):
        result = await run_fleet(
            fleet_of(3, []),
            url,
            FleetOptions(hold=True, progress_s=0.01),
            on_progress=lambda progress: stop.set() if progress.online == 3 and csms.open == 3 else None,
            stop=stop,
        )
    assert result.complete
    assert result.connections == 3


@pytest.mark.trio
async def test_a_ramp_spreads_the_starts(url: str, csms: Csms) -> None:
    began = trio.current_time()
    with trio.fail_after(5):
        await run_fleet(fleet_of(4, []), url, FleetOptions(ramp_s=0.4))
    assert trio.current_time() - began >= 0.3


@pytest.mark.trio
async def test_what_is_no_websocket_url_is_refused_with_the_remedy() -> None:
    with pytest.raises(OperatorError, match="ws://"):
        await run_fleet([], "http://127.0.0.1:9000")

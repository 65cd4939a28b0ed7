"""The load of the bench against a server of a few lines: what counts as an answer, and what ends it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from bench.day import MESSAGES
from bench.load import Connect, Play

ROOT = Path(__file__).parents[2]
RUN_S = 30
PASSWORD = "0123456789abcdef0123"
ACCEPTED = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 300, "idTagInfo": {"status": "Accepted"}}

Answer = Callable[[str, str], list[Any]]


def accept(message_id: str, action: str) -> list[Any]:
    return [3, message_id, ACCEPTED | {"transactionId": 1}]


@contextmanager
def server(answer: Answer, heard: list[Any]) -> Iterator[str]:
    """Answers as it is told to, in JSON with spaces; `heard` gets every CALL, and the credentials of every charger."""

    def converse(socket: ServerConnection) -> None:
        assert socket.request is not None  # the handshake is done
        heard.append(socket.request.headers.get("Authorization", ""))
        for text in socket:
            call = json.loads(text)
            heard.append(call)
            socket.send(json.dumps(answer(call[1], call[2])))

    with serve(converse, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")]) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{serving.socket.getsockname()[1]}/ocpp"


def load(url: str, *orders: Any) -> "subprocess.CompletedProcess[bytes]":
    lines = b"".join(msgspec.json.encode(order) + b"\n" for order in orders)
    argv = [sys.executable, "-m", "bench.load", url]
    return subprocess.run(argv, cwd=ROOT, input=lines, capture_output=True, timeout=RUN_S, check=False)


def test_every_charger_ends_the_car_it_has_begun_and_goes_on_with_the_next() -> None:
    heard: list[Any] = []
    with server(accept, heard) as url:
        run = load(url, Connect(2, charging=False, password=PASSWORD), Play(0.05), Play(0.05))
    assert run.returncode == 0, run.stderr
    first, second = map(json.loads, run.stdout.splitlines()[2:])  # after its word that it is ready and the answer to Connect
    for played in (first, second):
        assert played["messages"] == played["cars"] * MESSAGES > 0
    calls = [each for each in heard if isinstance(each, list)]
    assert len(calls) == 2 + first["messages"] + second["messages"]
    starts = [json.dumps(payload) for _, _, action, payload in calls if action == "StartTransaction"]
    assert {starts.count(start) for start in starts} <= {1, 2}  # two chargers, and none says it twice
    assert sum(each.startswith("Basic ") for each in heard if isinstance(each, str)) == 2


def test_a_callerror_ends_the_load_with_a_sentence() -> None:
    def refuse(message_id: str, action: str) -> list[Any]:
        return [4, message_id, "InternalError", "out of order", {}] if action == "StopTransaction" else accept(message_id, action)

    with server(refuse, []) as url:
        run = load(url, Connect(1, charging=False), Play(0.05))
    assert run.returncode == 1
    assert b"InternalError" in run.stderr
    assert b"cars" not in run.stdout


def test_who_may_not_charge_ends_the_load_with_a_sentence() -> None:
    def block(message_id: str, action: str) -> list[Any]:
        return [3, message_id, {"idTagInfo": {"status": "Blocked"}}] if action == "Authorize" else accept(message_id, action)

    with server(block, []) as url:
        run = load(url, Connect(1, charging=False), Play(0.05))
    assert run.returncode == 1
    assert b"Blocked" in run.stderr

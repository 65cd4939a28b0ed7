"""The files in config/ are what their readers accept: `config/`."""

import asyncio
import os
import re
import subprocess
from collections import Counter
from http.client import HTTPSConnection
from pathlib import Path

import msgspec
import pytest
from balancer import needs_haproxy, trusting
from websockets.asyncio.client import connect
from websockets.utils import accept_key

from cpms_actors.base.settings import Settings, load
from cpms_actors.node import broker
from cpms_actors.node.data_dir import free_port
from loadtests.terminator import terminator

CONFIG = Path(__file__).parents[2] / "config"


def test_cpms_toml_shows_every_setting_with_its_default() -> None:
    assert load({}, CONFIG / "cpms.toml") == Settings()
    text = (CONFIG / "cpms.toml").read_text()
    for name, value in msgspec.to_builtins(Settings()).items():
        for field in value if isinstance(value, dict) else (name,):
            assert re.search(rf"^{field} = ", text, re.MULTILINE), f"cpms.toml does not show {field} of {name}"


@pytest.mark.parametrize("profile", ["development", "production"])
def test_a_profile_is_made_of_settings(profile: str) -> None:
    assert load({}, CONFIG / f"{profile}.toml") != Settings()


def test_the_broker_accepts_nats_conf() -> None:
    names = ("NATS_NAME", "NATS_STORE", "NATS_SYSTEM_PASSWORD", "NATS_ALICE_PASSWORD", "NATS_CLUSTER_PASSWORD")
    checked = subprocess.run(
        [str(broker.program()), "-t", "-c", str(CONFIG / "nats.conf")],
        env=os.environ | dict.fromkeys(names, "/tmp/a"),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert checked.returncode == 0
    assert "is valid" in checked.stdout + checked.stderr
    assert "invalid use" not in checked.stdout + checked.stderr


def test_haproxy_sends_a_charger_to_the_same_worker() -> None:
    """By the whole path, consistently, and for longer than a worker needs to notice a dead connection."""
    text = (CONFIG / "haproxy.cfg").read_text()
    assert re.search(r"^    balance uri$", text, re.MULTILINE)
    assert re.search(r"^    hash-type consistent\b", text, re.MULTILINE)
    tunnel = re.search(r"^    timeout tunnel (\d+)s$", text, re.MULTILINE)
    gateway = Settings().gateway
    assert tunnel is not None
    assert int(tunnel[1]) > gateway.ping_interval_s + gateway.pong_deadline_s


@needs_haproxy
def test_chargers_that_are_numbered_are_spread_over_the_nodes_and_each_stays_where_it_is() -> None:
    """haproxy itself plays the nodes: each answers with its number."""
    nodes = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    answers = (f"listen node{n}\n    bind {node}\n    http-request return status 400 hdr node {n}\n" for n, node in enumerate(nodes))
    with terminator(nodes, more="".join(answers)) as balancer:
        client = HTTPSConnection(balancer.host, context=trusting(balancer), timeout=10)

        def node_of(charger: str) -> str:
            client.request("GET", f"/ocpp/default/{charger}")
            with client.getresponse() as answer:
                answer.read()
                return str(answer.headers["node"])

        chargers = [f"CP-{number:04}" for number in range(600)]
        first = [node_of(charger) for charger in chargers]
        assert [node_of(charger) for charger in chargers] == first
        counts = Counter(first)
        assert len(counts) == 3
        assert min(counts.values()) > 120, counts


@needs_haproxy
def test_haproxy_cuts_the_chargers_of_a_node_that_says_nothing_any_more() -> None:
    """The node takes connections, as the kernel does for a process that hangs, and answers nothing but the first upgrade."""

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if key := re.search(rb"sec-websocket-key: (.*)\r\n", head):
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
            writer.write(head % accept_key(key[1].decode()).encode())
        await reader.read()
        writer.close()

    async def script(port: int) -> None:
        async with await asyncio.start_server(node, "127.0.0.1", port):
            url = f"wss://{balancer.host}/ocpp/default/CP-1"
            async with asyncio.timeout(10), connect(url, ssl=trusting(balancer)) as charger:
                await charger.wait_closed()

    port = free_port()
    with terminator([f"127.0.0.1:{port}"] * 3) as balancer:
        asyncio.run(script(port))

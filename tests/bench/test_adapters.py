"""The peers of `bench peers` that lie here, each really started."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from bench import adapters, load
from bench.adapters import LeftOut
from bench.day import MESSAGES
from bench.load import Connect, Play, Played
from bench.processes import command, running
from cpms_actors.node.data_dir import free_port

HOST = "127.0.0.1"
CORES = sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("name", adapters.BUILT_IN)
def test_a_peer_says_what_it_is_and_lives_the_whole_day(name: str, tmp_path: Path) -> None:
    try:
        peer = adapters.BUILT_IN[name](tmp_path)
    except LeftOut as why:
        pytest.skip(f"{name} cannot be had here: {why}")

    async def lived() -> tuple[str, Played]:
        port = str(free_port())
        async with command(name, [word.replace("{port}", port) for word in peer.argv], cores=CORES) as (_, line):
            async with running("the load", "bench.load", f"ws://{HOST}:{port}/ocpp", cores=CORES, ready=load.READY) as (talkers, _):
                await talkers.ask(msgspec.json.encode(Connect(3, charging=False)))
                played = await talkers.ask(msgspec.json.encode(Play(0.05)))
            return peer.about or line, msgspec.json.decode(played, type=Played)

    about, played = asyncio.run(lived())
    assert "ocpp" in about
    assert played.messages == played.cars * MESSAGES
    assert played.cars >= 3

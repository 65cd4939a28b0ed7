"""How the peers of peers.py are started.

A peer is a command. It gets a port for {port} and, when it listens there on 127.0.0.1, prints a line that says what it is; what it
prints later is read by nobody. It lets any charger in at /ocpp/<charger> with subprotocol ocpp1.6, lets any token charge, and ends
at SIGTERM with all that it has started.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from shlex import split
from typing import Final

from msgspec import Struct

from cpms_actors.base.errors import OperatorError

PORT: Final = "{port}"
NPM_CI: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0")
NPM_S_MAX: Final = 60.0


class Peer(Struct, frozen=True):
    """A server to compare with. `about` empty: its first line says what it is."""

    name: str
    argv: tuple[str, ...]
    about: str = ""
    stored: str = "nothing"


class LeftOut(Exception):
    """Why a peer cannot be measured here."""


def added(text: str) -> Peer:
    """A server of the command line. Raises OperatorError."""
    name, _, words = text.partition("=")
    try:
        argv = tuple(split(words))
    except ValueError as error:
        raise OperatorError("server", f"--server {text!r} cannot be read: {error}") from None
    if not name or not any(PORT in word for word in argv):
        raise OperatorError("server", f"--server {text!r} is no server; write it as 'NAME=COMMAND … {PORT}'")
    return Peer(name, argv, stored="unknown")


def _mobilityhouse(_: Path) -> Peer:
    about = f"ocpp {version('ocpp')} on websockets {version('websockets')}, validation on"
    return Peer("mobilityhouse", (sys.executable, "-m", "bench.servers", "mobilityhouse", PORT), about)


def _ocpp_rpc(folder: Path) -> Peer:
    """Installed in a folder of the run, by its lock file. Raises LeftOut."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise LeftOut(f"{program} is not installed")
    home = folder / "ocpp_rpc"
    shutil.copytree(Path(__file__).with_name("ocpp_rpc"), home)
    try:
        subprocess.run(NPM_CI, cwd=home, check=True, capture_output=True, text=True, timeout=NPM_S_MAX)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.partition("\n")[0].removeprefix("npm error ")
        raise LeftOut(f"npm could not install it ({reason}); it needs the npm registry or npm's cache") from None
    except subprocess.TimeoutExpired:
        raise LeftOut(f"npm did not install it within {NPM_S_MAX:g} s") from None
    return Peer("ocpp-rpc", ("node", str(home / "server.mjs"), PORT))


BUILT_IN: Final = {"mobilityhouse": _mobilityhouse, "ocpp-rpc": _ocpp_rpc}


def built_in(folder: Path, say: Callable[[str], None]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can be measured here, and why others cannot."""
    peers, left_out = [], {}
    for name, peer in BUILT_IN.items():
        try:
            peers.append(peer(folder))
        except LeftOut as why:
            left_out[name] = str(why)
            say(f"{name} is left out: {why}")
    return peers, left_out

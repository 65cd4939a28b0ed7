"""TLS in front of a system: haproxy as `config/haproxy.cfg` describes it, with a certificate of its own.

Changed of that file are addresses and where things lie, so what a storm goes through is what the file's readers run. The certificate is
for 127.0.0.1, signed by itself: whoever trusts it trusts no other.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from cpms_actors.base.errors import OperatorError, Unavailable
from loadtests.children import child

CONFIG: Final = Path(__file__).parents[1] / "config" / "haproxy.cfg"
LOOPBACK: Final = "127.0.0.1"
CONNECTIONS: Final = 400  # beyond these whoever comes waits in the listen queue
NODES: Final = tuple(f"10.0.0.1{number}:9000" for number in (1, 2, 3))  # as the file has them
START_S_MAX: Final = 30.0
LOOK_S: Final = 0.02
WORDS_MAX: Final = 2000  # of what a program said that failed


class Terminator(Struct, frozen=True):
    """A running one: its "host:port", and the certificate that it shows, as PEM."""

    host: str
    certificate: str


def require() -> None:
    """Raises OperatorError, with the remedy, unless all programs are installed that a terminator needs."""
    missing = [name for name in ("haproxy", "openssl") if shutil.which(name) is None]
    if missing:
        text = f"{' and '.join(missing)} cannot be found, so nothing can end TLS here: install what is missing, as with apt-get install"
        raise OperatorError("tls", f"{text} {' '.join(missing)}, or name a system that is behind TLS: --url wss://… --ca FILE")


@contextmanager
def terminator(nodes: Sequence[str], connections: int = CONNECTIONS, more: str = "") -> Iterator[Terminator]:
    """haproxy in front of three nodes, each "host:port", while the block runs. `more` is added to the file.

    Raises OperatorError when a program is missing, Unavailable when it does not start.
    """
    require()
    with tempfile.TemporaryDirectory(prefix="cpms-tls-") as name:
        folder = Path(name)
        certificate = _make_certificate(folder)
        host = f"{LOOPBACK}:{_free_port()}"
        text = CONFIG.read_text().replace("/etc/cpms", name).replace("bind :443", f"bind {host}")
        for known, node in zip(NODES, nodes, strict=True):
            text = text.replace(known, node)
        (folder / "slots.map").touch()
        (folder / "haproxy.cfg").write_text(text + more)
        # -dW: a warning is an error. -n: no more connections, and so no more descriptors, than this user may have.
        command = [str(shutil.which("haproxy")), "-db", "-dW", "-n", str(connections), "-f", str(folder / "haproxy.cfg")]
        with (folder / "log").open("wb") as log, child(command, log=log) as process:
            _wait_until_it_listens(process, host, folder / "log")
            yield Terminator(host, certificate)


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", host: str, log: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    address, _, port = host.partition(":")
    while True:
        try:
            socket.create_connection((address, int(port)), 1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace")[-WORDS_MAX:].strip()
                raise Unavailable(f"haproxy did not start: {words or error}") from error
        time.sleep(LOOK_S)


def _make_certificate(folder: Path) -> str:
    """Make the certificate, which is returned, and beside it its key; both in one file, as haproxy wants them."""
    key, certificate, both = (folder / name for name in ("gateway.key", "gateway.crt", "gateway.pem"))
    made = ["openssl", "req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    named = ["-subj", f"/CN={LOOPBACK}", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    command = [*made, *named, "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=START_S_MAX)
    except subprocess.SubprocessError as error:
        words = (getattr(error, "stderr", None) or b"").decode(errors="replace")[-WORDS_MAX:].strip()
        raise Unavailable(f"openssl made no certificate: {words or error}") from error
    text = certificate.read_text()
    both.write_text(text + key.read_text())  # the folder is this user's alone
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port

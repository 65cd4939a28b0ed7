"""The load balancer of `config/haproxy.cfg`, as that file describes it."""

import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from running import START_S, die_with_parent

from cpms_actors.node.data_dir import free_port

CONFIG = Path(__file__).parents[1] / "config" / "haproxy.cfg"

needs_haproxy = pytest.mark.skipif(not all(map(shutil.which, ("haproxy", "openssl"))), reason="haproxy or openssl is not installed")


class Balancer:
    """haproxy in front of three nodes, each "host:port". Changed of the file are addresses and where the certificate lies.

    `tls` trusts that certificate and no other. `more` is added to the file.
    """

    def __init__(self, directory: Path, nodes: list[str], more: str = "") -> None:
        self.host = f"127.0.0.1:{free_port()}"
        make_certificate(directory / "gateway.pem")
        (directory / "slots.map").touch()
        text = CONFIG.read_text().replace("/etc/cpms", str(directory)).replace("bind :443", f"bind {self.host}")
        for number, node in enumerate(nodes, 1):
            assert f"10.0.0.1{number}:9000" in text
            text = text.replace(f"10.0.0.1{number}:9000", node)
        (directory / "haproxy.cfg").write_text(text + more)
        self.tls = ssl.create_default_context(cafile=directory / "gateway.pem")
        self._log = directory / "haproxy.log"
        # -dW: a warning is an error. -n: no more connections, and so no more descriptors, than any user may have.
        self._process = subprocess.Popen(
            ["haproxy", "-db", "-dW", "-n", "400", "-f", str(directory / "haproxy.cfg")],
            stdin=subprocess.DEVNULL,
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_S
        host, _, port = self.host.partition(":")
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._log.read_text()) from None
            time.sleep(0.02)

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_S)


def make_certificate(pem: Path) -> None:
    """A certificate for 127.0.0.1, signed by itself, and its key, in one file as haproxy wants it."""
    key = pem.with_suffix(".key")
    made = ["openssl", "req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *named, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True, timeout=20)
    pem.write_text(pem.read_text() + key.read_text())

"""The whole system, run as a user runs it: `cpms up` in a directory of its own, and what a test may ask and do to it."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
from nats.errors import Error as NatsError

from cpms_actors.base.errors import Unavailable
from cpms_actors.base.ids import SLOTS
from cpms_actors.base.settings import Nats
from cpms_actors.bus import client as bus
from cpms_actors.bus import subjects, verbs, verbs_parked
from cpms_actors.bus import verbs_ledger as ledger
from cpms_actors.bus import verbs_registry as registry
from cpms_actors.bus.ownership import owner_of
from cpms_actors.bus.verbs import Verb, VerbFailed
from cpms_actors.bus.verbs_words import Request, Response
from cpms_actors.domain.tariff import Component
from cpms_actors.node.data_dir import Connection

T = TypeVar("T")
Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)

START_S = 30.0
HANGS_S = 120.0  # no command takes so long, not even a rollout on a busy machine
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Runs in the child before exec. The parent that matters is the thread that forks: pytest's main thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


class RunningCpms:
    """The whole system as `cpms up` runs it, in a directory of its own. `ws_url` takes `/<charger>` at its end."""

    def __init__(self, directory: Path, workers: int = 1, **settings: str) -> None:
        """`settings` are environment variables."""
        self.directory = directory
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CPMS_")}
        self._log = (directory / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cpms_actors.cli.main", "up", "--port", "0", "--workers", str(workers), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=directory,
            env=environment | {"CPMS_CHARGING_PLANTED_BUG": "true", "CPMS_CHARGING_VERDICT_TTL_S": "1"} | settings,
            preexec_fn=die_with_parent,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            raise RuntimeError((directory / "log").read_text(errors="replace")[-4000:])
        self.ws_url: str = json.loads(said)["websocket_url"]
        self.pid = self._process.pid
        self._connection = msgspec.json.decode((directory / ".cpms" / "connection.json").read_bytes(), type=Connection)
        self._price_energy()

    def _price_energy(self) -> None:
        """A flat price per kWh, so that every CDR says what its energy costs."""
        components = (Component("ENERGY", Decimal("0.50")),)
        since = datetime(2026, 1, 1, tzinfo=UTC)
        tariff = ledger.TariffSet(id="flat", currency="EUR", components=components, tax_percent=Decimal(0), valid_from=since)
        self.ask(verbs.TARIFF_SET, tariff)
        self.ask(verbs.TENANT_SET, registry.TenantSet(id="default", default_tariff="flat"))

    def ask(self, verb: Verb[Q, R], request: Q) -> R:
        """One verb, asked as an operator over NATS, again while a server is away: the test before may have killed it."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                return self._ask(verb, request)
            except (Unavailable, VerbFailed) as error:
                if (isinstance(error, VerbFailed) and error.code != "unavailable") or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _ask(self, verb: Verb[Q, R], request: Q) -> R:

        async def request_it() -> bytes:
            inbox = bus.operator_inbox(self._connection.operator)
            client = await bus.connect(Nats(), "test", url=self._connection.nats_operator_url, inbox=inbox, patient=False)
            try:
                subject = subjects.admin(self._connection.operator, verb.name)
                return (await client.request(subject, verbs.encode_request(request), timeout=20)).data
            except NatsError as error:
                raise Unavailable(repr(error)) from error
            finally:
                await client.close()

        return verb.decode_reply(asyncio.run(request_it()))

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the CLI, run in the directory of the stack."""
        command = [sys.executable, "-m", "cpms_actors.cli.main", *arguments]
        return subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=HANGS_S, check=False)

    def add_charger(self, identity: str, password: str | None = None, profile: int = 1) -> None:
        profile = profile if password is not None else 0
        if profile == 0:
            self.ask(verbs.TENANT_SET, registry.TenantSet(id="default", profile0=True))
        self.ask(verbs.CHARGER_ADD, registry.ChargerAdd(charger=identity, password=password, security_profile=profile))

    def add_token(self, id_: str) -> None:
        self.ask(verbs.TOKEN_ADD, registry.TokenAdd(id=id_))

    def sessions(self, charger: str) -> list[ledger.SessionView]:
        return list(self.ask(verbs.SESSION_LIST, ledger.SessionList(charger=charger)).sessions)

    def cdrs(self, charger: str) -> list[ledger.CdrView]:
        return list(self.ask(verbs.CDR_LIST, ledger.CdrList(charger=charger)).cdrs)

    def parked(self, charger: str) -> list[verbs_parked.ParkedView]:
        return list(self.ask(verbs.PARKED_LIST, verbs_parked.ParkedList(charger=charger)).parked)

    def until(self, what: Callable[[], T], true: Callable[[T], bool], deadline_s: float = 20, every_s: float = 0.1) -> T:
        """Look again until it is as it should be; AssertionError with the last look when it never is."""
        deadline = time.monotonic() + deadline_s
        while not true(seen := what()):
            assert time.monotonic() < deadline, seen
            time.sleep(every_s)
        return seen

    def log(self) -> list[str]:
        """What its processes have printed so far, each line after the name of its process."""
        return (self.directory / "log").read_text(errors="replace").splitlines()

    def processes(self) -> list[psutil.Process]:
        """The processes of the stack."""
        return [child for child in psutil.Process(self.pid).children(recursive=True) if _words_of(child)]

    def kill(self, *words: str) -> None:
        """kill -9 of the process whose command line has these words, as soon as there is one."""
        (victim,) = self.until(
            lambda: [p for p in self.processes() if all(word in _words_of(p) for word in words)], lambda p: len(p) == 1
        )
        victim.kill()

    def signal(self, how: signal.Signals, *words: str) -> None:
        """A signal to the process whose command line has these words."""
        (process,) = (p for p in self.processes() if all(word in _words_of(p) for word in words))
        process.send_signal(how)

    def kill_broker(self) -> None:
        """kill -9 of nats-server."""
        (broker,) = (process for process in self.processes() if _program_of(process).endswith("/nats-server"))
        broker.kill()

    def kill_postgres(self) -> None:
        """kill -9 of the postmaster: its backends end with it."""
        (postmaster,) = (process for process in self.processes() if _program_of(process).endswith("/bin/postgres"))
        postmaster.kill()

    def workers(self) -> dict[str, Any]:
        """What each worker says, by its name on this machine."""
        said = json.loads(self.cli("status", "--json").stdout)["workers"]
        return {worker["name"].partition("@")[0]: worker for worker in said}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(START_S)
        assert self._process.stdout is not None
        self._process.stdout.close()  # else the collector finds it some day, in the middle of another test
        self._log.close()


def shared_out(cpms: RunningCpms) -> dict[str, Any]:
    """Both workers, once each has its share of the slots."""
    return cpms.until(cpms.workers, lambda said: len(said) == 2 and [said[n]["slots"] for n in sorted(said)] == share(said))


def share(said: dict[str, Any]) -> list[int]:
    names = sorted(worker["name"] for worker in said.values())
    return [sum(owner_of(slot, names) == name for slot in range(SLOTS)) for name in names]


@contextmanager
def two_workers(prefix: str, chargers: Iterable[str], token: str) -> Iterator[RunningCpms]:
    """A system with two workers that knows these chargers and this token, while the block runs."""
    running = RunningCpms(Path(tempfile.mkdtemp(prefix=prefix)), workers=2)
    try:
        for charger in chargers:
            running.add_charger(charger)
        running.add_token(token)
        yield running
    finally:
        running.close()
        shutil.rmtree(running.directory, ignore_errors=True)


def _words_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing when it has gone meanwhile. Postgres's backends overwrite theirs with what they do."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def _program_of(process: psutil.Process) -> str:
    return next(iter(_words_of(process)), "")

"""The command line of the storm laboratory.

python -m loadtests NAME [--ocpp 1.6|2.0.1|2.1|mixed] [--chargers N] [--seconds S] [--json] [--report DIR] [--web [PORT]]
                         [--processes N] [--sources N]
                         [[--workers N] [--tls] | --url ws[s]://127.0.0.1:PORT/ocpp [--ca FILE] [--data DIR]]

Exit code 0 when the verdict is pass, 1 when it is fail, 2 when there is none.
"""

import argparse
import ipaddress
import math
import secrets
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from cpms_actors.base.errors import CpmsError, OperatorError
from cpms_actors.base.settings import Nats
from loadtests import desk, scenario
from loadtests.command import Whole, run
from loadtests.dialects import CHOICES, Ocpp
from loadtests.process import storm_process
from loadtests.report import Order, StormReport, Truth
from loadtests.stack import scratch_stack
from loadtests.terminator import CONNECTIONS, NODES, require, terminator
from loadtests.verdict import Verdict, judge
from loadtests.wire import trust
from supervisors import limits

CHARGERS_MAX: Final = 100_000
SOURCE_CHARGERS_MAX: Final = 10_000  # of 28,232 ephemeral ports: whoever was refused comes again while the port of before lingers
SOURCES_MAX: Final = 250
PROCESSES_MAX: Final = 64
SECONDS_MAX: Final = 3600.0
WEB_PORT: Final = 8089  # Locust's own
FILES_EACH: Final = 2  # a charger that was cut off dials while its old socket is being closed
FILES_SPARE: Final = 200  # beside the chargers' sockets
TERMINATOR_FILES_EACH: Final = 2  # to the charger and to the worker
TERMINATOR_FILES_SPARE: Final = 200
CHECK_S_MAX: Final = 10.0
TOKEN: Final = "STORM-TOKEN"


class Asked(Struct, frozen=True):
    """What the command line says. `unregistered`: so many of the chargers the system is not told of."""

    name: str
    chargers: int
    seconds: float
    report: Path | None
    url: str | None
    data: Path | None
    unregistered: int
    as_json: bool
    web_port: int | None
    processes: int
    joining: int
    bind: tuple[str, int]
    sources: int
    workers: int
    ocpp: Ocpp
    tls: bool
    ca: Path | None


class System(Struct, frozen=True):
    """Where the chargers dial, and how to ask. `ca`: who may vouch for a server that is wss, as PEM; None: whom this machine trusts."""

    url: str
    operator: Nats
    ca: str | None = None


def main() -> int:
    """Run one storm."""
    asked = _arguments()
    return run("loadtests", partial(_run, asked), None if asked.as_json else _as_text)


def _run(asked: Asked) -> Verdict:
    began = monotonic()
    files = limits.raise_files()
    needed = FILES_EACH * math.ceil(asked.chargers / (asked.processes + asked.joining)) + FILES_SPARE
    if needed > files:
        text = f"{asked.chargers} chargers in {asked.processes} processes need {needed} open files each, the limit is {files}"
        raise OperatorError("files", f"{text}: raise ulimit -Hn, or name more --processes")
    if asked.report is not None:
        asked.report.mkdir(parents=True, exist_ok=True)  # what is wrong with it is found before the storm
    if asked.web_port is not None:
        _port_is_free(asked.web_port)
    if asked.tls:
        require()
        needed = TERMINATOR_FILES_EACH * _connections(asked) + TERMINATOR_FILES_SPARE
        if needed > files:
            raise OperatorError(
                "files", f"to end TLS for {asked.chargers} chargers needs {needed} open files, the limit is {files}: raise ulimit -Hn"
            )
    storm = scenario.load(asked.name)
    chargers = tuple(f"STORM-{number:05}" for number in range(1, asked.chargers + 1))
    with _system(asked) as system:
        operator = system.operator
        password = secrets.token_hex(16)
        known = chargers[: len(chargers) - asked.unregistered]
        _say(asked, f"registering {len(known)} chargers")
        tls = system.url.startswith("wss:")
        desk.register(operator, known, password, storm.tokens(TOKEN, len(chargers)), price=asked.url is None, tls=tls)
        report_folder = None if asked.report is None else str(asked.report.absolute())
        order = Order(
            scenario=asked.name,
            url=system.url,
            chargers=chargers,
            password=password,
            token=TOKEN,
            seconds=asked.seconds,
            report=report_folder,
            web_port=asked.web_port,
            processes=asked.processes,
            joining=asked.joining,
            bind=asked.bind,
            sources=asked.sources,
            ocpp=asked.ocpp,
            ca=system.ca,
        )
        _say(asked, f"{asked.name}: {len(chargers)} chargers on {system.url}, OCPP {asked.ocpp}")
        if asked.web_port is not None:
            _say(asked, f"to be watched at http://127.0.0.1:{asked.web_port} until it is over")
        reasons: list[str] = []
        # A daemon: nobody waits for it when the storm is interrupted.
        operating = Thread(target=_operate, args=(operator, asked, storm, known, reasons), daemon=True)
        operating.start()
        with storm_process(order, storm.longest_s(asked.seconds)) as report:
            operating.join()
            report = replace(report, late=(*report.late, *reasons))
            _say(asked, "the storm is over; asking the system for the truth")
            truth = desk.truth(operator, report, chargers, storm.past_s, lambda seen: _settled(storm, report, seen))
    return judge(asked.name, report, truth, storm.judge, monotonic() - began, may_park=storm.may_park, ocpp=asked.ocpp)


def _port_is_free(port: int) -> None:
    """Raises OperatorError when somebody listens there; found out before the storm."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the page will: who was here before may still linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise OperatorError(
                "web", f"the web page cannot be at port {port}: {error.strerror}; name another with --web PORT"
            ) from error


def _operate(operator: Nats, asked: Asked, storm: scenario.Scenario, chargers: tuple[str, ...], reasons: list[str]) -> None:
    """What the operator does, bounded in time as all that it asks is."""
    try:
        reasons += desk.operate(operator, storm, chargers, TOKEN, asked.ocpp, asked.seconds)
    except (CpmsError, OSError) as error:
        reasons.append(f"the operator could not work: {error}")


def _settled(storm: scenario.Scenario, report: StormReport, seen: Truth) -> bool:
    """Whether the pools have caught up: waiting longer could not make the verdict better."""
    admitted = {charger.identity for charger in report.chargers if charger.admitted}
    return admitted <= seen.connected & seen.booted and (bool(report.late) or not storm.judge(report, seen))


@contextmanager
def _system(asked: Asked) -> Iterator[System]:
    """A scratch stack, behind a terminator if TLS is asked for, or the system that was named."""
    if asked.url is not None:
        url = _loopback(asked.url, asked.sources)
        yield System(url, desk.operator_of(asked.data), _authority(url, asked.ca))
        return
    _say(asked, "starting a scratch stack")
    with ExitStack() as started:
        stack = started.enter_context(scratch_stack(asked.workers))
        operator = desk.operator_of(stack.data)
        if asked.tls:
            inner = urlsplit(stack.url)
            _say(asked, "and haproxy in front of it")
            tls = started.enter_context(terminator([inner.netloc] * len(NODES), _connections(asked)))
            yield System(f"wss://{tls.host}{inner.path}", operator, tls.certificate)
        else:
            yield System(stack.url, operator)
    _say(asked, "the scratch stack is stopped and removed")


def _connections(asked: Asked) -> int:
    """That the terminator holds: when all were cut at once some of the old ones are still there as the new ones come."""
    return asked.chargers + CONNECTIONS


def _authority(url: str, file: Path | None) -> str | None:
    """The PEM in the file. Raises OperatorError unless a server that is wss proves with it who it is: found out before the storm."""
    parts = urlsplit(url)
    if parts.scheme != "wss":
        return None
    try:
        ca = None if file is None else file.read_text()
        context = trust(ca)
    except ValueError as error:
        raise OperatorError("ca", f"{file} cannot be used: {error}") from error
    try:
        with socket.create_connection((parts.hostname, parts.port), CHECK_S_MAX) as link:
            context.wrap_socket(link, server_hostname=parts.hostname).close()
    except ssl.SSLCertVerificationError as error:
        remedy = "name who vouches for it with --ca FILE, and its host as the certificate does"
        raise OperatorError("tls", f"the certificate at {parts.netloc} proves nothing: {error.verify_message}; {remedy}") from error
    except OSError as error:
        raise OperatorError("tls", f"there is no TLS at {parts.netloc}: {error}") from error
    return ca


def _loopback(url: str, sources: int) -> str:
    """The URL, if a storm may go there. Raises OperatorError: this is a laboratory, not a weapon."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        port = parts.port
    except ValueError:
        is_loopback, port = False, None
    if parts.scheme not in ("ws", "wss") or port is None or not is_loopback:
        text = f"{url} is not like ws://127.0.0.1:9000/ocpp (or wss); storms go to the loopback interface only"
        raise OperatorError("url", f"{text}: run them there, or forward a port")
    if sources > 1 and not host.startswith("127."):
        raise OperatorError("url", f"{sources} source addresses reach an address of IPv4 only: name {host} as 127.0.0.1")
    return url


def _arguments() -> Asked:
    parser = argparse.ArgumentParser(prog="loadtests", description="Storms of chargers; the file of each says what must hold.")
    parser.add_argument("name", choices=scenario.NAMES)
    parser.add_argument("--chargers", type=Whole(1, CHARGERS_MAX), default=500, help="[default: 500]")
    helps = "; ".join(f"{name}: {(storm := scenario.load(name)).seconds_help} [default: {storm.seconds:g}]" for name in scenario.NAMES)
    parser.add_argument("--seconds", type=_seconds, help=helps)
    parser.add_argument(
        "--ocpp", choices=CHOICES, default="1.6", help="what the chargers speak; mixed: by turns, each in its own [default: 1.6]"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write Locust's HTML report and CSV files there")
    parser.add_argument(
        "--processes", type=Whole(1, PROCESSES_MAX), default=1, help="how many have the chargers; about one a core [default: 1]"
    )
    parser.add_argument(
        "--joining",
        type=Whole(0, PROCESSES_MAX),
        default=0,
        help="and so many on other machines: python -m loadtests.member HOST PORT, with the port of --url forwarded [default: 0]",
    )
    parser.add_argument("--bind", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT", help="where those find this one")
    parser.add_argument(
        "--sources",
        type=Whole(1, SOURCES_MAX),
        help=f"dial from so many addresses, 127.0.0.1 and on [default: one for {SOURCE_CHARGERS_MAX} chargers]",
    )
    parser.add_argument(
        "--workers", type=Whole(1, PROCESSES_MAX), default=1, help="of the scratch stack: about one a core [default: 1]"
    )
    parser.add_argument(
        "--web", type=Whole(1, 65535), nargs="?", const=WEB_PORT, metavar="PORT", help=f"show Locust's web page [port: {WEB_PORT}]"
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="put haproxy in front of the scratch stack: the chargers come with TLS, and check its certificate",
    )
    parser.add_argument(
        "--url", help="a system that runs already, ws or wss, before tenant and identity; its chargers STORM-… stay registered"
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="who vouches for the server of a wss --url, as PEM [default: whom the machine trusts]"
    )
    parser.add_argument("--data", type=Path, help="that system's data directory, for asking it [default: the settings, else .cpms]")
    parser.add_argument(
        "--unregistered",
        type=Whole(0, CHARGERS_MAX),
        default=0,
        help="leave out so many chargers when registering: the verdict must be fail",
    )
    a = parser.parse_args()
    if a.unregistered >= a.chargers:
        parser.error("--unregistered must be less than --chargers")
    if a.joining and (a.url is None or not a.bind[1]):
        parser.error("--joining needs --bind HOST:PORT, and --url: the others cannot know the port of a scratch stack")
    if a.url is not None and a.workers > 1:
        parser.error("--workers are of a scratch stack, and --url names another")
    if a.url is not None and a.tls:
        parser.error("--tls is for a scratch stack: of another the --url says it, wss://")
    if a.ca is not None and not (a.url or "").startswith("wss:"):
        parser.error("--ca is for --url wss://")
    sources = math.ceil(a.chargers / SOURCE_CHARGERS_MAX) if a.sources is None else a.sources
    seconds = scenario.load(a.name).seconds if a.seconds is None else a.seconds
    return Asked(
        name=a.name,
        chargers=a.chargers,
        seconds=seconds,
        report=a.report,
        url=a.url,
        data=a.data,
        unregistered=a.unregistered,
        as_json=a.json,
        web_port=a.web,
        processes=a.processes,
        joining=a.joining,
        bind=a.bind,
        sources=sources,
        workers=a.workers,
        ocpp=a.ocpp,
        tls=a.tls,
        ca=a.ca,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and 1 <= value <= SECONDS_MAX):
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and {SECONDS_MAX:g}")
    return value


def _say(asked: Asked, sentence: str) -> None:
    if not asked.as_json:
        sys.stderr.write(f"loadtests: {sentence}\n")


def _as_text(verdict: Verdict) -> str:
    back = "" if verdict.back_s is None else f", the last back after {verdict.back_s:.1f} s"
    lines = [
        f"{verdict.scenario}, OCPP {verdict.ocpp}: {verdict.verdict}",
        f"  {verdict.admitted} of {verdict.chargers} chargers admitted{back}; {verdict.timeouts} timeouts",
        f"  {verdict.answers} answers: p50 {verdict.p50_ms} ms, p99 {verdict.p99_ms} ms, slowest {verdict.slowest_ms} ms",
        f"  {verdict.seconds} s in all; the laboratory itself was late by {verdict.lag_ms} ms at most",
        *(f"  because {reason}" for reason in verdict.reasons),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

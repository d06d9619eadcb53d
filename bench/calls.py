# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Function calls and processor instructions of one worker, for each message, refusal and refused connection.

They hardly depend on the machine and on what else it does, so one run can be compared with another. `--limits FILE`
compares them with numbers that are not to be exceeded; `--floor` counts a server that does the least. A case is a
connection that sends one message, or is refused; clients send each command after the reply to the one before. The
peers of the worker are in this process.

python3 -m bench.calls [--instructions] [--loop uvloop] [--metrics] [--floor] [--source DIRECTORY] [--top 20]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pstats
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from bench.calls_peers import connected, converse, start_clamd, start_next_hop
from bench.machine import DOMAIN, GATEWAY_ENVIRONMENT, sample_message
from bench.rootfs import CACHE
from bench.service import free_port
from lab.tools import REPOSITORY

# Addresses of this machine within the bench's network namespace; those of the loopback network are never banned.
ORDINARY, BANNED, CROWDED = "198.18.0.1", "198.18.0.2", "198.18.0.3"
NETWORK = "ip link set lo up && ip route add local 198.18.0.0/24 dev lo"
MAX_PER_CLIENT = 5
BATCHES = 5
HELLO = (b"EHLO sender.example\r\n", b"MAIL FROM:<a@sender.example>\r\n")
# Files that the gateway imports of its requirements.
SOURCE = REPOSITORY / "roles/gateway/files"


@dataclass(frozen=True)
class Case:
    """Connections of a batch, the client's address, its lines, and the reply to the last one."""

    number: int
    source: str
    lines: tuple[bytes, ...]
    wanted: bytes


def relaying(recipients: int) -> tuple[bytes, ...]:
    """Return the lines of a client that tries to relay."""
    return (*HELLO, *(f"RCPT TO:<x{number}@elsewhere.example>\r\n".encode() for number in range(recipients)))


def message(size: int) -> tuple[bytes, ...]:
    """Return the lines of a client that sends a message of so many KiB."""
    return (*HELLO, f"RCPT TO:<alice@{DOMAIN}>\r\n".encode(), b"DATA\r\n", sample_message(size) + b".\r\n")


CASES = {
    "banned": Case(100, BANNED, (), b"421 4.7.1"),
    "too_many_connections": Case(100, CROWDED, (), b"421 4.7.0"),
    "refused": Case(50, ORDINARY, relaying(1), b"55"),
    "refused_8_times": Case(20, ORDINARY, relaying(8), b"55"),
    "message_4_kib": Case(30, ORDINARY, message(4), b"250"),
    "message_60_kib": Case(20, ORDINARY, message(60), b"250"),
    "message_1_mib": Case(10, ORDINARY, message(1024), b"250"),
}


class Worker:
    """The process that is measured.

    Args:
        directory: An empty directory for its files.
        options: Of the command line.
    """

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self.port = free_port()
        self._profile = directory / "profile"
        self._directory = directory
        self._valgrind = bool(options.instructions)
        start_clamd(directory / "clamd")
        routes, settings = directory / "routes", directory / "mailgate.toml"
        routes.write_text(f"{DOMAIN}\t[127.0.0.1]:{start_next_hop()}\n")
        settings.write_text(
            f'hostname = "gw1.univ.example"\nroutes_file = "{routes}"\nstate_dir = "{directory}"\n'
            f'listen = ["127.0.0.1:{self.port}"]\nqueue = "127.0.0.1:1"\nworkers = 1\n{options.settings}\n'
            f'[scan]\nsocket = "{directory}/clamd"\nremembered = 0\nsignature_dir = ""\n'
            f"[limits]\nmax_connections_per_client = {MAX_PER_CLIENT}\n"
            f"[metrics]\nlisten = {[f'127.0.0.1:{free_port()}'] if options.metrics else []}\n"
        )
        path = f"{options.source}{os.pathsep}{REPOSITORY}"
        environment = {**os.environ, **GATEWAY_ENVIRONMENT, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "mailgate", "ban", "--config", str(settings), "add", f"{BANNED}/32"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        worker = REPOSITORY / "bench" / ("calls_floor.py" if options.floor else "calls_worker.py")
        program = [sys.executable, str(worker), str(settings), str(self._profile)]
        if self._valgrind:
            program = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={directory}/counts",
                       *program]  # fmt: skip
        self._process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE)
        self._expect(b"ready\n")
        if not options.floor:
            self._wait_for_bans()

    def _wait_for_bans(self) -> None:
        # Bans are loaded soon after the start.
        for _ in range(300):
            with connected(self.port, BANNED) as (_connection, replies):
                if replies.readline().startswith(CASES["banned"].wanted):
                    return
            time.sleep(0.1)
        raise RuntimeError("bench: the worker does not ban")

    def _expect(self, line: bytes) -> None:
        assert self._process.stdout
        if self._process.stdout.readline() != line:
            raise RuntimeError("bench: the worker has ended; its messages are above")

    def calls(self, work: Callable[[], None]) -> int:
        """Return the number of function calls of some work."""
        self._process.send_signal(signal.SIGUSR1)
        self._expect(b"begun\n")
        work()
        self._process.send_signal(signal.SIGUSR2)
        self._expect(b"ended\n")
        return int(self.statistics().total_calls)  # type: ignore[attr-defined]

    def statistics(self) -> pstats.Stats:
        """Return the last profile."""
        return pstats.Stats(str(self._profile))

    def instructions(self, work: Callable[[], None]) -> int:
        """Return the number of the processor's instructions, without those of the kernel."""
        self._control("--zero")
        work()
        self._control("--dump")
        newest = max(self._directory.glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        found = re.search(r"^(?:totals|summary): (\d+)", newest.read_text(), re.MULTILINE)
        assert found, newest
        return int(found[1])

    def _control(self, command: str) -> None:
        subprocess.run(["callgrind_control", command, str(self._process.pid)], check=True, capture_output=True)

    def stop(self) -> None:
        """Stop the process as its supervisor does."""
        self._process.terminate()
        self._process.wait(120)


@contextlib.contextmanager
def worker(options: argparse.Namespace) -> Iterator[Worker]:
    """Run a worker."""
    with tempfile.TemporaryDirectory(prefix="calls") as directory:
        running = Worker(Path(directory), options)
        try:
            yield running
        finally:
            running.stop()


@contextlib.contextmanager
def crowd(case: Case, port: int) -> Iterator[None]:
    """Hold as many connections as one client may have, if the case is beyond them."""
    with contextlib.ExitStack() as held:
        for _ in range(MAX_PER_CLIENT if case.source == CROWDED else 0):
            _connection, replies = held.enter_context(connected(port, case.source))
            if not (reply := replies.readline()).startswith(b"220"):
                raise RuntimeError(f"{reply!r} in place of a greeting")
        yield


def run(case: Case, port: int, number: int) -> None:
    """Make so many connections, one after the other."""
    for _ in range(number):
        converse(port, case.source, case.lines, case.wanted)


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the calls of each case by connection, or the instructions: the least of some batches.

    Work in the background adds to all of them.
    """
    results: dict[str, dict[str, float]] = {}
    with worker(options) as running:
        count, figure = (running.instructions, "instructions") if options.instructions else (running.calls, "calls")
        batches = 2 if options.instructions else BATCHES
        for name in options.cases.split(","):
            case = CASES[name]
            work = partial(run, case, running.port)
            with crowd(case, running.port):
                work(5)
                found = [count(partial(work, case.number)) / case.number for _ in range(batches)]
            results[name] = {figure: round(min(found), 1)}
            if options.top and not options.instructions:
                running.statistics().sort_stats(options.sort).print_stats(options.top)
    return results


def exceeded(results: dict[str, dict[str, float]], limits: dict[str, dict[str, float]]) -> list[str]:
    """Return the figures that exceed their limit."""
    return [
        f"{case}: {found[figure]} {figure}, at most {limit}"
        for case, found in results.items()
        for figure, limit in limits.get(case, {}).items()
        if figure in found and found[figure] > limit
    ]


def enter_namespace() -> NoReturn:
    """Run this program again in a network namespace, which needs no privileges."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    program = [sys.executable, "-m", "bench.calls", "--inside", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", *user, "--net", "sh", "-c", f'{NETWORK} && exec "$@"', "sh", *program])  # noqa: S606


def main() -> None:
    """Count, print, write as JSON; exit with 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="bench.calls", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--instructions", action="store_true", help="instructions, by valgrind, in place of calls")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), help="event loop; by default uvloop if installed")
    parser.add_argument("--floor", action="store_true", help="a server that only says SMTP words, in its place")
    parser.add_argument("--metrics", action="store_true", help="count metrics for Prometheus too")
    parser.add_argument("--source", type=Path, default=SOURCE, help="directory of the package `mailgate`")
    parser.add_argument("--top", type=int, default=0, help="print so many functions of each case")
    parser.add_argument("--sort", default="tottime", help="of these functions; see pstats")
    parser.add_argument(
        "--limits", type=Path, help="JSON file as written by this bench; exit with 1 beyond its numbers"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor and set(options.cases.split(",")) & {"banned", "too_many_connections"}:
        parser.error("--floor refuses no connection; choose --cases")
    if not options.inside:
        enter_namespace()
    options.settings = f'event_loop = "{options.loop}"' if options.loop else ""
    if options.instructions and not shutil.which("valgrind"):
        sys.exit("bench: valgrind is missing: apt-get install valgrind")
    results = measure(options)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / f"calls{'.instructions' if options.instructions else ''}.json").write_text(
        json.dumps(results, indent=2) + "\n"
    )
    print(json.dumps(results, indent=2))
    problems = exceeded(results, limits_of(options.limits)) if options.limits else []
    if problems:
        sys.exit("\n".join(["bench: more than allowed:", *problems]))


def limits_of(path: Path) -> dict[str, Any]:
    """Return the limits in a file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    main()

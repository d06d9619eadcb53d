# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where bench.kill runs: programs on an isolated machine's loopback, or the hosts of a twin with real sendmail."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.campus import GATEWAYS, SERVERS, Campus, Copy, bench_campus, exchanges
from bench.kill import VICTIMS, Trace, account, kill_in_turn
from bench.machine import DOMAIN, GATEWAY, QUEUE, SINK, BenchMachine, bench_machine, mailgate
from bench.sender import Senders

# Seconds before killed programs are started again: on loopback, and on a twin where systemd does not do it.
LOOPBACK_DOWN_SECONDS = 0.3
TWIN_DOWN_SECONDS = 2.0
LOOPBACK_SECONDS = 1800
TWIN_SECONDS = 900
DRAIN_SECONDS = 300

# --- loopback

# A server that appends the number of each message to a log.
SERVER = r"""
import asyncio, os, re, sys
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = re.compile(rb"^Subject: (\d+)", re.M)
async def serve(reader, writer):
    try:
        writer.write(b"220 server\r\n")
        while line := await reader.readuntil(b"\r\n"):
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                # Recorded before the reply: a server that is killed between the two is the case of RFC 1047.
                os.write(log, number.search(text)[1] + b"\n")
                await asyncio.sleep(0)
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"EHLO":
                writer.write(b"250-server\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"RCPT" and b"<mailgate-" in line:
                writer.write(b"550 5.1.1 unknown\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 2.0.0 ok\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), limit=1 << 22)
    await server.serve_forever()
asyncio.run(main())
"""


class LoopbackHosts:
    """The gateway, clamd, the final server and the queue as programs of a bench machine."""

    def __init__(self, machine: BenchMachine) -> None:
        self._machine = machine
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("server", "queue"):
            (machine.root / f"{name}.py").write_text(SERVER)

    def start(self, name: str) -> None:
        """Start a program without waiting for it."""
        if name == "clamd":
            command = ["clamd", "--config-file=/etc/clamav/clamd.conf"]
        elif name == "service":
            command = mailgate("serve")
        else:
            port = SINK if name == "server" else QUEUE
            command = ["python3", f"/{name}.py", str(port), f"/{name}.log"]
        self._processes[name] = self._machine.start(name, command)

    def kill(self, victim: str, /) -> str:
        """Kill a worker, a program, or all programs of the gateway host; start them again after a moment."""
        if victim == "worker":
            workers = [p for p in self._machine.processes("service") if p != self._processes["service"].pid]
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
        else:
            for name in ("service", "clamd", "queue") if victim == "host" else (victim,):
                for process in self._machine.processes(name):
                    os.kill(process, signal.SIGKILL)
                self._processes[name].wait()
        time.sleep(LOOPBACK_DOWN_SECONDS)
        self._restart_ended()
        return victim

    def _restart_ended(self) -> None:
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                if name == "clamd":
                    (self._machine.root / "run/clamav/clamd.ctl").unlink(missing_ok=True)
                self.start(name)


def logged(log: Path) -> list[int]:
    """Return the numbers in the log of a SERVER."""
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


def on_loopback(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Run on an isolated machine; return the account."""
    with bench_machine(parser) as (machine, options):
        return _on_loopback(machine, options)


def _on_loopback(machine: BenchMachine, options: argparse.Namespace) -> dict[str, Any]:
    # The first start writes the configuration.
    machine.start_clamd()
    machine.start_gateway()
    for process in machine.running:
        process.terminate()
        process.wait()
    (machine.root / "run/clamav/clamd.ctl").unlink(missing_ok=True)
    hosts = LoopbackHosts(machine)
    for name in ("server", "queue", "clamd", "service"):
        hosts.start(name)
    senders = Senders(
        options.messages, options.sessions or 20, [("127.0.0.1", GATEWAY)], lambda number: f"u{number % 50}@{DOMAIN}"
    )
    started = time.monotonic()

    async def run() -> Counter[str]:
        killing = asyncio.to_thread(kill_in_turn, hosts, senders, options.kills, LOOPBACK_SECONDS)
        return (await asyncio.gather(killing, senders.run()))[0]

    kills = asyncio.run(asyncio.wait_for(run(), LOOPBACK_SECONDS))
    seconds = time.monotonic() - started
    arrived: dict[int, list[Trace]] = defaultdict(list)
    for name in ("server", "queue"):
        for number in logged(machine.root / f"{name}.log"):
            arrived[number].append(((name, ""),))

    def explain(number: int, traces: Sequence[Trace]) -> Iterator[str]:
        # A lost reply to the sender shows at the sender; a lost reply to the gateway shows in the queue, which got the
        # message that the server had already.
        if senders.doubtful[number]:
            yield "a gateway's reply to the sender was lost"
        elif len(set(traces)) > 1:
            yield "a server's reply to a gateway was lost"
        else:
            yield "unexplained"

    return {
        "messages": options.messages,
        "kills": dict(kills),
        "seconds": round(seconds, 1),
        "arrived_in_queue": sum((("queue", ""),) in traces for traces in arrived.values()),
        **account(arrived, (), senders, explain),
    }


# --- twin


class TwinHosts:
    """The hosts of a twin; the gateway that accepted the last message is the victim."""

    def __init__(self, campus: Campus, senders: Senders) -> None:
        self._campus = campus
        self._senders = senders
        self._kills = 0

    def kill(self, victim: str, /) -> str:
        """Kill a program or the host of the gateway, or a final server; start what systemd does not start."""
        gateway = self._campus.twin.machine(self._senders.latest).short
        server = list(SERVERS.values())[self._kills // len(VICTIMS) % len(SERVERS)]
        self._kills += 1
        match victim:
            case "worker":
                # The supervisor is the unit's first process.
                workers = sorted(self._campus.processes(gateway, "mailgate.service"))[1:]
                if workers:
                    os.kill(random.choice(workers), signal.SIGKILL)  # noqa: S311
            case "service":
                self._campus.signal(gateway, "mailgate.service", signal.SIGKILL)
            case "clamd":
                self._campus.signal(gateway, "clamav-daemon.service", signal.SIGKILL)
            case "server":
                self._kill_sendmail(server)
            case "queue":
                # A server is down too, so that there is mail in the queue.
                self._kill_sendmail(server, gateway)
            case "host":
                self._campus.twin.stop(gateway)
                time.sleep(TWIN_DOWN_SECONDS)
                self._campus.twin.start(gateway)
        return f"{victim} {gateway}"

    def _kill_sendmail(self, *hosts: str) -> None:
        for name in hosts:
            self._campus.signal(name, "sendmail.service", signal.SIGKILL)
            time.sleep(TWIN_DOWN_SECONDS)
        for name in reversed(hosts):
            self._campus.sh(name, "systemctl restart sendmail")


def cause(first: Trace, second: Trace, senders: Senders, number: int) -> str:
    """Return which lost reply made two copies of a message, from the hop where their traces differ."""
    if first == second:
        return "a final server's own delivery was interrupted"
    if first[:1] != second[:1]:
        if senders.doubtful[number]:
            return "a gateway's reply to the sender was lost"
        return "the queue's reply to a gateway was lost" if number in senders.deferred else "unexplained"
    # One transaction of one gateway: delivered both directly and through the queue, or twice from the queue.
    if len(first) != len(second):
        return "a server's reply to a gateway was lost"
    return "a server's reply to the queue was lost" if first[:2] == second[:2] and len(first) > 2 else "unexplained"


def account_of_mailboxes(mail: Iterable[Copy], queued: Iterable[int], senders: Senders) -> dict[str, Any]:
    """Return the account of a run on a twin, from the copies in mailboxes and the messages in queues."""
    arrived: dict[int, list[Trace]] = defaultdict(list)
    incomplete = 0
    for copy in mail:
        if copy.number is None:
            incomplete += 1
        else:
            arrived[copy.number].append(copy.trace)

    def explain(number: int, traces: Sequence[Trace]) -> Iterator[str]:
        for first, second in itertools.pairwise(sorted(traces)):
            yield cause(first, second, senders, number)

    return {
        **account(arrived, queued, senders, explain),
        "arrived_through_a_queue": sum(any(len(trace) > 2 for trace in traces) for traces in arrived.values()),
        "cut_off_copies": incomplete,
    }


def on_twin(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Run on a twin; return the account."""
    with bench_campus(parser, "bench-kill") as (campus, options):
        return _on_twin(campus, options)


def _on_twin(campus: Campus, options: argparse.Namespace) -> dict[str, Any]:
    created: list[Senders] = []

    async def send() -> None:
        # Asks the DNS server of `outside`, so it must run in that host's network namespace.
        domain, sessions = next(iter(SERVERS)), options.sessions or 16
        created.append(Senders(options.messages, sessions, exchanges(domain), campus.recipient, pause=0.5, timeout=30))
        await created[0].run()

    thread = campus.outside(send)
    started = time.monotonic()
    thread.start()
    while not created and thread.is_alive():
        time.sleep(0.02)
    (senders,) = created
    kills = kill_in_turn(TwinHosts(campus, senders), senders, options.kills, TWIN_SECONDS)
    thread.join(max(1.0, TWIN_SECONDS - (time.monotonic() - started)))
    seconds = time.monotonic() - started
    waited = campus.drained(DRAIN_SECONDS)
    queued = [number for name in (*GATEWAYS, *SERVERS.values()) for number in campus.queued(name)]
    return {
        "messages": options.messages,
        "kills": dict(kills),
        "seconds": round(seconds, 1),
        "seconds_until_queues_were_empty": round(waited, 1),
        **account_of_mailboxes(campus.mail(), queued, senders),
    }

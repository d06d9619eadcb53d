# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flood of invented recipients from thousands of addresses, beside ordinary mail; and refused connections.

Postfix with postscreen and address verification, the gateway, and the two-stage form, sendmail in front of the gateway,
one after the other with the same flood: forged senders and invented recipients, each attempt from another address over
a connection of its own. An attempt begins at its time, however slow the others are, and sends a message if its
recipient is accepted. Ordinary mail comes at a fixed rate from clients that have sent before, once without and once
during the flood. Bounces are counted at the queue, on their way to the forged senders, and at the inner server. Then
connections of a banned network, one after the other: at the gateway by `mailgate ban`, at Postfix by postscreen's
access list.

python3 -m bench.flood [--rate N] [--seconds N] [--rounds N]       (as root; in its own network namespace)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import resource
import socket
import statistics
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.inner_server import INNER, PROGRAM
from bench.machine import DOMAIN, FRONT, GATEWAY, POSTFIX, QUEUE, SETTINGS, BenchMachine, bench_machine
from bench.rootfs import CACHE

ADDRESSES = 2000
ORDINARY_RATE, ORDINARY_CLIENTS = 10, 20
REFUSED = 3000
BANNED = "198.18.66"
PORTS = {"postfix": POSTFIX, "gateway": GATEWAY}
# The programs of each form.
PROGRAMS = {"postfix": ("postfix",), "gateway": ("gateway",), "two_stage": ("front", "gateway")}
# How long an attempt lasts at most; Postfix needs seconds for each recipient that it verifies.
CONNECT_SECONDS = 30
# What the role sets for a gateway with a front, and a state of its own.
BEHIND_FRONT = (
    SETTINGS.replace("/var/lib/mailgate", "/var/lib/mailgate/behind")
    + "max_unknown_recipients = 0\nmax_unknown_recipients_per_client = 0\n"
)
POSTSCREEN = {
    "smtpd_recipient_restrictions": "reject_unauth_destination, reject_unverified_recipient",
    "unverified_recipient_reject_code": "550",
    "relay_transport": f"smtp:[127.0.0.1]:{INNER}",
    "address_verify_relay_transport": f"smtp:[127.0.0.1]:{INNER}",
    "postscreen_access_list": "cidr:/etc/postfix/denied",
    "postscreen_denylist_action": "drop",
    "postscreen_greet_action": "enforce",
    "postscreen_client_connection_count_limit": "0",
    "default_process_limit": "400",
}


def main() -> None:
    """Measure, print, write as JSON."""
    parser = argparse.ArgumentParser(prog="bench.flood")
    parser.add_argument("--rate", type=int, default=500, help="attempts a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3, help="of refused connections")
    with bench_machine(parser) as (machine, options):
        # One for each attempt that is not over.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        # Each address of these networks is one of this machine.
        for network in ("198.18.0.0/16", "198.19.0.0/16"):
            subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)
        start(machine)
        result = measure(machine, options)
    (CACHE / "flood.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def start(machine: BenchMachine) -> None:
    """Start the inner server, the queue and both peers."""
    (machine.root / "inner_server.py").write_text(PROGRAM)
    machine.start("inner", ["python3", "/inner_server.py", str(INNER)])
    machine.start("queue", ["python3", "/inner_server.py", str(QUEUE), "any"])
    machine.start_clamd()
    (machine.root / "etc/postfix/denied").write_text(f"{BANNED}.0/24 reject\n")
    machine.start_postfix(settings=POSTSCREEN, postscreen=True)
    machine.start_gateway(next_hop=INNER)
    machine.run("load", ["python3", "-I", "/opt/mailgate", "ban", "--config", "/etc/mailgate.toml",
                         "add", f"{BANNED}.0/24", "--duration", "1d"])  # fmt: skip


def measure(machine: BenchMachine, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all forms."""
    result: dict[str, Any] = {"rate": options.rate, "seconds": options.seconds, "addresses": ADDRESSES}
    for name, port in PORTS.items():
        result[name] = measure_form(machine, name, port, options)
    result["refused_connections"] = refused_connections(machine, options.rounds)
    machine.stop("gateway")
    behind = machine.root / "var/lib/mailgate/behind"
    behind.mkdir()
    machine.start_gateway(next_hop=INNER, settings=BEHIND_FRONT)
    machine.start_front()
    result["two_stage"] = measure_form(machine, "two_stage", FRONT, options)
    return result


def measure_form(machine: BenchMachine, name: str, port: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one form: ordinary mail alone, then with the flood."""

    def cpu() -> float:
        return sum(map(machine.cpu, PROGRAMS[name]))

    # Ordinary clients and the recipient become known.
    asyncio.run(ordinary(port, 4))
    begin = cpu()
    quiet = asyncio.run(ordinary(port, options.seconds))
    quiet_cpu, before = cpu() - begin, counts()
    begin = cpu()
    flooded, found = asyncio.run(flood(port, options))
    flood_cpu, after = cpu() - begin, counts()
    attempts = sum(found.replies.values())
    refused = sum(number for reply, number in found.replies.items() if reply.startswith(("4", "5")))
    return {
        "quiet": quiet,
        "flood": flooded,
        "p99_to_quiet": flooded["p99_ms"] / quiet["p99_ms"] if flooded["p99_ms"] and quiet["p99_ms"] else None,
        "offered_per_second": attempts / found.offering,
        "latest_start_ms": found.latest * 1000,
        "replies": dict(found.replies),
        "refusals_per_second": refused / found.seconds,
        "own_cpu_ms_per_attempt": (flood_cpu - quiet_cpu) / attempts * 1000,
        "calls_to_inner_server": after["invented"] - before["invented"],
        "bounces": after["bounces"] - before["bounces"],
        "memory_mb": sum(map(machine.memory, PROGRAMS[name])) / 1e6,
    }


# Ordinary mail


async def ordinary(port: int, seconds: int) -> dict[str, float | None]:
    """Send messages at a fixed rate; return how long they took, in ms; None if none was accepted."""
    start_at, tasks = time.monotonic() + 0.2, []
    for number in range(seconds * ORDINARY_RATE):
        due = start_at + number / ORDINARY_RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(send(port, f"198.19.{number % ORDINARY_CLIENTS}.1", due)))
    found = await asyncio.gather(*tasks)
    delays = sorted(delay * 1000 for delay, accepted in found if accepted)
    return {
        "messages": len(found), "not_accepted": len(found) - len(delays),
        "median_ms": statistics.median(delays) if delays else None,
        "p99_ms": delays[int(len(delays) * 0.99)] if delays else None,
    }  # fmt: skip


_NUMBERS = itertools.count()


async def send(port: int, address: str, due: float) -> tuple[float, bool]:
    """Send a message; return the seconds from its due time to the last reply, and whether it was accepted."""
    content = f"Subject: ordinary {next(_NUMBERS)}\r\n\r\n{'Hello. ' * 10}\r\n".encode() * 5
    reply = await dialogue(
        port, address,
        (b"EHLO mail.sender.example", b"MAIL FROM:<a@sender.example>", f"RCPT TO:<alice@{DOMAIN}>".encode(), b"DATA",
         content + b"."),
    )  # fmt: skip
    return time.monotonic() - due, reply.startswith("250")


async def dialogue(port: int, address: str, lines: tuple[bytes, ...]) -> str:
    """Send lines one by one until one is refused; return the last reply, empty if there is none."""
    reply = b""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            try:
                reply = await one_reply(reader)
                for line in lines:
                    if reply[:1] not in b"23":
                        break
                    writer.write(line + b"\r\n")
                    reply = await one_reply(reader)
                if reply[:3] != b"421":
                    writer.write(b"QUIT\r\n")
                    await reader.read()
            finally:
                writer.close()
    return reply.decode("ascii", "replace").strip()


async def one_reply(reader: asyncio.StreamReader) -> bytes:
    """Return the last line of a reply."""
    while (line := await reader.readuntil(b"\n"))[3:4] == b"-":
        pass
    return line


# The flood


@dataclass
class Flood:
    """What a flood met: the replies, and in seconds how long it was offered, took in all, and was late at most."""

    replies: Counter[str] = field(default_factory=Counter)
    offering: float = 0.0
    seconds: float = 0.0
    latest: float = 0.0


async def flood(port: int, options: argparse.Namespace) -> tuple[dict[str, float | None], Flood]:
    """Make attempts at a fixed rate beside ordinary mail; return its delays and what the attempts met."""
    rng = random.Random(7)  # noqa: S311
    found = Flood()

    async def attempt(number: int) -> None:
        host = number % ADDRESSES
        name = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10))
        reply = await dialogue(
            port, f"198.18.{host // 250 + 100}.{host % 250 + 1}",
            (b"EHLO pc.example", f"MAIL FROM:<{name}@{name[:5]}.example>".encode(),
             f"RCPT TO:<{name}@{DOMAIN}>".encode(), b"DATA", b"Subject: offer\r\n\r\nBuy.\r\n."),
        )  # fmt: skip
        # "none": the connection was refused or broken, or took too long.
        found.replies[reply[:9] if reply.startswith(("4", "5")) else reply[:3] or "none"] += 1

    async def attempts() -> None:
        running = set()
        started = time.monotonic()
        for number in range(options.rate * options.seconds):
            due = started + number / options.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            found.latest = max(found.latest, time.monotonic() - due)
            task = asyncio.create_task(attempt(number))
            running.add(task)
            task.add_done_callback(running.discard)
        found.offering = time.monotonic() - started
        while running:
            await asyncio.wait(running)

    started = time.monotonic()
    flooding = asyncio.create_task(attempts())
    delays = await ordinary(port, options.seconds)
    await flooding
    found.seconds = time.monotonic() - started
    return delays, found


def counts() -> dict[str, int]:
    """Return what the inner server and the queue have counted: invented recipients, and bounces at both."""
    found = []
    for port in (INNER, QUEUE):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.recv(1000)
            connection.sendall(b"XCOUNT\r\n")
            found.append([int(word) for word in connection.recv(1000).split()[1:3]])
    return {"invented": found[0][0], "bounces": found[0][1] + found[1][1]}


# Refused connections


def refused_connections(machine: BenchMachine, rounds: int) -> dict[str, Any]:
    """Measure connections of a banned network, one after the other, in alternating rounds."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PORTS}
    for _round in range(rounds):
        for name, port in PORTS.items():
            cpu, started = machine.cpu(name), time.monotonic()
            for number in range(REFUSED):
                refused(port, f"{BANNED}.{number % 250 + 1}")
            found[name].append(
                {
                    "rate": REFUSED / (time.monotonic() - started),
                    "own_cpu_ms": (machine.cpu(name) - cpu) / REFUSED * 1000,
                }
            )
    medians = {
        name: {figure: statistics.median(one[figure] for one in each) for figure in ("rate", "own_cpu_ms")}
        for name, each in found.items()
    }
    return {**medians, "cpu_share": medians["gateway"]["own_cpu_ms"] / medians["postfix"]["own_cpu_ms"]}


def refused(port: int, address: str) -> None:
    """Connect from a banned address; raise RuntimeError unless it is refused."""
    with socket.create_connection(("127.0.0.1", port), source_address=(address, 0)) as connection:
        reply = b""
        while piece := connection.recv(1000):
            reply += piece
        if reply[:1] not in b"45" or not reply:
            raise RuntimeError(f"unexpected reply: {reply!r}")


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A flood of invented recipients from thousands of addresses, beside ordinary mail; and refused connections.

Postfix with postscreen and address verification, the gateway, and the two-stage form, sendmail in front of the gateway,
one after the other with the same flood and ordinary mail (`lab.flood`), this once without and once during the flood.
Bounces are counted at the queue, on their way to the forged senders, and at the inner server. Then connections of a
banned network, one after the other: at the gateway by `mailgate ban`, at Postfix by postscreen's access list.

python3 -m bench.flood [--rate N] [--seconds N] [--rounds N] [--forms NAME ...]     (as root; in a namespace of its own)
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import time
from dataclasses import asdict
from typing import Any

from bench.inner_server import INNER
from bench.machine import DOMAIN, FRONT, GATEWAY, POSTFIX, QUEUE, SETTINGS, BenchMachine, bench_machine, mailgate
from bench.rootfs import CACHE
from lab.flood import ADDRESSES, Target, flood, ordinary, own_addresses

REFUSED = 3000
BANNED = "198.18.66"
PORTS = {"postfix": POSTFIX, "gateway": GATEWAY}
# The programs of each form.
PROGRAMS = {"postfix": ("postfix",), "gateway": ("gateway",), "two_stage": ("front", "gateway")}
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
    parser.add_argument("--forms", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    with bench_machine(parser) as (machine, options):
        own_addresses()
        subprocess.run(["ip", "route", "add", "local", f"{BANNED}.0/24", "dev", "lo"], check=True)
        start(machine)
        result = measure(machine, options)
    (CACHE / "flood.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def start(machine: BenchMachine) -> None:
    """Start the inner server, the queue and both peers."""
    machine.start_inner_servers()
    machine.start_clamd()
    (machine.root / "etc/postfix/denied").write_text(f"{BANNED}.0/24 reject\n")
    machine.start_postfix(settings=POSTSCREEN, postscreen=True)
    machine.start_gateway(next_hop=INNER)
    machine.run("load", mailgate("ban", "add", f"{BANNED}.0/24", "--duration", "1d"))


def measure(machine: BenchMachine, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all forms."""
    result: dict[str, Any] = {"rate": options.rate, "seconds": options.seconds, "addresses": ADDRESSES}
    for name, port in PORTS.items():
        if name in options.forms:
            result[name] = measure_form(machine, name, port, options)
    if options.rounds:
        result["refused_connections"] = refused_connections(machine, options.rounds)
    if "two_stage" not in options.forms:
        return result
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

    target = Target("127.0.0.1", port, f"alice@{DOMAIN}")
    # Ordinary clients and the recipient become known.
    ordinary(target, 4)
    begin = cpu()
    quiet = ordinary(target, options.seconds)
    quiet_cpu, before = cpu() - begin, counts()
    begin = cpu()
    flooded, found = flood(target, options.rate, options.seconds)
    flood_cpu, after = cpu() - begin, counts()
    return {
        "quiet": asdict(quiet),
        "flood": asdict(flooded),
        "p99_to_quiet": flooded.p99_ms / quiet.p99_ms if flooded.p99_ms and quiet.p99_ms else None,
        "offered_per_second": found.attempts / found.offering,
        "latest_start_ms": found.latest * 1000,
        "replies": dict(found.replies),
        "refusals_per_second": found.refused / found.seconds,
        "own_cpu_ms_per_attempt": (flood_cpu - quiet_cpu) / found.attempts * 1000,
        "calls_to_inner_server": after["invented"] - before["invented"],
        "bounces": after["bounces"] - before["bounces"],
        "memory_mb": sum(map(machine.memory, PROGRAMS[name])) / 1e6,
    }


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

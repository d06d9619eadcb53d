# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throughput of the gateway and of Postfix with clamav-milter: same messages, sink and scanner, in alternating rounds.

A message has text and a base64 attachment. All messages of a size are identical, so verdict caches are off.

python3 -m bench.mail [--rounds N] [--sessions N] [--sizes 4,60,1024] [--quick]     (as root; installs nothing here)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import sys
import threading
import time
from typing import Any

from bench import plot
from bench.machine import DOMAIN, GATEWAY, POSTFIX, BenchMachine, bench_machine
from bench.rootfs import CACHE

# Messages of one round, by size in KiB: enough for a few seconds each.
MESSAGES = {4: 2000, 60: 600, 1024: 80}
TARGETS = {4: (2.0, 0.20, 0.75), 60: (1.3, 0.20, 0.85), 1024: (1.1, 0.30, 0.90)}


def main() -> None:
    """Measure, print the table, write JSON and SVG."""
    parser = argparse.ArgumentParser(prog="bench.mail", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--sizes", default="4,60,1024", help="in KiB, of " + ", ".join(map(str, MESSAGES)))
    parser.add_argument("--quick", action="store_true", help="a quarter of the messages")
    with bench_machine(parser) as (machine, options):
        result = measure(machine, options)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "mail.json").write_text(json.dumps(result, indent=2) + "\n")
    (CACHE / "mail.svg").write_text(plot.bars(result))
    print(table(result))
    print(f"\n{CACHE / 'mail.json'}\n{CACHE / 'mail.svg'}")


def send(machine: BenchMachine, port: int, *, size: int, number: int, sessions: int) -> None:
    """Send `number` messages of `size` KiB with Postfix's smtp-source, one per connection."""
    machine.message(size)
    machine.run(
        "load",
        ["smtp-source", "-s", str(sessions), "-F", f"/message.{size}", "-m", str(number), "-f", "a@sender.example",
         "-t", f"alice@{DOMAIN}", f"127.0.0.1:{port}"],
    )  # fmt: skip


def run_peer(machine: BenchMachine, name: str, *, size: int, number: int, sessions: int) -> dict[str, float]:
    """Measure one peer until the sink has received everything."""
    clamd, own, started = machine.cpu("clamd"), machine.cpu(name), time.monotonic()
    send(machine, POSTFIX if name == "postfix" else GATEWAY, size=size, number=number, sessions=sessions)
    accepted = time.monotonic()
    while name == "postfix" and machine.postfix_queue():
        time.sleep(0.02)
    seconds = time.monotonic() - started
    return {
        "rate": number / seconds,
        "accepted_rate": number / (accepted - started),
        "own_cpu_ms": (machine.cpu(name) - own) / number * 1000,
        "clamd_cpu_ms": (machine.cpu("clamd") - clamd) / number * 1000,
    }


def run_clamd(machine: BenchMachine, *, size: int, number: int) -> dict[str, float]:
    """Measure clamd alone with four clients: the upper limit of any gateway that scans."""
    message = machine.message(size)
    path = str(machine.root / "run/clamav/clamd.ctl")
    left = list(range(number))

    def client() -> None:
        while True:
            try:
                left.pop()
            except IndexError:
                return
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendall(b"zINSTREAM\0" + len(message).to_bytes(4, "big") + message + bytes(4))
                if connection.recv(100) != b"stream: OK\0":
                    raise RuntimeError("clamd did not reply OK")

    before, started = machine.cpu("clamd"), time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    return {"rate": number / seconds, "clamd_cpu_ms": (machine.cpu("clamd") - before) / number * 1000}


def measure(machine: BenchMachine, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; return medians of the rounds and ratios within each round."""
    sizes = [int(word) for word in options.sizes.split(",")]
    machine.start_clamd()
    machine.start_sink()
    machine.start_sink(10025, "queue")
    machine.start_postfix()
    machine.start_gateway()
    turns: dict[int, list[dict[str, dict[str, float]]]] = {size: [] for size in sizes}
    for name in ("postfix", "gateway"):
        run_peer(machine, name, size=4, number=200, sessions=options.sessions)
    for number_of_round in range(options.rounds):
        for size in sizes:
            number = MESSAGES[size] // (4 if options.quick else 1)
            order = ["postfix", "gateway"] if number_of_round % 2 == 0 else ["gateway", "postfix"]
            turn = {
                name: run_peer(machine, name, size=size, number=number, sessions=options.sessions) for name in order
            }
            turn["clamd"] = run_clamd(machine, size=size, number=number)
            turns[size].append(turn)
            print(f"bench: round {number_of_round + 1}, {size} KiB done", file=sys.stderr, flush=True)
    memory = {name: machine.memory(name) for name in ("postfix", "gateway", "clamd")}
    return {
        "machine": {"processors": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
        "sessions": options.sessions,
        "rounds": options.rounds,
        "memory": memory,
        "sizes": {str(size): summary(turns[size], size) for size in sizes},
        "turns": {str(size): turns[size] for size in sizes},
    }


def summary(turns: list[dict[str, dict[str, float]]], size: int) -> dict[str, Any]:
    """Return medians, and the median of the ratios within each round."""

    def median(name: str, figure: str) -> float:
        return statistics.median(turn[name][figure] for turn in turns)

    def ratio(one: str, other: str, figure: str) -> float:
        return statistics.median(turn[one][figure] / turn[other][figure] for turn in turns)

    return {
        "postfix_rate": median("postfix", "rate"),
        "gateway_rate": median("gateway", "rate"),
        "clamd_rate": median("clamd", "rate"),
        "postfix_cpu_ms": median("postfix", "own_cpu_ms"),
        "gateway_cpu_ms": median("gateway", "own_cpu_ms"),
        "rate_ratio": ratio("gateway", "postfix", "rate"),
        "cpu_ratio": ratio("gateway", "postfix", "own_cpu_ms"),
        "clamd_ratio": ratio("gateway", "clamd", "rate"),
        "targets": dict(zip(("rate_ratio", "cpu_ratio", "clamd_ratio"), TARGETS[size], strict=True)),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as a text table."""
    lines = [
        f"{result['sessions']} sessions, one message per connection, median of {result['rounds']} rounds,"
        f" {result['machine']['processors']} processors, load {result['machine']['load'][0]:.1f}",
        "",
        "size      messages/s: ours  Postfix+clamav-milter  clamd alone    ratio (target)   of clamd (target)"
        "   own CPU ms: ours  Postfix   share (target)",
    ]
    for size, row in result["sizes"].items():
        wanted = row["targets"]
        lines.append(
            f"{size:>5} KiB {row['gateway_rate']:>16.0f} {row['postfix_rate']:>22.0f} {row['clamd_rate']:>12.0f}"
            f" {row['rate_ratio']:>8.2f} (≥{wanted['rate_ratio']:.1f})   {row['clamd_ratio']:>8.2f}"
            f" (≥{wanted['clamd_ratio']:.2f}) {row['gateway_cpu_ms']:>18.2f} {row['postfix_cpu_ms']:>8.2f}"
            f" {row['cpu_ratio']:>7.2f} (≤{wanted['cpu_ratio']:.2f})"
        )
    memory = {name: size / 1e6 for name, size in result["memory"].items()}
    lines.append(f"\nmemory (PSS): mailgate {memory['gateway']:.0f} MB, Postfix + milter {memory['postfix']:.0f} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

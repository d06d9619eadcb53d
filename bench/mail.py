# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail through our service and through Postfix + clamav-milter: same messages, sink and scanner, turn by turn.

A message is text and a base64 attachment. All are alike, so nobody may remember verdicts: caches are off.

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
from bench.house import DOMAIN, GATEWAY, POSTFIX, House, own_house
from bench.rootfs import CACHE

# Messages of one round, by size in KiB: enough for a few seconds each.
MESSAGES = {4: 2000, 60: 600, 1024: 80}
TARGETS = {4: (2.0, 0.20, 0.75), 60: (1.3, 0.20, 0.85), 1024: (1.1, 0.30, 0.90)}


def main() -> None:
    """Prepare the system, then go on inside namespaces of our own."""
    parser = argparse.ArgumentParser(prog="bench.mail", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--sizes", default="4,60,1024", help="in KiB, of " + ", ".join(map(str, MESSAGES)))
    parser.add_argument("--quick", action="store_true", help="a quarter of the messages")
    with own_house(parser) as (house, options):
        result = measure(house, options)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "mail.json").write_text(json.dumps(result, indent=2) + "\n")
    (CACHE / "mail.svg").write_text(plot.bars(result))
    print(table(result))
    print(f"\n{CACHE / 'mail.json'}\n{CACHE / 'mail.svg'}")


def send(house: House, port: int, *, size: int, number: int, sessions: int) -> None:
    """Postfix's smtp-source: `number` messages of `size` KiB, one a connection."""
    house.message(size)
    house.run(
        "load",
        ["smtp-source", "-s", str(sessions), "-F", f"/message.{size}", "-m", str(number), "-f", "a@sender.example",
         "-t", f"alice@{DOMAIN}", f"127.0.0.1:{port}"],
    )  # fmt: skip


def run_peer(house: House, name: str, *, size: int, number: int, sessions: int) -> dict[str, float]:
    """One peer's turn, until the sink has everything."""
    clamd, own, started = house.cpu("clamd"), house.cpu(name), time.monotonic()
    send(house, POSTFIX if name == "postfix" else GATEWAY, size=size, number=number, sessions=sessions)
    accepted = time.monotonic()
    while name == "postfix" and house.postfix_queue():
        time.sleep(0.02)
    seconds = time.monotonic() - started
    return {
        "rate": number / seconds,
        "accepted_rate": number / (accepted - started),
        "own_cpu_ms": (house.cpu(name) - own) / number * 1000,
        "clamd_cpu_ms": (house.cpu("clamd") - clamd) / number * 1000,
    }


def run_clamd(house: House, *, size: int, number: int) -> dict[str, float]:
    """The scanner alone, asked by four clients: the limit of all that scan."""
    message = house.message(size)
    path = str(house.root / "run/clamav/clamd.ctl")
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
                    raise RuntimeError("clamd did not say OK")

    before, started = house.cpu("clamd"), time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    return {"rate": number / seconds, "clamd_cpu_ms": (house.cpu("clamd") - before) / number * 1000}


def measure(house: House, options: argparse.Namespace) -> dict[str, Any]:
    """All turns; medians of the rounds, ratios of each round's neighbours."""
    sizes = [int(word) for word in options.sizes.split(",")]
    house.start_clamd()
    house.start_sink()
    house.start_sink(10025, "queue")
    house.start_postfix()
    house.start_gateway()
    turns: dict[int, list[dict[str, dict[str, float]]]] = {size: [] for size in sizes}
    for name in ("postfix", "gateway"):
        run_peer(house, name, size=4, number=200, sessions=options.sessions)
    for number_of_round in range(options.rounds):
        for size in sizes:
            number = MESSAGES[size] // (4 if options.quick else 1)
            order = ["postfix", "gateway"] if number_of_round % 2 == 0 else ["gateway", "postfix"]
            turn = {name: run_peer(house, name, size=size, number=number, sessions=options.sessions) for name in order}
            turn["clamd"] = run_clamd(house, size=size, number=number)
            turns[size].append(turn)
            print(f"bench: round {number_of_round + 1}, {size} KiB done", file=sys.stderr, flush=True)
    memory = {name: house.memory(name) for name in ("postfix", "gateway", "clamd")}
    return {
        "machine": {"processors": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
        "sessions": options.sessions,
        "rounds": options.rounds,
        "memory": memory,
        "sizes": {str(size): summary(turns[size], size) for size in sizes},
        "turns": {str(size): turns[size] for size in sizes},
    }


def summary(turns: list[dict[str, dict[str, float]]], size: int) -> dict[str, Any]:
    """Medians, and the median of the ratios within each round."""

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
    """The table to read."""
    lines = [
        f"{result['sessions']} sessions, one message a connection, median of {result['rounds']} rounds,"
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
    memory = {name: octets / 1e6 for name, octets in result["memory"].items()}
    lines.append(f"\nmemory (PSS): ours {memory['gateway']:.0f} MB, Postfix + milter {memory['postfix']:.0f} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

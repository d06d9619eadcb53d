# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cost of scanning with a real clamd on loopback: `python bench/scan.py time|memory`.

time    time that the gateway's checks add to clamd's own time for the same content, in one interleaved run
memory  the service's peak memory with many large messages at once, compared with the setting that limits it

`python3 -m bench.chaos` disturbs clamd under load.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import os
import random
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "roles/gateway/files"), str(ROOT / "tests/unit/gateway")]

from gateway_doubles import Hop, Received  # noqa: E402
from infected_mail import multi, part  # noqa: E402
from real_clamd import CLAMD, MISSING, RealClamd  # noqa: E402

from bench.chaos import HEAD, send  # noqa: E402
from bench.service import Service  # noqa: E402
from mailgate.config import Attachments, Scan  # noqa: E402
from mailgate.content.notices import Notice  # noqa: E402
from mailgate.content.policy import ContentPolicy  # noqa: E402
from mailgate.content.screen import Rules, screen  # noqa: E402
from mailgate.scan.scanner import Scanner  # noqa: E402

SIZES = {"4 KB": (4096, 400), "60 KB": (61440, 300), "1 MB": (1 << 20, 60), "20 MB": (20 << 20, 12)}


def message(size: int) -> bytes:
    """Return a new message of about `size` bytes: text and a random attachment in base64."""
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + b"A line of a letter, as long as others.\r\n" * 30
    attachment = base64.encodebytes(os.urandom(max(60, int((size - 1700) * 0.73)))).replace(b"\n", b"\r\n")
    return HEAD + multi(text, part(attachment, b"application/octet-stream; name=a.bin"))  # language: quoted


def clamd_alone(path: Path, content: bytes) -> float:
    """Return the seconds that clamd takes, with a minimal client."""
    started = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"zINSTREAM\0" + len(content).to_bytes(4, "big"))
        connection.sendall(content)
        connection.sendall(b"\0\0\0\0")
        answer = connection.recv(4096)
    assert answer == b"stream: OK\0", answer
    return time.perf_counter() - started


def write_signatures(directory: Path, number: int) -> None:
    """Write random signatures in addition to the lab's: a tenth by content, the rest by hash."""
    rng = random.Random(1)  # noqa: S311
    with (directory / "bench.ndb").open("w") as file:
        for index in range(number // 10):
            file.write(f"Bench.Body.{index}:0:*:{rng.randbytes(rng.randrange(16, 60)).hex()}\n")
    with (directory / "bench.hsb").open("w") as file:
        for index in range(number - number // 10):
            file.write(f"{rng.randbytes(32).hex()}:{rng.randrange(1000, 5_000_000)}:Bench.Hash.{index}:73\n")


async def measure_time(clamd: RealClamd) -> dict[str, object]:
    """Return medians in milliseconds of clamd alone and of the gateway, by size of message."""
    scanner = Scanner(Scan(socket=str(clamd.socket)), lambda *_, **__: None)
    rules = Rules(ContentPolicy(), Attachments(), Notice("en", "gw1.univ.example"))
    table: dict[str, object] = {}
    for name, (size, times) in SIZES.items():
        alone, ours, cpu = [], [], []
        for number in range(times + 5):
            # Alternately, and each first as often as second, so that other load affects both. Each message is new:
            # clamd caches clean content.
            for who in ("alone", "ours") if number % 2 else ("ours", "alone"):
                content = message(size)
                if who == "alone":
                    alone.append(clamd_alone(clamd.socket, content))
                else:
                    used, started = time.process_time(), time.perf_counter()
                    deadline = asyncio.get_running_loop().time() + 60
                    screened = await screen(content, lambda pieces, end=deadline: scanner.scan(pieces, end), rules)
                    ours.append(time.perf_counter() - started)
                    cpu.append(time.process_time() - used)
                    assert screened.content is content
        a, o = statistics.median(alone[5:]), statistics.median(ours[5:])
        table[name] = {
            "clamd_alone_ms": round(a * 1000, 3),
            "ours_ms": round(o * 1000, 3),
            "added_percent": round((o / a - 1) * 100, 1),
            "own_cpu_ms": round(statistics.median(cpu[5:]) * 1000, 3),
            "messages": times,
            **await several_at_a_time(clamd, scanner, rules, size, times // 4),
        }
    return table


async def several_at_a_time(
    clamd: RealClamd, scanner: Scanner, rules: Rules, size: int, number: int
) -> dict[str, float]:
    """Return milliseconds per message with four in parallel; medians of alternating rounds."""

    async def one(content: bytes) -> None:
        deadline = asyncio.get_running_loop().time() + 60
        assert (await screen(content, lambda pieces: scanner.scan(pieces, deadline), rules)).content is content

    async def client(left: list[bytes]) -> None:
        while left:
            await one(left.pop())

    rounds: dict[str, list[float]] = {"alone": [], "ours": []}
    with ThreadPoolExecutor(4) as clients:
        for turn in range(5):
            for who in ("alone", "ours") if turn % 2 else ("ours", "alone"):
                left = [message(size) for _ in range(max(4, number))]
                count, started = len(left), time.perf_counter()
                if who == "alone":
                    list(clients.map(lambda content: clamd_alone(clamd.socket, content), left))
                else:
                    await asyncio.gather(*(client(left) for _ in range(4)))
                rounds[who].append((time.perf_counter() - started) / count)
    alone, ours = (statistics.median(rounds[who]) for who in ("alone", "ours"))
    return {
        "four_clamd_alone_ms": round(alone * 1000, 3),
        "four_ours_ms": round(ours * 1000, 3),
        "four_added_percent": round((ours / alone - 1) * 100, 1),
    }


class _Forgetful(list[Received]):
    """A list that discards what a next hop has received."""

    def append(self, _: Received) -> None:
        pass


async def measure_memory(clamd: RealClamd, directory: Path) -> dict[str, object]:
    """Return the service's peak memory in MiB while 100 clients send 20 MB each and retry deferred messages."""
    hop = Hop()
    hop.received = _Forgetful()
    await hop.start()
    bound = 268_435_456
    results: dict[str, object] = {}
    service = Service(
        directory,
        hop.port,
        clamd.socket,
        limits={"max_bytes_in_flight": bound, "max_connections_per_client": 200, "max_connections": 200},
    )
    try:
        await service.ready()
        await send(("127.0.0.1", service.port), message(4096))
        results["idle_mib"] = service.peak_kib() // 1024
        content = message(20 << 20)
        answers: Counter[str] = Counter()
        waiting = 100
        rounds = 0
        started = time.monotonic()
        # As a sending MTA does, retry deferred messages.
        while waiting and rounds < 60:
            replies = await asyncio.gather(*(send(("127.0.0.1", service.port), content) for _ in range(waiting)))
            answers.update(replies)
            waiting = sum(not reply.startswith("250") for reply in replies)
            rounds += 1
        results.update(
            messages=100,
            bytes_each=len(content),
            max_bytes_in_flight=bound,
            peak_mib=service.peak_kib() // 1024,
            answers=dict(answers),
            rounds=rounds,
            seconds=round(time.monotonic() - started, 1),
            not_delivered=waiting,
        )
    finally:
        service.stop()
        hop.stop()
    return results


def main() -> int:
    """Run one of the measurements and print its result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "memory"))
    parser.add_argument("--signatures", type=int, default=0, help="random signatures in addition to the lab's (time)")
    options = parser.parse_args()
    if not CLAMD:
        print(MISSING, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="scan") as text:
        directory = Path(text)
        clamd = RealClamd(directory)
        if options.signatures:
            clamd.kill()
            write_signatures(clamd.database, options.signatures)
            clamd.start()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        try:
            if options.what == "time":
                result = asyncio.run(measure_time(clamd))
            else:
                result = asyncio.run(measure_memory(clamd, directory))
        finally:
            clamd.kill()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

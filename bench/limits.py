# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the gateway: memory, idle connections, rejections, latency at half load.

python3 -m bench.limits       (as root; in its own network namespace)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.machine import DOMAIN, GATEWAY, POSTFIX, BenchMachine, bench_machine
from bench.mail import send
from bench.rootfs import CACHE

IDLE = 1000
FULL, DELAYED, REFUSALS, SENDERS = 2000, 2000, 6000, 20
LARGE = 25 * 1000 * 1000
IN_FLIGHT = 268_435_456


def main() -> None:
    """Measure, print, write as JSON."""
    with bench_machine(argparse.ArgumentParser(prog="bench.limits")) as (machine, _options):
        machine.start_clamd()
        machine.start_sink()
        machine.start_postfix()
        machine.start_gateway()
        result = asyncio.run(measure(machine))
    (CACHE / "limits.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


async def measure(machine: BenchMachine) -> dict[str, Any]:
    """Run all measurements, one after the other."""
    result: dict[str, Any] = {}
    result["delay_at_half_load"] = await asyncio.to_thread(delays, machine)
    for recipients in (1, 8):
        found: dict[str, list[dict[str, float]]] = {"postfix": [], "gateway": []}
        for _ in range(3):
            for name, port in (("postfix", POSTFIX), ("gateway", GATEWAY)):
                found[name].append(await asyncio.to_thread(refusals, machine, name, port, recipients))
        postfix, gateway = (
            {figure: statistics.median(one[figure] for one in found[name]) for figure in ("rate", "own_cpu_ms")}
            for name in ("postfix", "gateway")
        )
        result[f"refusals_of_{recipients}_a_connection"] = {
            "postfix": postfix,
            "gateway": gateway,
            "ratio": gateway["rate"] / postfix["rate"],
            "cpu_share": gateway["own_cpu_ms"] / postfix["own_cpu_ms"],
        }
    before = machine.memory("gateway")
    idle = [await asyncio.open_connection("127.0.0.1", GATEWAY) for _ in range(IDLE)]
    await asyncio.sleep(1)
    result["idle_connections"] = {"number": IDLE, "more_mb": (machine.memory("gateway") - before) / 1e6}
    for _reader, writer in idle:
        writer.close()
    await asyncio.sleep(1)
    result["large_messages"] = await large(machine)
    return result


def delays(machine: BenchMachine) -> dict[str, float]:
    """Measure the latency of 4 KiB messages sent evenly at half the rate that smtp-source reaches with 20 sessions."""
    started = time.monotonic()
    send(machine, GATEWAY, size=4, number=FULL, sessions=SENDERS)
    rate = FULL / (time.monotonic() - started) / 2
    content, start = machine.message(4), time.monotonic() + 1
    times = [[start + number / rate for number in range(sender, DELAYED, SENDERS)] for sender in range(SENDERS)]
    with multiprocessing.Pool(SENDERS) as senders:
        found = senders.starmap(send_at, [(content, own) for own in times], chunksize=1)
    seconds = sorted(itertools.chain.from_iterable(found))
    median, p99 = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
    return {"rate": rate, "median_ms": median * 1000, "p99_ms": p99 * 1000, "p99_to_median": p99 / median}


@contextlib.contextmanager
def dialogue(port: int, lines: Sequence[bytes], wanted: bytes) -> Iterator[None]:
    """Send the lines one by one; the last reply must begin with `wanted`. Ends with QUIT."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        answer = connection.recv(1000)
        for line in lines:
            connection.sendall(line)
            answer = connection.recv(1000)
        if not answer.startswith(wanted):
            raise RuntimeError(f"unexpected reply: {answer!r}")
        yield
        connection.sendall(b"QUIT\r\n")
        connection.recv(1000)


def send_at(content: bytes, times: list[float]) -> list[float]:
    """Send a message at each of the times; return the seconds from each due time to the 250 reply."""
    lines = (
        b"HELO sender.example\r\n", b"MAIL FROM:<a@sender.example>\r\n", f"RCPT TO:<alice@{DOMAIN}>\r\n".encode(),
        b"DATA\r\n", content + b".\r\n",
    )  # fmt: skip
    seconds = []
    # The first message is not counted: it includes the one-time costs of the sender's process.
    for due in (times[0] - 0.5, *times):
        time.sleep(max(0, due - time.monotonic()))
        with dialogue(GATEWAY, lines, b"250"):
            seconds.append(time.monotonic() - due)
    return seconds[1:]


def refusals(machine: BenchMachine, name: str, port: int, recipients: int) -> dict[str, float]:
    """Measure relay attempts with `recipients` recipients per connection, from 20 minimal senders."""
    number = REFUSALS // SENDERS
    cpu, started = machine.cpu(name), time.monotonic()
    with multiprocessing.Pool(SENDERS) as senders:
        senders.starmap(attempts, [(port, number, recipients)] * SENDERS, chunksize=1)
    return {
        "rate": REFUSALS * recipients / (time.monotonic() - started),
        "own_cpu_ms": (machine.cpu(name) - cpu) / REFUSALS / recipients * 1000,
    }


def attempts(port: int, number: int, recipients: int) -> None:
    """Make one sender's relay attempts, one connection after the other."""
    lines = [b"HELO sender.example\r\n", b"MAIL FROM:<a@sender.example>\r\n"]
    lines += [b"RCPT TO:<x%d@elsewhere.example>\r\n" % one for one in range(recipients)]
    for _ in range(number):
        with dialogue(port, lines, b"55"):
            pass


async def large(machine: BenchMachine) -> dict[str, float]:
    """Measure peak memory while 100 sessions send 25 MB each at the same time."""
    before, peak, done = machine.memory("gateway"), 0, False
    answers: dict[str, int] = {}
    line = b"x" * 998 + b"\r\n"

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", GATEWAY)
        with contextlib.suppress(ConnectionError):
            writer.write(f"EHLO s.example\r\nMAIL FROM:<>\r\nRCPT TO:<alice@{DOMAIN}>\r\nDATA\r\n".encode())
            writer.write(b"Subject: large\r\n\r\n")
            for _ in range(LARGE // 100_000):
                writer.write(line * 100)
                await writer.drain()
            writer.write(b".\r\nQUIT\r\n")
        replies = (await reader.read()).decode().splitlines()
        key = next((text[:9] for text in reversed(replies) if not text.startswith("221")), "none")
        answers[key] = answers.get(key, 0) + 1
        writer.close()

    async def watch() -> None:
        nonlocal peak
        while not done:
            peak = max(peak, await asyncio.to_thread(machine.memory, "gateway"))
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(sender() for _ in range(100)))
    done = True
    await watching
    await asyncio.sleep(1)
    after = machine.memory("gateway")
    return {
        "in_flight_setting_mb": IN_FLIGHT / 1e6, "before_mb": before / 1e6, "peak_mb": peak / 1e6,
        "after_mb": after / 1e6,
        **{f"answered {key}": number for key, number in answers.items()},
    }  # fmt: skip


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a flood, and ordinary ones beside it; a program of its own for a host, with the standard library only.

Each attempt has a forged sender and an invented recipient, and comes from another address over a connection of its
own. It begins at its time, however slow the others are, and sends a message if its recipient is accepted. Ordinary mail
comes at a fixed rate from clients that have sent before.

python3 - HOST PORT RECIPIENT RATE SECONDS     prints the result as JSON; root, as the addresses become the host's own
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

NETWORK = "198.19"
ADDRESSES = 2000
ORDINARY_RATE, ORDINARY_CLIENTS = 10, 20
# How long an attempt lasts at most; Postfix needs seconds for each recipient that it verifies.
CONNECT_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Target:
    """Where mail is sent: host, port, and the recipient of ordinary mail, to whose domain invented ones belong."""

    host: str
    port: int
    recipient: str


@dataclasses.dataclass
class Ordinary:
    """What ordinary mail met: messages, those not accepted, and how long the others took, None if none was accepted."""

    messages: int
    not_accepted: int
    median_ms: float | None
    p99_ms: float | None


@dataclasses.dataclass
class Flood:
    """What a flood met: its replies, and in seconds how long it was offered, took in all, and was late at most."""

    replies: Counter[str] = dataclasses.field(default_factory=Counter)
    offering: float = 0.0
    seconds: float = 0.0
    latest: float = 0.0

    @property
    def attempts(self) -> int:
        """The number of attempts."""
        return self.replies.total()

    @property
    def refused(self) -> int:
        """The number of attempts with a reply that refuses."""
        return sum(number for reply, number in self.replies.items() if reply[:1] in ("4", "5"))


def own_addresses() -> None:
    """Make each address of the clients one of this host, and allow a connection for each attempt."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    for network in (f"{NETWORK}.0.0/19", f"{NETWORK}.96.0/19"):
        subprocess.run(["ip", "route", "replace", "local", network, "dev", "lo"], check=True)


def ordinary(target: Target, seconds: int) -> Ordinary:
    """Send messages at a fixed rate."""
    return asyncio.run(_ordinary(target, seconds))


def flood(target: Target, rate: int, seconds: int) -> tuple[Ordinary, Flood]:
    """Make attempts at a fixed rate beside ordinary mail."""
    return asyncio.run(_flood(target, rate, seconds))


async def _ordinary(target: Target, seconds: int) -> Ordinary:
    start_at, tasks = time.monotonic() + 0.2, []
    for number in range(seconds * ORDINARY_RATE):
        due = start_at + number / ORDINARY_RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(_send(target, f"{NETWORK}.{number % ORDINARY_CLIENTS}.1", due)))
    found = await asyncio.gather(*tasks)
    delays = sorted(delay * 1000 for delay, accepted in found if accepted)
    if not delays:
        return Ordinary(len(found), len(found), None, None)
    return Ordinary(len(found), len(found) - len(delays), statistics.median(delays), delays[int(len(delays) * 0.99)])


_NUMBERS = itertools.count()


async def _send(target: Target, address: str, due: float) -> tuple[float, bool]:
    """Send a message; return the seconds from its due time to the last reply, and whether it was accepted."""
    content = f"Subject: ordinary {next(_NUMBERS)} {time.time()}\r\n\r\n{'Hello. ' * 10}\r\n".encode() * 5
    reply = await _dialogue(
        target, address,
        (b"EHLO mail.sender.example", b"MAIL FROM:<a@sender.example>", f"RCPT TO:<{target.recipient}>".encode(),
         b"DATA", content + b"."),
    )  # fmt: skip
    return time.monotonic() - due, reply.startswith("250")


async def _dialogue(target: Target, address: str, lines: tuple[bytes, ...]) -> str:
    """Send lines one by one until one is refused; return the last reply, empty if there is none."""
    reply = b""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(target.host, target.port, local_addr=(address, 0))
            try:
                reply = await _one_reply(reader)
                for line in lines:
                    if reply[:1] not in b"23":
                        break
                    writer.write(line + b"\r\n")
                    reply = await _one_reply(reader)
                if reply[:3] != b"421":
                    writer.write(b"QUIT\r\n")
                    await reader.read()
            finally:
                writer.close()
    return reply.decode("ascii", "replace").strip()


async def _one_reply(reader: asyncio.StreamReader) -> bytes:
    """Return the last line of a reply."""
    while (line := await reader.readuntil(b"\n"))[3:4] == b"-":
        pass
    return line


async def _flood(target: Target, rate: int, seconds: int) -> tuple[Ordinary, Flood]:
    rng = random.Random(7)  # noqa: S311
    found = Flood()
    domain = target.recipient.partition("@")[2]

    async def attempt(number: int) -> None:
        host = number % ADDRESSES
        name = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10))
        reply = await _dialogue(
            target, f"{NETWORK}.{host // 250 + 100}.{host % 250 + 1}",
            (b"EHLO pc.example", f"MAIL FROM:<{name}@{name[:5]}.example>".encode(),
             f"RCPT TO:<{name}@{domain}>".encode(), b"DATA", b"Subject: offer\r\n\r\nBuy.\r\n."),
        )  # fmt: skip
        # "none": the connection was refused or broken, or took too long.
        found.replies[reply[:9] if reply.startswith(("4", "5")) else reply[:3] or "none"] += 1

    async def attempts() -> None:
        running = set()
        started = time.monotonic()
        for number in range(rate * seconds):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            found.latest = max(found.latest, time.monotonic() - due)
            task = asyncio.create_task(attempt(number))
            running.add(task)
            task.add_done_callback(running.discard)
        found.offering = time.monotonic() - started
        while running:
            await asyncio.wait(running)

    # A collection stops this process for up to 40 ms, after which all attempts of that time come at once.
    gc.disable()
    started = time.monotonic()
    # In a process of its own, so that the work of the flood's clients is no delay of ordinary mail.
    with ProcessPoolExecutor(1) as pool:
        delays = asyncio.get_running_loop().run_in_executor(pool, ordinary, target, seconds)
        await attempts()
        beside = await delays
    gc.enable()
    found.seconds = time.monotonic() - started
    return beside, found


def main() -> None:
    """Send ordinary mail alone and then beside a flood; print what both met, and the number of attempts."""
    host, port, recipient, rate, seconds = sys.argv[1:]
    target = Target(host, int(port), recipient)
    own_addresses()
    # Clients and recipient become known.
    ordinary(target, 4)
    quiet = ordinary(target, int(seconds))
    beside, found = flood(target, int(rate), int(seconds))
    print(json.dumps({
        "quiet": dataclasses.asdict(quiet), "flood": dataclasses.asdict(beside),
        "attempts": found.attempts, "replies": found.replies,
    }))  # fmt: skip


if __name__ == "__main__":
    main()

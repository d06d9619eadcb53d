# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway under load while its clamd is killed, stopped, slowed, removed and given too much: nothing infected passes.

    python3 -m bench.chaos [--on loopback] [--times 1000] [--seconds 3600] [--seed 1]
    python3 -m bench.chaos --on twin [--times 1000] [--seconds 600] [--seed 1]       (as root; real sendmail)

Half of the messages are infected; a healthy clamd finds all infections or reports that a message exceeds its limits.
Exits with 1 if an infected message was delivered or an accepted one was not.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from bench.rootfs import CACHE
from lab.tools import REPOSITORY

sys.path[:0] = [str(REPOSITORY / "roles/gateway/files"), str(REPOSITORY / "tests/unit/gateway")]

from infected_mail import EICAR, b64, multi, part, zipped  # noqa: E402

HEAD = b"From: a@sender.example\r\nTo: alice@a.example\r\nSubject: bench\r\nMIME-Version: 1.0\r\n"
SESSIONS = 8
#: Disturbances of clamd with their weights.
ACTIONS = {"kill": 2, "terminate": 1, "stop": 3, "slow": 3, "reload": 2, "sever": 1, "absent": 1}


def _nested(depth: int) -> bytes:
    content: bytes = EICAR
    for _ in range(depth):
        content = zipped(content, "x.zip")
    return content


# More nested archives than clamd unpacks.
TOO_DEEP = _nested(60)
MARKS = tuple(base64.b64encode(content)[:40] for content in (EICAR, TOO_DEEP))


class Scanner(Protocol):
    """A clamd that can be disturbed."""

    def signal(self, number: signal.Signals, /) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """Kill it with SIGKILL and wait for its end."""

    def ended(self) -> None:
        """Wait for its end after a signal."""

    def hide(self) -> None:
        """Remove its socket."""

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""


async def send(address: tuple[str, int], content: bytes, recipient: str = "alice@a.example") -> str:
    """Send one message; return the start of the last reply, or the error that ended the session."""
    try:
        reader, writer = await asyncio.open_connection(*address)
    except OSError as error:
        return type(error).__name__
    try:
        reply = (await reader.readline()).decode()
        commands = ("EHLO c.example", "MAIL FROM:<a@sender.example>", f"RCPT TO:<{recipient}>", "DATA")
        for line in commands:
            if reply[:1] not in "23":
                return reply[:9].strip()
            writer.write(f"{line}\r\n".encode())
            reply = (await reader.readline()).decode()
            while reply[3:4] == "-":
                reply = (await reader.readline()).decode()
        if not reply.startswith("354"):
            return reply[:9].strip()
        writer.write(content + b".\r\n")
        await writer.drain()
        reply = (await reader.readline()).decode()[:9].strip()
        # The next command tells the gateway that its reply has arrived.
        writer.write(b"QUIT\r\n")
        await reader.readline()
        return reply or "hung up"
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    finally:
        writer.close()


def random_message(rng: random.Random) -> tuple[str, bytes]:
    """Return the kind and content of a new message; all but its message id comes from `rng`."""
    kind = rng.choices(("clean", "infected", "too deep"), (10, 9, 1))[0]
    body = rng.randbytes(rng.choice((200, 20_000, 400_000)))
    parts = [b"Content-Type: text/plain\r\n\r\nhello", part(b64(body))]
    if kind != "clean":
        parts.insert(rng.randrange(3), part(b64(EICAR if kind == "infected" else TOO_DEEP)))
    return kind, b"Message-ID: <%s@sender.example>\r\n" % secrets.token_hex(12).encode() + HEAD + multi(*parts)


def infected(delivered: bytes) -> bool:
    """Whether a delivered message contains one of the bench's infections."""
    return any(mark in delivered for mark in MARKS)


async def disturbed(
    clamd: Scanner,
    address: tuple[str, int],
    recipients: Sequence[str],
    *,
    times: int,
    seed: int,
    seconds: float = 3600,
) -> dict[str, object]:
    """Send messages to a gateway while its clamd is disturbed.

    Args:
        clamd: the gateway's scanner.
        address: the gateway's address and port.
        recipients: recipients of the messages, in turn by session.
        times: number of disturbances.
        seed: seed of the random messages and disturbances.
        seconds: end after this time even if there were fewer disturbances.

    Returns:
        Counts of disturbances, of messages by kind, and of replies by kind of message.
    """
    rng = random.Random(seed)  # noqa: S311
    replies: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    done = False

    async def load(number: int) -> None:
        own = random.Random(seed + number)  # noqa: S311
        while not done:
            kind, content = random_message(own)
            reply = await send(address, content, recipients[number % len(recipients)])
            sent[kind] += 1
            replies[f"{kind} {reply[:3]}"] += 1

    tasks = [asyncio.create_task(load(number)) for number in range(SESSIONS)]
    started = time.monotonic()
    try:
        while actions.total() < times and time.monotonic() - started < seconds:
            action = rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            actions[action] += 1
            await asyncio.sleep(rng.uniform(0.005, 0.06))
            await _disturb(clamd, action, rng)
    finally:
        done = True
        await asyncio.gather(*tasks)
    return {
        "disturbances": dict(actions),
        "times": actions.total(),
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "sent": dict(sent),
        "answers": dict(sorted(replies.items())),
        "accepted": sum(number for reply, number in replies.items() if reply.endswith(" 250")),
    }


async def _disturb(clamd: Scanner, action: str, rng: random.Random) -> None:
    if action == "stop":
        clamd.signal(signal.SIGSTOP)
        await asyncio.sleep(rng.choice((0.01, 0.05, 0.2)))
        clamd.signal(signal.SIGCONT)
    elif action == "slow":
        for _ in range(rng.randrange(2, 12)):
            clamd.signal(signal.SIGSTOP)
            await asyncio.sleep(0.004)
            clamd.signal(signal.SIGCONT)
            await asyncio.sleep(0.001)
    elif action == "reload":
        clamd.signal(signal.SIGUSR2)
    else:
        if action == "sever":
            await asyncio.to_thread(clamd.hide)
            await asyncio.sleep(0.02)
        if action == "terminate":
            clamd.signal(signal.SIGTERM)
            await asyncio.to_thread(clamd.ended)
        else:
            await asyncio.to_thread(clamd.kill)
        if action == "absent":
            await asyncio.sleep(0.2)
        await asyncio.to_thread(clamd.start)


def main() -> None:
    """Run the bench on loopback or on a twin; print the result, write it as JSON."""
    from bench.chaos_places import on_loopback, on_twin  # noqa: PLC0415  places import this module

    parser = argparse.ArgumentParser(prog="bench.chaos")
    parser.add_argument("--on", choices=("loopback", "twin"), default="loopback")
    parser.add_argument("--times", type=int, default=1000, help="number of disturbances of clamd")
    parser.add_argument("--seconds", type=int, help="end after this time (loopback: 3600, twin: 600)")
    parser.add_argument("--seed", type=int, default=1)
    place = parser.parse_known_args()[0].on
    result = on_twin(parser) if place == "twin" else on_loopback(parser)
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / f"chaos_{place}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    passed = result["delivered"] == result["accepted"] and not result["delivered_infected"]
    sys.exit(0 if passed and result["times"] else 1)


if __name__ == "__main__":
    main()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scanner disturbed again and again under load: killed, stopped, slowed, gone, and fed what is over its limits.

Half of the messages are infected; a scanner in good health finds it in all of them, or says that they are too much.
"""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from lab.tools import REPOSITORY

sys.path[:0] = [str(REPOSITORY / "roles/gateway/files"), str(REPOSITORY / "tests/unit/gateway")]

from infected_mail import EICAR, b64, multi, part, zipped  # noqa: E402

HEAD = b"From: a@sender.example\r\nTo: alice@a.example\r\nSubject: bench\r\nMIME-Version: 1.0\r\n"
SESSIONS = 8
ACTIONS = {"kill": 2, "terminate": 1, "stop": 3, "slow": 3, "reload": 2, "sever": 1, "absent": 1}


def _nested(depth: int) -> bytes:
    octets: bytes = EICAR
    for _ in range(depth):
        octets = zipped(octets, "x.zip")
    return octets


# Far more archives in one another than clamd opens.
TOO_DEEP = _nested(60)
MARKS = tuple(base64.b64encode(octets)[:40] for octets in (EICAR, TOO_DEEP))


class Patient(Protocol):
    """A clamd that can be disturbed."""

    def signal(self, number: signal.Signals, /) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """End it with -9 and wait for its end."""

    def ended(self) -> None:
        """Wait for an end that a signal has asked for."""

    def hide(self) -> None:
        """Take its socket away."""

    def start(self) -> None:
        """Start it, and wait until it can be asked."""


async def send(address: tuple[str, int], content: bytes, recipient: str = "alice@a.example") -> str:
    """Send one message; the answer that ended it, or the reason why there was none."""
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
        # It goes on, so that the gateway knows that its answer was heard.
        writer.write(b"QUIT\r\n")
        await reader.readline()
        return reply or "hung up"
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    finally:
        writer.close()


def letter(dice: random.Random) -> tuple[str, bytes]:
    """A message that nobody has seen, and its kind; all of it but its name is the dice's."""
    kind = dice.choices(("clean", "infected", "too deep"), (10, 9, 1))[0]
    body = dice.randbytes(dice.choice((200, 20_000, 400_000)))
    parts = [b"Content-Type: text/plain\r\n\r\nhello", part(b64(body))]
    if kind != "clean":
        parts.insert(dice.randrange(3), part(b64(EICAR if kind == "infected" else TOO_DEEP)))
    return kind, b"Message-ID: <%s@sender.example>\r\n" % secrets.token_hex(12).encode() + HEAD + multi(*parts)


def infected(delivered: bytes) -> bool:
    """Whether what was delivered has one of our infections in it."""
    return any(mark in delivered for mark in MARKS)


async def disturbed(
    clamd: Patient,
    address: tuple[str, int],
    recipients: Sequence[str],
    *,
    times: int,
    seed: int,
    seconds: float = 3600,
) -> dict[str, object]:
    """What a gateway answered while its clamd was disturbed `times` times, or for `seconds`."""
    dice = random.Random(seed)  # noqa: S311
    answers: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    done = False

    async def load(number: int) -> None:
        own = random.Random(seed + number)  # noqa: S311
        while not done:
            kind, content = letter(own)
            reply = await send(address, content, recipients[number % len(recipients)])
            sent[kind] += 1
            answers[f"{kind} {reply[:3]}"] += 1

    tasks = [asyncio.create_task(load(number)) for number in range(SESSIONS)]
    started = time.monotonic()
    try:
        while actions.total() < times and time.monotonic() - started < seconds:
            action = dice.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            actions[action] += 1
            await asyncio.sleep(dice.uniform(0.005, 0.06))
            await _disturb(clamd, action, dice)
    finally:
        done = True
        await asyncio.gather(*tasks)
    return {
        "disturbances": dict(actions),
        "times": actions.total(),
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "sent": dict(sent),
        "answers": dict(sorted(answers.items())),
        "accepted": sum(number for answer, number in answers.items() if answer.endswith(" 250")),
    }


async def _disturb(clamd: Patient, action: str, dice: random.Random) -> None:
    if action == "stop":
        clamd.signal(signal.SIGSTOP)
        await asyncio.sleep(dice.choice((0.01, 0.05, 0.2)))
        clamd.signal(signal.SIGCONT)
    elif action == "slow":
        for _ in range(dice.randrange(2, 12)):
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

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sending MTA: tries the next exchange when one is down, and retries each message until the reply is 250."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

SENDER = "a@sender.example"
#: Seconds before an exchange that could not be reached is tried again.
DOWN_SECONDS = 1
CONNECT_SECONDS = 3


class Senders:
    """Sends numbered messages in parallel sessions, each message until the reply is 250.

    Args of the constructor:
        messages: number of messages.
        sessions: number of parallel sessions.
        exchanges: address and port of each exchange, best first.
        recipient: returns the recipient of a message by its number.
        pause: seconds that a session waits after a failure.
        timeout: seconds for a whole SMTP dialogue.
    """

    def __init__(
        self,
        messages: int,
        sessions: int,
        exchanges: Sequence[tuple[str, int]],
        recipient: Callable[[int], str],
        *,
        pause: float = 0.02,
        timeout: float = 60,
    ) -> None:
        self.todo = list(range(messages))
        self.total = messages
        self.sessions = sessions
        self.exchanges = exchanges
        self.recipient = recipient
        self.pause = pause
        self.timeout = timeout
        self.accepted: set[int] = set()
        self.attempts: Counter[int] = Counter()
        # Messages whose connection broke before the reply, and those that were deferred after the final dot.
        self.doubtful: Counter[int] = Counter()
        self.deferred: set[int] = set()
        self.refused: Counter[str] = Counter()
        self.unreachable: Counter[str] = Counter()
        self.accepted_by: Counter[str] = Counter()
        # Address of the exchange that accepted the last message.
        self.latest = exchanges[0][0]
        self._down_until: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """Run all sessions until every message is accepted."""
        await asyncio.gather(*(self._session() for _ in range(self.sessions)))

    async def _session(self) -> None:
        while self.todo:
            number = self.todo.pop()
            self.attempts[number] += 1
            if not await self._try_all(number):
                self.todo.insert(0, number)
                await asyncio.sleep(self.pause)

    async def _try_all(self, number: int) -> bool:
        """Send a message to the first exchange that is reachable; return whether it was accepted."""
        for exchange in self.exchanges:
            if time.monotonic() < self._down_until.get(exchange, 0):
                continue
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(*exchange), CONNECT_SECONDS)
            except (OSError, TimeoutError):
                self._down_until[exchange] = time.monotonic() + DOWN_SECONDS
                self.unreachable[exchange[0]] += 1
                continue
            try:
                accepted = await asyncio.wait_for(self._dialogue(number, reader, writer), self.timeout)
            except (OSError, EOFError, TimeoutError):
                return False
            finally:
                writer.close()
            if accepted:
                self.accepted_by[exchange[0]] += 1
                self.latest = exchange[0]
            if accepted is not None:
                return accepted
        return False

    async def _dialogue(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool | None:
        """Return whether the message was accepted; None if the banner was not 220."""

        async def command(line: bytes, expected: bytes) -> bool:
            writer.write(line)
            while True:
                reply = await reader.readuntil(b"\n")
                if reply[3:4] != b"-":
                    break
            if not reply.startswith(expected):
                self.refused[reply[:9].decode()] += 1
            return reply.startswith(expected)

        if not await command(b"", b"220"):
            return None
        for line, expected in (
            (b"EHLO sender.example\r\n", b"250"),
            (f"MAIL FROM:<{SENDER}>\r\n".encode(), b"250"),
            (f"RCPT TO:<{self.recipient(number)}>\r\n".encode(), b"250"),
            (b"DATA\r\n", b"354"),
        ):
            if not await command(line, expected):
                return False
        self.doubtful[number] += 1
        accepted = await command(message(number) + b".\r\n", b"250")
        self.doubtful[number] -= 1
        if accepted:
            self.accepted.add(number)
        else:
            self.deferred.add(number)
        writer.write(b"QUIT\r\n")
        return accepted


def message(number: int) -> bytes:
    """Return the message with this number; its last line proves that it is complete."""
    date = "Sun, 29 Nov 2026 10:00:00 +0000"
    head = f"Subject: {number}\r\nDate: {date}\r\nMessage-ID: <{number}@sender.example>\r\n\r\n"
    return head.encode() + b"Hello.\r\n" * 200 + f"End of {number}.\r\n".encode()

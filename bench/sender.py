# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sender as the world's are: it tries the next exchange when one is down, and sends again until it hears 250."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

SENDER = "a@sender.example"
#: How long an exchange that could not be reached is not tried again, in seconds.
DOWN_SECONDS = 1
CONNECT_SECONDS = 3


class Senders:
    """Sends `messages` numbered messages in `sessions` sessions at a time, each until it is answered 250.

    `exchanges` are (address, port), best first; `recipient` names a message's recipient by its number. After each
    failure a session rests for `pause` seconds; a dialogue as a whole has `patience` seconds.
    """

    def __init__(
        self,
        messages: int,
        sessions: int,
        exchanges: Sequence[tuple[str, int]],
        recipient: Callable[[int], str],
        *,
        pause: float = 0.02,
        patience: float = 60,
    ) -> None:
        self.todo = list(range(messages))
        self.total = messages
        self.sessions = sessions
        self.exchanges = exchanges
        self.recipient = recipient
        self.pause = pause
        self.patience = patience
        self.accepted: set[int] = set()
        self.attempts: Counter[int] = Counter()
        # Messages whose answer was awaited when the connection broke, and those that were put off after the final dot.
        self.doubtful: Counter[int] = Counter()
        self.put_off: set[int] = set()
        self.refused: Counter[str] = Counter()
        self.unreachable: Counter[str] = Counter()
        self.accepted_by: Counter[str] = Counter()
        # Address of the exchange that accepted the last message.
        self.latest = exchanges[0][0]
        self._down_until: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """All sessions, to the end of the messages."""
        await asyncio.gather(*(self._session() for _ in range(self.sessions)))

    async def _session(self) -> None:
        while self.todo:
            number = self.todo.pop()
            self.attempts[number] += 1
            if not await self._try_all(number):
                self.todo.insert(0, number)
                await asyncio.sleep(self.pause)

    async def _try_all(self, number: int) -> bool:
        """Offer a message to the first exchange that greets; whether it was accepted."""
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
                answer = await asyncio.wait_for(self._dialogue(number, reader, writer), self.patience)
            except (OSError, EOFError, TimeoutError):
                return False
            finally:
                writer.close()
            if answer:
                self.accepted_by[exchange[0]] += 1
                self.latest = exchange[0]
            if answer is not None:
                return answer
        return False

    async def _dialogue(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool | None:
        """Whether the message was accepted; None if the greeting was a refusal."""

        async def said(line: bytes, wanted: bytes) -> bool:
            writer.write(line)
            while True:
                answer = await reader.readuntil(b"\n")
                if answer[3:4] != b"-":
                    break
            if not answer.startswith(wanted):
                self.refused[answer[:9].decode()] += 1
            return answer.startswith(wanted)

        if not await said(b"", b"220"):
            return None
        for line, wanted in (
            (b"EHLO sender.example\r\n", b"250"),
            (f"MAIL FROM:<{SENDER}>\r\n".encode(), b"250"),
            (f"RCPT TO:<{self.recipient(number)}>\r\n".encode(), b"250"),
            (b"DATA\r\n", b"354"),
        ):
            if not await said(line, wanted):
                return False
        self.doubtful[number] += 1
        taken = await said(message(number) + b".\r\n", b"250")
        self.doubtful[number] -= 1
        if taken:
            self.accepted.add(number)
        else:
            self.put_off.add(number)
        writer.write(b"QUIT\r\n")
        return taken


def message(number: int) -> bytes:
    """The message with this number; its last line shows that it is whole."""
    head = f"Subject: {number}\r\nMessage-ID: <{number}@sender.example>\r\n\r\n"
    return head.encode() + b"Hello.\r\n" * 200 + f"End of {number}.\r\n".encode()

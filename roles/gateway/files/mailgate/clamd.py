# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scanning by clamd's INSTREAM over its unix socket (clamd(8)): clean only on the literal `stream: OK`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

CHUNK = 256 * 1024
MAX_REPLY = 4096
OK = b"stream: OK\0"

_FOUND = re.compile(rb"stream: ([^\0]+) FOUND\0")
_LIMITS = "Heuristics.Limits.Exceeded"
_ENCRYPTED = "Heuristics.Encrypted"


class Finding(Enum):
    """What kind of thing a scan found."""

    CLEAN = "clean"
    INFECTED = "infected"
    ENCRYPTED = "encrypted"
    OVER_LIMITS = "over_limits"


@dataclass(frozen=True)
class Verdict:
    """A scan's outcome and the name that clamd gave to what it found."""

    finding: Finding
    name: str = ""


CLEAN = Verdict(Finding.CLEAN)


class ScanError(Exception):
    """There is no verdict: scanner down, too slow, or not understood. The message must not pass."""


class Clamd:
    """clamd behind one unix socket, asked by at most `concurrency` scans at a time."""

    def __init__(self, socket: str, concurrency: int) -> None:
        self._socket = socket
        self._slots = asyncio.Semaphore(concurrency)

    async def scan(self, pieces: Iterable[bytes], deadline: float) -> Verdict:
        """Scan the concatenation of `pieces` until the loop's time `deadline`; raises ScanError."""
        try:
            async with asyncio.timeout_at(deadline):
                async with self._slots:
                    answer = await self._instream(pieces)
        except TimeoutError:
            raise ScanError("no answer in time") from None
        except OSError as error:
            raise ScanError(f"clamd cannot be asked: {error}") from error
        return parse_answer(answer)

    async def _instream(self, pieces: Iterable[bytes]) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            try:
                writer.write(b"zINSTREAM\0")
                for piece in pieces:
                    view = memoryview(piece)
                    for start in range(0, len(view), CHUNK):
                        chunk = view[start : start + CHUNK]
                        writer.write(len(chunk).to_bytes(4, "big"))
                        writer.write(chunk)
                        await writer.drain()
                writer.write(b"\0\0\0\0")
                await writer.drain()
            except ConnectionError:
                # clamd answers and hangs up in the middle when the stream is over its size limit.
                answer = await reader.read(MAX_REPLY)
                raise ScanError(f"clamd broke off: {answer!r}") from None
            return await _read_answer(reader)
        finally:
            writer.transport.abort()


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    """Everything clamd says until it closes; it must end with NUL, and nothing may follow."""
    answer = b""
    while len(answer) <= MAX_REPLY:
        chunk = await reader.read(MAX_REPLY)
        if not chunk:
            break
        answer += chunk
    return answer


def parse_answer(answer: bytes) -> Verdict:
    """What one INSTREAM answer means; raises ScanError for all that is neither OK nor FOUND."""
    if answer == OK:
        return CLEAN
    found = _FOUND.fullmatch(answer)
    if not found:
        raise ScanError(f"clamd answered {answer[:200]!r}")
    name = found.group(1).decode("utf-8", "replace")
    if name.startswith(_LIMITS):
        return Verdict(Finding.OVER_LIMITS, name)
    if name.startswith(_ENCRYPTED):
        return Verdict(Finding.ENCRYPTED, name)
    return Verdict(Finding.INFECTED, name)

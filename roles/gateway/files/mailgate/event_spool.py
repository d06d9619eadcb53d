# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of events in the state directory, one JSON line each: written by the service, read by the index and commands.

A line is in its file when `append` returns, so that it survives a killed process (not a power failure). Workers append
to the same file without locks: Linux appends a line of one write as a whole. A file holds the events of an hour (UTC)
by the gateway's clock, at most SEGMENT_BYTES; the oldest files are removed when all exceed the limit.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from mailgate.state import EVENTS, create_directory

SEGMENT_BYTES = 64 * 1024 * 1024
# How often a file's size is checked, in lines.
CHECK_LINES = 1000
# Pause after a failure before the next attempt to open a file.
RETRY_SECONDS = 1.0
# Longest line that is read; longer ones are skipped.
MAX_LINE = 4 * 1024 * 1024
_NAME = re.compile(r"(\d{8})-\d{2}\.\d{4,8}\.jsonl")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A file of events; files sort by their names, oldest first."""

    name: str
    size: int

    @property
    def day(self) -> str:
        """Its day (UTC), as YYYYMMDD."""
        return self.name[:8]


def segments(directory: Path) -> list[Segment]:
    """Return all files, oldest first; raise OSError if the directory cannot be read."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as items:
        for item in items:
            if _NAME.fullmatch(item.name):
                with contextlib.suppress(FileNotFoundError):
                    found.append(Segment(item.name, item.stat().st_size))
    return sorted(found)


def expired(days: Collection[str], keep: int, now: float) -> set[str]:
    """Return the days that are older than `keep` days.

    A clock that jumps ahead must not remove everything: without files of the two days before, nothing is removed.

    Args:
        days: Days with events, as YYYYMMDD (UTC).
        keep: Days to keep, apart from the current one.
        now: Seconds since 1970.
    """
    if not any(day_of(now - back * 86400) in days for back in (1, 2)):
        return set()
    oldest = day_of(now - keep * 86400)
    return {day for day in days if day < oldest}


def day_of(now: float) -> str:
    """Return the day (UTC) as YYYYMMDD."""
    return time.strftime("%Y%m%d", time.gmtime(now))


class Spool:
    """Writer of one process.

    Attributes:
        lost: Lines that could not be written since the last failure was reported.
    """

    def __init__(
        self, state_dir: Path, max_bytes: int, days: int = 3650, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = state_dir / EVENTS
        self._max_bytes = max_bytes
        self._days = days
        self._clock = clock
        self._file = -1
        self._hour = 0
        self._lines = 0
        self._retry_at = 0.0
        self._torn = False
        self.lost = 0
        self.reason = ""

    def append(self, line: bytes) -> bool:
        """Append a line, which ends with LF; return whether it was written. Never raises."""
        now = self._clock()
        try:
            if int(now // 3600) != self._hour or self._file < 0 or self._lines >= CHECK_LINES:
                self._open(now)
            if self._torn:
                # A full disk may have taken the beginning of a line.
                line = b"\n" + line
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(28, os.strerror(28))
        except OSError as error:
            self._torn = True
            self.lost += 1
            self.reason = error.strerror or str(error)
            return False
        self._torn = False
        self._lines += 1
        return True

    def _open(self, now: float) -> None:
        """Open the file of this hour, the next one if it is full."""
        if self._file < 0 and 0 <= self._retry_at - now <= RETRY_SECONDS:
            raise OSError(self.reason)
        self._retry_at = now + RETRY_SECONDS
        hour = int(now // 3600)
        name = time.strftime("%Y%m%d-%H", time.gmtime(hour * 3600))
        limit = min(SEGMENT_BYTES, max(1, self._max_bytes // 4))
        self.close()
        create_directory(self._directory)
        self.prune()
        own = [each for each in segments(self._directory) if each.name.startswith(name)]
        number = int(own[-1].name.split(".")[1]) + (own[-1].size >= limit) if own else 0
        path = self._directory / f"{name}.{number:04}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._hour, self._lines = hour, 0

    def prune(self) -> None:
        """Remove files that are too old, and the oldest until all others are within the limit."""
        files = segments(self._directory)
        old = expired({each.day for each in files}, self._days, self._clock())
        total = sum(each.size for each in files)
        for each in files:
            if total <= self._max_bytes and each.day not in old:
                continue
            with contextlib.suppress(FileNotFoundError):
                (self._directory / each.name).unlink()
            total -= each.size

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_lines(path: Path, position: int, max_bytes: int = 1 << 20) -> tuple[list[bytes], int]:
    """Read complete lines from a position on, about `max_bytes` of them; raise OSError.

    Returns:
        The lines without LF, and the position behind them. An overlong line is skipped.
    """
    with path.open("rb") as file:
        file.seek(position)
        data = file.read(max_bytes)
        while data and b"\n" not in data and len(data) < MAX_LINE:
            more = file.read(max_bytes)
            if not more:
                return [], position
            data += more
    if b"\n" not in data:
        return [], position + len(data)
    *lines, rest = data.split(b"\n")
    return lines, position + len(data) - len(rest)

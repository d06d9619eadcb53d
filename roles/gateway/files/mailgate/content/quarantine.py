# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quarantine of stopped messages, each in a file: a line of JSON, then the original message."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mailgate.config import QuarantineLimits
from mailgate.errors import Failure
from mailgate.state import QUARANTINE, create_directory

DIRECTORY = QUARANTINE
_ID = re.compile(r"[0-9a-f]{6,40}")
_PART = ".part"
# The line of JSON before a message; it has all recipients.
_MAX_HEAD = 1 << 22
# In the year 5138.
_MAX_TIME = 1e11


class QuarantineError(Failure):
    """A message cannot be stored, found or read; the message says why."""


@dataclass(frozen=True)
class Entry:
    """Description of a stopped message; `time` is in seconds since 1970, `size` in bytes."""

    id: str
    time: float
    client: str
    sender: str
    recipients: tuple[str, ...]
    reason: str
    size: int


class Quarantine:
    """The directory `quarantine` in the state directory; several processes may use it at the same time."""

    def __init__(self, state_dir: Path, limits: QuarantineLimits, clock: Callable[[], float] = time.time) -> None:
        self._directory = state_dir / DIRECTORY
        self._limits = limits
        self._clock = clock

    def put(self, entry: Entry, pieces: Iterable[bytes]) -> None:
        """Store a message; it is on disk when this returns. Remove the oldest messages if there is no room.

        Raises:
            QuarantineError: The message is too large, or cannot be written.
        """
        head = json.dumps(asdict(entry)).encode("ascii") + b"\n"
        if entry.size + len(head) > self._limits.max_bytes:
            raise QuarantineError(f"message of {entry.size} bytes is larger than quarantine.max_bytes")
        path = self._path(entry.id)
        part = path.with_suffix(_PART)
        try:
            create_directory(self._directory)
            self.prune(entry.size + len(head))
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(head)
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            self._sync()
        except OSError as error:
            part.unlink(missing_ok=True)
            raise QuarantineError(f"{self._directory}: {error}") from error

    def entries(self, note: Callable[[str], object] | None = None) -> Iterator[Entry]:
        """Yield all entries, oldest first; raise QuarantineError if the directory cannot be read.

        Args:
            note: Receives a line for each damaged file, which is skipped; without it, that is an error too.
        """
        for _time, path, _size in self._files():
            try:
                with path.open("rb") as file:
                    found = _entry(file.readline(_MAX_HEAD))
            except FileNotFoundError:
                continue
            except (QuarantineError, OSError) as error:
                if note is None:
                    raise
                note(f"{path.name}: skipped: {error}")
                continue
            yield found

    def read(self, number: str) -> tuple[Entry, bytes]:
        """Return an entry and its message; raise QuarantineError."""
        try:
            head, _newline, content = self._path(number).read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise QuarantineError(f"{number}: not in the quarantine") from None
        except OSError as error:
            raise QuarantineError(str(error)) from error
        return _entry(head), content

    def delete(self, number: str) -> None:
        """Remove a message; raise QuarantineError."""
        try:
            self._path(number).unlink()
        except FileNotFoundError:
            raise QuarantineError(f"{number}: not in the quarantine") from None
        except OSError as error:
            raise QuarantineError(str(error)) from error

    def prune(self, room: int = 0) -> int:
        """Remove messages that are too old, and the oldest until `room` bytes fit; return how many were removed."""
        files = self._files()
        total = sum(size for _time, _path, size in files)
        oldest = self._clock() - self._limits.max_days * 86400
        removed = 0
        for made, path, size in files:
            if made >= oldest and total + room <= self._limits.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            removed += 1
        return removed

    def usage(self) -> tuple[int, int]:
        """Return the number of messages and their size in bytes; raise QuarantineError."""
        sizes = [size for _time, _path, size in self._files()]
        return len(sizes), sum(sizes)

    def _path(self, number: str) -> Path:
        if not _ID.fullmatch(number):
            raise QuarantineError(f"{number!r} is not a valid message number")
        return self._directory / number

    def _files(self) -> list[tuple[float, Path, int]]:
        found = []
        try:
            for item in os.scandir(self._directory):
                try:
                    status = item.stat()
                except FileNotFoundError:
                    continue
                if _ID.fullmatch(item.name):
                    found.append((status.st_mtime, Path(item.path), status.st_size))
                elif item.name.endswith(_PART) and status.st_mtime < self._clock() - 3600:
                    Path(item.path).unlink(missing_ok=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise QuarantineError(str(error)) from error
        return sorted(found)

    def _sync(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entry(head: bytes) -> Entry:
    try:
        fields = json.loads(head)
        found = Entry(**{**fields, "recipients": tuple(fields["recipients"])})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise QuarantineError(f"invalid quarantine file: {error}") from error
    texts = (found.id, found.client, found.sender, found.reason, *found.recipients)
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(number, int | float) and 0 <= number < _MAX_TIME for number in (found.time, found.size)
    ):
        raise QuarantineError("invalid quarantine file: a value is of the wrong kind")
    return found

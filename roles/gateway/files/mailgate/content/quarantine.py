# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that were stopped and are kept for a while: a file each, a line of JSON and then the message as it came."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mailgate.config import QuarantineLimits
from mailgate.state import QUARANTINE, create_directory

DIRECTORY = QUARANTINE
_ID = re.compile(r"[0-9a-f]{6,40}")
_PART = ".part"


class QuarantineError(Exception):
    """Something cannot be kept, found or released; the message says why."""


@dataclass(frozen=True)
class Entry:
    """What was stopped, when (seconds since 1970), from whom, to whom and why."""

    id: str
    time: float
    client: str
    sender: str
    recipients: tuple[str, ...]
    reason: str
    size: int


class Quarantine:
    """The directory `quarantine` in the service's state, safe to use from several processes."""

    def __init__(self, state_dir: Path, bounds: QuarantineLimits, clock: Callable[[], float] = time.time) -> None:
        self._directory = state_dir / DIRECTORY
        self._bounds = bounds
        self._clock = clock

    def put(self, entry: Entry, pieces: Iterable[bytes]) -> None:
        """Keep a message, on disk when this returns; the oldest make room. Raises QuarantineError."""
        head = json.dumps(asdict(entry)).encode("ascii") + b"\n"
        if entry.size + len(head) > self._bounds.max_bytes:
            raise QuarantineError(f"a message of {entry.size} octets is larger than quarantine.max_bytes")
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

    def entries(self) -> Iterator[Entry]:
        """All that is kept, oldest first; raises QuarantineError if the directory cannot be read."""
        for _time, path, _size in self._files():
            try:
                with path.open("rb") as file:
                    yield _entry(file.readline())
            except FileNotFoundError:
                continue

    def read(self, number: str) -> tuple[Entry, bytes]:
        """An entry and its message; raises QuarantineError."""
        try:
            head, _newline, content = self._path(number).read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise QuarantineError(f"{number}: not in the quarantine") from None
        except OSError as error:
            raise QuarantineError(str(error)) from error
        return _entry(head), content

    def delete(self, number: str) -> None:
        """Remove a message; raises QuarantineError."""
        try:
            self._path(number).unlink()
        except FileNotFoundError:
            raise QuarantineError(f"{number}: not in the quarantine") from None
        except OSError as error:
            raise QuarantineError(str(error)) from error

    def prune(self, room: int = 0) -> int:
        """Remove what is too old, and the oldest until `room` octets fit; returns how many."""
        files = self._files()
        total = sum(size for _time, _path, size in files)
        oldest = self._clock() - self._bounds.max_days * 86400
        removed = 0
        for made, path, size in files:
            if made >= oldest and total + room <= self._bounds.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            removed += 1
        return removed

    def _path(self, number: str) -> Path:
        if not _ID.fullmatch(number):
            raise QuarantineError(f"{number!r} is no number of a message")
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
        return Entry(**{**fields, "recipients": tuple(fields["recipients"])})
    except (ValueError, TypeError, KeyError) as error:
        raise QuarantineError(f"not a file of the quarantine: {error}") from error

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the exporter reads besides the counters: of files, processes and the servers that the gateway needs.

Each probe raises an error of ERRORS if it cannot read its values.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sqlite3
import threading
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from mailgate.client.greeting import read_greeting
from mailgate.commands.limits_status import shared_store
from mailgate.config import Config, Endpoint, clamd_address
from mailgate.content.quarantine import Quarantine, QuarantineError
from mailgate.delivery.verify_cache import VerificationCache, count
from mailgate.event_index.follower import bytes_behind
from mailgate.event_index.store import StoreError
from mailgate.event_index.stores import open_store
from mailgate.event_spool import segments
from mailgate.limits.local_store import stored_bans, stored_senders
from mailgate.scan.scanner import signature_age
from mailgate.state import EVENTS, open_read_only

ERRORS = (OSError, sqlite3.Error, QuarantineError, StoreError, ValueError)
# Waiting for a server: several together stay below the 10 s that Prometheus waits.
SECONDS = 2.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# sendmail's ids of messages begin with year modulo 60, month, day, hour, minute and second (UTC) in these digits
# (sendmail 8.17, queue.c).
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
_QUEUE_FILE = re.compile(rf"[qQ]f([{_DIGITS}]{{6}})[0-9A-Za-z]+")
_YEARS = 60
_Value = TypeVar("_Value")


class Cached(Generic[_Value]):
    """Value of a probe, which is read again after some seconds; requests at the same time share one reading."""

    def __init__(self, read: Callable[[], _Value], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._until = -1.0
        self._value: _Value | None = None
        self._error: Exception | None = None

    def get(self) -> _Value:
        """Return the value, or raise the error of ERRORS that its last reading raised."""
        with self._lock:
            if self._clock() >= self._until:
                self._value, self._error = None, None
                try:
                    self._value = self._read()
                except ERRORS as error:
                    self._error = error
                self._until = self._clock() + self._seconds
            if self._error:
                raise self._error
            return self._value  # type: ignore[return-value]  # not None without an error


@dataclass(frozen=True, slots=True)
class Scanner:
    """A clamd: its socket, whether it answers, what is wrong, and when its signatures were made (None: unknown)."""

    socket: str
    up: bool
    problem: str
    signatures: float | None


def read_scanners(config: Config) -> list[Scanner]:
    """Ask each clamd for its version."""
    return [_scanner(text) for text in (config.scan.socket, *config.scan.other_sockets)]


def _scanner(text: str) -> Scanner:
    try:
        address = clamd_address(text)
        family = (
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(SECONDS)
            connection.connect(address)
            connection.sendall(b"zVERSION\0")
            version = connection.recv(512).rstrip(b"\0").decode("ascii", "replace")
    except (OSError, ValueError) as error:
        return Scanner(text, up=False, problem=str(error) or type(error).__name__, signatures=None)
    if not version:
        return Scanner(text, up=False, problem="no answer to VERSION", signatures=None)
    now = time.time()
    age = signature_age(version, now)
    return Scanner(text, up=True, problem="", signatures=None if age is None else now - age)


def queue_problem(endpoint: Endpoint) -> str:
    """Return why the queue does not take mail; empty if it greets."""
    try:
        banner = read_greeting(endpoint, SECONDS)
    except OSError as error:
        return str(error)
    return "" if banner.startswith("220") else banner or "no greeting"


def read_queue(directory: str) -> tuple[int, float | None]:
    """Return the number of messages in the queue, and when the oldest was queued (seconds since 1970).

    The names of files say both. `mailq` reads the files, which the service may not, and takes longer.
    """
    names = list(_queue_files(Path(directory)))
    times = [since for name in names if (since := queued_at(name, time.time())) is not None]
    return len(names), min(times, default=None)


def _queue_files(directory: Path) -> Iterator[str]:
    with os.scandir(directory) as items:
        for item in items:
            if _QUEUE_FILE.fullmatch(item.name):
                yield item.name
            elif item.name.startswith(("qd", "qf")) and item.is_dir(follow_symlinks=False):
                # Several queues, or one whose files are in directories by kind.
                yield from _queue_files(directory / item.name)


def queued_at(name: str, now: float) -> float | None:
    """Return when a message was queued by the name of its file, in seconds since 1970; None if it does not say so."""
    match = _QUEUE_FILE.fullmatch(name)
    if not match:
        return None
    year, month, day, hour, minute, second = (_DIGITS.index(digit) for digit in match[1])
    # Years since 1900 modulo 60.
    this_year = time.gmtime(now).tm_year
    full = this_year - (this_year - 1900 - year) % _YEARS
    if month > 11 or not 1 <= day <= 31 or hour > 23:
        return None
    return min(now, float(timegm((full, month + 1, day, hour, minute, second))))


def read_quarantine(config: Config) -> tuple[int, int]:
    """Return number and size in bytes of the messages in the quarantine."""
    return Quarantine(config.state_dir, config.quarantine).usage()


def read_bans(config: Config) -> int:
    """Return the number of banned networks."""
    return len(stored_bans(config.state_dir, time.time()))


def read_greylist(config: Config) -> tuple[int, int]:
    """Return how many senders wait, and how many have waited."""
    return stored_senders(config.state_dir)


def read_cache(config: Config) -> tuple[int, int, int]:
    """Return how many recipients are known and unknown, and how many domains accept any recipient."""
    database = open_read_only(config.state_dir / VerificationCache.FILE)
    try:
        return count(database)
    finally:
        database.close()


def read_space(config: Config) -> tuple[int, int]:
    """Return free bytes for users without privileges, and all bytes, of the state directory's file system."""
    found = os.statvfs(config.state_dir)
    free = 0 if found.f_flag & os.ST_RDONLY or (found.f_files and not found.f_favail) else found.f_bavail
    return free * found.f_frsize, found.f_blocks * found.f_frsize


def read_event_files(config: Config) -> tuple[int, int]:
    """Return the size of the files of events, and how much of it the index does not have yet."""
    total = sum(each.size for each in segments(config.state_dir / EVENTS))
    with closing(open_store(config, timeout=SECONDS)) as store:
        return total, bytes_behind(config.state_dir, store)


def read_shared_store(config: Config) -> bool:
    """Return whether the shared store answers."""
    return asyncio.run(shared_store(config.shared_state, 0))[0]


@dataclass(frozen=True, slots=True)
class Process:
    """Use of a process: processor seconds, resident bytes, open files (None: not shown to this user)."""

    cpu: float
    memory: int
    files: int | None


def read_process(pid: int) -> Process | None:
    """Return what a process uses (proc(5)), None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    try:
        files: int | None = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except OSError:
        files = None
    return Process((int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE, files)

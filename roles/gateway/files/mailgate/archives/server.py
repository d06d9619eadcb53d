# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unpacker: for each archive a process of its own, with limits, which ends with it.

The code that reads hostile data (libarchive, 7zz) is C, so it runs here, away from the gateway. systemd starts this as
a unit without network, files or rights (`mailgate-unpack.service`); without systemd, a worker of the gateway does.

A process that has used much time gets a low priority, so that a hundred archives that take long do not delay a short
one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence

from mailgate import systemd
from mailgate.archives import contents, frames, libarchive

# Archives at the same time; more wait until one is done.
MAX_PROCESSES = 200
# Processor time in seconds for an archive, and what it gets more for each MiB.
CPU_SECONDS = 2
CPU_SECONDS_PER_MIB = 0.2
MEMORY = 512 * 1024 * 1024
FILE_SIZE = 256 * 1024 * 1024
OPEN_FILES = 32
# A process that blocks is ended after this time: the gateway reads no answer for longer than its own limits.
WALL_SECONDS = 300
# A process has a lower priority than this one, which must get to start others, and from this age the lowest.
SHORT_SECONDS = 0.15
_PRIORITY, _LOW_PRIORITY = 10, 19
_INTERVAL = 0.05
_NO_NEW_PRIVILEGES = 38


class _Child:
    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.connection = connection
        self.started = time.monotonic()
        self.low = False

    def check(self, now: float) -> None:
        """Lower the priority of a process that takes long; end one that hangs."""
        age = now - self.started
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if not self.low and age > SHORT_SECONDS:
                self.low = True
                os.setpriority(os.PRIO_PGRP, self.pid, _LOW_PRIORITY)
            if age > WALL_SECONDS or self._is_left():
                self.kill()

    def kill(self) -> None:
        """End the process and the programs that it started."""
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self.pid, signal.SIGKILL)

    def _is_left(self) -> bool:
        """Return whether the gateway has closed the connection: it has found enough, or its time is over."""
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Server:
    """Accept requests until `stop` (a file descriptor) is readable, if there is one."""

    def __init__(self, listener: socket.socket, stop: int | None = None) -> None:
        self._listener = listener
        self._stop = stop
        self._children: dict[int, _Child] = {}

    def run(self) -> None:
        """Serve; in the end, end all processes."""
        self._listener.setblocking(False)
        libarchive.library()
        # What is there before a fork stays shared.
        gc.freeze()
        waker, wakened = socket.socketpair()
        for end in (waker, wakened):
            end.setblocking(False)
        signal.set_wakeup_fd(wakened.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            while True:
                full = len(self._children) >= MAX_PROCESSES
                watched: list[int | socket.socket] = [waker]
                watched += [] if full else [self._listener]
                watched += [] if self._stop is None else [self._stop]
                young = any(not child.low for child in self._children.values())
                ready, _write, _error = select.select(watched, (), (), _INTERVAL if young else 1.0)
                if self._stop in ready:
                    return
                if waker in ready:
                    waker.recv(4096)
                self._reap()
                if self._listener in ready:
                    self._accept()
                now = time.monotonic()
                for child in self._children.values():
                    child.check(now)
        finally:
            signal.set_wakeup_fd(-1)
            for child in self._children.values():
                child.kill()

    def _accept(self) -> None:
        try:
            connection, _address = self._listener.accept()
        except OSError:
            return
        pid = os.fork()
        if pid:
            self._children[pid] = _Child(pid, connection)
            return
        status = 1
        try:
            # A group, to end it with its programs; not a session, in which the kernel would not compare priorities.
            os.setpgid(0, 0)
            os.nice(_PRIORITY)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._listener.close()
            for child in self._children.values():
                child.connection.close()
            status = answer(connection)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            with child.connection:
                if status:
                    reason = cause(os.waitstatus_to_exitcode(status))
                    child.connection.setblocking(False)
                    with contextlib.suppress(OSError):
                        child.connection.send(frames.texts(frames.DIED, reason))


def cause(code: int) -> str:
    """Return why a process ended with this code, not zero, as `Popen.returncode`."""
    if code == -signal.SIGXCPU:
        return frames.TOO_LONG
    return frames.KILLED if code in (-signal.SIGKILL, -signal.SIGTERM) else frames.CRASHED


def answer(connection: socket.socket) -> int:
    """Look into one archive, in a process of its own; return its exit status."""
    connection.settimeout(WALL_SECONDS)
    if not _is_trusted(connection):
        return 1
    packet, files, _flags, _address = socket.recv_fds(connection, 4096, 1)
    with os.fdopen(files[0], "rb") as file:
        content = file.read()
    everything = frames.wants_everything(packet)
    limit(len(content))
    try:
        for found in contents.Contents().inside(content):
            _send(connection, found, everything=everything)
    except MemoryError:
        connection.send(frames.texts(frames.PROBLEM, contents.UNCHECKED, "", "needs too much memory to unpack"))
    except (BrokenPipeError, ConnectionResetError):
        # The gateway has found something, and needs no more.
        return 0
    connection.send(frames.END)
    return 0


def _send(connection: socket.socket, found: contents.Piece | contents.Problem, *, everything: bool) -> None:
    if isinstance(found, contents.Problem):
        connection.send(frames.texts(frames.PROBLEM, found.kind, found.name, found.reason))
        return
    if found.seen and not everything:
        return
    if found.begins:
        connection.send(frames.texts(frames.FILE, found.name))
    view = memoryview(found.data)
    for at in range(0, len(view), frames.MAX_DATA):
        connection.sendmsg((frames.DATA, view[at : at + frames.MAX_DATA]))


def _is_trusted(connection: socket.socket) -> bool:
    """Return whether the other end may ask: as the unit, the socket's mode decides; else only the same user."""
    if os.environ.get("LISTEN_FDS"):
        return True
    size = struct.calcsize("3i")
    _pid, user, _group = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.geteuid())


def limit(size: int) -> None:
    """Bound what this process may use for an archive of `size` bytes."""
    seconds = int(CPU_SECONDS + CPU_SECONDS_PER_MIB * size / 1024 / 1024)
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, spent + seconds, spent + seconds + 1),
        (resource.RLIMIT_AS, MEMORY, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE, FILE_SIZE),
        (resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        resource.setrlimit(kind, (soft, hard))
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def main(arguments: Sequence[str] = ()) -> int:
    """Serve on the socket that systemd passes, or on the descriptor in the arguments until standard input ends."""
    os.environ.update(LC_ALL="C.UTF-8")
    if arguments:
        listener = socket.socket(fileno=int(arguments[0]))
        Server(listener, stop=0).run()
        return 0
    passed = systemd.passed_socket()
    if passed is None:
        raise SystemExit("mailgate: unpack is started by mailgate-unpack.socket")
    Server(passed).run()
    return 0

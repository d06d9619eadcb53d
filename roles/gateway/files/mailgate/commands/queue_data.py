# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate queue-data`: tells the gateway's user what waits in the queue, as the user who owns it.

It reads nothing from its clients, and does nothing else: each connection gets a line of JSON, {"messages": []} or
{"problem": TEXT}. systemd starts it with the first connection, and it ends when nobody asks any more.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict

from mailgate import systemd
from mailgate.commands.mail_queue import QueuedMessage, QueueUnreadableError, listed

# It ends after so long without a client.
IDLE_SECONDS = 60.0
SEND_SECONDS = 10.0
# The queue is listed at most so often, however many ask.
KEEP_SECONDS = 5.0


class Answers:
    """The line that clients get, made again when it is too old.

    Args:
        read: Lists the queue.
        clock: Time in seconds.
    """

    def __init__(
        self, read: Callable[[], list[QueuedMessage]] = listed, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._line = b""
        self._made = 0.0

    def line(self) -> bytes:
        """Return the line; never raise."""
        if not self._line or self._clock() - self._made >= KEEP_SECONDS:
            try:
                found: dict[str, object] = {"messages": [asdict(each) for each in self._read()]}
            except QueueUnreadableError as error:
                found = {"problem": str(error)}
            self._line, self._made = json.dumps(found).encode("ascii") + b"\n", self._clock()
        return self._line


def main(path: str) -> int:
    """Answer on the socket of systemd, or at a path, until nobody asks for a while."""
    with _listening(path) as server:
        serve(server, Answers(), IDLE_SECONDS)
    return 0


def serve(server: socket.socket, answers: Answers, idle_seconds: float) -> None:
    """Answer clients, one after the other, until none comes for `idle_seconds`."""
    server.settimeout(idle_seconds)
    while True:
        try:
            connection, _address = server.accept()
        except TimeoutError:
            return
        # A client that has gone, or does not read.
        with connection, contextlib.suppress(OSError):
            connection.settimeout(SEND_SECONDS)
            connection.sendall(answers.line())


def _listening(path: str) -> socket.socket:
    if passed := systemd.passed_socket():
        return passed
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    return server

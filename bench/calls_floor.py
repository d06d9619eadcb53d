# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that a server on this event loop can do: a protocol class that says SMTP words and checks nothing.

Started by bench.calls in place of calls_worker.py; it refuses all recipients but those of the bench's domain, whose
messages it throws away.

python3 bench/calls_floor.py SETTINGS PROFILE      (with `mailgate` in PYTHONPATH)
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from pathlib import Path
from typing import cast

from bench.calls_worker import count_calls, ready
from bench.machine import DOMAIN
from mailgate.config_file import load
from mailgate.event_loop import find_loop
from mailgate.process import supervisor

REPLIES = {
    b"EHLO": b"250-gw1.univ.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
    b"MAIL": b"250 2.1.0 Sender accepted\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
END = b"\r\n.\r\n"


class Words(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client."""
        self.transport = cast(asyncio.Transport, transport)
        self.in_data = False
        self.transport.write(b"220 gw1.univ.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Reply to a command, or to the end of a message."""
        if self.in_data:
            if data.endswith(END):
                self.in_data = False
                self.transport.write(b"250 2.0.0 Message accepted\r\n")
            return
        verb = data[:4]
        if verb == b"RCPT":
            known = DOMAIN.encode() in data
            self.transport.write(b"250 2.1.5 Recipient accepted\r\n" if known else b"550 5.7.1 Relaying denied\r\n")
            return
        self.transport.write(REPLIES[verb])
        self.in_data = verb == b"DATA"
        if verb == b"QUIT":
            self.transport.close()


async def serve(listener: socket.socket) -> None:
    """Accept connections as a worker does."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[object]] = set()

    def accept() -> None:
        connection, _address = listener.accept()
        connection.setblocking(False)
        task = loop.create_task(_connect(loop, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_reader(listener, accept)
    ready()
    await asyncio.Event().wait()


async def _connect(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    await loop.connect_accepted_socket(Words, connection)


def main() -> None:
    """Serve until SIGTERM."""
    settings, profile = map(Path, sys.argv[1:])
    count_calls(profile)
    config, _routes = load(settings)
    gc.freeze()
    gc.set_threshold(*supervisor.GC_THRESHOLDS)
    factory, _name = find_loop(config.event_loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(supervisor.listening_socket(config.listen[0])))


if __name__ == "__main__":
    main()

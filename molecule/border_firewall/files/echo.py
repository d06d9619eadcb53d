# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Echo lines on each given TCP port, over IPv4 and IPv6, until stopped."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send each line back."""
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    writer.close()


async def main() -> None:
    """Listen on every port."""
    servers = []
    for port in sys.argv[1:]:
        both = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
        servers.append(await asyncio.start_server(echo, sock=both))
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Relay port 25 to the sendmail on port 2525, and take 8BITMIME out of its reply to EHLO.

Runs on a host of the twin: sendmail itself always offers 8BITMIME; a firewall that inspects SMTP does this.
"""

from __future__ import annotations

import asyncio
import contextlib


async def to_server(client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
    """Pass what the client sends."""
    while data := await client.read(65536):
        server.write(data)
        await server.drain()
    server.write_eof()


async def to_client(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    """Pass the lines of the server but one."""
    while line := await server.readline():
        if b"8BITMIME" not in line:
            client.write(line)
            await client.drain()
    client.close()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", 2525)
    with contextlib.suppress(OSError):
        await asyncio.gather(to_server(reader, server_writer), to_client(server_reader, writer))


async def main() -> None:
    """Serve."""
    async with await asyncio.start_server(relay, "0.0.0.0", 25) as server:  # noqa: S104  a host of the twin
        await server.serve_forever()


asyncio.run(main())

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server for the flood, which knows alice only: it counts invented recipients and bounces (XCOUNT).

PROGRAM PORT [any]: with `any`, it accepts all recipients, as the servers of forged senders do for bounces.
"""

from __future__ import annotations

INNER = 2700
# Runs in the bench's system, which has Python without packages.
PROGRAM = """\
import asyncio
import sys

counts = [0, 0]
accepts_any = sys.argv[2:] == ["any"]


async def serve(reader, writer):
    sender = b""
    writer.write(b"220 inner.univ.example ESMTP\\r\\n")
    try:
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-inner.univ.example\\r\\n250-PIPELINING\\r\\n250 8BITMIME\\r\\n")
            elif verb == b"MAIL":
                sender = line[10:].strip()
                writer.write(b"250 2.1.0 Ok\\r\\n")
            elif verb == b"RCPT" and not accepts_any and b"<alice@" not in line:
                counts[0] += 1
                writer.write(b"550 5.1.1 User unknown\\r\\n")
            elif verb == b"DATA":
                writer.write(b"354 Go ahead\\r\\n")
                while (await reader.readline()) != b".\\r\\n":
                    pass
                counts[1] += sender.startswith(b"<>")
                writer.write(b"250 2.0.0 Ok\\r\\n")
            elif verb == b"XCOU":
                writer.write(b"250 %d %d\\r\\n" % tuple(counts))
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\\r\\n")
                break
            else:
                writer.write(b"250 2.1.5 Ok\\r\\n")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1000)
    await server.serve_forever()


asyncio.run(main())
"""

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delay of ordinary mail while archives are opened that need all of their time: `python bench/slow_archives.py`.

All on loopback, with a real clamd. 100 messages with an archive come at once, each with other content, so that none is
known already; each archive unpacks to more than the limit. Ordinary clients send small messages at a fixed rate, before
and meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import lzma
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "roles/gateway/files"), str(ROOT / "tests/unit/gateway"), str(ROOT / "bench")]

from gateway_doubles import Hop  # noqa: E402
from real_clamd import CLAMD, MISSING, RealClamd  # noqa: E402
from slow_clients import measure  # noqa: E402

from bench.service import Service  # noqa: E402

UNPACKED = 201 << 20
_WAIT = 600.0


def message(number: int, archive: bytes) -> bytes:
    """Return a message with an archive that differs from all others behind its end."""
    archive += number.to_bytes(4, "big")
    attachment = base64.encodebytes(archive).replace(b"\n", b"\r\n")
    return (
        b"Subject: archive\r\nMIME-Version: 1.0\r\nContent-Type: application/x-lzma; name=a.lzma\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + attachment
    )


async def send(port: int, address: str, content: bytes) -> str:
    """Send a message; return the last reply's code."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    reply = await reader.readuntil(b"\n")
    for command in (
        b"EHLO a.sender.example", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<alice@a.example>", b"DATA",
        content + b".",
    ):  # fmt: skip
        if reply[:1] not in b"23":
            break
        writer.write(command + b"\r\n")
        async with asyncio.timeout(_WAIT):
            while (reply := await reader.readuntil(b"\n"))[3:4] == b"-":
                pass
    writer.transport.abort()
    return reply[:3].decode()


async def main() -> None:
    """Measure without and with slow archives; print as JSON."""
    parser = argparse.ArgumentParser(prog="bench.slow_archives")
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    if not CLAMD:
        sys.exit(f"bench: {MISSING}")
    logging.disable()
    # clamd does not open this kind, so that it has no such work of its own.
    archive = lzma.compress(bytes(UNPACKED), format=lzma.FORMAT_ALONE, preset=0)
    slow = [message(number, archive) for number in range(options.messages)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        hop, clamd = Hop(), await asyncio.to_thread(RealClamd, directory)
        await hop.start()
        service = Service(directory, hop.port, clamd.socket)
        try:
            await service.ready()
            result = {"without": await measure(service.port, options.seconds, 2), "slow_archives": options.messages}
            started = time.monotonic()
            tasks = [
                asyncio.create_task(send(service.port, f"127.3.{number}.1", each)) for number, each in enumerate(slow)
            ]
            await asyncio.sleep(1)
            result["with"] = await measure(service.port, options.seconds, 3)
            result["still_under_way"] = sum(not task.done() for task in tasks)
            replies = await asyncio.gather(*tasks, return_exceptions=True)
            result["replies"] = Counter(map(str, replies))
            result["seconds_until_the_last_reply"] = round(time.monotonic() - started, 1)
        finally:
            service.stop()
            hop.stop()
            clamd.kill()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    asyncio.run(main())

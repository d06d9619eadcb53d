# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bans in the service as it is installed: two workers, the command, and a restart."""

from __future__ import annotations

import asyncio
import contextlib

from gateway_doubles import Client
from rule_clients import CLIENT, OTHER
from service_process import serving

from mailgate.cli import main

PROXY = 'proxy_protocol_from = ["127.0.0.0/8"]\n'
LOW = "[bans]\nunknown_recipients = 6\n[limits]\nmax_unknown_recipients = 0\nmax_unknown_recipients_per_client = 3\n"


async def first_reply(port: int, address: str) -> str:
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        return (await client.say(f"PROXY TCP4 {address} {address} 4000 25"))[:9]
    finally:
        client.writer.close()


async def replies(port: int, address: str) -> set[str]:
    """Return the first replies of several connections, which both workers get."""
    return set(await asyncio.gather(*(first_reply(port, address) for _ in range(12))))


async def soon(port: int, address: str, wanted: str) -> None:
    # A worker that found the database slow, as on a busy machine, does without it for some seconds.
    deadline = asyncio.get_running_loop().time() + 60
    while (found := {reply[:3] for reply in await replies(port, address)}) != {wanted}:
        assert asyncio.get_running_loop().time() < deadline, found


async def test_bans_of_a_worker_and_of_the_command_hold_in_all_workers_and_after_a_restart(pyz, tmp_path):
    command = ["ban", "--config", str(tmp_path / "mailgate.toml")]
    async with serving(pyz, tmp_path, LOW, PROXY) as (service, hop, port):
        await service.until("READY=1")
        hop.rcpt = lambda _recipient: "550 5.1.1 unknown"
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        await client.say(f"PROXY TCP4 {CLIENT} {CLIENT} 4000 25")
        await client.hello()
        await client.say("MAIL FROM:<>")
        with contextlib.suppress(EOFError, ConnectionError):
            for number in range(10):
                await client.say(f"RCPT TO:<x{number}@a.example>")
        await soon(port, CLIENT, "421")
        assert await asyncio.to_thread(main, [*command, "add", OTHER]) == 0
        await soon(port, OTHER, "421")
        assert await asyncio.to_thread(main, [*command, "remove", OTHER]) == 0
        await soon(port, OTHER, "220")
    (tmp_path / "notify").unlink()
    async with serving(pyz, tmp_path, LOW, PROXY) as (service, _hop, port):
        await service.until("READY=1")
        await soon(port, CLIENT, "421")
        assert await replies(port, OTHER) == {"220 gw1.u"}

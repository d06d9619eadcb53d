# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three services as they are installed, with two workers each, share a store: floods, one that ends, and no store."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from gateway_doubles import Client
from rule_clients import OTHER
from service_process import Running, serving
from shared_server import MISSING, SharedServer, program
from test_bans_in_service import PROXY, soon

from mailgate.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not program(), reason=MISSING)]
NAMES = ("gw1", "gw2", "gw3")


def section(server: SharedServer) -> str:
    settings = server.settings
    return (
        f'[rates]\nrecipients_per_client = 30\n[shared_state]\nserver = "{settings.server}"\ntimeout_ms = 1000\n'
        f'password_file = "{settings.password_file}"\nca_file = "{settings.ca_file}"\n'
    )


async def accepted(port: int, address: str, number: int) -> int:
    """Return how many of a number of recipients are accepted, in one session."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        await client.say(f"PROXY TCP4 {address} {address} 4000 25")
        await client.hello()
        await client.say("MAIL FROM:<>")
        found = [await client.say(f"RCPT TO:<user{each}@a.example>") for each in range(number)]
        assert {reply[:3] for reply in found} <= {"250", "450"}
        return sum(reply.startswith("250") for reply in found)
    finally:
        client.writer.close()


async def flood(ports: list[int], address: str) -> int:
    """Return how many recipients of one client are accepted, of nine sessions with ten each at any gateway."""
    return sum(await asyncio.gather(*(accepted(port, address, 10) for port in ports for _ in range(3))))


async def limited_as_one(ports: list[int]) -> str:
    """Return a client that got from all gateways together what one client may have."""
    # A worker without a connection, or which found the store slow as on a busy machine, uses its own memory for some
    # seconds; the next client shows whether they share the limit then.
    deadline = asyncio.get_running_loop().time() + 60
    number = 0
    while (found := await flood(ports, client := f"198.18.64.{number}")) != 30:
        assert asyncio.get_running_loop().time() < deadline, found
        number += 1
    return client


async def test_three_gateways_act_as_one_and_go_on_alone(pyz: Path, tmp_path: Path, server: SharedServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        services: list[Running] = []
        ports: list[int] = []
        for name in NAMES:
            (tmp_path / name).mkdir()
            service, _hop, port = await stack.enter_async_context(serving(pyz, tmp_path / name, section(server), PROXY))
            await service.until("READY=1")
            services.append(service)
            ports.append(port)

        # A flood that is spread over all of them gets what one client may have.
        client = await limited_as_one(ports)
        assert await accepted(ports[0], OTHER, 5) == 5

        # A ban at one is a ban at all.
        command = ["ban", "--config", str(tmp_path / "gw1" / "mailgate.toml")]
        assert await asyncio.to_thread(main, [*command, "add", OTHER]) == 0
        await asyncio.gather(*(soon(port, OTHER, "421") for port in ports))
        assert await asyncio.to_thread(main, [*command, "remove", OTHER]) == 0
        await asyncio.gather(*(soon(port, OTHER, "220") for port in ports))

        # One ends.
        services[0].process.kill()
        services[0].process.wait()
        other = ["ban", "--config", str(tmp_path / "gw2" / "mailgate.toml")]
        assert await asyncio.to_thread(main, [*other, "add", OTHER]) == 0
        await asyncio.gather(*(soon(port, OTHER, "421") for port in ports[1:]))
        assert sum(await asyncio.gather(*(accepted(port, client, 10) for port in ports[1:]))) < 20

        # The store ends: each has what it has seen, and mail goes on.
        server.kill()
        for port in ports[1:]:
            assert await accepted(port, "198.18.77.7", 10) == 10
            await soon(port, OTHER, "421")

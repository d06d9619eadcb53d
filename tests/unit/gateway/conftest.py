# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway on loopback for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from gateway_doubles import Campus, start_campus


@pytest.fixture
async def make_campus(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Campus]]]:
    """Starts a gateway with settings of the test's own."""
    started = []

    async def make(**changes: object) -> Campus:
        pair = await start_campus(tmp_path, **changes)
        started.append(pair)
        return pair[0]

    yield make
    for campus, server in started:
        server.close()
        for client in campus.clients:
            client.writer.transport.abort()
        for peer in (campus.a, campus.b, campus.queue, campus.clamd):
            peer.stop()
        await campus.gateway.finish(0)
        campus.gateway.close()


@pytest.fixture
async def campus(make_campus: Callable[..., Awaitable[Campus]]) -> Campus:
    """A gateway with the default settings but short deadlines."""
    return await make_campus()

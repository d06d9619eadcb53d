# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways that share results of recipient verification in a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway_doubles import Campus, cached_as_unknown, wait_for
from rule_clients import OK, reply_to
from shared_server import MISSING, SharedServer, program

from mailgate.delivery.shared_results import SharedResults
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.limits.remote import Remote
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox

pytestmark = pytest.mark.skipif(not program(), reason=MISSING)
SERVERS = (NextHop("198.18.1.25", 25),)
ANN = Mailbox("ann", "x.example")


class Member:
    """One gateway's results."""

    def __init__(self, directory: Path, server: SharedServer) -> None:
        directory.mkdir()
        self.failures: list[str] = []
        self.cache = VerificationCache(directory, known_seconds=86_400, unknown_seconds=3600)
        self.remote = Remote(server.settings, self.failures.append)
        self.results = SharedResults(self.cache, self.remote)

    async def tell(self, mailbox: Mailbox, *, known: bool, servers: tuple[NextHop, ...] = SERVERS) -> None:
        """Store a result and wait until it is published."""
        for key in self.cache.store(mailbox, known=known):
            self.results.publish(key, servers, known=known)
        await self.published()

    async def published(self) -> None:
        await wait_for(lambda: not self.results.publisher.pending)

    async def knows(self, mailbox: Mailbox, servers: tuple[NextHop, ...] = SERVERS) -> bool | None:
        entry = await self.results.find(mailbox, servers)
        return entry and entry.known


@pytest.fixture
async def two(tmp_path: Path, server: SharedServer) -> AsyncIterator[list[Member]]:
    members = [Member(tmp_path / name, server) for name in ("gw1", "gw2")]
    for each in members:
        assert await each.remote.probe()
    yield members
    server.resume()
    for each in members:
        await each.remote.close()
        each.cache.close()


@pytest.mark.parametrize("known", [True, False])
async def test_what_one_learns_the_other_knows_and_keeps(two, server, known):
    first, second = two
    assert await second.knows(ANN) is None
    await first.tell(ANN, known=known)
    assert await second.knows(ANN) is known
    server.kill()
    assert second.cache.find(ANN).known is known


async def test_a_catch_all(two):
    first, second = two
    first.results.publish(first.cache.store_catch_all("x.example", known=True)[0], SERVERS, known=True)
    await first.published()
    assert await second.knows(Mailbox("anybody", "x.example")) is True
    assert second.cache.catches_all(ANN)


async def test_the_results_of_another_server_do_not_count(two):
    first, second = two
    await first.tell(ANN, known=True)
    assert await second.knows(ANN, (NextHop("198.18.1.26", 25),)) is None


async def test_what_is_fresh_is_not_published_again(two):
    first, _second = two
    await first.tell(ANN, known=True)
    assert first.cache.store(ANN, known=True) == []


async def test_the_latest_result_prevails(two, monkeypatch):
    first, second = two
    await first.tell(ANN, known=True)
    behind = time.time() - 7200
    monkeypatch.setattr(second.cache, "_clock", lambda: behind)
    await second.tell(ANN, known=False)
    monkeypatch.undo()
    second.cache._database.execute("DELETE FROM recipients")
    second.cache._memory.clear()
    assert await second.knows(ANN) is True


async def test_the_store_has_no_address(two, server):
    await two[0].tell(ANN, known=True)
    key = server.command("RANDOMKEY")
    assert key.startswith("mailgate:recipient:") and "ann" not in key and "x.example" not in key
    assert server.command("GET", key).split()[0] == "1"


@pytest.mark.parametrize("value", ["", "x", "2 5", "1", "1 x", "1 5 5", "\u3042 1", "x" * 1_000_000])
async def test_a_value_that_is_not_valid(two, server, value):
    await two[0].tell(ANN, known=True)
    server.command("SET", server.command("RANDOMKEY"), value)
    assert await two[1].knows(ANN) is None
    assert bool(two[1].failures) is bool(value)


async def test_without_the_server(two, server):
    first, second = two
    server.kill()
    assert await second.knows(ANN) is None
    await first.tell(ANN, known=True)
    assert first.cache.find(ANN).known


@pytest.fixture
async def campus(with_limits, server) -> AsyncIterator[Campus]:
    settings = server.settings
    campus = await with_limits(
        f'[shared_state]\nserver = "{settings.server}"\npassword_file = "{settings.password_file}"\n'
        f'ca_file = "{settings.ca_file}"\n'
    )
    task = asyncio.create_task(campus.gateway.client_limits.share(exchange=True))
    await wait_for(lambda: campus.gateway.client_limits.remote.available)
    yield campus
    task.cancel()


async def test_by_mail(campus, two):
    """A refusal that this gateway confirms is known to another, and one of another is not asked for here."""
    servers = campus.gateway.routes.find("a.univ.example").verification_servers
    campus.a.rcpt = lambda line: OK if "alice" in line else "550 5.1.1 User unknown"
    assert await reply_to(campus, to="alice@a.univ.example") == OK
    assert (await reply_to(campus, to="ghost@a.univ.example")).startswith("550")
    await cached_as_unknown(campus, "ghost@a.univ.example")
    await wait_for(lambda: not campus.gateway._delivery.shared_results.publisher.pending)
    assert await two[0].knows(Mailbox("ghost", "a.univ.example"), servers) is False
    assert await two[0].knows(Mailbox("alice", "a.univ.example"), servers) is True

    await two[1].tell(Mailbox("spook", "a.univ.example"), known=False, servers=servers)
    assert "(cached)" in await reply_to(campus, to="spook@a.univ.example")
    assert not any("spook" in command for command in campus.a.commands)

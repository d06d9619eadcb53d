# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake and real rspamd, and gateways that use one of them."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from dns_server import DnsServer, serving_dns
from fake_rspamd import FakeRspamd
from gateway_doubles import Campus
from real_rspamd import MISSING, RSPAMD, RealRspamd
from rule_clients import CLIENT
from spam_mail import RELAYING

from mailgate.config_file import parse_config


@pytest.fixture
async def rspamd() -> AsyncIterator[FakeRspamd]:
    """Return an rspamd that finds no spam."""
    server = FakeRspamd()
    await server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def real_rspamd() -> Iterator[RealRspamd]:
    """One rspamd for all tests."""
    if not RSPAMD:
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(prefix="rspamd") as directory:
        server = RealRspamd(Path(directory))
        yield server
        server.stop()


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    """Return a DNS server that knows the name of the client."""
    async with serving_dns() as server:
        server.add("9.9.18.198.in-addr.arpa", "PTR", "mail.sender.example.")
        server.add("mail.sender.example", "A", CLIENT)
        yield server


@pytest.fixture
def with_rspamd(make_campus: Callable[..., Awaitable[Campus]], dns: DnsServer) -> Callable[..., Awaitable[Campus]]:
    """Start a gateway with an rspamd; settings and the rest of the file in TOML."""

    async def start(address: object, settings: str = "", rest: str = "", **changes: object) -> Campus:
        config = parse_config(
            f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nown_addresses = ["198.18.0.25"]\n'
            f'relay_networks = ["{RELAYING}/32"]\n'
            f'[refusal]\ndns_servers = ["{dns.address}"]\n[rspamd]\nsocket = "{address}"\n{settings}\n{rest}\n'
        )
        return await make_campus(
            **{
                "rspamd": config.rspamd,
                "refusal": config.refusal,
                "rules": config.rules,
                "domains": config.domains,
                "own_addresses": config.own_addresses,
                "relay_networks": config.relay_networks,
                "proxy_protocol_from": (ipaddress.ip_network("127.0.0.0/8"),),
                **changes,
            }
        )

    return start

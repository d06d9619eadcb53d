# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DNS server, and gateways with rules whose clients have their address from a PROXY header."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from dns_server import DnsServer, serving_dns
from gateway_doubles import Campus

from mailgate.config_file import parse_config


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    """Return a DNS server without records."""
    async with serving_dns() as server:
        yield server


@pytest.fixture
def with_rules(make_campus: Callable[..., Awaitable[Campus]], dns: DnsServer) -> Callable[..., Awaitable[Campus]]:
    """Start a gateway with rules in TOML."""

    async def start(
        rules: str = "", refusal: str = "", domains: str = "", lists: str = "", auth: str = "", **changes: object
    ) -> Campus:
        config = parse_config(
            f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nown_addresses = ["198.18.0.25"]\n'
            f'[refusal]\ndns_servers = ["{dns.address}"]\n{refusal}\n[authentication]\n{auth}\n'
            f"{rules}\n{lists}\n{domains}\n"
        )
        return await make_campus(
            refusal=config.refusal,
            authentication=config.authentication,
            rules=config.rules,
            lists=config.lists,
            domains=config.domains,
            own_addresses=config.own_addresses,
            proxy_protocol_from=(ipaddress.ip_network("127.0.0.0/8"),),
            **changes,
        )

    return start

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways with limits whose clients have their address from a PROXY header."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_doubles import KEEP_CONNECTIONS, PATIENCE, Campus
from shared_server import SharedServer

from mailgate.config_file import parse_config

SECTIONS = ("limits", "bans", "rates", "greylist", "refusal", "rules", "lists", "relay_networks", "own_addresses",
            "shared_state")  # fmt: skip


@pytest.fixture
def with_limits(make_campus: Callable[..., Awaitable[Campus]]) -> Callable[..., Awaitable[Campus]]:
    """Start a gateway with settings in TOML."""

    async def start(settings: str) -> Campus:
        config = parse_config(
            'hostname = "gw1.univ.example"\nroutes_file = "/r"\nown_addresses = ["198.18.0.25"]\n'
            f'relay_networks = ["198.18.200.0/24"]\n{settings}\n'
        )
        # More than settings allow: a store that answers late on a busy machine is not used for a while.
        config = replace(config, shared_state=replace(config.shared_state, timeout_ms=1000 * PATIENCE))
        return await make_campus(
            **{name: getattr(config, name) for name in SECTIONS},
            timeouts=KEEP_CONNECTIONS,
            proxy_protocol_from=(ipaddress.ip_network("127.0.0.0/8"),),
        )

    return start


@pytest.fixture(autouse=True)
def patient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the shared store be slow where no client waits."""
    monkeypatch.setattr("mailgate.limits.remote.BACKGROUND_SECONDS", PATIENCE)


@pytest.fixture(autouse=True)
def no_authorities_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let TLS trust what the test names only: the client of the store reads the system's file at each connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, loopback: tuple[str, str]) -> Iterator[SharedServer]:
    started = SharedServer(tmp_path_factory.mktemp("store"), loopback)
    yield started
    started.kill()


@pytest.fixture
def server(running: SharedServer) -> SharedServer:
    """Return an empty server that runs."""
    if not running.process or running.process.poll() is not None:
        running.start()
    running.resume()
    running.command("FLUSHALL")
    return running

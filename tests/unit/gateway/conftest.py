# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway on loopback for each test that asks for one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from gateway_doubles import Campus, start_campus
from real_clamd import CLAMD, MISSING, RealClamd
from service_process import build


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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a certificate for gw1.univ.example and of its key."""
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=gw1.univ.example", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    return str(directory / "cert.pem"), str(directory / "key.pem")


@pytest.fixture(scope="session")
def real_clamd() -> Iterator[RealClamd]:
    """One clamd for all tests that leave it as it is."""
    if not CLAMD:
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory))
        yield clamd
        clamd.kill()


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service as one file."""
    return build(tmp_path_factory.mktemp("zipapp"))

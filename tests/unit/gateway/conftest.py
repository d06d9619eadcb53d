# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: a gateway on loopback, fake and real clamd servers, a certificate, the service as one file."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from event_database import MISSING as NO_POSTGRESQL
from event_database import DatabaseServer, programs, settings_text
from fake_clamd import VERSION, FakeClamd, FakeClamdOfFiles
from gateway_doubles import Campus, Database, start_campus
from real_clamd import CLAMD, MISSING, RealClamd
from service_process import ON_UVLOOP, build

from mailgate.state import open_state

if ON_UVLOOP:

    def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], object]]:
        """Run all tests of the gateway on uvloop."""
        import uvloop

        return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the whole service as slow: its processes take more than a second of processor time."""
    directory = Path(__file__).parent
    for item in items:
        if directory in item.path.parents and "pyz" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
async def make_campus(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Campus]]]:
    """Start gateways with the given settings."""
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
        assert not campus.invalid_events()


@pytest.fixture
async def campus(make_campus: Callable[..., Awaitable[Campus]]) -> Campus:
    """Return a gateway with default settings but short timeouts."""
    return await make_campus()


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch) -> list[Database]:
    """State databases, in the order in which they are opened; ask for them before a gateway."""
    opened: list[Database] = []

    def open_database(path: Path, schema: str) -> Database:
        opened.append(Database(open_state(path, schema)))
        return opened[-1]

    monkeypatch.setattr("mailgate.state.open_state", open_database)
    return opened


@pytest.fixture(scope="session")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a certificate for 127.0.0.1 and its key."""
    directory = tmp_path_factory.mktemp("loopback")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    return str(directory / "cert.pem"), str(directory / "key.pem")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a certificate for gw1.univ.example and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=gw1.univ.example", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=directory, check=True, capture_output=True,
    )  # fmt: skip
    return str(directory / "cert.pem"), str(directory / "key.pem")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[FakeClamd, FakeClamd]]:
    """Two clamd servers that find everything clean."""
    pair = (FakeClamd(tmp_path / "1", VERSION), FakeClamd(tmp_path / "2", VERSION))
    for clamd in pair:
        clamd.answer = b"stream: OK\0"
        await clamd.start()
    yield pair
    for clamd in pair:
        clamd.stop()


@pytest.fixture
def clamd_of_files(tmp_path: Path) -> Iterator[FakeClamdOfFiles]:
    """Return a clamd that gets open files."""
    clamd = FakeClamdOfFiles(tmp_path / "files")
    yield clamd
    clamd.stop()


@pytest.fixture(scope="session")
def real_clamd() -> Iterator[RealClamd]:
    """One clamd for all tests that do not change it."""
    if not CLAMD:
        pytest.skip(MISSING)
    with tempfile.TemporaryDirectory(prefix="clamd") as directory:
        clamd = RealClamd(Path(directory))
        yield clamd
        clamd.kill()


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the service as one file."""
    return build(tmp_path_factory.mktemp("zipapp"))


@pytest.fixture(scope="session")
def database_server(loopback: tuple[str, str]) -> Iterator[DatabaseServer]:
    """Run a PostgreSQL server with the schema of events in its template."""
    if not programs():
        pytest.skip(NO_POSTGRESQL)
    # pytest's directories are closed to other users.
    with tempfile.TemporaryDirectory(prefix="mailgate-database") as name:
        server = DatabaseServer(Path(name), loopback)
        server.start()
        server.prepare()
        yield server
        server.crash()


@pytest.fixture(params=["state directory", "PostgreSQL"])
def event_store_settings(request: pytest.FixtureRequest) -> str:
    """Return sections of the settings file for each of the two stores of events."""
    if request.param == "state directory":
        return ""
    server: DatabaseServer = request.getfixturevalue("database_server")
    return settings_text(server.empty())

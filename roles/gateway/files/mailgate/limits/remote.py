# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of one worker to the shared store, a Valkey or Redis server.

A client waits for the store for at most `timeout_ms`. After a call that fails or takes longer, no client waits for it
until a probe in the background was answered in time.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mailgate.config import split_server
from mailgate.limit_settings import SharedState
from mailgate.limits.scripts import Script
from mailgate.limits.store import PAUSE_SECONDS, StoreError
from mailgate.secret_files import password_of

if TYPE_CHECKING:
    from valkey.asyncio import Valkey

# Connecting, and calls that no client waits for.
BACKGROUND_SECONDS = 3.0
# Importing the library on a machine that is busy, and reading password and certificates.
_IMPORT_SECONDS = 30.0
# Simultaneous calls of a worker; one may wait for changes of bans. A probe opens all connections, so that clients need
# not wait for a handshake.
_CONNECTIONS = 5


class Remote:
    """The shared store, as long as it answers.

    Args:
        settings: Where it is.
        failed: Called with the reason for each failure.
        clock: Time in seconds.
    """

    def __init__(
        self, settings: SharedState, failed: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._failed = failed
        self._clock = clock
        self._client: Valkey | None = None
        # First come, first served, which the pool of the library is not.
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._probe_at = -PAUSE_SECONDS
        #: Whether clients may wait for it.
        self.available = False
        #: How often a probe has found it working again.
        self.connected = 0

    async def run(self, script: Script, keys: list[str], arguments: list[object]) -> Any:
        """Return the result of a script for a client that waits; raise StoreError if it fails or is not available."""
        if not self.available:
            raise StoreError("not available")
        return await self._guard(self._evaluate(script, keys, arguments), self._settings.timeout_ms / 1000)

    async def run_in_background(self, script: Script, keys: list[str], arguments: list[object]) -> Any:
        """Return the result of a script for which no client waits; raise StoreError if it fails."""
        return await self._guard(self._evaluate(script, keys, arguments), BACKGROUND_SECONDS)

    async def call(self, *command: object) -> Any:
        """Return the reply to a command for which no client waits; raise StoreError if it fails."""
        return await self._guard(self._execute(*command), BACKGROUND_SECONDS)

    async def probe(self) -> bool:
        """Find out whether the store answers in time, if it did not; return whether it does."""
        if self.available:
            return True
        if self._clock() < self._probe_at:
            return False
        try:
            if self._client is None:
                self._client = await self._guard(asyncio.to_thread(connect, self._settings), _IMPORT_SECONDS)
            await self._guard(self._prepare(), BACKGROUND_SECONDS)
            await self._guard(self._execute("PING"), self._settings.timeout_ms / 1000)
        except StoreError:
            # The next probe reads password and certificates again.
            await self.close()
            return False
        self.available = True
        self.connected += 1
        return True

    async def close(self) -> None:
        """Close the connections."""
        self.available = False
        client, self._client = self._client, None
        if client:
            try:
                async with asyncio.timeout(BACKGROUND_SECONDS):
                    await client.aclose(close_connection_pool=True)
            except Exception:  # noqa: S110 - a connection that is broken need not be closed well
                pass

    def refuse(self, reason: str) -> StoreError:
        """Return the error for an answer that is not valid, after which the store is not used for some seconds."""
        self.available = False
        self._probe_at = self._clock() + PAUSE_SECONDS
        text = f"{self._settings.server}: {reason}"
        self._failed(text)
        return StoreError(text)

    async def _guard(self, work: Any, seconds: float) -> Any:
        reason = f"no answer within {seconds:g} s"
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            pass
        # Any error that a server which is not a store may cause in the library.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise self.refuse(reason) from None

    async def _evaluate(self, script: Script, keys: list[str], arguments: list[object]) -> Any:
        try:
            return await self._execute("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except Exception as error:
            if not type(error).__name__.startswith("NoScript"):
                raise
        return await self._execute("EVAL", script.text, len(keys), *keys, *arguments)

    async def _execute(self, *command: object) -> Any:
        assert self._client
        execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        async with self._turns:
            return await execute(*command)

    async def _prepare(self) -> None:
        await asyncio.gather(*(self._execute("PING") for _each in range(_CONNECTIONS)))


def connect(settings: SharedState) -> Valkey:
    """Return a client of the store, which connects with its first command; raise OSError for files."""
    # Imported here because it costs every worker 15 MB, and most gateways have no shared store.
    from valkey.asyncio import Connection, ConnectionPool, SSLConnection, Valkey  # noqa: PLC0415
    from valkey.asyncio.retry import Retry  # noqa: PLC0415
    from valkey.backoff import NoBackoff  # noqa: PLC0415

    host, port = split_server(settings.server)
    encryption: dict[str, Any] = {}
    if settings.tls:
        # The client's own would trust the system's authorities besides the file, and be made for each connection.
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2

        class Encrypted(SSLConnection):
            def __init__(self, **arguments: Any) -> None:
                super().__init__(**arguments)
                self.ssl_context.context = context

        encryption = {"connection_class": Encrypted}
    pool = ConnectionPool(
        **{"connection_class": Connection, **encryption},
        host=host,
        port=port,
        username=settings.user or None,
        password=password_of(settings) or None,
        max_connections=_CONNECTIONS,
        socket_timeout=None,
        socket_connect_timeout=BACKGROUND_SECONDS,
        retry=Retry(NoBackoff(), 0),
        lib_name=None,
        lib_version=None,
    )
    client = Valkey(connection_pool=pool)
    # Replies as the store sent them.
    client.response_callbacks.clear()
    return client

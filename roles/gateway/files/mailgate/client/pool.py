# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions to next hops: kept for the next message, bounded for each server and in all.

A server that is slow or dead uses up its own share only: who would wait behind too many others is told at once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailgate.client.session import ClientSession, EncryptionError, NextHopError
from mailgate.config import Config
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.reply import Reply

NOT_ENCRYPTED = Reply.of(450, "4.7.10 TLS required but not offered by destination server")

# After a server took long to fail, others do not wait for it as well.
DOWN_SECONDS = 10
SLOW_FAILURE_SECONDS = 1
MAX_TRANSACTIONS = 100


@dataclass
class _Server:
    """One next hop: open sessions, idle ones (the last one used at the end), and who waits for one."""

    share: int
    open: int = 0
    idle: deque[ClientSession] = field(default_factory=deque)
    waiting: deque[asyncio.Future[ClientSession | None]] = field(default_factory=deque)
    down_until: float = 0.0
    # Whether STARTTLS failed a moment ago, until when.
    clear_until: float = 0.0
    timers: dict[ClientSession, asyncio.TimerHandle] = field(default_factory=dict)


class Pool:
    """All sessions of one process, which has `share` (0 to 1) of what the settings allow.

    `most_waiting` may wait for one server: a third of all clients, so that others find room.
    """

    def __init__(self, config: Config, *, encrypt: ssl.SSLContext | None = None, share: float = 1.0) -> None:
        self._config = config
        self._encrypt = encrypt
        self._total = max(1, round(config.limits.max_outbound_connections * share))
        self.most_waiting = max(1, round(config.limits.max_connections * share / 3))
        self._per_server = max(1, round(config.limits.max_connections_per_next_hop * share))
        self._open = 0
        self._closed = False
        self._servers: dict[NextHop, _Server] = {}
        self._queue = NextHop(config.queue.host, config.queue.port)
        self._background: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def down(self, hop: NextHop) -> bool:
        """Whether a moment ago the server took long to fail."""
        server = self._servers.get(hop)
        return server is not None and server.down_until > self._loop.time()

    async def acquire(self, hop: NextHop, *, fresh: bool = False, wait: bool = True) -> ClientSession:
        """A session, to be given back by `release` or `discard`; raises NextHopError.

        `fresh`: not one that was idle. Without `wait`: not behind anybody else.
        """
        server = self._server(hop)
        while server.idle and not fresh:
            session = self._take(server)
            if session.quiet:
                return session
            self.discard(session)
        if not self._may_open(server):
            if not wait:
                raise NextHopError(f"{hop}: all connections are in use")
            waited = await self._wait(hop, server)
            if waited:
                return waited
        return await self._connect(hop, server)

    async def _wait(self, hop: NextHop, server: _Server) -> ClientSession | None:
        """A session that another gives back, or None when one may be opened (it is counted already)."""
        if len(server.waiting) >= self.most_waiting:
            raise NextHopError(f"{hop}: all connections are in use, and others are waiting")
        future: asyncio.Future[ClientSession | None] = self._loop.create_future()
        server.waiting.append(future)
        try:
            async with asyncio.timeout(self._config.timeouts.connect):
                return await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                session = future.result()
                if session:
                    self.release(session)
                else:
                    self._count_out(server)
            elif future in server.waiting:
                server.waiting.remove(future)
            if isinstance(error, TimeoutError):
                raise NextHopError(f"{hop}: all connections are in use") from None
            raise

    async def _connect(self, hop: NextHop, server: _Server) -> ClientSession:
        started = self._loop.time()
        timeouts = self._config.timeouts
        encrypt = self._encrypt if server.clear_until < started and hop != self._queue else None
        try:
            session = await ClientSession.open(
                hop,
                helo=self._config.hostname,
                connect_seconds=timeouts.connect,
                command_seconds=timeouts.next_hop_command,
                encrypt=encrypt,
            )
        except EncryptionError:
            # Better in the clear than not at all; those that must not are told by the missing encryption.
            server.clear_until = self._loop.time() + timeouts.session_age
            return await self._connect(hop, server)
        except BaseException as error:
            self._count_out(server)
            if isinstance(error, NextHopError):
                self.failed(hop, started, error)
            raise
        server.down_until = 0.0
        return session

    async def begin(
        self,
        envelope: Envelope,
        recipients: Sequence[Mailbox],
        servers: tuple[NextHop, ...],
        *,
        encrypt: bool = False,
        wait: bool = True,
    ) -> tuple[ClientSession | None, list[Reply]]:
        """Open a transaction with the first of the servers that answers, and tell it of the recipients.

        Returns the session and the replies to MAIL and RCPT; no session if it must `encrypt` and does not. Without
        `wait`, no session that others wait for. Raises NextHopError.
        """
        reason = NextHopError("no next hop")
        for hop in servers:
            if self.down(hop):
                reason = NextHopError(f"{hop}: did not answer a moment ago")
                continue
            # A session that was idle may be gone without a word; a new one tells whether the server is.
            for fresh in (False, True):
                started = self._loop.time()
                try:
                    session = await self.acquire(hop, fresh=fresh, wait=wait)
                except NextHopError as error:
                    reason = error
                    break
                if encrypt and not session.encrypted:
                    self.release(session)
                    return None, [NOT_ENCRYPTED]
                used = session.used
                try:
                    return session, await session.begin(envelope, recipients)
                except NextHopError as error:
                    self.discard(session)
                    reason = error
                    if used and not error.late:
                        continue
                    self.failed(hop, started, error)
                    break
                except BaseException:
                    self.discard(session)
                    raise
        raise reason

    def failed(self, hop: NextHop, started: float, error: NextHopError) -> None:
        """Note that the server let somebody down who began to ask at loop time `started`."""
        if error.late or self._loop.time() - started > SLOW_FAILURE_SECONDS:
            self._server(hop).down_until = self._loop.time() + DOWN_SECONDS

    def release(self, session: ClientSession) -> None:
        """Give a session back that is in order; a transaction that is open in it is given up."""
        server = self._server(session.hop)
        timeouts = self._config.timeouts
        old = session.used >= MAX_TRANSACTIONS or self._loop.time() - session.opened > timeouts.session_age
        if not session.quiet or old or self._closed or not timeouts.session_idle:
            self._end(session, politely=session.quiet)
            return
        while server.waiting:
            future = server.waiting.popleft()
            if not future.done():
                future.set_result(session)
                return
        server.idle.append(session)
        server.timers[session] = self._loop.call_later(timeouts.session_idle, self._expire, server, session)

    def discard(self, session: ClientSession) -> None:
        """Give a session back that is of no more use."""
        self._end(session, politely=False)

    def close(self) -> None:
        """End idle sessions now, and the others when they are given back."""
        self._closed = True
        for server in self._servers.values():
            while server.idle:
                self._end(self._take(server), politely=True)

    async def closed(self, seconds: float) -> None:
        """Wait for the goodbyes, for `seconds` at most."""
        if self._background:
            await asyncio.wait(self._background, timeout=seconds)

    @property
    def open(self) -> int:
        """Number of open sessions."""
        return self._open

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work in the background."""
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _server(self, hop: NextHop) -> _Server:
        server = self._servers.get(hop)
        if server is None:
            # The queue is everybody's, when all else fails.
            share = self._total if hop == self._queue else min(self._per_server, self._total)
            server = self._servers[hop] = _Server(share)
        return server

    def _take(self, server: _Server) -> ClientSession:
        session = server.idle.pop()
        server.timers.pop(session).cancel()
        return session

    def _expire(self, server: _Server, session: ClientSession) -> None:
        if session in server.idle:
            server.idle.remove(session)
            server.timers.pop(session, None)
            self._end(session, politely=True)

    def _may_open(self, server: _Server) -> bool:
        """Whether one more may be opened; if so it is counted."""
        if server.open >= server.share:
            return False
        if self._open >= self._total:
            other = next((other for other in self._servers.values() if other.idle), None)
            if other is None:
                return False
            self.discard(self._take(other))
            if self._open >= self._total:
                return False
        server.open += 1
        self._open += 1
        return True

    def _end(self, session: ClientSession, *, politely: bool) -> None:
        if politely:
            self.spawn(self._quit(session))
        else:
            session.abort()
            self._count_out(self._server(session.hop))

    async def _quit(self, session: ClientSession) -> None:
        try:
            await session.quit()
        finally:
            self._count_out(self._server(session.hop))

    def _count_out(self, server: _Server) -> None:
        server.open -= 1
        self._open -= 1
        # First those who wait for the same server, then any other.
        for candidate in (server, *self._servers.values()):
            while candidate.waiting and candidate.waiting[0].done():
                candidate.waiting.popleft()
            if candidate.waiting and self._may_open(candidate):
                candidate.waiting.popleft().set_result(None)
                return

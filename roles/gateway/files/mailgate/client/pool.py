# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection pool with per-server and global limits; callers fail fast when the wait queue is full.

The pool alone opens and closes sessions with next hops. Others hold a session between `acquire` or `begin` and
`release` or `discard`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailgate.background import BackgroundTasks
from mailgate.client.session import ClientSession, NextHopError, StartTlsError
from mailgate.config import Config
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.reply import Reply

NOT_ENCRYPTED = Reply.of(450, "4.7.10 TLS required but not offered by destination server")

# How long a server is not tried after a slow failure.
DOWN_SECONDS = 10
SLOW_FAILURE_SECONDS = 1
MAX_TRANSACTIONS = 100


@dataclass
class _Server:
    """Sessions with one next hop.

    Attributes:
        limit: Maximum number of open sessions.
        open: Number of open sessions, including those being opened.
        idle: Idle sessions, the most recently used one last.
        waiting: Callers waiting for a session; None as result allows to open one, which is already counted.
        down_until: Loop time until which the server is not tried.
        plain_until: Loop time until which STARTTLS is not used.
        idle_since: Loop time since which each of `idle` is idle.
        timer: Ends sessions that are idle for too long, while there may be one.
    """

    limit: int
    open: int = 0
    idle: deque[ClientSession] = field(default_factory=deque)
    waiting: deque[asyncio.Future[ClientSession | None]] = field(default_factory=deque)
    down_until: float = 0.0
    plain_until: float = 0.0
    idle_since: dict[ClientSession, float] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


class Pool:
    """All sessions of one process, which may use `share` (0 to 1) of the configured limits.

    `max_waiting` callers may wait for one server: a third of all transactions, so one server does not block others.
    """

    def __init__(
        self,
        config: Config,
        background: BackgroundTasks,
        *,
        encrypt: ssl.SSLContext | None = None,
        share: float = 1.0,
    ) -> None:
        self._config = config
        self._background = background
        self._encrypt = encrypt
        self._max_open = max(1, round(config.limits.max_outbound_connections * share))
        self.max_waiting = max(1, round(config.limits.max_transactions * share / 3))
        self._max_per_server = max(1, round(config.limits.max_connections_per_next_hop * share))
        self._open = 0
        self._closed = False
        self._servers: dict[NextHop, _Server] = {}
        self._queue = NextHop(config.queue.host, config.queue.port)
        self._loop = asyncio.get_running_loop()

    @property
    def open(self) -> int:
        """Number of open sessions."""
        return self._open

    @property
    def contended(self) -> bool:
        """Whether a caller waits for a session."""
        return any(server.waiting for server in self._servers.values())

    # Open and assign

    async def begin(
        self,
        envelope: Envelope,
        recipients: Sequence[Mailbox],
        hops: Sequence[NextHop],
        *,
        encrypt: bool = False,
        wait: bool = True,
    ) -> tuple[ClientSession | None, list[Reply]]:
        """Begin a transaction with the first of `hops` that responds.

        Args:
            envelope: Sender and ESMTP parameters.
            recipients: Recipients named in the transaction.
            hops: Next hops in order of preference.
            encrypt: Require TLS.
            wait: Wait for a session if the limit is reached.

        Returns:
            The session and the replies to MAIL and RCPT; no session if TLS is required and not offered.

        Raises:
            NextHopError: None of the servers responds.
        """
        failure = NextHopError("no next hop")
        for hop in hops:
            if self._is_down(hop):
                failure = NextHopError(f"{hop}: not tried, failed within the last {DOWN_SECONDS} s")
                continue
            try:
                return await self._begin(hop, envelope, recipients, encrypt=encrypt, wait=wait)
            except NextHopError as error:
                failure = error
        raise failure

    async def _begin(
        self, hop: NextHop, envelope: Envelope, recipients: Sequence[Mailbox], *, encrypt: bool, wait: bool
    ) -> tuple[ClientSession | None, list[Reply]]:
        failure = NextHopError(f"{hop}: not tried")
        # The server may have closed an idle session, or sent what cannot be a reply; only a new one shows whether the
        # server responds.
        for fresh in (False, True):
            started = self._loop.time()
            try:
                session = await self.acquire(hop, fresh=fresh, wait=wait)
            except NextHopError as error:
                if fresh or not error.broken:
                    raise
                failure = error
                continue
            if encrypt and not session.encrypted:
                self.release(session)
                return None, [NOT_ENCRYPTED]
            reused = session.transactions > 0
            try:
                return session, await session.begin(envelope, recipients)
            except NextHopError as error:
                self.discard(session)
                failure = error
                if error.encrypt and self._encrypt and not session.encrypted:
                    # The handshake failed a while ago.
                    self._server(hop).plain_until = 0.0
                elif error.timed_out or not (reused or error.broken):
                    self._record_failure(hop, started, error)
                    break
            except BaseException:
                self.discard(session)
                raise
        raise failure

    async def acquire(self, hop: NextHop, *, fresh: bool = False, wait: bool = True) -> ClientSession:
        """Return a session, which the caller gives to `release` or `discard`; raise NextHopError.

        Args:
            hop: The server.
            fresh: Open a new session even if one is idle.
            wait: Wait for a session if the limit is reached.
        """
        server = self._server(hop)
        while server.idle and not fresh:
            session = self._pop_idle(server)
            if session.quiet:
                return session
            self.discard(session)
        if not self._reserve(server):
            if not wait:
                raise NextHopError(f"{hop}: connection limit reached")
            session_or_none = await self._wait(hop, server)
            if session_or_none:
                return session_or_none
        return await self._connect(hop, server)

    async def _wait(self, hop: NextHop, server: _Server) -> ClientSession | None:
        """Return a released session, or None if one may be opened (it is already counted)."""
        if len(server.waiting) >= self.max_waiting:
            raise NextHopError(f"{hop}: connection limit reached and wait queue full")
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
                    self._free(server)
            elif future in server.waiting:
                server.waiting.remove(future)
            if isinstance(error, TimeoutError):
                raise NextHopError(f"{hop}: connection limit reached") from None
            raise

    async def _connect(self, hop: NextHop, server: _Server) -> ClientSession:
        started = self._loop.time()
        timeouts = self._config.timeouts
        encrypt = self._encrypt if server.plain_until < started and hop != self._queue else None
        try:
            session = await ClientSession.open(
                hop,
                helo=self._config.hostname,
                connect_seconds=timeouts.connect,
                command_seconds=timeouts.next_hop_command,
                encrypt=encrypt,
            )
        except StartTlsError:
            # Opportunistic TLS: plain text is better than no delivery. Callers that require TLS check `encrypted`.
            server.plain_until = self._loop.time() + timeouts.session_age
            return await self._connect(hop, server)
        except BaseException as error:
            self._free(server)
            if isinstance(error, NextHopError):
                self._record_failure(hop, started, error)
            raise
        server.down_until = 0.0
        return session

    def _is_down(self, hop: NextHop) -> bool:
        server = self._servers.get(hop)
        return server is not None and server.down_until > self._loop.time()

    def _record_failure(self, hop: NextHop, started: float, error: NextHopError) -> None:
        """Record an attempt that failed; a slow failure marks the server down for DOWN_SECONDS."""
        if error.timed_out or self._loop.time() - started > SLOW_FAILURE_SECONDS:
            self._server(hop).down_until = self._loop.time() + DOWN_SECONDS

    # Return and close

    def release(self, session: ClientSession) -> None:
        """Return a working session to the pool; a transaction that is still open is abandoned."""
        server = self._server(session.hop)
        timeouts = self._config.timeouts
        old = session.transactions >= MAX_TRANSACTIONS or self._loop.time() - session.opened > timeouts.session_age
        if not session.quiet or old or self._closed or not timeouts.session_idle:
            self._end(session, quit_first=session.quiet)
            return
        while server.waiting:
            future = server.waiting.popleft()
            if not future.done():
                future.set_result(session)
                return
        server.idle.append(session)
        server.idle_since[session] = self._loop.time()
        # A timer for each session would be cancelled for nearly every message.
        if server.timer is None:
            server.timer = self._loop.call_later(timeouts.session_idle, self._expire, server)

    def discard(self, session: ClientSession) -> None:
        """Return a broken session, which is closed."""
        self._end(session, quit_first=False)

    def close(self) -> None:
        """Close idle sessions now and the others when they are released."""
        self._closed = True
        for server in self._servers.values():
            while server.idle:
                self._end(self._pop_idle(server), quit_first=True)
            if server.timer:
                server.timer.cancel()
                server.timer = None

    def _expire(self, server: _Server) -> None:
        """End the sessions that are idle for too long; come back for the next one."""
        server.timer = None
        seconds = self._config.timeouts.session_idle
        while server.idle:
            expires = server.idle_since[server.idle[0]] + seconds
            if expires > self._loop.time():
                server.timer = self._loop.call_at(expires, self._expire, server)
                return
            session = server.idle.popleft()
            del server.idle_since[session]
            self._end(session, quit_first=True)

    def _end(self, session: ClientSession, *, quit_first: bool) -> None:
        if quit_first:
            self._background.spawn(self._quit(session))
        else:
            session.abort()
            self._free(self._server(session.hop))

    async def _quit(self, session: ClientSession) -> None:
        try:
            await session.quit()
        finally:
            self._free(self._server(session.hop))

    # Limits

    def _server(self, hop: NextHop) -> _Server:
        server = self._servers.get(hop)
        if server is None:
            # Deliveries to all servers fall back to the queue.
            limit = self._max_open if hop == self._queue else min(self._max_per_server, self._max_open)
            server = self._servers[hop] = _Server(limit)
        return server

    def _pop_idle(self, server: _Server) -> ClientSession:
        session = server.idle.pop()
        del server.idle_since[session]
        return session

    def _reserve(self, server: _Server) -> bool:
        """Count one more open session if the limits allow it; return whether they do."""
        if server.open >= server.limit:
            return False
        if self._open >= self._max_open:
            other = next((other for other in self._servers.values() if other.idle), None)
            if other is None:
                return False
            self.discard(self._pop_idle(other))
            if self._open >= self._max_open:
                return False
        server.open += 1
        self._open += 1
        return True

    def _free(self, server: _Server) -> None:
        """Count one open session less and let a waiting caller open one."""
        server.open -= 1
        self._open -= 1
        # Callers that wait for the same server come first.
        for candidate in (server, *self._servers.values()):
            while candidate.waiting and candidate.waiting[0].done():
                candidate.waiting.popleft()
            if candidate.waiting and self._reserve(candidate):
                candidate.waiting.popleft().set_result(None)
                return

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sender's conversation: aiosmtpd's SMTP class over a channel of ours, with its traps mended.

Kept of aiosmtpd: the settings, the state (session, envelope, and when each begins anew), the table of commands, and the
PROXY header. Replaced: the transport (channel.py) and the loop that reads commands. No exception's text is sent, an end
of input does not cancel work that was acknowledged, only CRLF ends a command, each stage has its own deadline,
connections
and errors are limited, and no command of aiosmtpd's is there that we have not written anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar

from aiosmtpd.proxy_protocol import get_proxy
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as SMTPSession

from mailgate.events import CLIENT_ANSWERS_LOST
from mailgate.gateway import INTERNAL, Gateway
from mailgate.server.connection import Connection, LineTooLongError
from mailgate.smtp.address import AddressError
from mailgate.smtp.reply import Reply

log = logging.getLogger("mailgate")

MAX_LINE_OVERRUN = 1_000_000
MAX_IDLE_TALK = 100
PROXY_SECONDS = 10
TLS_SECONDS = 30
IDENT = "ESMTP mailgate"

_SHUTTING_DOWN = Reply.of(421, "4.3.2 Service is being restarted; try again")


class ClosingError(Exception):
    """The conversation ends with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class _NoHooks:
    """aiosmtpd looks through its handler for handle_* and auth_* methods; this has none, and says so at once."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()


class Protocol(Connection, SMTP):
    """One connection of a sender. Its commands are the smtp_* methods of subclasses; aiosmtpd's own are not offered."""

    command_size_limit = 1024

    # Of SMTP, said more exactly: what is never None once there is a connection.
    transport: asyncio.Transport | None
    session: SMTPSession
    envelope: Envelope
    hostname: str
    data_size_limit: int
    tls_context: ssl.SSLContext | None
    _handler_coroutine: asyncio.Task[None] | None
    _smtp_methods: dict[str, Callable[[str | None], Awaitable[None]]]

    _offered: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = (name for name in vars(cls) if name.startswith("smtp_"))
        cls._offered = tuple(dict.fromkeys((*cls._offered, *own)))

    def __dir__(self) -> Iterable[str]:
        """What aiosmtpd finds when it looks for commands and ways to authenticate, which it does for each connection.

        All else is left out: commands that we have not written must not be found, and with all names to look through,
        twice, this object would take six times as long to make.
        """
        return self._offered

    def __init__(self, gateway: Gateway) -> None:
        SMTP.__init__(
            self,
            _NO_HOOKS,
            hostname=gateway.config.hostname,
            ident=IDENT,
            data_size_limit=gateway.config.limits.max_message_bytes,
            tls_context=gateway.encrypt,
            loop=asyncio.get_running_loop(),
        )
        Connection.__init__(self)
        self._gateway = gateway
        self._admitted = False
        self._errors = 0
        self._counted = ""
        self._idle = False
        self._talk = 0
        # Keys in the duplicate log of what the last 250 acknowledged; whether the client had sent nothing more by then.
        self._promised: list[bytes] = []
        self._asked_anew = False

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse a connection over a limit before anything is done for it."""
        super().connection_made(transport)
        self.session = self._create_session()
        address = _plain_address(self.session.peer[0]) if self.session.peer else ""
        refusal = self._over_limit(address)
        if refusal and self.transport:
            self._gateway.events.emit("connection_refused", client=address, reply=refusal)
            self.transport.write(refusal.wire())
            self.transport.close()
            return
        self._admitted = True
        self._counted = address
        self._gateway.join(address)
        self._gateway.sessions.add(self)
        self._set_rset_state()
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; what its client was acknowledged goes on by itself."""
        super().connection_lost(exc)
        if self._handler_coroutine:
            self._gateway.sessions.discard(self)
            self._gateway.leave(self._counted)
            self._handler_coroutine.cancel()

    def data_received(self, data: bytes) -> None:
        """Take input, unless the connection was refused."""
        if self._admitted:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """Go on answering, unless the connection was refused."""
        return self._admitted and super().eof_received()

    def drain(self) -> None:
        """Say goodbye to a client that is waiting between two transactions; others finish theirs first."""
        if self._idle and not self.in_transaction and self.transport is not None:
            self.transport.write(_SHUTTING_DOWN.wire())
            self.transport.close()

    def _over_limit(self, address: str) -> Reply | None:
        limits = self._gateway.config.limits
        if self._gateway.draining:
            return _SHUTTING_DOWN
        if self._gateway.worker_counters.connections >= limits.max_connections:
            return Reply.of(421, "4.3.2 Too many connections; try again later")
        # A load balancer's own address stands for all the clients behind it.
        if self._gateway.config.is_proxy(address):
            return None
        return self._over_client_limit(address)

    def _over_client_limit(self, address: str) -> Reply | None:
        if (
            self._gateway.worker_counters.connections_of(address)
            >= self._gateway.config.limits.max_connections_per_client
        ):
            return Reply.of(421, "4.7.0 Too many connections from your address; try again later")
        return None

    def _create_session(self) -> SMTPSession:
        """A session in which nothing has been said yet."""
        session = super()._create_session()
        if self.transport:
            session.peer = self.transport.get_extra_info("peername")
            if self.encrypted:
                session.ssl = {name: self.transport.get_extra_info(name) for name in ("ssl_object", "cipher")}
        return session

    # Protocol

    async def _handle_client(self) -> None:
        try:
            if self._gateway.config.is_proxy(self._counted):
                await self._take_proxy_header()
            await self._say(Reply.of(220, f"{self.hostname} {self.__ident__}"))
            while self.transport is not None:
                await self._command()
        except ClosingError as closing:
            await self._last_words(closing.reply)
        except (ConnectionError, EOFError):
            pass
        except Exception:
            log.exception("session of %s", self._counted)
            await self._last_words(Reply.of(421, "4.3.0 Internal error; try again later"))
        finally:
            if self._promised:
                self._gateway.events.count(CLIENT_ANSWERS_LOST)
            self._set_rset_state()
            if self.transport is not None:
                self.transport.close()

    def _acknowledge(self, acknowledged: list[bytes]) -> None:
        """The next answer promises that a message arrives; what the client says after it shows that it got it."""
        self._promised = acknowledged
        self._asked_anew = not self.unread

    async def _take_proxy_header(self) -> None:
        """Learn from a load balancer who the client is (PROXY protocol, version 1 or 2)."""
        try:
            async with asyncio.timeout(PROXY_SECONDS):
                self._watch(PROXY_SECONDS)
                header = await get_proxy(self)
        except TimeoutError:
            raise ClosingError(Reply.of(421, "4.4.2 No PROXY header in time")) from None
        if not header.valid:
            raise ClosingError(Reply.of(421, "4.7.0 A PROXY header must come first"))
        self.session.proxy_data = header
        # A check of the balancer's own (LOCAL), or of a kind of address that we do not know (UNKNOWN).
        if header.src_addr is None or header.command == 0 or not str(header.src_addr):
            return
        try:
            address = _plain_address(str(ipaddress.ip_address(str(header.src_addr))))
        except ValueError:
            raise ClosingError(Reply.of(421, "4.7.0 A PROXY header must come first")) from None
        refusal = self._over_client_limit(address)
        if refusal:
            raise ClosingError(refusal)
        self._gateway.leave(self._counted)
        self._counted = address
        self._gateway.join(address)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """Encrypt after our 220, and begin anew: nothing that was said in the clear counts (RFC 3207 section 4.2)."""
        self._set_rset_state()
        try:
            await self.start_tls(context, Reply.of(220, "2.0.0 Go ahead").wire(), TLS_SECONDS)
        except OSError as error:
            self._gateway.events.emit("no_encryption", client=self._counted, reason=error)
            raise ConnectionError from None
        balancer = self.session.proxy_data
        self.session = self._create_session()
        self.session.proxy_data = balancer

    async def _command(self) -> None:
        """Read one command and do it."""
        if self._gateway.draining and not self.in_transaction:
            raise ClosingError(_SHUTTING_DOWN)
        line = await self._read_line()
        if self._promised and self._asked_anew:
            # It goes on, so it has got the answer to its message.
            self._gateway.confirm(self._promised)
            self._promised = []
        if line is None:
            await self._error(Reply.of(500, "5.5.2 Line too long"))
            return
        text = line[:-2]
        if not line.endswith(b"\r\n") or b"\r" in text or b"\0" in text:
            await self._error(Reply.of(500, "5.5.2 A command ends with CRLF and has no control characters"))
            return
        word, _space, rest = text.partition(b" ")
        method = self._smtp_methods.get(word.upper().decode("latin-1"))
        if method is None:
            await self._error(Reply.of(500, "5.5.2 Unknown command"))
            return
        try:
            # Whether UTF-8 may be there is for the addresses' grammar to say.
            argument = rest.strip().decode() or None
        except UnicodeDecodeError:
            await self._error(Reply.of(553, "5.6.7 Characters that are not UTF-8"))
            return
        try:
            await method(argument)
        except AddressError as error:
            await self._error(error.reply)
        except (ClosingError, ConnectionError, EOFError):
            raise
        except Exception:
            log.exception("%r from %s", word, self._counted)
            await self._say(INTERNAL)

    async def _read_line(self) -> bytes | None:
        """A line with its end, or None if it was too long (it is then read to its end, within reason)."""
        self._idle = True
        dropped = 0
        try:
            while True:
                try:
                    line = await self.line(self.command_size_limit, self._gateway.config.timeouts.command)
                except LineTooLongError:
                    dropped += self.drop_unread()
                    if dropped > MAX_LINE_OVERRUN:
                        raise ClosingError(Reply.of(421, "4.7.0 Line far too long")) from None
                    continue
                return None if dropped or len(line) > self.command_size_limit else line
        except TimeoutError:
            raise ClosingError(Reply.of(421, "4.4.2 No command in time")) from None
        finally:
            self._idle = False

    def _idle_talk(self) -> None:
        """Count a command that leads nowhere; too many without a message end the conversation."""
        self._talk += 1
        if self._talk > MAX_IDLE_TALK:
            raise ClosingError(Reply.of(421, "4.7.0 Too many commands without a message"))

    async def _say(self, reply: Reply) -> None:
        self.write(reply.wire())
        if self._writing_paused:
            await self.drained(self._gateway.config.timeouts.command)

    async def _last_words(self, reply: Reply) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._say(reply)

    async def _error(self, reply: Reply) -> None:
        """Answer a command that should not have been; too many of them end the conversation."""
        self._errors += 1
        if self._errors > self._gateway.config.limits.max_errors:
            raise ClosingError(Reply.of(421, "4.7.0 Too many errors"))
        await self._say(reply)

    @property
    def in_transaction(self) -> bool:
        """Whether the client has begun a transaction; the sender of a notice is empty, but there."""
        return self.envelope.mail_from is not None


def _plain_address(address: str) -> str:
    """A client's address without zone, and as IPv4 where it is one."""
    return address.partition("%")[0].removeprefix("::ffff:")

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side SMTP protocol: aiosmtpd's SMTP class with our own transport and its unsafe behaviour replaced.

Used from aiosmtpd: the settings, the state (session, envelope, and when each is reset), and the PROXY header.
Replaced: the transport (connection.py), the table of commands, and the loop that reads them. The text of an exception
is not sent, the end of input does not cancel acknowledged work, only CRLF ends a command, each stage has its own
timeout, connections and errors are limited, and no command of aiosmtpd is offered.

A command that need not wait is executed when it arrives. What has to wait is done by a task of its own, and until it
ends no further command is executed. A task for each connection would add a tenth to the work for a refused one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

from aiosmtpd.proxy_protocol import get_proxy
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as SMTPSession

from mailgate.admission import TIMEOUT, Visit
from mailgate.gateway import INTERNAL_ERROR, Gateway
from mailgate.message import new_id
from mailgate.network import plain_address
from mailgate.server.connection import Connection
from mailgate.server.receipts import Receipts
from mailgate.smtp import tcp
from mailgate.smtp.address import AddressError
from mailgate.smtp.reply import Reply

log = logging.getLogger("mailgate")

MAX_LINE_OVERRUN = 1_000_000
# Longer than any command.
MAX_VERB = 20
_COMMAND = "command_"
# What is refused by the reply to a message, in place of a command.
END_OF_DATA = "."
MAX_IDLE_COMMANDS = 100
# Idle commands and errors when places are short.
MAX_HURRIED_COMMANDS = 5
# For a client to read the last replies, and to read that it is closed early.
LINGER_SECONDS = 30
SHORT_LINGER_SECONDS = 1
PROXY_SECONDS = 10
TLS_SECONDS = 30
# How long the end of a session waits for TCP to acknowledge a reply that no command has confirmed.
ACKNOWLEDGE_SECONDS = 5
IDENT = "ESMTP mailgate"

_SHUTTING_DOWN = Reply.of(421, "4.3.2 Service shutting down; try again later")
_PROXY_REQUIRED = Reply.of(421, "4.7.0 PROXY header required")
_FAILED = Reply.of(421, "4.3.0 Internal error; try again later")


# The part of a command that has to wait; a task runs it.
Work = Callable[[], Awaitable[None]]


class ClosingError(Exception):
    """The connection is closed after this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class _NoHooks:
    """Handler without hooks: aiosmtpd searches its handler for handle_* and auth_* methods."""

    def __dir__(self) -> Iterable[str]:
        return ()


_NO_HOOKS = _NoHooks()
# Attributes of aiosmtpd's class that belong to one connection or one event loop.
_NOT_SHARED = frozenset(
    ("_client_connected_cb", "_closed", "_loop", "_smtp_methods", "_stream_reader_wr", "_strong_reader", "loop")
)


@lru_cache(maxsize=8)
def _greeting(hostname: str) -> Reply:
    """Return the greeting."""
    return Reply.of(220, f"{hostname} {IDENT}")


class Protocol(Connection, SMTP):
    """One client connection. Subclasses implement commands as methods command_*.

    Such a method takes the argument, None if there is none. It replies, and returns None or what is left to do.
    """

    # Attributes of SMTP with narrower types: they are not None while there is a connection.
    transport: asyncio.Transport | None
    session: SMTPSession
    envelope: Envelope
    hostname: str
    data_size_limit: int
    tls_context: ssl.SSLContext | None

    _prepared: ClassVar[bool] = False
    #: The method of each command.
    commands: ClassVar[Mapping[str, Callable[[Any, str | None], Work | None]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {name.removeprefix(_COMMAND): method for name, method in vars(cls).items() if name.startswith(_COMMAND)}
        cls.commands = dict(sorted({**cls.commands, **own}.items()))

    def __dir__(self) -> Iterable[str]:
        """Return the names in which aiosmtpd searches for commands and AUTH mechanisms; its own must not be found."""
        return ()

    def __init__(self, gateway: Gateway, *, checked: bool = False) -> None:
        """Serve a connection.

        Args:
            gateway: State of the worker.
            checked: `Gateway.refuse_connection` has let the client pass.
        """
        if not self._prepared:
            self._prepare()
        self.hostname = gateway.config.hostname
        self.data_size_limit = gateway.config.limits.max_message_bytes
        self.tls_context = gateway.encrypt
        Connection.__init__(self)
        self._gateway = gateway
        #: Id of the connection in events.
        self.id = new_id()
        # The last command, as far as the event of its refusal needs it.
        self._verb = ""
        # What is left to do of it, and the task that does this or what else has to wait.
        self._work: Work | None = None
        self._waiting: asyncio.Task[None] | None = None
        # Bytes of an overlong line that were discarded before its end.
        self._discarded = 0
        self._opened = self.loop.time()
        self._accepted_messages = 0
        self._refused_recipients = 0
        self._last_reply: Reply | None = None
        self._checked = checked
        # None if the connection was refused.
        self._visit: Visit | None = None
        #: How the client has spoken before its turn; condition `client_is` of rules.
        self.traits: set[str] = set()
        self._handshaking = False
        self._errors = 0
        self._idle_commands = 0
        # The session has ended, and its event is written.
        self._finished = False
        # Ends the connection if the client does not read the last replies.
        self._linger: asyncio.TimerHandle | None = None
        self._receipts = Receipts(gateway.reply_received, gateway.reply_lost)

    @classmethod
    def _prepare(cls) -> None:
        """Have the class hold what aiosmtpd's constructor sets, but for attributes of one connection or event loop.

        The constructor searches names and builds tables, which are the same for all connections; it would be a fifth
        of the work for a refused connection.
        """
        scratch = cls.__new__(cls)
        SMTP.__init__(scratch, _NO_HOOKS, hostname="-", ident=IDENT, loop=asyncio.get_running_loop())
        for name, value in vars(scratch).items():
            if name not in _NOT_SHARED:
                # A function must not become a method.
                setattr(cls, name, staticmethod(value) if callable(value) else value)
        cls._prepared = True

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse a connection that exceeds a limit, before any other work."""
        super().connection_made(transport)
        self.session = self._create_session()
        self.session.peer = transport.get_extra_info("peername")
        address = plain_address(self.session.peer[0]) if self.session.peer else ""
        refusal = self._check_limits(address)
        if refusal and self.transport:
            self._gateway.events.emit("connection_refused", id=self.id, client=address, reply=refusal)
            self.transport.write(refusal.wire())
            self.transport.close()
            return
        self._visit = self._gateway.admission.enter(address, self._close_early)
        self._gateway.sessions.add(self)
        self.envelope = self._create_envelope()
        if self._gateway.config.is_proxy(address) or self._gateway.config.limits.greet_delay:
            self._wait_for(self._admit)
        else:
            self._greet()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection; the delivery of a message continues."""
        self._receipts.ended(self.tcp_transport)
        super().connection_lost(exc)
        if self._linger:
            self._linger.cancel()
        if self._visit:
            self._gateway.sessions.discard(self)
            self._gateway.admission.leave(self._visit)
        if self._waiting:
            self._waiting.cancel()
            # Not within the task, which may not have begun.
            self._waiting.add_done_callback(self._finish)
        elif self._visit:
            self._finish()

    def eof_received(self) -> bool | None:
        """Keep the connection open for replies, unless it was refused."""
        self._receipts.client_closed(self.tcp_transport)
        return self._visit is not None and super().eof_received()

    def drain(self) -> None:
        """Close the connection if the client is idle between two transactions; others finish theirs first."""
        if self._listening and not self.in_transaction and self.transport is not None:
            self.transport.write(_SHUTTING_DOWN.wire())
            self.transport.close()

    def give_up(self) -> None:
        """Abandon the transaction of a client that has not ended it; a task that runs does so when it is cancelled."""
        if self._waiting is None:
            self._finish()

    def _check_limits(self, address: str) -> Reply | None:
        if self._gateway.draining:
            return _SHUTTING_DOWN
        gateway = self._gateway
        refusal = None if self._checked else gateway.refuse_connection(address)
        return refusal or gateway.admission.check_room(address)

    def _close_early(self, reply: Reply) -> None:
        """Close the connection now: its place is needed, or the client is too slow."""
        if self.transport is None:
            return
        self._gateway.events.emit("connection_closed", id=self.id, client=self._client_address, reply=reply)
        # Neither a client that does not read nor one that does not end TLS may delay it.
        if self.transport.get_write_buffer_size() or self.encrypted or self._handshaking:
            if not self._handshaking:
                self.transport.write(reply.wire())
            self.transport.abort()
            return
        self.transport.write(reply.wire())
        self._close_soon(self.transport, SHORT_LINGER_SECONDS)

    def _close_soon(self, transport: asyncio.Transport, seconds: float) -> None:
        """Close a connection, after `seconds` even if the client does not read what was sent."""
        transport.close()
        if transport.get_write_buffer_size():
            self._linger = self.loop.call_later(seconds, transport.abort)

    @property
    def _client_address(self) -> str:
        """The address under which the connection is counted."""
        return self._visit.address if self._visit else ""

    # Protocol

    def _wait_for(self, work: Work) -> None:
        """Do what has to wait, then read further commands."""
        self._waiting = self.loop.create_task(self._wait(work))

    async def _wait(self, work: Work) -> None:
        try:
            try:
                await work()
            except Exception as error:
                self._fail(error)
            if self._writing_paused:
                await self._drain()
        except Exception as error:
            self._waiting = None
            self._close(error)
        else:
            self._waiting = None
            self._read_commands()

    def _close(self, error: Exception) -> None:
        """End the session by what ends it."""
        if isinstance(error, ClosingError):
            self._final_reply(error.reply)
        elif not isinstance(error, ConnectionError | EOFError | TimeoutError):
            log.error("session of %s", self._client_address, exc_info=error)
            self._final_reply(_FAILED)
        if self._writing_paused or self._receipts.open:
            self._waiting = self.loop.create_task(self._close_later())
        else:
            self._finish()
            self._end()

    async def _close_later(self) -> None:
        """End the session once the client has read the last replies, or has not for some time."""
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._drain()
            self._finish()
            if self._receipts.open:
                await self._receipts.wait(self.tcp_transport, ACKNOWLEDGE_SECONDS)
        finally:
            self._end()

    def _finish(self, _task: object = None) -> None:
        """Abandon the transaction and log the connection, once."""
        if not self._finished:
            self._finished = True
            self._set_rset_state()
            self._emit_connection()

    def _emit_connection(self) -> None:
        """Log the connection at its end."""
        self._gateway.events.emit(
            "connection",
            id=self.id,
            client=self._client_address,
            helo=self.session.host_name or None,
            tls=True if self.session.ssl else None,
            messages=self._accepted_messages,
            refused=self._refused_recipients,
            errors=self._errors,
            reply=self._last_reply,
            seconds=round(self.loop.time() - self._opened, 3),
        )

    def _end(self) -> None:
        """Close the transport at the end of the session."""
        if self.transport is None:
            return
        if self.transport.is_closing() and self._visit:
            # asyncio does not report a connection that was lost during a TLS handshake.
            self._gateway.sessions.discard(self)
            self._gateway.admission.leave(self._visit)
        self._close_soon(self.transport, LINGER_SECONDS)

    def _set_waiting(self, *, waiting: bool) -> None:
        """Note whether the gateway waits for the client, or the client for the gateway."""
        if self._visit is None:
            return
        if waiting:
            self._gateway.admission.wait(self._visit)
        else:
            self._gateway.admission.serve(self._visit)

    @property
    def _hurried(self) -> bool:
        """Whether the client must be quick: places are short, and it has sent no message."""
        return self._visit is not None and self._gateway.admission.hurries(self._visit)

    async def _accept_message(self, reply: Reply, acknowledged: tuple[bytes, ...]) -> None:
        """Send the positive reply to a message, with its keys in the duplicate log."""
        self._accepted_messages += 1
        self._receipts.expect(acknowledged, pipelined=self.unread)
        closed = self._eof
        if not closed and self.encrypted:
            # Not every event loop reports it under TLS.
            known = tcp.acknowledgment(self.tcp_transport)
            closed = known is not None and known.half_closed
        self._reply(reply)
        await self._drain()
        encrypted = self.transport if self.encrypted else None
        self._receipts.sent(self.tcp_transport, closed=closed, encrypted=encrypted)

    async def _read_proxy_header(self) -> None:
        """Take the client's address from the header of a load balancer (PROXY protocol, version 1 or 2)."""
        try:
            async with asyncio.timeout(PROXY_SECONDS):
                self._set_timeout(PROXY_SECONDS)
                header = await get_proxy(self)
        except TimeoutError:
            raise ClosingError(Reply.of(421, "4.4.2 Timeout exceeded: no PROXY header")) from None
        if not header.valid:
            raise ClosingError(_PROXY_REQUIRED)
        self.session.proxy_data = header
        # A health check of the load balancer (LOCAL), or an unknown address family (UNKNOWN).
        if header.src_addr is None or header.command == 0 or not str(header.src_addr):
            return
        try:
            address = plain_address(str(ipaddress.ip_address(str(header.src_addr))))
        except ValueError:
            raise ClosingError(_PROXY_REQUIRED) from None
        refusal = self._gateway.refuse_connection(address)
        if refusal:
            self._gateway.events.emit("connection_refused", id=self.id, client=address, reply=refusal)
            raise ClosingError(refusal)
        if self._visit:
            self._gateway.admission.rename(self._visit, address)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """Start TLS after the 220 reply and reset the session: nothing sent before counts (RFC 3207 section 4.2)."""
        self._set_rset_state()
        self._set_waiting(waiting=True)
        self._handshaking = True
        try:
            await self.start_tls(context, Reply.of(220, "2.0.0 Ready to start TLS").wire(), TLS_SECONDS)
        except OSError as error:
            self._gateway.events.emit("no_encryption", id=self.id, client=self._client_address, reason=error)
            raise ConnectionError from None
        finally:
            self._handshaking = False
            self._set_waiting(waiting=False)
        before, self.session = self.session, self._create_session()
        self.session.peer, self.session.proxy_data = before.peer, before.proxy_data
        if self.transport:
            self.session.ssl = {name: self.transport.get_extra_info(name) for name in ("ssl_object", "cipher")}

    async def _admit(self) -> None:
        """Greet a client that a load balancer has to name, or that may have to wait for the greeting."""
        if self._gateway.config.is_proxy(self._client_address):
            await self._read_proxy_header()
        await self._watch_for_early_talker()
        self._reply(_greeting(self.hostname))

    def _greet(self) -> None:
        try:
            self._reply(_greeting(self.hostname))
        except Exception as error:
            self._close(error)
        else:
            self.listen(self._gateway.config.timeouts.command)

    async def _watch_for_early_talker(self) -> None:
        """Delay the greeting for a client without history, if that is set, and note whether it waits for it."""
        gateway, visit = self._gateway, self._visit
        seconds = gateway.config.limits.greet_delay
        if not seconds or visit is None or gateway.admission.knows(visit) or self._hurried:
            return
        if not gateway.client_limits.is_exempt(visit.address) and await self.speaks_within(seconds):
            self._note_trait("early_talker")

    def _note_trait(self, trait: str) -> None:
        """Note for rules how the client speaks."""
        if trait not in self.traits:
            self.traits.add(trait)
            self._gateway.events.count(trait)
            self._gateway.events.emit(trait, id=self.id, client=self._client_address)

    def _note_pipelining(self) -> None:
        """Note input after a command that must be the last of a group of commands (RFC 2920 section 3.1)."""
        if self.unread:
            self._note_trait("pipelining")

    def _read_commands(self) -> None:
        """Execute commands as they arrive, until one has to wait."""
        if self.transport is None:
            return
        self._verb = ""
        if self._gateway.draining and not self.in_transaction:
            self._close(ClosingError(_SHUTTING_DOWN))
            return
        if self._visit:
            self._gateway.admission.wait(self._visit)
        self.listen(self._gateway.config.timeouts.command)

    def line_received(self, line: bytes) -> bool:
        """Execute a command, or begin it; return whether the next one may be executed at once."""
        if self._receipts.open:
            self._receipts.command(pipelined=self.unread)
        try:
            self._work = self._begin(line)
        except Exception as error:
            self._fail(error)
        if self._work:
            return False
        self._verb = ""
        if self._visit:
            self._gateway.admission.wait(self._visit)
        return not self._writing_paused and (not self._gateway.draining or self.in_transaction)

    def line_overrun(self) -> None:
        """Discard the beginning of an overlong line, within a limit."""
        self._discarded += self.discard_unread()
        if self._discarded > MAX_LINE_OVERRUN:
            raise ClosingError(Reply.of(421, "4.7.0 Line too long; closing connection"))

    def listening_ended(self, error: Exception | None) -> None:
        """Do what has to wait, or end the session."""
        if self._visit:
            self._gateway.admission.serve(self._visit)
        work, self._work = self._work, None
        if error:
            self._close(ClosingError(TIMEOUT) if isinstance(error, TimeoutError) else error)
        elif work or self._writing_paused:
            self._wait_for(work or self._drain)
        else:
            self._close(ClosingError(_SHUTTING_DOWN))

    def _begin(self, line: bytes) -> Work | None:
        """Execute a command; return what is left to do."""
        if self._discarded or len(line) > self.line_limit:
            self._discarded = 0
            self._error(Reply.of(500, "5.5.2 Line too long"))
            return None
        text = line[:-2]
        if not line.endswith(b"\r\n") or b"\r" in text or b"\0" in text:
            self._error(Reply.of(500, "5.5.2 Bare CR, bare LF or NUL not allowed in a command"))
            return None
        verb, _space, rest = text.partition(b" ")
        self._verb = verb[:MAX_VERB].upper().decode("latin-1")
        method = self.commands.get(self._verb)
        if method is None:
            self._error(Reply.of(500, "5.5.2 Command not recognized"))
            return None
        try:
            # The parser of addresses decides whether non-ASCII characters are allowed. A HELO name is not repeated.
            argument = rest.strip().decode(errors="replace" if self._verb in ("HELO", "EHLO") else "strict") or None
        except UnicodeDecodeError:
            self._error(Reply.of(553, "5.6.7 Bad UTF-8 syntax"))
            return None
        return method(self, argument)

    def _fail(self, error: Exception) -> None:
        """Reply to a command that has raised an error, or raise it if it ends the session."""
        if isinstance(error, ClosingError | ConnectionError | EOFError) or not self._verb:
            raise error
        if isinstance(error, AddressError):
            self._error(error.reply)
            return
        log.error("%r from %s", self._verb, self._client_address, exc_info=error)
        self._reply(INTERNAL_ERROR)

    def _count_idle_command(self) -> None:
        """Count a command outside of a transaction's progress; too many of them end the session."""
        self._idle_commands += 1
        if self._exceeds(self._idle_commands, MAX_IDLE_COMMANDS):
            raise ClosingError(Reply.of(421, "4.7.0 Too many commands without a mail transaction"))

    def _exceeds(self, number: int, limit: int) -> bool:
        """Return whether these are too many commands; fewer are allowed to clients that must be quick."""
        return number > limit or (number > MAX_HURRIED_COMMANDS and self._hurried)

    def _reply(self, reply: Reply) -> None:
        """Send a reply; raise ConnectionError. It is in the transport's buffer if the client does not read."""
        if reply.code >= 400:
            self._note_refusal(reply)
        self.write(reply.wire())

    def _note_refusal(self, reply: Reply) -> None:
        """Log the refusal of a command; those of recipients and messages have events of their own."""
        if self._verb == "RCPT":
            self._refused_recipients += 1
        elif self._verb != END_OF_DATA:
            self._emit_refusal(reply)

    def _emit_refusal(self, reply: Reply) -> None:
        """Log the refusal of a command."""
        self._gateway.events.emit(
            "command_refused",
            id=self.id,
            client=self._client_address,
            helo=self.session.host_name or None,
            sender=self.envelope.mail_from,
            command=self._verb,
            reply=reply,
        )

    async def _drain(self) -> None:
        """Wait until the client has read enough; raise TimeoutError or ConnectionError."""
        if self._writing_paused:
            self._set_waiting(waiting=True)
            await self.drain_writes(self._gateway.config.timeouts.command)
            self._set_waiting(waiting=False)

    def _final_reply(self, reply: Reply) -> None:
        if reply.code >= 400:
            self._last_reply = reply
            self._gateway.events.emit("connection_closed", id=self.id, client=self._client_address, reply=reply)
        with contextlib.suppress(ConnectionError):
            self.write(reply.wire())

    def _error(self, reply: Reply) -> None:
        """Reject a command; too many rejected commands end the session."""
        self._errors += 1
        if self._exceeds(self._errors, self._gateway.config.limits.max_errors):
            raise ClosingError(Reply.of(421, "4.7.0 Too many errors"))
        self._reply(reply)

    @property
    def in_transaction(self) -> bool:
        """Whether the client has sent MAIL; the null sender is an empty string, not None."""
        return self.envelope.mail_from is not None

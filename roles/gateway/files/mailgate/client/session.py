# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client session with a next hop: a transaction is opened at RCPT and receives its message later."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence

from mailgate.client.connection import ClientConnection, ClientConnectionError
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.data import stuff
from mailgate.smtp.envelope import Envelope, MessageVariant
from mailgate.smtp.reply import Reply

CHUNK_BYTES = 256 * 1024
QUIT_SECONDS = 5
_ANY = range(200, 400)
# Positive replies to commands of a transaction; others, as 220 or 221, answer something else.
_POSITIVE = range(250, 260)
# STARTTLS or AUTH required (RFC 3207, RFC 4954): about the session, not about a recipient or message.
_TLS_REQUIRED = 530

NO_EIGHT_BIT = Reply.of(554, "5.6.3 8BITMIME required but not offered by destination server")
NO_UTF8 = Reply.of(550, "5.6.7 SMTPUTF8 required but not offered by destination server")


class NextHopError(Exception):
    """The session ended: connection failed, no valid reply within the timeout, or a reply about the session.

    Attributes:
        broken: The server sent what cannot be the reply to the command; a new session may be better.
        encrypt: The server requires TLS, or authentication.
        doubtful: The whole message had been sent, so the next hop may have accepted it (RFC 1047).
        timed_out: A timeout expired.
        refusal: The reply that refused the session at the greeting or at HELO.
    """

    def __init__(
        self,
        text: str,
        *,
        doubtful: bool = False,
        timed_out: bool = False,
        broken: bool = False,
        encrypt: bool = False,
        refusal: Reply | None = None,
    ) -> None:
        super().__init__(text)
        self.broken = broken
        self.encrypt = encrypt
        self.doubtful = doubtful
        self.timed_out = timed_out
        self.refusal = refusal


class StartTlsError(NextHopError):
    """The server offers STARTTLS but the handshake failed."""


class ClientSession:
    """An open session; every method raises NextHopError if the session ends.

    The host name that the server gives in its greeting and its reply to EHLO is not checked.

    Attributes:
        transactions: Number of transactions begun.
        dirty: The last transaction is still open.
    """

    def __init__(self, connection: ClientConnection, hop: NextHop, *, command_seconds: float) -> None:
        self._connection = connection
        self._command_seconds = command_seconds
        # Commands whose reply has not been read.
        self._outstanding = 0
        self.hop = hop
        self.name = f"[{hop.address}]:{hop.port}"
        self.extensions: dict[str, str] = {}
        self.encrypted = False
        self.transactions = 0
        self.dirty = False
        self.opened = asyncio.get_running_loop().time()

    @classmethod
    async def open(
        cls,
        hop: NextHop,
        *,
        helo: str,
        connect_seconds: float,
        command_seconds: float,
        encrypt: ssl.SSLContext | None = None,
    ) -> ClientSession:
        """Connect, wait for the greeting and send EHLO, or HELO if the server rejects EHLO.

        With `encrypt`, start TLS if the server offers it; the caller checks `encrypted`.
        """
        connection = ClientConnection()
        session = cls(connection, hop, command_seconds=command_seconds)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect_seconds):
                await loop.create_connection(lambda: connection, hop.address, hop.port)
        except TimeoutError:
            raise NextHopError(f"{session.name}: connect timed out after {connect_seconds} s", timed_out=True) from None
        except OSError as error:
            raise NextHopError(f"{session.name}: {error.strerror or error}") from error
        try:
            greeting = await session._read_reply(command_seconds, _ANY)
            if greeting.code != 220:
                raise NextHopError(
                    f"{session.name}: greeting {greeting}",
                    refusal=None if greeting.code < 400 else greeting,
                    broken=greeting.code < 400,
                )
            await session._hello(helo)
            if encrypt and "STARTTLS" in session.extensions:
                await session._start_tls(encrypt)
                await session._hello(helo)
        except BaseException:
            connection.abort()
            raise
        return session

    async def _hello(self, helo: str) -> None:
        self.extensions = {}
        reply = await self.command(f"EHLO {helo}")
        if reply.ok:
            for line in reply.lines[1:]:
                keyword, _space, value = line.partition(" ")
                self.extensions[keyword.upper()] = value
        else:
            reply = await self.command(f"HELO {helo}")
        if not reply.ok:
            raise NextHopError(f"{self.name}: HELO {reply}", refusal=reply)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        try:
            (reply,) = await self._commands(["STARTTLS"], positive=range(220, 221))
        except NextHopError as error:
            if error.broken:
                raise StartTlsError(str(error)) from error
            raise
        if reply.code != 220:
            raise StartTlsError(f"{self.name}: STARTTLS {reply}")
        try:
            await self._connection.start_tls(context, self._command_seconds)
        except ClientConnectionError as error:
            raise StartTlsError(f"{self.name}: {error}") from error
        self.encrypted = True

    @property
    def quiet(self) -> bool:
        """Whether the session is open and the server is waiting for a command."""
        return not self._outstanding and self._connection.quiet

    def unsupported(self, envelope: Envelope) -> Reply | None:
        """Return the refusal for an envelope that needs an extension the server does not offer, or None."""
        if envelope.utf8 and "SMTPUTF8" not in self.extensions and not envelope.sender.ascii:
            return NO_UTF8
        return None

    def accepts(self, envelope: Envelope, variant: MessageVariant) -> bool:
        """Return whether the message can be sent as it is: many clients declare 8BITMIME for every message."""
        return not envelope.eight_bit or "8BITMIME" in self.extensions or variant.ascii

    async def begin(self, envelope: Envelope, recipients: Sequence[Mailbox]) -> list[Reply]:
        """Begin a transaction; return the reply to MAIL and, if that was accepted, to each RCPT."""
        refusal = self.unsupported(envelope)
        if refusal:
            return [refusal]
        commands = ["RSET"] if self.dirty else []
        commands.append(self._mail_command(envelope))
        rcpt_commands = [self._rcpt_command(envelope, mailbox) for mailbox in recipients]
        sent = [command for command in rcpt_commands if command]
        self.transactions += 1
        self.dirty = True
        pipelining = "PIPELINING" in self.extensions
        if pipelining:
            replies = await self._commands([*commands, *sent])
        else:
            replies = [await self.command(command) for command in commands]
        if len(commands) > 1 and not (reset := replies.pop(0)).ok:
            raise NextHopError(f"{self.name}: RSET {reset}", broken=True)
        if not pipelining and replies[0].ok:
            replies += [await self.command(command) for command in sent]
        if not replies[0].ok:
            return replies[:1]
        remaining = iter(replies[1:])
        return [replies[0], *(next(remaining) if command else NO_UTF8 for command in rcpt_commands)]

    def _mail_command(self, envelope: Envelope) -> str:
        command = f"MAIL FROM:<{envelope.sender}>"
        if envelope.size and "SIZE" in self.extensions:
            command += f" SIZE={envelope.size}"
        if envelope.eight_bit and "8BITMIME" in self.extensions:
            command += " BODY=8BITMIME"
        if envelope.utf8 and "SMTPUTF8" in self.extensions:
            command += " SMTPUTF8"
        if envelope.dsn and "DSN" in self.extensions:
            command += f" {envelope.dsn}"
        return command

    def _rcpt_command(self, envelope: Envelope, recipient: Mailbox) -> str:
        """Return the RCPT command, or "" if the server does not support the address."""
        if not recipient.ascii and "SMTPUTF8" not in self.extensions:
            return ""
        notify = envelope.notify.get(recipient) if "DSN" in self.extensions else None
        return f"RCPT TO:<{recipient}> {notify}" if notify else f"RCPT TO:<{recipient}>"

    async def rcpt(self, envelope: Envelope, recipient: Mailbox) -> Reply:
        """Add one recipient to the open transaction."""
        command = self._rcpt_command(envelope, recipient)
        return await self.command(command) if command else NO_UTF8

    async def data(self, pieces: Iterable[bytes], seconds: float) -> Reply:
        """Send the message within `seconds`; return the reply to it, or to DATA if that was refused.

        Each piece begins at the start of a line, the last one ends with CRLF.
        """
        sent = False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            (reply,) = await self._commands(["DATA"], range(354, 355), min(seconds, self._command_seconds))
            if reply.code != 354:
                return reply
            stuffed = [stuff(piece) for piece in pieces]
            self._outstanding += 1
            if sum(map(len, stuffed)) <= CHUNK_BYTES:
                sent = True
                self._connection.write(b"".join((*stuffed, b".\r\n")))
            else:
                async with asyncio.timeout_at(deadline):
                    await self._write_chunks(stuffed)
                    # The loop receives what the server has sent before the end of the message.
                    await asyncio.sleep(0)
                self._connection.check_silent()
                sent = True
                self._connection.write(b".\r\n")
            # Replies have a timer of their own, so a small message needs no other.
            reply = await self._read_reply(deadline - loop.time(), _POSITIVE)
            self._connection.check_answered()
            self._outstanding -= 1
        except TimeoutError:
            raise self._too_late(seconds) from None
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", doubtful=sent, broken=error.broken) from error
        except NextHopError as error:
            if sent and error.timed_out:
                raise self._too_late(seconds, doubtful=True) from None
            error.doubtful = sent
            raise
        self.dirty = False
        return reply

    def _too_late(self, seconds: float, *, doubtful: bool = False) -> NextHopError:
        text = f"{self.name}: timed out: no reply to the message within {seconds:.0f} s"
        return NextHopError(text, doubtful=doubtful, timed_out=True)

    async def _write_chunks(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), CHUNK_BYTES):
                self._connection.write(view[start : start + CHUNK_BYTES])
                await self._connection.drain()
                self._connection.check_silent()

    async def quit(self) -> None:
        """Send QUIT and close, within a few seconds; never raises."""
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await self._commands(["QUIT"], _ANY)
        except (NextHopError, TimeoutError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close immediately."""
        self._connection.abort()

    async def command(self, line: str) -> Reply:
        """Send one command; return its reply."""
        return (await self._commands([line]))[0]

    async def _commands(
        self, lines: Sequence[str], positive: range = _POSITIVE, seconds: float | None = None
    ) -> list[Reply]:
        """Send commands and return their replies; `positive` are the valid positive codes."""
        seconds = self._command_seconds if seconds is None else seconds
        try:
            self._connection.check_silent()
            self._connection.write("".join(f"{line}\r\n" for line in lines).encode())
            self._outstanding += len(lines)
            replies = []
            for _line in lines:
                replies.append(await self._read_reply(seconds, positive))
                self._outstanding -= 1
            self._connection.check_answered()
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", timed_out=error.timed_out, broken=error.broken) from error
        return replies

    async def _read_reply(self, seconds: float, positive: range) -> Reply:
        """Return the next reply, if it can be the reply to what was sent; raise NextHopError otherwise."""
        try:
            reply = await self._connection.read_reply(seconds)
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", timed_out=error.timed_out, broken=error.broken) from error
        if reply.code == 421:
            raise NextHopError(f"{self.name}: {reply}")
        if reply.code == _TLS_REQUIRED:
            raise NextHopError(f"{self.name}: {reply}", encrypt=True, refusal=reply)
        if reply.code < 400 and reply.code not in positive:
            raise NextHopError(f"{self.name}: unexpected reply {reply}", broken=True)
        return reply

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

NO_EIGHT_BIT = Reply.of(554, "5.6.3 8BITMIME required but not offered by destination server")
NO_UTF8 = Reply.of(550, "5.6.7 SMTPUTF8 required but not offered by destination server")


class NextHopError(Exception):
    """The session ended: connection failed, no valid reply within the timeout, or reply 421.

    Attributes:
        doubtful: The whole message had been sent, so the next hop may have accepted it (RFC 1047).
        timed_out: A timeout expired.
        refusal: The reply that refused the session at the greeting or at HELO.
    """

    def __init__(
        self, text: str, *, doubtful: bool = False, timed_out: bool = False, refusal: Reply | None = None
    ) -> None:
        super().__init__(text)
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
            greeting = await session._read_reply(command_seconds)
            if not greeting.ok:
                raise NextHopError(f"{session.name}: greeting {greeting}", refusal=greeting)
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
        reply = await self.command("STARTTLS")
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
        if "PIPELINING" in self.extensions:
            replies = await self._commands([*commands, *sent])
            replies = replies[len(commands) - 1 :]
        else:
            for command in commands:
                replies = [await self.command(command)]
            if replies[0].ok:
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
        try:
            async with asyncio.timeout(seconds):
                (reply,) = await self._commands(["DATA"])
                if reply.code != 354:
                    if reply.ok:
                        raise NextHopError(f"{self.name}: unexpected reply to DATA: {reply}")
                    return reply
                stuffed = [stuff(piece) for piece in pieces]
                self._outstanding += 1
                if sum(map(len, stuffed)) <= CHUNK_BYTES:
                    sent = True
                    self._connection.write(b"".join((*stuffed, b".\r\n")))
                else:
                    await self._write_chunks(stuffed)
                    sent = True
                    self._connection.write(b".\r\n")
                reply = await self._read_reply(seconds)
                self._outstanding -= 1
        except TimeoutError:
            raise NextHopError(
                f"{self.name}: timed out: no reply to the message within {seconds:.0f} s", doubtful=sent, timed_out=True
            ) from None
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", doubtful=sent) from error
        except NextHopError as error:
            raise NextHopError(str(error), doubtful=sent, timed_out=error.timed_out) from error
        self.dirty = False
        return reply

    async def _write_chunks(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), CHUNK_BYTES):
                self._connection.write(view[start : start + CHUNK_BYTES])
                await self._connection.drain()

    async def quit(self) -> None:
        """Send QUIT and close, within a few seconds; never raises."""
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await self.command("QUIT")
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

    async def _commands(self, lines: Sequence[str]) -> list[Reply]:
        try:
            self._connection.write("".join(f"{line}\r\n" for line in lines).encode())
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}") from error
        self._outstanding += len(lines)
        replies = []
        for _line in lines:
            replies.append(await self._read_reply(self._command_seconds))
            self._outstanding -= 1
        return replies

    async def _read_reply(self, seconds: float) -> Reply:
        try:
            reply = await self._connection.read_reply(seconds)
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", timed_out=error.timed_out) from error
        if reply.code == 421:
            raise NextHopError(f"{self.name}: {reply}")
        return reply

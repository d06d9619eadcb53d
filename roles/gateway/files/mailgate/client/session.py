# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One SMTP session to a next hop, as a client: the transaction is opened at RCPT and gets its message later."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence

from mailgate.client.connection import ClientConnection, ClientConnectionError
from mailgate.routes import NextHop
from mailgate.smtp.address import Mailbox
from mailgate.smtp.data import stuff
from mailgate.smtp.envelope import Envelope
from mailgate.smtp.reply import Reply

CHUNK = 256 * 1024
QUIT_SECONDS = 5

NO_EIGHT_BIT = Reply.of(550, "5.6.3 The recipient's server does not take 8-bit messages")
NO_UTF8 = Reply.of(550, "5.6.7 The recipient's server does not take addresses or headers in UTF-8")


class NextHopError(Exception):
    """The session is over: no connection, no or no proper answer in time, or 421.

    `doubtful` is set when the whole message had been sent, so that it may have been accepted (RFC 1047); `late` when
    the server was waited for in vain; `refusal` is what it said in place of a greeting.
    """

    def __init__(self, text: str, *, doubtful: bool = False, late: bool = False, refusal: Reply | None = None) -> None:
        super().__init__(text)
        self.doubtful = doubtful
        self.late = late
        self.refusal = refusal


class ClientSession:
    """An open session; every method raises NextHopError when it ends before its time.

    What the server calls itself in its banner and in its answer to EHLO is of no violation. `used` is the number of
    transactions begun, `dirty` whether the last one is still open.
    """

    def __init__(self, wire: ClientConnection, hop: NextHop, *, command_seconds: float) -> None:
        self._wire = wire
        self._seconds = command_seconds
        self.hop = hop
        self.name = f"[{hop.address}]:{hop.port}"
        self.extensions: dict[str, str] = {}
        self.encrypted = False
        self.used = 0
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
        """Connect, wait for the banner and say EHLO, or HELO to a server that knows no EHLO.

        With `encrypt`, STARTTLS where it is offered; whether that is enough is the caller's to judge.
        """
        wire = ClientConnection()
        session = cls(wire, hop, command_seconds=command_seconds)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect_seconds):
                await loop.create_connection(lambda: wire, hop.address, hop.port)
        except TimeoutError:
            raise NextHopError(f"{session.name}: no connection within {connect_seconds} s", late=True) from None
        except OSError as error:
            raise NextHopError(f"{session.name}: {error.strerror or error}") from error
        try:
            banner = await session._reply(command_seconds)
            if not banner.ok:
                raise NextHopError(f"{session.name}: banner {banner}", refusal=banner)
            await session._hello(helo)
            if encrypt and "STARTTLS" in session.extensions:
                await session._start_tls(encrypt)
                await session._hello(helo)
        except BaseException:
            wire.abort()
            raise
        return session

    async def _hello(self, helo: str) -> None:
        self.extensions = {}
        hello = await self.command(f"EHLO {helo}")
        if hello.ok:
            for line in hello.lines[1:]:
                keyword, _space, value = line.partition(" ")
                self.extensions[keyword.upper()] = value
        else:
            hello = await self.command(f"HELO {helo}")
        if not hello.ok:
            raise NextHopError(f"{self.name}: HELO {hello}", refusal=hello)

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        reply = await self.command("STARTTLS")
        if reply.code != 220:
            raise EncryptionError(f"{self.name}: STARTTLS {reply}")
        try:
            await self._wire.start_tls(context, self._seconds)
        except ClientConnectionError as error:
            raise EncryptionError(f"{self.name}: {error}") from error
        self.encrypted = True

    @property
    def quiet(self) -> bool:
        """Whether the session is open and the server waits for a command."""
        return self._wire.quiet

    def unfit(self, envelope: Envelope) -> Reply | None:
        """Why the server cannot take such a transaction, known before it is asked."""
        if envelope.eight_bit and "8BITMIME" not in self.extensions:
            return NO_EIGHT_BIT
        if "SMTPUTF8" not in self.extensions and not envelope.sender.ascii:
            return NO_UTF8
        return None

    async def begin(self, envelope: Envelope, recipients: Sequence[Mailbox]) -> list[Reply]:
        """Begin a transaction; the replies to MAIL and, if that was accepted, to each recipient."""
        refusal = self.unfit(envelope)
        if refusal:
            return [refusal]
        commands = ["RSET"] if self.dirty else []
        commands.append(self._mail(envelope))
        named = [(mailbox, self._rcpt(envelope, mailbox)) for mailbox in recipients]
        lines = [line for _mailbox, line in named if line]
        self.used += 1
        self.dirty = True
        if "PIPELINING" in self.extensions:
            replies = await self._commands([*commands, *lines])
            replies = replies[len(commands) - 1 :]
        else:
            for command in commands:
                replies = [await self.command(command)]
            if replies[0].ok:
                replies += [await self.command(line) for line in lines]
        if not replies[0].ok:
            return replies[:1]
        answers = iter(replies[1:])
        return [replies[0], *(next(answers) if line else NO_UTF8 for _mailbox, line in named)]

    def _mail(self, envelope: Envelope) -> str:
        command = f"MAIL FROM:<{envelope.sender}>"
        if envelope.size and "SIZE" in self.extensions:
            command += f" SIZE={envelope.size}"
        if envelope.eight_bit:
            command += " BODY=8BITMIME"
        if envelope.utf8 and "SMTPUTF8" in self.extensions:
            command += " SMTPUTF8"
        if envelope.dsn and "DSN" in self.extensions:
            command += f" {envelope.dsn}"
        return command

    def _rcpt(self, envelope: Envelope, recipient: Mailbox) -> str:
        """The command, or "" for an address that the server cannot be told."""
        if not recipient.ascii and "SMTPUTF8" not in self.extensions:
            return ""
        notify = envelope.notify.get(recipient) if "DSN" in self.extensions else None
        return f"RCPT TO:<{recipient}> {notify}" if notify else f"RCPT TO:<{recipient}>"

    async def rcpt(self, envelope: Envelope, recipient: Mailbox) -> Reply:
        """Name one more recipient."""
        line = self._rcpt(envelope, recipient)
        return await self.command(line) if line else NO_UTF8

    async def data(self, pieces: Iterable[bytes], seconds: float) -> Reply:
        """Send the message; each piece begins at the start of a line, the last one ends with CRLF.

        The reply is to the message, or to DATA if that was refused. All of it has `seconds`.
        """
        sent = False
        try:
            async with asyncio.timeout(seconds):
                (go,) = await self._commands(["DATA"])
                if go.code != 354:
                    if go.ok:
                        raise NextHopError(f"{self.name}: answered {go} to DATA")
                    return go
                stuffed = [stuff(piece) for piece in pieces]
                if sum(map(len, stuffed)) <= CHUNK:
                    sent = True
                    self._wire.write(b"".join((*stuffed, b".\r\n")))
                else:
                    for piece in stuffed:
                        view = memoryview(piece)
                        for start in range(0, len(view), CHUNK):
                            self._wire.write(view[start : start + CHUNK])
                            await self._wire.drained()
                    sent = True
                    self._wire.write(b".\r\n")
                reply = await self._reply(seconds)
        except TimeoutError:
            raise NextHopError(
                f"{self.name}: message not answered within {seconds:.0f} s", doubtful=sent, late=True
            ) from None
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", doubtful=sent) from error
        except NextHopError as error:
            raise NextHopError(str(error), doubtful=sent, late=error.late) from error
        self.dirty = False
        return reply

    async def quit(self) -> None:
        """Say goodbye and close, in a few seconds at most; never raises."""
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await self.command("QUIT")
        except (NextHopError, TimeoutError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._wire.abort()

    async def command(self, line: str) -> Reply:
        """Say one line; the reply to it."""
        return (await self._commands([line]))[0]

    async def _commands(self, lines: Sequence[str]) -> list[Reply]:
        try:
            self._wire.write("".join(f"{line}\r\n" for line in lines).encode())
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}") from error
        return [await self._reply(self._seconds) for _line in lines]

    async def _reply(self, seconds: float) -> Reply:
        try:
            reply = await self._wire.reply(seconds)
        except ClientConnectionError as error:
            raise NextHopError(f"{self.name}: {error}", late=error.late) from error
        if reply.code == 421:
            raise NextHopError(f"{self.name}: {reply}")
        return reply


class EncryptionError(NextHopError):
    """The server offers STARTTLS and does not manage it."""

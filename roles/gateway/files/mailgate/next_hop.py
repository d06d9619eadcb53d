# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One SMTP session to a next hop, as a client: the transaction is opened at RCPT and gets its message later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from mailgate.address import Mailbox
from mailgate.message import stuff
from mailgate.reply import Reply

CHUNK = 256 * 1024
MAX_LINES = 100
QUIT_SECONDS = 5

_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?")


class HopError(Exception):
    """The session is over: no connection, no or no proper answer in time, or 421.

    `doubtful` is set when the whole message had been sent, so that it may have been accepted (RFC 1047).
    """

    def __init__(self, text: str, *, doubtful: bool = False) -> None:
        super().__init__(text)
        self.doubtful = doubtful


class HopSession:
    """An open session; every method raises HopError when it ends before its time.

    What the server calls itself in its banner and in its answer to EHLO is of no concern.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, name: str, command_seconds: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._seconds = command_seconds
        self.name = name
        self.extensions: dict[str, str] = {}

    @classmethod
    async def open(
        cls, host: str, port: int, *, helo: str, connect_seconds: float, command_seconds: float
    ) -> HopSession:
        """Connect, wait for the banner and say EHLO, or HELO to a server that knows no EHLO."""
        name = f"[{host}]:{port}"
        try:
            async with asyncio.timeout(connect_seconds):
                reader, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            raise HopError(f"{name}: no connection within {connect_seconds} s") from None
        except OSError as error:
            raise HopError(f"{name}: {error.strerror or error}") from error
        session = cls(reader, writer, name=name, command_seconds=command_seconds)
        try:
            banner = await session._reply(command_seconds)
            if not banner.ok:
                raise HopError(f"{name}: banner {banner}")
            hello = await session._command(f"EHLO {helo}")
            if hello.ok:
                for line in hello.lines[1:]:
                    keyword, _space, value = line.partition(" ")
                    session.extensions[keyword.upper()] = value
            else:
                hello = await session._command(f"HELO {helo}")
            if not hello.ok:
                raise HopError(f"{name}: HELO {hello}")
        except BaseException:
            writer.transport.abort()
            raise
        return session

    async def mail(self, sender: Mailbox, *, size: int, eight_bit: bool) -> Reply:
        """Begin a transaction; `size` in octets, 0 when not known."""
        command = f"MAIL FROM:<{sender}>"
        if size and "SIZE" in self.extensions:
            command += f" SIZE={size}"
        if eight_bit:
            if "8BITMIME" not in self.extensions:
                return Reply.of(550, "5.6.3 The recipient's server does not take 8-bit messages")
            command += " BODY=8BITMIME"
        return await self._command(command)

    async def rcpt(self, recipient: Mailbox) -> Reply:
        """Name a recipient."""
        return await self._command(f"RCPT TO:<{recipient}>")

    async def data(self, pieces: Iterable[bytes], seconds: float) -> Reply:
        """Send the message; each piece begins at the start of a line, the last one ends with CRLF.

        The reply is to the message, or to DATA if that was refused. All of it has `seconds`.
        """
        sent = False
        try:
            async with asyncio.timeout(seconds):
                go = await self._command("DATA")
                if go.code != 354:
                    if go.ok:
                        raise HopError(f"{self.name}: answered {go} to DATA")
                    return go
                for piece in pieces:
                    view = memoryview(stuff(piece))
                    for start in range(0, len(view), CHUNK):
                        self._writer.write(view[start : start + CHUNK])
                        await self._writer.drain()
                sent = True
                self._writer.write(b".\r\n")
                return await self._reply(seconds)
        except TimeoutError:
            raise HopError(f"{self.name}: message not answered within {seconds:.0f} s", doubtful=sent) from None
        except OSError as error:
            raise HopError(f"{self.name}: {error}", doubtful=sent) from error
        except HopError as error:
            raise HopError(str(error), doubtful=sent) from error

    async def quit(self) -> None:
        """Say goodbye and close, in a few seconds at most; never raises."""
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await self._command("QUIT")
        except (HopError, TimeoutError):
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()

    async def _command(self, line: str) -> Reply:
        try:
            self._writer.write(line.encode("ascii") + b"\r\n")
            await self._writer.drain()
        except OSError as error:
            raise HopError(f"{self.name}: {error}") from error
        return await self._reply(self._seconds)

    async def _reply(self, seconds: float) -> Reply:
        try:
            async with asyncio.timeout(seconds):
                reply = await self._read_reply()
        except TimeoutError:
            raise HopError(f"{self.name}: no answer within {seconds:.0f} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise HopError(f"{self.name}: {error or type(error).__name__}") from error
        if reply.code == 421:
            raise HopError(f"{self.name}: {reply}")
        return reply

    async def _read_reply(self) -> Reply:
        lines: list[str] = []
        while len(lines) < MAX_LINES:
            octets = await self._reader.readline()
            if not octets.endswith(b"\n"):
                raise EOFError("connection closed by the server")
            text = octets.decode("ascii", "replace").rstrip("\r\n")
            match = _LINE.fullmatch(text)
            if not match:
                raise ValueError(f"answered {text[:100]!r}")
            code, more, rest = match.groups()
            lines.append("".join(c if c.isprintable() and c.isascii() else "?" for c in rest or "")[:500])
            if more != "-":
                return Reply(int(code), tuple(lines))
        raise ValueError("endless answer")

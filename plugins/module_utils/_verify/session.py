# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An SMTP client session on asyncio, for commands of any form; it never sends DATA."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass

_LINES = 200
_LINE = 8192
_REPLY = re.compile(rb"(\d{3})([ -]?)(.*)", re.DOTALL)
_QUIT_SECONDS = 2.0
_FORBIDDEN = re.compile(r"\s*(DATA|BDAT)\b", re.IGNORECASE)


class SessionError(Exception):
    """The session cannot go on; the message says why."""


class SilentError(SessionError):
    """The server does not reply in time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its code and its lines."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the lines as one."""
        return " ".join(" ".join(self.lines).split())

    @property
    def positive(self) -> bool:
        """Return whether the command was accepted."""
        return 200 <= self.code < 300


class Session:
    """A session after the greeting."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float) -> None:
        """Use a connection; wait `timeout` seconds for each reply."""
        self._reader, self._writer, self._timeout = reader, writer, timeout

    @classmethod
    async def connect(cls, address: str, port: int, connect_seconds: float, reply_seconds: float) -> Session:
        """Connect to a server.

        Raises:
            OSError: It cannot be reached; TimeoutError: it did not answer.
        """
        async with asyncio.timeout(connect_seconds):
            reader, writer = await asyncio.open_connection(address, port, limit=_LINE)
        return cls(reader, writer, reply_seconds)

    @property
    def source(self) -> str:
        """Return the address of this end of the connection, "" if the connection was reset before it could be read."""
        name = self._writer.get_extra_info("sockname")
        return str(name[0]) if name else ""

    async def reply(self) -> Reply:
        """Return the next reply.

        Raises:
            SessionError: The server closed the connection, is silent or sent something else.
        """
        lines: list[str] = []
        try:
            async with asyncio.timeout(self._timeout):
                while len(lines) < _LINES:
                    line = await self._reader.readline()
                    if not line.endswith(b"\n"):
                        raise SessionError("the server closed the connection")
                    match = _REPLY.match(line.rstrip(b"\r\n"))
                    if not match:
                        raise SessionError(f"not a reply of SMTP: {line[:80]!r}")
                    lines.append(match[3].decode("utf-8", "replace"))
                    if match[2] != b"-":
                        return Reply(int(match[1]), tuple(lines))
        except TimeoutError:
            raise SilentError(f"no reply within {self._timeout:.0f} seconds") from None
        except ValueError:
            raise SessionError(f"a line of the reply is longer than {_LINE} bytes") from None
        except OSError as error:
            raise SessionError(error.strerror or str(error) or type(error).__name__) from error
        raise SessionError(f"the reply has more than {_LINES} lines")

    async def command(self, text: str) -> Reply:
        """Send a command and return the reply.

        Raises:
            SessionError: There is no reply.
            ValueError: The command would begin a message, or is more than one line.
        """
        if _FORBIDDEN.match(text) or "\r" in text or "\n" in text:
            raise ValueError(f"not a command of a probe: {text[:40]!r}")
        try:
            self._writer.write(text.encode("utf-8") + b"\r\n")
            async with asyncio.timeout(self._timeout):
                await self._writer.drain()
        except TimeoutError:
            raise SessionError("the server does not read") from None
        except OSError as error:
            raise SessionError(error.strerror or str(error) or type(error).__name__) from error
        return await self.reply()

    async def ehlo(self, name: str) -> dict[str, str]:
        """Say EHLO, or HELO to a server without it; return the extensions with their parameters.

        Raises:
            SessionError: The server rejects both, or there is no reply.
        """
        reply = await self.command(f"EHLO {name}")
        if reply.positive:
            words = (line.partition(" ") for line in reply.lines[1:])
            return {keyword.upper(): parameters.strip() for keyword, _space, parameters in words}
        reply = await self.command(f"HELO {name}")
        if not reply.positive:
            raise SessionError(f"HELO is rejected: {reply.code} {reply.text}")
        return {}

    async def starttls(self, host: str) -> tuple[bytes, str]:
        """Encrypt the session with any certificate; return the certificate (DER) and the version of the protocol.

        Raises:
            SessionError: It is not encrypted.
        """
        reply = await self.command("STARTTLS")
        if reply.code != 220:
            raise SessionError(f"STARTTLS is rejected: {reply.code} {reply.text}")
        # The certificate is judged, not trusted.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.start_tls(context, server_hostname=host)
        except TimeoutError:
            raise SessionError("TLS: no answer in time") from None
        except (OSError, ValueError) as error:  # includes every error of ssl
            raise SessionError(f"TLS: {getattr(error, 'reason', '') or error or type(error).__name__}") from error
        connection = self._writer.get_extra_info("ssl_object")
        return connection.getpeercert(binary_form=True) or b"", connection.version() or ""

    async def quit(self) -> None:
        """Say QUIT and close the connection, also after an error."""
        with suppress(SessionError, OSError):
            self._timeout = min(self._timeout, _QUIT_SECONDS)
            await self.command("QUIT")
        self.close()

    def close(self) -> None:
        """Close the connection at once."""
        self._writer.close()

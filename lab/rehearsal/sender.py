# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sending mail server: follows the MX records that its resolver has, and returns the result of each attempt."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.resolver

from lab.rehearsal.account import ACCEPTED, DEFERRED, LOST_REPLY, REFUSED

PORT = 25
CONNECT_SECONDS = 10
REPLY_SECONDS = 120
#: Addresses, and servers that answer with a temporary error, which one attempt tries (Postfix: smtp_mx_address_limit,
#: smtp_mx_session_limit).
ADDRESSES, SESSIONS = 5, 2
LIMIT = 65536


@dataclass(frozen=True)
class Attempt:
    """Result of an attempt, with the last reply and the server that gave it."""

    result: str
    text: str


class _Reply(Exception):
    """A reply that ends the dialogue."""

    def __init__(self, stage: str, code: int, text: str) -> None:
        super().__init__(f"{stage}: {code} {text}")
        self.stage = stage
        self.code = code


async def dialogue(opened: socket.socket, address: str, name: str, envelope: tuple[str, str], text: bytes) -> Attempt:
    """Send one message over a new socket.

    Raises:
        _Reply: the server answered with a temporary error, or refused the connection as a whole.
        OSError: the connection could not be made, or broke before the final dot.
    """
    loop = asyncio.get_running_loop()
    opened.setblocking(False)
    dotted = False
    writer: asyncio.StreamWriter | None = None
    try:
        await asyncio.wait_for(loop.sock_connect(opened, (address, PORT)), CONNECT_SECONDS)
        reader, writer = await asyncio.open_connection(sock=opened, limit=LIMIT)
        write = writer.write

        async def command(stage: str, line: bytes, wanted: int) -> str:
            write(line)
            lines = []
            while True:
                raw = await asyncio.wait_for(reader.readuntil(b"\n"), REPLY_SECONDS)
                lines.append(raw[4:].decode(errors="replace").strip())
                if raw[3:4] != b"-":
                    break
            code = int(raw[:3])
            if code // 100 != wanted // 100:
                raise _Reply(stage, code, " ".join(lines))
            return f"{code} {lines[-1]}"

        await command("banner", b"", 220)
        await command("EHLO", f"EHLO {name}\r\n".encode(), 250)
        await command("MAIL", f"MAIL FROM:<{envelope[0]}>\r\n".encode(), 250)
        await command("RCPT", f"RCPT TO:<{envelope[1]}>\r\n".encode(), 250)
        await command("DATA", b"DATA\r\n", 354)
        dotted = True
        reply = await command("final dot", text + b".\r\n", 250)
        dotted = False
        write(b"QUIT\r\n")
        writer.close()
        return Attempt(ACCEPTED, reply)
    except (EOFError, OSError, ValueError) as error:  # TimeoutError is an OSError
        if dotted:
            return Attempt(LOST_REPLY, f"{address}: {error or type(error).__name__}")
        raise OSError(str(error) or type(error).__name__) from error
    finally:
        # The event loop still watches the socket of a transport, and closes it itself.
        if writer is None:
            opened.close()
        elif not writer.is_closing():
            writer.transport.abort()


async def to_one(opened: socket.socket, address: str, name: str, envelope: tuple[str, str], text: bytes) -> Attempt:
    """Send one message to one server, as a mail program does."""
    try:
        return await dialogue(opened, address, name, envelope, text)
    except _Reply as reply:
        return Attempt(REFUSED if reply.code >= 500 and reply.stage != "banner" else DEFERRED, f"{address}: {reply}")
    except OSError as error:
        return Attempt(DEFERRED, f"{address}: {error}")


class Exchanges:
    """Looks up where mail for a domain goes, at one resolver, which caches for the time that DNS says."""

    def __init__(self, resolver: str) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [resolver]
        self._resolver.lifetime = 15

    async def of(self, domain: str) -> Sequence[tuple[str, int]]:
        """Return addresses and families in the order in which they are tried (RFC 5321, section 5.1).

        Raises:
            dns.resolver.NXDOMAIN: the domain does not exist.
            dns.exception.DNSException: the resolver has no answer now.
        """
        try:
            found = [(rr.preference, rr.exchange.to_text()) for rr in await self._resolver.resolve(domain, "MX")]
        except dns.resolver.NoAnswer:
            found = [(0, domain)]
        random.shuffle(found)
        addresses: list[tuple[str, int]] = []
        for _, host in sorted(found, key=lambda each: each[0]):
            own: list[tuple[str, int]] = []
            for kind, family in (("A", socket.AF_INET), ("AAAA", socket.AF_INET6)):
                try:
                    own += [(rr.address, int(family)) for rr in await self._resolver.resolve(host, kind)]
                except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
                    continue
            random.shuffle(own)
            addresses += own
        return addresses

    async def send(self, domain: str, name: str, envelope: tuple[str, str], text: bytes) -> Attempt:
        """Make one attempt: the next address when a server cannot be reached, the next one also when it defers."""
        try:
            addresses = await self.of(domain)
        except dns.resolver.NXDOMAIN:
            return Attempt(REFUSED, "no such domain in DNS")
        except dns.exception.DNSException as error:
            return Attempt(DEFERRED, f"DNS: {error}")
        said = ["DNS: no address"]
        sessions = 0
        for address, family in addresses[:ADDRESSES]:
            try:
                return await dialogue(socket.socket(family), address, name, envelope, text)
            except _Reply as reply:
                if reply.code >= 500 and reply.stage != "banner":
                    return Attempt(REFUSED, f"{address}: {reply}")
                said.append(f"{address}: {reply}")
                sessions += 1
                if sessions == SESSIONS or reply.stage == "final dot":
                    break
            except OSError as error:
                said.append(f"{address}: {error}")
        return Attempt(DEFERRED, said[-1])

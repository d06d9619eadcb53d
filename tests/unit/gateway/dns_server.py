# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small DNS server on loopback, over UDP and TCP, whose records and faults are set per test."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import AsyncIterator

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsServer(asyncio.DatagramProtocol):
    """Answers by `records`: (name, type) to record texts. Names are complete, without the final dot."""

    def __init__(self) -> None:
        self.port = 0
        self.records: dict[tuple[str, str], list[str]] = {}
        #: Names, or suffixes of them, that get no reply or SERVFAIL.
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        #: Larger answers are truncated over UDP.
        self.max_datagram = 1232
        #: Bytes in place of each reply.
        self.garbage = b""
        self.asked: Counter[tuple[str, str]] = Counter()
        self.by_tcp = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self) -> None:
        self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))

    def stop(self) -> None:
        assert self._transport and self._tcp
        self._transport.close()
        self._tcp.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, kind: str, *texts: str) -> None:
        self.records[name, kind] = list(texts)

    def list_address(self, address: str, zone: str, *codes: str) -> None:
        self.add(".".join(reversed(address.split("."))) + "." + zone, "A", *codes)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport
        reply = self._reply(data)
        if reply is None:
            return
        if len(reply) > self.max_datagram:
            short = dns.message.make_response(dns.message.from_wire(data))
            short.flags |= dns.flags.TC
            reply = short.to_wire()
        self._transport.sendto(reply, addr)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.by_tcp += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            reply = self._reply(await reader.readexactly(size))
            if reply is not None:
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        writer.close()

    def _reply(self, data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        if any(name.endswith(suffix) for suffix in self.silent):
            return None
        if self.garbage:
            return self.garbage
        reply = dns.message.make_response(query, recursion_available=True)
        if any(name.endswith(suffix) for suffix in self.failing):
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif texts := self.records.get((name, kind)):
            reply.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", kind, texts))
        elif not any(known == name for known, _kind in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire(max_size=65535)


@contextlib.asynccontextmanager
async def serving_dns() -> AsyncIterator[DnsServer]:
    server = DnsServer()
    await server.start()
    try:
        yield server
    finally:
        server.stop()

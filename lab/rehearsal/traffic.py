# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Constant mail through a twin, as one process in the network namespace of the host outside.

Reads a job (JSON) from the first line of standard input, writes one event (JSON) a line to the job's file, and sends
until the second line. Each further line is answered with the messages that have not arrived; the end of standard input
ends the process.

Mail from outside is sent by MX records. An inner server gets mail at its loopback address, as from its own programs,
and routes it. The mailboxes are read on the disks of the twin.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.rehearsal.account import (
    ACCEPTED,
    ARRIVED,
    BOUNCED,
    DEFERRED,
    INSIDE,
    INWARD,
    LOST_REPLY,
    OUTSIDE,
    OUTWARD,
    REFUSED,
    SENT,
    TRIED,
)  # fmt: skip
from lab.rehearsal.mailboxes import Entry, Mailbox, classify, message_id
from lab.rehearsal.sender import Attempt, Exchanges, to_one

#: Seconds until a sender tries again; the last one is repeated. Mail servers wait for minutes, for which a rehearsal
#: has no time.
RETRY_SECONDS = (5, 10, 20, 30)
#: Of ten messages, in this order.
FLOWS = (INWARD, INWARD, INSIDE, INWARD, INWARD, INWARD, OUTWARD, INWARD, INSIDE, INWARD)
MAILBOX_SECONDS = 0.5
USERS = ("alice", "bob")
OUTSIDE_NAME = "outside.example"
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Server:
    """An inner server that sends mail."""

    short: str
    domain: str
    namespace: str
    #: Families of its addresses: 4, 6.
    families: Sequence[int] = (4, 6)


@dataclass(frozen=True)
class Job:
    """What is sent, and where the mailboxes are."""

    events: str
    rate: float
    #: Recipient domain by domain of the plan; they differ for a wildcard.
    domains: Mapping[str, str]
    #: Families of the addresses of each domain's home.
    families: Mapping[str, Sequence[int]]
    servers: Sequence[Server]
    #: Directory of the mailboxes of each host.
    mailboxes: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> Job:
        """Return a job from its JSON text."""
        fields = json.loads(text)
        return cls(**{**fields, "servers": [Server(**each) for each in fields["servers"]]})


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Make sockets in another network namespace meanwhile; nothing may be awaited there."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(handle: IO[bytes]) -> None:
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    with Path("/proc/self/ns/net").open("rb") as own, Path("/run/netns", namespace).open("rb") as other:
        enter(other)
        try:
            yield
        finally:
            enter(own)


def compose(number: int, sender: str, recipient: str) -> bytes:
    """Return a message as sent by SMTP."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    head = (f"Date: {date}", f"From: <{sender}>", f"To: <{recipient}>", f"Message-ID: <{message_id(number)}>",
            f"Subject: rehearsal {number}", "", "Text.", "")  # fmt: skip
    return "\r\n".join(head).encode()


class _Sink:
    """The mail server of the outside, as a handler of aiosmtpd."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Accept a message."""
        content = envelope.original_content or b""
        entry = classify(content.replace(b"\r\n", b"\n"))
        if entry:
            self._traffic.arrived(entry, OUTSIDE)
        return "250 2.0.0 OK"


class Traffic:
    """All senders and all mailboxes."""

    def __init__(self, job: Job, events: IO[str]) -> None:
        self.job = job
        self._file = events
        self._exchanges = Exchanges("127.0.0.1")
        self._mailboxes = {
            short: [Mailbox(Path(directory, user)) for user in USERS] for short, directory in job.mailboxes.items()
        }
        #: Messages without a copy, refusal or notice.
        self.open: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def event(self, number: int, kind: str, **fields: Any) -> None:
        """Write an event."""
        print(json.dumps({"time": time.time(), "number": number, "kind": kind, **fields}), file=self._file, flush=True)

    def arrived(self, entry: Entry, where: str) -> None:
        """Write that a message, or a notice about it, is in a mailbox."""
        self.open.discard(entry.number)
        if entry.bounce:
            self.event(entry.number, BOUNCED, where=where, text=entry.bounce)
        else:
            self.event(entry.number, ARRIVED, where=where)

    async def watch(self) -> None:
        """Read the mailboxes again and again."""
        while True:
            for short, boxes in self._mailboxes.items():
                for box in boxes:
                    for entry in box.read():
                        self.arrived(entry, short)
            await asyncio.sleep(MAILBOX_SECONDS)

    async def send(self, stop: asyncio.Event) -> None:
        """Send messages at the job's rate until `stop`."""
        domains = _cycle(list(self.job.domains))
        servers = _cycle(list(self.job.servers))
        due = time.monotonic()
        for number, flow in enumerate(itertools.cycle(FLOWS), 1):
            if stop.is_set():
                return
            server = None if flow == INWARD else next(servers)
            domain = OUTSIDE_NAME if flow == OUTWARD else next(domains)
            # Without the gateways, servers with IPv4 only and with IPv6 only cannot reach each other.
            while flow == INSIDE and server and not set(server.families) & set(self.job.families[domain]):
                domain = next(domains)
            task = asyncio.create_task(self._deliver(number, flow, server, domain))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due += 1 / self.job.rate
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))

    async def _deliver(self, number: int, flow: str, server: Server | None, domain: str) -> None:
        """Try to send one message until a server accepts it or refuses it for good."""
        # Every second recipient has an address that nobody has used before.
        user = USERS[number // 2 % len(USERS)] + (f"+{number}" if number % 2 else "")
        recipient = f"{user}@{self.job.domains.get(domain, domain)}"
        sender = f"stranger@{OUTSIDE_NAME}" if server is None else f"alice@{server.domain}"
        self.open.add(number)
        self.event(number, SENT, flow=flow, sender=server.short if server else OUTSIDE, domain=domain)
        text = compose(number, sender, recipient)
        for pause in itertools.chain(RETRY_SECONDS, itertools.repeat(RETRY_SECONDS[-1])):
            attempt = await self._attempt(server, (sender, recipient), text)
            self.event(number, TRIED, result=attempt.result, text=attempt.text)
            if attempt.result == REFUSED:
                self.open.discard(number)
            if attempt.result in (ACCEPTED, REFUSED):
                return
            assert attempt.result in (DEFERRED, LOST_REPLY)
            await asyncio.sleep(pause * (0.8 + number % 5 / 10))

    async def _attempt(self, server: Server | None, envelope: tuple[str, str], text: bytes) -> Attempt:
        if server is None:
            domain = envelope[1].rpartition("@")[2]
            return await self._exchanges.send(domain, OUTSIDE_NAME, envelope, text)
        try:
            with inside(server.namespace):
                opened = socket.socket(socket.AF_INET)
        except OSError as error:
            return Attempt(DEFERRED, f"{server.short} is off: {error}")
        return await to_one(opened, "127.0.0.1", "localhost", envelope, text)


def _cycle(values: Sequence[Any]) -> Iterator[Any]:
    """Yield the values for ever, each round in another order."""
    while values:
        yield from random.sample(values, len(values))


async def run(lines: asyncio.StreamReader) -> None:
    """Run the job of the first line: send until the second line or the end, then receive until the end."""
    job = Job.read((await lines.readline()).decode())
    loop = asyncio.get_running_loop()
    with Path(job.events).open("w", encoding="utf-8") as events:  # noqa: ASYNC230  the first line of the process
        traffic = Traffic(job, events)
        sinks = [
            await loop.create_server(
                lambda: SMTP(_Sink(traffic), hostname=OUTSIDE_NAME, enable_SMTPUTF8=True, data_size_limit=1 << 25),
                address, 25, family=family,
            )
            # All addresses, in a network namespace of its own.
            for address, family in (("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6))  # noqa: S104
        ]  # fmt: skip
        watching = asyncio.create_task(traffic.watch())
        stop = asyncio.Event()
        sending = asyncio.create_task(traffic.send(stop))
        print("started", flush=True)
        await lines.readline()
        stop.set()
        await sending
        while await lines.readline():
            print(json.dumps(sorted(traffic.open)), flush=True)
        watching.cancel()
        for sink in sinks:
            sink.close()


async def main() -> None:
    """Run with the standard input."""
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await run(reader)


if __name__ == "__main__":
    asyncio.run(main())

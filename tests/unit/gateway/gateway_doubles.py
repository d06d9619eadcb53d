# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway on loopback with its peers: next hops, a fake clamd, and a client that sends raw SMTP."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import sqlite3
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from fake_clamd import EICAR, FakeClamd

from mailgate.config import Config, Endpoint, Limits, Timeouts
from mailgate.delivery.verify_cache import VerificationCache
from mailgate.event_kinds import problems_of
from mailgate.events import Counters, Events
from mailgate.gateway import Gateway
from mailgate.routes import parse_routes
from mailgate.server.session import Session
from mailgate.smtp.address import Mailbox
from mailgate.state import EVENTS

__all__ = ["EICAR"]


# Seconds that a test waits for an event, and a gateway for its peers. This is no measure of speed: tests also run on
# slow and busy machines.
PATIENCE = 60


async def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; fail after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"the condition did not hold within {seconds} s"
        await asyncio.sleep(0.005)


@dataclass
class Received:
    """A transaction that a next hop has accepted."""

    sender: str
    recipients: list[str]
    content: bytes


def server_context(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def client_context(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate[0])
    context.check_hostname = False
    return context


class Hop:
    """An SMTP server whose replies are set per test; None as a reply closes the connection."""

    def __init__(self) -> None:
        self.port = 0
        self.banner: str | None = "220 mailhost"
        self.helo: str | None = "250 mailhost"
        self.ehlo = "250-mailhost\r\n250-8BITMIME\r\n250 SIZE 99999999"
        self.mail: str | None = "250 2.1.0 ok"
        # The reply to MAIL under TLS if it is another one.
        self.mail_encrypted: str | None = None
        self.reset = "250 ok"
        self.rcpt: Callable[[str], str | None] = lambda _: "250 2.1.5 ok"
        # In place of `rcpt`, a reply that depends on the sender, too.
        self.rcpt_from: Callable[[str, str], str | None] | None = None
        self.data: str | None = "354 go on"
        self.final: str | None = "250 2.0.0 taken"
        self.before_final: Callable[[], Awaitable[object]] | None = None
        self.received: list[Received] = []
        self.commands: list[str] = []
        self.connections = 0
        self.open = 0
        self.hang_ups = 0
        # Offers STARTTLS when set; `injected` is sent in plain text directly after the reply to it.
        self.encrypt: ssl.SSLContext | None = None
        self.injected = b""
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 26)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._talk(reader, writer)
        # Cancelled at the end of the event loop; asyncio before 3.12 reports a task that says so as an error.
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(text: str | None) -> None:
            if text is None:
                raise ConnectionError
            writer.write(text.encode() + b"\r\n")

        sender, recipients = "", []
        say(self.banner)
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode()
            self.commands.append(line)
            verb = line[:4].upper()
            if verb in ("EHLO", "HELO"):
                say(self.ehlo if verb == "EHLO" else self.helo)
            elif verb == "MAIL":
                sender, recipients = line.split("<")[1].split(">")[0], []
                self.hang_ups -= 1
                encrypted = writer.get_extra_info("ssl_object") is not None
                say(None if self.hang_ups >= 0 else (encrypted and self.mail_encrypted) or self.mail)
            elif verb == "RCPT":
                recipient = line.split("<")[1].split(">")[0]
                answer = self.rcpt_from(sender, recipient) if self.rcpt_from else self.rcpt(recipient)
                if answer and answer.startswith("2"):
                    recipients.append(recipient)
                say(answer)
            elif verb == "DATA":
                say(self.data)
                if not (self.data or "").startswith("354"):
                    continue
                stuffed = await reader.readuntil(b"\r\n.\r\n")
                content = re.sub(rb"(?m)^\.", b"", stuffed[:-3])
                if self.before_final:
                    await self.before_final()
                if (self.final or "").startswith("250"):
                    self.received.append(Received(sender, recipients, content))
                say(self.final)
            elif line == "STARTTLS" and self.encrypt:
                writer.write(b"220 go ahead\r\n" + self.injected)
                try:
                    await writer.start_tls(self.encrypt)
                except ssl.SSLError as error:
                    raise ConnectionError from error
            elif verb == "RSET":
                say(self.reset)
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


class LateTransport(asyncio.Transport):
    """A transport that sends at the end of the loop's iteration, as those of uvloop before 0.23 (Debian 12 and 13)."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self.inner = transport
        self.buffer = b""
        self.closed = False

    def get_extra_info(self, name, default=None):
        return self.inner.get_extra_info(name, default)

    def is_closing(self):
        return self.inner.is_closing()

    def get_write_buffer_size(self):
        return len(self.buffer)

    def write(self, data):
        self.buffer += data
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self):
        self.inner.write(self.buffer)
        self.buffer = b""
        if self.closed:
            self.inner.close()

    def close(self):
        self.closed = True
        if not self.buffer:
            self.inner.close()

    def abort(self):
        self.inner.abort()


class Client:
    """Sends lines and reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> str:
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), PATIENCE)).decode()
            if not line:
                raise EOFError("the gateway closed the connection")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, line: str | bytes) -> str:
        self.writer.write((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return await self.reply()

    async def hello(self) -> str:
        return await self.say("EHLO sender.example")

    async def start(self, *recipients: str, sender: str = "a@sender.example") -> list[str]:
        """Send MAIL and RCPT; return the replies to RCPT."""
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250")
        return [await self.say(f"RCPT TO:<{recipient}>") for recipient in recipients]

    async def send(self, content: bytes) -> str:
        assert (await self.say("DATA")).startswith("354"), "DATA refused"
        self.writer.write(content + b".\r\n")
        return await self.reply()


@dataclass
class Campus:
    """A running gateway with its peers: hops `a` and `b`, the queue, clamd."""

    gateway: Gateway
    port: int
    a: Hop
    b: Hop
    queue: Hop
    clamd: FakeClamd
    state: Path
    #: Where the gateway writes its events.
    output: Lines
    #: The clock of the verification cache.
    clock: Clock
    clients: list[Client] = field(default_factory=list)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events with this name."""
        lines = [json.loads(line) for line in self.output.text.splitlines()]
        return [line for line in lines if line["event"] == name]

    def recorded(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events in the files, those with this name or all."""
        directory = self.state / EVENTS
        files = sorted(directory.glob("*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line for line in lines if name in ("", line["event"])]

    def invalid_events(self) -> list[str]:
        """Return what is wrong with the events by their schema."""
        lines = [json.loads(line) for line in self.output.text.splitlines()]
        return [problem for event in (*lines, *self.recorded()) for problem in problems_of(event)]

    async def connect(self, *, hello: bool = True) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        assert (await client.reply()).startswith("220")
        if hello:
            await client.hello()
        return client

    def count(self, event: str) -> int:
        from mailgate.events import totals
        from mailgate.state import open_read_only

        self.gateway.counters.write()
        database = open_read_only(self.state / Counters.FILE)
        try:
            return totals(database, 0, time.time() + 60).get(event, 0)
        finally:
            database.close()


#: Timeouts that no peer exceeds by being slow. A test of a timeout has its own, which are short.
PATIENT = Timeouts(
    connect=PATIENCE,
    next_hop_command=PATIENCE,
    next_hop_data=PATIENCE,
    session_idle=0,
    scan=PATIENCE,
    queue=PATIENCE,
    drain=PATIENCE,
)
#: The same; connections to next hops are kept.
KEEP_CONNECTIONS = replace(PATIENT, session_idle=300)


def without_trace_field(content: bytes) -> bytes:
    """Return the received message without the gateway's trace field."""
    assert content.startswith(b"Received: from sender.example ([127.0.0.1])\r\n\tby gw1.univ.example with ESMTP id ")
    lines = content.split(b"\r\n")
    first = next(n for n, line in enumerate(lines[1:], 1) if not line.startswith(b"\t"))
    return b"\r\n".join(lines[first:])


async def catch_all_probed(campus: Campus, domain: str = "a.univ.example") -> None:
    """Wait for the catch-all probe."""
    await wait_for(lambda: campus.gateway.verification_cache.catches_all(Mailbox("x", domain)) is not None)


async def cached_as_unknown(campus: Campus, recipient: str) -> None:
    """Wait until the refusal of a recipient is confirmed."""
    local, _at, domain = recipient.partition("@")

    def unknown() -> bool:
        entry = campus.gateway.verification_cache.find(Mailbox(local, domain))
        return entry is not None and not entry.known

    await wait_for(unknown)


def only_alice_and_bob(recipient: str) -> str:
    return "250 2.1.5 ok" if recipient.split("@", maxsplit=1)[0] in ("alice", "bob") else "550 5.1.1 unknown"


@contextlib.asynccontextmanager
async def probing_a_slow_server(make_campus, recipient: str):
    """Have six clients name a recipient whose server does not reply; yield the campus and a seventh client."""
    campus = await make_campus(
        limits=Limits(max_verifications_per_next_hop=2, max_connections_per_next_hop=10, max_transactions=7),
    )
    campus.a.mail = "250-"
    clients = [await campus.connect() for _ in range(7)]
    held = [asyncio.create_task(client.start(recipient)) for client in clients[:6]]
    # Two probe, two wait, two get a reply at once.
    await wait_for(lambda: sum(task.done() for task in held) == 2)
    assert [task.result()[0][:3] for task in held if task.done()] == ["450", "450"]
    yield campus, clients[6]
    assert sum(task.done() for task in held) == 2, "the server is as slow as before"
    for task in held:
        task.cancel()


class Clock:
    """The time of day, plus `ahead` seconds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Database:
    """A state database whose disk is full on demand."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.full = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._check()
        return self._database.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._check()
        return self._database.executemany(*arguments)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: Any) -> None:
        self._database.__exit__(*error)

    def _check(self) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")


class Lines:
    """Collects event lines."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


async def start_campus(tmp_path: Path, **changes: object) -> tuple[Campus, asyncio.Server]:
    a, b, queue, clamd = Hop(), Hop(), Hop(), FakeClamd(tmp_path / "clamd.ctl")
    for peer in (a, b, queue):
        await peer.start()
    await clamd.start()
    from mailgate.config import Scan

    settings: dict[str, object] = {
        "timeouts": PATIENT,
        "limits": Limits(),
        "scan": Scan(socket=str(clamd.path), file_size=0),
        **changes,
    }
    config = Config(
        hostname="gw1.univ.example",
        routes_file=tmp_path / "routes",
        state_dir=tmp_path,
        queue=Endpoint("127.0.0.1", queue.port),
        **settings,  # type: ignore[arg-type]
    )
    routes = parse_routes(
        f"a.univ.example\t[127.0.0.1]:{a.port}\n"
        f"b.univ.example\t[127.0.0.1]:{b.port}\n"
        f"*.lab.a.univ.example\t[127.0.0.1]:{a.port}\n"
        f"two.univ.example\t[127.0.0.1]:1,[127.0.0.1]:{b.port}\n"
        f"leaf.univ.example\t[127.0.0.1]:{b.port}\t[127.0.0.1]:{a.port}\n"
    )
    counters = Counters(tmp_path)
    output, clock = Lines(), Clock()
    with mock.patch("mailgate.gateway.VerificationCache", functools.partial(VerificationCache, clock=clock)):
        gateway = Gateway(config, routes, counters, Events(counters, output))  # type: ignore[arg-type]
    server = await asyncio.get_running_loop().create_server(lambda: Session(gateway), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return Campus(gateway, port, a, b, queue, clamd, tmp_path, output, clock), server


MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


async def send_hello(client: Client, recipient: str = "alice@a.univ.example") -> str:
    """Send a small message; return the reply to it."""
    assert (await client.start(recipient))[0].startswith("250")
    return await client.send(MESSAGE)

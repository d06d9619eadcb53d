# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers on loopback that say what a test tells them to: a next hop, clamd, and a client that speaks raw SMTP."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from mailgate.config import Config, Endpoint, Limits, Timeouts
from mailgate.events import Counters, Events
from mailgate.gateway import Gateway
from mailgate.routes import parse_routes
from mailgate.server.session import Session

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@dataclass
class Received:
    """A transaction that a hop has accepted."""

    sender: str
    recipients: list[str]
    content: bytes


class Hop:
    """An SMTP server whose answers are set per test; None as an answer means: hang up."""

    def __init__(self) -> None:
        self.port = 0
        self.banner: str | None = "220 mailhost"
        self.helo: str | None = "250 mailhost"
        self.ehlo = "250-mailhost\r\n250-8BITMIME\r\n250 SIZE 99999999"
        self.mail: str | None = "250 2.1.0 ok"
        self.rcpt: Callable[[str], str | None] = lambda _: "250 2.1.5 ok"
        self.data: str | None = "354 go on"
        self.final: str | None = "250 2.0.0 taken"
        self.before_final: Callable[[], Awaitable[object]] | None = None
        self.received: list[Received] = []
        self.commands: list[str] = []
        self.connections = 0
        self.open = 0
        self.hang_ups = 0
        # Answers STARTTLS when set; `injected` goes out in the clear right behind that answer.
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
        except (ConnectionError, asyncio.IncompleteReadError):
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
                say(None if self.hang_ups >= 0 else self.mail)
            elif verb == "RCPT":
                recipient = line.split("<")[1].split(">")[0]
                answer = self.rcpt(recipient)
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
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


class Clamd:
    """Speaks INSTREAM; finds EICAR as such or in base64, unless told what to answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer: Callable[[bytes], bytes] = self.by_content
        self.version = b"ClamAV 1.4.6\0"
        self.scans: list[bytes] = []
        self._server: asyncio.Server | None = None
        self.hang = False

    @staticmethod
    def by_content(stream: bytes) -> bytes:
        import base64

        head = base64.b64encode(EICAR)[:40]
        flat = stream.replace(b"\r\n", b"")
        return b"stream: Eicar-Signature FOUND\0" if EICAR in stream or head in flat else b"stream: OK\0"

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    def stop(self) -> None:
        if self._server:
            self._server.close()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            command = await reader.readuntil(b"\0")
            if command == b"zVERSION\0":
                writer.write(self.version)
                return
            assert command == b"zINSTREAM\0"
            stream = bytearray()
            while size := int.from_bytes(await reader.readexactly(4), "big"):
                stream += await reader.readexactly(size)
            self.scans.append(bytes(stream))
            if self.hang:
                await asyncio.sleep(30)
            writer.write(self.answer(bytes(stream)))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Client:
    """Sends octets and reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> str:
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 5)).decode()
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
        """MAIL and RCPTs; the answers to RCPT."""
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
    clamd: Clamd
    state: Path
    clients: list[Client] = field(default_factory=list)

    async def connect(self, *, hello: bool = True) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        assert (await client.reply()).startswith("220")
        if hello:
            await client.hello()
        return client

    def count(self, event: str) -> int:
        import time

        from mailgate.events import totals
        from mailgate.state import open_read_only

        self.gateway.counters.write()
        database = open_read_only(self.state / Counters.FILE)
        try:
            return totals(database, 0, time.time() + 60).get(event, 0)
        finally:
            database.close()


@contextlib.asynccontextmanager
async def asking_a_slow_server(make_campus, recipient: str):
    """Six clients name a recipient whose server does not answer, two at a time; the campus, and a seventh client."""
    campus = await make_campus(
        timeouts=Timeouts(connect=1, next_hop_command=3, session_idle=0, scan=2, queue=2),
        limits=Limits(max_verifications_per_next_hop=2, max_connections_per_next_hop=10, max_connections=7),
    )
    campus.a.mail = "250-"
    clients = [await campus.connect() for _ in range(7)]
    held = [asyncio.create_task(client.start(recipient)) for client in clients[:6]]
    done = (await asyncio.wait(held, timeout=0.5))[0]
    assert [task.result()[0][:3] for task in done] == ["450", "450"], "two ask, two wait, two are told at once"
    yield campus, clients[6]
    for task in held:
        task.cancel()


class Lines:
    """Takes event lines."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


async def start_campus(tmp_path: Path, **changes: object) -> tuple[Campus, asyncio.Server]:
    a, b, queue, clamd = Hop(), Hop(), Hop(), Clamd(tmp_path / "clamd.ctl")
    for peer in (a, b, queue):
        await peer.start()
    await clamd.start()
    from mailgate.config import Scan

    settings: dict[str, object] = {
        "timeouts": Timeouts(connect=2, next_hop_command=2, next_hop_data=2, session_idle=0, scan=2, queue=2, drain=2),
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
    gateway = Gateway(config, routes, counters, Events(counters, Lines()))  # type: ignore[arg-type]
    server = await asyncio.get_running_loop().create_server(lambda: Session(gateway), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return Campus(gateway, port, a, b, queue, clamd, tmp_path), server

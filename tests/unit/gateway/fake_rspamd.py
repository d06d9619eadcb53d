# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake rspamd on loopback or a Unix socket: its answer to each message, and ways to misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path


def answer(score: float = 0.0, action: str = "no action", **more: object) -> bytes:
    """Return rspamd's HTTP response with a score."""
    result = {"score": score, "required_score": 15.0, "action": action, "symbols": {}, **more}
    return response(json.dumps(result).encode())


def response(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class FakeRspamd:
    """An rspamd. `answer` is its response, or a function of the message; None closes the connection without one."""

    def __init__(self) -> None:
        self.port = 0
        self.answer: bytes | Callable[[bytes], bytes] | None = answer()
        #: Seconds before the response, and what it waits for before them.
        self.pause = 0.0
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        #: Whether the connection stays open after the response.
        self.stays = False
        #: Messages, and the headers of their requests in lower case; values of several of the same name in order.
        self.messages: list[bytes] = []
        self.headers: list[dict[str, list[str]]] = []
        self.parallel = self.max_parallel = 0
        self._server: asyncio.Server | None = None

    async def start(self, path: Path | None = None) -> None:
        if path:
            self._server = await asyncio.start_unix_server(self._serve, path)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server:
            self._server.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.parallel += 1
        self.max_parallel = max(self.max_parallel, self.parallel)
        try:
            await self._respond(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.parallel -= 1
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode().split("\r\n")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _colon, value = line.partition(": ")
            headers.setdefault(name.lower(), []).append(value)
        content = await reader.readexactly(int(headers["content-length"][0]))
        if request.startswith("GET /ping"):
            writer.write(response(b"pong\r\n"))
            await writer.drain()
            return
        assert request == "POST /checkv2 HTTP/1.1"
        self.messages.append(content)
        self.headers.append(headers)
        if self.before_answer:
            await self.before_answer()
        await asyncio.sleep(self.pause)
        reply = self.answer(content) if callable(self.answer) else self.answer
        if reply is not None:
            writer.write(reply)
            await writer.drain()
        if self.stays:
            await reader.read(1)

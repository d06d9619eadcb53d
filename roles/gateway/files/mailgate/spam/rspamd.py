# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of rspamd's HTTP protocol (https://docs.rspamd.com/developers/protocol), a connection for each message.

rspamd closes the connection after each answer, so there is nothing to keep open.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from mailgate.config import clamd_address

Address = str | tuple[str, int]
Headers = Sequence[tuple[str, str]]

# An answer has a score and some hundred symbols at most.
MAX_ANSWER = 1 << 20
MAX_SYMBOLS = 20
# Above any threshold; what is shown stays short.
MAX_SCORE = 10_000.0
_CHUNK = 65_536


class RspamdError(Exception):
    """There is no score: rspamd is down or too slow, or its answer is not understood."""


@dataclass(frozen=True)
class Score:
    """The answer to a message.

    Attributes:
        score: Sum of the symbols' scores.
        required: Score from which rspamd itself would reject.
        action: What rspamd would do: `no action`, `greylist`, `add header`, `rewrite subject`, `soft reject` or
            `reject`.
        symbols: Names of the symbols, those with the largest scores first; at most MAX_SYMBOLS.
        skipped: Whether rspamd decided without its filters, as for the test message GTUBE.
    """

    score: float
    required: float
    action: str
    symbols: tuple[str, ...] = ()
    skipped: bool = False

    @property
    def forced(self) -> bool:
        """Whether a module of rspamd rejects the message with any score."""
        return self.action == "reject" and (self.skipped or self.score < self.required)


@dataclass(frozen=True)
class _Request:
    """A request of the protocol."""

    method: str
    target: str
    headers: Headers = ()
    content: bytes = b""


def address_of(text: str) -> Address:
    """Return the socket path, or the IP address and port, of rspamd; raise ValueError if it is neither."""
    return clamd_address(text)


async def check(address: Address, content: bytes, headers: Headers, deadline: float) -> Score:
    """Return the score of a message.

    Args:
        address: Path of rspamd's unix socket, or IP address and port.
        content: The message.
        headers: What is known of its transaction, as headers of the request.
        deadline: Time of the event loop.

    Raises:
        RspamdError: There is no score.
    """
    return parse_answer(await _request(address, _Request("POST", "/checkv2", headers, content), deadline))


async def ping(address: Address, deadline: float) -> None:
    """Return if rspamd answers until `deadline`, a time of the event loop; raise RspamdError otherwise."""
    answer = await _request(address, _Request("GET", "/ping"), deadline)
    if not answer.startswith(b"pong"):
        raise RspamdError(f"answered {answer[:100]!r} to /ping")


def parse_answer(body: bytes) -> Score:
    """Return the score in an answer to /checkv2; raise RspamdError for any other answer."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise RspamdError(f"the answer is not valid JSON: {body[:100]!r}") from None
    if not isinstance(given, dict):
        raise RspamdError("the answer is not an object")
    if "error" in given:
        raise RspamdError(f"rspamd reports an error: {str(given['error'])[:200]}")
    action = given.get("action")
    if not isinstance(action, str):
        raise RspamdError("the answer has no action")
    return Score(
        _number(given, "score"),
        _number(given, "required_score"),
        action.lower(),
        _symbols(given.get("symbols")),
        given.get("is_skipped") is True,
    )


def _number(given: dict[str, object], name: str) -> float:
    """Return a score, within MAX_SCORE."""
    value = given.get(name)
    # bool is a subclass of int.
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise RspamdError(f"the answer has no valid {name}")
    return float(max(-MAX_SCORE, min(MAX_SCORE, value)))


def _symbols(given: object) -> tuple[str, ...]:
    if not isinstance(given, dict):
        return ()
    scores: dict[str, float] = {}
    for name, symbol in given.items():
        # A name is written into a header field.
        if not (name.isascii() and name.replace("_", "").isalnum() and len(name) <= 64) or not isinstance(symbol, dict):
            continue
        score = symbol.get("score")
        scores[name] = abs(score) if isinstance(score, int | float) and not math.isnan(score) else 0.0
    return tuple(sorted(scores, key=lambda name: (-scores[name], name))[:MAX_SYMBOLS])


async def _request(address: Address, request: _Request, deadline: float) -> bytes:
    """Return the body of a positive response."""
    try:
        async with asyncio.timeout_at(deadline):
            if isinstance(address, str):
                reader, writer = await asyncio.open_unix_connection(address)
            else:
                reader, writer = await asyncio.open_connection(*address)
            try:
                return await _exchange(reader, writer, request)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise RspamdError("no answer in time") from None
    except OSError as error:
        raise RspamdError(f"connection failed: {error}") from error
    except h11.RemoteProtocolError as error:
        raise RspamdError(f"the answer is not valid HTTP: {error}") from error


def _start(request: _Request) -> tuple[h11.Connection, bytes]:
    """Return the state of the connection once the request is sent, and the request without its content."""
    content = request.content
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_CHUNK)
    fields = [("Host", "rspamd"), ("Connection", "close"), ("Content-Length", str(len(content))), *request.headers]
    encoded = [(name.encode(), _printable(value).encode()) for name, value in fields]
    head = connection.send(h11.Request(method=request.method, target=request.target, headers=encoded)) or b""
    if content:
        # The content itself is not copied.
        connection.send_with_data_passthrough(h11.Data(data=content))
    connection.send(h11.EndOfMessage())
    return connection, head


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: _Request) -> bytes:
    connection, head = _start(request)
    writer.write(head)
    writer.write(request.content)
    await writer.drain()
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise RspamdError(f"HTTP status {event.status_code} {event.reason.decode('ascii', 'replace')[:100]}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_ANSWER:
                raise RspamdError(f"the answer exceeds {MAX_ANSWER} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)


def _printable(value: str) -> str:
    """Return a value of a header with `?` for what must not be in one: HELO names and addresses are the client's."""
    return "".join(each if each.isprintable() else "?" for each in value).strip()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The senders of a rehearsal: what they make of replies, of broken connections and of several exchanges."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Sequence

import dns.exception
import dns.resolver
import pytest

from lab.rehearsal import account, sender, traffic
from lab.rehearsal.sender import Exchanges, to_one

ENVELOPE = ("a@outside.example", "b@eng.example")
SOUND = {
    b"": "220 x",
    b"EHLO": "250-x\r\n250 SIZE",
    b"MAIL": "250 ok",
    b"RCPT": "250 ok",
    b"DATA": "354 go",
    b".": "250 done",
}


class Server:
    """An SMTP server with a reply for each command; without one, it closes the connection."""

    def __init__(self, replies: dict[bytes, str]) -> None:
        self.replies = replies
        self.messages = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = b""
        while reply := self.replies.get(word):
            writer.write(f"{reply}\r\n".encode())
            if word == b"DATA" and reply.startswith("354"):
                await reader.readuntil(b"\r\n.\r\n")
                self.messages += 1
                word = b"."
                continue
            line = await reader.readline()
            if not line:
                break
            word = line[:4]
        writer.close()


async def attempt(replies: dict[bytes, str], monkeypatch: pytest.MonkeyPatch) -> sender.Attempt:
    server = await asyncio.start_server(Server(replies), "127.0.0.1", 0)
    monkeypatch.setattr(sender, "PORT", server.sockets[0].getsockname()[1])
    async with server:
        return await to_one(socket.socket(), "127.0.0.1", "outside.example", ENVELOPE, b"Subject: x\r\n\r\nText.\r\n")


@pytest.mark.parametrize(
    ("changed", "result"),
    [
        ({}, account.ACCEPTED),
        ({b"RCPT": "451 later"}, account.DEFERRED),
        ({b"RCPT": "550 5.1.1 no"}, account.REFUSED),
        ({b".": "554 virus"}, account.REFUSED),
        ({b".": "451 later"}, account.DEFERRED),
        ({b"": "554 no service"}, account.DEFERRED),  # about the connection, not about the message
        ({b"MAIL": ""}, account.DEFERRED),
        ({b".": ""}, account.LOST_REPLY),
    ],
)
async def test_result_of_an_attempt(changed, result, monkeypatch):
    assert (await attempt({**SOUND, **changed}, monkeypatch)).result == result


async def test_a_server_that_is_off_defers(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(sender, "PORT", free.getsockname()[1])
        assert (await to_one(socket.socket(), "127.0.0.1", "x", ENVELOPE, b"")).result == account.DEFERRED


async def exchanges(
    monkeypatch: pytest.MonkeyPatch, answers: Sequence[dict[bytes, str] | None]
) -> tuple[sender.Attempt, list[int]]:
    """Send to servers with these replies, None for one that is off; return the result, and the messages of each."""
    servers = [Server(replies or {}) for replies in answers]
    opened = []
    for number, server in enumerate(servers, 2):
        if answers[number - 2] is not None:
            port = sender.PORT if opened else 0
            opened.append(await asyncio.start_server(server, f"127.0.0.{number}", port))
            monkeypatch.setattr(sender, "PORT", opened[0].sockets[0].getsockname()[1])

    async def of(_self: Exchanges, _domain: str) -> list[tuple[str, int]]:
        return [(f"127.0.0.{number}", int(socket.AF_INET)) for number in range(2, 2 + len(servers))]

    monkeypatch.setattr(Exchanges, "of", of)
    found = await Exchanges("127.0.0.1").send("eng.example", "x", ENVELOPE, b"Subject: x\r\n\r\n")
    for each in opened:
        each.close()
    return found, [server.messages for server in servers]


LATER, NEVER = {**SOUND, b"RCPT": "450 later"}, {**SOUND, b"RCPT": "550 never"}


@pytest.mark.parametrize(
    ("answers", "result", "messages"),
    [
        ([SOUND, SOUND], account.ACCEPTED, [1, 0]),
        ([None, SOUND], account.ACCEPTED, [0, 1]),
        ([LATER, SOUND], account.ACCEPTED, [0, 1]),
        ([LATER, LATER, SOUND], account.DEFERRED, [0, 0, 0]),
        ([NEVER, SOUND], account.REFUSED, [0, 0]),
        ([{**SOUND, b".": "451 later"}, SOUND], account.DEFERRED, [1, 0]),
        ([{**SOUND, b".": ""}, SOUND], account.LOST_REPLY, [1, 0]),
    ],
)
async def test_which_exchanges_are_tried(answers, result, messages, monkeypatch):
    found, seen = await exchanges(monkeypatch, answers)
    assert (found.result, seen) == (result, messages)


@pytest.mark.parametrize(
    ("error", "result"),
    [(dns.resolver.NXDOMAIN(), account.REFUSED), (dns.exception.Timeout(), account.DEFERRED)],
)
async def test_dns(error, result, monkeypatch):
    async def of(_self: Exchanges, _domain: str) -> list[tuple[str, int]]:
        raise error

    monkeypatch.setattr(Exchanges, "of", of)
    assert (await Exchanges("127.0.0.1").send("eng.example", "x", ENVELOPE, b"")).result == result


async def test_servers_without_a_common_family_do_not_send_to_each_other(monkeypatch):
    servers = [{"short": "four", "domain": "four.example", "namespace": "", "families": [4]},
               {"short": "six", "domain": "six.example", "namespace": "", "families": [6]}]  # fmt: skip
    domains = {"four.example": [4], "six.example": [6], "both.example": [4, 6]}
    job = traffic.Job.read(
        json.dumps({"events": "", "rate": 5000, "domains": {each: each for each in domains}, "families": domains,
                    "servers": servers, "mailboxes": {}})
    )  # fmt: skip
    made = traffic.Traffic(job, io.StringIO())
    stop = asyncio.Event()
    seen: set[tuple[str, str, str]] = set()

    async def deliver(number: int, flow: str, server: traffic.Server | None, domain: str) -> None:
        seen.add((flow, server.short if server else "outside", domain))
        if number == 400:
            stop.set()

    monkeypatch.setattr(made, "_deliver", deliver)
    await made.send(stop)
    inside = {(short, domain) for flow, short, domain in seen if flow == account.INSIDE}
    assert inside == {
        ("four", "four.example"), ("four", "both.example"), ("six", "six.example"), ("six", "both.example"),
    }  # fmt: skip
    assert {domain for flow, _, domain in seen if flow == account.INWARD} == set(domains)
    assert {short for flow, short, _ in seen if flow == account.OUTWARD} == {"four", "six"}

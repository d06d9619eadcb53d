# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of rspamd's protocol: answers of any kind, and connections that break."""

from __future__ import annotations

import asyncio
import json

import pytest
from fake_rspamd import FakeRspamd, answer, response

from mailgate.spam.rspamd import MAX_ANSWER, MAX_SYMBOLS, RspamdError, Score, check, parse_answer, ping

MESSAGE = b"Subject: x\r\n\r\nHello.\r\n"


async def ask(rspamd: FakeRspamd, content: bytes = MESSAGE, headers: tuple[tuple[str, str], ...] = ()) -> Score:
    return await check(("127.0.0.1", rspamd.port), content, headers, asyncio.get_running_loop().time() + 60)


async def test_score(rspamd):
    symbols = {"A_1": {"score": 1}, "B": {"score": -9.5}, "C": {"score": 1.0}}
    rspamd.answer = answer(7.25, "add header", symbols=symbols)
    headers = (("IP", "2001:db8::9"), ("Rcpt", "<a@x.example>"), ("Rcpt", "<b@x.example>"))
    assert await ask(rspamd, headers=headers) == Score(7.25, 15.0, "add header", ("B", "A_1", "C"))
    assert rspamd.messages == [MESSAGE]
    assert rspamd.headers[0]["ip"] == ["2001:db8::9"]
    assert rspamd.headers[0]["rcpt"] == ["<a@x.example>", "<b@x.example>"]


async def test_unix_socket(rspamd, tmp_path):
    rspamd.stop()
    await rspamd.start(tmp_path / "s")
    deadline = asyncio.get_running_loop().time() + 60
    assert (await check(str(tmp_path / "s"), MESSAGE, (), deadline)).action == "no action"
    await ping(str(tmp_path / "s"), deadline)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"x" * 3_000_000])
async def test_content_of_any_size(rspamd, content):
    await ask(rspamd, content)
    assert rspamd.messages == [content]


async def test_values_of_a_client_add_no_header(rspamd):
    await ask(rspamd, headers=(("Helo", "pc\r\nUser: admin"), ("From", "<ü@x.example>"), ("Rcpt", " ")))
    assert rspamd.headers[0]["helo"] == ["pc??User: admin"]
    assert rspamd.headers[0]["from"] == ["<ü@x.example>"]
    assert "user" not in rspamd.headers[0]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "not valid HTTP"),
        (b"", "not valid HTTP"),
        (b"\0" * 100, "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "not valid HTTP"),
        (response(b"", "500 Internal Server Error"), "HTTP status 500"),
        (response(b"{}", "404 Not found"), "HTTP status 404"),
        (response(b"x" * (MAX_ANSWER + 1)), "exceeds"),
        (response(b""), "not valid JSON"),
        (response(b"\xff\xfe"), "not valid JSON"),
        (response(b"[" * 100_000), "not valid JSON"),
        (response(b"1" * 100_000), "not valid JSON"),
        (response(b"[]"), "not an object"),
        (response(b'{"error": "bad", "error_domain": "x"}'), "reports an error: bad"),
        (response(b'{"score": 5, "required_score": 15}'), "no action"),
        (response(b'{"score": "5", "required_score": 15, "action": "reject"}'), "no valid score"),
        (response(b'{"score": true, "required_score": 15, "action": "reject"}'), "no valid score"),
        (response(b'{"score": NaN, "required_score": 15, "action": "reject"}'), "no valid score"),
        (response(b'{"score": 5, "required_score": null, "action": "reject"}'), "no valid required_score"),
    ],
)
async def test_answers_without_a_score(rspamd, reply, reason):
    rspamd.answer = reply
    with pytest.raises(RspamdError, match=reason):
        await ask(rspamd)


async def test_answer_in_chunks_and_without_length(rspamd):
    body = json.dumps({"score": 1, "required_score": 15, "action": "Reject"}).encode()
    rspamd.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert (await ask(rspamd)).forced
    rspamd.answer = b"HTTP/1.1 200 OK\r\n\r\n" + body
    assert (await ask(rspamd)).forced


async def test_no_answer(rspamd):
    rspamd.answer, rspamd.stays = b"HTTP/1.1 200 OK\r\n", True
    with pytest.raises(RspamdError, match="in time"):
        await check(("127.0.0.1", rspamd.port), MESSAGE, (), asyncio.get_running_loop().time() + 0.05)
    rspamd.stop()
    with pytest.raises(RspamdError, match="connection failed"):
        await ask(rspamd)


def test_scores_are_bounded():
    score = parse_answer(b'{"score": Infinity, "required_score": -1e300, "action": "no action"}')
    assert (score.score, score.required) == (10_000.0, -10_000.0)


def test_symbols_that_could_forge_a_field_are_left_out():
    names = {"OK_1": {"score": 1}, "B\r\nX: y": {"score": 9}, "Ü": {"score": 9}, "A" * 65: {"score": 9}, "N": 7,
             "S": {"score": "x"}, "": {"score": 9}, **{f"M{number}": {"score": 0} for number in range(50)}}  # fmt: skip
    given = {"score": 1, "required_score": 15, "action": "no action", "symbols": names}
    symbols = parse_answer(json.dumps(given).encode()).symbols
    assert symbols[0] == "OK_1"
    assert len(symbols) == MAX_SYMBOLS
    assert set(symbols) <= {"OK_1", "S", *(f"M{number}" for number in range(50))}

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that speak before their turn, and clients that only use PIPELINING as they may."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from gateway_doubles import Client, send_hello
from rule_clients import ALICE, CLIENT, OK, connect, reply_to, rule

REFUSED = f"550 5.5.1 Client host {CLIENT} does not wait for replies"
EARLY = rule("early", "refuse", 'client_is = ["early_talker"]')
PIPELINING = rule("pipelining", "refuse", 'client_is = ["pipelining"]')


async def talk(campus, *steps: bytes | int, address: str = CLIENT) -> list[str]:
    """Send bytes, and wait for as many replies as a number says; return all replies."""
    client = Client(*await asyncio.open_connection("127.0.0.1", campus.port))
    campus.clients.append(client)
    client.writer.write(f"PROXY TCP4 {address} {address} 4000 25\r\n".encode())
    replies: list[str] = []
    for step in steps:
        if isinstance(step, int):
            replies += [await client.reply() for _ in range(step)]
        else:
            client.writer.write(step)
    client.writer.write(b"QUIT\r\n")
    while not replies or not replies[-1].startswith("221"):
        replies.append(await client.reply())
    return replies


def delayed(campus, seconds: float = 0.05) -> None:
    """Set a shorter delay than settings allow."""
    config = campus.gateway.config
    campus.gateway.config = replace(config, limits=replace(config.limits, greet_delay=seconds))


MAIL = f"MAIL FROM:<a@x.example>\r\nRCPT TO:<{ALICE}>\r\n".encode()


class TestGreeting:
    async def test_a_client_that_does_not_wait_for_the_greeting(self, with_limits):
        campus = await with_limits(EARLY)
        delayed(campus)
        assert REFUSED in await talk(campus, b"EHLO x.example\r\n", MAIL)
        assert [event["client"] for event in campus.events("early_talker")] == [CLIENT]
        assert campus.count("early_talker") == 1

    async def test_a_client_that_waits(self, with_limits):
        campus = await with_limits(EARLY)
        delayed(campus)
        assert await reply_to(campus) == OK

    async def test_clients_that_do_not_wait_for_the_delay(self, with_limits):
        campus = await with_limits('[bans]\nnever = ["198.18.7.7"]\n')
        assert (await send_hello(await connect(campus))).startswith("250")
        delayed(campus, 5)
        started = time.monotonic()
        for address in ("198.18.9.77", "198.18.200.7", "198.18.0.25", "198.18.7.7"):
            await connect(campus, address)
        assert time.monotonic() - started < 1, "known networks, relaying hosts, gateways and exempt clients"

    async def test_a_client_that_leaves_during_the_delay(self, with_limits):
        campus = await with_limits("")
        delayed(campus, 5)
        client = Client(*await asyncio.open_connection("127.0.0.1", campus.port))
        client.writer.write(f"PROXY TCP4 {CLIENT} {CLIENT} 4000 25\r\n".encode())
        client.writer.write_eof()
        assert await asyncio.wait_for(client.reader.read(), 1) == b""
        client.writer.close()

    async def test_without_the_option_there_is_no_delay_and_no_early_talker(self, with_limits):
        campus = await with_limits(EARLY)
        assert OK in await talk(campus, b"EHLO x.example\r\n", MAIL)


class TestPipelining:
    @pytest.mark.parametrize(
        "pieces",
        [
            (1, b"EHLO x.example\r\n" + MAIL),
            (1, b"HELO x.example\r\n" + MAIL),
            (1, b"HELO x.example\r\n", 1, MAIL),
        ],
    )
    async def test_before_a_reply_that_must_be_waited_for(self, with_limits, pieces):
        campus = await with_limits(PIPELINING)
        assert REFUSED in await talk(campus, *pieces)
        assert len(campus.events("pipelining")) == 1

    async def test_after_data_it_counts_for_the_next_message(self, with_limits):
        campus = await with_limits(PIPELINING)
        message = b"DATA\r\nSubject: x\r\n\r\n.\r\n"
        replies = await talk(campus, 1, b"EHLO x.example\r\n", 1, MAIL + message, 4, MAIL)
        assert OK in replies and REFUSED in replies

    async def test_as_rfc_2920_allows_it(self, with_limits):
        campus = await with_limits(PIPELINING)
        content = b"Subject: x\r\n\r\n.\r\n"
        replies = await talk(
            campus, 1, b"EHLO x.example\r\n", 1, MAIL + b"DATA\r\n", 3, content + MAIL + b"RSET\r\n" + MAIL
        )
        assert replies.count(OK) == 3
        assert not campus.events("pipelining")

    async def test_by_default_it_has_no_effect(self, with_limits):
        campus = await with_limits("")
        assert OK in await talk(campus, b"EHLO x.example\r\n" + MAIL)

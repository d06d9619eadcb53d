# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that guesses addresses costs little, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

import pytest
from gateway_doubles import KEEP_CONNECTIONS, Campus, Client, Lines, only_alice_and_bob, wait_for

from mailgate.config import Limits
from mailgate.delivery.unknown_recipients import DEFERRED, UnknownRecipients
from mailgate.events import Events
from mailgate.worker_counters import SharedCounters, WorkerCounters

ALICE, BOB = "alice@a.univ.example", "bob@a.univ.example"
GUESSER, SENDER = "127.0.0.9", "127.0.0.2"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def guessed(make_campus) -> Campus:
    """Return a gateway whose server knows alice and bob."""
    campus = await make_campus(timeouts=KEEP_CONNECTIONS)
    campus.a.rcpt = only_alice_and_bob
    return campus


def freeze(campus: Campus) -> Clock:
    """Return the clock of the counts."""
    clock = Clock()
    campus.gateway.worker_counters.recipient_counts.clock = clock
    return clock


async def connect(campus: Campus, address: str) -> Client:
    client = Client(*await asyncio.open_connection("127.0.0.1", campus.port, local_addr=(address, 0)))
    campus.clients.append(client)
    assert (await client.reply()).startswith("220")
    await client.hello()
    return client


async def name(campus: Campus, recipients: Iterable[str], address: str = GUESSER) -> list[str]:
    """Name recipients in one session, all commands at once; return the replies until it is closed."""
    client = await connect(campus, address)
    assert (await client.say("MAIL FROM:<>")).startswith("250")
    client.writer.write(b"".join(f"RCPT TO:<{recipient}>\r\n".encode() for recipient in recipients) + b"QUIT\r\n")
    replies = []
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            replies.append(await client.reply())
    client.writer.close()
    return replies


def names(number: int, start: int = 0) -> list[str]:
    return [f"guess{start + n}@a.univ.example" for n in range(number)]


def questions(campus: Campus) -> int:
    return sum(line.startswith("RCPT TO:<guess") for line in campus.a.commands)


async def settled(campus: Campus) -> None:
    await wait_for(lambda: not campus.gateway.delivery.verifier.background)


def refusals(campus: Campus) -> int:
    """Return the number of refusals that were logged, each or as a number of suppressed ones."""
    campus.gateway.events.report_suppressed()
    return sum(event.get("suppressed", 1) for event in campus.events("recipient_refused"))


class TestSession:
    async def test_2000_guesses_in_one_session(self, guessed):
        replies = await name(guessed, names(2000))
        assert {reply[:9] for reply in replies[:-1]} == {"550 5.1.1"}
        assert len(replies) == 21
        assert replies[-1] == "421 4.7.1 Too many unknown recipients; closing connection"
        await settled(guessed)
        assert questions(guessed) <= 2 * 21
        assert guessed.gateway.verification_cache.sizes()[1] <= 21
        assert refusals(guessed) == 21

    async def test_a_list_with_dead_addresses_is_served(self, guessed):
        guessed.a.rcpt = lambda recipient: "550 5.1.1 unknown" if recipient.startswith("guess") else "250 ok"
        recipients = [f"{'guess' if n % 2 else 'member'}{n}@a.univ.example" for n in range(100)]
        replies = await name(guessed, recipients)
        assert [reply[:3] for reply in replies] == ["250", "550"] * 50 + ["221"]

    async def test_a_recipient_named_again_does_not_hide_guesses(self, guessed):
        replies = await name(guessed, [r for guess in names(100) for r in (ALICE, guess)])
        assert replies[-1].startswith("421 4.7.1")
        assert sum(reply.startswith("550") for reply in replies) == 20

    @pytest.mark.parametrize("limits", [{"max_unknown_recipients": 0}, {"max_unknown_percent": 100}])
    async def test_no_limit(self, make_campus, limits):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS, limits=Limits(max_connections_per_client=99, **limits))
        campus.a.rcpt = only_alice_and_bob
        assert (await name(campus, names(40)))[-1].startswith("221")


class TestClient:
    async def test_2000_guesses_in_many_sessions(self, guessed):
        freeze(guessed)
        for start in range(0, 2000, 100):
            replies = await name(guessed, names(100, start))
            assert replies[-1].startswith("421 4.7.1")
        await settled(guessed)
        assert replies[0] == str(DEFERRED), "never a permanent refusal of what was not asked"
        assert questions(guessed) <= 2 * 52
        assert guessed.gateway.verification_cache.sizes()[1] <= 52
        assert refusals(guessed) <= 52
        guessed.gateway.unknown_recipients.report()
        [event] = guessed.events("unknown_recipients")
        assert event["client"] == GUESSER
        assert event["refused"] + refusals(guessed) == 20 * 21

    async def test_an_ordinary_sender_is_served_meanwhile(self, guessed):
        freeze(guessed)
        for start in range(0, 300, 100):
            await name(guessed, names(100, start))
            replies = await name(guessed, [f"x{start}@a.univ.example", ALICE], SENDER)
            assert [reply[:9] for reply in replies] == ["550 5.1.1", "250 2.1.5", "221 2.0.0"]
        assert (await name(guessed, names(1, 900)))[0] == str(DEFERRED)
        assert refusals(guessed) >= 3
        assert sum(event.get("client") == SENDER for event in guessed.events("recipient_refused")) == 3

    async def test_known_recipients_of_a_guessing_client_are_accepted_and_new_ones_deferred(self, guessed):
        freeze(guessed)
        await name(guessed, [ALICE], SENDER)
        for start in range(0, 300, 100):
            await name(guessed, names(100, start))
        replies = await name(guessed, [ALICE, BOB, names(1)[0]])
        assert replies[0].startswith("250")
        assert replies[1] == str(DEFERRED)
        assert replies[2].startswith("550 5.1.1"), "it is cached"

    async def test_a_client_is_asked_for_again_after_the_window(self, guessed):
        clock = freeze(guessed)
        for start in range(0, 300, 100):
            await name(guessed, names(100, start))
        assert (await name(guessed, [BOB]))[0] == str(DEFERRED)
        clock.now += 600
        assert (await name(guessed, [BOB]))[0].startswith("250")


class TestDomain:
    async def test_an_attack_from_many_addresses_fills_neither_cache_nor_journal(self, make_campus):
        limits = Limits(max_unknown_recipients_per_domain=30)
        campus = await make_campus(timeouts=KEEP_CONNECTIONS, limits=limits)
        campus.a.rcpt = only_alice_and_bob
        freeze(campus)
        for client in range(20):
            await name(campus, names(10, 10 * client), f"127.0.1.{client + 1}")
            await settled(campus)
        assert campus.gateway.verification_cache.sizes()[1] <= 31
        assert refusals(campus) <= 31
        campus.gateway.unknown_recipients.report()
        [event] = campus.events("unknown_recipients")
        assert event == {"event": "unknown_recipients", "domain": "a.univ.example", "refused": 200 - refusals(campus)}
        assert (await name(campus, [ALICE], SENDER))[0].startswith("250"), "the server is still asked"


class Later:
    """Collects what is to run later."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, _seconds: float, call: object) -> None:
        self.calls.append(call)


class TestCounts:
    def start(self, workers: int = 1, **limits: int) -> list[UnknownRecipients]:
        shared = SharedCounters(workers)
        self.later, self.output = Later(), Lines()
        return [
            UnknownRecipients(
                replace(Limits(), **limits), WorkerCounters(shared, number), Events(None, self.output), later=self.later
            )
            for number in range(workers)
        ]

    def test_workers_share_the_counts(self):
        first, second = self.start(2)
        for _ in range(26):
            first.count("198.18.0.1", "a.example", unknown=True)
            second.count("198.18.0.1", "a.example", unknown=True)
        assert first.client_exceeds("198.18.0.1")
        assert second.client_exceeds("198.18.0.1")
        assert not first.client_exceeds("198.18.0.2")
        assert not first.domain_exceeds("a.example")

    def test_an_ipv6_network_is_one_client(self):
        [counts] = self.start()
        for number in range(51):
            counts.count(f"2001:db8::{number:x}", "a.example", unknown=True)
        assert counts.client_exceeds("2001:db8::ffff:1")
        assert not counts.client_exceeds("2001:db8:0:1::1")

    @pytest.mark.parametrize(
        ("unknown", "accepted", "exceeds"),
        [(50, 0, False), (51, 0, True), (51, 12, True), (51, 13, False), (5000, 1250, False), (5000, 1249, True)],
    )
    def test_the_limit_is_a_number_and_a_share(self, unknown, accepted, exceeds):
        [counts] = self.start()
        assert counts.exceeds(unknown, accepted, 50) is exceeds

    def test_summaries_are_bounded_and_scheduled_once(self):
        [counts] = self.start(max_unknown_recipients_per_client=1)
        for number in range(1500):
            client = f"198.18.{number // 250}.{number % 250}"
            for _ in range(2):
                counts.count(client, "a.example", unknown=True)
            assert counts.summarize(client, "a.example")
        assert len(self.later.calls) == 1
        counts.report()
        assert len(self.output.text.splitlines()) == 1001
        assert (
            self.output.text.splitlines()[-1] == '{"event": "unknown_recipients", "client": "others", "refused": 500}'
        )
        counts.report()
        assert len(self.output.text.splitlines()) == 1001

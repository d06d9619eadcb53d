# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dictionary attack from many addresses: the domain's server is asked rarely, and ordinary mail is as before."""

from __future__ import annotations

from gateway_doubles import cached_as_unknown, only_alice_and_bob, send_hello
from rule_clients import ALICE, OK, OTHER, connect, reply_to

ATTACK = "[limits]\nmax_unknown_recipients_per_domain = 10\nmax_probes_under_attack = 3\n"
DOMAIN_DEFERRED = "450 4.7.1 Too many unknown recipients in this domain; try again later"


def stop_clock(campus) -> None:
    """Let all guesses be allowed that are not used up in one moment, and no more by the time that passes."""
    rates = campus.gateway.worker_counters.rates
    later = rates.clock() + 60
    rates.clock = lambda: later


async def attacked(with_limits):
    """Return a gateway whose domain a has more unknown recipients than its limit; its clock stands still."""
    campus = await with_limits(ATTACK)
    campus.a.rcpt = only_alice_and_bob
    client = await connect(campus, "198.18.77.1")
    assert await send_hello(client) != ""
    for number in range(12):
        await reply_to(campus, address=f"198.18.{number}.1", to=f"x{number}@a.univ.example")
    stop_clock(campus)
    return campus


class TestDomain:
    async def test_strangers_share_few_probes(self, with_limits):
        campus = await attacked(with_limits)
        asked = len(campus.a.commands)
        replies = [
            await reply_to(campus, address=f"203.0.{number}.1", to=f"y{number}@a.univ.example") for number in range(40)
        ]
        assert [reply[:3] for reply in replies[:3]] == ["550"] * 3
        assert set(replies[3:]) == {DOMAIN_DEFERRED}
        probes = [command for command in campus.a.commands[asked:] if command.startswith("RCPT TO:<y")]
        assert len(probes) == 3
        assert await reply_to(campus, address="203.0.50.1", to="y@b.univ.example") == OK, (
            "other domains are not affected"
        )

    async def test_much_ordinary_mail_does_not_hide_the_attack(self, with_limits):
        campus = await with_limits(ATTACK)
        campus.a.rcpt = only_alice_and_bob
        assert await send_hello(await connect(campus)) != ""
        for _session in range(10):
            client = await connect(campus, OTHER)
            assert await client.start(ALICE, "bob@a.univ.example") == [OK, OK]
            await client.say("QUIT")
        stop_clock(campus)
        replies = [
            await reply_to(campus, address=f"203.0.{number}.1", to=f"y{number}@a.univ.example") for number in range(18)
        ]
        assert [reply[:3] for reply in replies] == ["550"] * 14 + ["450"] * 4

    async def test_known_recipients_and_known_networks_are_served(self, with_limits):
        campus = await attacked(with_limits)
        for number in range(5):
            await reply_to(campus, address=f"203.0.{number}.1", to=f"y{number}@a.univ.example")
        assert await reply_to(campus, address="203.0.60.1", to=ALICE) == OK
        assert await reply_to(campus, address="198.18.77.9", to="bob@a.univ.example") == OK, "never seen before"

    async def test_what_is_in_the_cache_is_refused_from_it(self, with_limits):
        campus = await with_limits(ATTACK)
        campus.a.rcpt = only_alice_and_bob
        await reply_to(campus, to="gone@a.univ.example")
        await cached_as_unknown(campus, "gone@a.univ.example")
        stop_clock(campus)
        asked = [command for command in campus.a.commands if command.startswith("RCPT")]
        replies = [
            await reply_to(campus, address=f"203.0.{number}.1", to="gone@a.univ.example") for number in range(30)
        ]
        assert {reply[:3] for reply in replies} == {"550"}
        assert [command for command in campus.a.commands if command.startswith("RCPT")] == asked

    async def test_no_limit(self, with_limits):
        campus = await with_limits(ATTACK.replace("= 3", "= 0"))
        campus.a.rcpt = only_alice_and_bob
        replies = [
            await reply_to(campus, address=f"203.0.{number}.1", to=f"y{number}@a.univ.example") for number in range(18)
        ]
        assert {reply[:3] for reply in replies} == {"550"}


class TestSessionsWithServers:
    async def test_a_guessing_client_does_not_keep_the_session_with_the_server(self, with_limits):
        campus = await with_limits("[limits]\nmax_connections_per_next_hop = 1\nmax_verifications_per_next_hop = 1\n")
        campus.a.rcpt = only_alice_and_bob
        lingering = await connect(campus)
        assert (await lingering.start("x1@a.univ.example"))[0].startswith("550")
        # It waits for no session with the server.
        assert await send_hello(await connect(campus, OTHER)) != ""
        assert (await lingering.say("RCPT TO:<x2@a.univ.example>")).startswith("550")
        assert await lingering.say(f"RCPT TO:<{ALICE}>") == OK
        assert (await lingering.send(b"Subject: late\r\n\r\n")).startswith("250")
        assert [received.recipients for received in campus.a.received] == [[ALICE], [ALICE]]

    async def test_mail_for_known_recipients_does_not_wait_behind_guesses(self, with_limits):
        campus = await with_limits("[limits]\nmax_verifications_per_next_hop = 1\n")
        campus.a.rcpt = only_alice_and_bob
        assert await send_hello(await connect(campus, OTHER)) != ""
        hops = campus.gateway.routes.find("a.univ.example").next_hops
        async with campus.gateway.delivery.verifier.probe_slot(hops):
            assert (await send_hello(await connect(campus))).startswith("250")

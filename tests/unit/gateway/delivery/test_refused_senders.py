# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One sender's refusal is never remembered against a recipient for other senders."""

from __future__ import annotations

import pytest
from gateway_doubles import KEEP_CONNECTIONS, Campus, Hop, cached_as_unknown, wait_for

from mailgate.config import Tls
from mailgate.smtp.address import Mailbox

DIRECT, TIERED = "alice@a.univ.example", "alice@leaf.univ.example"
BAD = "x@nosuch.example"
NEUTRAL = "postmaster@gw1.univ.example"
UNKNOWN = "550 5.1.1 <{}>: Recipient address rejected: User unknown in local recipient table"
SENDER_REFUSED = [
    f"550 5.1.8 <{BAD}>: Sender address rejected: Domain not found",
    "550 5.1.7 Invalid address",
    "550 Sender verify failed",
    "550 Administrative prohibition",
    # Beyond suspicion by its text.
    "550 5.1.1 User unknown",
    "550 Invalid recipient",
]


async def ask(campus: Campus, recipient: str, sender: str = "a@sender.example") -> str:
    client = await campus.connect()
    [reply] = await client.start(recipient, sender=sender)
    await client.say("QUIT")
    return reply


async def settled(campus: Campus) -> None:
    """Wait until no probe runs."""
    verifier = campus.gateway.delivery.verifier
    await wait_for(lambda: not verifier.background)


def recipients_named(campus: Campus) -> int:
    """Return how often the server was asked; it may get the QUIT of a probe later."""
    return sum(line.startswith("RCPT") for line in campus.a.commands)


def refuse(hop: Hop, senders: tuple[str, ...], reply: str) -> None:
    hop.rcpt_from = lambda sender, recipient: reply if sender in senders else "250 2.1.5 ok"


def entry(campus: Campus, recipient: str) -> bool | None:
    local, _at, domain = recipient.partition("@")
    found = campus.gateway.verification_cache.find(Mailbox(local, domain))
    return found.known if found else None


@pytest.mark.parametrize("recipient", [DIRECT, TIERED])
class TestBadSender:
    @pytest.mark.parametrize("reply", SENDER_REFUSED)
    @pytest.mark.parametrize("bad", [BAD, ""])
    async def test_a_refused_sender_does_not_block_the_recipient(self, campus, recipient, reply, bad):
        refuse(campus.a, (bad,), reply)
        assert await ask(campus, recipient, bad) == reply, "the server's own reply"
        await settled(campus)
        assert entry(campus, recipient) is None
        assert (await ask(campus, recipient)).startswith("250")

    @pytest.mark.parametrize("reply", SENDER_REFUSED)
    @pytest.mark.parametrize("refused", [(BAD,), (BAD, ""), (BAD, NEUTRAL)])
    async def test_a_known_recipient_stays_known(self, campus, recipient, reply, refused):
        assert (await ask(campus, recipient)).startswith("250")
        campus.clock.ahead = 7300
        refuse(campus.a, refused, reply)
        assert await ask(campus, recipient, BAD) == reply
        await settled(campus)
        assert entry(campus, recipient) is True

    async def test_a_recipient_accepted_for_another_sender_is_not_unknown(self, campus, recipient):
        """A server that hides an internal list from outside."""
        campus.a.rcpt_from = lambda sender, _: "250 ok" if sender == "member@a.univ.example" else "550 5.1.1 unknown"
        assert (await ask(campus, recipient, "member@a.univ.example")).startswith("250")
        await ask(campus, recipient, "stranger@b.example")
        await settled(campus)
        assert entry(campus, recipient) is True

    async def test_a_confirmed_refusal_is_remembered_in_our_own_words(self, campus, recipient):
        campus.a.rcpt = UNKNOWN.format
        assert await ask(campus, recipient, BAD) == UNKNOWN.format(recipient)
        await cached_as_unknown(campus, recipient)
        asked = recipients_named(campus)
        cached = f"550 5.1.1 <{recipient}>: Recipient address rejected: User unknown (cached)"
        assert await ask(campus, recipient) == cached
        assert recipients_named(campus) == asked, "nobody is asked"

    async def test_a_known_recipient_that_is_gone_for_all_senders_is_remembered(self, campus, recipient):
        assert (await ask(campus, recipient)).startswith("250")
        campus.clock.ahead = 7300
        campus.a.rcpt = UNKNOWN.format
        assert await ask(campus, recipient) == UNKNOWN.format(recipient)
        await cached_as_unknown(campus, recipient)
        mails = [line for line in campus.a.commands if line.startswith("MAIL")]
        assert mails[-2:] == ["MAIL FROM:<>", f"MAIL FROM:<{NEUTRAL}>"]

    async def test_a_refusal_that_cannot_be_confirmed_is_not_remembered(self, campus, recipient):
        replies = {"": None}
        campus.a.rcpt_from = lambda sender, _: replies.get(sender, "550 5.1.1 unknown")
        for _ in range(2):
            assert await ask(campus, recipient) == "550 5.1.1 unknown"
            await settled(campus)
            assert entry(campus, recipient) is None


class TestProbes:
    async def test_one_probe_per_recipient_at_a_time(self, make_campus):
        campus = await make_campus(timeouts=KEEP_CONNECTIONS)
        campus.a.rcpt_from = lambda sender, _: "550 5.1.1 unknown" if sender else "250-"
        for _ in range(3):
            assert await ask(campus, DIRECT) == "550 5.1.1 unknown"
        assert sum(line == "MAIL FROM:<>" for line in campus.a.commands) == 1

    async def test_an_accepted_recipient_costs_no_probe(self, campus):
        await ask(campus, DIRECT)
        await settled(campus)
        probes = [line for line in campus.a.commands if line.startswith(f"RCPT TO:<{DIRECT}>")]
        assert len(probes) == 1

    async def test_a_probe_requires_tls_if_the_domain_does(self, make_campus):
        campus = await make_campus(tls=Tls(required_for=("a.univ.example",)))
        campus.gateway.verification_cache.store(Mailbox("alice", "a.univ.example"), known=True)
        campus.clock.ahead = 29 * 86400
        assert await campus.gateway.delivery.verifier.refresh(campus.gateway.routes.find) == 0
        assert campus.a.connections == 1
        assert not any("alice" in line for line in campus.a.commands), "no address in plain text"


class TestRefresh:
    @pytest.mark.parametrize(("refused", "known"), [(("",), True), (("", NEUTRAL), False)])
    async def test_the_null_sender_alone_does_not_make_a_recipient_unknown(self, campus, refused, known):
        campus.gateway.verification_cache.store(Mailbox("alice", "a.univ.example"), known=True)
        campus.clock.ahead = 29 * 86400
        refuse(campus.a, refused, "550 5.1.1 User unknown")
        assert await campus.gateway.delivery.verifier.refresh(campus.gateway.routes.find) == 1
        assert entry(campus, DIRECT) is known

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounces of mail that nobody has sent, by real SMTP: what is remembered, and what is never refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

import pytest
from gateway_doubles import Campus, Clock
from rule_clients import ALICE, BOB, CLIENT, OK, connect

from mailgate.commands.limits_status import limit_checks
from mailgate.config import Config
from mailgate.config_file import ConfigError, parse_config
from mailgate.limits.sent_mail import DAY, SentMail, key_of
from mailgate.smtp.address import Mailbox
from mailgate.state import SENT_MAIL

RELAY = "198.18.200.7"
REFUSED = "550 5.7.1 Bounce refused: the recipient has not sent such a message"
ACCEPTED = "250 2.0.0 Message accepted"
OLD = "Received: from x by gw{}.univ.example with ESMTP id 1; now\r\nMessage-ID: <1@x>\r\nSubject: old\r\n"
BOUNCE = "From: MAILER-DAEMON@x.example\r\nSubject: failed\r\n\r\nNo such user.\r\n\r\n--b\r\n{}"
FORGED = BOUNCE.format("Received: from spam.example by mx.x.example; now\r\nMessage-ID: <1@x>\r\n").encode()
Start = Callable[..., Awaitable[Campus]]


def settings(unsent: str = "refuse", names: str = '"gw1.univ.example"') -> Config:
    return parse_config(
        f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nown_names = [{names}]\n'
        f'relay_networks = ["198.18.200.0/24"]\n'
        f'[bounces]\nunsent = "{unsent}"\ndomains = ["a.univ.example", "*.lab.a.univ.example"]\n'
    )


@pytest.fixture
def start(make_campus: Start) -> Start:
    """Start a gateway whose memory is old enough."""

    async def start(unsent: str = "refuse", names: str = '"gw1.univ.example"', *, days: float = 15) -> Campus:
        config = settings(unsent, names)
        campus = await make_campus(
            bounces=config.bounces,
            own_names=config.own_names,
            relay_networks=config.relay_networks,
            proxy_protocol_from=(ip_network("127.0.0.0/8"),),
        )
        if memory := campus.gateway.sent_mail:
            clock = Clock()
            memory._clock = clock
            assert not memory.is_complete
            clock.ahead = days * DAY
        return campus

    return start


async def bounce(
    campus: Campus, *recipients: str, content: bytes = FORGED, address: str = CLIENT, sender: str = ""
) -> str:
    """Return the reply to a message with the null sender."""
    client = await connect(campus, address)
    recipients = recipients or (ALICE,)
    assert await client.start(*recipients, sender=sender) == [OK] * len(recipients)
    reply = await client.send(content)
    return ACCEPTED if reply.startswith(ACCEPTED) else reply


async def send(campus: Campus, sender: str = ALICE, address: str = RELAY) -> None:
    assert await bounce(campus, "x@x.example" if address == RELAY else BOB, sender=sender, address=address) == ACCEPTED


class TestRefusal:
    async def test_a_bounce_for_somebody_who_has_sent_nothing_is_refused(self, start):
        campus = await start()
        assert await bounce(campus) == REFUSED
        assert not campus.a.received
        (event,) = campus.events("unsent_bounce")
        assert (event["recipients"], event["action"]) == ([ALICE], "refuse")
        assert campus.count("unsent_refused") == 1
        assert campus.count("processed") == 0

    @pytest.mark.parametrize("sender", [ALICE, "ALICE@A.univ.example", "alice+list-7=x@a.univ.example"])
    async def test_whoever_has_sent_gets_bounces(self, start, sender):
        campus = await start()
        await send(campus, sender)
        assert await bounce(campus) == ACCEPTED
        assert await bounce(campus, "bob@a.univ.example") == REFUSED, "not for others"

    async def test_only_hosts_that_may_relay_are_remembered(self, start):
        campus = await start()
        await send(campus, ALICE, CLIENT)
        assert await bounce(campus) == REFUSED

    async def test_a_message_that_was_refused_is_not_remembered(self, start):
        campus = await start()
        campus.queue.final = "554 5.6.0 no"
        assert (await bounce(campus, "x@x.example", sender=ALICE, address=RELAY)).startswith("451")
        assert await bounce(campus) == REFUSED

    async def test_for_some_time_only(self, start):
        campus = await start()
        await send(campus)
        campus.gateway.sent_mail._clock.ahead += 14 * DAY
        assert await bounce(campus) == ACCEPTED
        campus.gateway.sent_mail._clock.ahead += 1 * DAY
        assert await bounce(campus) == REFUSED

    @pytest.mark.parametrize(
        ("recipients", "given"),
        [
            (("postmaster@a.univ.example",), {}),
            (("Abuse@a.univ.example",), {}),
            ((BOB,), {}),
            ((ALICE, BOB), {}),
            ((ALICE,), {"address": RELAY}),
            ((ALICE,), {"sender": "eve@x.example"}),
            ((ALICE,), {"content": BOUNCE.format(OLD.format(1)).encode()}),
            ((ALICE,), {"content": BOUNCE.format(OLD.format(1)).replace("by gw1", "by=\r\n gw1").encode()}),
        ],
    )
    async def test_what_is_never_refused(self, start, recipients, given):
        campus = await start()
        assert await bounce(campus, *recipients, **given) == ACCEPTED
        assert not campus.events("unsent_bounce")

    async def test_probes_at_rcpt_are_answered(self, start):
        client = await connect(await start())
        assert await client.start(ALICE, sender="") == [OK]

    async def test_domains_below_a_suffix(self, start):
        assert await bounce(await start(), "x@dept.lab.a.univ.example") == REFUSED

    async def test_by_log_it_is_delivered(self, start):
        campus = await start("log")
        assert await bounce(campus) == ACCEPTED
        assert campus.events("unsent_bounce")[0]["action"] == "deliver"
        assert campus.count("unsent_logged") == 1

    async def test_by_default_there_is_no_memory(self, make_campus):
        campus = await make_campus()
        assert campus.gateway.sent_mail is None
        assert not (campus.state / SENT_MAIL).exists()


class TestSeveralGateways:
    NAMES = '"gw1.univ.example", "gw2.univ.example"'

    @pytest.mark.parametrize(
        ("content", "reply"),
        [
            (FORGED, REFUSED),
            (BOUNCE.format(OLD.format(2)).encode(), ACCEPTED),
            (b"Subject: away\r\nMessage-ID: <2@x>\r\n\r\nI am on vacation.\r\n", ACCEPTED),
            (BOUNCE.format("").encode(), ACCEPTED),
            (BOUNCE.format(OLD.format(2).replace("gw2.univ.example", "gw2.univ.example.org")).encode(), REFUSED),
        ],
    )
    async def test_only_what_returns_a_message_of_none_of_them_is_refused(self, start, content, reply):
        assert await bounce(await start(names=self.NAMES), content=content) == reply


class TestMemory:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def make(self, tmp_path, clock):
        """Return a function that opens the memory, as a worker does."""
        config = Config("gw1.univ.example", tmp_path / "r", state_dir=tmp_path, bounces=settings().bounces)
        return lambda: SentMail(config, clock)

    def keep(self, memory: SentMail, clock: Clock, days: int) -> None:
        """Have the memory kept for some days."""
        for _half_day in range(2 * days):
            clock.ahead += DAY / 2
            memory.maintain()

    def unsent(self, memory: SentMail) -> bool:
        return memory.is_unsent((Mailbox("alice", "a.univ.example"),), FORGED)

    async def test_until_the_memory_is_old_enough_bounces_are_delivered(self, start):
        campus = await start(days=13.9)
        assert await bounce(campus) == ACCEPTED
        campus.gateway.sent_mail._clock.ahead = 14.1 * DAY
        assert await bounce(campus) == REFUSED

    def test_workers_share_it_and_restarts_keep_it(self, make, clock):
        first, second = make(), make()
        first.remember(Mailbox("alice", "a.univ.example"))
        assert not self.unsent(second)
        self.keep(first, clock, 15)
        assert first.is_complete
        first.close()
        third = make()
        assert third.is_complete
        assert self.unsent(third), "it has expired"

    def test_after_a_day_in_which_it_was_not_kept_it_begins_again(self, make, clock):
        memory = make()
        assert self.unsent(memory)
        clock.ahead += 15 * DAY
        assert memory.is_complete
        memory.close()
        assert not make().is_complete

    def test_a_sender_that_could_not_be_written_makes_it_incomplete(self, make, clock, monkeypatch):
        memory = make()
        assert self.unsent(memory)
        self.keep(memory, clock, 15)
        assert memory.is_complete
        with monkeypatch.context() as broken:
            memory.close()
            broken.setattr("mailgate.limits.sent_mail.open_state", _fail)
            memory.remember(Mailbox("alice", "a.univ.example"))
            assert not self.unsent(memory), "without the memory, nothing is refused"
            assert not memory.is_complete
        assert not memory.is_complete
        assert self.unsent(memory)

    def test_too_many_senders_make_it_incomplete(self, tmp_path, clock):
        config = parse_config(
            'hostname = "g.example"\nroutes_file = "/r"\nown_names = ["g.example"]\n'
            f'relay_networks = ["198.18.0.0/24"]\nstate_dir = "{tmp_path}"\n'
            '[bounces]\nunsent = "refuse"\ndomains = ["a.example"]\nmax_senders = 10\n'
        )
        memory = SentMail(config, clock)
        for number in range(20):
            clock.ahead = 15 * DAY + number * 3600
            memory.remember(Mailbox(f"user{number}", "a.example"))
        memory.maintain()
        assert not memory.is_complete
        database = sqlite3.connect(tmp_path / SENT_MAIL)
        assert database.execute("SELECT COUNT(*) FROM senders").fetchone() == (10,)
        database.close()

    def test_addresses_are_hashed(self, make, tmp_path):
        memory = make()
        memory.remember(Mailbox("alice", "a.univ.example"))
        memory.close()
        assert b"alice" not in b"".join(path.read_bytes() for path in tmp_path.glob(f"{SENT_MAIL}*"))
        assert key_of(Mailbox("+x", "a.example")) != key_of(Mailbox("+y", "a.example"))

    async def test_status(self, start):
        campus = await start()
        await send(campus)
        assert await bounce(campus, "bob@a.univ.example") == REFUSED
        campus.gateway.counters.write()
        found = {name: (ok, detail) for name, ok, detail in limit_checks(campus.gateway.config)}
        ok, detail = found["memory of sent mail"]
        assert ok
        assert detail.startswith("1 senders; refuses bounces in 14 days; ")
        assert detail.endswith("bounces of mail that was not sent in 24 hours: 1 refused, 0 delivered")


def test_settings_that_could_refuse_wrongly_are_problems():
    with pytest.raises(ConfigError) as caught:
        parse_config('hostname = "g.example"\nroutes_file = "/r"\n[bounces]\nunsent = "log"\n', "x")
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "bounces.domains", "bounces.unsent", "own_names",
    ]  # fmt: skip


def _fail(*_given: object, **_more: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")

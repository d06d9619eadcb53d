# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spam scan by real SMTP, with a fake rspamd."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fake_clamd import EICAR
from fake_rspamd import answer, response
from gateway_doubles import PATIENT, wait_for
from rule_clients import ALICE, BOB, OTHER, rule
from spam_mail import ACCEPTED, MESSAGE, REFUSED, RELAYING, send, spam_fields

from mailgate.config import Scan
from mailgate.spam.rspamd import MAX_ANSWER

BOB_REFUSES = '[domains."b.univ.example"]\nspam = "refuse"\n'


async def test_ham(with_rspamd, rspamd):
    rspamd.answer = answer(1.5, symbols={"GOOD": {"score": -1.0}})
    campus = await with_rspamd(rspamd.address)
    assert (await send(campus)).startswith(ACCEPTED)
    (received,) = campus.a.received
    assert spam_fields(received.content) == [
        "X-Spam-Score: 1.50", "X-Spam-Status: No, score=1.50 required=6 tests=GOOD"
    ]  # fmt: skip
    assert received.content.endswith(MESSAGE)
    (event,) = campus.events("message")
    assert (event["spam"], event["spam_score"], event["spam_symbols"]) == ("pass", 1.5, ["GOOD"])
    assert campus.count("spam:pass") == 1
    assert rspamd.messages == [MESSAGE]


async def test_what_rspamd_gets_to_know(with_rspamd, rspamd):
    campus = await with_rspamd(rspamd.address)
    await send(campus, ALICE, BOB)
    await send(campus, sender="", address=OTHER)
    first, second = rspamd.headers
    (message, _second) = campus.events("message")
    assert first["queue-id"] == [message["id"]]
    assert (first["ip"], first["helo"], first["hostname"]) == (["198.18.9.9"], *[["mail.sender.example"]] * 2)
    assert (first["from"], first["rcpt"]) == (["<a@sender.example>"], [f"<{ALICE}>", f"<{BOB}>"])
    assert "user" not in first
    # A client without a name in DNS.
    assert second["from"] == ["<>"]
    assert "hostname" not in second


@pytest.mark.parametrize(
    ("score", "choice", "reply", "marked"),
    [
        (7.0, "tag", ACCEPTED, True), (99.0, "tag", ACCEPTED, True), (7.0, "refuse", ACCEPTED, True),
        (15.0, "refuse", REFUSED, False), (10.0, "strict", REFUSED, False), (5.0, "strict", ACCEPTED, True),
        (5.0, "refuse", ACCEPTED, False),
    ],
)  # fmt: skip
async def test_spam(with_rspamd, rspamd, score, choice, reply, marked):
    rspamd.answer = answer(score)
    campus = await with_rspamd(rspamd.address, f'spam = "{choice}"')
    assert (await send(campus)).startswith(reply)
    (event,) = campus.events("message")
    assert event["spam_score"] == score
    if reply == REFUSED:
        assert not campus.a.received
        assert not campus.queue.received
        assert event["spam"] == "refuse"
        assert event["reply"] == REFUSED
    else:
        assert ("X-Spam-Flag: YES" in spam_fields(campus.a.received[0].content)) == marked


async def test_forged_fields_are_removed(with_rspamd, rspamd):
    campus = await with_rspamd(rspamd.address)
    await send(campus, content=b"X-Spam-Status: No, score=-99\r\n" + MESSAGE)
    assert b"-99" not in campus.a.received[0].content
    assert rspamd.messages == [MESSAGE]


async def test_subject(with_rspamd, rspamd):
    rspamd.answer = lambda content: answer(7.0 if b"offer" in content else 0.0)
    campus = await with_rspamd(rspamd.address, 'subject_tag = "[SPAM]"')
    await send(campus)
    await send(campus, content=MESSAGE.replace(b"offer", b"hello"))
    first, second = campus.a.received
    assert b"\r\nSubject: [SPAM]\r\n offer\r\n\r\nBuy.\r\n" in first.content
    assert b"\r\nSubject: hello\r\n" in second.content


async def test_domains_choose(with_rspamd, rspamd):
    rspamd.answer = answer(20.0)
    campus = await with_rspamd(rspamd.address, rest='[domains."b.univ.example"]\nspam = "off"\n')
    assert (await send(campus, BOB)).startswith(ACCEPTED)
    # Nobody wants it scanned.
    assert not rspamd.messages
    assert "spam" not in campus.events("message")[0]
    assert (await send(campus, ALICE, BOB)).startswith(ACCEPTED)
    assert "X-Spam: Yes" in spam_fields(campus.a.received[0].content)
    assert not any(spam_fields(each.content) for each in campus.b.received)
    assert len(campus.b.received) == 2


async def test_mail_is_not_lost_by_what_another_domain_refuses(with_rspamd, rspamd):
    rspamd.answer = answer(20.0)
    campus = await with_rspamd(rspamd.address, rest=BOB_REFUSES)
    assert await send(campus, BOB) == REFUSED
    assert (await send(campus, ALICE, BOB)).startswith(ACCEPTED)
    for received in (*campus.a.received, *campus.b.received):
        assert "X-Spam: Yes" in spam_fields(received.content)
    assert len(campus.b.received) == 1


@pytest.mark.parametrize("address", ["postmaster@gw1.univ.example", "Postmaster"])
@pytest.mark.parametrize("postmaster", ["", "admin@a.univ.example"])
async def test_postmaster_gets_spam(with_rspamd, rspamd, address, postmaster):
    rspamd.answer = answer(20.0)
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"', postmaster=postmaster)
    assert (await send(campus, address)).startswith(ACCEPTED)
    (received,) = (campus.a if postmaster else campus.queue).received
    assert "X-Spam: Yes" in spam_fields(received.content)
    # Not if it is not for the postmaster.
    assert await send(campus, "admin@a.univ.example") == REFUSED


@pytest.mark.parametrize("when", ['client = ["198.18.9.9"]', 'from_header = ["sender.example"]'])
async def test_rule_that_allows(with_rspamd, rspamd, when):
    rspamd.answer = answer(20.0)
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"', rule("partner", "allow", when))
    assert (await send(campus)).startswith(ACCEPTED)
    assert "X-Spam: Yes" in spam_fields(campus.a.received[0].content)
    assert await send(campus, address=OTHER, content=MESSAGE.replace(b"sender.ex", b"other.ex")) == REFUSED


async def test_hosts_that_may_relay(with_rspamd, rspamd):
    rspamd.answer = answer(20.0)
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"')
    assert (await send(campus, "x@elsewhere.example", address=RELAYING)).startswith(ACCEPTED)
    assert not rspamd.messages
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"\nrelayed = "tag"')
    assert (await send(campus, "x@elsewhere.example", address=RELAYING)).startswith(ACCEPTED)
    assert "X-Spam: Yes" in spam_fields(campus.queue.received[0].content)
    assert rspamd.headers[0]["user"] == [RELAYING]


async def test_exempt_clients_are_not_scanned(with_rspamd, rspamd):
    campus = await with_rspamd(rspamd.address)
    assert (await send(campus, address="198.18.0.25", content=b"X-Spam: Yes\r\n" + MESSAGE)).startswith(ACCEPTED)
    assert not rspamd.messages
    assert b"X-Spam: Yes\r\n" in campus.a.received[0].content


async def test_virus_comes_first(with_rspamd, rspamd):
    rspamd.answer = answer(20.0)
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"')
    rspamd.pause = 3600
    assert (await send(campus, content=MESSAGE + EICAR + b"\r\n")).startswith("554 5.7.0 Message contains malware")
    # It does not wait for rspamd until that has no more time.
    assert not campus.events("rspamd_failed")
    assert "spam" not in campus.events("message")[0]


async def test_both_scans_run_at_the_same_time(with_rspamd, rspamd):
    campus = await with_rspamd(rspamd.address)
    clamd = campus.clamd

    async def scan(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wait_for(lambda: rspamd.messages)
        await clamd.scan(reader, writer)

    # Neither has a result before the other one has begun.
    clamd.serve = scan
    rspamd.before_answer = lambda: wait_for(lambda: clamd.parallel == 1 or clamd.scans)
    assert (await send(campus)).startswith(ACCEPTED)
    assert campus.events("message")[0]["spam"] == "pass"


async def test_large_messages(with_rspamd, rspamd):
    campus = await with_rspamd(rspamd.address, 'max_size = 1000\non_failure = "defer"')
    assert (await send(campus, content=MESSAGE + b"x\r\n" * 500)).startswith(ACCEPTED)
    assert spam_fields(campus.a.received[0].content) == ["X-Spam-Status: Not scanned, message exceeds 1000 bytes"]
    assert not rspamd.messages
    assert campus.count("spam:too_large") == 1
    assert not campus.events("rspamd_failed")


FAULTS = {
    "closed": None,
    "garbage": b"\0\xff" * 50_000,
    "huge": response(b"x" * (MAX_ANSWER + 1)),
    "status": response(b"", "500 Internal Server Error"),
    "half": response(b'{"score": 20}')[:-4],
    "no score": response(b"{}"),
    "not json": response(b"reject"),
}


class TestFailures:
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_mail_goes_on(self, with_rspamd, rspamd, fault):
        rspamd.answer = FAULTS[fault]
        campus = await with_rspamd(rspamd.address, 'spam = "refuse"')
        replies = await asyncio.gather(*(send(campus, address=f"198.18.9.{number}") for number in range(20, 25)))
        assert all(reply.startswith(ACCEPTED) for reply in replies)
        assert {event["spam"] for event in campus.events("message")} == {"failed"}
        for received in campus.a.received:
            assert spam_fields(received.content) == ["X-Spam-Status: Not scanned, rspamd unavailable"]
        (failure,) = campus.events("rspamd_failed")
        assert failure["number"] == 1
        assert failure["reason"]
        assert campus.count("spam:failed") == 5

    async def test_is_deferred_by_choice(self, with_rspamd, rspamd):
        rspamd.stop()
        campus = await with_rspamd(rspamd.address, 'on_failure = "defer"', '[domains."b.univ.example"]\nspam = "off"\n')
        assert await send(campus) == "451 4.7.1 Spam scan unavailable; try again later"
        assert (await send(campus, ALICE, BOB)).startswith(ACCEPTED)
        assert campus.events("message")[0]["spam"] == "defer"

    async def test_silent(self, with_rspamd, rspamd):
        rspamd.pause = 3600
        campus = await with_rspamd(rspamd.address, "seconds = 1")
        campus.gateway.spam.scanner._clock = lambda: 1000.0
        replies = await asyncio.gather(*(send(campus, address=f"198.18.9.{number}") for number in range(20, 24)))
        assert all(reply.startswith(ACCEPTED) for reply in replies)
        asked = len(rspamd.messages)
        assert asked >= 3
        assert (await send(campus)).startswith(ACCEPTED)
        # After failures in a row, mail does not wait for it.
        assert len(rspamd.messages) == asked
        assert campus.events("rspamd_failed")[0]["reason"] == "no answer in time"

    async def test_works_again(self, with_rspamd, rspamd):
        rspamd.answer = None
        campus = await with_rspamd(rspamd.address)
        scanner = campus.gateway.spam.scanner
        now = 1000.0
        scanner._clock = lambda: now
        for _message in range(4):
            await send(campus)
        assert len(rspamd.messages) == 3
        rspamd.answer = answer(1.0)
        await send(campus)
        now += 11
        await send(campus)
        await send(campus)
        assert [event["spam"] for event in campus.events("message")] == ["failed"] * 5 + ["pass"] * 2
        now += 60
        rspamd.answer = None
        await send(campus)
        assert [event["number"] for event in campus.events("rspamd_failed")] == [1, 5]

    async def test_scans_are_bounded(self, with_rspamd, rspamd):
        campus = await with_rspamd(rspamd.address, "concurrency = 2")
        # Others would begin after two have.
        rspamd.before_answer = lambda: wait_for(lambda: rspamd.max_parallel >= 2)
        rspamd.pause = 0.05
        await asyncio.gather(*(send(campus, address=f"198.18.9.{number}") for number in range(20, 26)))
        assert rspamd.max_parallel == 2
        assert campus.count("spam:pass") == 6

    async def test_does_not_outlast_the_time_of_scans(self, with_rspamd, rspamd):
        rspamd.pause = 3600
        campus = await with_rspamd(rspamd.address, "seconds = 60", timeouts=replace(PATIENT, scan=2))
        began = asyncio.get_running_loop().time()
        assert (await send(campus)).startswith(ACCEPTED)
        assert asyncio.get_running_loop().time() - began < 45

    async def test_an_error_of_a_library_stops_no_mail(self, with_rspamd, rspamd, monkeypatch):
        def broken(*_arguments: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("mailgate.spam.scanner.check", broken)
        campus = await with_rspamd(rspamd.address)
        assert (await send(campus)).startswith(ACCEPTED)
        assert campus.events("message")[0]["spam"] == "failed"

    async def test_virus_scan_fails(self, with_rspamd, rspamd, tmp_path):
        campus = await with_rspamd(rspamd.address, scan=Scan(socket=str(tmp_path / "none")))
        assert (await send(campus)).startswith("451 4.7.0 Virus scan unavailable")


async def test_soft_reject(with_rspamd, rspamd):
    rspamd.answer = answer(5.0, "soft reject")
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"\nsoft_reject = "defer"')
    assert await send(campus) == "451 4.7.1 Spam scanner asks to try again later"
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"')
    assert (await send(campus)).startswith(ACCEPTED)


async def test_greylisting(with_rspamd, rspamd):
    rspamd.answer = lambda content: answer(7.0 if b"offer" in content else 0.0)
    campus = await with_rspamd(rspamd.address, 'spam = "refuse"\ngreylist_score = 5')
    assert (await send(campus)).startswith("450 4.7.1 New sender, please try again in")
    assert (await send(campus, content=MESSAGE.replace(b"offer", b"hello"))).startswith(ACCEPTED)
    assert [event["spam"] for event in campus.events("message")] == ["greylist", "pass"]
    assert (campus.count("spam:greylist"), campus.count("greylisted")) == (1, 1)

    async def known(*_triplet: object) -> int:
        return 0

    campus.gateway.rules.greylister = known
    assert (await send(campus)).startswith(ACCEPTED)
    assert "X-Spam: Yes" in spam_fields(campus.a.received[-1].content)
    assert campus.events("message")[-1]["spam"] == "tag"


async def test_slow_dns_delays_but_stops_nothing(with_rspamd, rspamd, dns, monkeypatch):
    monkeypatch.setattr("mailgate.spam.check.NAME_SECONDS", 0.2)
    dns.silent.add("9.9.18.198.in-addr.arpa")
    campus = await with_rspamd(rspamd.address)
    assert (await send(campus)).startswith(ACCEPTED)
    assert "hostname" not in rspamd.headers[0]


async def test_nothing_is_done_without_it(with_rspamd, rspamd, dns):
    campus = await with_rspamd("")
    assert campus.gateway.spam is None
    content = b"X-Spam: Yes\r\n" + MESSAGE
    assert (await send(campus, content=content)).startswith(ACCEPTED)
    assert campus.a.received[0].content.endswith(content)
    assert not rspamd.messages
    assert not dns.asked

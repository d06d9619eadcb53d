# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One message to recipients whose domains have different policies."""

from __future__ import annotations

import binascii
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fake_clamd import find_eicar
from gateway_doubles import EICAR, Campus, wait_for
from infected_mail import HEAD, TEXT, b64, multi, part

from mailgate.config import Attachments, Notices, QuarantineLimits, Scan
from mailgate.content.quarantine import DIRECTORY, Quarantine

Make = Callable[..., Awaitable[Campus]]


INFECTED = part(b64(EICAR), b"application/zip; name=evil.zip")


PROGRAM = part(b64(b"MZ" + bytes(200)), b"application/x; name=setup.exe")


A, B, LAB, LAB2 = "alice@a.univ.example", "bob@b.univ.example", "x@one.lab.a.univ.example", "y@two.lab.a.univ.example"


async def start(make: Make, tmp_path: Path, **changes: object) -> Campus:
    """Infected mail is stripped for a, quarantined for b, discarded for one.lab; two.lab rejects programs too."""
    own = {
        "b.univ.example": {"infected": "quarantine"},
        "one.lab.a.univ.example": {"infected": "discard"},
        "two.lab.a.univ.example": {"extension": "strip"},
        **changes.pop("domains", {}),
    }
    return await make(scan=Scan(socket=str(tmp_path / "clamd.ctl"), file_size=0), domains=own, **changes)


async def send(campus: Campus, content: bytes, *recipients: str) -> str:
    client = await campus.connect()
    assert all(answer.startswith("250") for answer in await client.start(*recipients))
    return await client.send(content)


def got(campus: Campus) -> dict[str, bytes]:
    """Return the content by recipient, from all servers; no recipient may have a message twice."""
    found = {}
    for hop in (campus.a, campus.b, campus.queue):
        for mail in hop.received:
            for recipient in mail.recipients:
                assert recipient not in found
                found[recipient] = mail.content
    return found


def _plain(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text.partition(b"\r\n--")[0])
    except binascii.Error:
        return b""


def take_one(hop) -> None:
    """Let the server accept one message and be busy afterwards."""

    async def first_only() -> None:
        hop.final = "451 busy" if hop.received else "250 taken"

    hop.before_final = first_only


class TestPolicies:
    async def test_clean_mail_is_one_variant_and_scanned_once(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        message = HEAD + multi(TEXT, part(b64(b"fine")))
        assert (await send(campus, message, A, LAB, LAB2, B)).startswith("250")
        assert [mail.recipients for mail in campus.a.received] == [[A, LAB, LAB2]]
        assert all(content.endswith(message) for content in got(campus).values())
        assert len(campus.clamd.scans) == 1
        assert campus.events("finding") == []

    async def test_each_recipient_gets_the_variant_of_its_domain(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        message = HEAD + multi(TEXT, INFECTED, PROGRAM)
        assert (await send(campus, message, A, LAB, LAB2, B)).startswith("250")
        mails = got(campus)
        assert set(mails) == {A, LAB2, B}, "discarded for one, and for nobody else"
        assert all(b64(EICAR) not in content for content in mails.values())
        assert [PROGRAM in mails[recipient] for recipient in (A, LAB2, B)] == [True, False, True]
        [kept] = Quarantine(tmp_path, QuarantineLimits()).entries()
        assert kept.recipients == (B,)
        found = {tuple(event["recipients"]): event for event in campus.events("finding")}
        assert {key: event["action"] for key, event in found.items()} == {
            (A,): "deliver", (LAB,): "discard", (LAB2,): "deliver", (B,): "quarantine",
        }  # fmt: skip
        [message_event] = campus.events("message")
        numbers = [event["id"] for event in found.values()]
        assert len(set(numbers)) == 4
        assert all(number.startswith(message_event["id"]) for number in numbers)
        assert found[(B,)]["id"] == kept.id
        [notice] = [line for line in mails[B].split(b"\r\n\r\n") if kept.id.encode() in _plain(line)]
        assert notice not in mails[A]

    async def test_a_domain_without_restrictions_gets_the_message_unchanged(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        message = HEAD + multi(TEXT, PROGRAM)
        assert (await send(campus, message, A, LAB2, B)).startswith("250")
        mails = got(campus)
        assert [mails[one].endswith(message) for one in (A, LAB2, B)] == [True, False, True]

    async def test_discarded_for_all_is_delivered_to_nobody(self, make_campus, tmp_path):
        campus = await start(
            make_campus, tmp_path, domains={"a.univ.example": {"infected": "discard", "macro": "strip"}}
        )
        assert (await send(campus, HEAD + multi(TEXT, INFECTED), A, LAB)).startswith("250")
        assert got(campus) == {}

    @pytest.mark.parametrize("to", [(A, LAB, B), (B, LAB, A)])
    async def test_a_rejection_for_one_domain_is_a_rejection_for_all(self, make_campus, tmp_path, to):
        campus = await start(
            make_campus, tmp_path, domains={"a.univ.example": {"infected": "refuse"}}, notices=Notices(to="recipients")
        )
        assert await send(campus, HEAD + multi(TEXT, INFECTED), *to) == (
            "554 5.7.0 Message contains malware: Eicar-Signature (policy of a.univ.example; refused for all recipients)"
        )
        assert campus.a.received == campus.b.received == []
        assert not (tmp_path / DIRECTORY).exists(), "the sender knows that nobody has it"
        [finding] = campus.events("finding")
        assert (finding["action"], finding["recipients"]) == ("refuse", list(to))
        await wait_for(lambda: len(campus.queue.received) == len(to))
        assert sorted(notice.recipients[0] for notice in campus.queue.received) == sorted(to)

    async def test_an_attachment_policy_of_one_domain_only(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path, attachments=Attachments(extension="strip"),
                             domains={"two.lab.a.univ.example": {"extension": "allow"}})  # fmt: skip
        message = HEAD + multi(TEXT, PROGRAM)
        assert (await send(campus, message, A, LAB2)).startswith("250")
        assert [PROGRAM in got(campus)[one] for one in (A, LAB2)] == [False, True]


class TestFailures:
    async def test_a_failed_quarantine_defers_the_message_before_any_delivery(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path, quarantine=QuarantineLimits(max_bytes=100))
        assert (await send(campus, HEAD + multi(TEXT, INFECTED), A, B)).startswith("451")
        assert got(campus) == {}

    async def test_a_failed_scan_of_a_variant_defers_the_message_for_all(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        answer = find_eicar

        def once(stream: bytes) -> bytes:
            # The scan of the whole message succeeds, all later ones fail.
            campus.clamd.answer = lambda _: b"stream: ERROR\0"
            return answer(stream)

        campus.clamd.answer = once
        assert (await send(campus, HEAD + multi(TEXT, INFECTED), A, B)).startswith("451")
        assert got(campus) == {}
        assert not (tmp_path / DIRECTORY).exists()

    async def test_a_failure_after_delivery_of_one_variant_queues_the_rest(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        message = HEAD + multi(TEXT, INFECTED, PROGRAM)

        take_one(campus.a)
        assert (await send(campus, message, A, LAB2)).startswith("250")
        assert [mail.recipients for mail in campus.a.received] == [[A]]
        assert [mail.recipients for mail in campus.queue.received] == [[LAB2]]
        assert PROGRAM in got(campus)[A] and PROGRAM not in got(campus)[LAB2]

    async def test_a_rejection_by_all_servers_is_returned(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        campus.a.final, campus.b.final = "552 too big", "452 full"
        message = HEAD + multi(TEXT, INFECTED, PROGRAM)
        assert (await send(campus, message, A, LAB2)) == "552 too big"
        assert (await send(campus, message, A, LAB2, B)) == "452 full"
        assert got(campus) == {}

    async def test_a_recipient_that_is_rejected_the_second_time_is_queued(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        named = []

        def rcpt(recipient: str) -> str:
            named.append(recipient)
            return "450 no more" if named.count(LAB2) > 1 else "250 ok"

        campus.a.rcpt = rcpt
        assert (await send(campus, HEAD + multi(TEXT, INFECTED, PROGRAM), A, LAB2)).startswith("250")
        assert [mail.recipients for mail in campus.queue.received] == [[LAB2]]

    async def test_a_retry_does_not_deliver_a_variant_twice(self, make_campus, tmp_path):
        """One variant was accepted, the other neither by the server nor by the queue: the client retries."""
        campus = await start(make_campus, tmp_path)
        identity = b"Message-ID: <1@sender.example>\r\nDate: Sun, 29 Nov 2026 10:00:00 +0000\r\n"
        message = identity + HEAD + multi(TEXT, INFECTED, PROGRAM)

        take_one(campus.a)
        campus.queue.final = "452 no space"
        assert (await send(campus, message, A, LAB, LAB2, B)).startswith("45")
        assert set(got(campus)) == {A, B}
        campus.a.before_final = None
        campus.a.final = "250 taken"
        assert (await send(campus, message, A, LAB, LAB2, B)).startswith("250")
        assert set(got(campus)) == {A, B, LAB2}
        assert len(list(Quarantine(tmp_path, QuarantineLimits()).entries())) == 1, (
            "what is delivered is not judged again"
        )

    async def test_the_queue_accepts_each_variant(self, make_campus, tmp_path):
        campus = await start(make_campus, tmp_path)
        assert (await send(campus, HEAD + multi(TEXT), A, LAB, LAB2)).startswith("250")
        campus.a.stop()
        campus.a.received.clear()
        client = await campus.connect()
        campus.a.hang_ups = 9
        answers = await client.start(A, LAB, LAB2)
        assert all(answer.startswith("250") for answer in answers), answers
        assert (await client.send(HEAD + multi(TEXT, INFECTED, PROGRAM))).startswith("250")
        assert sorted(mail.recipients for mail in campus.queue.received) == [[A], [LAB2]]
        assert campus.a.received == []

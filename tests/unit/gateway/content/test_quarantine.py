# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quarantine, discard, notices and texts of removed parts."""

from __future__ import annotations

import stat
from email import message_from_bytes
from pathlib import Path

import pytest
from gateway_doubles import EICAR, wait_for
from infected_mail import HEAD, TEXT, b64, multi, part, uu

from mailgate.config import ConfigError, Notices, QuarantineLimits, Scan
from mailgate.config_file import parse_config
from mailgate.content.notices import check_template
from mailgate.content.quarantine import DIRECTORY

INFECTED = multi(TEXT, part(b64(EICAR), b"application/zip; name=evil.zip"))


MESSAGE = HEAD + INFECTED


AMBIGUOUS = MESSAGE.replace(b"--b--", b"--c--")


async def send(campus, content: bytes = MESSAGE, *recipients: str) -> str:
    client = await campus.connect()
    await client.start(*(recipients or ("alice@a.univ.example",)))
    return await client.send(content)


def policy(tmp_path: Path, **words: object) -> Scan:
    return Scan(socket=str(tmp_path / "clamd.ctl"), file_size=0, **words)  # type: ignore[arg-type]


class TestActions:
    async def test_quarantine_keeps_the_message_and_delivers_the_rest(self, make_campus, tmp_path):
        campus = await make_campus(scan=policy(tmp_path, infected="quarantine"))
        assert (await send(campus)).startswith("250")
        [got] = campus.a.received
        assert b64(EICAR) not in got.content
        [kept] = (tmp_path / DIRECTORY).iterdir()
        assert kept.read_bytes().endswith(b"\n" + MESSAGE)
        [finding] = campus.events("finding")
        assert (finding["id"], finding["action"], finding["removed"]) == (kept.name, "quarantine", ["evil.zip"])
        notice = next(p for p in message_from_bytes(got.content).walk() if p.get_content_disposition() == "inline")
        assert kept.name in notice.get_payload(decode=True).decode()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700

    @pytest.mark.parametrize("word", ["strip", "quarantine"])
    async def test_ambiguous_messages_are_rejected_and_not_kept(self, make_campus, tmp_path, word):
        campus = await make_campus(scan=policy(tmp_path, infected=word))
        assert (await send(campus, AMBIGUOUS)).startswith("554 5.7.0")
        assert campus.a.received == []
        assert not (tmp_path / DIRECTORY).exists()

    @pytest.mark.parametrize("content", [MESSAGE, AMBIGUOUS])
    async def test_discard_replies_250_and_delivers_nothing(self, make_campus, tmp_path, content):
        campus = await make_campus(scan=policy(tmp_path, infected="discard"))
        assert (await send(campus, content)).startswith("250")
        await campus.gateway.finish(2)
        assert campus.a.received == campus.queue.received == []
        assert [event["action"] for event in campus.events("finding")] == ["discard"]

    async def test_policies_by_domain(self, make_campus, tmp_path):
        campus = await make_campus(
            scan=policy(tmp_path),
            domains={"b.univ.example": {"infected": "refuse"}, "*.lab.a.univ.example": {"infected": "discard"}},
        )
        assert (await send(campus, MESSAGE, "alice@a.univ.example")).startswith("250")
        assert (await send(campus, MESSAGE, "bob@b.univ.example")).startswith("554")
        assert (await send(campus, MESSAGE, "x@pc.lab.a.univ.example")).startswith("250")
        assert (await send(campus, MESSAGE, "alice@a.univ.example", "bob@b.univ.example")).startswith("554")
        assert [len(hop.received) for hop in (campus.a, campus.b)] == [1, 0]

    async def test_a_failed_quarantine_defers_the_message(self, make_campus, tmp_path):
        campus = await make_campus(scan=policy(tmp_path, infected="quarantine"))
        (tmp_path / DIRECTORY).write_text("in the way")
        assert (await send(campus)).startswith("451")
        assert campus.a.received == []
        assert campus.events("not_kept")
        campus = await make_campus(
            scan=policy(tmp_path, infected="quarantine"), quarantine=QuarantineLimits(max_bytes=100)
        )
        assert (await send(campus)).startswith("451")


class TestNotices:
    async def test_broken_signatures_are_noted_in_a_header_field(self, campus):
        signed = (
            b"DKIM-Signature: v=1; d=x.example\r\n" + HEAD + b"Content-Type: multipart/signed; boundary=s; micalg=x"
        )
        signed += (
            b"; protocol=application/pkcs7-signature\r\n\r\n--s\r\n" + INFECTED + b"\r\n--s\r\n\r\nsig\r\n--s--\r\n"
        )
        assert (await send(campus, signed)).startswith("250")
        mail = message_from_bytes(campus.a.received[0].content)
        assert mail["X-Mailgate-Signature-Broken"].startswith("dkim, smime ")
        assert (await send(campus)).startswith("250")
        assert message_from_bytes(campus.a.received[1].content)["X-Mailgate-Signature-Broken"] is None
        clean = signed.replace(b64(EICAR), b64(b"fine"))
        assert (await send(campus, clean)).startswith("250")
        assert campus.a.received[2].content.endswith(clean)
        assert b"X-Mailgate" not in campus.a.received[2].content

    async def test_a_uuencoded_block_is_replaced_by_text(self, make_campus):
        campus = await make_campus(language="ja")
        campus.clamd.answer = lambda stream: (
            b"stream: Eicar FOUND\0" if EICAR in stream or uu(EICAR)[20:60] in stream else b"stream: OK\0"
        )
        for charset, japanese in ((b"iso-2022-jp", False), (b"utf-8", True), (b"us-ascii", False)):
            text = (
                HEAD + b"Content-Type: text/plain; charset=" + charset + b"\r\n\r\nbefore\r\n" + uu(EICAR, "evil.com")
            )
            assert (await send(campus, text + b"\r\nafter\r\n")).startswith("250")
            content = campus.a.received.pop().content
            assert b"\r\nbefore\r\n[ " in content
            assert content.endswith(b" ]\r\nafter\r\n")
            assert b"evil.com" in content
            assert ("取り除きました" in content.decode("utf-8").replace(" ]\r\n[ ", "")) == japanese

    async def test_a_configured_text_for_removed_parts(self, make_campus):
        campus = await make_campus(notices=Notices(text="{file} {reason}: see https://www.univ.example/ {host}{id}"))
        await send(campus)
        [notice] = [p for p in message_from_bytes(campus.a.received[0].content).walk() if p.get_content_disposition()]
        assert notice.get_payload(decode=True).startswith(b"evil.zip was infected (Eicar-Signature): see https://")

    @pytest.mark.parametrize("text", ["{name}", "{file!r:>9}", "{", "{0}", "{file.x}", "{}"])
    def test_unknown_fields_of_the_text_are_rejected(self, text):
        with pytest.raises(ValueError):
            check_template(text)
        with pytest.raises(ConfigError, match=r"notices\.text"):
            parse_config(f'hostname = "g.example"\nroutes_file = "/r"\n[notices]\ntext = "{text}"\n')

    @pytest.mark.parametrize(
        ("to", "expected"),
        [
            ("nobody", []),
            ("recipients", ["alice@a.univ.example", "bob@b.univ.example"]),
            ("postmaster", ["postmaster@gw1.univ.example"]),
            ("both", ["alice@a.univ.example", "bob@b.univ.example", "postmaster@gw1.univ.example"]),
        ],
    )
    @pytest.mark.parametrize("word", ["refuse", "discard"])
    async def test_notices_of_stopped_mail_never_go_to_the_sender(self, make_campus, tmp_path, to, expected, word):
        campus = await make_campus(scan=policy(tmp_path, infected=word), notices=Notices(to=to))
        await send(campus, MESSAGE, "alice@a.univ.example", "bob@b.univ.example")
        await wait_for(lambda: len(campus.queue.received) == len(expected))
        await campus.gateway.finish(2)
        assert sorted(mail.recipients[0] for mail in campus.queue.received) == sorted(expected)
        for mail in campus.queue.received:
            assert mail.sender == ""
            notice = message_from_bytes(mail.content)
            text = notice.get_payload(decode=True).decode()
            assert "a@sender.example" in text
            assert "配信しませんでした" in text
            assert notice["Auto-Submitted"] == "auto-generated"
        assert campus.a.received == []

    async def test_a_notice_that_cannot_be_sent_is_an_event(self, make_campus, tmp_path):
        campus = await make_campus(scan=policy(tmp_path, infected="refuse"), notices=Notices(to="postmaster"))
        campus.queue.stop()
        assert (await send(campus)).startswith("554")
        await wait_for(lambda: campus.events("notice_not_sent"))

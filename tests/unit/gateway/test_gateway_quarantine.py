# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stopped: policies at work over real sockets, the quarantine and its commands, notices to the right people."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from email import message_from_bytes
from pathlib import Path

import pytest
from gateway_doubles import EICAR, Hop
from infected_mail import HEAD, TEXT, b64, multi, part, uu

from mailgate.cli import main
from mailgate.config import ConfigError, Notices, QuarantineLimits, Scan
from mailgate.config_file import parse_config
from mailgate.content.notices import check_template
from mailgate.content.quarantine import DIRECTORY, Entry, Quarantine, QuarantineError

INFECTED = multi(TEXT, part(b64(EICAR), b"application/zip; name=evil.zip"))
MESSAGE = HEAD + INFECTED
AMBIGUOUS = MESSAGE.replace(b"--b--", b"--c--")


async def send(campus, content: bytes = MESSAGE, *recipients: str) -> str:
    client = await campus.connect()
    await client.start(*(recipients or ("alice@a.univ.example",)))
    return await client.send(content)


def policy(tmp_path: Path, **words: object) -> Scan:
    return Scan(socket=str(tmp_path / "clamd.ctl"), file_size=0, **words)  # type: ignore[arg-type]


def events(campus, name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in campus.gateway.events._out.text.splitlines()]
    return [line for line in lines if line["event"] == name]


async def until(condition) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def test_quarantine_keeps_the_message_and_delivers_the_rest(make_campus, tmp_path):
    campus = await make_campus(scan=policy(tmp_path, infected="quarantine"))
    assert (await send(campus)).startswith("250")
    [got] = campus.a.received
    assert b64(EICAR) not in got.content
    [kept] = (tmp_path / DIRECTORY).iterdir()
    assert kept.read_bytes().endswith(b"\n" + MESSAGE)
    [finding] = events(campus, "finding")
    assert (finding["id"], finding["action"], finding["removed"]) == (kept.name, "quarantine", ["evil.zip"])
    notice = next(p for p in message_from_bytes(got.content).walk() if p.get_content_disposition() == "inline")
    assert kept.name in notice.get_payload(decode=True).decode()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("word", ["strip", "quarantine"])
async def test_ambiguous_messages_are_refused_and_not_kept(make_campus, tmp_path, word):
    campus = await make_campus(scan=policy(tmp_path, infected=word))
    assert (await send(campus, AMBIGUOUS)).startswith("554 5.7.0")
    assert campus.a.received == []
    assert not (tmp_path / DIRECTORY).exists()


@pytest.mark.parametrize("content", [MESSAGE, AMBIGUOUS])
async def test_discard_says_250_and_delivers_nothing(make_campus, tmp_path, content):
    campus = await make_campus(scan=policy(tmp_path, infected="discard"))
    assert (await send(campus, content)).startswith("250")
    await asyncio.sleep(0.05)
    assert campus.a.received == campus.queue.received == []
    assert [event["action"] for event in events(campus, "finding")] == ["discard"]


async def test_domains_have_policies_of_their_own(make_campus, tmp_path):
    campus = await make_campus(
        scan=policy(tmp_path),
        domains={"b.univ.example": {"infected": "refuse"}, "*.lab.a.univ.example": {"infected": "discard"}},
    )
    assert (await send(campus, MESSAGE, "alice@a.univ.example")).startswith("250")
    assert (await send(campus, MESSAGE, "bob@b.univ.example")).startswith("554")
    assert (await send(campus, MESSAGE, "x@pc.lab.a.univ.example")).startswith("250")
    assert (await send(campus, MESSAGE, "alice@a.univ.example", "bob@b.univ.example")).startswith("554")
    assert [len(hop.received) for hop in (campus.a, campus.b)] == [1, 0]


async def test_what_cannot_be_kept_is_put_off(make_campus, tmp_path):
    campus = await make_campus(scan=policy(tmp_path, infected="quarantine"))
    (tmp_path / DIRECTORY).write_text("in the way")
    assert (await send(campus)).startswith("451")
    assert campus.a.received == []
    assert events(campus, "not_kept")
    campus = await make_campus(scan=policy(tmp_path, infected="quarantine"), quarantine=QuarantineLimits(max_bytes=100))
    assert (await send(campus)).startswith("451")


async def test_broken_signatures_are_noted_on_top(campus):
    signed = b"DKIM-Signature: v=1; d=x.example\r\n" + HEAD + b"Content-Type: multipart/signed; boundary=s; micalg=x"
    signed += b"; protocol=application/pkcs7-signature\r\n\r\n--s\r\n" + INFECTED + b"\r\n--s\r\n\r\nsig\r\n--s--\r\n"
    assert (await send(campus, signed)).startswith("250")
    mail = message_from_bytes(campus.a.received[0].content)
    assert mail["X-Mailgate-Signature-Broken"].startswith("dkim, smime ")
    assert (await send(campus)).startswith("250")
    assert message_from_bytes(campus.a.received[1].content)["X-Mailgate-Signature-Broken"] is None
    clean = signed.replace(b64(EICAR), b64(b"fine"))
    assert (await send(campus, clean)).startswith("250")
    assert campus.a.received[2].content.endswith(clean)
    assert b"X-Mailgate" not in campus.a.received[2].content


async def test_block_of_uuencode_gives_way_to_lines_of_text(make_campus):
    campus = await make_campus(language="ja")
    campus.clamd.answer = lambda stream: (
        b"stream: Eicar FOUND\0" if EICAR in stream or uu(EICAR)[20:60] in stream else b"stream: OK\0"
    )
    for charset, japanese in ((b"iso-2022-jp", False), (b"utf-8", True), (b"us-ascii", False)):
        text = HEAD + b"Content-Type: text/plain; charset=" + charset + b"\r\n\r\nbefore\r\n" + uu(EICAR, "evil.com")
        assert (await send(campus, text + b"\r\nafter\r\n")).startswith("250")
        content = campus.a.received.pop().content
        assert b"\r\nbefore\r\n[ " in content
        assert content.endswith(b" ]\r\nafter\r\n")
        assert b"evil.com" in content
        assert ("取り除きました" in content.decode("utf-8").replace(" ]\r\n[ ", "")) == japanese


async def test_own_text_for_removed_parts(make_campus):
    campus = await make_campus(notices=Notices(text="{file} {reason}: see https://www.univ.example/ {host}{id}"))
    await send(campus)
    [notice] = [p for p in message_from_bytes(campus.a.received[0].content).walk() if p.get_content_disposition()]
    assert notice.get_payload(decode=True).startswith(b"evil.zip was infected (Eicar-Signature): see https://")


@pytest.mark.parametrize("text", ["{name}", "{file!r:>9}", "{", "{0}", "{file.x}", "{}"])
def test_unknown_fields_of_the_text_are_refused(text):
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
async def test_notices_of_stopped_mail_never_go_to_the_sender(make_campus, tmp_path, to, expected, word):
    campus = await make_campus(scan=policy(tmp_path, infected=word), notices=Notices(to=to))
    await send(campus, MESSAGE, "alice@a.univ.example", "bob@b.univ.example")
    await until(lambda: len(campus.queue.received) == len(expected))
    await asyncio.sleep(0.05)
    assert sorted(mail.recipients[0] for mail in campus.queue.received) == sorted(expected)
    for mail in campus.queue.received:
        assert mail.sender == ""
        notice = message_from_bytes(mail.content)
        text = notice.get_payload(decode=True).decode()
        assert "a@sender.example" in text
        assert "配信しませんでした" in text
        assert notice["Auto-Submitted"] == "auto-generated"
    assert campus.a.received == []


async def test_notice_that_cannot_be_sent_is_only_an_event(make_campus, tmp_path):
    campus = await make_campus(scan=policy(tmp_path, infected="refuse"), notices=Notices(to="postmaster"))
    campus.queue.stop()
    assert (await send(campus)).startswith("554")
    await until(lambda: events(campus, "notice_not_sent"))


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def entry(number: str, size: int) -> Entry:
    return Entry(number, 1_800_000_000.0, "198.18.0.9", "a@sender.example", ("alice@a.univ.example",), "Eicar", size)


def test_quarantine_is_bounded_by_size_and_age(tmp_path):
    clock = Clock()
    quarantine = Quarantine(tmp_path, QuarantineLimits(max_bytes=4000, max_days=2), clock)
    assert list(quarantine.entries()) == []
    for number in range(5):
        quarantine.put(entry(f"aaaaa{number}", 900), (b"x" * 400, b"y" * 500))
        path = tmp_path / DIRECTORY / f"aaaaa{number}"
        os.utime(path, (clock.now + number, clock.now + number))
    assert [one.id for one in quarantine.entries()] == ["aaaaa2", "aaaaa3", "aaaaa4"]
    assert sum(path.stat().st_size for path in (tmp_path / DIRECTORY).iterdir()) <= 4000
    assert quarantine.read("aaaaa3") == (entry("aaaaa3", 900), b"x" * 400 + b"y" * 500)
    with pytest.raises(QuarantineError, match="max_bytes"):
        quarantine.put(entry("bbbbbb", 5000), (b"x" * 5000,))
    clock.now += 2 * 86400 + 3
    assert quarantine.prune() == 1
    clock.now += 10
    assert quarantine.prune() == 2
    assert list(quarantine.entries()) == []


@pytest.mark.parametrize("number", ["../routes", "/etc/passwd", "", "ABCDEF", "aaaaaa.part", "a" * 41])
def test_numbers_name_nothing_outside_the_quarantine(tmp_path, number):
    quarantine = Quarantine(tmp_path, QuarantineLimits())
    for act in (quarantine.read, quarantine.delete):
        with pytest.raises(QuarantineError, match="not a valid message number"):
            act(number)


def test_an_entry_that_is_gone_or_damaged_is_said_so(tmp_path):
    quarantine = Quarantine(tmp_path, QuarantineLimits())
    with pytest.raises(QuarantineError, match="not in the quarantine"):
        quarantine.read("aaaaaa")
    (tmp_path / DIRECTORY).mkdir()
    (tmp_path / DIRECTORY / "aaaaaa").write_bytes(b"rubbish\nmail")
    with pytest.raises(QuarantineError, match="invalid quarantine file"):
        quarantine.read("aaaaaa")


async def test_commands_list_show_release_and_delete(tmp_path, capfdbinary):
    queue = Hop()
    await queue.start()
    content = MESSAGE + b".dot\r\n\xff8bit\r\n"
    quarantine = Quarantine(tmp_path, QuarantineLimits())
    for number in ("aaaaa1", "aaaaa2"):
        quarantine.put(entry(number, len(content)), (content,))
    settings = tmp_path / "mailgate.toml"
    settings.write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nstate_dir = "{tmp_path}"\n'
        f'queue = "127.0.0.1:{queue.port}"\n'
    )

    async def run(*words: str) -> tuple[int, bytes]:
        status = await asyncio.to_thread(main, ["quarantine", "--config", str(settings), *words])
        out, err = capfdbinary.readouterr()
        return status, out + err

    status, out = await run("list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [b"aaaaa1", b"aaaaa2"]
    assert b"Eicar  <a@sender.example> to alice@a.univ.example" in out
    assert [one["id"] for one in json.loads((await run("list", "--format", "json"))[1])] == ["aaaaa1", "aaaaa2"]
    assert await run("show", "aaaaa1") == (0, content)
    queue.final = "452 4.3.1 full"
    status, out = await run("release", "aaaaa1")
    assert status == 1
    assert b"452 4.3.1 full" in out
    queue.final = "250 taken"
    queue.rcpt = lambda _: "550 no"
    assert (await run("release", "aaaaa1"))[0] == 1
    assert queue.received == []
    queue.rcpt = lambda _: "250 ok"
    assert (await run("release", "aaaaa1"))[0] == 0
    [released] = queue.received
    assert released.content == content, "released as it came, and not stopped again: the queue does not scan"
    assert (released.sender, released.recipients) == ("a@sender.example", ["alice@a.univ.example"])
    assert (await run("release", "aaaaa1"))[0] == 1
    assert (await run("release", "--keep", "--to", "postmaster@a.univ.example", "aaaaa2"))[0] == 0
    assert queue.received[1].recipients == ["postmaster@a.univ.example"]
    assert (await run("delete", "aaaaa2"))[0] == 0
    assert (await run("list")) == (0, b"")
    queue.stop()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashed addresses in events."""

from __future__ import annotations

import errno
import os

import pytest
from gateway_doubles import send_hello

from mailgate.event_privacy import AddressHasher, hasher
from mailgate.event_settings import EventSettings
from mailgate.state import EVENT_SALT

HASHER = AddressHasher("key")


def test_the_same_person_has_the_same_hash_with_the_same_key():
    hashed = HASHER.address("Alice@eng.univ.example")
    assert hashed.endswith("@eng.univ.example")
    assert "lice" not in hashed
    assert hashed == HASHER.address("alice@ENG.univ.example").lower()
    assert hashed != AddressHasher("other").address("Alice@eng.univ.example")
    assert hashed != HASHER.address("bob@eng.univ.example")
    assert HASHER.address(hashed) == hashed
    assert HASHER.address("") == ""


def test_addresses_in_texts_of_servers_are_hashed():
    text = HASHER.text("550 5.1.1 <bob@a.example>: unknown (bob@a.example)")
    assert "bob" not in text
    assert text.count(HASHER.address("bob@a.example")) == 2
    assert HASHER.text("550 5.1.1 unknown") == "550 5.1.1 unknown"


def test_a_gateway_makes_its_own_key_once(tmp_path):
    settings = EventSettings(hash_addresses=True)
    one, two = hasher(settings, tmp_path), hasher(settings, tmp_path)
    assert one and two
    assert one.address("a@b.example") == two.address("a@b.example")
    assert (tmp_path / EVENT_SALT).stat().st_mode & 0o777 == 0o600
    (tmp_path / EVENT_SALT).write_text("")
    with pytest.raises(OSError, match="is empty"):
        hasher(settings, tmp_path)
    assert hasher(EventSettings(), tmp_path) is None


async def test_no_event_has_a_plain_address(make_campus, tmp_path):
    (tmp_path / "key").write_text("key\n")
    campus = await make_campus(events=EventSettings(hash_addresses=True, hash_key_file=str(tmp_path / "key")))
    campus.b.rcpt = lambda recipient: f"550 5.1.1 <{recipient}> unknown"
    client = await campus.connect()
    await client.start("alice@a.univ.example", "carol@b.univ.example", "dave@elsewhere.example")
    await client.send(b"Subject: x\r\n\r\nHello.\r\n")
    campus.queue.banner = None
    campus.a.final = None
    await client.start("alice@a.univ.example", sender="eve@sender.example")
    await client.send(b"Subject: x\r\n\r\nHello.\r\n")
    await client.say("QUIT")
    text = campus.output.text + "".join(file.read_text() for file in (campus.state / "events").iterdir())
    assert [name for name in ("alice@", "carol@", "dave@", "eve@", "a@sender") if name in text] == []
    assert campus.recorded("message")[0]["recipients"] == [HASHER.address("alice@a.univ.example")]


async def test_without_a_key_there_are_no_events_but_mail(make_campus, tmp_path, caplog):
    (tmp_path / EVENT_SALT).write_text("")
    campus = await make_campus(events=EventSettings(hash_addresses=True))
    assert (await send_hello(await campus.connect())).startswith("250")
    assert campus.output.text == ""
    assert "no key for hashed addresses" in caplog.text


async def test_the_journal_can_do_without_addresses(make_campus):
    campus = await make_campus(events=EventSettings(journal="without_addresses"))
    campus.queue.banner = campus.a.final = None
    client = await campus.connect()
    await client.start("alice@a.univ.example", "x@elsewhere.example")
    await client.send(b"Subject: x\r\n\r\nHello.\r\n")
    assert "queue_down" in campus.output.text
    assert "@" not in campus.output.text
    assert campus.recorded("message")


def test_a_full_disk_leaves_no_file_without_a_key(tmp_path, monkeypatch):
    settings = EventSettings(hash_addresses=True)
    with monkeypatch.context() as full:
        full.setattr("mailgate.event_privacy.secrets.token_hex", _no_room)
        with pytest.raises(OSError, match="No space"):
            hasher(settings, tmp_path)
    assert list(tmp_path.iterdir()) == []
    first = hasher(settings, tmp_path)
    assert first.address("a@b.example") == hasher(settings, tmp_path).address("a@b.example")
    assert [path.name for path in tmp_path.iterdir()] == [EVENT_SALT]


def _no_room(_bytes: int) -> str:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mailboxes as a rehearsal reads them: complete entries only, once, and notices apart from copies."""

from __future__ import annotations

from lab.rehearsal.mailboxes import Entry, Mailbox, entries


def copy(number: int) -> bytes:
    head = f"Received: by x\nMessage-ID: <rehearsal.{number}@rehearsal.example>\n"
    return f"From a@b.example  Mon Nov 30 11:00:00 2026\n{head}\nText.\n\n".encode()


NOTICE = b"""From MAILER-DAEMON  Mon Nov 30 11:00:00 2026
Message-Id: <202611301100.x@mech.eng.univ.example>
Content-Type: multipart/report; report-type=delivery-status

Action: failed
Status: 5.1.1
Diagnostic-Code: SMTP; 550 5.1.1 <x@b.example>... User unknown

Message-ID: <rehearsal.9@rehearsal.example>

"""


def test_complete_entries():
    text = copy(1) + copy(22)
    assert entries(text) == ([Entry(1), Entry(22)], len(text))


def test_half_written_entry_is_read_later(tmp_path):
    file = tmp_path / "alice"
    box = Mailbox(file)
    assert list(box.read()) == []  # no file yet
    whole = copy(1) + copy(2)
    file.write_bytes(whole[:-3])
    assert list(box.read()) == [Entry(1)]
    file.write_bytes(whole)
    assert list(box.read()) == [Entry(2)]
    file.write_bytes(whole + copy(2))
    assert list(box.read()) == [Entry(2)]
    assert list(box.read()) == []


def test_notice_of_non_delivery_is_no_copy():
    assert entries(NOTICE)[0] == [Entry(9, "SMTP; 550 5.1.1 <x@b.example>... User unknown")]


def test_notice_of_delay_is_nothing():
    delayed = NOTICE.replace(b"Action: failed", b"Action: delayed").replace(b"5.1.1", b"4.1.1")
    assert entries(delayed) == ([], len(delayed))


def test_other_mail_is_ignored():
    text = b"From root  Mon Nov 30 11:00:00 2026\nSubject: cron\n\nText.\n\n"
    assert entries(text) == ([], len(text))

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events and counters."""

from __future__ import annotations

import io
import json
import sqlite3

import pytest

from mailgate.events import Counters, Events, totals
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply
from mailgate.state import open_read_only


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


ALICE = Mailbox("alice", "a.example")


OK = Reply.of(250, "2.1.5 ok")


class TestCounters:
    def test_counters_are_written_and_summed_by_period(self, tmp_path):
        clock = Clock()
        counters = Counters(tmp_path, clock)
        events = Events(counters, io.StringIO())
        events.count("processed")
        events.count("processed")
        clock.now += 3600
        events.count("processed")
        events.count("virus_found")
        reader = open_read_only(tmp_path / Counters.FILE)
        counters.write()
        events.count("virus_found", 0)
        counters.write()
        assert totals(reader, 0, 2e9) == {"processed": 3, "virus_found": 1}
        assert totals(reader, clock.now, clock.now + 1) == {"processed": 1, "virus_found": 1}
        assert totals(reader, clock.now - 3600, clock.now) == {"processed": 2}
        with pytest.raises(sqlite3.OperationalError):
            reader.execute("DELETE FROM counts")

    def test_many_counts_are_written_at_once(self, tmp_path):
        asked: list[object] = []
        counters = Counters(tmp_path, later=asked.append)
        reader = open_read_only(tmp_path / Counters.FILE)
        for round_number in (1, 2):
            counters.add("processed")
            counters.add("virus_found", 2)
            assert asked == [counters.write] * round_number
            counters.write()
            assert totals(reader, 0, 9e9) == {"processed": round_number, "virus_found": 2 * round_number}

    def test_counters_are_kept_while_the_disk_is_full(self, tmp_path, caplog, databases):
        counters = Counters(tmp_path)
        databases[0].full = True
        counters.add("processed", 2)
        for _message in range(3):
            counters.write()
        # One line, not a traceback for each message.
        assert caplog.text.count("cannot write the counters: database or disk is full") == 1
        assert "Traceback" not in caplog.text
        databases[0].full = False
        counters.add("processed")
        counters.close()
        assert "works again after 3 failures" in caplog.text
        assert totals(open_read_only(tmp_path / Counters.FILE), 0, 9e9) == {"processed": 3}


class TestEvents:
    def test_events_are_lines_and_never_raise(self, tmp_path):
        out = io.StringIO()
        events = Events(None, out)
        events.emit("message", reply=OK, sender=ALICE, queued=None)
        assert json.loads(out.getvalue()) == {"event": "message", "reply": "250 2.1.5 ok", "sender": "alice@a.example"}
        out.close()
        events.emit("message")

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search in the files of events alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailgate.event_index.local_files import LocalFiles
from mailgate.event_index.query import Query
from mailgate.event_spool import Spool

# 2027-01-15 12:00 UTC.
NOON = 1_800_014_400.0
HOUR = 3600.0
# Not in a line as it is.
JAPANESE = "\u5b66@\u5927.example"


class Files:
    """Files of events with one message an hour, and the remarks of searches in them."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.remarks: list[str] = []
        self.now = NOON
        spool = Spool(path, 1 << 26, clock=lambda: self.now)
        for each in range(number):
            self.now = NOON + each * HOUR
            event = {"v": 1, "time": self.now, "event": "message", "id": f"id{each}", "reply": "250 ok",
                     "sender": f"S{each}@x.example", "recipients": ["alice@a.univ.example", JAPANESE]}  # fmt: skip
            assert spool.append(json.dumps(event).encode() + b"\n")
        (path / "events" / "20270115-12.0000.jsonl").open("ab").write(b'not JSON\n{"event": "message", "torn')

    def find(self, *terms: tuple[str, str], max_bytes: int = 1 << 20, **period: float) -> list[str]:
        """Return the numbers of the messages that have one of the terms, newest first."""
        query = Query(terms=(terms,) if terms else (), **{"limit": 100, **period})
        return [str(event["id"]) for event in LocalFiles(self.path, max_bytes, self.remarks.append).find(query)]


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path, 5)


def test_all_newest_first(files):
    assert files.find() == ["id4", "id3", "id2", "id1", "id0"]
    assert files.find(limit=2) == ["id4", "id3"]
    assert files.remarks == []


def test_the_period(files):
    assert files.find(since=NOON + HOUR, until=NOON + 3 * HOUR) == ["id2", "id1"]
    assert files.find(until=NOON) == []


@pytest.mark.parametrize(
    ("term", "found"),
    [
        (("from", "s3@x.example"), ["id3"]),
        (("number", "id0"), ["id0"]),
        (("from", "s9@x.example"), []),
        (("from", "x.example"), []),
        (("verdict", "accepted"), 5),
        (("to_domain", "univ.example"), 5),
        (("to", JAPANESE), 5),
    ],
)
def test_terms(files, term, found):
    shown = files.find(term)
    assert (len(shown) if isinstance(found, int) else shown) == found


def test_one_of_several_alternatives(files):
    assert files.find(("from", "s1@x.example"), ("verdict", "refused"), ("number", "id4")) == ["id4", "id1"]


def test_the_events_of_a_number(files):
    assert [event["id"] for event in LocalFiles(files.path, 1 << 20, files.remarks.append).of("id2")] == ["id2"]


def test_what_is_too_much_is_left_out_and_said(files):
    assert files.find(max_bytes=1) == ["id4"]
    assert files.remarks == ["1 MB of older events were not searched; give a period by --since and --until"]


def test_looking_for_a_text_costs_less(files):
    assert files.find(("number", "id0"), max_bytes=200) == ["id0"]
    assert files.remarks == []


def test_without_files(tmp_path):
    assert LocalFiles(tmp_path, 1, print).find(Query()) == []

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of events: every store must find, count and remove the same; what is damaged or missing is skipped."""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mailgate.config_file import parse_config
from mailgate.event_index.facts import DIMENSIONS, bucket, bucket_seconds, facts_of, percentile
from mailgate.event_index.follower import Follower, follow, unindexed
from mailgate.event_index.query import Query, subject_terms
from mailgate.event_index.shard import pack, unpack
from mailgate.event_index.store import DailyStore, EventStore, StoreError
from mailgate.event_index.stores import open_store, open_writable
from mailgate.event_index.terms import terms_of, verdict_of, words
from mailgate.event_spool import Spool
from mailgate.state import EVENT_INDEX, EVENTS

NOON = 1_800_014_400.0
DAY = 86400


class Clock:
    now = NOON

    def __call__(self) -> float:
        return self.now


def message(number: int, **changes):
    return {
        "event": "message",
        "id": f"{number:017x}",
        "session": f"{number:016x}s",
        "client": f"198.18.{number % 7}.9",
        "helo": "mail.sender.example",
        "sender": f"s{number % 5}@sender.example",
        "recipients": [f"r{number % 3}@eng.univ.example", f"Person{number}@Sci.univ.example"],
        "size": 1000,
        "message_id": f"<m{number}@sender.example>",
        "subject": f"Report number{number} 会議のお知らせ",
        "reply": "250 2.0.0 Message accepted",
        "seconds": 0.01 * number,
        **changes,
    }


class Place:
    """A state directory whose events a test writes, and the store of their index."""

    def __init__(self, path: Path, more: str = "") -> None:
        self.path = path
        self.clock = Clock()
        self.spool = Spool(path, 1 << 26, clock=self.clock)
        self.notes: list[str] = []
        self.config = parse_config(
            f'hostname = "gw1.univ.example"\nroutes_file = "/r"\nstate_dir = "{path}"\n{more}\n[events]\ndays = 3650\n'
        )
        self.opened: list[EventStore] = []
        self.store = self.writable()
        self.follower = Follower(path, self.store, self.clock)

    def writable(self, **events: int) -> EventStore:
        settings = replace(self.config.events, **events)
        self.opened.append(open_writable(replace(self.config, events=settings), self.notes.append))
        return self.opened[-1]

    def write(self, *events) -> None:
        for event in events:
            line = json.dumps({"v": 1, "time": self.clock.now, **event})
            assert self.spool.append(line.encode() + b"\n")

    def numbers(self, **criteria) -> list[int]:
        return [int(str(event["id"]), 16) for event in self.reader.find(Query(**criteria))]

    @property
    def reader(self) -> EventStore:
        self.opened.append(open_store(self.config, self.notes.append))
        return self.opened[-1]

    def close(self) -> None:
        for store in self.opened:
            store.close()


@pytest.fixture
def place(tmp_path, event_store_settings):
    opened = Place(tmp_path, event_store_settings)
    yield opened
    opened.close()


@pytest.fixture
def files(tmp_path):
    """Return a place whose store is in the state directory."""
    return Place(tmp_path)


def one(role, value):
    return ((role, value),)


def test_messages_are_found_by_each_criterion(place):
    for number in range(1, 31):
        place.write(message(number))
        place.clock.now += 3600
    assert place.follower.step() == 30
    assert place.follower.step() == 0
    assert place.numbers(limit=3) == [30, 29, 28]
    assert place.numbers(terms=(one("to", "r1@eng.univ.example"),), limit=2) == [28, 25]
    assert place.numbers(terms=(one("to", "person7@sci.univ.example"),)) == [7]
    assert place.numbers(terms=(one("to_domain", "univ.example"), one("from", "s3@sender.example")), limit=2) == [
        28,
        23,
    ]
    assert place.numbers(terms=(one("to_domain", "iv.example"),)) == []
    assert place.numbers(terms=(one("network", "198.18.2"),), limit=1) == [30]
    assert place.numbers(terms=(one("number", "<m9@sender.example>"),)) == [9]
    assert place.numbers(terms=((("from", "s1@sender.example"), ("to", "person30@sci.univ.example")),), limit=2) == [
        30,
        26,
    ]
    assert place.numbers(terms=tuple(subject_terms("REPORT number12"))) == [12]
    assert place.numbers(terms=tuple(subject_terms("お知らせ")), limit=1) == [30]
    assert place.numbers(terms=tuple(subject_terms("お休み"))) == []
    assert place.numbers(terms=(one("verdict", "refused"),)) == []
    assert place.numbers(since=NOON + 3 * 3600, until=NOON + 5 * 3600) == [5, 4]


def test_all_events_of_an_id_are_found_by_any_of_its_numbers(place):
    own = message(1)
    place.write(
        {"event": "recipient", "id": own["id"], "recipient": "a@b.example", "verified": "cache"},
        {"event": "delivered", "id": own["id"], "queue_id": "5AUH6Vab012345", "recipients": []},
        {"event": "finding", "id": own["id"] + "1", "finding": "infected", "name": "Eicar", "recipients": []},
        own,
        message(2),
    )
    place.follower.step()
    kinds = [event["event"] for event in place.reader.of(own["id"])]
    assert kinds == ["recipient", "delivered", "finding", "message"]
    assert [event["id"] for event in place.reader.of("5AUH6Vab012345")] == [own["id"]]
    assert len(place.reader.of(own["session"])) == 1
    assert place.numbers(terms=(one("name", "eicar"), one("verdict", "infected"))) == [0x11]


def test_an_event_matches_a_query_without_the_index_as_with_it(place):
    events = [message(number) for number in range(1, 20)]
    place.write(*events)
    place.follower.step()
    for terms in (
        (),
        (one("to_domain", "univ.example"),),
        (one("from", "s2@sender.example"), one("client", "198.18.0.9")),
    ):
        query = Query(terms=terms)
        found = {event["id"] for event in place.reader.find(query)}
        assert found == {event["id"] for event in events if query.matches({"time": NOON, **event})}


def test_what_is_not_indexed_yet_is_read(place):
    place.write(message(1))
    place.follower.step()
    place.write(message(2), message(3))
    assert [event["id"][-1] for event in unindexed(place.path, place.reader, 1 << 20)[0]] == ["2", "3"]
    found, left = unindexed(place.path, place.reader, 0)
    assert (found, left > 500) == ([], True)


def test_each_event_is_indexed_once_although_the_process_is_killed(place):
    place.write(*(message(number) for number in range(1, 4)))
    place.follower.step()
    place.write(message(4))
    Follower(place.path, place.writable(), place.clock).step()
    assert place.numbers() == [4, 3, 2, 1]
    # The first one has its positions in memory, and finds that they are outdated.
    place.follower.step()
    assert Follower(place.path, place.writable(), place.clock).step() == 0


def test_lines_that_are_no_events_are_skipped(place):
    place.spool.append(b'{"event": "message"\n\n[1]\n\xff\xfe\n{"event": 4}\n' + b"[" * 100_000 + b"\n")
    place.write(message(1), {"event": "message", "time": "x", "recipients": 3, "client": {}, "seconds": [], "reply": 1})
    odd = message(2, sender="\ud800@\x00.example", recipients=["\udfff@b.example"], size=1 << 90, seconds=float("nan"))
    place.write(odd, {"event": "message", "suppressed": 1 << 90}, {**odd, "time": float("inf"), "size": -1})
    assert place.follower.step() == 5
    assert place.follower.skipped == 6
    assert place.numbers(since=1.0) == [2, 1]
    assert place.reader.sums("message", 0, 9e12)


def test_a_damaged_day_is_skipped_by_readers_and_built_again(files):
    files.write(message(1))
    files.clock.now += DAY
    files.write(message(2))
    files.follower.step()
    files.store.close()
    day = files.path / EVENT_INDEX / "20270115.sqlite"
    day.write_bytes(b"not a database" * 1000)
    assert files.numbers() == [2]
    assert "skipped" in files.notes[0]
    files.clock.now -= DAY
    files.write(message(3))
    follower = Follower(files.path, files.store, files.clock)
    with pytest.raises(StoreError):
        follower.step()
    follower.step()
    assert files.numbers() == [2, 3, 1]
    assert day.with_name("20270115.sqlite.damaged").exists()


def test_old_days_and_large_ones_are_removed_for_good(files):
    files.store = DailyStore(files.path, days=3, max_bytes=180_000)
    follower = Follower(files.path, files.store, files.clock)
    for number in range(1, 7):
        files.write(message(number))
        follower.step()
        files.clock.now += DAY
    assert files.store.days() == ["20270120", "20270119", "20270118"]
    assert files.store.is_removed("20270116")
    assert not files.store.is_removed("20270118")
    assert Follower(files.path, DailyStore(files.path, days=3, max_bytes=180_000), files.clock).step() == 0


def test_days_are_removed_on_a_full_disk_too(place, monkeypatch):
    place.store = DailyStore(place.path, max_bytes=180_000)
    follower = Follower(place.path, place.store, place.clock)
    for number in range(1, 5):
        place.write(message(number))
        follower.step()
        place.clock.now += DAY
    place.store = DailyStore(place.path, max_bytes=60_000)
    oldest = place.path / EVENT_INDEX / f"{place.store.days()[-1]}.sqlite"
    write = Path.write_text

    def write_if_there_is_room(path, *arguments, **options):
        if oldest.exists():
            raise OSError(errno.ENOSPC, "no space")
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_if_there_is_room)
    place.store.prune(place.clock.now)
    assert not oldest.exists()
    assert place.store.is_removed(oldest.stem)


def test_a_clock_that_jumps_removes_nothing(place):
    place.store = place.writable(days=3)
    follower = Follower(place.path, place.store, place.clock)
    place.write(message(1))
    follower.step()
    place.clock.now += 4000 * DAY
    place.write(message(2))
    follower.step()
    place.clock.now = 1000.0
    place.write(message(3))
    follower.step()
    assert sorted(place.numbers()) == [1, 2, 3]


def test_a_store_that_fails_is_tried_again_and_logged_once(place, monkeypatch, caplog):
    place.write(message(1))
    follower = Follower(place.path, place.writable(), place.clock)
    full = True
    add = type(place.store).add

    def add_unless_full(store, *arguments):
        if full:
            raise StoreError("database or disk is full")
        return add(store, *arguments)

    monkeypatch.setattr(type(place.store), "add", add_unless_full)
    pauses = []

    def stopped(pause):
        nonlocal full
        pauses.append(pause)
        full = len(pauses) < 4
        return len(pauses) == 6

    follow(follower, stopped)
    assert pauses == [0.0, 10.0, 20.0, 40.0, 0.0, 1.0]
    assert caplog.text.count("cannot index events: database or disk is full") == 1
    assert "Traceback" not in caplog.text
    assert place.numbers() == [1]


def test_what_the_limits_remove_before_it_is_indexed_is_counted(place, monkeypatch, caplog):
    place.write(message(1))
    place.follower.step()
    (file,) = (place.path / EVENTS).iterdir()
    known = file.stat().st_size
    place.write(message(2), message(3))

    def fail(*_arguments):
        raise StoreError("away")

    monkeypatch.setattr(type(place.store), "add", fail)
    with pytest.raises(StoreError):
        place.follower.step()
    lost = file.stat().st_size - known
    file.unlink()
    monkeypatch.undo()
    for _time in range(2):
        assert place.follower.step() == 0
    assert place.follower.removed_bytes == lost
    assert caplog.text.count(f"events were removed before they were indexed, because they reached events.max_bytes"
                             f" or events.days: {lost} bytes") == 1  # fmt: skip


def test_any_text_is_counted(place):
    texts = [
        "NULL",
        "null",
        "",
        "{",
        "}",
        ",",
        '"',
        "\\",
        "'",
        "a\nb",
        "\t",
        "%",
        ":x",
        "\x00",
        "\ud800",
        "会",
        "x" * 400,
    ]
    place.write(*(message(number, rule=text, event="relay_refused", recipient="a@b.example")
                  for number, text in enumerate(texts)))  # fmt: skip
    assert place.follower.step() == len(texts)
    # An empty rule is that of relaying.
    found = place.reader.sums("rule", NOON, NOON + 1)
    assert {"NULL", "null", "{", '"', "\\", "a\nb", "会", "x" * 300, "relay_refused"} < set(found)
    assert found.total() == len(texts)


def test_an_index_of_another_version_is_built_again(files):
    files.write(message(1))
    files.follower.step()
    files.store.close()
    with sqlite3.connect(files.path / EVENT_INDEX / "20270115.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    follower = Follower(files.path, files.store, files.clock)
    with pytest.raises(StoreError):
        follower.step()
    follower.step()
    assert files.numbers() == [1]


def test_files_that_are_removed_meanwhile_are_no_error(place):
    place.write(message(1))
    place.follower.step()
    for file in (place.path / EVENTS).iterdir():
        file.unlink()
    assert place.follower.step() == 0
    assert place.numbers() == [1]


def test_without_an_index_nothing_is_found(tmp_path):
    reader = DailyStore(tmp_path, read_only=True)
    assert (reader.find(Query()), reader.of("x"), reader.sums("message", 0, 9e9)) == ([], [], {})


def test_facts_are_counted_per_hour(place):
    place.write(
        message(1),
        message(2, reply="451 4.7.0 later"),
        message(3, queued=1),
        {"event": "relay_refused", "client": "198.18.0.1", "recipient": "x@y.example", "reply": "550 no"},
        {"event": "relay_refused", "suppressed": 7},
        {"event": "finding", "finding": "infected", "name": "Eicar", "recipients": ["a@x.example", "b@x.example"]},
        {"event": "recipient_refused", "rule": "a list", "recipient": "a@X.example", "reply": "550 no"},
    )
    place.follower.step()

    def sums(dimension):
        return place.reader.sums(dimension, NOON, NOON + 1)

    assert sums("event")["relay_refused"] == 8
    assert sums("message") == {"accepted": 1, "queued": 1, "deferred": 1}
    assert sums("virus") == {"Eicar": 1}
    assert sums("domain")["eng.univ.example accepted"] == 1
    assert sums("rule") == {"relay_refused": 1, "a list": 1}
    assert sums("domain_rule") == {"x.example a list": 1}
    assert sums("domain_virus") == {"x.example Eicar": 1}
    assert sums("domain")["x.example refused_recipients"] == 1
    # Only of the message that servers accepted, to two domains.
    assert {key.split()[0] for key in sums("domain_delay")} == {"eng.univ.example", "sci.univ.example"}
    assert list(sums("domain_delay").values()) == [1, 1]
    assert list(place.reader.hourly("virus", NOON, NOON + 1)) == [(int(NOON // 3600), "Eicar", 1)]
    assert place.reader.sums("message", NOON + 3600, NOON + 7200) == {}


def sums_of(place, since: float, until: float) -> dict[str, dict[str, int]]:
    with closing(open_store(place.config, place.notes.append)) as reader:
        return {dimension: dict(reader.sums(dimension, since, until)) for dimension in DIMENSIONS}


def days_of_messages(place, days: int) -> None:
    """Write and index messages of each hour of some days, from the start of a day (UTC) on."""
    place.clock.now = NOON - DAY / 2
    for number in range(24 * days):
        place.write(
            message(number, client=f"198.18.{number % 7}.9", reply="451 later" if number % 5 == 4 else "250 ok"),
            {"event": "finding", "finding": "infected", "name": f"V{number % 3}", "recipients": ["a@x.example"]},
            {"event": "recipient_refused", "rule": f"rule {number % 2}", "recipient": "a@x.example", "reply": "550 no"},
        )
        place.clock.now += 3600
    place.follower.step()


PERIODS = [(0, 4 * DAY), (0, DAY), (DAY, 2 * DAY), (DAY - 3600, 3 * DAY + 7200), (5 * 3600, 19 * 3600), (-DAY, 9 * DAY)]


def test_sums_of_whole_days_are_those_of_their_hours(place):
    days_of_messages(place, 4)
    start = NOON - DAY / 2
    before = [sums_of(place, start + since, start + until) for since, until in PERIODS]
    assert before[0]["recipient"]["person50@sci.univ.example"] == 1
    assert before[0]["virus"] == {"V0": 32, "V1": 32, "V2": 32}
    assert before[2]["virus"] == {"V0": 8, "V1": 8, "V2": 8}
    done = 0
    while place.follower.sum_up():
        done += 1
        assert [sums_of(place, start + since, start + until) for since, until in PERIODS] == before
    # The last day ended this moment: events of it may follow.
    assert done == 3
    place.clock.now += 7200
    assert [place.follower.sum_up() for _ in range(2)] == [True, False]
    assert [sums_of(place, start + since, start + until) for since, until in PERIODS] == before


def test_sums_are_read_where_there_are_some(files):
    days_of_messages(files, 2)
    while files.follower.sum_up():
        pass
    day = files.path / EVENT_INDEX / "20270115.sqlite"
    with sqlite3.connect(day) as database:
        database.execute("UPDATE sums SET number = 700 WHERE dimension = 'virus' AND key = 'V0'")
    database.close()
    start = NOON - DAY / 2
    assert files.reader.sums("virus", start, start + DAY)["V0"] == 700
    assert files.reader.sums("virus", start + 3600, start + DAY)["V0"] == 7
    assert files.reader.sums("virus", start, start + 2 * DAY)["V0"] == 708


def test_events_that_come_later_are_in_the_sums(place):
    days_of_messages(place, 3)
    start = NOON - DAY / 2
    while place.follower.sum_up():
        pass
    assert place.reader.sums("virus", start, start + DAY)["V0"] == 8
    late = {"event": "finding", "finding": "infected", "name": "V0", "recipients": ["a@x.example"]}
    now, place.clock.now = place.clock.now, start + 3600
    place.write(late)
    place.clock.now = now
    assert place.follower.step() == 1
    assert place.reader.sums("virus", start, start + DAY)["V0"] == 9
    assert [place.follower.sum_up() for _ in range(2)] == [True, False]
    assert place.reader.sums("virus", start, start + DAY)["V0"] == 9
    # Another process does not do it again.
    again = Follower(place.path, place.writable(), place.clock)
    assert (again.step(), again.sum_up()) == (0, False)


def test_sums_of_a_day_have_its_most_frequent_keys(place):
    days_of_messages(place, 2)
    start = NOON - DAY / 2
    first = place.reader.sums("recipient", start, start + DAY, 3)
    while place.follower.sum_up():
        pass
    assert place.reader.sums("recipient", start, start + DAY, 3) == first
    assert set(first) == {f"r{number}@eng.univ.example" for number in range(3)}


def test_an_index_without_sums_is_read_and_gets_them(files):
    days_of_messages(files, 2)
    day = files.path / EVENT_INDEX / "20270115.sqlite"
    with sqlite3.connect(day) as database:
        database.executescript("DROP TABLE sums; DROP TABLE summed")
    database.close()
    start = NOON - DAY / 2
    assert files.reader.sums("virus", start, start + DAY)["V0"] == 8
    assert Follower(files.path, files.writable(), files.clock).sum_up()
    assert files.reader.sums("virus", start, start + DAY)["V0"] == 8
    assert not files.notes


def test_a_damaged_day_that_is_added_up_is_built_again(files):
    days_of_messages(files, 2)
    day = files.path / EVENT_INDEX / "20270115.sqlite"
    files.store.close()
    day.write_bytes(b"no database" * 1000)
    start = NOON - DAY / 2
    with pytest.raises(StoreError, match=r"20270115\.sqlite"):
        files.follower.sum_up()
    assert files.follower.step() == 72
    assert files.follower.sum_up()
    assert files.reader.sums("virus", start, start + DAY)["V0"] == 8


def test_all_dimensions_are_known():
    events = (
        message(1),
        {"event": "finding", "finding": "infected", "name": "V", "recipients": ["a@x.example"]},
        {"event": "recipient_refused", "rule": "a rule", "recipient": "a@x.example", "reply": "550 no"},
        {"event": "connection_refused", "client": "198.18.0.1"},
    )
    assert {dimension for event in events for dimension, _key, _number in facts_of(event)} == set(DIMENSIONS)


def test_percentiles_are_exact_to_a_tenth():
    buckets: dict[int, int] = {}
    for number in range(1, 1001):
        buckets[bucket(number / 100)] = buckets.get(bucket(number / 100), 0) + 1
    for share in (0.5, 0.95, 0.99):
        assert percentile(buckets, share) == pytest.approx(10 * share, rel=0.12)
    assert percentile({}, 0.5) is None
    assert bucket_seconds(bucket(0)) == 0.001


def test_terms_and_verdicts():
    assert verdict_of({"event": "message", "reply": "250 ok", "queued": 1}) == "queued"
    assert verdict_of({"event": "finding", "finding": "encrypted"}) == ""
    assert verdict_of({"event": "abandoned"}) == "abandoned"
    assert len(terms_of(message(1, recipients=[f"a{n}@b.example" for n in range(100_000)]))) <= 4000
    assert words("") == []
    assert list(words("A 会 b")) == ["a", "会", "b"]
    event = {"time": time.time(), **message(1)}
    assert unpack(pack(json.dumps(event).encode())) == event

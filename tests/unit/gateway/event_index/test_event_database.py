# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of events in PostgreSQL: several gateways, crashes, servers that do not work, retention, the schema."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from event_database import MIGRATIONS, DatabaseServer

from mailgate.event_index.database import SCHEMA_VERSION, Database
from mailgate.event_index.follower import Follower, unindexed
from mailgate.event_index.postgres import PostgresStore
from mailgate.event_index.query import Query
from mailgate.event_index.store import StoreError
from mailgate.event_settings import EventDatabase
from mailgate.event_spool import Spool

# 2027-01-15 12:00 UTC.
NOON = 1_800_014_400.0
DAY = 86400
ALL = Query(limit=100_000)
MIGRATE = "bring the schema of the event database up to date"


class Gateway:
    """A gateway's files of events, and its index in the database."""

    def __init__(self, path: Path, settings: EventDatabase, name: str = "gw1", days: int = 3650) -> None:
        path.mkdir()
        self.path = path
        self.name = f"{name}.univ.example"
        self.settings = replace(settings, user=f"mailgate_{name}", timeout=60)
        self.now = NOON
        self.spool = Spool(path, 1 << 26, clock=lambda: self.now)
        self.stores: list[PostgresStore] = []
        self.follower = self.new_follower(days)

    def new_follower(self, days: int = 3650) -> Follower:
        return Follower(self.path, self.store(days=days), lambda: self.now)

    def store(self, *, days: int = 3650, read_only: bool = False) -> PostgresStore:
        self.stores.append(PostgresStore(self.settings, self.name, days=days, read_only=read_only))
        return self.stores[-1]

    def write(self, *numbers: int, **fields: object) -> None:
        for number in numbers:
            event = {"v": 1, "time": self.now, "event": "message", "id": f"{self.name}-{number}", "reply": "250 ok",
                     "sender": f"s{number}@x.example", "recipients": ["alice@a.univ.example"], **fields}  # fmt: skip
            assert self.spool.append(json.dumps(event).encode() + b"\n")

    def found(self, query: Query = ALL) -> list[str]:
        """Return the numbers of the events that meet the criteria, newest first, by gateway."""
        events = self.store(read_only=True).find(query)
        return [str(event["id"]).replace(".univ.example", "") for event in events]

    def index(self) -> int:
        """Index what is there, with a new attempt after each failure; return the number of failures."""
        for failures in range(10):
            try:
                while self.follower.step():
                    pass
            except StoreError:
                continue
            return failures
        raise AssertionError("it fails again and again")


@pytest.fixture
def settings(database_server: DatabaseServer) -> EventDatabase:
    return database_server.empty()


@pytest.fixture
def gateway(tmp_path: Path, settings: EventDatabase) -> Iterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def make(name: str = "gw1", **options: int) -> Gateway:
        made.append(Gateway(tmp_path / name, settings, name, **options))
        return made[-1]

    yield make
    for each in made:
        for store in each.stores:
            store.close()


def test_events_of_all_gateways_are_found_and_own_ones_are_counted(gateway):
    first, second = gateway("gw1"), gateway("gw2")
    first.write(1)
    second.now += 60
    second.write(2)
    first.now += 120
    first.write(3)
    for each in (first, second):
        each.index()
    assert first.found() == second.found() == ["gw1-3", "gw2-2", "gw1-1"]
    reader = second.store(read_only=True)
    assert [event.get("gateway") for event in reader.find(ALL)] == ["gw1.univ.example", None, "gw1.univ.example"]
    assert reader.of("gw1.univ.example-3")[0]["gateway"] == "gw1.univ.example"
    assert [each.store(read_only=True).sums("message", NOON, NOON + 3600) for each in (first, second)] == [
        {"accepted": 2},
        {"accepted": 1},
    ]
    assert second.store().days() == ["20270115"]


def test_the_newest_are_found_although_a_gateway_sends_old_ones_late(gateway):
    first, second = gateway("gw1"), gateway("gw2")
    second.write(*range(200))
    first.now += 3600
    first.write(1, 2)
    first.index()
    second.index()
    assert sorted(first.found(Query(limit=2))) == ["gw1-1", "gw1-2"]
    assert len(first.found(Query(until=NOON + 1, limit=1000))) == 200


def test_more_than_a_page_is_found_once_by_several_criteria(gateway):
    one = gateway()
    for number in range(300):
        one.write(number, sender="alice@a.univ.example")
        one.now += 1
    one.write(300)
    one.index()
    alice = (("from", "alice@a.univ.example"), ("to", "alice@a.univ.example"))
    assert one.found(Query((alice,), limit=1000)) == [f"gw1-{number}" for number in reversed(range(301))]
    both = ((("to", "alice@a.univ.example"),), (("from", "s300@x.example"), ("from", "nobody@x.example")))
    assert one.found(Query(both)) == ["gw1-300"]
    assert one.found(Query((alice,), since=NOON + 10, until=NOON + 260, limit=1000)) == [
        f"gw1-{number}" for number in reversed(range(10, 260))
    ]


@pytest.mark.parametrize("last", ["UPDATE gateways", "COPY events", "INSERT INTO facts", "COMMIT", "after COMMIT"])
def test_a_server_that_crashes_while_events_are_added_loses_and_doubles_none(
    gateway, database_server, monkeypatch, last
):
    one = gateway()
    one.write(*range(20))
    one.index()
    one.write(*range(20, 40))
    run, copy = Database.run, Database.copy
    crashed: list[str] = []

    def crash(statement: str) -> None:
        if statement.startswith(last.removeprefix("after ")) and not crashed:
            crashed.append(statement)
            database_server.crash()
            database_server.start()

    def run_and_crash(database, statement, **values):
        if not last.startswith("after"):
            crash(statement)
            return run(database, statement, **values)
        rows = run(database, statement, **values)
        crash(statement)
        if crashed == [statement]:
            # The answer was lost.
            crashed.append("raised")
            database.close()
            raise StoreError("network error")
        return rows

    def copy_and_crash(database, table, lines):
        crash(f"COPY {table}")
        copy(database, table, lines)

    monkeypatch.setattr(Database, "run", run_and_crash)
    monkeypatch.setattr(Database, "copy", copy_and_crash)
    assert one.index() == 1
    assert crashed
    assert sorted(one.found()) == sorted(f"gw1-{number}" for number in range(40))
    assert one.store(read_only=True).sums("message", NOON, NOON + 3600) == {"accepted": 40}


def test_events_wait_in_the_files_while_the_server_is_away(gateway, database_server):
    one = gateway()
    one.write(1)
    one.index()
    database_server.crash()
    one.write(2)
    for reason in (r"closed the connection|terminating connection", "Connection refused"):
        with pytest.raises(StoreError, match=reason):
            one.follower.step()
    with pytest.raises(StoreError, match="Connection refused"):
        unindexed(one.path, one.store(read_only=True), 1 << 20)
    database_server.start()
    assert [event["id"] for event in unindexed(one.path, one.store(read_only=True), 1 << 20)[0]] == [
        "gw1.univ.example-2"
    ]
    assert one.index() == 0
    assert sorted(one.found()) == ["gw1-1", "gw1-2"]


def test_two_processes_of_a_gateway_add_each_event_once(gateway):
    one = gateway()
    for _round in range(5):
        one.write(*range(_round * 100, _round * 100 + 100))
        both = [threading.Thread(target=one.new_follower().step) for _each in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(30)
    assert sorted(one.found()) == sorted(f"gw1-{number}" for number in range(500))


def test_gateways_that_begin_at_once_do_not_wait_for_one_another(gateway):
    pair = gateway("gw1"), gateway("gw2")
    for each in pair:
        each.write(1)
    both = [threading.Thread(target=each.index) for each in pair]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(30)
    assert sorted(pair[0].found()) == ["gw1-1", "gw2-1"]


def test_old_months_are_removed_as_a_whole_and_for_good(gateway, database_server, settings):
    one, other = gateway("gw1", days=20), gateway("gw2", days=20)
    for each in (one, other):
        each.write(1)
        each.now += 20 * DAY
        each.write(2)
        each.index()
    one.now += 16 * DAY
    one.write(3)
    # All of January is older than 20 days, but nothing of the last two days is there: perhaps the clock has jumped.
    assert (one.index(), len(one.found())) == (0, 5)
    one.now += 700
    one.write(4)
    one.follower.step()
    one.now += DAY
    one.follower.step()
    assert sorted(one.found()) == ["gw1-2", "gw1-3", "gw1-4", "gw2-2"]
    assert [one.store().is_removed(day) for day in ("20270131", "20270201")] == [True, False]
    assert one.store().days() == ["20270220", "20270204"]
    # Its files are still there; the other gateway finds no place for them, and goes on.
    other.new_follower().step()
    assert len(one.found()) == 4
    tables = database_server.sql(settings.name, "SELECT relname FROM pg_class WHERE relname ~ '_\\d{6}$' ORDER BY 1")
    assert tables.split() == [
        f"{kind}_2027{month}" for kind in ("day_sums", "events", "facts", "terms") for month in ("02", "03")
    ]


def test_an_event_at_the_end_of_a_month_is_found_and_counted_in_it(gateway):
    one = gateway()
    february = 1_801_440_000.0
    one.now = february + 0.5
    one.write(1, time=february - 0.2)
    one.write(2, time=february + 0.2)
    one.index()
    assert one.found(Query(until=february)) == ["gw1-1"]
    assert one.store(read_only=True).sums("message", february - 3600, february) == {"accepted": 1}


def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


class TestServersThatDoNotWork:
    def error(self, settings: EventDatabase, timeout: float = 60) -> str:
        store = PostgresStore(settings, "gw1.univ.example", timeout=timeout)
        with pytest.raises(StoreError) as raised:
            store.position("20270115", "x")
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(f"{settings.server}: ")
        return str(raised.value).partition(": ")[2]

    def test_a_wrong_password(self, settings, tmp_path):
        (tmp_path / "password").write_text("wrong")
        error = self.error(replace(settings, password_file=str(tmp_path / "password")))
        assert error == (
            'password authentication failed for user "mailgate_gw1" (check event_database.user and the password in'
            " event_database.password_file)"
        )
        assert "password" in self.error(replace(settings, password_file=""))
        assert "No such file" in self.error(replace(settings, password_file=f"{tmp_path}/none"))

    def test_a_user_or_database_that_is_not_there(self, settings):
        assert "pg_hba.conf" in self.error(replace(settings, user="nobody"))
        assert self.error(replace(settings, name="none")) == (
            f'database "none" does not exist (check event_database.name; {MIGRATE})'
        )

    def test_a_certificate_that_is_not_valid(self, settings, certificate):
        assert "certificate verify failed" in self.error(replace(settings, ca_file=certificate[0]))
        assert "certificate verify failed" in self.error(replace(settings, server=f"localhost:{settings.server[10:]}"))

    def test_a_server_that_wants_encryption(self, settings):
        assert "pg_hba.conf" in self.error(replace(settings, tls=False))

    def test_no_schema(self, settings):
        assert self.error(replace(settings, name="postgres")).endswith(f"({MIGRATE})")

    @pytest.mark.parametrize(("version", "action"), [(SCHEMA_VERSION + 1, "update this gateway"), (0, MIGRATE)])
    def test_a_schema_of_another_version(self, settings, database_server, version, action):
        database_server.sql(settings.name, f"UPDATE mailgate.schema_versions SET version = {version}")
        assert (
            self.error(settings) == f"the schema has version {version}, this gateway needs {SCHEMA_VERSION}; {action}"
        )

    def test_a_server_that_does_not_answer(self, settings, database_server):
        store = PostgresStore(settings, "gw1.univ.example", timeout=60)
        store.position("20270115", "x")
        connection = store._database._connection
        assert connection
        connection._usock.settimeout(0.3)
        database_server.pause()
        try:
            assert self.error(settings, timeout=0.3) == "no answer in time"
            with pytest.raises(StoreError, match="no answer in time"):
                store.position("20270115", "x")
        finally:
            database_server.resume()
        assert store.position("20270115", "x") == 0
        store.close()

    def test_a_statement_that_takes_too_long(self, settings):
        database = Database(settings, timeout=60)
        database.run("SET statement_timeout TO 20")
        with pytest.raises(
            StoreError, match=r"statement timeout \(the answer took longer than event_database.timeout\)"
        ):
            database.run("SELECT pg_sleep(20)")

    @pytest.mark.parametrize("answer", [b"220 mail.univ.example ESMTP\r\n", b"S", b"N", b"\0" * 100, b""])
    def test_a_server_of_another_kind(self, settings, answer):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                connection, _peer = listener.accept()
                with connection:
                    connection.sendall(answer)
                    connection.recv(1000)

            thread = threading.Thread(target=serve)
            thread.start()
            assert self.error(replace(settings, server=f"127.0.0.1:{listener.getsockname()[1]}"))
            thread.join(30)

    def test_none(self, settings):
        assert self.error(replace(settings, server=closed_port())) == "Connection refused"


class TestSchema:
    def test_a_second_run_changes_nothing(self, settings, database_server):
        assert database_server.migrate(settings.name) == ""
        assert database_server.migrate("postgres") == "applied 1\n"
        database_server.sql("postgres", "DROP SCHEMA mailgate CASCADE")

    def test_a_migration_is_applied_as_a_whole_or_not_at_all(self, settings, database_server, tmp_path):
        directory = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS / "migrations", directory)
        (directory / "0002.sql").write_text("CREATE TABLE more (x integer);\nSELECT no_such_function();\n")
        with pytest.raises(Exception, match="exit status"):
            database_server.migrate(settings.name, directory)
        (directory / "0002.sql").write_text("CREATE TABLE more (x integer);\n")
        assert database_server.migrate(settings.name, directory) == "applied 2\n"

    def test_the_gateway_expects_the_last_version(self):
        assert sorted((MIGRATIONS / "migrations").iterdir())[-1].stem == f"{SCHEMA_VERSION:04}"

    def test_a_gateway_cannot_change_what_others_have_written(self, settings):
        database = Database(settings)
        for statement in (
            "DELETE FROM events",
            "DROP TABLE events",
            "UPDATE terms SET seq = 1",
            "CREATE TABLE x (y int)",
        ):
            with pytest.raises(StoreError, match=r"permission denied|must be owner"):
                database.run(statement)

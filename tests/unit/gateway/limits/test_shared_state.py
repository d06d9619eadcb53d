# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways that share rates, greylist and bans in a real server, and what they do when it fails or is none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from gateway_doubles import PATIENCE, wait_for
from rule_clients import CLIENT, OK, OTHER, reply_to, rule
from shared_server import MISSING, SharedServer, program

from mailgate.cli import main
from mailgate.config import Config, ConfigError, split_server
from mailgate.config_file import load_config
from mailgate.events import Counters
from mailgate.limit_settings import Greylist, SharedState
from mailgate.limits.bans import BanTable
from mailgate.limits.greylist import Greylisting
from mailgate.limits.local_store import BAN_SCHEMA, LocalStore, remove_bans
from mailgate.limits.remote import Remote
from mailgate.limits.scripts import BANS as STREAM
from mailgate.limits.shared_limits import SharedLimits
from mailgate.limits.shared_store import _key
from mailgate.limits.store import Ban, GuardedStore
from mailgate.rate_buckets import RateBuckets
from mailgate.smtp.address import Mailbox
from mailgate.state import BANS, open_state

needs_server = pytest.mark.skipif(not program(), reason=MISSING)
START = 2_000_000_000.0
A, B, C = (Mailbox(name, "x.example") for name in "abc")


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe a server that failed soon."""
    monkeypatch.setattr("mailgate.limits.remote.PAUSE_SECONDS", 0.1)


class Clock:
    """Seconds since 1970, the same for all gateways."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Member:
    """One gateway's limits, as one worker has them."""

    def __init__(self, directory: Path, settings: SharedState) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.failures: list[str] = []
        rates = RateBuckets()
        self.local = LocalStore(directory, rates)
        self.local.publishes = True
        self.shared = SharedLimits(self.local, rates, self.failures.append)
        self.store = GuardedStore(self.local, rates, pytest.fail)
        self.config = Config(
            hostname="gw1.univ.example", routes_file=Path(), state_dir=directory, shared_state=settings
        )
        self.use(settings)
        self.bans = BanTable(self.store)
        self.clock = Clock()
        self.greylist = Greylisting(self.store, self.clock)
        self.task: asyncio.Task[None] | None = None

    def use(self, settings: SharedState) -> None:
        self.config = replace(self.config, shared_state=settings)
        self.store.use(self.shared.use(self.config), seconds=2 * PATIENCE)

    @property
    def remote(self) -> Remote:
        assert self.shared._remote
        return self.shared._remote

    async def start(self) -> Member:
        self.task = asyncio.create_task(self.shared.keep(exchange=True))
        await wait_for(lambda: self.remote.available)
        self.failures.clear()
        return self

    async def finish(self) -> None:
        if self.task:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def take(self, number: int, name: str = "client", limit: int = 10) -> int:
        """Return how many of `number` events are within the limit."""
        return sum([await self.store.take(name, limit, 600) for _ in range(number)])

    async def bans_client(self, address: str, banned: bool = True) -> None:
        """Wait until a ban of others is or is not in effect."""

        async def agrees() -> bool:
            await self.bans.sync()
            return (self.bans.find(address) is not None) == banned

        deadline = time.monotonic() + PATIENCE
        while not await agrees():
            assert time.monotonic() < deadline, self.failures
            await asyncio.sleep(0.01)

    async def ban(self, address: str, seconds: int = 600) -> None:
        now = int(time.time())
        self.bans.add(Ban(address, now + seconds, now, "test"))
        await self.bans.sync()

    def unban(self, address: str) -> None:
        """Do as `mailgate ban remove`."""
        with closing(open_state(self.directory / BANS, BAN_SCHEMA)) as database:
            remove_bans(database, [address], publish=True)


def recorded(remote: Remote) -> list[object]:
    """Return the list to which the names of further commands are added."""
    names: list[object] = []
    execute = remote._execute

    async def record(*command: object) -> object:
        names.append(command[0])
        return await execute(*command)

    remote._execute = record
    return names


@pytest.fixture
async def member(tmp_path: Path, server: SharedServer) -> AsyncIterator[Callable[..., Member]]:
    members: list[Member] = []

    def make(name: str = "gw1", settings: SharedState | None = None) -> Member:
        members.append(Member(tmp_path / name, settings or server.settings))
        return members[-1]

    yield make
    server.resume()
    for each in members:
        await each.finish()


@pytest.fixture
async def two(member: Callable[..., Member]) -> list[Member]:
    """Start two gateways that share a server."""
    return [await member(name).start() for name in ("gw1", "gw2")]


@needs_server
class TestRates:
    async def test_a_rate_is_that_of_all_gateways(self, two):
        first, second = two
        assert await first.take(6) == 6
        assert await second.take(6) == 4
        assert await first.take(2) == 0
        assert await second.take(1, "another") == 1

    async def test_several_names_are_one_round_trip_and_none_is_counted_after_one_that_is_exceeded(self, two, server):
        first, second = two
        await first.take(1)
        commands = recorded(first.remote)
        assert await first.store.take_all([("a", 1), ("b", 5)], 600) is None
        assert await second.store.take_all([("a", 1), ("b", 5)], 600) == 0
        assert await second.store.take_all([("b", 2), ("c", 1)], 600) is None
        assert await first.store.take_all([("c", 1), ("b", 2)], 600) == 0
        assert commands.count("EVALSHA") == 2 and "EVAL" not in commands

    async def test_the_rate_returns_evenly(self, two, server):
        first, second = two
        assert await first.take(11) == 10
        # As if a tenth of the time had passed.
        key = _key("rate", "client")
        server.command("SET", key, str(int(server.command("GET", key)) - 60_000_000))
        assert await second.take(2) == 1

    async def test_what_the_campus_took_is_known_here_when_the_server_is_gone(self, two, server):
        first, second = two
        assert await first.take(6) == 6
        server.kill()
        assert await first.take(10) == 4, "its own memory"
        assert await second.take(10) == 10


@needs_server
class TestGreylist:
    async def test_a_sender_passes_whichever_gateway_is_tried_next(self, two):
        first, second = two
        assert await first.greylist.wait_seconds(CLIENT, A, B) == 300
        second.clock.now += 200
        assert await second.greylist.wait_seconds(CLIENT, A, B) == 100
        second.clock.now += 100
        assert await second.greylist.wait_seconds(CLIENT, A, B) == 0
        assert await first.greylist.wait_seconds(CLIENT, A, B) == 0, "it has waited, at the other one"
        assert await first.greylist.wait_seconds(CLIENT, A, C) == 300

    async def test_a_sender_that_is_known_here_costs_no_round_trip(self, two, server):
        first, _second = two
        await first.greylist.wait_seconds(CLIENT, A, B)
        first.clock.now += 300
        await first.greylist.wait_seconds(CLIENT, A, B)
        server.pause()
        commands = recorded(first.remote)
        assert await first.greylist.wait_seconds(CLIENT, A, B) == 0
        assert "EVALSHA" not in commands
        assert not first.failures

    async def test_a_network_with_successes_at_any_gateway_waits_no_more(self, two):
        for number in range(5):
            each = two[number % 2]
            await each.greylist.wait_seconds(CLIENT, Mailbox("x" * (number + 1), "x.example"), B)
        for each in two:
            each.clock.now += 300
        for number in range(5):
            await two[number % 2].greylist.wait_seconds(CLIENT, Mailbox("x" * (number + 1), "x.example"), B)
        assert await two[0].greylist.wait_seconds(OTHER, A, C) == 0
        assert await two[1].greylist.wait_seconds("203.0.113.9", A, C) == 300

    async def test_a_sender_that_comes_too_late_begins_again(self, two, server):
        first, second = two
        first.greylist.settings = Greylist(window_hours=1)
        await first.greylist.wait_seconds(CLIENT, A, B)
        server.command("FLUSHALL")
        assert await second.greylist.wait_seconds(CLIENT, A, B) == 300

    async def test_without_the_server_each_goes_on_with_its_own_memory(self, two, server):
        first, second = two
        assert await first.greylist.wait_seconds(CLIENT, A, B) == 300
        server.kill()
        first.clock.now += 300
        assert await first.greylist.wait_seconds(CLIENT, A, B) == 0
        assert await second.greylist.wait_seconds(CLIENT, A, B) == 300


@needs_server
class TestBans:
    async def test_a_ban_at_one_is_a_ban_at_all_soon(self, two):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        assert second.bans.find(CLIENT).reason == "test"
        second.unban(CLIENT)
        await first.bans_client(CLIENT, banned=False)

    async def test_networks(self, two):
        first, second = two
        await first.ban("198.18.128.0/17")
        await second.bans_client("198.18.200.1")
        await first.ban("2001:db8:9::/64")
        await second.bans_client("2001:db8:9::5")

    async def test_changes_while_one_is_away_are_made_up_for(self, two, member):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        await second.finish()
        first.unban(CLIENT)
        await first.ban(OTHER)
        again = await member("gw2").start()
        await again.bans_client(OTHER)
        await again.bans_client(CLIENT, banned=False)

    async def test_a_new_gateway_gets_all_bans(self, two, member):
        await two[0].ban(CLIENT)
        third = await member("gw3").start()
        await third.bans_client(CLIENT)

    async def test_changes_without_the_server_are_published_later(self, two, server):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        server.kill()
        await first.ban(OTHER)
        first.unban(CLIENT)
        await wait_for(lambda: first.failures and second.failures)
        server.start()
        await second.bans_client(OTHER)
        await second.bans_client(CLIENT, banned=False)

    @pytest.mark.parametrize("order", [("gw1", "gw2"), ("gw2", "gw1")])
    async def test_a_removal_without_the_server_prevails_whoever_comes_back_first(self, two, server, member, order):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        for each in two:
            await each.finish()
        first.unban(CLIENT)
        server.command("FLUSHALL")
        again = [await member(name).start() for name in order]
        fresh = await member("gw3").start()
        await again[0].ban(OTHER)
        await again[1].ban("198.18.6.6")
        for each in (*again, fresh):
            await each.bans_client(OTHER)
            await each.bans_client("198.18.6.6")
            await each.bans_client(CLIENT, banned=False)

    @pytest.mark.parametrize("removal_first", [True, False])
    async def test_a_ban_after_a_removal_prevails_in_any_order(self, server, member, removal_first):
        now = int(time.time())
        entries = [json.dumps([CLIENT, 0, now - 60, ""]), json.dumps([CLIENT, now + 600, now - 30, "again"])]
        for entry in entries if removal_first else reversed(entries):
            server.command("XADD", STREAM, "*", "change", entry)
        first = await member().start()
        await first.bans_client(CLIENT)

    async def test_a_ban_does_not_return_by_its_own_publication(self, member):
        one = member()
        assert await one.remote.probe()
        await one.ban(CLIENT)
        exchange = one.shared._exchange
        with closing(exchange._open()) as database:
            await exchange._check(database)
            await exchange._publish(database)
            one.unban(CLIENT)
            await exchange._follow(database)
        await one.bans_client(CLIENT, banned=False)

    async def test_a_removal_prevails_with_clocks_that_differ(self, two, monkeypatch):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        behind = time.time() - 90
        with monkeypatch.context() as patched:
            patched.setattr("mailgate.limits.local_store.time.time", lambda: behind)
            second.unban(CLIENT)
        await first.bans_client(CLIENT, banned=False)

    @pytest.mark.parametrize("behind", [0, 90])
    async def test_a_ban_after_a_removal_prevails_with_clocks_that_differ(self, two, server, member, behind):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        second.unban(CLIENT)
        await first.bans_client(CLIENT, banned=False)
        now = int(time.time()) - behind
        first.bans.add(Ban(CLIENT, now + 600, now, "again"))
        await first.bans.sync()
        await second.bans_client(CLIENT)
        fresh = await member("gw3").start()
        await fresh.bans_client(CLIENT)
        await first.bans_client(CLIENT)

    async def test_a_server_that_has_lost_its_data_gets_them_again(self, two, server, member):
        first, second = two
        await first.ban(CLIENT)
        await second.bans_client(CLIENT)
        server.kill()
        await wait_for(lambda: first.failures and second.failures)
        server.start()
        third = await member("gw3").start()
        await third.bans_client(CLIENT)

    @pytest.mark.parametrize(
        "entry",
        [
            "x", "[]", "{}", "null", "[" * 100_000, '["198.18.9.9", "x", 1, ""]', '["198.18.9.9", 1e400, 1, ""]',
            '["198.18.9.9", 99999999999999, 1, ""]', '["0.0.0.0/0", 2000000000, 1, ""]', '[["a"], 2000000000, 1, ""]',
            '["198.18.9.9/x", 2000000000, 1, ""]', "x" * 1_000_000,
        ],
    )  # fmt: skip
    async def test_an_entry_that_is_not_valid_is_passed_over(self, two, server, entry):
        first, second = two
        server.command("XADD", STREAM, "*", "change", entry)
        server.command("XADD", STREAM, "*", "odd", "field", "more", "fields")
        await first.ban(OTHER)
        await second.bans_client(OTHER)
        assert len(second.bans) == 1
        assert not second.failures

    @pytest.mark.parametrize("key", [STREAM, "mailgate:generation"])
    async def test_a_key_of_another_type(self, member, server, key):
        server.command("LPUSH", key, "x")
        first = member()
        first.task = asyncio.create_task(first.shared.keep(exchange=True))
        await wait_for(lambda: first.failures)
        assert await first.take(12) == 10
        await first.ban(CLIENT)
        await first.bans_client(CLIENT)


@needs_server
class TestFailures:
    async def test_a_server_that_hangs_delays_a_client_once(self, member, server):
        first = await member(settings=replace(server.settings, timeout_ms=500)).start()
        server.pause()
        commands = recorded(first.remote)
        assert await first.take(200) == 10
        assert commands.count("EVALSHA") == 1
        assert "no answer within 0.5 s" in first.failures[0]
        server.resume()
        await wait_for(lambda: first.remote.available)
        first.use(server.settings)
        await wait_for(lambda: first.remote.available)
        assert await first.take(1, "new") == 1

    async def test_clients_at_the_same_time_wait_once(self, member, server):
        first = await member(settings=replace(server.settings, timeout_ms=500)).start()
        server.pause()
        started = time.monotonic()
        await asyncio.gather(*(first.store.take(f"c{number}", 1, 600) for number in range(400)))
        assert time.monotonic() - started < 20, "one after the other on five connections, they would wait for 40 s"

    async def test_a_wrong_password(self, member, server, tmp_path):
        other = tmp_path / "password"
        other.write_text("wrong")
        first = member(settings=replace(server.settings, password_file=str(other)))
        assert not await first.remote.probe()
        assert "WRONGPASS" in first.failures[0] or "password" in first.failures[0]
        other.write_text(server.password_file.read_text())
        assert await first.start(), "the file is read again"

    @pytest.mark.parametrize("missing", ["password_file", "ca_file"])
    async def test_a_missing_file(self, member, server, missing):
        first = member(settings=replace(server.settings, **{missing: "/nonexistent"}))
        assert not await first.remote.probe()
        assert len(first.failures) == 1
        assert await first.take(12) == 10

    async def test_a_certificate_of_others(self, member, server, certificate, monkeypatch):
        # The system's authorities, which would accept it, are not asked if there is a file.
        monkeypatch.setenv("SSL_CERT_FILE", server.certificate)
        first = member(settings=replace(server.settings, ca_file=certificate[0]))
        assert not await first.remote.probe()
        assert "certificate" in first.failures[0].lower()

    async def test_a_certificate_for_another_name(self, member, server):
        first = member(settings=replace(server.settings, server=f"localhost:{server.port}"))
        assert not await first.remote.probe()
        assert "localhost" in first.failures[0]

    async def test_new_settings_while_it_runs(self, two, server):
        first, _second = two
        first.use(SharedState())
        assert await first.take(12) == 10
        first.use(server.settings)
        await wait_for(lambda: first.remote.available)
        assert await first.take(12) == 10, "the campus has not counted"


ODD = {
    "garbage": b"\x00\xff hello\r\n",
    "nothing": b"",
    "an HTTP server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an error": b"-LOADING loading\r\n",
    "nested": b"*1\r\n" * 50_000,
    "a huge string": b"$2000000000\r\n" + b"x" * 1_000_000,
    "a huge array": b"*2000000000\r\n" + b":1\r\n" * 100_000,
    "a negative length": b"$-7\r\n",
    "OK to everything": b"+OK\r\n",
    "a number to everything": b":-1\r\n",
    "a list to everything": b"*3\r\n:1\r\n:2\r\n:3\r\n",
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_a_server_that_is_none(tmp_path, monkeypatch, answer):
    monkeypatch.setattr("mailgate.limits.remote.BACKGROUND_SECONDS", 0.2)
    monkeypatch.setattr("mailgate.limits.remote.PAUSE_SECONDS", 600)
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while await reader.read(4096):
                writer.write(answer)
                if not answer:
                    break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as odd:
        port = odd.sockets[0].getsockname()[1]
        one = Member(tmp_path / "gw1", SharedState(server=f"127.0.0.1:{port}", tls=False, timeout_ms=100))
        one.task = asyncio.create_task(one.shared.keep(exchange=True))
        await wait_for(lambda: one.failures or one.remote.available)
        assert await one.take(12) == 10
        assert await one.greylist.wait_seconds(CLIENT, A, B) == 300
        await one.ban(CLIENT)
        await one.bans_client(CLIENT)
        await wait_for(lambda: one.failures)
        assert len(one.failures) <= 2, "a client and the exchange of bans wait once"
        await one.finish()
        for each in connections:
            each.transport.abort()


async def test_a_gateway_without_it_has_no_connection_and_does_not_import_the_library(tmp_path):
    one = Member(tmp_path / "gw1", SharedState())
    assert one.shared.store is None
    assert await one.take(12) == 10


@needs_server
async def test_by_mail(with_limits, server):
    """By real SMTP, with the server gone in the middle."""
    settings = server.settings
    new = rule("new", "greylist", 'client = ["203.0.113.0/24"]')
    campus = await with_limits(
        "[rates]\nrecipients_per_client = 4\n[shared_state]\n"
        f'server = "{settings.server}"\npassword_file = "{settings.password_file}"\nca_file = "{settings.ca_file}"\n'
        f"{new}"
    )
    limits = campus.gateway.client_limits
    task = asyncio.create_task(limits.share(exchange=True))
    await wait_for(lambda: limits._shared._remote.available)
    assert [(await reply_to(campus))[:3] for _ in range(5)] == ["250"] * 4 + ["450"]
    server.kill()
    assert await reply_to(campus, address=OTHER) == OK
    (event,) = campus.events("shared_state_failed")
    assert event["reason"].startswith(settings.server)
    assert (await reply_to(campus, address="203.0.113.9")).startswith("450 4.7.1 New sender")
    task.cancel()


@needs_server
async def test_status(tmp_path, server, capsys):
    settings = server.settings
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    (tmp_path / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n[shared_state]\n'
        f'server = "{settings.server}"\npassword_file = "{settings.password_file}"\nca_file = "{settings.ca_file}"\n'
        "timeout_ms = 1000\n"
    )

    async def line() -> str:
        await asyncio.to_thread(main, ["status", "--config", str(tmp_path / "mailgate.toml")])
        return next(each for each in capsys.readouterr().out.splitlines() if "shared store" in each)

    assert "answers in" in await line()
    counters = Counters(tmp_path)
    counters.add("shared_state_failed", 3)
    counters.close()
    found = await line()
    assert found.startswith("FAIL") and "failed 3 times in 10 minutes" in found


class TestSettings:
    def problems(self, tmp_path: Path, section: str) -> list[str]:
        path = tmp_path / "mailgate.toml"
        path.write_text(f'hostname = "gw1.univ.example"\nroutes_file = "/r"\n[shared_state]\n{section}\n')
        with pytest.raises(ConfigError) as raised:
            load_config(path, check_lists=True)
        return [problem.removeprefix(f"{path}: ") for problem in raised.value.problems]

    @pytest.mark.parametrize(
        "server", ["gw1", "gw1:", "gw1:0", "gw1:x", "198.18.0.300:6380", "2001:db8::1:6380", "a b:1"]
    )
    def test_servers_that_are_not_valid(self, tmp_path, server):
        (problem,) = self.problems(tmp_path, f'server = "{server}"')
        assert problem.startswith("shared_state.server:") and "HOST:PORT" in problem

    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [("store.univ.example:6380", "store.univ.example", 6380), ("[2001:db8::1]:6380", "2001:db8::1", 6380)],
    )
    def test_servers(self, tmp_path, text, host, port):
        path = tmp_path / "mailgate.toml"
        path.write_text(f'hostname = "gw1.univ.example"\nroutes_file = "/r"\n[shared_state]\nserver = "{text}"\n')
        assert split_server(load_config(path, check_lists=True).shared_state.server) == (host, port)

    def test_files_are_checked_by_the_command_all_at_once(self, tmp_path):
        (tmp_path / "empty").write_text("\n")
        found = self.problems(
            tmp_path, f'server = "198.18.0.1:6380"\npassword_file = "{tmp_path}/empty"\nca_file = "{tmp_path}/empty"'
        )
        assert [each.partition(":")[0] for each in found] == ["shared_state.password_file", "shared_state.ca_file"]
        assert load_config(tmp_path / "mailgate.toml"), "the service does without the store"

    def test_settings_without_a_server(self, tmp_path):
        assert "must be set" in self.problems(tmp_path, "timeout_ms = 20")[0]

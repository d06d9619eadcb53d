# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bans: who is banned, how a banned client is refused, and how workers and restarts share bans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
import time
from dataclasses import replace

import pytest
from gateway_doubles import Client, only_alice_and_bob, wait_for
from rule_clients import ALICE, CLIENT, OK, OTHER, connect, reply_to

from mailgate.cli import main
from mailgate.config import Config
from mailgate.limits.bans import BanTable
from mailgate.limits.local_store import LocalStore, stored_bans
from mailgate.limits.store import Ban, GuardedStore
from mailgate.process.worker import Worker
from mailgate.rate_buckets import RateBuckets
from mailgate.routes import parse_routes
from mailgate.server.session import Session
from mailgate.worker_counters import WorkerCounters

BANNED = "421 4.7.1 Your address is banned for a limited time; try again later"
LOW = "[bans]\nunknown_recipients = 6\n[limits]\nmax_unknown_recipients = 0\nmax_unknown_recipients_per_client = 3\n"


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def table(state, clock=time.time, failures=None) -> BanTable:
    rates = RateBuckets()
    failed = [].append if failures is None else failures.append
    # A store that failed rests for the whole test.
    return BanTable(GuardedStore(LocalStore(state, rates, clock), rates, failed, clock=lambda: 0.0), clock)


async def connected(campus, address: str) -> str:
    """Return the first reply to a client."""
    client = Client(*await asyncio.open_connection("127.0.0.1", campus.port))
    campus.clients.append(client)
    return await client.say(f"PROXY TCP4 {address} {address} 4000 25")


async def guess(campus, number: int, address: str = CLIENT, known: int = 0) -> list[str]:
    """Name unknown recipients, after known ones, in one session; return the replies."""
    client = await connect(campus, address)
    assert (await client.say("MAIL FROM:<>")).startswith("250")
    replies = []
    with contextlib.suppress(EOFError, ConnectionError):
        for each in range(known):
            replies.append(await client.say(f"RCPT TO:<{('alice', 'bob')[each % 2]}@{'ab'[each // 2]}.univ.example>"))
        for each in range(number):
            replies.append(await client.say(f"RCPT TO:<guess{each}@a.univ.example>"))
    return replies


def never_ban(campus, *clients: str) -> None:
    config = campus.gateway.config
    campus.gateway.use(replace(config, bans=replace(config.bans, never=clients)), campus.gateway.routes)


class TestGuessing:
    async def test_a_client_that_guesses_is_banned_at_once_and_its_session_closed(self, with_limits):
        campus = await with_limits(LOW)
        campus.a.rcpt = only_alice_and_bob
        replies = await guess(campus, 20)
        assert [reply[:3] for reply in replies] == ["550"] * 4 + ["450"] * 2 + ["421"]
        asked = sum(command.startswith("RCPT TO:<guess") for command in campus.a.commands)
        assert await connected(campus, CLIENT) == BANNED
        assert (await connected(campus, OTHER)).startswith("220"), "its neighbour is not"
        assert asked <= 8, "deferred guesses are not asked about"
        (event,) = campus.events("banned")
        assert (event["client"], event["network"], event["reason"]) == (CLIENT, CLIENT, "7 unknown recipients")
        assert campus.count("banned") == 1
        campus.gateway.client_limits.count_refused()
        assert campus.count("ban_refused") == 1

    async def test_all_addresses_of_an_ipv6_network_of_a_host_are_one_client(self, with_limits):
        campus = await with_limits(LOW)
        campus.a.rcpt = only_alice_and_bob
        for last in "123":
            await guess(campus, 3, f"2001:db8:9:1::{last}")
        assert campus.gateway.client_limits.bans.find("2001:db8:9:1:ffff::1").network == "2001:db8:9:1::/64"
        assert campus.gateway.client_limits.bans.find("2001:db8:9:2::1") is None

    async def test_a_provider_with_good_mail_is_not_banned(self, with_limits):
        campus = await with_limits(LOW)
        campus.a.rcpt = only_alice_and_bob
        replies = await guess(campus, 12, known=4)
        assert {reply[:3] for reply in replies} == {"250", "550"}
        assert (await connected(campus, CLIENT)).startswith("220")

    async def test_a_client_through_which_much_good_mail_comes_is_not_banned(self, with_limits):
        """An attack that passes a server of others, among its own mail, must not end that mail."""
        campus = await with_limits(LOW)
        campus.a.rcpt = only_alice_and_bob
        for _session in range(5):
            await guess(campus, 0, known=4)
        replies = await guess(campus, 150)
        assert {reply[:3] for reply in replies} == {"550", "450"}
        assert (await connected(campus, CLIENT)).startswith("220")

    @pytest.mark.parametrize("address", ["198.18.0.25", "198.18.200.7", "198.18.7.7", "198.18.8.8", "198.18.6.6"])
    async def test_never_banned(self, with_limits, address):
        campus = await with_limits(
            f'{LOW}[refusal]\nexempt = ["198.18.7.0/24"]\n[lists.partners]\nkind = "network"\nentries = ["198.18.6.6"]'
        )
        never_ban(campus, "198.18.8.8", "@partners")
        campus.a.rcpt = only_alice_and_bob
        for _session in range(3):
            await guess(campus, 6, address)
        assert (await connected(campus, address)).startswith("220")
        assert not campus.events("banned")

    async def test_a_list_of_exceptions_that_changes_or_is_gone(self, with_limits, tmp_path):
        path = tmp_path / "never"
        path.write_text(f"{CLIENT}\n")
        campus = await with_limits(
            f'[bans]\nnever = ["@partners"]\n[lists.partners]\nkind = "network"\nfile = "{path}"\n'
        )
        limits = campus.gateway.client_limits
        assert limits.is_exempt(CLIENT) and not limits.is_exempt(OTHER)
        path.write_text(f"{CLIENT}\n{OTHER}\n")
        await limits.refresh()
        assert limits.is_exempt(OTHER)
        path.unlink()
        await limits.refresh()
        assert limits.is_exempt(OTHER), "the old list stays"
        assert len(campus.events("list_refused")) == 1

    async def test_an_exemption_ends_the_effect_of_a_ban(self, with_limits):
        campus = await with_limits("")
        campus.gateway.client_limits.ban(CLIENT, "x")
        assert await connected(campus, CLIENT) == BANNED
        never_ban(campus, CLIENT)
        assert (await connected(campus, CLIENT)).startswith("220")

    async def test_no_bans_if_switched_off(self, with_limits):
        campus = await with_limits(LOW.replace("= 6", "= 0"))
        campus.a.rcpt = only_alice_and_bob
        await guess(campus, 30)
        assert (await connected(campus, CLIENT)).startswith("220")


@pytest.fixture
async def worker(tmp_path, monkeypatch):
    """Return a worker that accepts connections in this process, and its port; loopback is not exempt."""
    settings = Config(hostname="gw1.univ.example", routes_file=tmp_path / "routes", state_dir=tmp_path)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    worker = Worker(
        tmp_path / "mailgate.toml", settings, parse_routes("a.example\t[127.0.0.1]:1\n"), WorkerCounters(), [listening]
    )
    monkeypatch.setattr(worker.gateway.client_limits, "is_exempt", lambda _address: False)
    worker._listen()
    yield worker, listening.getsockname()[1]
    asyncio.get_running_loop().remove_reader(listening)
    listening.close()
    await worker.gateway.finish(0)
    worker.gateway.close()


class TestRefusal:
    async def test_a_banned_client_is_refused_before_a_session_exists(self, worker, monkeypatch):
        running, port = worker
        built = []
        monkeypatch.setattr(Session, "__init__", lambda *_a, **_k: built.append(1))
        running.gateway.client_limits.ban("127.0.0.1", "x")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.read()).decode() == f"{BANNED}\r\n"
        writer.close()
        assert not built

    async def test_too_many_connections_are_refused_before_a_session_exists(self, worker):
        running, port = worker
        limit = running.gateway.config.limits.max_connections_per_client
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(limit)]
        for reader, _writer in clients:
            assert (await reader.readline()).startswith(b"220")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.read()).startswith(b"421 4.7.0 Too many connections from your address")
        assert len(running.gateway.sessions) == limit
        for _reader, each in (*clients, (reader, writer)):
            each.close()
        await wait_for(lambda: not running.gateway.sessions)

    async def test_an_error_in_limits_does_not_keep_mail_out(self, worker, monkeypatch):
        running, port = worker
        monkeypatch.setattr(running.gateway.client_limits, "refuse_connection", lambda _address: 1 / 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.readline()).startswith(b"220")
        writer.close()
        await wait_for(lambda: not running.gateway.sessions)

    async def test_a_burst_of_simultaneous_connections_stays_within_the_limit(self, worker):
        running, port = worker
        limit = running.gateway.config.limits.max_connections_per_client
        clients = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(limit + 10)))
        first = [(await reader.readline())[:3] for reader, _writer in clients]
        assert sorted(first) == [b"220"] * limit + [b"421"] * 10
        for _reader, writer in clients:
            writer.close()
        await wait_for(lambda: not running.gateway.sessions)


class TestSharing:
    async def test_another_worker_and_a_later_one_know_a_ban(self, tmp_path):
        one, two = table(tmp_path), table(tmp_path)
        await two.sync()
        now = int(time.time())
        one.add(Ban(CLIENT, now + 60, now, "x"))
        assert two.find(CLIENT) is None
        await one.sync()
        await two.sync()
        assert two.find(CLIENT).reason == "x"
        later = table(tmp_path)
        await later.sync()
        assert later.find(CLIENT) and not later.find(OTHER)

    async def test_only_new_bans_are_read(self, tmp_path):
        one, local = table(tmp_path), LocalStore(tmp_path, RateBuckets())
        now = int(time.time())
        for number in range(3):
            one.add(Ban(f"198.18.9.{number}", now + 60, now))
        await one.sync()
        assert len((await local.changed_bans()).bans) == 3
        assert await local.changed_bans() is None
        one.add(Ban(CLIENT, now + 60, now))
        one.add(Ban("198.18.9.1", now + 90, now))
        await one.sync()
        changes = await local.changed_bans()
        assert ({ban.network for ban in changes.bans}, changes.complete) == ({CLIENT, "198.18.9.1"}, False)

    async def test_the_file_is_bounded(self, tmp_path):
        local = LocalStore(tmp_path, RateBuckets())
        local.max_bans = 50
        now = int(time.time())
        for number in range(300):
            await local.add_bans([Ban(f"198.18.{number // 250}.{number % 250}", now + 60 + number, now)])
        bans = stored_bans(tmp_path, now)
        assert len(bans) <= 60
        assert bans[0].network == "198.18.1.49"

    async def test_a_line_that_is_not_valid_does_not_keep_the_others_out(self, tmp_path):
        one = table(tmp_path)
        now = int(time.time())
        one.add(Ban(CLIENT, now + 60, now))
        await one.sync()
        database = sqlite3.connect(tmp_path / "bans.sqlite")
        database.execute("INSERT INTO bans VALUES (NULL, 'nonsense', ?, ?, '')", (now + 600, now))
        database.commit()
        database.close()
        two = table(tmp_path)
        await two.sync()
        assert two.find(CLIENT)

    async def test_a_ban_of_the_last_moment_survives_a_stop(self, with_limits, tmp_path):
        campus = await with_limits("")
        campus.gateway.client_limits.ban(CLIENT, "x")
        await campus.gateway.finish(0)
        later = table(tmp_path)
        await later.sync()
        assert later.find(CLIENT)

    async def test_a_ban_ends(self, tmp_path):
        clock = Clock()
        bans = table(tmp_path, clock)
        bans.add(Ban(CLIENT, int(clock.now) + 60, int(clock.now)))
        clock.now += 59
        assert bans.find(CLIENT)
        clock.now += 1
        assert not bans.find(CLIENT)
        assert len(bans) == 1
        await bans.sync()
        assert len(bans) == 0

    async def test_networks(self, tmp_path):
        bans, end = table(tmp_path), int(time.time()) + 60
        for network in ("198.18.4.0/22", "2001:db8::/32", "198.18.9.9", "2001:db9::5/128"):
            bans.add(Ban(network, end, 0))
        for address in ("198.18.7.255", "2001:db8:1::1", "198.18.9.9", "2001:db9::5"):
            assert bans.find(address), address
        for address in ("198.18.8.0", "2001:db9::6", "198.18.9.8"):
            assert not bans.find(address), address
        await bans.sync()

    async def test_the_number_is_bounded(self, tmp_path):
        bans = table(tmp_path)
        bans.max_clients = 100
        now = int(time.time())
        for number in range(1000):
            bans.add(Ban(f"198.18.{number // 250}.{number % 250}", now + 1000 + number, now))
        assert len(bans) <= 100
        assert bans.find("198.18.3.249"), "those that end last stay"

    @pytest.mark.parametrize("fault", ["corrupt", "no directory", "locked"])
    async def test_without_its_file_a_worker_goes_on_with_its_memory(self, tmp_path, fault):
        state = tmp_path / "state"
        failures: list[str] = []
        if fault != "no directory":
            state.mkdir()
        bans = table(state, failures=failures)
        if fault == "corrupt":
            (state / "bans.sqlite").write_bytes(b"x" * 5000)
        elif fault == "locked":
            await bans.sync()
            other = sqlite3.connect(state / "bans.sqlite", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
        now = int(time.time())
        bans.add(Ban(CLIENT, now + 60, now))
        await bans.sync()
        await bans.sync()
        assert bans.find(CLIENT)
        assert len(failures) == 1, "it does not wait for it again"

    async def test_a_ban_is_written_once_the_file_is_sound_again(self, tmp_path):
        (tmp_path / "bans.sqlite").write_bytes(b"x" * 5000)
        failures: list[str] = []
        clock = Clock()
        rates = RateBuckets()
        bans = BanTable(GuardedStore(LocalStore(tmp_path, rates), rates, failures.append, clock=clock))
        now = int(time.time())
        bans.add(Ban(CLIENT, now + 60, now))
        await bans.sync()
        (tmp_path / "bans.sqlite").unlink()
        clock.now += 60
        await bans.sync()
        other = table(tmp_path)
        await other.sync()
        assert other.find(CLIENT)
        assert len(failures) == 1

    async def test_a_failure_is_logged_once_a_minute_and_counted(self, with_limits):
        campus = await with_limits("")
        limits = campus.gateway.client_limits
        for _ in range(3):
            limits._store_failed("disk is full")
        (event,) = campus.events("limits_store_failed")
        assert event["reason"] == "disk is full"
        assert campus.count("limits_store_failed") == 3


class TestCommand:
    @pytest.fixture
    def command(self, tmp_path, capsys):
        (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
        path = tmp_path / "mailgate.toml"
        path.write_text(
            f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
            'own_addresses = ["198.18.0.25"]\n[bans]\nnever = ["198.18.8.0/24"]\n'
        )

        def run(*arguments: str) -> tuple[int, str]:
            status = main(["ban", "--config", str(path), *arguments])
            captured = capsys.readouterr()
            return status, captured.out + captured.err

        return run

    async def test_add_list_remove(self, command, tmp_path):
        assert command("list") == (0, "")
        bans = table(tmp_path)
        await bans.sync()
        assert command("add", CLIENT, "2001:db8:9::1", "198.18.4.0/22", "--duration", "2h", "--reason", "flood")[0] == 0
        await bans.sync()
        assert bans.find(CLIENT).reason == "flood"
        assert bans.find("2001:db8:9::2") and bans.find("198.18.5.5")
        found = json.loads(command("list", "--format", "json")[1])
        assert {each["address"] for each in found} == {CLIENT, "2001:db8:9::/64", "198.18.4.0/22"}
        assert 7190 < found[0]["seconds_left"] <= 7200
        assert CLIENT in command("list")[1]
        assert command("remove", CLIENT) == (0, f"{CLIENT}: ban removed\n")
        assert command("remove", CLIENT) == (1, f"{CLIENT}: not banned\n")
        await bans.sync()
        assert not bans.find(CLIENT)

    def test_what_is_never_banned_is_not_added(self, command):
        status, text = command("add", CLIENT, "198.18.0.25", "198.18.8.9")
        assert (status, text.count("not banned")) == (2, 2)
        assert command("list") == (0, "")

    @pytest.mark.parametrize(
        "arguments", [("x",), ("198.18.9.9/16",), (CLIENT, "--duration", "25d"), (CLIENT, "--duration", "0s")]
    )
    def test_invalid_arguments(self, command, arguments):
        with pytest.raises(SystemExit) as ended:
            command("add", *arguments)
        assert ended.value.code == 2

    async def test_ordinary_mail_is_not_delayed_by_bans(self, with_limits):
        campus = await with_limits("")
        assert await reply_to(campus, to=ALICE) == OK

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that read events: search, tail, trace, queue; with and without the index, in both languages."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from gateway_doubles import EICAR, MESSAGE, send_hello

from mailgate.cli import main
from mailgate.commands import mail_queue, trace
from mailgate.commands.event_lines import clean, line_of
from mailgate.commands.event_options import client, moment
from mailgate.commands.mail_queue import QueueUnreadableError, parse_log, parse_mailq
from mailgate.commands.search import new_events
from mailgate.commands.status import index_checks
from mailgate.config_file import load_config
from mailgate.event_settings import EventSettings
from mailgate.event_spool import Spool
from mailgate.state import EVENTS
from mailgate.translation import translator

MAILQ = """\
\t\t/var/spool/mqueue (3 requests)
-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------
5AUH6Vab012345      812 Mon Nov 30 17:06 <a@sender.example>
                 (Deferred: Connection refused by [198.18.1.25])
\t\t\t\t\t <alice@a.univ.example>
\t\t\t\t\t bob@a.univ.example
5AUH6Vab012346*         Sun Nov 29 01:06 <>
\t\t\t\t\t <carol@b.univ.example>
5AUH6Vab012347X    1024 Thu Dec 31 23:59 MAILER-DAEMON
      8BITMIME   (host map: lookup (x): deferred)
\t\t\t\t\t <x@[198.18.1.1]>
\t\tTotal requests: 3
"""
NOW = time.mktime((2026, 11, 30, 18, 0, 0, 0, 0, -1))


@pytest.fixture
def no_queue(monkeypatch):
    def fail(*_arguments):
        raise QueueUnreadableError("mailq: run as root")

    monkeypatch.setattr(mail_queue, "_run", fail)


@pytest.fixture
def settings(tmp_path, event_store_settings):
    (tmp_path / "routes").write_text("a.univ.example\t198.18.1.1\n")

    def write(more: str = "") -> list[str]:
        (tmp_path / "mailgate.toml").write_text(
            f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
            f'listen = ["127.0.0.1:2"]\n{more}\n{event_store_settings}'
        )
        return ["--config", str(tmp_path / "mailgate.toml")]

    return write


@pytest.fixture
def run(capsys):
    def call(*arguments: str) -> tuple[int, str]:
        status = main([*arguments])
        return status, capsys.readouterr().out

    return call


class TestSearchAndTrace:
    @pytest.mark.parametrize("indexed", [False, True])
    async def test_what_happened_is_told_with_and_without_the_index(self, campus, settings, run, no_queue, indexed):
        campus.a.final = "250 2.0.0 5AUH6Vhome0001 Message accepted for delivery"
        campus.b.rcpt = lambda _: "550 5.1.1 no such user"
        given = settings()
        peer = await campus.connect()
        await peer.start("alice@a.univ.example", "carol@b.univ.example")
        number = (await peer.send(b"Message-ID: <m1@x.example>\r\n\r\nHello.\r\n")).split()[-1]
        await peer.start("dave@elsewhere.example")
        if indexed:
            assert run("index", "--once", *given) == (0, "")
        for criteria in (
            ("--to", "Alice@a.univ.example", "--verdict", "accepted"),
            ("--id", number, "--domain", "a.univ.example"),
            ("--message-id", "m1@x.example"),
            ("--address", "carol@b.univ.example", "--verdict", "refused"),
            ("--client", "127.0.0.0/24", "--limit", "1", "--to", "alice@a.univ.example"),
            ("--from", "a@sender.example", "--since", "1h", "--verdict", "accepted"),
        ):
            status, out = run("search", *criteria, "--json", *given)
            assert (status, [json.loads(line)["id"] for line in out.splitlines()]) == (0, [number]), criteria
        assert run("search", "--to", "nobody@a.univ.example", *given) == (1, "")
        for subject in ("alice@a.univ.example", number, "<m1@x.example>", "m1@x.example", "5AUH6Vhome0001"):
            status, out = run("trace", subject, *given)
            assert status == 0
            assert "The recipient alice@a.univ.example was accepted (verified by: server)." in out
            assert "The recipient carol@b.univ.example was refused (rule: -): 550 5.1.1 no such user" in out
            assert "sent it from a@sender.example to alice@a.univ.example" in out
            server = f"[127.0.0.1]:{campus.a.port}"
            assert f"alice@a.univ.example: on the server {server}; its log has it as 5AUH6Vhome0001." in out
            assert "dave" not in out
        assert run("trace", "nobody@a.univ.example", *given)[0] == 1
        (found,) = json.loads(run("trace", number, "--json", *given)[1])
        assert (found["id"], len(found["events"])) == (number, 4)

    async def test_the_language_is_that_of_the_settings(self, campus, settings, run, no_queue):
        await send_hello(await campus.connect())
        assert ": on the server" in run("trace", "alice@a.univ.example", *settings())[1]
        _status, out = run("trace", "alice@a.univ.example", *settings('language = "ja"\n'))
        assert "現在" in out
        assert "Now" not in out

    async def test_a_refused_and_an_infected_mail(self, campus, settings, run, no_queue):
        peer = await campus.connect()
        await peer.start("x@elsewhere.example")
        await peer.say("RSET")
        await peer.start("alice@a.univ.example")
        await peer.say("RSET")
        await peer.start("bob@a.univ.example")
        assert (await peer.send(b"Subject: x\r\n\r\n" + EICAR + b"\r\n")).startswith("554")
        campus.clamd.stop()
        given = settings()
        assert "server reports that to the sender" in run("trace", "x@elsewhere.example", *given)[1]
        assert "never had the message" in run("trace", "alice@a.univ.example", "--limit", "1", *given)[1]
        out = run("trace", "bob@a.univ.example", *given)[1]
        assert "The inspection found Eicar" in out
        assert out.rstrip().endswith("reports that to the sender.")
        assert run("search", "--verdict", "infected", "--virus", "eicar-test", *given)[0] in (0, 1)

    async def test_queued_mail_is_followed_into_the_queue(self, campus, settings, run, monkeypatch):
        campus.a.final = None
        campus.queue.final = "250 2.0.0 5AUH6Vab012345 Message accepted for delivery"
        await send_hello(await campus.connect())
        listing, journal = MAILQ, ""

        def answer(command, *_seconds):
            return listing if command[0] == "mailq" else journal

        monkeypatch.setattr(mail_queue, "_run", answer)
        given = settings()
        out = run("trace", "alice@a.univ.example", *given)[1]
        assert "in the queue of this gateway as 5AUH6Vab012345: Deferred: Connection refused by [198.18.1.25]" in out
        listing = "/var/spool/mqueue is empty\n\t\tTotal requests: 0\n"
        assert "no result" in run("trace", "alice@a.univ.example", *given)[1]
        journal = (
            f"{time.time():.6f} gw1 sm-mta[99]: 5AUH6Vab012345: to=<alice@a.univ.example>, stat=Sent (ok)\n"
            f"{time.time():.6f} gw1 sm-mta[99]: 5AUH6Vother001: to=<x@a.univ.example>, stat=Sent (other)\n"
        )
        out = run("trace", "alice@a.univ.example", *given)[1]
        assert "no longer in the queue (5AUH6Vab012345): Sent (ok)" in out
        assert "other" not in out

    async def test_an_address_is_found_by_its_hash(self, make_campus, settings, run, no_queue, tmp_path):
        (tmp_path / "key").write_text("secret")
        hashed = EventSettings(hash_addresses=True, hash_key_file=str(tmp_path / "key"))
        campus = await make_campus(events=hashed)
        await send_hello(await campus.connect())
        given = settings(f'[events]\nhash_addresses = true\nhash_key_file = "{tmp_path}/key"\n')
        status, out = run("trace", "Alice@a.univ.example", *given)
        assert status == 0
        assert "alice@" not in out
        assert run("search", "--domain", "a.univ.example", *given)[0] == 0
        (tmp_path / "key").unlink()
        assert main(["search", "--to", "alice@a.univ.example", *given]) == 2

    def test_subjects_need_the_setting(self, settings, capsys):
        assert main(["search", "--subject", "x", *settings()]) == 2
        assert "events.subject" in capsys.readouterr().err

    def test_an_index_needs_files(self, settings, capsys):
        assert main(["index", "--once", *settings("[events]\nmax_bytes = 0\n")]) == 2
        assert "events.max_bytes is 0" in capsys.readouterr().err


class TestTail:
    def test_new_events_of_all_files_are_followed(self, tmp_path):
        spool = Spool(tmp_path, 1 << 20)
        spool.append(b'{"event": "old"}\n')
        pauses = iter(range(3))

        def write(_seconds):
            if next(pauses, None) is None:
                raise KeyboardInterrupt
            spool.append(b'{"event": "new"}\nrubbish\n{"event": "ne')
            spool.append(b'wer"}\n')

        found = []
        with pytest.raises(KeyboardInterrupt):
            for event in new_events(tmp_path / EVENTS, write):
                found.append(event["event"])
        assert found == ["new", "newer"] * 3

    def test_a_terminal_gets_colours_but_nothing_of_a_client(self):
        event = {"time": 1.0, "event": "message", "id": "1", "sender": "\x1b[2J\u202e@x", "recipients": ["a@b"] * 9,
                 "client": "198.18.0.1", "reply": "250 ok", "odd": {"\x07": "\n"}}  # fmt: skip
        line = line_of(event, colours=True)
        assert line.count("\x1b") == 2
        assert "\n" not in line
        assert "\u202e" not in line
        assert "(+4)" in line
        assert "\x1b" not in line_of(event)
        assert clean("\ud800" * 1000).endswith("…")


class TestOptions:
    def test_times(self):
        assert time.time() - moment("2h").timestamp() == pytest.approx(7200, abs=60)
        assert moment("2026-07-01T08:00+00:00").timestamp() == 1782892800
        for text in ("yesterday", "99999999999999w", "9999-99-99"):
            with pytest.raises(Exception, match="not a valid date"):
                moment(text)

    def test_clients(self):
        assert client("198.18.0.1") == "198.18.0.1"
        assert client("198.18.0.0/24") == "198.18.0.0/24"
        for text in ("198.18.0.0/16", "198.18.0.1/24", "x"):
            with pytest.raises(Exception, match=r"."):
                client(text)


class TestQueue:
    def test_the_list_of_sendmail(self):
        one, two, three = parse_mailq(MAILQ, NOW)
        assert (one.id, one.active, one.size, one.sender) == ("5AUH6Vab012345", False, 812, "a@sender.example")
        assert one.reason == "Deferred: Connection refused by [198.18.1.25]"
        assert one.recipients == ["alice@a.univ.example", "bob@a.univ.example"]
        assert time.strftime("%Y-%m-%d %H:%M", time.localtime(one.since)) == "2026-11-30 17:06"
        assert (two.active, two.size, two.sender) == (True, None, "")
        assert time.strftime("%Y", time.localtime(three.since)) == "2025"
        assert three.reason == "host map: lookup (x): deferred"
        assert parse_mailq("\x00\n(\n" + "x" * 10000, NOW) == []

    def test_the_queue_by_domain(self, settings, run, monkeypatch):
        ran = []

        def answer(command, *_seconds):
            ran.append(command)
            return MAILQ if command[0] == "mailq" else "Running /var/spool/mqueue/5AUH6Vab012345\n"

        monkeypatch.setattr(mail_queue, "_run", answer)
        status, out = run("queue", *settings())
        assert status == 0
        assert out.startswith("3 messages wait, the oldest since 20")
        assert "a.univ.example: 1 messages" in out
        assert "Deferred: Connection refused" in out
        assert "not tried yet" not in out
        _status, out = run("queue", "--retry", "--domain", "A.univ.example", "--json", *settings())
        assert ran[-2:] == [["sendmail", "-qR@a.univ.example"], ["mailq"]]
        assert '"5AUH6Vab012345"' in out
        assert "5AUH6Vab012346" not in out
        run("queue", "--retry", *settings())
        assert ran[-2] == ["sendmail", "-qf"]

    @pytest.mark.parametrize("local", ["", "MSP Queue status...\n/var/spool/mqueue-client is empty\n", MAILQ])
    def test_a_queue_that_cannot_be_read(self, settings, capsys, monkeypatch, local):
        monkeypatch.setattr(mail_queue, "_run", lambda *_: f"{local}You are not permitted to see the queue\n")
        assert main(["queue", *settings()]) == 1
        assert "not permitted" in capsys.readouterr().err
        monkeypatch.setattr(mail_queue, "_run", lambda *_: "/var/spool/mqueue is empty\n")
        assert main(["queue", *settings()]) == 0

    def test_the_domain_of_a_retry_is_no_option_of_sendmail(self, settings, capsys):
        with pytest.raises(SystemExit):
            main(["queue", "--retry", "--domain", "x -oQ/tmp", *settings()])

    def test_the_log_of_sendmail(self):
        lines = ["1764522416.5 gw1 sm-mta[1]: 5AUH6Vab012345: to=<x>, stat=Sent", "rubbish", "1.0 a b[1]: x: y"]
        (found,) = parse_log(lines, {"5AUH6Vab012345"})
        assert (found.time, found.text) == (1764522416.5, "to=<x>, stat=Sent")


def test_every_kind_of_an_id_has_words():
    from mailgate.event_kinds import KINDS

    with_id = {name for name, kind in KINDS.items() if "id" in (*kind.fields, *kind.optional)}
    assert with_id == {*trace.STEPS}


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({}, []),
        (
            {"spf": "pass", "dkim": "none", "dmarc": "fail"},
            ["Mail authentication: SPF pass, DKIM none, DMARC fail, ARC -."],
        ),
        ({"signed": "a.example", "selector": "gw1"}, ["The gateway signed it for a.example (DKIM, selector gw1)."]),
    ],
)
def test_results_of_mail_authentication_and_signatures_have_words(fields, texts):
    event = {"event": "message", "time": 1.0, "id": "1", "client": "198.18.0.1", **fields}
    (_time, first), *others = trace.steps(trace.Trace("1", [event]), translator("en"))
    assert first.startswith("198.18.0.1 (-) sent it")
    assert [text for _time, text in others] == texts


class TestReport:
    async def test_what_the_index_has_is_reported(self, campus, settings, run):
        campus.b.rcpt = lambda _: "550 5.1.1 no such user"
        peer = await campus.connect()
        await peer.start("alice@a.univ.example", "carol@b.univ.example", "x@elsewhere.example")
        await peer.send(MESSAGE)
        await peer.start("bob@a.univ.example")
        await peer.send(b"Subject: x\r\n\r\n" + EICAR + b"\r\n")
        campus.gateway.counters.write()
        given = settings()
        run("index", "--once", *given)
        found = json.loads(run("report", "--json", "--since", "1h", *given)[1])
        assert (found["processed"], found["relay_refused"], found["virus_found"]) == (2, 1, 1)
        assert (found["before"]["processed"], found["quarantine"]["messages"]) == (0, 0)
        assert found["domains"]["a.univ.example"] == {"accepted": 1, "refused": 1}
        assert found["domains"]["b.univ.example"] == {"refused_recipients": 1}
        assert found["recipients"] == {"alice@a.univ.example": 1}
        assert found["rules"] == {"recipient_refused": 1, "relay_refused": 1}
        assert found["networks"] == {"127.0.0": 2}
        assert sum(found["delays"]["buckets"].values()) == 1
        assert list(found["viruses"].values()) == [1]
        assert list(found["days"].values()) == [{"accepted": 1, "refused": 1}]
        out = run("report", "--since", "1h", *given)[1]
        assert re.search(r"^127\.0\.0\.0/24 +2$", out, re.MULTILINE)
        assert re.search(r"^Period before +0 +0 +0$", out, re.MULTILINE)
        part = found["by_domain"]["a.univ.example"]
        assert list(part["days"].values()) == [{"accepted": 1, "refused": 1}]
        assert (part["viruses"], part["recipients"]) == (found["viruses"], found["recipients"])
        assert sum(part["delays"].values()) == 1
        # It has no route here.
        assert "b.univ.example" not in found["by_domain"]
        out = run("report", "--since", "1h", "--format", "csv", "--language", "ja", *given)[1]
        assert "alice@a.univ.example,1" in out

    def test_a_cell_of_a_sender_is_no_formula(self, settings, run, tmp_path):
        spool = Spool(tmp_path, 1 << 20)
        event = {"event": "message", "time": time.time(), "client": "198.18.0.1", "recipients": ['=cmd|"x"@a.example'],
                 "reply": "250 ok", "seconds": 1}  # fmt: skip
        spool.append(json.dumps(event).encode() + b"\n")
        given = settings()
        run("index", "--once", *given)
        assert "'=cmd" in run("report", "--format", "csv", *given)[1]


def test_status_reports_an_index_that_is_far_behind(settings, tmp_path, monkeypatch):
    spool = Spool(tmp_path, 1 << 20)
    spool.append(b'{"event": "stopped"}\n')
    config = load_config(Path(settings()[1]))
    server = f"{config.event_database.server}: " if config.event_database.server else ""
    assert [(check.ok, check.detail) for check in index_checks(config)] == [
        (True, f"{server}21 bytes of events are not indexed yet")
    ]
    monkeypatch.setattr("mailgate.commands.status.UNINDEXED_BYTES", 20)
    assert not index_checks(config)[0].ok
    main(["index", "--once", *settings()])
    assert index_checks(config)[0].detail.startswith(f"{server}0 bytes")

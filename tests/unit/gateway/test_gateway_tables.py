# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes, settings, the recipient cache, counters and the command that reads them."""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path

import pytest

import mailgate
from mailgate.cli import main
from mailgate.commands.status import queue_length
from mailgate.config import Config, ConfigError, Endpoint
from mailgate.config_file import load_config, parse_config
from mailgate.delivery.verify_cache import VerificationCache, is_unknown_recipient
from mailgate.events import Counters, Events, totals
from mailgate.routes import NextHop, RoutesError, parse_routes
from mailgate.smtp.address import Mailbox
from mailgate.smtp.reply import Reply
from mailgate.state import open_read_only

ROUTES = """# made by the plan
*.lab.mech.eng.univ.example\t198.18.1.31
*.eng.univ.example\t198.18.1.32
eng.univ.example\t198.18.1.25,2001:db8::25
mech.eng.univ.example\t198.18.1.30
[198.18.1.40]\t198.18.1.40
大学.example\t[198.18.1.50]:2525
"""
EXAMPLE = Path(mailgate.__file__).parent / "example.toml"


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("eng.univ.example", "198.18.1.25"),
        ("MECH.eng.Univ.Example", "198.18.1.30"),
        ("pc.lab.mech.eng.univ.example", "198.18.1.31"),
        ("a.b.lab.mech.eng.univ.example", "198.18.1.31"),
        ("lab.mech.eng.univ.example", "198.18.1.32"),
        ("civil.eng.univ.example", "198.18.1.32"),
        ("[198.18.1.40]", "198.18.1.40"),
        ("xn--pss25c.example", "198.18.1.50"),
        ("univ.example", None),
        ("xeng.univ.example", None),
        ("example", None),
        ("[198.18.1.41]", None),
    ],
)
def test_longest_match(domain, address):
    route = parse_routes(ROUTES).find(domain)
    assert (route and route.next_hops[0].address) == address


def test_next_hops_keep_their_order_and_port():
    routes = parse_routes(ROUTES)
    assert routes.find("eng.univ.example").next_hops == (NextHop("198.18.1.25"), NextHop("2001:db8::25"))
    assert routes.find("xn--pss25c.example").next_hops == (NextHop("198.18.1.50", 2525),)


def test_servers_to_ask_are_told_where_they_are_behind_the_next_hops():
    routes = parse_routes(
        "a.example\t198.18.1.25\t198.18.1.30,[198.18.1.31]:2525\n"
        "b.example\t198.18.1.25\t198.18.1.25\n"
        "c.example\t198.18.1.25\n"
        "d.example\t198.18.1.25\t\n"
    )
    home = (NextHop("198.18.1.30"), NextHop("198.18.1.31", 2525))
    assert [route.verify_at for route in routes] == [home, (), (), ()]
    assert [len(route.verification_servers) for route in routes] == [2, 1, 1, 1]
    assert routes.render("table").splitlines()[:2] == [
        "a.example  198.18.1.25  verified by 198.18.1.30, [198.18.1.31]:2525",
        "b.example  198.18.1.25",
    ]
    assert "a.example,198.18.1.25,198.18.1.30 [198.18.1.31]:2525\n" in routes.render("csv")
    assert [route["ask"] for route in json.loads(routes.render("json"))][1:] == [["198.18.1.25"]] * 3


def test_all_problems_of_a_table_are_named():
    text = (
        "a.example 198.18.1.1\n"
        "b.example\tmail.b.example\n"
        "a_b.example\t198.18.1.1\n"
        "*.\t198.18.1.1\n"
        "c.example\t198.18.0.10\n"
        "d.example\t::ffff:198.18.0.10\n"
        "e.example\t198.18.1.1\nE.example\t198.18.1.2\n"
        "f.example\t198.18.1.1,\n"
        "g.example\t127.0.0.1\n"
        "h.example\t0.0.0.0\n"
        "i.example\t[198.18.1.1]:99999\n"
        "j.example\t198.18.1.1\t198.18.1.30,198.18.0.10,home.example\n"
        "k.example\t198.18.0.10\t127.0.0.1\n"
        "l.example\t\t198.18.1.1\n"
        "m.example\t198.18.1.1\t198.18.1.1\t198.18.1.1\n"
    )
    with pytest.raises(RoutesError) as caught:
        parse_routes(text, own_addresses=["198.18.0.10"], source="routes")
    assert [int(problem.split(":")[1]) for problem in caught.value.problems] == [
        1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 13, 14, 14, 15, 16
    ]  # fmt: skip
    assert sum("loop" in problem for problem in caught.value.problems) == 5
    assert "routes:13: verification server 198.18.0.10 of j.example is a gateway's own address" in str(caught.value)


def test_empty_table_is_refused():
    with pytest.raises(RoutesError, match="contains no routes"):
        parse_routes("# nothing\n")


def test_table_is_printed_in_three_forms():
    routes = parse_routes(ROUTES)
    assert routes.render("table").splitlines()[0].split() == ["*.eng.univ.example", "198.18.1.32"]
    assert "eng.univ.example,198.18.1.25 2001:db8::25,198.18.1.25 2001:db8::25\n" in routes.render("csv")
    hop = ["198.18.1.30"]
    assert {"domain": "mech.eng.univ.example", "next_hops": hop, "ask": hop} in json.loads(routes.render("json"))


def test_example_shows_every_setting_with_its_default():
    config = load_config(EXAMPLE)
    default = Config("gw1.univ.example", Path("/etc/mailgate/routes"))
    assert config == Config(**{**vars(default), "own_addresses": ("198.18.0.10", "2001:db8::10")})
    import tomllib

    given = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert set(given) == set(vars(default))
    for section in ("scan", "content", "limits", "timeouts", "cache", "attachments", "quarantine", "notices"):
        assert set(given[section]) == set(vars(getattr(default, section)))


def test_all_problems_of_the_settings_are_named():
    text = """
hostname = "not a name"
listen = ["25", "[::]:25"]
state_dir = "relative"
own_addresses = ["198.18.0.300"]
relay_networks = ["198.18.1.1/16"]
queue = "localhost:10025"
language = "fr"
postmaster = "nobody"
colour = "blue"
[scan]
infected = "keep"
concurrency = true
[limits]
max_connections = 0
max_bytes_in_flight = 10
speed = 3
[timeouts]
scan = 200
[content]
max_line_bytes = 50
"""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "x.toml")
    keys = {problem.split(": ")[1] for problem in caught.value.problems}
    assert keys == {
        "colour", "routes_file", "hostname", "listen", "state_dir", "own_addresses", "relay_networks", "queue",
        "language", "postmaster", "scan.infected", "scan.concurrency", "limits.max_connections", "limits.speed",
        "limits.max_bytes_in_flight", "timeouts", "content.max_line_bytes",
    }  # fmt: skip


def test_queue_that_is_the_service_itself_is_refused():
    with pytest.raises(ConfigError, match="loop"):
        parse_config('hostname = "g.example"\nroutes_file = "/r"\nqueue = "127.0.0.1:25"\n')


def test_settings_that_are_not_toml_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_config("hostname = ")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


ALICE = Mailbox("alice", "a.example")
OK = Reply.of(250, "2.1.5 ok")
UNKNOWN = Reply(550, ("5.1.1 who?", "5.1.1 really"))


def test_answers_are_kept_for_their_time_and_across_restarts(tmp_path):
    clock = Clock()
    keep = {"known_seconds": 30 * 86400, "unknown_seconds": 7200, "clock": clock}
    cache = VerificationCache(tmp_path, **keep)
    assert cache.find(ALICE) is None
    cache.store(ALICE, OK)
    cache.store(Mailbox("ghost", "a.example"), UNKNOWN)
    cache.close()
    cache = VerificationCache(tmp_path, **keep)
    assert cache.find(ALICE).known
    assert cache.find(Mailbox("ghost", "a.example")).reply == UNKNOWN
    clock.now += 7200
    assert cache.find(Mailbox("ghost", "a.example")) is None
    cache.store(ALICE, OK)
    clock.now += 30 * 86400 - 1
    assert cache.find(ALICE).known, "refreshed by the second answer"
    cache.prune()
    assert cache.sizes() == (1, 0, 0)
    clock.now += 1
    assert cache.find(ALICE) is None
    cache.prune()
    assert cache.sizes() == (0, 0, 0)


def test_domains_that_were_tried_are_not_counted_as_recipients(tmp_path):
    cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
    cache.store(ALICE, OK)
    cache.store(Mailbox("ghost", "a.example"), UNKNOWN)
    cache.store_catch_all("a.example", UNKNOWN)
    cache.store_catch_all("b.example", OK)
    assert cache.sizes() == (1, 1, 1)


def test_a_recipient_that_is_gone_is_learned_at_once(tmp_path):
    cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
    cache.store(ALICE, OK)
    cache.store(ALICE, UNKNOWN)
    assert not cache.find(ALICE).known
    cache.store(ALICE, OK)
    assert cache.find(ALICE).known


@pytest.mark.parametrize(
    ("reply", "unknown"),
    [
        ((550, "5.1.1 no such user"), True),
        ((550, "No such user here"), True),
        ((553, "5.1.3 bad"), True),
        ((550, "5.7.1 your address is blocked"), False),
        ((552, "5.2.2 full"), False),
        ((450, "4.2.0 greylisted"), False),
        ((554, "5.7.1 no"), False),
    ],
)
def test_only_what_is_about_the_recipient_is_remembered(reply, unknown):
    assert is_unknown_recipient(Reply.of(*reply)) == unknown


def test_a_failing_disk_makes_recipients_unseen_not_mail_lost(tmp_path, caplog):
    cache = VerificationCache(tmp_path, known_seconds=100, unknown_seconds=100)
    cache.store(ALICE, OK)
    cache._database.close()
    cache._memory.clear()
    assert cache.find(ALICE) is None
    cache.store(ALICE, OK)
    assert "verification cache" in caplog.text


def test_counters_are_written_and_summed_by_period(tmp_path):
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


def test_events_are_lines_and_never_raise(tmp_path):
    out = io.StringIO()
    events = Events(None, out)
    events.emit("message", reply=OK, sender=ALICE, queued=None)
    assert json.loads(out.getvalue()) == {"event": "message", "reply": "250 2.1.5 ok", "sender": "alice@a.example"}
    out.close()
    events.emit("message")


def test_counters_ask_to_be_written_once_for_many(tmp_path):
    asked: list[object] = []
    counters = Counters(tmp_path, later=asked.append)
    reader = open_read_only(tmp_path / Counters.FILE)
    for round_number in (1, 2):
        counters.add("processed")
        counters.add("virus_found", 2)
        assert asked == [counters.write] * round_number
        counters.write()
        assert totals(reader, 0, 9e9) == {"processed": round_number, "virus_found": 2 * round_number}


def test_counters_wait_for_a_disk_that_is_full(tmp_path, caplog):
    counters = Counters(tmp_path)
    counters._database.execute("PRAGMA query_only = 1")
    counters.add("processed", 2)
    counters.write()
    assert "cannot write the counters" in caplog.text
    counters._database.execute("PRAGMA query_only = 0")
    counters.add("processed")
    counters.close()
    assert totals(open_read_only(tmp_path / Counters.FILE), 0, 9e9) == {"processed": 3}


@pytest.fixture
def installed(tmp_path):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\nb.example\t198.18.1.2\n")
    (tmp_path / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
        f'queue = "127.0.0.1:1"\nlisten = ["127.0.0.1:2"]\nlanguage = "ja"\n[scan]\nsocket = "{tmp_path}/none"\n'
    )
    return tmp_path / "mailgate.toml"


def test_check(installed, capsys, monkeypatch):
    assert main(["check", "--config", str(installed)]) == 0
    assert "2 routes" in capsys.readouterr().out
    bad = installed.with_name("bad")
    bad.write_text("x\n")
    assert main(["check", "--config", str(installed), "--routes", str(bad)]) == 2
    assert str(bad) in capsys.readouterr().err
    monkeypatch.setattr("mailgate.cli.DEFAULT_CONFIG", installed.with_name("absent"))
    assert main(["check", "--routes", str(installed.with_name("routes"))]) == 0
    assert main(["check", "--routes", str(bad)]) == 2
    capsys.readouterr()
    installed.write_text("hostname = 1\n")
    assert main(["check", "--config", str(installed)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_routes_are_printed(installed, capsys):
    assert main(["routes", "--config", str(installed)]) == 0
    assert capsys.readouterr().out == "a.example  198.18.1.1\nb.example  198.18.1.2\n"


def test_report(installed, capsys):
    assert main(["report", "--config", str(installed)]) == 0
    assert not installed.with_name(Counters.FILE).exists(), "looking makes no files"
    counters = Counters(installed.parent)
    counters.add("processed", 12)
    counters.add("relay_refused", 3)
    counters.close()
    capsys.readouterr()
    assert main(["report", "--config", str(installed)]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == ["12", "3", "0"]
    assert main(["report", "--config", str(installed), "--format", "json", "--since", "2020-01-01"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["processed"], found["relay_refused"], found["virus_found"]) == (12, 3, 0)
    assert main(["report", "--config", str(installed), "--format", "csv", "--language", "en"]) == 0
    assert capsys.readouterr().out.startswith("Period,Mails processed,Relay attempts refused,Viruses found\n")
    assert main(["report", "--config", str(installed), "--until", "2020-01-01", "--since", "2021-01-01"]) == 2


def test_status_names_what_does_not_work(installed, capsys):
    assert main(["status", "--config", str(installed)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4].strip() for line in lines] == ["FAIL", "FAIL", "ok", "FAIL", "ok", "FAIL"]
    assert Endpoint("127.0.0.1", 2) and "127.0.0.1:2" in lines[0]


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        ("/var/spool/mqueue is empty\n\t\tTotal requests: 0\n", "0 messages"),
        ("\t\t/var/spool/mqueue (1 request)\n-----Q-ID-----\n\t\tTotal requests: 1\n", "1 message (mailq lists them)"),
        ("You are not permitted to see the queue\n", "unknown; run as root"),
    ],
)
def test_queue_as_mailq_tells_it(listing, said):
    assert queue_length(listing) == said

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands with an event database: mails of another gateway, and a server that is away."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from event_database import DatabaseServer, settings_text

from mailgate.cli import main
from mailgate.commands import mail_queue
from mailgate.commands.mail_queue import QueueUnreadableError
from mailgate.commands.status import index_checks
from mailgate.config import ConfigError
from mailgate.config_file import load_config, parse_config
from mailgate.event_settings import EventDatabase
from mailgate.event_spool import Spool

NUMBER = "19ab3f0c5d2e4f123"


def gateway(directory: Path, settings: EventDatabase, name: str) -> list[str]:
    """Return the options of a gateway's commands."""
    directory.mkdir()
    (directory / "routes").write_text("a.univ.example\t198.18.1.1\n")
    user = replace(settings, user=f"mailgate_{name}")
    (directory / "mailgate.toml").write_text(
        f'hostname = "{name}.univ.example"\nroutes_file = "{directory}/routes"\nstate_dir = "{directory}"\n'
        f"{settings_text(user)}"
    )
    return ["--config", str(directory / "mailgate.toml")]


@pytest.fixture
def settings(database_server: DatabaseServer) -> EventDatabase:
    return database_server.empty()


def test_a_mail_is_found_on_the_other_gateway(tmp_path, settings, capsys, monkeypatch):
    def unreadable(*_arguments):
        raise QueueUnreadableError("mailq: run as root")

    monkeypatch.setattr(mail_queue, "_run", unreadable)
    first, second = (gateway(tmp_path / name, settings, name) for name in ("gw1", "gw2"))
    spool = Spool(tmp_path / "gw1", 1 << 20)
    common = {"v": 1, "id": NUMBER, "recipients": ["alice@a.univ.example"], "client": "198.18.0.1", "time": time.time()}
    for event in (
        {"event": "queued", "sender": "", "reply": "250 ok", "queue_id": "5AUH6Vab012345"},
        {"event": "finding", "sender": "", "finding": "infected", "name": "Eicar", "action": "quarantine"},
        {"event": "message", "helo": "x", "sender": "", "reply": "250 ok", "seconds": 1, "queued": 1},
    ):
        assert spool.append(json.dumps({**common, **event}).encode() + b"\n")
    assert main(["index", "--once", *first]) == 0
    assert main(["search", "--to", "alice@a.univ.example", "--verdict", "queued", *second]) == 0
    assert "gateway=gw1.univ.example" in capsys.readouterr().out
    assert main(["trace", NUMBER, *second]) == 0
    out = capsys.readouterr().out
    assert "was given to the queue of gw1.univ.example as 5AUH6Vab012345; run mailgate trace there." in out
    assert f"The quarantine of gw1.univ.example has the original; see mailgate quarantine show {NUMBER} there." in out
    # Reports are of one gateway, so that those of all can be added up.
    for given, number in ((first, 1), (second, 0)):
        assert main(["report", "--json", *given]) == 0
        assert sum(json.loads(capsys.readouterr().out)["delays"]["buckets"].values()) == number


def test_a_server_that_is_away_is_reported_in_one_line(tmp_path, settings, database_server, capsys):
    given = gateway(tmp_path / "gw1", settings, "gw1")
    config = load_config(tmp_path / "gw1" / "mailgate.toml")
    assert [(check.ok, check.detail) for check in index_checks(config)] == [
        (True, f"{settings.server}: 0 bytes of events are not indexed yet")
    ]
    database_server.crash()
    for words in (["report"], ["index", "--once"]):
        assert main([*words, *given]) == 1
        assert capsys.readouterr().err == f"mailgate: {settings.server}: Connection refused\n"
    (check,) = index_checks(config)
    assert not check.ok
    assert check.detail == f"{settings.server}: Connection refused; mail continues; events are kept in files until then"


def test_a_gateway_searches_its_own_files_while_the_server_is_away(tmp_path, settings, database_server, capsys):
    first, second = (gateway(tmp_path / name, settings, name) for name in ("gw1", "gw2"))
    event = {"v": 1, "event": "message", "id": NUMBER, "recipients": ["alice@a.univ.example"], "client": "198.18.0.1",
             "time": time.time(), "sender": "Bob@X.example", "helo": "x", "reply": "250 ok", "seconds": 1}  # fmt: skip
    spool = Spool(tmp_path / "gw1", 1 << 20)
    assert spool.append(json.dumps(event).encode() + b"\n")
    # What was sent to the server, too.
    assert main(["index", "--once", *first]) == 0
    later = {**event, "id": f"{NUMBER[:-1]}4", "time": time.time() + 1}
    assert spool.append(json.dumps(later).encode() + b"\n")
    database_server.crash()
    remark = (
        f"mailgate: the event database is away ({settings.server}: Connection refused): only the events in the files of"
        " this gateway are searched\n"
    )
    for words in (
        ["--to", "ALICE@a.univ.example"],
        ["--from", "bob@x.example", "--verdict", "accepted"],
        ["--domain", "univ.example"],
    ):
        assert main(["search", "--json", *words, *first]) == 0
        out, err = capsys.readouterr()
        assert [json.loads(line)["id"] for line in out.splitlines()] == [NUMBER, later["id"]], words
        assert err == remark
    assert main(["search", "--limit", "1", "--json", *first]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == later["id"]
    assert main(["trace", "--json", NUMBER, *first]) == 0
    out, err = capsys.readouterr()
    assert ([trace["id"] for trace in json.loads(out)], err) == ([NUMBER], remark)
    # Of the other gateway's it knows nothing, and says so.
    assert main(["trace", "--json", NUMBER, *second]) == 1
    assert capsys.readouterr() == ("[]\n", remark)


HEAD = 'hostname = "gw1.univ.example"\nroutes_file = "/r"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('server = "db.univ.example"', "event_database.server: "),
        ('name = "x"', "event_database.server: must be set if other settings of event_database are"),
        ('server = "db.univ.example:5432"\ntls = false', "event_database.tls: must be true: without TLS"),
        ('server = "198.18.0.9:5432"\ntls = false', "event_database.tls: must be true: without TLS"),
        ('server = "localhost:5432"\ntls = false', "event_database.tls: must be true: without TLS"),
        ('server = "127.0.0.1:5432"\ntimeout = 0', "event_database.timeout: "),
        ('server = "127.0.0.1:5432"\n[events]\nmax_bytes = 0', "event_database.server: needs events in files"),
    ],
)
def test_invalid_settings_are_reported(text, problem):
    with pytest.raises(ConfigError) as raised:
        parse_config(f"{HEAD}[event_database]\n{text}\n")
    (found,) = raised.value.problems
    assert problem in found


def test_files_that_cannot_be_used_are_reported(tmp_path):
    (tmp_path / "empty").write_text("\n")
    text = f'server = "127.0.0.1:5432"\npassword_file = "{tmp_path}/empty"\nca_file = "{tmp_path}/empty"\n'
    with pytest.raises(ConfigError) as raised:
        parse_config(f"{HEAD}[event_database]\n{text}", check_lists=True)
    assert [each.split(": ")[1] for each in raised.value.problems] == [
        "event_database.password_file",
        "event_database.ca_file",
    ]
    assert parse_config(f'{HEAD}[event_database]\nserver = "[::1]:5432"\ntls = false\n').event_database.timeout == 20

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate explain --message` and `mailgate status` with a spam scan."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dns_server import DnsServer
from fake_rspamd import FakeRspamd, answer
from rule_clients import CLIENT, rule
from spam_mail import MESSAGE, REFUSED, RELAYING

from mailgate.cli import main
from mailgate.commands.status import Check, run_checks
from mailgate.config_file import load
from mailgate.events import Counters


@pytest.fixture
def servers() -> Iterator[tuple[FakeRspamd, DnsServer]]:
    """Serve while a command runs, which has an event loop of its own."""
    rspamd, dns = FakeRspamd(), DnsServer()
    dns.add("9.9.18.198.in-addr.arpa", "PTR", "mail.sender.example.")
    dns.add("mail.sender.example", "A", CLIENT)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for server in (rspamd, dns):
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
    yield rspamd, dns
    for server in (rspamd, dns):
        loop.call_soon_threadsafe(server.stop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def write(tmp_path: Path, servers: tuple[FakeRspamd, DnsServer]) -> Callable[..., Path]:
    """Write the settings of a gateway, and a message."""
    rspamd, dns = servers

    def write(settings: str = 'spam = "refuse"', rest: str = "", refusal: str = "") -> Path:
        (tmp_path / "routes").write_text("a.univ.example\t198.18.1.1\nb.univ.example\t198.18.1.2\n")
        (tmp_path / "message").write_bytes(MESSAGE)
        path = tmp_path / "mailgate.toml"
        path.write_text(
            f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
            f'relay_networks = ["{RELAYING}/32"]\n[refusal]\ndns_servers = ["{dns.address}"]\n{refusal}\n'
            f'[rspamd]\nsocket = "{rspamd.address}"\n{settings}\n{rest}\n'
        )
        return path

    return write


@pytest.fixture
def explain(write, tmp_path, capsys):
    """Run the command; return what it prints."""

    def run(*more: str, client: str = CLIENT, to: str = "alice@a.univ.example", **settings: str) -> str:
        arguments = ["--client", client, "--helo", "pc", "--from", "a@sender.example", "--to", to]
        message = [] if "--from-header" in more else ["--message", str(tmp_path / "message")]
        assert main(["explain", "--config", str(write(**settings)), *arguments, *message, *more]) == 0
        return capsys.readouterr().out

    return run


def test_words(explain, servers):
    rspamd, _dns = servers
    rspamd.answer = answer(20.0, "reject", symbols={"OFFER": {"score": 20}})
    assert explain().splitlines() == [
        "Names of the client: mail.sender.example; confirmed: mail.sender.example",
        "Score of rspamd: 20.00; marked as spam from 6, refused from 15 (0: never).",
        "Symbols of rspamd: OFFER",
        "The recipient is refused.",
        f"Reply: {REFUSED}",
    ]
    assert rspamd.messages == [MESSAGE]
    (headers,) = rspamd.headers
    assert (headers["hostname"], headers["rcpt"]) == (["mail.sender.example"], ["<alice@a.univ.example>"])


@pytest.mark.parametrize(
    ("score", "given", "line", "last"),
    [
        (7.0, {}, "Score of rspamd: 7.00;", "The recipient is accepted, and the message is tagged."),
        (20.0, {"settings": ""}, "refused from 0", "The recipient is accepted, and the message is tagged."),
        (0.0, {}, "Score of rspamd: 0.00;", "The recipient is accepted."),
        (20.0, {"rest": '[domains."a.univ.example"]\nspam = "off"'},
         "The recipient's domain has switched the spam scan off.", "The recipient is accepted."),
        (20.0, {"rest": rule("r", "allow", f'client = ["{CLIENT}"]')}, "Score of rspamd: 20.00",
         "the message is tagged."),
        (20.0, {"settings": 'relayed = "tag"', "client": RELAYING}, "Score of rspamd: 20.00", "the message is tagged."),
        (7.0, {"settings": 'spam = "refuse"\ngreylist_score = 5'}, "is deferred first (greylisting)", "is tagged."),
        (20.0, {"settings": "max_size = 10"}, "Not scanned for spam: message exceeds 10 bytes.",
         "The recipient is accepted."),
    ],
)  # fmt: skip
def test_decisions(explain, servers, score, given, line, last):
    servers[0].answer = answer(score)
    text = explain(**given)
    assert line in text
    # The last line says what is not considered.
    assert text.splitlines()[-2].endswith(last)


@pytest.mark.parametrize(
    "given",
    [
        {"client": RELAYING},
        {"refusal": f'exempt = ["{CLIENT}"]'},
        {"to": "x@elsewhere.example"},
        {"rest": rule("r", "refuse", 'from_header = ["sender.example"]')},
    ],
)
def test_what_is_not_scanned(explain, servers, given):
    assert "rspamd" not in explain(**given)
    assert not servers[0].messages


def test_only_the_from_field(explain, servers):
    explain("--from-header", "a@sender.example")
    assert not servers[0].messages


def test_words_in_japanese(explain, servers):
    servers[0].answer = answer(7.0)
    assert "rspamd の点数: 7.00。6 点から" in explain("--language", "ja")


def test_failure(explain, servers):
    servers[0].answer = b"garbage"
    lines = explain().splitlines()
    assert lines[2].startswith("Not scanned for spam: the answer is not valid HTTP")
    assert lines[3] == "The recipient is accepted."
    assert explain(settings='on_failure = "defer"').splitlines()[-1].startswith("Reply: 451 4.7.1 Spam scan unavail")


def test_json(explain, servers):
    servers[0].answer = answer(7.5, symbols={"OFFER": {"score": 7.5}})
    found = json.loads(explain("--json"))
    assert found["spam"] == {
        "choice": "refuse", "effect": "tag", "greylist": False, "score": 7.5, "symbols": ["OFFER"], "not_scanned": None,
    }  # fmt: skip
    assert (found["result"], found["reason"]) == ("tag", "spam")


def checks(path: Path) -> dict[str, Check]:
    return {check.name: check for check in run_checks(*load(path))}


def test_status(write, servers, tmp_path):
    counters = Counters(tmp_path)
    for effect, number in (("pass", 5), ("tag", 2), ("failed", 1)):
        counters.add(f"spam:{effect}", number)
    counters.close()
    rspamd = servers[0]
    found = checks(write())
    assert (found[f"rspamd {rspamd.address}"].ok, found[f"rspamd {rspamd.address}"].detail) == (True, "answers")
    assert found["spam scan"].detail == "messages in 24 hours: failed 1, pass 5, tag 2"


@pytest.mark.parametrize(
    ("settings", "effect"), [("", "mail continues without a spam score"), ('on_failure = "defer"', "mail is deferred")]
)
def test_status_while_it_is_down(write, servers, settings, effect):
    path = write(settings)
    address = servers[0].address
    text = path.read_text().replace(address, "127.0.0.1:1")
    path.write_text(text)
    check = checks(path)["rspamd 127.0.0.1:1"]
    assert not check.ok
    assert check.detail.endswith(effect)


def test_status_without_it(write, servers):
    path = write()
    path.write_text(path.read_text().replace(servers[0].address, ""))
    assert not [name for name in checks(path) if "spam" in name]

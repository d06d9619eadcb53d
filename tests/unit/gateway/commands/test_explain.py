# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mailgate explain` says what the gateway does: compared with the replies of a running gateway; and `status`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from dns_server import DnsServer
from rule_clients import ZONE, reply_to, rule
from signed_mail import MESSAGE

from mailgate.cli import main
from mailgate.commands.rules_status import rule_checks
from mailgate.commands.status import run_checks
from mailgate.config_file import load
from mailgate.events import Counters

RULES = (
    rule("partner", "allow", 'client = ["198.18.8.0/24"]')
    + rule(
        "spamlist", "refuse", 'sender = ["spam.example"]', 'reply = "5.7.1 {sender} is listed"', 'helo = ["ok.example"]'
    )
    + rule("bare", "score", 'helo_is = ["bare"]', "score = 4")
    + rule("bl", "score", f'dns_list = "{ZONE}"', "score = 5")
    + rule("none", "score", 'sender_is = ["no_server"]', "score = 6")
    + rule("seen", "refuse", 'recipient = ["bob@"]', "log_only = true")
)


@contextlib.contextmanager
def dns_in_a_thread(server: DnsServer) -> Iterator[DnsServer]:
    """Serve while the command, which has an event loop of its own, runs."""
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        await server.start()
        started.set()
        while not stop.is_set():  # noqa: ASYNC110 (set in another thread)
            await asyncio.sleep(0.01)
        server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(60)
    try:
        yield server
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    server = DnsServer()
    server.list_address("198.18.9.9", ZONE, "127.0.0.2")
    server.list_address("127.0.0.2", ZONE, "127.0.0.2")
    server.add("sender.example", "MX", "0 mail.sender.example.")
    with dns_in_a_thread(server):
        yield server


@pytest.fixture
def write(tmp_path: Path, dns: DnsServer):
    """Write the settings of a gateway."""

    def write(rules: str = RULES, refusal: str = "", domains: str = "") -> Path:
        (tmp_path / "routes").write_text("a.univ.example\t198.18.1.1\nb.univ.example\t198.18.1.2\n")
        path = tmp_path / "mailgate.toml"
        path.write_text(
            f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
            f'[refusal]\ndns_servers = ["{dns.address}"]\n{refusal}\n{rules}\n{domains}'
        )
        return path

    return write


@pytest.fixture
def explain(write, capsys):
    """Run the command; return what it prints."""

    def run(*more: str, client="198.18.9.9", helo="mail.sender.example", sender="a@sender.example",
            to="alice@a.univ.example", **settings: str) -> str:  # fmt: skip
        path = write(**settings)
        capsys.readouterr()
        arguments = ["--client", client, "--helo", helo, "--from", sender, "--to", to]
        assert main(["explain", "--config", str(path), *arguments, *more]) == 0
        return capsys.readouterr().out

    return run


def test_words(explain):
    assert explain(helo="pc", sender="<a@none.example>").splitlines() == [
        "dnsbl.example lists the client: 127.0.0.2",
        "none.example: does not exist or has no mail server",
        "  partner   allow: does not apply: the condition client does not hold",
        "  spamlist  refuse: does not apply: the condition sender does not hold",
        "  bare      score +4: applies",
        "  bl        score +5: applies",
        "  none      score +6: applies",
        "  seen      refuse: does not apply: the condition recipient does not hold",
        "Score: 15; tagged from 5, refused from 10 (0: never).",
        "The recipient is refused.",
        "Reply: 550 5.1.8 Domain of sender address <a@none.example> does not exist or has no mail server",
    ]


def test_words_in_japanese(explain):
    lines = explain("--language", "ja", sender="a@spam.example").splitlines()
    assert "  spamlist  refuse: 該当します" in lines
    assert lines[-2:] == ["受信者を拒否します。", "応答: 550 5.7.1 <a@spam.example> is listed"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"client": "198.18.8.1", "sender": "a@spam.example"}, "A rule allows the message: no later rule applies."),
        ({"client": "127.0.0.1"}, "No rule applies to the client: it is a gateway."),
        ({"client": "198.18.7.1", "refusal": 'exempt = ["198.18.7.1"]'},
         "No rule applies to the client: it is in refusal.exempt."),
        ({"to": "x@elsewhere.example"}, "Reply: 550 5.7.1 Relaying denied"),
        ({"to": "not an address"}, "The gateway refuses the address or its domain before any rule."),
        ({"to": "postmaster@gw1.univ.example"}, "No rule applies to the postmaster of the gateway."),
        ({"sender": "a@spam.example", "helo": "ok.example"}, "refuse: does not apply: the exception helo holds"),
        ({"to": "bob@a.univ.example"}, "  seen      refuse: applies, but is logged only"),
        ({"sender": "a@spam.example"}, "  none      score +6: is not reached"),
        ({"domains": '[domains."a.univ.example"]\nrules = "ignore"'},
         "The recipient's domain has switched rules off."),
        ({"sender": "a@spam.example", "refusal": 'rules = "log"'}, "The recipient is accepted."),
        ({"rules": ""}, "There are no rules."),
        ({}, "The recipient is accepted, and the message is tagged."),
    ],
)  # fmt: skip
def test_reasons(explain, arguments, expected):
    assert expected in explain(**arguments)


def test_dns_that_fails(explain, dns):
    dns.failing.add(ZONE)
    out = explain()
    assert "dnsbl.example: DNS did not answer" in out
    assert "  bl        score +5: is not decided: DNS did not answer" in out


MESSAGE_RULES = (
    rule("own", "refuse", 'from_is = ["own"]')
    + rule("unsigned", "score", 'dkim = ["none"]', "score = 6")
    + rule("spf", "score", 'spf = ["none"]', "score = 1")
)
EVALUATED = {"rules": MESSAGE_RULES, "refusal": "[authentication]\nevaluate = true"}


class TestMessage:
    def test_rules_that_need_the_message(self, explain):
        lines = explain(**EVALUATED).splitlines()
        assert lines[0] == "SPF: none"
        assert "  own       refuse: is decided with the received message; give --message" in lines
        assert "The recipient is accepted." in lines

    def test_from_header(self, explain):
        out = explain("--from-header", "Dean <dean@a.univ.example>", **EVALUATED)
        assert "Reply: 550 5.7.1 From address <dean@a.univ.example> refused" in out
        out = explain("--from-header", "x@y.example", **EVALUATED)
        assert "  own       refuse: does not apply: the condition from_is does not hold" in out
        assert "  unsigned  score +6: is decided with the received message; give --message" in out

    @pytest.fixture
    def message(self, tmp_path) -> str:
        path = tmp_path / "message"
        path.write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
        return str(path)

    def test_results_and_score(self, explain, message):
        out = explain("--message", message, **EVALUATED)
        assert {"SPF: none", "DKIM: none", "DMARC: none", "ARC: none"} <= set(out.splitlines())
        assert "Score: 7; tagged from 5, refused from 10 (0: never)." in out
        found = json.loads(explain("--message", message, "--json", **EVALUATED))
        assert found["authentication_results"].startswith("spf=none smtp.mailfrom=sender.example; dkim=none")

    @pytest.mark.parametrize(
        ("option", "domains", "expected"),
        [
            ("refuse", "", "Reply: 550 5.7.26 DMARC check of From address <alice@sender.example> failed, and its"),
            ("tag", "", "The recipient is accepted, and the message is tagged."),
            ("off", "", "The recipient is accepted."),
            ("refuse", 'dmarc = "off"', "The recipient is accepted."),
            ("refuse", 'rules = "ignore"', "Reply: 550 5.7.26 DMARC check of From address"),
        ],
    )
    def test_dmarc(self, explain, dns, message, option, domains, expected):
        dns.add("_dmarc.sender.example", "TXT", '"v=DMARC1; p=reject"')
        out = explain(
            "--message", message, rules="", refusal=f'[authentication]\nevaluate = true\ndmarc = "{option}"',
            domains=domains and f'[domains."a.univ.example"]\n{domains}',
        )  # fmt: skip
        assert "The domain sender.example asks for reject of a message that fails DMARC." in out
        assert expected in out

    def test_a_file_that_cannot_be_read(self, write, capsys):
        arguments = ["--client", "198.18.9.9", "--helo", "h", "--from", "a@b.example", "--to", "a@a.univ.example"]
        assert main(["explain", "--config", str(write()), *arguments, "--message", "/nowhere"]) == 2
        assert capsys.readouterr().err == "--message: /nowhere: No such file or directory\n"


def test_json(explain):
    found = json.loads(explain("--json", sender="a@spam.example"))
    assert {key: found[key] for key in ("result", "reply", "reason", "score", "decided_by", "mode", "exempt")} == {
        "result": "refuse", "reply": "550 5.7.1 <a@spam.example> is listed", "reason": "rules", "score": 0,
        "decided_by": "spamlist", "mode": "apply", "exempt": None,
    }  # fmt: skip
    assert found["rules"][1] == {"name": "spamlist", "action": "refuse", "log_only": False, "state": "yes"}


def test_a_client_that_is_no_address(write, capsys):
    path = str(write())
    with pytest.raises(SystemExit):
        main(
            [
                "explain",
                "--config",
                path,
                "--client",
                "x",
                "--helo",
                "h",
                "--from",
                "a@b.example",
                "--to",
                "a@c.example",
            ]
        )
    assert "argument --client: 'x' is not a valid IP address" in capsys.readouterr().err


async def test_it_says_what_the_gateway_does(make_campus, dns, write, capsys):
    """Every combination of some clients, names, senders and recipients."""
    config, _routes = load(
        write(refusal="strict_refuse_score = 5", domains='[domains."b.univ.example"]\nrules = "strict"')
    )
    campus = await make_campus(
        refusal=config.refusal, rules=config.rules, domains=config.domains,
        proxy_protocol_from=(ipaddress.ip_network("127.0.0.0/8"),),
    )  # fmt: skip
    path = str(campus.state / "mailgate.toml")
    cases = list(product(
        ("198.18.9.9", "198.18.8.1", "198.18.7.7"), ("pc", "ok.example"),
        ("a@sender.example", "a@spam.example", "a@none.example"), ("alice@a.univ.example", "bob@b.univ.example"),
    ))  # fmt: skip
    results = set()
    for client, helo, sender, to in cases:
        reply = await reply_to(campus, address=client, helo=helo, sender=sender, to=to)
        arguments = [
            "explain",
            "--config",
            path,
            "--client",
            client,
            "--helo",
            helo,
            "--from",
            sender,
            "--to",
            to,
            "--json",
        ]
        assert await asyncio.to_thread(main, arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["reply"] or "250 2.1.5 Recipient accepted") == reply, (client, helo, sender, to)
        results.add(found["result"])
    assert results == {"accept", "tag", "refuse"}


class TestStatus:
    def test_rules_lists_and_dns(self, write, tmp_path, dns):
        (tmp_path / "l").write_text("a.example\nnot valid\n")
        lists = f'[lists.l]\nkind = "name"\nfile = "{tmp_path}/l"\n'
        config, routes = load(write(rules=RULES + lists))
        counters = Counters(tmp_path)
        counters.add("rule:bare", 3)
        counters.add(f"dns_failed:{ZONE}", 2)
        counters.close()
        checks = {check.name: check for check in run_checks(config, routes)}
        assert "bare 3, bl 0" in checks["rules"].detail
        assert (checks["list l"].ok, checks["list l"].detail) == (
            False, f"1 entry; {tmp_path}/l:2: 'not valid' is not a name or *.suffix",
        )  # fmt: skip
        assert (checks[f"DNS list {ZONE}"].ok, checks[f"DNS list {ZONE}"].detail) == (True, "answers")
        assert f"{ZONE} 2" in checks["DNS of rules"].detail

    @pytest.mark.parametrize("fault", ["empty", "failing", "everything"])
    def test_a_dns_list_that_is_out_of_order(self, write, dns, fault):
        config, _routes = load(write())
        if fault == "empty":
            dns.records.clear()
        elif fault == "failing":
            dns.failing.add(ZONE)
        else:
            dns.list_address("127.0.0.1", ZONE, "127.0.0.2")
        (check,) = [check for check in rule_checks(config) if check[0] == f"DNS list {ZONE}"]
        assert not check[1]

    def test_mail_authentication(self, write, tmp_path):
        config, routes = load(write(rules="", refusal="[authentication]\nevaluate = true"))
        counters = Counters(tmp_path)
        for event, number in (("auth:spf=pass", 2), ("auth:dkim=fail", 1), ("dns_failed:mail authentication", 3)):
            counters.add(event, number)
        counters.close()
        checks = {check.name: check for check in run_checks(config, routes)}
        assert checks["mail authentication"].detail == "messages in 24 hours: dkim fail 1, spf pass 2"
        assert "mail authentication 3" in checks["DNS of rules"].detail

    def test_without_rules_there_is_nothing_to_check(self, write):
        config, routes = load(write(rules=""))
        assert not [check for check in run_checks(config, routes) if "rule" in check.name]


def test_greylisting_is_explained(explain):
    rules = rule("new", "greylist", 'helo_is = ["bare"]')
    sentence = "A sender that is new to the recipient is deferred first (greylisting)."
    assert sentence in explain(helo="pc", rules=rules)
    assert sentence not in explain(rules=rules)
    assert "グレイリスト" in explain("--language", "ja", helo="pc", rules=rules)

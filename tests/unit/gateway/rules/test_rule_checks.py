# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and lists that are not valid: every problem at once, with its place."""

from __future__ import annotations

import pytest

from mailgate.cli import main
from mailgate.config import ConfigError
from mailgate.config_file import parse_config

NEEDED = 'hostname = "g.example"\nroutes_file = "/r"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(NEEDED + text, "x")
    return caught.value.problems


def rule(
    more: str, name: str = 'name = "r"', action: str = 'action = "refuse"', when: str = 'helo_is = ["bare"]'
) -> str:
    return f"[[rules]]\n{name}\n{action}\n{more}\n[rules.when]\n{when}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules = 1", ["rules: must be tables [[rules]]"]),
        (rule("", name=""), ["rules[1].name: required setting is missing"]),
        (rule("", name='name = "a b"'),
         ["rules[1] (a b).name: 'a b' is not a valid name of letters, digits, _ and -, up to 40 characters"]),
        (rule("", action='action = "drop"'),
         ["rules[1] (r).action: 'drop' is not one of allow, refuse, defer, score, tag, greylist"]),
        (rule("", when=""), ["rules[1] (r).when: must have at least one condition"]),
        (rule("", when='dkim = ["fail"]'), ["rules[1] (r).when.dkim: requires authentication.evaluate = true"]),
        (rule("", when='spf = ["bad"]'),
         ["rules[1] (r).when.spf: 'bad' is not one of pass, fail, softfail, neutral, none, permerror",
          "rules[1] (r).when: must have at least one condition"]),
        (rule('[rules.unless]\narc = ["pass"]'),
         ["rules[1] (r).unless.arc: requires authentication.evaluate = true"]),
        (rule("", when='from_header = ["@a"]') + '[lists.a]\nkind = "network"\nentries = ["::1"]',
         ["rules[1] (r).when.from_header: list a is of kind network; must be of kind address or name"]),
        ('[authentication]\ndmarc = "tag"\n[domains."a.example"]\ndmarc = "refuse"',
         ["authentication.dmarc: requires authentication.evaluate = true",
          'domains."a.example".dmarc: requires authentication.evaluate = true']),
        ('[authentication]\nevaluate = true\nidentifier = "a b"\narc_sealers = ["@x"]',
         ["authentication.identifier: 'a b' is not a valid host name",
          "authentication.arc_sealers: no list x; lists are not set"]),
        ("[authentication]\nevaluate = true\n[refusal]\ndns_seconds = 20",
         ["refusal.dns_seconds: with timeouts.scan + next_hop_data + queue it is 240 s; must be below 240 s"]),
        (rule("") + rule(""), ["rules[2] (r): another rule has this name"]),
        (rule("score = 1"), ['rules[1] (r).score: points require action = "score"']),
        (rule("", action='action = "score"'),
         ["rules[1] (r).score: must not be 0, unless each of codes has points (CODE=POINTS)"]),
        (rule('codes = ["127.0.0.2"]'), ["rules[1] (r).codes: requires when.dns_list"]),
        (rule('codes = ["x"]', when='dns_list = "bl.example"'),
         ["rules[1] (r).codes: 'x' is not a valid IPv4 address with numbers, ranges or *, and optionally =POINTS"]),
        (rule('reply = "x"', action='action = "tag"'), ["rules[1] (r).reply: the action tag sends no reply"]),
        (rule('reply = "Sorry {user}"'),
         ["rules[1] (r).reply: 'Sorry {user}' is not a valid line of ASCII text with known fields in braces"]),
        (rule('reply = "{0.__class__}"'),
         ["rules[1] (r).reply: '{0.__class__}' is not a valid line of ASCII text with known fields in braces"]),
        (rule('reply = "a\\nb"'),
         ["rules[1] (r).reply: 'a\\nb' is not a valid line of ASCII text with known fields in braces"]),
        (rule('reply = "拒否"'),
         ["rules[1] (r).reply: '拒否' is not a valid line of ASCII text with known fields in braces"]),
        (rule('reply_ja = "拒否"'), ["rules[1] (r).reply_ja: requires reply, since most clients get ASCII only"]),
        (rule("log_only = 1"), ["rules[1] (r).log_only: 1 is not valid; must be true or false"]),
        (rule("", when='client = ["10.0.0.1/8"]'),
         ["rules[1] (r).when.client: '10.0.0.1/8' is not an address or a network ADDRESS/BITS without host bits,"
          " or @list", "rules[1] (r).when: must have at least one condition"]),
        (rule("", when='client = ["@a"]'), ["rules[1] (r).when.client: no list a; lists are not set"]),
        (rule("", when='client = ["@a"]') + '[lists.a]\nkind = "name"\nentries = ["a"]',
         ["rules[1] (r).when.client: list a is of kind name; must be of kind network"]),
        ('[lists.a]\nkind = "name"', ["lists.a: must have a file or entries"]),
        (rule("", action='action = "greylist"', when='from_is = ["empty"]'),
         ["rules[1] (r).action: a sender is greylisted at RCPT, when from_is are not known yet"]),
        ('[lists.a]\nkind = "name"\nentries = ["a b"]', ["lists.a.entries: 'a b' is not a name or *.suffix"]),
        ('[lists."a b"]\nkind = "name"\nentries = ["a"]',
         ["lists.a b: 'a b' is not a valid name of letters, digits, _ and -, up to 40 characters"]),
        ('[refusal]\nexempt = ["@p"]', ["refusal.exempt: no list p; lists are not set"]),
        ("[refusal]\ngreylist_score = 11", ["refusal.greylist_score: must not be above refuse_score (10)"]),
        ('[bans]\nnever = ["@p"]\n[rates]\nrelay_unlimited = ["@q"]',
         ["bans.never: no list p; lists are not set", "rates.relay_unlimited: no list q; lists are not set"]),
        ("[refusal]\ntag_score = 11", ["refusal.tag_score: must not be above refuse_score (10)"]),
        ('[rspamd]\ntag_score = 16\nstrict_tag_score = 11\n[domains."a.example"]\nspam = "strict"',
         ["rspamd.tag_score: must not be above refuse_score (15)",
          "rspamd.strict_tag_score: must not be above strict_refuse_score (10)",
          'domains."a.example".spam: requires rspamd.socket']),
        ('[rspamd]\nsocket = "localhost:11333"\nsubject_tag = "[ü]"\nspam = "yes"',
         ["rspamd.socket: 'localhost:11333' is not a valid absolute path, ADDRESS:PORT or [ADDRESS]:PORT",
          "rspamd.spam: 'yes' is not one of off, tag, refuse, strict",
          "rspamd.subject_tag: '[ü]' is not a valid text of up to 40 ASCII characters without spaces at its ends"]),
        ('[refusal]\ndns_servers = ["ns.example"]',
         ["refusal.dns_servers: 'ns.example' is not a valid IP address, ADDRESS:PORT or [ADDRESS]:PORT"]),
        ('[domains."a.example"]\nrules = "off"',
         ["domains.\"a.example\".rules: 'off' is not one of apply, log, strict, ignore"]),
    ],
)  # fmt: skip
def test_each_problem_names_its_place(text, expected):
    assert problems(text) == [f"x: {problem}" for problem in expected]


def test_all_problems_at_once():
    found = problems(
        rule("score = 1") + rule("", when='helo = ["@a"]') + "[lists.b]\nkind = 1\n[refusal]\nrefuse_score = 1"
    )
    assert len(found) == 6


def test_check_reads_the_files_of_lists_and_the_service_goes_without(tmp_path, capsys):
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    (tmp_path / "list").write_text("a.example\nnot valid\n")
    path = tmp_path / "mailgate.toml"
    path.write_text(
        f'hostname = "g.example"\nroutes_file = "{tmp_path}/routes"\nlanguage = "xx"\n'
        f'[lists.a]\nkind = "name"\nfile = "{tmp_path}/list"\n[lists.b]\nkind = "name"\nfile = "{tmp_path}/gone"\n'
    )
    assert main(["check", "--config", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: language: 'xx' is not one of en, ja",
        f"{tmp_path}/list:2: 'not valid' is not a name or *.suffix",
        f"{tmp_path}/gone: cannot be read: No such file or directory",
    ]
    parse_config(path.read_text().replace('"xx"', '"en"'))

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of checks: English strings for programs, translated for people."""

from __future__ import annotations

import json
import re
from copy import deepcopy

import pytest

from mailgate.commands.check_names import name_of
from mailgate.commands.phrases import joined, phrase, quoted
from mailgate.commands.status import Check, lines, run_checks
from mailgate.config_file import load
from mailgate.translation import Text

WORDS = {"{number} of {what}": "{what}の{number}", "mails": "メール", "a {x}": "{x}"}


def translate(text: Text) -> str:
    return WORDS[text]


def test_a_phrase_is_its_english_text_and_is_translated_with_its_values():
    made = joined([phrase(Text("{number} of {what}"), number=3, what=phrase(Text("mails"))), "{x}", quoted("{y}")])
    assert made == "3 of mails; {x}; {y}"
    assert json.dumps(made) == '"3 of mails; {x}; {y}"'
    assert made.translated(translate) == deepcopy(made).translated(translate) == "メールの3; {x}; {y}"
    assert phrase(Text("a {x}"), x="{number}").translated(translate) == "{number}"


def test_names_have_what_a_check_is_about():
    assert name_of("clamd /run/a", lambda text: text) == ("Virus scanner", "/run/a")
    assert name_of("routes", lambda text: text) == ("Delivery table", "")
    assert name_of("of tomorrow", lambda text: text) == ("", "of tomorrow")


# What other programs, the system and settings say.
OUTSIDE = (
    r"Could not reach clamd using unix socket", r"unpacker:", r"connection failed:", r"/\S+",
    r"\[Errno \d+\] [A-Z][A-Za-z' ]+",
    r"asyncio|uvloop \S+", r"127\.0\.0\.1:\d+", r"unable to open \w+ file", r"mailgate queue", r"mailq:?",
    r"clamd|rspamd|DKIM|DNS|DMARC|SPF|SMTP|MB", r"\w+\.\w+\.?\w*|\w+_\w+",
)  # fmt: skip


@pytest.fixture
def checks(tmp_path) -> list[Check]:
    """Return the checks of a gateway with many settings, none of whose servers answers."""
    (tmp_path / "routes").write_text("a.example\t198.18.1.1\n")
    (tmp_path / "mailgate.toml").write_text(
        f'hostname = "gw1.univ.example"\nroutes_file = "{tmp_path}/routes"\nstate_dir = "{tmp_path}"\n'
        f'own_names = ["gw1.univ.example", "gw2.univ.example"]\nrelay_networks = ["198.18.0.0/24"]\n'
        f'listen = ["127.0.0.1:2"]\nqueue = "127.0.0.1:3"\n[scan]\nsocket = "{tmp_path}/clamd"\n'
        'unpacker = "/nowhere"\n[metrics]\nlisten = ["127.0.0.1:4"]\n[rspamd]\nsocket = "/nowhere"\n'
        '[bounces]\nunsent = "log"\ndomains = ["a.example"]\n[authentication]\nevaluate = true\n'
    )
    return run_checks(*load(tmp_path / "mailgate.toml"))


def test_every_detail_is_japanese_but_for_words_of_others(checks):
    assert len(checks) >= 14
    for line in lines(checks, "ja"):
        text = line.partition("  ")[2]
        for pattern in OUTSIDE:
            text = re.sub(pattern, "", text)
        assert re.findall(r"[A-Za-z]{3,}", text) == [], line


def test_english_lines_have_the_names_of_json(checks):
    shown = list(lines(checks, "en"))
    assert all(line[6:].startswith(f"{check.name}: ") for line, check in zip(shown, checks, strict=True))


def test_every_check_has_a_name_in_other_languages(checks):
    assert [check.name for check in checks if not name_of(check.name, lambda text: text)[0]] == []

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a verification: text, page, JSON and JUnit XML, in both languages."""

from __future__ import annotations

import datetime
import json
import re
from xml.etree import ElementTree as Xml

import pytest
from verify_campus import GW1, MAIL, NOW, Sound

from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.fault import KINDS
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.page import (
    Report,
    as_html,
    as_json,
    as_junit,
    as_text,
)
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.verdict import Acknowledged

ENGLISH = translations("en")


def report(language="en", text="a <b>&\x1b[31m \x00 problem"):
    campus = Sound()
    campus.smtp("2001:db8:18:1::25").update(state="open")
    campus.facts(GW1)["notes"] = [text]
    campus.facts(GW1)["kept"] = [{"path": "/etc/x", "state": "edited", "own": True, "by": "x"}]
    baseline = [Acknowledged("drift *", "waits", datetime.date(2026, 5, 1))]
    return Report("Small University", language, campus.verdict(baseline=baseline), NOW)


def test_text_has_what_why_and_how_to_fix_it():
    lines = as_text(report(), ENGLISH).splitlines()
    assert lines[0] == "Verification of the mail system: Small University"
    assert "Errors: 1, warnings: 1; the most important first:" in lines
    first = next(number for number, line in enumerate(lines) if line.startswith("1. "))
    assert lines[first] == f"1. Error: {MAIL}: Port 25 of 2001:db8:18:1::25 can be reached."
    assert lines[first + 1].strip().startswith("Mail gets in without the virus scan")
    assert lines[first + 2].strip().startswith("To fix it: Run site.yml with --tags border")
    assert lines[first + 3].strip() == f"[open {MAIL} 2001:db8:18:1::25] seen from outside.example"
    assert lines[-1].endswith("(waits; 2026-05-01)")


def test_control_characters_of_others_are_not_shown():
    for text in (as_text(report(), ENGLISH), as_html(report(), ENGLISH), as_junit(report(), ENGLISH)):
        assert not re.search("[\x00-\x08\x1b]", text)


def test_page_escapes_and_loads_nothing():
    page = as_html(report(), ENGLISH)
    assert "a &lt;b&gt;&amp;" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)", page)


def test_json_for_programs():
    found = json.loads(as_json(report(), ENGLISH))
    assert found["format"] == "campus.mailgate verification"
    assert [fault["kind"] for fault in found["faults"]] == ["open", "unread"]
    assert set(found["faults"][0]) == {"id", "kind", "level", "host", "what", "why", "fix", "seen_from"}
    assert found["acknowledged"][0]["reason"] == "waits"


def test_junit_for_ci():
    suite = Xml.fromstring(as_junit(report(), ENGLISH))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (str(len(KINDS)), "2", "1")
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert failed == {"open", "unread"}
    assert {case.get("name") for case in suite if case.find("skipped") is not None} == {"drift"}


def test_a_sound_campus():
    sound = Report("", "en", Sound().verdict(), NOW)
    assert "No faults." in as_text(sound, ENGLISH)
    assert "<table" not in as_html(sound, ENGLISH)
    assert Xml.fromstring(as_junit(sound, ENGLISH)).get("failures") == "0"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_japanese_texts_have_the_same_values(kind):
    japanese = translations("ja")
    for text in (KINDS[kind].what, KINDS[kind].why, KINDS[kind].fix):
        translated = japanese.gettext(text)
        assert translated != text
        assert sorted(re.findall(r"\{(\w+)\}", translated)) == sorted(re.findall(r"\{(\w+)\}", text))

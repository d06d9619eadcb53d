# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a period as a page: complete in both languages, safe with what mail brings, charts as the tables."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from itertools import pairwise
from typing import ClassVar

import pytest
from page_reader import Page

from mailgate.commands.report_countries import countries
from mailgate.commands.report_data import Report, _days, collect
from mailgate.config_file import parse_config
from mailgate.event_index.stores import open_writable
from mailgate.period_report.charts import Chart, bars, columns, scale
from mailgate.period_report.markup import Markup, element
from mailgate.period_report.page import page
from mailgate.period_report.sums import added, of_faculty
from mailgate.period_report.tables import tables
from mailgate.translation import translator

LANGUAGES = ("en", "ja")
HOSTILE = "<script>alert(1)</script>\"'&\x1b\u202e]]>-->"
# Names of sections, and words that are data or units.
DATA = {"univ", "example", "gw1", "gw2", "gw3", "eng", "sci", "engineering", "science", "Eicar", "spamlist", "greylist",
        "alice", "bob", "Playbook", "campus", "mailgate", "report"}  # fmt: skip


def report_of(word: str = "") -> dict[str, object]:
    """Return what a gateway prints, with `word` in all that comes from mail or clients."""
    domains = {f"{word}eng.univ.example": {"accepted": 40, "queued": 2, "refused": 3, "deferred": 1,
                                           "refused_recipients": 9, "deferred_recipients": 4},
               "sci.univ.example": {"accepted": 20}, "elsewhere.example": {"queued": 7}}  # fmt: skip
    part = {
        "days": {"2026-07-01": {"accepted": 30, "refused": 3}, "2026-07-02": {"accepted": 10}},
        "viruses": {f"{word}Eicar": 3},
        "rules": {f"{word}spamlist": 8, "greylist": 1},
        "recipients": {f"{word}alice@eng.univ.example": 30},
        "delays": {"0.0513": 39, "2.01": 1},
    }
    return {
        "since": "2026-07-01T00:00:00+09:00",
        "until": "2026-08-01T00:00:00+09:00",
        "processed": 70,
        "relay_refused": 5,
        "virus_found": 3,
        "before": {"processed": 60, "relay_refused": 6, "virus_found": 0},
        "index_since": "2026-07-01",
        "days": {f"2026-07-{day:02}": {"accepted": 2, "queued": day % 2, "refused": 1} for day in range(1, 32)},
        "domains": domains,
        "by_domain": {f"{word}eng.univ.example": part},
        "viruses": {f"{word}Eicar": 3, "other": 1},
        "rules": {f"{word}spamlist": 8, "greylist": 1},
        "recipients": {f"{word}alice@eng.univ.example": 30, "bob@sci.univ.example": 20},
        "networks": {f"{word}198.18.1": 6, "2001:db8:1": 2},
        "refused_networks": {f"{word}198.18.1": 6},
        "countries": {"JP": 6, "ZZ": 2},
        "delays": {"buckets": {"0.0513": 59, "0.107": 3, "2.01": 1, "150": 1}},
        "quarantine": {"messages": 2, "bytes": 4096},
    }


def faculty_of(domain: str) -> str:
    return "engineering" if domain.endswith("eng.univ.example") else "science" if "sci" in domain else ""


def sums(word: str = "") -> dict[str, object]:
    reports = {f"gw{number}{word}": report_of(word) for number in (1, 2)}
    return added(reports, [f"gw3{word}"], others=[f"gw4{word}"], faculty_of=faculty_of)


def pages(language: str, word: str = "") -> list[str]:
    """Return the page of the campus, of a faculty with mail, of one without, and of nothing."""
    translate, found = translator(language), sums(word)
    parts = [of_faculty(found, faculty, faculty_of) for faculty in ("engineering", "nobody")]
    empty = added({"gw1": report_of()}, faculty_of=faculty_of) | {"days": {}, "domains": {}, "faculties": {}}
    return [
        page(found, translate, language, f"univ{word}"),
        page(parts[0], translate, language, f"univ{word}", f"engineering{word}"),
        page(parts[1], translate, language, "", "nobody"),
        page(empty, translate, language, "univ"),
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_well_formed_and_need_nothing_else(language):
    for text in pages(language):
        Page(text).check_self_contained(text, language)


def test_no_text_is_mixed_or_missing():
    for text in pages("en"):
        assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", "".join(Page(text).text))
    for text in pages("ja"):
        read = Page(text)
        shown = " ".join([*read.text, *(each["aria-label"] or "" for each in read.all("table"))])
        words = set(re.findall(r"[A-Za-z]{3,}\d?", shown, re.A))
        assert words <= {*DATA, "other", "elsewhere", "nobody", "gw4"}
        assert "メール報告" in shown


def test_what_mail_brings_stays_text():
    for text in pages("en", HOSTILE):
        read = Page(text)
        assert read.all("script") == []
        assert "<script" not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    for text in pages("en", HOSTILE)[:2]:
        cells = [cell for table in Page(text).tables for row in table for cell in row]
        shown = "<script>alert(1)</script>\"'&\ufffd\ufffd]]>-->"
        for end in ("eng.univ.example", "Eicar", "spamlist", "alice@eng.univ.example"):
            assert f"{shown}{end}" in cells


def test_every_table_is_on_the_page_and_every_list_has_a_chart():
    text = pages("en")[0]
    found = Page(text)
    wanted = [[list(row) for row in (each.head, *each.rows)] for each in tables(sums(), translator("en"))]
    assert found.tables == wanted
    charts = {each["aria-labelledby"].split("-")[0] for each in found.all("svg")}
    # One network of refusals is no chart.
    assert charts == {
        "days",
        "faculties",
        "domains",
        "viruses",
        "rules",
        "recipients",
        "networks",
        "countries",
        "delays",
    }
    # A number that is drawn has its value as a title, which is what the table says.
    assert "2026-07" not in "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "<title>07-03, Through the queue: 2</title>" in text
    assert "198.18.1.0/24" in text


def test_a_faculty_has_its_own_numbers_only():
    found = of_faculty(sums(), "engineering", faculty_of)
    assert found["days"] == {"2026-07-01": {"accepted": 60, "refused": 6}, "2026-07-02": {"accepted": 20}}
    assert (found["viruses"], found["rules"]) == ({"Eicar": 6}, {"spamlist": 16, "greylist": 2})
    assert (found["delays"]["p50"], found["delays"]["p99"]) == (0.0513, 2.01)
    text = pages("en")[1]
    assert Page(text).tables[0][1] == ["engineering", "80", "4", "6", "2", "18", "8"]
    assert "earlier days are missing" in text
    assert "alice@eng.univ.example" in text
    for other in ("sci.univ.example", "bob@", "elsewhere", "198.18.1", "Relay attempts", "Quarantine"):
        assert other not in text
    assert "No mail in this period." in pages("en")[2]


def test_a_gateway_of_an_earlier_version_is_added_up():
    old = {name: value for name, value in report_of().items() if name not in ("by_domain", "index_since")}
    found = added({"gw1": old, "gw2": report_of()}, faculty_of=faculty_of)
    assert found["processed"] == 140
    assert found["by_domain"]["eng.univ.example"]["viruses"] == {"Eicar": 3}


class TestCharts:
    @pytest.mark.parametrize(("largest", "expected"), [(1, (1, 1)), (5, (5, 1)), (6, (6, 2)), (9321, (10000, 2000))])
    def test_scales_end_above_the_largest(self, largest, expected):
        assert scale(largest) == expected

    @pytest.mark.parametrize("draw", [bars, columns])
    def test_every_shape_is_inside_the_chart(self, draw):
        names = [f"{'x' * number}学@univ.example" for number in range(0, 310, 10)]
        series = [("accepted", "a" * 30), ("refused", "拒否" * 9)]
        values = [[number * 10**6, number] for number in range(len(names))]
        text = draw(Chart("c", "t", "s", series, names, values))
        wide, tall = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())
        shapes = re.findall(r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', text)
        assert len(shapes) == len(series) + 2 * (len(names) - 1)
        for x, y, width, height in (map(float, shape) for shape in shapes):
            assert x >= 0
            assert y >= 0
            assert x + width <= wide
            assert y + height <= tall

    def test_texts_are_escaped_and_elements_are_not(self):
        inner = element("b", "<i>")
        assert element("a", inner, "&", aria_label='"<') == '<a aria-label="&quot;&lt;"><b>&lt;i&gt;</b>&amp;</a>'
        assert isinstance(inner, Markup)


class TestCountries:
    NETWORKS: ClassVar = {
        "198.18.1": 5,
        "198.18.3": 2,
        "9.9.9": 1,
        "203.0.113": 3,
        "2001:db8:1": 7,
        "2002::": 1,
        "": 4,
        "x": 1,
    }

    def test_networks_are_counted_by_country(self, tmp_path):
        path = tmp_path / "countries.csv"
        path.write_text(
            "10.0.0.0,10.255.255.255,ZZ\n198.18.0.0,198.18.1.255,jp\n198.18.3.0,198.18.3.255,US\n"
            "2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,FR\n"
        )
        assert countries(path, self.NETWORKS) == {"JP": 5, "US": 2, "FR": 7, "ZZ": 5}

    @pytest.mark.parametrize(
        "line", ["", "1.2.3.4,5", "1.2.3.4,1.2.3.3,JP", "1.0.0.0,1.0.0.9,Japan", "::1,1.2.3.4,JP", "0.0.0.9,0.0.1.0,JP"]
    )
    def test_another_form_is_an_error_with_its_line(self, tmp_path, line):
        path = tmp_path / "countries.csv"
        path.write_text(f"0.0.0.0,0.0.0.9,ZZ\n{line}\n")
        with pytest.raises(ValueError, match="line 2"):
            countries(path, self.NETWORKS)


class TestData:
    @pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/Vienna", "Asia/Kolkata"])
    def test_days_are_those_of_the_gateway_and_cover_the_period_once(self, monkeypatch, zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            since, until = (datetime(2026, month, 1).astimezone() for month in (10, 11))
            found = list(_days(since, until))
        finally:
            monkeypatch.undo()
            time.tzset()
        assert [day for day, _first, _last in found] == [f"2026-10-{day:02}" for day in range(1, 32)]
        assert (found[0][1], found[-1][2]) == (since.timestamp(), until.timestamp())
        for (_day, _first, last), (_next, first, _last) in pairwise(found):
            assert first == last
            assert first % 3600 == 0

    def test_what_the_index_has_of_domains(self, tmp_path, event_store_settings):
        noon = datetime(2026, 7, 2, 12).astimezone()
        config = parse_config(
            f'hostname = "gw1.x.example"\nroutes_file = "/x"\nstate_dir = "{tmp_path}"\n{event_store_settings}'
        )
        store = open_writable(config, print)
        common = {"time": noon.timestamp(), "client": "198.18.0.1", "sender": ""}
        events = [
            {
                **common,
                "event": "message",
                "recipients": ["a@eng.x", "b@eng.x", "c@sci.x"],
                "reply": "250",
                "seconds": 1,
            },
            {**common, "event": "message", "recipients": ["a@eng.x"], "reply": "250", "queued": 1, "seconds": 1},
            {**common, "event": "finding", "finding": "infected", "name": "A b", "recipients": ["a@eng.x"]},
            {**common, "event": "recipient_refused", "rule": "no spam", "recipient": "z@eng.x", "reply": "550 no"},
            {**common, "event": "relay_refused", "recipient": "z@far.x", "reply": "550 no"},
            {**common, "event": "message", "recipients": ["a b@eng x"], "reply": "250", "seconds": 1},
        ]
        assert store.add("20260702", [(event, b"{}") for event in events], "x", 0, 1)
        found: Report = collect(
            config, store, noon - timedelta(days=9), noon + timedelta(days=1), lambda domain: domain == "eng.x"
        )
        assert list(found.by_domain) == ["eng.x"]
        part = found.by_domain["eng.x"]
        assert part.days == {"2026-07-02": {"accepted": 1, "queued": 1, "refused_recipients": 1}}
        assert (part.lists["viruses"], part.lists["rules"]) == ({"A b": 1}, {"no spam": 1})
        assert list(part.lists["delays"].values()) == [1]
        assert found.domains["sci.x"] == {"accepted": 1}
        assert found.domains["eng_x"] == {"accepted": 1}
        assert "far.x" not in found.domains
        assert found.index_since == "2026-07-02"
        assert collect(config, store, noon, noon + timedelta(days=1)).index_since == ""
        assert collect(config, store, noon + timedelta(days=3), noon + timedelta(days=9)).domains == {}
        store.close()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks trace and report: what several hosts know, merged; hosts that do not answer are named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from page_reader import Page
from playbook_run import ROOT, run_playbook

from ansible_collections.campus.mailgate.plugins.filter.mail_trace import FilterModule

FILTERS = FilterModule().filters()
PLAN = {
    "hosts": {
        "mail.eng": {"kinds": ["servers"], "address": "198.18.1.25", "address6": "2001:db8::25"},
        "other.eng": {"kinds": ["destinations"], "address": "198.18.1.26", "address6": ""},
    },
    "routes": [
        {"domain": "eng.univ.example", "faculty": "engineering"},
        {"domain": "*.eng.univ.example", "faculty": "engineering"},
    ],
}


def delivered(hop: str, when: float, queue_id: str | None = None) -> dict[str, object]:
    return {"event": "delivered", "time": when, "next_hop": hop, **({"queue_id": queue_id} if queue_id else {})}


TRACE = {
    "id": "19ab",
    "events": [
        delivered("[198.18.1.25]:25", 1000.0, "5AUH6Vab012345"),
        delivered("[2001:db8::25]:25", 900.0),
        delivered("[198.18.1.26]:25", 1.0, "x"),
        {"event": "message", "time": 1001.0, "message_id": "<m@x>"},
    ],
    "queue": None,
    "steps": [{"time": 1000.0, "text": "accepted\x1b"}, {"time": 1002.0, "text": "answered"}],
    "now": ["on the server"],
}
REPORT = {
    "since": "2026-07-01T00:00:00+00:00",
    "until": "2026-08-01T00:00:00+00:00",
    "processed": 10,
    "relay_refused": 2,
    "virus_found": 1,
    "before": {"processed": 8, "relay_refused": 1, "virus_found": 0},
    "days": {"2026-07-01": {"accepted": 9}},
    "domains": {
        "eng.univ.example": {"accepted": 5},
        "x.eng.univ.example": {"queued": 1},
        "other.example": {"refused": 1},
    },
    "viruses": {"Eicar": 1},
    "rules": {},
    "recipients": {"=x@eng.univ.example": 5},
    "networks": {"198.18.1": 6},
    "refused_networks": {},
    "delays": {"p50": 1, "buckets": {"0.5": 9, "2.5": 1}},
    "quarantine": None,
}


class TestTrace:
    def test_servers_that_the_inventory_manages_are_asked(self):
        found = FILTERS["mail_trace_questions"]({"gw1": json.dumps([TRACE])}, PLAN)
        assert found == {"mail.eng": {"ids": ["<m@x>", "<m@x>"], "queues": ["5AUH6Vab012345"], "since": 600.0}}

    def test_what_hosts_know_is_merged_by_time(self):
        logs = {"mail.eng": [{"time": 1001.0, "queue": "5AUH6Vab012345", "text": "stat=Sent"}]}
        lines = FILTERS["mail_trace"]({"gw1": json.dumps([TRACE]), "gw2": "[]"}, logs, ["gw3"])
        assert lines == [
            "1970-01-01 00:16:40Z  gw1       19ab  accepted\ufffd",
            "1970-01-01 00:16:41Z  mail.eng  5AUH6Vab012345  stat=Sent",
            "1970-01-01 00:16:42Z  gw1       19ab  answered",
            "",
            "Now, by gw1:",
            "  19ab  on the server",
            "gw3 did not answer; what it knows is missing.",
        ]
        assert "応答しませんでした" in FILTERS["mail_trace"]({}, {}, ["gw3"], "ja")[-1]

    def test_a_mail_that_all_gateways_know_is_shown_by_its_own(self):
        foreign = {**TRACE, "events": [{**event, "gateway": "gw1"} for event in TRACE["events"]], "now": ["elsewhere"]}
        outputs = {"gw2": json.dumps([foreign]), "gw1": json.dumps([TRACE]), "gw3": json.dumps([foreign])}
        assert FILTERS["mail_trace"](outputs, {}) == FILTERS["mail_trace"]({"gw1": json.dumps([TRACE])}, {})
        assert FILTERS["mail_trace_questions"](outputs, PLAN)["mail.eng"]["queues"] == ["5AUH6Vab012345"]
        del outputs["gw1"]
        assert FILTERS["mail_trace"](outputs, {})[-2:] == ["Now, by gw2:", "  19ab  elsewhere"]

    def test_remarks_are_shown_with_the_host(self):
        remarks = {"gw1": ["mailgate: the event database is away\x1b"], "gw2": []}
        lines = FILTERS["mail_trace"]({"gw1": json.dumps([TRACE]), "gw2": "[]"}, {}, ["gw3"], "en", remarks)
        assert lines[-2:] == [
            "gw1: the event database is away\ufffd",
            "gw3 did not answer; what it knows is missing.",
        ]

    @pytest.mark.parametrize("output", ["", "Traceback", "{}"])
    def test_another_output_is_an_error_with_the_host(self, output):
        with pytest.raises(AnsibleFilterError, match="gw1: its mailgate printed"):
            FILTERS["mail_trace"]({"gw1": output}, {})


class TestReport:
    def test_reports_are_added_up_with_faculties(self):
        found = FILTERS["mail_report"]({"gw1": json.dumps(REPORT), "gw2": json.dumps(REPORT)}, PLAN, ["gw3"])
        assert (found["processed"], found["before"]["processed"]) == (20, 16)
        assert found["faculties"] == {"": {"refused": 2}, "engineering": {"accepted": 10, "queued": 2}}
        assert found["delays"] == {"p50": 0.5, "p95": 2.5, "p99": 2.5, "buckets": {"0.5": 18, "2.5": 2}}
        text = FILTERS["mail_report_text"](found)
        assert text.splitlines()[1].split() == ["2026-07-01", "00:00", "-", "2026-08-01", "00:00", "20", "4", "2"]
        assert "gw3 did not answer" in text
        assert ",'=x@" not in (table := FILTERS["mail_report_text"](found, "csv", "ja"))
        assert "\n'=x@eng.univ.example,10\n" in table
        assert json.loads(FILTERS["mail_report_text"](found, "json")) == found
        with pytest.raises(AnsibleFilterError, match="unknown form"):
            FILTERS["mail_report_text"](found, "pdf")

    @pytest.mark.parametrize("language", ["en", "ja"])
    def test_the_campus_and_each_faculty_have_a_page(self, language):
        plan = PLAN | {"campus": {"name": "例題大学" if language == "ja" else "Example University"}}
        plan["routes"] = [*PLAN["routes"], {"domain": "law.univ.example", "faculty": "law/../school"}]
        own = {"days": {}, "viruses": {"Eicar": 1}, "rules": {}, "recipients": {}, "delays": {"0.5": 5}}
        report = REPORT | {"by_domain": {"x.eng.univ.example": own}}
        found = FILTERS["mail_report"]({"gw1": json.dumps(report)}, plan, ["gw2"])
        pages = FILTERS["mail_report_pages"](found, plan, language)
        assert list(pages) == ["report.html", "faculties/engineering.html", "faculties/law_.._school.html"]
        for name, text in pages.items():
            page = Page(text)
            page.check_self_contained(text, language)
            shown = "".join(page.text)
            assert bool(re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", shown)) is (language == "ja")
            assert "gw2" in shown
            assert ("x.eng.univ.example" in shown) is ("law" not in name)
            assert ("other.example" in shown) is (name == "report.html")

    def test_without_an_answer_there_is_an_empty_report(self):
        found = FILTERS["mail_report"]({}, PLAN, ["gw1"])
        assert found["processed"] == 0
        assert "gw1 did not answer" in FILTERS["mail_report_text"](found)


class TestPlaybooks:
    @pytest.fixture
    def campus(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        """Two gateways on this host, whose program is a script; the second one fails."""
        (tmp_path / "bin").mkdir()
        program = tmp_path / "bin" / "mailgate"
        program.write_text(
            f'#!/bin/sh\necho "$@" >>{tmp_path}/ran\ncat {tmp_path}/$1\nmkdir {tmp_path}/once 2>/dev/null || exit 2\n'
        )
        program.chmod(0o755)
        (tmp_path / "trace").write_text(json.dumps([TRACE]))
        (tmp_path / "report").write_text(json.dumps(REPORT))
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
        return ["-i", ROOT / "inventories/demo", "-e", "ansible_connection=local", "-e", "ansible_become=false",
                "-e", "ansible_python_interpreter=/usr/bin/python3", "-f", "1"]  # fmt: skip

    def test_trace(self, campus, tmp_path):
        status, out = run_playbook(tmp_path, *campus, ROOT / "playbooks/trace.yml", "-e", "address=-x@eng.univ.example")
        assert status == 0, out
        assert "19ab  answered" in out
        assert "did not answer; what it knows is missing." in out
        assert (tmp_path / "ran").read_text().splitlines()[0].endswith("--language en -- -x@eng.univ.example")

    def test_trace_needs_an_address(self, campus, tmp_path):
        status, out = run_playbook(tmp_path, *campus, ROOT / "playbooks/trace.yml")
        assert status != 0
        assert "Which mail?" in out

    def test_pages_of_former_faculties_are_removed(self, campus, tmp_path):
        directory = tmp_path / "faculties"
        directory.mkdir()
        (directory / "former.html").write_text('<html>\n<meta name="generator" content="mailgate report">\n')
        (directory / "other.html").write_text("<html>of somebody else</html>\n")
        status, out = run_playbook(
            tmp_path, *campus, ROOT / "playbooks/report.yml", "-e", f"mailgate_report_dir={tmp_path}/."
        )
        assert status == 0, out
        names = {"engineering.html", "other.html", "research.html", "science.html"}
        assert {path.name for path in directory.iterdir()} == names

    def test_report(self, campus, tmp_path):
        status, out = run_playbook(
            tmp_path, *campus, ROOT / "playbooks/report.yml", "-e", f"mailgate_report_dir={tmp_path}"
        )
        assert status == 0, out
        assert "did not answer; its mail is missing." in out
        assert json.loads((tmp_path / "report.json").read_text())["processed"] == 10
        names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
        assert names == {"report.html", *(f"faculties/{name}.html" for name in ("engineering", "research", "science"))}
        for name in names:
            text = (tmp_path / name).read_text()
            Page(text).check_self_contained(text, "en")

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert rules and the dashboard name only metrics that exist, and promtool accepts the rules and their tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify import textfile
from mailgate.metrics.series import COUNTED, READ, Type, full_name

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "docs" / "monitoring"
RULES = MONITORING / "mailgate.rules.yml"
PROMTOOL = shutil.which("promtool")
_SUFFIXES = ("_bucket", "_sum", "_count")


def series() -> dict[str, set[str]]:
    """Return the labels by name of each series."""
    found = dict(textfile.LABELS)
    for name, declared in (*COUNTED.items(), *READ.items()):
        if declared.type is Type.HISTOGRAM:
            found |= {full_name(name) + suffix: {*declared.labels, "le"} for suffix in _SUFFIXES}
        else:
            found[full_name(name)] = {*declared.labels}
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return json.loads((MONITORING / "mailgate.dashboard.json").read_text())["panels"]


def expressions() -> list[str]:
    found = [rule["expr"] for rule in alerts()]
    for panel in panels():
        found += [target["expr"] for target in panel.get("targets", ())]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_metrics_and_labels_exist(expression):
    known = series()
    for name, selector in re.findall(r"(mailgate_[a-z_]+)(?:\{([^}]*)\})?", expression):
        assert name in known, name
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels <= known[name] | {"instance", "job"}, (name, labels)


def test_every_alert_can_be_understood_and_is_tested():
    tests = yaml.safe_load((Path(__file__).parent / "mailgate.test.yml").read_text())["tests"]
    healthy = {each["alertname"] for each in tests[0]["alert_rule_test"] if not each["exp_alerts"]}
    firing = {each["alertname"] for test in tests[1:] for each in test["alert_rule_test"] if each["exp_alerts"]}
    names = {rule["alert"] for rule in alerts()}
    assert names == healthy == firing
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.skipif(not PROMTOOL, reason="promtool is missing: apt-get install prometheus")
class TestPromtool:
    def run(self, *arguments: str, cwd: Path) -> None:
        done = subprocess.run([PROMTOOL, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_rules(self, tmp_path):
        self.run("check", "rules", str(RULES), cwd=tmp_path)

    @pytest.mark.slow
    def test_alerts(self, tmp_path):
        shutil.copy(RULES, tmp_path)
        shutil.copy(Path(__file__).parent / "mailgate.test.yml", tmp_path)
        self.run("test", "rules", "mailgate.test.yml", cwd=tmp_path)


class TestDashboard:
    def test_panels_have_ids_and_places_of_their_own(self):
        ids = [panel["id"] for panel in panels()]
        assert len(set(ids)) == len(ids)
        cells = [
            (x, y)
            for panel in panels()
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _y in cells) < 24

    def test_each_panel_has_a_title_a_unit_and_the_data_source_that_is_chosen(self):
        for panel in panels():
            assert panel["title"]
            if panel["type"] != "row":
                assert panel["datasource"]["uid"] == "${datasource}"
                assert panel["fieldConfig"]["defaults"]["unit"]
                assert panel["targets"]


def test_the_documentation_is_generated_from_the_declarations():
    done = subprocess.run(
        [sys.executable, ROOT / "tests/sanity/metrics", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_alert_is_documented():
    text = (ROOT / "docs/docsite/rst/metrics.rst").read_text()
    assert [rule["alert"] for rule in alerts() if f"``{rule['alert']}``" not in text] == []

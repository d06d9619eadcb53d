# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of runs, and one run in full: the controller's records with what the hosts have kept."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils._report.runs import as_dict, end, full_text, merge, text
from ansible_collections.campus.mailgate.plugins.plugin_utils._rollout.runs import Run, changed_files

OLD, NEW = "20261130T100001Z-7", "20261130T100002Z-7"
DIFF = {"before": "a\nb\n", "after": "a\nc\n", "before_header": "x", "after_header": "x"}
FILE = {"path": "/etc/x", "by": "gateway", "change": "changed", "now": "as it was written", "diff": DIFF}
ZONE = {"zone": "eng", "view": "", "owner": "eng", "before": [[0, "mail."]], "after": [[0, "gw1."]]}


def kept(name, host, files=(FILE,), zones=(), **values):
    run = {"name": name, "began": 60, "ended": 0, "taken_back": "", "files": list(files), "zones": list(zones)}
    return {"host": host, "runs": [run | values]}


RECORD = Run(f"{NEW}.json", 120, "root@c", "site", 180, files={"off": ["/etc/y"], "gw1": ["/etc/z"]})


def test_what_a_host_says_has_precedence_over_the_record():
    [found] = merge([RECORD], [kept(NEW, "gw1"), kept(NEW, "ns1", files=(), zones=(ZONE,))])
    assert found.changed == {"gw1": ["/etc/x"], "ns1": ["MX eng"], "off": ["/etc/y"]}
    shown = text([found], ["off"])
    assert "3: gw1 (1), ns1 (1), off (1)  complete" in shown
    assert "Could not be asked: off" in shown


def test_a_run_of_another_controller_is_listed():
    assert [each.run.id for each in merge([RECORD], [kept(OLD, "gw1")])] == [NEW, OLD]
    assert "no record on this controller" in text(merge([], [kept(OLD, "gw1")]))
    assert merge([], [kept(OLD, "gw1", files=())]) == []
    assert text([]) == "No run is kept."


def test_one_run_in_full():
    [found] = merge([RECORD], [kept(NEW, "gw1", zones=(ZONE,))])
    shown = full_text(found)
    assert "/etc/x: changed by gateway; now as it was written" in shown
    assert "    -b\n    +c" in shown
    assert "MX eng in zone eng: 0 mail -> 0 gw1" in shown
    assert as_dict(found)["hosts"]["gw1"]["zones"] == [ZONE]
    assert "No host keeps a change" in full_text(merge([Run(f"{OLD}.json", 1, "x", "y")], [])[0])


@pytest.mark.parametrize(
    ("values", "taken_back", "wanted"),
    [
        ({"ended": 0}, "", "not complete: interrupted, failed, or still in progress"),
        ({"ended": 0}, OLD, "taken back in part"),
        ({"ended": 9}, "", "complete"),
        ({"ended": 9, "taken_back": OLD}, OLD, f"taken back by {OLD}"),
    ],
)
def test_how_a_run_ended(values, taken_back, wanted):
    run = Run(f"{NEW}.json", 1, "root@c", "site", **values)
    assert end(merge([run], [kept(NEW, "gw1", taken_back=taken_back)])[0]) == wanted


def test_hosts_on_which_nothing_has_changed_are_not_recorded():
    answers = [
        {"host": "gw1", "found": {"files": [FILE], "zones": [ZONE, ZONE]}},
        {"host": "a", "found": {}},
        {"host": "b", "found": {"files": [], "zones": []}},
    ]
    assert changed_files(answers) == {"gw1": ["/etc/x", "MX eng"]}

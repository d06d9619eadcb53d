# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""remove.yml takes a step only when the one before has succeeded on every host; gateways only when nobody uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from playbook_run import run_playbook
from test_rollout_playbook import BORDER, GATEWAYS, write

ROOT = Path(__file__).resolve().parents[3]
TASKS = ROOT / "playbooks" / "tasks"

pytestmark = pytest.mark.slow

REMOVE = yaml.safe_load((ROOT / "playbooks" / "remove.yml").read_text())


def changes(directory, *options, records=None):
    """Run remove.yml; in place of each role, one task that says which hosts it would change.

    Each DNS server finds `records` of the gateways.
    """
    plays = []
    for play in REMOVE:
        kept = {key: value for key, value in play.items() if key not in ("roles", "tasks", "pre_tasks", "post_tasks")}
        if play["hosts"].startswith("all:") and not plays:
            plays.append({**kept, "tasks": [{"import_tasks": str(TASKS / "plan.yml")}]})
            continue
        parts = [*play.get("pre_tasks", []), *(play.get("tasks", []) if "roles" not in play else [])]
        before = [task for task in parts if "ansible.builtin.assert" in task or "require.yml" in str(task)]
        if not before and "roles" not in play:
            continue
        step = [task for task in [*play.get("tasks", []), *play.get("post_tasks", [])] if "done.yml" in str(task)]
        tasks = [
            *before,
            {"name": f"CHANGE {play['name']}", "ansible.builtin.raw": "true"},
            *([{"set_fact": {"mailgate_remove_records": records or {"unplanned": [], "cached": []}}}]),
            *step,
        ]
        text = json.dumps(tasks).replace('": "tasks/', f'": "{TASKS}/')
        plays.append({**kept, "tasks": json.loads(text)})
    (directory / "remove.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    status, output = run_playbook(directory, "-i", "campus.yml", "remove.yml", *options)
    names = [
        "Open port 25",
        "Restore the MX records",
        "Remove the gateways",
        "Restore the mail servers",
        "Remove what is",
    ]
    done = [name for name in names if f"TASK [CHANGE {name}" in output]
    return status, done, " ".join(output.split())


ALL = ["Open port 25", "Restore the MX records", "Remove the gateways", "Restore the mail servers", "Remove what is"]


def test_the_steps_in_their_order(tmp_path):
    write(tmp_path)
    status, done, output = changes(tmp_path)
    assert (status, done) == (0, ALL), output


@pytest.mark.parametrize(("down", "reached"), [(BORDER, 1), ("ns1.univ.example", 2), (GATEWAYS[0], 3)])
def test_a_host_that_is_down_stops_what_rests_on_it(tmp_path, down, reached):
    write(tmp_path, down)
    status, done, output = changes(tmp_path)
    assert status != 0
    assert done == ALL[:reached], output


def test_a_host_that_is_gone_can_be_accepted(tmp_path):
    write(tmp_path, BORDER)
    _status, done, output = changes(tmp_path, "-e", f"mailgate_remove_accept={BORDER}")
    assert "Restore the MX records" in done, output


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            {"unplanned": [], "cached": [{"owner": "a.example", "zone": "example", "until": "2027-03-31 12:00 UTC"}]},
            "Run it again after 2027-03-31 12:00 UTC.",
        ),
        (
            {"unplanned": [{"text": "b.example in zone example: MX gw1"}], "cached": []},
            "b.example in zone example: MX gw1",
        ),
    ],
)
def test_gateways_stay_while_senders_use_them(tmp_path, records, message):
    write(tmp_path)
    status, done, output = changes(tmp_path, records=records)
    assert (status != 0, done) == (True, ALL[:2]), output
    assert message in output
    status, done, output = changes(tmp_path, "-e", "mailgate_remove_now=true", records=records)
    assert (status, done) == (0, ALL), output

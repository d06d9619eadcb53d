# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of rollout.yml, status.yml and rollback.yml on a campus whose hosts cannot be reached: nothing begins."""

from __future__ import annotations

import json

import pytest
from playbook_run import ROOT, run_playbook
from test_rollout_playbook import write

PLAYBOOKS = ROOT / "playbooks"
HOSTS = ["gw1", "gw2", "border", "ns1", "mail.eng", "mech.eng", "civil.eng", "mail.sci", "bio.sci", "quake"]

pytestmark = pytest.mark.slow


def run(directory, playbook, **variables):
    write(directory, *(f"{host}.univ.example" for host in HOSTS))
    variables["mailgate_rollout_runs"] = str(directory / "runs")
    status, output = run_playbook(
        directory, "-i", "campus.yml", PLAYBOOKS / f"{playbook}.yml", "-e", json.dumps(variables)
    )
    return status, " ".join(output.split())


def test_the_state_of_an_unreachable_campus(tmp_path):
    """Variables of the inventory that have the names of those of the command line do not select anything."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("{faculty: physics, phase: full, to: nobody}\n")
    status, output = run(tmp_path, "status", mailgate_rollout_json=str(tmp_path / "state.json"))
    assert status == 0, output
    assert "engineering not known not known not known not known not known not known not known" in output
    assert "ns1.univ.example: unreachable: No route to host" in output
    data = json.loads((tmp_path / "state.json").read_text())
    assert data["faculties"][0]["phases"]["mx"]["state"] == "not known"


@pytest.mark.parametrize(
    ("playbook", "variables", "message"),
    [
        ("rollout", {"phase": "dns"}, "phase: 'dns' is not a phase"),
        ("rollout", {"to": "mx", "faculty": "eng"}, "faculty: 'eng' is not a faculty with a mail domain"),
        ("rollout", {"phase": "mx"}, "Phase mx was not started, nothing was changed by it: routes is missing on gw1"),
        ("rollout", {"phase": "block"}, "mx is missing on ns1.univ.example (not known: unreachable: No route to host)"),
        ("rollback", {}, "to is not set. Set it to the phase that is to stay"),
        ("rollback", {"to": "routes", "faculty": "science"}, "the gateways and their routes serve all faculties"),
    ],
)
def test_a_run_that_may_not_begin(tmp_path, playbook, variables, message):
    status, output = run(tmp_path, playbook, **variables)
    assert status == 2, output
    assert message in output
    assert "PLAY [Survey the hosts]" not in output
    assert not (tmp_path / "runs").exists()

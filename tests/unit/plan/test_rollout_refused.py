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


RUN = "20261130T100000Z-7"


def record(directory, campus="Small-University", **values):
    """Write the record of a run."""
    path = directory / "runs" / campus / f"{RUN}.json"
    path.parent.mkdir(parents=True)
    data = {"name": path.name, "began": 1_796_000_000, "who": "root@c", "what": "site", "ended": 1_796_000_060}
    path.write_text(json.dumps({"format": "campus.mailgate run", "run": data | values, "states": {}}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, f"No run {RUN} is kept in"),
        ({"campus": "Other-University"}, f"Run {RUN} is of another campus, Other-University, not of"),
        ({"taken_back": "20261130T110000Z-8"}, f"Run {RUN} is already taken back, by run 20261130T110000Z-8"),
        ({"what": "rollback to=mx"}, "took something back, and is not taken back itself"),
        (
            {"files": {"gw1.univ.example": ["/etc/mailgate/routes"]}},
            "gw1.univ.example could not be asked, and were changed",
        ),
    ],
)
def test_a_run_that_cannot_be_taken_back(tmp_path, values, message):
    if values is not None:
        record(tmp_path, **values)
    status, output = run(tmp_path, "rollback", run=RUN)
    assert status == 2, output
    assert message in output
    assert "PLAY [Restore the border]" not in output


def test_the_list_of_runs_of_an_unreachable_campus(tmp_path):
    record(tmp_path, files={"gw1.univ.example": ["/etc/mailgate/routes"]})
    status, output = run(tmp_path, "runs", mailgate_runs_json=str(tmp_path / "runs.json"))
    assert status == 0, output
    assert f"{RUN} 2026-11-30" in output
    assert "root@c site 1: gw1.univ.example (1) complete" in output
    assert "Could not be asked: gw2.univ.example" in output
    [found] = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert found["changed"] == {"gw1.univ.example": ["/etc/mailgate/routes"]}


def test_one_run_in_full(tmp_path):
    record(tmp_path, files={"gw1.univ.example": ["/etc/mailgate/routes"]})
    status, output = run(tmp_path, "runs", run=RUN)
    assert status == 0, output
    assert f"Run {RUN}" in output
    assert "gw1.univ.example: 1 changed /etc/mailgate/routes" in output

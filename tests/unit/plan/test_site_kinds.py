# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of the first plays of site.yml: what runs on the servers decides whether anything is changed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from plan_campus import small
from playbook_run import ROOT, run_playbook

from ansible_collections.campus.mailgate.plugins.module_utils._mta.system import look

SITE = ROOT / "playbooks" / "site.yml"
PLAYS = (
    "Compute and prove the plan",
    "Look at the mail servers and gateways",
    "Leave out the hosts on which nothing is to be done",
    "Require all prerequisites",
    "Install routes on inner servers and queues on gateways",
)
CHANGE = "CHANGED"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_mta():
    def run(command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    if look(run).kinds:
        pytest.skip("this machine runs an MTA, and the hosts of the inventory are this machine")


def site(directory, **kinds):
    """Run the plays on this machine as every host; the roles only say which is included."""
    groups = small()
    groups["all"][None] |= {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    for group in groups.values():
        for host, variables in group.items():
            if host and (kind := kinds.get(host.split(".")[0], kinds.get("others"))):
                variables["mailgate_mta"] = kind
    plays = [play for play in yaml.safe_load(SITE.read_text()) if play["name"] in PLAYS]
    assert len(plays) == len(PLAYS)
    (directory / "tasks").mkdir()
    for path in (SITE.parent / "tasks").iterdir():
        (directory / "tasks" / path.name).write_text(path.read_text())
    (directory / "tasks" / "routes.yml").write_text(
        f"- ansible.builtin.debug: {{msg: '{CHANGE} {{{{ inventory_hostname }}}} {{{{ mailgate_mta_found.kind }}}}.'}}"
        "\n"
        "- ansible.builtin.set_fact: {__sendmail_routes_written: {pending: {steps: [], removals: []}, former: []}}\n"
    )
    (directory / "vars").symlink_to(SITE.parent / "vars")
    (directory / "site.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    inventory = {
        group: {"vars": members.get(None, {}), "hosts": {host: own for host, own in members.items() if host}}
        for group, members in groups.items()
    }
    (directory / "campus.yml").write_text(yaml.safe_dump(inventory))
    return run_playbook(directory, "-i", "campus.yml", "site.yml")


def test_servers_of_which_nothing_is_known_stop_the_run_all_at_once(tmp_path):
    status, output = site(tmp_path, mech="sendmail", bio="postfix")
    assert status
    assert CHANGE not in output
    text = output.replace("\\n", "\n")
    refused = [line for line in text.splitlines() if "mailgate_mta is not set, and no MTA listens on port 25" in line]
    assert {line.strip().split(":")[0] for line in refused} == {
        "mail.eng.univ.example",
        "civil.eng.univ.example",
        "mail.sci.univ.example",
        "quake.univ.example",
    }
    assert "Nothing was changed. Correct this, and run it again." in output


def test_each_server_gets_the_role_of_its_kind(tmp_path):
    status, output = site(tmp_path, mech="none", bio="postfix", others="sendmail")
    assert not status, output
    assert f"{CHANGE} bio.sci.univ.example postfix." in output
    assert f"{CHANGE} civil.eng.univ.example sendmail." in output
    assert f"{CHANGE} gw1.univ.example sendmail." in output
    assert "[mech.eng.univ.example]" not in output  # no task ran there

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which site.yml changes the tables of inner servers and gateways, with roles that only record it.

One of the servers runs Postfix.
"""

from __future__ import annotations

import pytest
import yaml
from playbook_run import ROOT, run_playbook

SITE = ROOT / "playbooks" / "site.yml"
# What each host still has to do after the domains were added.
PENDING = {
    "hub": {"steps": [{"distance": 1, "domains": ["d"], "hosts": ["new"]}], "removals": []},
    "leaf": {"steps": [{"distance": 2, "domains": ["d"], "hosts": ["hub"]}], "removals": []},
    "old": {"steps": [], "removals": ["d"]},
    "new": {"steps": [], "removals": []},
    "gw": {"steps": [{"distance": 1, "domains": ["d"], "hosts": ["new"]}], "removals": []},
}
ROUTES = """\
- name: Fail as a host that is down
  ansible.builtin.command: "false"
  when:
    - inventory_hostname == down | default('')
    - KIND_routes_distance | default(-1) | int == down_at | default(0) | int
- name: Cannot be reached
  ansible.builtin.raw: "true"
  vars: {ansible_connection: ssh, ansible_ssh_executable: "{{ ssh }}"}
  when:
    - inventory_hostname == unreachable | default('')
    - KIND_routes_distance | default(-1) | int == down_at | default(0) | int
- name: Record
  ansible.builtin.shell: echo {{ inventory_hostname }} {{ KIND_routes_distance | default(-1) }} >> {{ log }}
- name: Written
  ansible.builtin.set_fact:
    __KIND_routes_written:
      pending:
        steps: "{{ pending.steps | selectattr('distance', 'gt', KIND_routes_distance | default(-1) | int) | list }}"
        removals: "{{ pending.removals }}"
      former: []
"""
GATEWAY = """\
- name: Record
  ansible.builtin.shell: echo {{ inventory_hostname }} gateway >> {{ log }}
"""
SSH = "#!/bin/sh\necho 'Connection refused' >&2\nexit 255\n"

pytestmark = pytest.mark.slow


def steps(directory, *arguments, pending=PENDING):
    """Run the plays of site.yml from the first change to the gateways' and the removal; return what was recorded."""
    # On these gateways one runs already, so none is prepared.
    plays = [play for play in yaml.safe_load(SITE.read_text()) if "Prepare the hosts" not in play["name"]]
    names = [play["name"] for play in plays]
    first = next(number for number, name in enumerate(names) if "Install routes" in name)
    (group,) = [play for play in plays if "Leave out the hosts" in play["name"]]
    last = next(number for number, name in enumerate(names) if "Set the MX records" in name)
    for play in plays[first:last]:
        play.pop("pre_tasks", None)  # what a step rests on has tests of its own
        play["roles"] = [{"role": role["role"].split(".")[-1]} for role in play.get("roles", [])]
        for task in play.get("tasks", []):
            if included := task.get("ansible.builtin.include_role"):
                included["name"] = included["name"].split(".")[-1]
    (directory / "tasks").mkdir()
    for path in (SITE.parent / "tasks").iterdir():
        text = path.read_text().replace(
            "campus.mailgate.{{ mailgate_mta_found.kind }}_routes", "'{{ mailgate_mta_found.kind }}_routes'"
        )
        (directory / "tasks" / path.name).write_text(text)
    (directory / "vars").symlink_to(SITE.parent / "vars")
    roles = {f"{kind}_routes": ROUTES.replace("KIND", kind) for kind in ("sendmail", "postfix")}
    for role, tasks in {**roles, "gateway": GATEWAY, "clamav": "[]\n", "event_database": "[]\n"}.items():
        (directory / "roles" / role / "tasks").mkdir(parents=True)
        for entry in ("main", "step"):
            (directory / "roles" / role / "tasks" / f"{entry}.yml").write_text(tasks)
    finished = {"ansible.builtin.debug": {"msg": "FINISHED {{ groups.mailgate_done_routes | sort | join(' ') }}."}}
    plays[last:] = [{"name": "Show", "hosts": "localhost", "gather_facts": False, "tasks": [finished]}]
    (directory / "site.yml").write_text(yaml.safe_dump([group, *plays[first:]], sort_keys=False))
    (directory / "ssh").write_text(SSH)
    (directory / "ssh").chmod(0o755)
    hosts = {
        host: {"pending": of_host, "mailgate_mta_found": {"kind": "postfix" if host == "hub" else "sendmail"}}
        for host, of_host in pending.items()
    }
    paths = {name: str(directory / name) for name in ("log", "ssh")}
    inventory = {
        "all": {"hosts": hosts, "vars": {"ansible_connection": "local", **paths}},
        "mailgate_servers": {"hosts": dict.fromkeys(("old", "leaf", "hub", "new"))},
        "mailgate_gateways": {"hosts": {"gw": None}},
        "mailgate_run": {"hosts": dict.fromkeys(PENDING)},
    }
    (directory / "campus.yml").write_text(yaml.safe_dump(inventory))
    status, output = run_playbook(directory, "-i", "campus.yml", "site.yml", *arguments)
    log = directory / "log"
    return status, output, log.read_text().splitlines() if log.exists() else []


def test_add_then_change_by_distance_then_gateways_then_remove(tmp_path):
    status, output, done = steps(tmp_path)
    assert not status, output
    assert sorted(done[:5]) == ["gw 0", "hub 0", "leaf 0", "new 0", "old 0"]
    assert sorted(done[5:7]) == ["gw 1", "hub 1"]
    assert done[7:] == ["leaf 2", "gw gateway", "old -1"]


@pytest.mark.parametrize(("down", "at", "kept"), [("new", 0, ["gw 1", "hub 1", "leaf 2"]), ("hub", 1, ["leaf 2"])])
def test_a_route_is_not_changed_while_its_next_hop_is_not_ready(tmp_path, down, at, kept):
    status, output, done = steps(tmp_path, "-e", f"down={down}", "-e", f"down_at={at}")
    assert status, output
    assert not set(kept) & set(done)
    assert "old -1" not in done, "the previous home keeps the domain"


def test_a_limited_run_keeps_the_domain_at_its_previous_home(tmp_path):
    status, output, done = steps(tmp_path, "--limit", "!leaf")
    assert not status, output
    assert "old -1" not in done
    assert (
        "old still accepts d, because these hosts were not changed in this run and may route mail here: leaf" in output
    )


def test_a_host_that_becomes_unreachable_while_its_routes_change_has_not_finished(tmp_path):
    # Ansible goes on after a play whose only host is unreachable.
    pending = {**PENDING, "leaf": PENDING["new"], "gw": PENDING["new"]}
    _status, output, done = steps(tmp_path, "-e", "unreachable=hub", "-e", "down_at=1", pending=pending)
    assert "FINISHED gw leaf new old." in output
    assert "hub 1" not in done
    assert "old -1" not in done

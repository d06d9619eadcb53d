# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of site.yml in real runs, with one task in place of each role and hosts that are down."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from plan_campus import small
from playbook_run import ROOT, run_playbook

TASKS = ROOT / "playbooks" / "tasks"
SITE = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())

pytestmark = pytest.mark.slow


GATEWAYS = ["gw1.univ.example", "gw2.univ.example"]
BORDER = "border.univ.example"


def write(directory, *down, delivery="direct"):
    """Write the small campus: the controller stands for each host, and no connection to those in `down` is possible."""
    ssh = directory / "ssh"
    ssh.write_text("#!/bin/sh\necho 'No route to host' >&2\nexit 255\n")
    ssh.chmod(0o755)
    groups = small()
    groups["all"][None] |= {"mailgate_delivery": delivery, "mailgate_mta": "sendmail"}
    inventory = {
        group: ({"vars": members[None]} if None in members else {})
        | {"hosts": {host: dict(own) for host, own in members.items() if host}}
        for group, members in groups.items()
    }
    for group in inventory.values():
        for host, variables in group["hosts"].items():
            way = {"ansible_ssh_executable": str(ssh)} if host in down else {"ansible_connection": "local"}
            variables.update(way)
    (directory / "campus.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))


def run(directory, *options):
    """Run the plays of site.yml; in place of each role, one task that says which hosts it would change."""
    plays = []
    for play in SITE:
        tasks = {"tasks": [{"import_tasks": str(TASKS / "plan.yml")}]} if play["hosts"].startswith("all:") else {}
        if play["name"] == "Leave out the hosts on which nothing is to be done":
            tasks = {"tasks": play["tasks"], "vars_files": [str(TASKS.parent / "vars/routes.yml")]}
        for part in ("pre_tasks", "post_tasks"):
            if part in play:
                file = "check.yml" if part == "pre_tasks" else "done.yml"
                kept = ("name", "when") if part == "pre_tasks" else ("name",)
                task = {key: value for key, value in play[part][-1].items() if key in kept}
                tasks[part] = [{**task, "ansible.builtin.import_tasks": str(TASKS / file)}]
        routes = play.get("vars", {}).get("mailgate_site_step") == "routes"
        if routes:
            tasks["post_tasks"] = [{"name": "Finish the step", "ansible.builtin.import_tasks": str(TASKS / "done.yml")}]
        if "pre_tasks" in play or routes:
            tasks["tasks"] = [{"name": f"CHANGE {play['tags'][0]}", "ansible.builtin.raw": "true"}]
        if tasks:
            head = {key: value for key, value in play.items() if key not in ("tasks", "roles", "vars_files", *tasks)}
            plays.append({**head, **tasks})
    (directory / "site.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    return run_playbook(directory, "-i", "campus.yml", "site.yml", *options)


def changed(output):
    """Return the steps that changed hosts, each with its hosts."""
    found, step = {}, ""
    for line in output.splitlines():
        if line.startswith("TASK ["):
            step = line[6:].partition("]")[0]
        if line.startswith("changed: [") and step.startswith("CHANGE "):
            found.setdefault(step.removeprefix("CHANGE "), []).append(line[10:].partition(".")[0])
    return found


# No gateway listens at the addresses of the plan, and the controller may have a firewall, so the tests answer for both.
ACCEPTED = [*GATEWAYS, BORDER]
WITHOUT_SMTP = ("-e", json.dumps({"mailgate_site_ask": ["ns1.univ.example"], "mailgate_site_accept": ACCEPTED}))


def test_a_dns_server_that_is_down_leaves_the_border_unchanged(tmp_path):
    write(tmp_path, "ns1.univ.example")
    status, output = run(tmp_path, *WITHOUT_SMTP)
    assert status != 0
    assert "Step border stopped, the border is unchanged: 1 host that it rests on is not ready." in output
    assert "1. ns1.univ.example: did not finish the step dns in this run; unreachable: " in output
    assert "No route to host" in output
    assert list(changed(output)) == ["routes", "gateways"]


def test_a_backup_gateway_that_is_down_leaves_the_primary_unchanged(tmp_path):
    write(tmp_path, "gw2.univ.example")
    status, output = run(tmp_path)
    assert status != 0
    assert "1. gw2.univ.example: did not finish the step routes and gateways in this run" in output
    assert list(changed(output)) == ["routes"]


@pytest.mark.parametrize(
    ("delivery", "steps"), [("tiered", ["routes", "gateways"]), ("direct", ["routes", "gateways", "dns"])]
)
def test_a_hub_that_is_down(tmp_path, delivery, steps):
    write(tmp_path, "mail.eng.univ.example", delivery=delivery)
    status, output = run(tmp_path, *WITHOUT_SMTP, "--skip-tags", "border")
    assert status != 0
    assert list(changed(output)) == steps
    assert ("1. mail.eng.univ.example: did not finish the step routes in this run" in output) == (delivery == "tiered")
    assert ("did not get their routes in this run: mail.eng.univ.example" in output) == (delivery == "direct")


def test_a_router_alone_on_an_unreachable_campus(tmp_path):
    write(tmp_path, "ns1.univ.example", *GATEWAYS)
    status, output = run(tmp_path, "--limit", "border*")
    assert status != 0
    assert "1. gw1.univ.example: unreachable: " in output
    assert "3. ns1.univ.example: unreachable: " in output
    assert changed(output) == {}


@pytest.mark.parametrize(
    "options",
    [
        ("-e", json.dumps({"mailgate_site_accept": [*ACCEPTED, "ns1.univ.example"]})),
        ("-e", "mailgate_site_accept=gw1.univ.example,gw2.univ.example,ns1.univ.example,border.univ.example"),
        ("-e", "border_firewall_mode=observe"),
        ("-e", "border_firewall_state=absent"),
    ],
)
def test_a_router_alone_with_nothing_to_lose(tmp_path, options):
    write(tmp_path, "ns1.univ.example", *GATEWAYS)
    status, output = run(tmp_path, "--limit", "border*", *options)
    assert status == 0, output
    assert changed(output) == {"border": ["border"]}


def test_the_border_by_its_tag(tmp_path):
    write(tmp_path, "ns1.univ.example", *GATEWAYS)
    status, output = run(tmp_path, "--tags", "border")
    assert status != 0
    assert "1. gw1.univ.example: unreachable: " in output
    assert "did not finish" not in output
    assert changed(output) == {}


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        ({"host": GATEWAYS[0], "age": 0, "problems": []}, False),
        ({"host": GATEWAYS[0], "age": 3600, "problems": []}, True),
        ({"host": GATEWAYS[0], "age": 0, "problems": ["refuses mail"]}, True),
        # The step dns changes what it answers.
        ({"host": "ns1.univ.example", "age": 0, "problems": []}, True),
    ],
)
def test_a_host_that_has_just_answered_the_step_dns_is_not_asked_twice(tmp_path, answer, asked):
    write(tmp_path, "ns1.univ.example", *GATEWAYS)
    path = tmp_path / "campus.yml"
    inventory = yaml.safe_load(path.read_text())
    # The clock of a slow machine may go on for a minute until the task runs.
    answer = {"time": time.time() + 600 - answer.pop("age"), **answer}
    inventory["dns"]["hosts"]["ns1.univ.example"]["mailgate_site_answers"] = {"results": [answer]}
    path.write_text(yaml.safe_dump(inventory, sort_keys=False))
    status, output = run(tmp_path, "--tags", "border")
    assert status != 0
    assert (f"{answer['host']}: unreachable: " in output) == asked
    assert f"{GATEWAYS[1]}: unreachable: " in output


def test_check_mode_warns_and_goes_on(tmp_path):
    write(tmp_path, "ns1.univ.example", *GATEWAYS)
    status, output = run(tmp_path, "--check", "--limit", "border*")
    assert status == 0, output
    assert "[WARNING]: Step border stopped" in output


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"gateway_wheelhouse": "nowhere"}, "The wheelhouse is nowhere; fill it with: pip wheel"),
        (
            {"clamav_signatures_source": "files", "clamav_signature_files": ["nowhere.ndb"]},
            "clamav_signature_files: nowhere.ndb does not exist on the controller",
        ),
    ],
)
def test_what_is_missing_on_the_controller_is_found_before_a_host_changes(tmp_path, variables, message):
    write(tmp_path)
    extra = json.dumps({"gateway_build_dir": str(tmp_path / "build"), **variables})
    status, output = run_playbook(tmp_path, "-i", "campus.yml", ROOT / "playbooks" / "site.yml", "-e", extra)
    assert status != 0
    assert message in output
    assert "TASK [" not in output.partition("Nothing was changed. Correct ")[2]


def test_all_that_is_missing_is_reported_at_once(tmp_path):
    write(tmp_path)
    (tmp_path / "key").write_text("x")
    variables = {
        "gateway_wheelhouse": "nowhere",
        "clamav_signatures_source": "files",
        "clamav_signature_files": ["nowhere.ndb"],
        "gateway_tls": {"certificate": str(tmp_path / "no-certificate"), "key": str(tmp_path / "key")},
    }
    extra = json.dumps({"gateway_build_dir": str(tmp_path / "build"), **variables})
    status, output = run_playbook(tmp_path, "-i", "campus.yml", ROOT / "playbooks" / "site.yml", "-e", extra)
    assert status != 0
    for gateway in GATEWAYS:
        assert f"gateway_tls: missing or empty on {gateway}: {tmp_path}/no-certificate. Copy" in output
    assert "clamav_signature_files: nowhere.ndb does not exist" in output
    assert "The wheelhouse is nowhere; fill it with: pip wheel" in output
    _before, told, after = output.partition("Nothing was changed. Correct ")
    assert told
    assert "TASK [" not in after


def test_the_report_of_what_is_left(tmp_path):
    write(tmp_path, "gw2.univ.example")
    (report,) = [play for play in SITE if play.get("tags") == ["report"]]
    report["tasks"] = [{"import_tasks": str(TASKS / "left.yml")}]
    first = {"hosts": "all", "gather_facts": False, "tasks": [{"import_tasks": str(TASKS / "plan.yml")}]}
    (tmp_path / "site.yml").write_text(yaml.safe_dump([first, report], sort_keys=False))
    cached = [{"owner": "quake.univ.example", "text": "quake: until 2027-03-31"}, {"owner": "x.example", "text": "x"}]
    known = {
        "mailgate_retired": ["quake.univ.example"],
        "mailgate_site_former_hops": ["198.18.1.30", "198.18.9.9"],
        "mailgate_plan_checked": {"cached": cached},
    }
    status, output = run_playbook(tmp_path, "-i", "campus.yml", "site.yml", "-e", json.dumps(known))
    assert status == 0, output
    assert output.count("198.18.9.9: a server until this run") == 1
    assert "198.18.1.30" not in output  # of a host in the inventory
    assert output.count("until then: quake: until 2027-03-31") == 1
    assert "until then: x" not in output


def test_every_step_of_site_has_its_checks():
    steps = {play["vars"]["mailgate_site_step"]: play for play in SITE if "mailgate_site_step" in play.get("vars", {})}
    assert list(steps) == ["routes", "gateways", "dns", "border"]
    assert all(play["tags"] == [step] for step, play in steps.items())
    assert all("pre_tasks" in steps[step] for step in ("gateways", "dns", "border"))
    for step in ("routes", "gateways", "dns"):
        last = (steps[step].get("post_tasks") or steps[step]["tasks"])[-1]
        assert last["ansible.builtin.import_tasks"] == "tasks/done.yml"

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in real playbook runs: files named in errors, all hosts planned, none touched."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from plan_campus import paper, small
from playbook_run import ROOT, run_playbook

from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.hostvars import HAS_ORIGIN

PLAN = ROOT / "playbooks" / "plan.yml"

pytestmark = pytest.mark.slow


def write(directory, groups):
    """One file a group, as an inventory directory."""
    directory.mkdir()
    for group, members in groups.items():
        hosts = {host: own for host, own in members.items() if host}
        body = ({"vars": members[None]} if None in members else {}) | ({"hosts": hosts} if hosts else {})
        (directory / f"{group}.yml").write_text(yaml.safe_dump({group: body}, sort_keys=False))


def play(directory, *args):
    """Run ansible-playbook in ``directory`` on its inventory ``campus``."""
    return run_playbook(directory, "-i", "campus", *args)


def place(path, line, host):
    """Return the place of a line in messages; before ansible-core 2.19, which does not know it, that of the host."""
    line = line if HAS_ORIGIN else host
    return f"campus/{path.name}" + (f":{line}" if line else "")


def line_of(path, text):
    """Return the number of the first line with this text."""
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_all_problems_of_a_broken_inventory_with_their_files(tmp_path):
    groups = small()
    for gateway in groups["gateways"].values():
        del gateway["mailgate_gateway"]
    groups["engineering"]["civil.eng.univ.example"]["mailgate_domains"].append("mech.eng.univ.example")
    del groups["science"]["bio.sci.univ.example"]["ansible_host"]
    groups["science"]["mail.sci.univ.example"]["mailgate_domains"].append("x..sci.univ.example")
    groups["research"]["quake.univ.example"]["mailgate_permit"]["until"] = "2020-03-31"
    write(tmp_path / "campus", groups)
    (tmp_path / "touch.yml").write_text(
        "- import_playbook: " + str(PLAN) + "\n- hosts: all\n  gather_facts: false\n  tasks: [{ping: }]\n"
    )

    status, output = play(tmp_path, "touch.yml")

    assert status != 0
    assert output.count("5 problems in the inventory, nothing was changed:\n") == 1
    listed = [line.strip().partition(". ")[2] for line in output.splitlines() if line.startswith("  ") and ". " in line]
    engineering, science, research = (
        tmp_path / "campus" / f"{name}.yml" for name in ("engineering", "science", "research")
    )
    for expected in (
        "all: mailgate_gateway: no host is a gateway (campus/" + ("all.yml:" if HAS_ORIGIN else "borders.yml)"),
        f"civil.eng.univ.example: mailgate_domains: 'mech.eng.univ.example' is also claimed by mech.eng.univ.example, "
        f"{place(engineering, line_of(engineering, '- mech.eng'), line_of(engineering, '  mech.eng'))} "
        f"({place(engineering, line_of(engineering, '- civil.eng') + 1, line_of(engineering, '  civil.eng'))})",
        f"bio.sci.univ.example: ansible_host: the host has no address "
        f"({place(science, line_of(science, '- bio.sci'), line_of(science, 'bio.sci'))})",
        f"mail.sci.univ.example: mailgate_domains: 'x..sci.univ.example' has an empty label "
        f"({place(science, line_of(science, 'x..sci'), line_of(science, 'mail.sci'))})",
        f"quake.univ.example: mailgate_permit: expired on 2020-03-31 "
        f"({place(research, line_of(research, 'until'), line_of(research, 'quake'))})",
    ):
        assert any(line.startswith(expected) for line in listed), f"{expected}\nnot in\n{output}"
        assert output.count(expected) == 1
    assert "PLAY [all]" not in output
    assert "unreachable=0" in output


def test_the_printed_plan(tmp_path):
    write(tmp_path / "campus", paper())
    page = tmp_path / "plan.txt"
    status, output = play(tmp_path, PLAN, "-e", f"mailgate_plan_file={page}")
    assert status == 0
    assert "Delivery list (168)" in output
    assert page.read_text().startswith("Mail plan: Small University\n====")
    assert page.read_text() in output
    status, output = play(tmp_path, PLAN, "-e", f"mailgate_plan_file={page}")
    assert (status, "changed=0" in output) == (0, True)


@pytest.fixture
def grouped(tmp_path):
    """Return a playbook that records which hosts its plays get after tasks/plan.yml, and what they know."""
    groups = small()
    groups["all"][None]["tld"] = "example"
    groups["science"]["bio.sci.univ.example"]["mailgate_domains"] = ["{{ inventory_hostname }}", "bio.univ.{{ tld }}"]
    write(tmp_path / "campus", groups)
    plays = [
        {
            "hosts": "all",
            "gather_facts": False,
            "any_errors_fatal": True,
            "tasks": [{"import_tasks": str(ROOT / "playbooks" / "tasks" / "plan.yml")}],
        }
    ]
    for group in ("mailgate_servers:mailgate_gateways", "mailgate_gateways", "mailgate_dns", "mailgate_borders"):
        say = f"SEEN {group} {{{{ ansible_play_hosts | to_json }}}} {{{{ mailgate_plan.routes | length }}}}"
        plays.append(
            {"hosts": group, "gather_facts": False, "tasks": [{"debug": {"msg": say}}]},
        )
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    return tmp_path


def seen(output):
    found = {}
    for line in output.splitlines():
        if "SEEN" in line:
            group, rest = line.partition("SEEN ")[2].replace("\\", "").rstrip('"').split(" ", 1)
            hosts, _bracket, routes = rest.rpartition(" ")
            found[group] = (json.loads(hosts), int(routes))
    return found


@pytest.mark.parametrize("extra", [[], ["--check", "--diff"]])
def test_hosts_are_grouped_by_what_they_do(grouped, extra):
    status, output = play(grouped, "play.yml", *extra)
    assert status == 0, output
    inner = ["mail.eng", "mech.eng", "civil.eng", "quake", "mail.sci", "bio.sci"]  # files are read by name
    gateways = ["gw2.univ.example", "gw1.univ.example"]
    assert seen(output) == {
        "mailgate_servers:mailgate_gateways": ([f"{name}.univ.example" for name in inner] + gateways, 8),
        "mailgate_gateways": (gateways, 8),
        "mailgate_dns": (["ns1.univ.example"], 8),
        "mailgate_borders": (["border.univ.example"], 8),
    }
    assert "changed=0" in output
    assert "changed=1" not in output
    assert "[WARNING]" not in output


def test_hosts_that_others_maintain_are_in_no_play(grouped):
    groups = small()
    groups["science"]["bio.sci.univ.example"]["mailgate_mta"] = "none"
    groups["borders"]["border.univ.example"]["mailgate_border"] = {"managed": False}
    shutil.rmtree(grouped / "campus")
    write(grouped / "campus", groups)
    plays = yaml.safe_load((grouped / "play.yml").read_text())
    say = "SEEN {{ group_names | sort | join(',') }} {{ ansible_play_hosts | to_json }} 0"
    for group in ("mailgate_destinations", "mailgate_handed_borders"):
        plays.append({"hosts": group, "gather_facts": False, "tasks": [{"debug": {"msg": say}}]})
    (grouped / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    status, output = play(grouped, "play.yml")
    assert status == 0, output
    found = seen(output)
    assert "bio.sci.univ.example" not in found["mailgate_servers:mailgate_gateways"][0]
    assert "mailgate_borders" not in found
    assert found["mailgate_destinations,science"] == (["bio.sci.univ.example"], 0)  # not in mailgate_run
    assert found["borders,mailgate_handed_borders"] == (["border.univ.example"], 0)


def test_a_limit_limits_the_plays_but_not_the_plan(grouped):
    status, output = play(grouped, "play.yml", "--limit", "gw1.univ.example")
    assert status == 0, output
    assert seen(output) == {
        "mailgate_servers:mailgate_gateways": (["gw1.univ.example"], 8),
        "mailgate_gateways": (["gw1.univ.example"], 8),
    }
    assert "[WARNING]" not in output


def test_an_ini_inventory_and_a_failing_template_are_placed_by_the_host_s_line(tmp_path):
    campus = tmp_path / "campus"
    groups = small()
    del groups["research"]
    write(campus, groups)
    (campus / "research").write_text(
        "[research]\n"
        "quake.univ.example ansible_host=198.18.3.40 mailgate_domains=quake.univ.example\n"
        "tide.univ.example ansible_host=198.18.3.41 mailgate_domains=\"['tide.{{ nowhere }}']\"\n"
    )
    status, output = play(tmp_path, PLAN)
    assert status != 0
    assert "'quake.univ.example' is not a list (campus/research:2)" in output
    reason = "'nowhere' is undefined" if HAS_ORIGIN else "undefined variable in 'tide.{{ nowhere }}'"
    assert f"tide.univ.example: mailgate_domains: cannot be read: {reason} (campus/research:3)" in output


def test_misspelt_variables_are_placed_in_the_file_of_their_group(tmp_path):
    groups = small()
    groups["science"][None]["mailgate_hubb"] = "mail.sci.univ.example"
    groups["gateways"]["gw2.univ.example"]["mailgate_gateway"] = {"preferences": 10}
    write(tmp_path / "campus", groups)
    status, output = play(tmp_path, PLAN)
    assert status != 0
    science, gateways = (tmp_path / "campus" / f"{name}.yml" for name in ("science", "gateways"))
    hosts = "mail.sci.univ.example and 1 more" if HAS_ORIGIN else "mail.sci.univ.example"
    hubb = place(science, line_of(science, "mailgate_hubb"), line_of(science, "mail.sci"))
    assert (f"{hosts}: mailgate_hubb: unknown variable ({hubb}). Did you mean mailgate_hub?") in output
    assert (
        "gw2.univ.example: mailgate_gateway: unknown key 'preferences' "
        f"({place(gateways, line_of(gateways, 'preferences'), line_of(gateways, 'gw2'))}). Did you mean preference?"
    ) in output


def test_a_misspelt_variable_does_not_hide_the_problems_of_its_host(tmp_path):
    groups = small()
    mech = groups["engineering"]["mech.eng.univ.example"]
    mech["mailgate_domans"] = [*mech.pop("mailgate_domains"), "bad_.univ.example"]
    del mech["ansible_host"]
    groups["debian"] = {"mech.eng.univ.example": {}, "gw1.univ.example": {}}
    write(tmp_path / "campus", groups)
    status, output = play(tmp_path, PLAN)
    assert status != 0
    assert "4 problems in the inventory" in output
    for message in ("Did you mean mailgate_domains?", "invalid label", "has no address", "could be its faculty"):
        assert message in output


def test_the_whole_proof_in_a_file(tmp_path):
    write(tmp_path / "campus", small())
    proof = tmp_path / "proof.json"
    for args, changed in (("--check",), 1), ((), 1), ((), 0), (("--check",), 0):
        before = proof.stat() if proof.exists() else None
        status, output = play(tmp_path, PLAN, "-e", f"mailgate_plan_proof={proof}", *args)
        assert status == 0, output
        assert f"changed={changed}" in output
        assert proof.exists() == (before is not None or not args)
        if before:
            after = proof.stat()
            assert (after.st_ino, after.st_mtime_ns, after.st_mode) == (
                before.st_ino,
                before.st_mtime_ns,
                before.st_mode,
            )
    assert len(json.loads(proof.read_text())["cases"]) == 7 * 6 * 4
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".ansible")) == [
        "campus",
        "proof.json",
    ]


def test_the_day_can_be_set(tmp_path):
    write(tmp_path / "campus", small())
    (tmp_path / "play.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - campus.mailgate.mail_plan: {today: '{{ day }}'}\n      run_once: true\n"
    )
    assert play(tmp_path, "play.yml", "-e", "day=2099-03-31")[0] == 0
    status, output = play(tmp_path, "play.yml", "-e", "day=2099-04-01")
    assert status != 0
    assert "expired on 2099-03-31" in output
    status, output = play(tmp_path, "play.yml", "-e", "day=tomorrow")
    assert status != 0
    assert "today: 'tomorrow' is not a valid date" in output

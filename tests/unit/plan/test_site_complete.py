# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts site.yml leaves out, by what its first look has found."""

from __future__ import annotations

import json

import pytest
import yaml
from playbook_run import ROOT, run_playbook

VARS = ROOT / "playbooks" / "vars"
NAMES = ("mailgate_site_complete", "mailgate_site_complete_gateways", "mailgate_site_complete_dns",
         "mailgate_site_complete_borders", "mailgate_site_written")  # fmt: skip

pytestmark = pytest.mark.slow


def found(kind="sendmail", problems=(), **reasons):
    return {"mailgate_mta_found": {"kind": kind, "problems": list(problems), "reasons": reasons}}


def system(**reasons):
    return {"mailgate_site_system": {"problem": "", "reasons": reasons}}


HOSTS = {
    "mail": found(sendmail_routes=["nothing was applied yet"]),
    "mail.eng": found(sendmail_routes=[]),
    "pop": found("postfix", postfix_routes=[], sendmail_routes=["nothing was applied yet"]),
    "refused": found(problems=["exim"], sendmail_routes=[]),
    "down": {},
    "gw1": found(sendmail_routes=[], clamav=[], gateway=[]),
    "gw2": found(sendmail_routes=[], clamav=[], gateway=["mailgate.service is ActiveState=failed"]),
    "gw3": found(sendmail_routes=["/etc/mail/access was changed"], clamav=[], gateway=[]),
    "gw4": found(sendmail_routes=[]),
    "ns1": system(bind_mx=[]),
    "ns2": system(bind_mx=["a"]),
    "ns3": found(sendmail_routes=[], bind_mx=[]),
    "border": system(border_firewall=[]),
    "down2": {"mailgate_site_system": {"unreachable": True}},
}


def evaluate(directory, *options):
    """Return what the variables are for these hosts."""
    show = {"ansible.builtin.copy": {"content": "{{ shown | to_json }}", "dest": str(directory / "shown")}}
    play = {
        "hosts": "gw1",
        "gather_facts": False,
        "vars": {"shown": {name: f"{{{{ {name} }}}}" for name in NAMES}},
        "vars_files": [str(VARS / "routes.yml"), str(VARS / "applied.yml")],
        "tasks": [show],
    }
    (directory / "show.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    groups = {
        "mailgate_run": dict.fromkeys(HOSTS),
        "mailgate_gateways": dict.fromkeys(("gw1", "gw2", "gw3", "gw4")),
        "mailgate_dns": dict.fromkeys(("ns1", "ns2", "ns3", "down2")),
    }
    inventory = {"all": {"hosts": HOSTS, "vars": {"ansible_connection": "local"}}}
    inventory |= {group: {"hosts": hosts} for group, hosts in groups.items()}
    (directory / "campus.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    status, output = run_playbook(directory, "-i", "campus.yml", "show.yml", *options)
    assert status == 0, output
    shown = json.loads((directory / "shown").read_text())
    return {name: sorted(shown[name]) for name in NAMES}


def test_hosts_whose_record_is_valid_are_left_out_and_no_others(tmp_path):
    complete = ["gw1", "gw2", "gw4", "mail.eng", "ns3", "pop"]
    assert evaluate(tmp_path) == {
        "mailgate_site_complete": complete,
        "mailgate_site_complete_gateways": ["gw1"],
        "mailgate_site_complete_dns": ["ns1", "ns3"],
        "mailgate_site_complete_borders": ["border"],
        "mailgate_site_written": complete,
    }


def test_a_look_of_an_earlier_phase_counts_no_more(tmp_path):
    shown = evaluate(tmp_path, "-e", "mailgate_site_hosts_systems=!all")
    assert shown["mailgate_site_complete_dns"] == shown["mailgate_site_complete_borders"] == []

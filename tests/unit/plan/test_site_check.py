# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of site.yml that stop before any host is changed, because a domain left the inventory."""

from __future__ import annotations

import shutil
import sys

import pytest
import yaml
from plan_campus import small
from playbook_run import ROOT, run_playbook

from ansible_collections.campus.mailgate.plugins.module_utils._bind.former import Former, as_text, read

SITE = ROOT / "playbooks" / "site.yml"
NS1 = "ns1.univ.example"
FIRST_ROLE = "campus.mailgate.sendmail_routes :"
ZONE = """\
$TTL 3600
@ SOA ns h 7 1 1 1 1
@ NS ns
ns A 198.18.0.53
"""

pytestmark = pytest.mark.slow


def campus(directory, *, reachable=True):
    """Write an inventory whose DNS server is this machine, and its zones, where civil.eng names the gateways."""
    groups = small()
    groups["all"][None]["mailgate_site_former"] = str(directory / "former.json")  # not in this machine's /var/lib
    conf = directory / "named.conf"
    records = {"univ.example": "", "eng.univ.example": "civil MX 0 gw1.univ.example.\n      MX 20 civil\n"}
    statements = []
    for zone, more in records.items():
        (directory / zone).write_text(ZONE + more)
        statements.append(f'zone "{zone}" {{ type primary; file "{directory / zone}"; }};\n')
    conf.write_text("".join(statements))
    ns1 = groups["dns"][NS1]
    ns1["mailgate_dns"]["named_conf"] = str(conf)
    if reachable:
        ns1 |= {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    else:
        ssh = directory / "ssh"
        ssh.write_text("#!/bin/sh\nexit 255\n")  # as for a host that is down
        ssh.chmod(0o755)
        ns1["ansible_ssh_executable"] = str(ssh)
    return groups


def site(directory, groups, *, checks_only=False):
    """Run site.yml without what it needs on the controller; with `checks_only`, the plays before the first change."""
    others = ("Check the prerequisites", "Look at the mail servers and gateways")
    plays = [play for play in yaml.safe_load(SITE.read_text()) if play["name"] not in others]
    first = next(number for number, play in enumerate(plays) if "Install routes" in play["name"])
    for name in ("tasks", "vars"):
        (directory / name).symlink_to(SITE.parent / name)
    playbook = directory / "site.yml"
    playbook.write_text(yaml.safe_dump(plays[:first] if checks_only else plays, sort_keys=False))
    inventory = directory / "campus.yml"
    inventory.write_text(
        yaml.safe_dump(
            {
                group: {"vars": members.get(None, {}), "hosts": {host: own for host, own in members.items() if host}}
                for group, members in groups.items()
            }
        )
    )
    return run_playbook(directory, "-i", inventory, playbook)


@pytest.fixture(autouse=True)
def _bind_tools():
    if not shutil.which("named-checkzone"):
        pytest.skip("named-checkzone is not installed")


def test_a_domain_that_left_stops_the_run_before_any_change(tmp_path):
    groups = campus(tmp_path)
    del groups["engineering"]["civil.eng.univ.example"]
    status, output = site(tmp_path, groups)
    assert status
    assert "civil.eng.univ.example in zone eng.univ.example: MX gw1.univ.example" in output
    assert "mailgate_retired" in output
    assert FIRST_ROLE not in output


def test_a_domain_that_went_to_a_provider_stops_the_run_too(tmp_path):
    groups = campus(tmp_path)
    civil = groups["engineering"]["civil.eng.univ.example"]
    civil["mailgate_domains"] = ["*.eng.univ.example"]
    groups["all"][None]["mailgate_external_domains"] = ["civil.eng.univ.example"]
    status, output = site(tmp_path, groups)
    assert status
    assert "civil.eng.univ.example in zone eng.univ.example: MX gw1.univ.example" in output
    assert "If a provider hosts it now" in output
    assert FIRST_ROLE not in output


@pytest.mark.parametrize("accept", ["", "civil.eng.univ.example"])
def test_a_domain_that_caches_know_stops_the_run_until_no_cache_does(tmp_path, accept):
    groups = campus(tmp_path)
    known = {("eng.univ.example", "", "civil.eng.univ.example"): Former(("gw1.univ.example",), 86400)}
    (tmp_path / "former.json").write_text(as_text(known))
    (tmp_path / "eng.univ.example").write_text(ZONE)  # an admin has removed the records
    del groups["engineering"]["civil.eng.univ.example"]
    groups["all"][None]["mailgate_site_accept"] = accept
    status, output = site(tmp_path, groups, checks_only=True)
    assert ("civil.eng.univ.example in zone eng.univ.example: until 2" in output) == (not accept), output
    assert bool(status) == (not accept)
    assert read((tmp_path / "former.json").read_text()) != known


def test_a_planned_domain_does_not(tmp_path):
    status, output = site(tmp_path, campus(tmp_path), checks_only=True)
    assert not status, output


def test_a_dns_server_that_cannot_be_asked_stops_the_run(tmp_path):
    status, output = site(tmp_path, campus(tmp_path, reachable=False))
    assert status
    assert f"The MX records of {NS1} could not be checked" in output
    assert FIRST_ROLE not in output

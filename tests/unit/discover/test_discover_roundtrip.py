# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory to the zones of its campus and back: the draft says what the inventory output."""

from __future__ import annotations

import dataclasses

import pytest
from discover_campus import DEMO, EXAMPLE, TODAY, facts, load, plan, read, settings, zone_texts

from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.discover import Server, discover
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.draft import files
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.write import write_all
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import PlanRefused
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan

BORDER = """\
      ansible_host: "TODO: name and address of a border router"
      mailgate_border: {outside_interface: "TODO: its external interface"}
"""


# DNS has a second server, but not whether it has the same mailboxes.
SECOND = (
    "emergency.hosp.univ.example has further MX records, omitted here: 10 ward.hosp.univ.example. A server that "
    "has its mailboxes too may list it in mailgate_backup_domains"
)
KEPT = "spamtrap.net.info.univ.example"  # keeps its MX records in all changes


def draft(directory, into, change=lambda zone: zone):
    zones = [change(zone) for zone in read(zone_texts(directory))]
    found = discover(settings(directory), zones)
    write_all(into, files(found))
    return found


def all_gateways(zone):
    """Return the zone after the cut-over: gateways first, the own server last."""
    before = [(0, "gw1.univ.example"), (10, "gw2.univ.example")]
    return with_mx(zone, lambda own: [*before, *((preference + 20, name) for preference, name in own)])


def fallback(zone):
    """Return the zone under O University's order: the own server first."""
    return with_mx(zone, lambda own: [own[0], (10, "gw1.univ.example"), (20, "gw2.univ.example")])


def with_mx(zone, lines):
    changed = {owner: own if owner == KEPT else lines(sorted(own)) for owner, own in zone.mx.items()}
    return dataclasses.replace(zone, mx=changed)


@pytest.mark.parametrize("campus", [EXAMPLE, DEMO], ids=["example", "demo"])
@pytest.mark.parametrize("change", [lambda zone: zone, all_gateways], ids=["before", "after"])
def test_a_campus_comes_back_from_its_zones(campus, change, tmp_path):
    found = draft(campus, tmp_path / "draft", change)
    assert found.questions == []
    second = SECOND if change is not all_gateways else SECOND.replace("10 ward", "30 ward")
    assert found.remarks == ([second] if campus == EXAMPLE else [])
    for kind in ("domains", "gateway", "dns"):
        assert facts(tmp_path / "draft", kind) == facts(campus, kind)
    drafted = sorted(path.relative_to(tmp_path / "draft") for path in (tmp_path / "draft").rglob("*.yml"))
    assert drafted == sorted(path.relative_to(campus) for path in campus.rglob("*.yml"))


def test_a_fallback_order_has_the_same_homes(tmp_path):
    draft(EXAMPLE, tmp_path / "draft", fallback)
    assert facts(tmp_path / "draft", "domains") == facts(EXAMPLE, "domains")
    gateways = facts(tmp_path / "draft", "gateway")
    assert [host["preference"] for host in gateways.values()] == [10, 20]  # as the zones have it


def test_the_completed_draft_has_the_same_routes_and_mx_lines(tmp_path):
    draft(EXAMPLE, tmp_path / "draft")
    campus = tmp_path / "draft" / "campus.yml"
    before = campus.read_text()
    assert BORDER in before
    router = "      ansible_host: 198.18.0.1\n      mailgate_border: {outside_interface: outside0}\n"
    campus.write_text(before.replace(BORDER, router))
    # What the admin knows beyond DNS: who shares mailboxes, and which server is open and keeps its MX.
    complete(
        tmp_path / "draft" / "faculties" / "hospital.yml",
        "ward.hosp.univ.example",
        "mailgate_backup_domains: [emergency.hosp.univ.example]",
    )
    complete(
        tmp_path / "draft" / "faculties" / "informatics.yml",
        KEPT,
        "mailgate_keep_mx: true",
        "mailgate_permit: {reason: study of unsolicited mail, owner: net laboratory, until: 2099-03-31}",
    )
    found, wanted = plan(tmp_path / "draft"), plan(EXAMPLE)
    assert found["routes"] == wanted["routes"]
    assert found["mx"] == wanted["mx"]
    assert found["gateways"] == wanted["gateways"]


def complete(path, host, *lines):
    """Add lines to a host's entry in a draft."""
    before = path.read_text()
    (entry,) = (line for line in before.splitlines() if line == f"    {host}:")
    path.write_text(before.replace(f"{entry}\n", "\n".join([entry, *(f"      {line}" for line in lines), ""])))


def test_the_draft_as_it_is_makes_no_plan(tmp_path):
    draft(EXAMPLE, tmp_path / "draft")
    with pytest.raises(PlanRefused) as refused:
        make_plan(list(load(tmp_path / "draft").values()), TODAY)
    found = [str(problem) for problem in refused.value.problems]
    assert len(found) == 2
    assert [problem.removesuffix(". Replace the TODO with the value") for problem in found] == [
        "TODO.border.univ.example: ansible_host: still to be decided: name and address of a border router",
        "TODO.border.univ.example: mailgate_border: still to be decided: its external interface",
    ]


def test_without_names_for_faculties_each_is_called_by_its_label(tmp_path):
    zones = read(zone_texts(EXAMPLE))
    found = discover(settings(EXAMPLE, faculties={}), zones)
    labels = {host.name.split(".")[-3] for hosts in found.faculties.values() for host in hosts}
    assert set(found.faculties) == labels
    assert len(labels) == 18


def test_a_zone_on_two_servers_is_no_question_while_they_agree():
    zones = read(zone_texts(DEMO))
    twice = (*settings(DEMO).servers, Server("ns2.univ.example", ("univ.example",), address="198.18.0.54"))
    found = discover(settings(DEMO, servers=twice), [*zones, next(z for z in zones if z.zone == "univ.example")])
    assert [host.name for host in found.dns] == ["ns1.univ.example", "ns2.univ.example"]
    assert found.questions == ["dns: ns2.univ.example: its IPv4 address; zone univ.example has none"]

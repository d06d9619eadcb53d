# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names whose MX records lead to a gateway that has no route for them, read by BIND's own programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._bind.server import Bind
from ansible_collections.campus.mailgate.plugins.module_utils._bind.unplanned import (
    Routes,
    find_unplanned,
    owners_of,
)
from ansible_collections.campus.mailgate.plugins.module_utils._zone.file import ZoneError

GATEWAYS = ("gw1.univ.example", "gw2.univ.example.")
ZONE = """\
$TTL 3600
@ SOA ns h 7 1 1 1 1
@ NS ns
ns A 198.18.0.53
gw1 A 198.18.0.25
    MX 0 gw1
mech MX 0 GW1
     MX 10 gw2
     MX 20 mech
*.lab.mech MX 0 gw1
other MX 0 elsewhere.example.
"""


def run(command, data):
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def bind(directory: Path, **zones: str) -> Bind:
    statements = []
    for name, text in zones.items():
        path = directory / name
        path.write_text(text)
        statements.append(f'zone "{name.replace("_", ".")}" {{ type primary; file "{path}"; }};\n')
    statements.append('zone "other.example" { type secondary; primaries { 198.18.0.53; }; };\n')
    conf = directory / "named.conf"
    conf.write_text("".join(statements))
    return Bind(run, str(conf))


def owners(directory: Path, planned: list[str], zones: tuple[str, ...] = ("univ.example",)) -> list[str]:
    found = find_unplanned(bind(directory, univ_example=ZONE), GATEWAYS, Routes.of(planned), zones)
    return [each.owner for each in found.unplanned]


def test_a_domain_that_left_the_plan_is_found(tmp_path):
    assert owners(tmp_path, ["eng.univ.example"]) == ["*.lab.mech.univ.example", "mech.univ.example"]
    lab = Routes.of(["*.lab.mech.univ.example"])
    found = find_unplanned(bind(tmp_path, univ_example=ZONE), GATEWAYS, lab, [])
    text = "mech.univ.example in zone univ.example: MX gw1.univ.example, gw2.univ.example"
    assert list(map(str, found.unplanned)) == [text]
    assert not found.warnings


def test_planned_domains_gateways_and_foreign_mail_servers_are_no_finding(tmp_path):
    assert owners(tmp_path, ["Mech.univ.example.", "*.lab.mech.univ.example"]) == []
    assert owners(tmp_path, ["mech.univ.example", "*.mech.univ.example"]) == []


def test_a_planned_zone_that_cannot_be_read_is_an_error_and_any_other_a_warning(tmp_path):
    broken = bind(tmp_path, univ_example=ZONE, bad_example="nonsense\n")
    with pytest.raises(ZoneError, match=r"zone bad\.example"):
        find_unplanned(broken, GATEWAYS, Routes.of(["*.univ.example"]), ["bad.example"])
    found = find_unplanned(broken, GATEWAYS, Routes.of(["*.univ.example"]), ["univ.example"])
    assert "zone bad.example" in found.warnings[0]


def test_only_mx_records_of_a_gateway_count():
    lines = [
        "example. 3600 IN SOA ns.example. h.example. 1 600 5 5 5",
        "a.example. 3600 IN MX 0 gw1.univ.example.",
        "b.example. 3600 IN MX 0 gw1.other.example.",
        'c.example. 3600 IN TXT "MX 0 gw1.univ.example."',
        "d.example. 3600 IN CNAME gw1.univ.example.",
    ]
    assert owners_of(lines, {"gw1.univ.example"}) == {"a.example": (["gw1.univ.example"], 4200)}


@pytest.mark.parametrize(
    ("owner", "planned", "routed"),
    [
        ("a.b.example", "*.b.example", True),
        ("a.b.example", "*.example", True),
        ("*.b.example", "*.example", True),
        ("*.b.example", "b.example", False),
        ("b.example", "*.b.example", False),
    ],
)
def test_wildcards_cover_the_names_below(owner, planned, routed):
    assert Routes.of([planned]).cover(owner) is routed


@pytest.mark.parametrize(
    ("owner", "routed"),
    [
        ("shop.eng.example", False),
        ("a.lab.eng.example", False),
        ("own.lab.eng.example", True),
        ("other.eng.example", True),
    ],
)
def test_a_domain_that_a_provider_hosts_is_not_routed_by_a_wildcard_above_it(owner, routed):
    routes = Routes.of(["*.eng.example", "own.lab.eng.example"], ["Shop.eng.example.", "*.lab.eng.example"])
    assert routes.cover(owner) is routed


def test_records_that_left_a_zone_count_until_no_cache_has_them(tmp_path):
    lifetime, removed = 3600 + 1, 1_800_000_000
    routes = Routes.of(["*.lab.mech.univ.example"])

    def look(text, earlier, now):
        return find_unplanned(bind(tmp_path, univ_example=text), GATEWAYS, routes, [], earlier=earlier, now=now)

    before = look(ZONE, {}, removed - 100)
    assert not before.cached
    without = ZONE.replace("mech MX 0 GW1\n     MX 10 gw2\n     MX 20 mech", "mech MX 0 mech")
    at_change = look(without, before.former, removed)
    assert not at_change.unplanned
    (mech,) = at_change.cached
    assert mech.until == removed + lifetime
    assert str(mech).endswith(", no longer in the zone, but in caches until 2027-01-15 09:01 UTC")
    assert look(without, at_change.former, removed + lifetime - 1).cached == [mech]
    after = look(without, at_change.former, removed + lifetime)
    assert not after.cached
    assert {owner for _zone, _view, owner in after.former} == {"*.lab.mech.univ.example"}


def test_what_is_known_of_a_zone_stays_while_it_cannot_be_read(tmp_path):
    routes = Routes.of([])
    known = find_unplanned(bind(tmp_path, univ_example=ZONE), GATEWAYS, routes, []).former
    broken = find_unplanned(bind(tmp_path, univ_example="nonsense\n"), GATEWAYS, routes, [], earlier=known, now=9)
    assert broken.former == known
    assert not broken.cached

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: inputs of the cache keys, and selection of the machine's package sources."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab import repository
from lab.image import key
from lab.packages import EXTRA_LAYER_PACKAGES, ROUTER_LAYER_PACKAGES, all_packages, check_suite, extra_groups, groups
from lab.repository import machine_sources, suite_sources
from lab.tools import LabError

DEB822 = """\
Types: deb
# a comment within
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb-src
URIs: http://mirror.test/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://old.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian-security bookworm-security main
deb http://other.test/apt cloud-bookworm main
deb-src http://mirror.test/debian bookworm main
"""


def test_only_the_suite_and_its_updates_are_used():
    assert suite_sources([DEB822, ONE_LINE], "bookworm") == (
        "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian.gpg\n"
        "\n"
        "Types: deb\nURIs: http://mirror.test/debian-security\nSuites: bookworm-security\nComponents: main\n"
        "Signed-By: /k.gpg\n"
    )


def test_another_suite_finds_nothing():
    assert suite_sources([DEB822, ONE_LINE], "trixie") == ""


def test_every_part_changes_the_key():
    keys = {key("a", ["b"], "c"), key("a", ["b", "c"]), key("ab", [], "c"), key("a", ["b"], "d")}
    assert len(keys) == 4


def test_the_repository_has_the_packages_of_roles_and_layers():
    assert {"sendmail-bin", "bind9", "clamav-daemon", "iptables-persistent", "python3-apt"} <= set(all_packages())


@pytest.mark.parametrize(("suite", "own"), [("trixie", "bookworm"), ("bookworm", "trixie")])
def test_another_suite_comes_from_the_same_mirror(suite: str, own: str, monkeypatch: pytest.MonkeyPatch):
    found = suite_sources([DEB822, ONE_LINE], "bookworm")
    monkeypatch.setattr(
        repository, "suite_sources", lambda _texts, name: found.replace("bookworm", own) * (name == own)
    )
    assert machine_sources(suite) == found.replace("bookworm", suite)


def test_what_roles_install_instead_of_sendmail_is_resolved_apart():
    assert all({"postfix", "sendmail-bin"} - set(group) for group in groups())
    assert any("postfix" in group for group in groups())


def test_the_store_of_a_suite_is_in_its_repository():
    assert "redis-tools" in all_packages("bookworm") and "redis-tools" not in all_packages("trixie")
    assert "valkey-tools" in groups("trixie")[0]


def test_an_unknown_suite_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match="'sid' is unknown; use one of bookworm, trixie"):
        check_suite("sid")


def test_each_neighbour_of_the_border_has_a_layer():
    scenario = Path(__file__).parents[3] / "molecule" / "border_neighbours"
    layers = [yaml.safe_load(path.read_text())["layer"] for path in (scenario / "neighbours").glob("*.yml")]
    assert sorted(layers) == sorted(set(ROUTER_LAYER_PACKAGES))


def test_extra_layers_that_exclude_each_other_are_resolved_apart():
    found = [set(group) for group in extra_groups()]
    for one, other in (("postfix", "exim4-daemon-light"), ("ufw", "iptables-persistent")):
        assert all({one, other} - group for group in found)
    assert set().union(*found) >= {name for packages in EXTRA_LAYER_PACKAGES.values() for name in packages}

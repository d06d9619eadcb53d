# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook as it is run: files in, draft out, nothing overwritten, all problems at once."""

from __future__ import annotations

import pytest
import yaml
from discover_campus import DEMO, facts, faculties, zone_texts
from playbook_run import ROOT, run_playbook

PLAYBOOK = ROOT / "playbooks" / "discover.yml"

pytestmark = pytest.mark.slow


@pytest.fixture
def variables(tmp_path):
    """Variables of the playbook for the demo campus, its zones in files beside them."""
    servers = []
    for host, texts in zone_texts(DEMO).items():
        for zone, text in texts.items():
            (tmp_path / f"{zone}.zone").write_text(text)
        servers.append({"host": host, "zones": list(texts), "files": {zone: f"{zone}.zone" for zone in texts}})
    return {
        "domain": "univ.example",
        "name": "Example University",
        "servers": servers,
        "gateways": ["gw1.univ.example", "gw2.univ.example"],
        "networks": ["198.18.0.0/16", "2001:db8:18::/48"],
        "faculties": faculties(DEMO),
        "directory": "draft",
    }


def play(directory, variables, *args):
    prefixed = {f"mailgate_discover_{name}": value for name, value in variables.items()}
    (directory / "vars.yml").write_text(yaml.safe_dump(prefixed))
    return run_playbook(directory, "-i", "localhost,", PLAYBOOK, "-e", "@vars.yml", *args)


def test_a_draft_is_shown_then_written_then_left_alone(variables, tmp_path):
    status, output = play(tmp_path, variables, "--check", "--diff")
    assert status == 0, output
    assert "changed=1" in output
    assert "+    mail.eng.univ.example:" in output
    assert not (tmp_path / "draft").exists()

    status, output = play(tmp_path, variables)
    assert status == 0, output
    assert "2 zones read: 8 mail domains on 7 servers in 3 faculties." in output
    for kind in ("domains", "gateway", "dns"):
        assert facts(tmp_path / "draft", kind) == facts(DEMO, kind)

    status, output = play(tmp_path, variables)
    assert status == 0, output
    assert "changed=0" in output


def test_files_that_differ_are_overwritten_only_on_request(variables, tmp_path):
    assert play(tmp_path, variables)[0] == 0
    mine = tmp_path / "draft" / "faculties" / "engineering.yml"
    mine.write_text("engineering: mine\n")
    (tmp_path / "draft" / "campus.yml").unlink()

    status, output = play(tmp_path, variables)
    assert status == 2
    assert "these files exist and differ" in output
    assert str(mine) in output
    assert mine.read_text() == "engineering: mine\n"
    assert not (tmp_path / "draft" / "campus.yml").exists()

    mine.with_name("old.yml").write_text("old: {}\n")
    status, output = play(tmp_path, {**variables, "overwrite": True})
    assert status == 0, output
    assert f"{mine.with_name('old.yml')} is part of the inventory, but not of this draft" in output
    assert "mail.eng.univ.example" in mine.read_text()
    assert (tmp_path / "draft" / "campus.yml").exists()


def test_all_problems_are_reported_at_once_and_no_secret_is_shown(variables, tmp_path):
    (tmp_path / "eng.univ.example.zone").write_text("nothing\n")
    variables["networks"] = ["198.18.0.1/16"]
    variables["faculties"] = {"eng.univ.example": "an engineering"}
    variables["gateways"] = ["gw1"]
    secret = "dGhlLXNlY3JldA=="
    variables["servers"] += [
        {"host": "ns2.univ.example", "zones": ["sci.univ.example"]},
        {"host": "ns3.univ.example", "zones": ["law.univ.example"], "key_file": "no.key"},
        {
            "host": "ns4.univ.example",
            "address": "127.0.0.1",
            "port": 9,
            "zones": ["med.univ.example"],
            "key": {"name": "campus", "secret": secret},
        },
    ]
    status, output = play(tmp_path, variables, "-vvv")
    assert status == 2
    for problem in (
        "networks: '198.18.0.1/16' is not a valid network",
        "faculties: eng.univ.example: 'an engineering' is not a valid group name",
        "gateways: 'gw1' has no dot",
        "servers: ns1.univ.example: zone eng.univ.example: ",
        "servers: ns2.univ.example: set its address, or files for all of its zones",
        "servers: ns3.univ.example: ",
        "servers: ns4.univ.example: zone med.univ.example: ",
    ):
        assert problem in output
    assert secret not in output
    assert not (tmp_path / "draft").exists()

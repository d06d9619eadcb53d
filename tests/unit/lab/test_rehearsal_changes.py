# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes during a rehearsal: which domain moves, which server is renumbered, and what an admin types for it."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lab.inventory import Host, Inventory
from lab.rehearsal import changes, prepare, steps
from lab.tools import LabError


def host(name: str, address: str, *domains: str, **facts) -> Host:
    return Host(name, name.split(".", maxsplit=1)[0], IPv4Address(address), domains=domains, faculty="eng", **facts)


HUB = host("mail.eng.example", "198.18.1.25", "eng.example", "old.eng.example")
ONE = host("mech.eng.example", "198.18.1.30", "mech.eng.example", "*.lab.eng.example")
TWO = host("arch.eng.example", "198.18.1.31", "arch.eng.example", "design.eng.example")
NS = Host("ns.example", "ns", IPv4Address("198.18.0.53"), zones=("example",))
HOSTS = (HUB, ONE, TWO, NS)


def test_a_domain_moves_that_is_no_wildcard(tmp_path: Path):
    change = changes.move(tmp_path, HOSTS, [HUB.name])
    there, back = change.steps
    assert change.homes == {"design.eng.example": "mech"}
    assert json.loads(Path(there.changes[0]).read_text())["all"]["hosts"] == {
        TWO.name: {"mailgate_domains": ["arch.eng.example"]},
        ONE.name: {"mailgate_domains": ["mech.eng.example", "*.lab.eng.example", "design.eng.example"]},
    }
    assert (there.playbook, back.playbook, back.changes) == ("playbooks/site.yml", "playbooks/site.yml", ())


def test_no_domain_can_move(tmp_path: Path):
    with pytest.raises(LabError, match="domain-moves: no faculty has two servers with sendmail"):
        changes.move(tmp_path, (HUB, TWO, NS), [HUB.name])


def test_a_server_gets_a_free_address_of_its_network(tmp_path: Path):
    there, back = changes.renumber(tmp_path, (*HOSTS, host("x.example", "198.18.1.90")), [HUB.name]).steps
    assert json.loads(Path(there.changes[0]).read_text())["all"]["hosts"] == {
        ONE.name: {"mailgate_address": "198.18.1.91"}
    }
    assert [where for where, _ in there.commands] == ["mech", "ns"]
    assert [where for where, _ in back.commands] == ["ns"]


def test_address_and_serial_are_changed_in_the_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "ZONES", str(tmp_path))
    zone = tmp_path / "example.zone"
    zone.write_text("@ IN SOA ns h (\n 2026041501 ; serial\n 60 )\nmech IN A 198.18.1.30\nnear IN A 198.18.1.3\n")
    other = tmp_path / "other.zone"
    other.write_text("@ IN SOA ns h (\n 5 ; serial\n 60 )\n")
    command = changes._readdress("198.18.1.30", "198.18.1.91").replace("'rndc', 'reload'", "'true'")
    subprocess.run(["sh", "-eu", "-c", command], check=True)
    assert zone.read_text() == (
        "@ IN SOA ns h (\n 2026041502 ; serial\n 60 )\nmech IN A 198.18.1.91\nnear IN A 198.18.1.3\n"
    )
    assert " 5 ; serial" in other.read_text()


def test_one_run_has_all_phases_in_order():
    (there, *back) = steps.at_once()
    assert [there.name, *(name for _, name in there.parts)] == list(steps.FORWARD)
    assert [name for step in back for name in (step.name, *(each for _, each in step.parts))] == [
        "back to mx", "back to gateways", "back to routes", "back to survey",
    ]  # fmt: skip


def test_parts_are_plays_of_the_playbooks():
    playbooks = Path(steps.__file__).parents[2] / "playbooks"
    text = "".join(path.read_text() for path in playbooks.rglob("*.yml"))
    for step in steps.at_once():
        for marker, _ in step.parts:
            assert f"- name: {marker.removeprefix('PLAY [').removesuffix(']')}\n" in text


def test_something_fails_in_a_task_of_the_roles():
    top = Path(steps.__file__).parents[2]
    for step in steps.all_steps(once=False):
        role, _, task = step.marker.removeprefix("TASK [").removesuffix("]").rpartition(" : ")
        places = [top / "roles" / role.removeprefix("campus.mailgate.") / "tasks"] if role else [top / "playbooks"]
        texts = [path.read_text() for place in places for path in place.rglob("*.yml")]
        assert any(f"- name: {task}\n" in text for text in texts), step.marker


def test_changes_are_made_between_forward_and_back():
    pair = (steps.Step("move", "site"), steps.Step("move back", "site"))
    names = [step.name for step in steps.all_steps(once=False, changes=[pair])]
    assert names[6:10] == ["block", "move", "move back", "back to observe"]


def test_recipients_of_wildcards_and_servers_of_others():
    assert prepare.concrete("*.lab.eng.example") == "pc1.lab.eng.example"
    assert prepare.concrete("eng.example") == "eng.example"


def test_each_server_is_prepared_by_what_it_runs():
    postfix = host("cs.info.example", "198.18.14.30", "cs.info.example", "*.cs.info.example", mta="postfix")
    commands = prepare.commands(Inventory((HUB, postfix, ONE, NS)))
    assert "postconf -e myhostname=cs.info.example" in commands["cs"]
    assert "'mydestination = cs.info.example, pc1.cs.info.example, localhost'" in commands["cs"]
    assert "sendmail.mc" not in commands["cs"]
    assert all("sendmail.mc" in commands[short] and "postconf" not in commands[short] for short in ("mail", "mech"))
    places = ("{own}", "{family}", "{wildcards}", "{name}", "{domains}", "{domain}", "{protocols}")
    assert not [place for text in commands.values() for place in places if place in text]


def test_some_servers_have_tables_of_their_own():
    many = [host(f"s{n}.eng.example", f"198.18.1.{n}", f"s{n}.eng.example") for n in range(30, 40)]
    commands = prepare.commands(Inventory(tuple(many)))
    own = [short for short, text in commands.items() if "partner.example" in text]
    assert 1 < len(own) < len(many)

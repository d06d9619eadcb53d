# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about what DNS does not determine name the domain, and no plan is made from them."""

from __future__ import annotations

import ipaddress

import pytest
from discover_campus import TODAY, load

from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.discover import Server, Settings, discover
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.draft import files
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.write import write_all
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.zone import parse
from ansible_collections.campus.mailgate.plugins.plugin_utils._inventory.problems import PlanRefused
from ansible_collections.campus.mailgate.plugins.plugin_utils._pipeline import make_plan

HEAD = """\
$TTL 3600
@ SOA ns1.univ.example. hostmaster.univ.example. 1 3600 600 86400 60
  NS ns1.univ.example.
"""
CAMPUS = """\
ns1 A 198.18.0.53
gw1 A 198.18.0.25
mail.eng A 198.18.1.25
mail.sci A 198.18.2.25
"""


def decide(records, zones=("univ.example",), **more):
    """Return the draft of a campus with these records in univ.example, and `more` of its settings."""
    chosen = {
        "domain": "univ.example",
        "name": "University",
        "servers": (Server("ns1.univ.example", tuple(zones)),),
        "gateways": ("gw1.univ.example",),
        "networks": (ipaddress.ip_network("198.18.0.0/16"), ipaddress.ip_network("2001:db8:18::/48")),
    }
    texts = records if isinstance(records, dict) else {"univ.example": CAMPUS + records}
    read = [parse(HEAD + text, zone) for zone, text in texts.items()]
    return discover(Settings(**(chosen | more)), read)


QUESTIONS = [
    (
        "eng MX 10 mail.eng\n MX 10 mail.sci\n",
        "eng: TODO.eng.univ.example: eng.univ.example: which is its final server? Of equal preference 10 are "
        "mail.eng.univ.example, mail.sci.univ.example",
    ),
    (
        "*.lab.eng MX 5 gw1\n",
        "eng: TODO.lab.eng.univ.example: *.lab.eng.univ.example: which is its final server? Its MX records name "
        "gateways only",
    ),
    (
        "eng MX 0 mx.eng\nmx.eng CNAME mail.eng\n",
        "eng: mx.eng.univ.example: mx.eng.univ.example is an alias (CNAME) of mail.eng.univ.example, which MX "
        "records must not name",
    ),
    (
        "eng MX 0 out.eng\nout.eng A 203.0.113.5\n",
        "eng: out.eng.univ.example: 203.0.113.5 is outside the networks of the campus",
    ),
    ("eng MX 0 lost.eng\n", "eng: lost.eng.univ.example: its IPv4 address; zone univ.example has none"),
    (
        "eng MX 0 two.eng\ntwo.eng A 198.18.1.9\ntwo.eng A 198.18.1.10\n",
        "eng: two.eng.univ.example: one of 198.18.1.10, 198.18.1.9",
    ),
    (
        "eng MX 0 mail.eng\nmail.eng AAAA 2001:db8:18:1::1\nmail.eng AAAA 2001:db8:18:1::2\n",
        "eng: mail.eng.univ.example: one of 2001:db8:18:1::1, 2001:db8:18:1::2",
    ),
    (
        "eng MX 0 mx.partner.example.\n",
        "eng: mx.partner.example: its address; mx.partner.example is not in a zone that was read",
    ),
    (
        "eng MX 0 198.18.1.25.\n",
        "eng: TODO.eng.univ.example: eng.univ.example: which is its final server? '198.18.1.25' is not a "
        "valid host name",
    ),
    (
        "my_lab.eng MX 0 mail.eng\n",
        "eng: TODO.my-lab.eng.univ.example: my_lab.eng.univ.example: its name is not a valid mail domain: rename it, "
        "or delete this entry",
    ),
    ("eng MX 0 big\nsci MX 0 big\nbig A 198.18.0.9\n", "undecided: big.univ.example: of which faculty? 198.18.0.9"),
    (
        "geo.sci NS ns.geo.sci\nns.geo.sci A 198.18.2.53\n",
        "dns: TODO.geo.sci.univ.example: read the zone geo.sci.univ.example too (from ns.geo.sci.univ.example), or "
        "delete this entry",
    ),
    (
        "eng MX 20 gw1\neng MX 30 mail.eng\nsci MX 10 gw1\nsci MX 30 mail.sci\n",
        "gateways: gw1.univ.example: one of 10, 20",
    ),
]


@pytest.mark.parametrize(("records", "question"), QUESTIONS)
def test_what_is_not_settled_is_asked_and_refused_by_the_plan(records, question, tmp_path):
    found = decide(records)
    assert found.questions == [question]
    write_all(tmp_path / "draft", files(found))
    with pytest.raises(PlanRefused) as refused:
        make_plan(list(load(tmp_path / "draft").values()), TODAY)
    asked = question.split(": ", 2)[2]
    (problem,) = (each for each in refused.value.problems if each.message.endswith(asked))
    assert problem.message.startswith("still to be decided: ")
    assert "TODO.border" not in problem.host


def test_two_servers_that_do_not_agree():
    first, second = (parse(HEAD + CAMPUS + more, "univ.example") for more in ("", "eng MX 0 mail.eng\n"))
    servers = tuple(Server(name, ("univ.example",)) for name in ("ns1.univ.example", "ns2.univ.example"))
    found = discover(Settings("univ.example", "University", servers), [first, second])
    assert (
        "dns: TODO.univ.example: the servers of zone univ.example have different records: which are correct?"
        in found.questions
    )


def test_two_questions_of_one_name_have_an_entry_each():
    found = decide("eng MX 0 gw1\n*.eng MX 0 gw1\n")
    assert [host.name for host in found.faculties["eng"]] == ["TODO.eng.univ.example", "TODO2.eng.univ.example"]
    assert [host.domains for host in found.faculties["eng"]] == [["eng.univ.example"], ["*.eng.univ.example"]]


@pytest.mark.parametrize("label", ["{{lookup('pipe','id')}}", "x: y", "a#b", '"', "a\\010b", "\\255\\254"])
def test_names_in_dns_can_neither_run_nor_break_anything(label, tmp_path):
    escaped = "".join(f"\\{char}" if char in "\"';(){}@ " else char for char in label)
    found = decide(f"{escaped}.eng MX 0 mail.eng\neng MX 0 {escaped}.eng\nsci MX 0 mail.sci\nsci MX 9 {escaped}.sci\n")
    assert len(found.questions) == 2
    assert len(found.remarks) == 1
    write_all(tmp_path / "draft", files(found))
    for path in (tmp_path / "draft").rglob("*.yml"):
        text = path.read_text()
        assert "{{" not in text
        assert "lookup('" not in text
        assert text.isascii()
    domains = {name: host.variables.get("mailgate_domains") for name, host in load(tmp_path / "draft").items()}
    assert domains["mail.sci.univ.example"] == ["sci.univ.example"]


def homes(found):
    return {host.name: host.domains for hosts in found.faculties.values() for host in hosts}


def test_the_final_server_has_the_lowest_preference_of_servers_and_others_are_remarks():
    found = decide("eng MX 0 gw1\neng MX 10 mail.eng\neng MX 20 mail.sci\n")
    assert homes(found) == {"mail.eng.univ.example": ["eng.univ.example"]}
    assert found.questions == []
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith(
        "eng.univ.example has further MX records, omitted here: 20 mail.sci.univ.example"
    )
    assert "# eng.univ.example has further MX" in files(found)["faculties/eng.yml"]


def test_a_domain_that_takes_no_mail_is_reported_and_left_out():
    found = decide("www MX 0 .\neng MX 0 mail.eng\n")
    assert homes(found) == {"mail.eng.univ.example": ["eng.univ.example"]}
    assert found.remarks == ["www.univ.example accepts no mail (null MX)"]


def test_each_name_is_taken_from_the_zone_that_is_responsible_for_it():
    parent = CAMPUS + "eng NS ns1\nmail.eng A 198.18.9.9\nold.eng MX 0 mail.sci\nsci MX 0 mail.eng\n"
    child = "@ MX 0 mail\nmail A 198.18.1.25\n"
    found = decide({"univ.example": parent.replace("mail.eng A 198.18.1.25\n", ""), "eng.univ.example": child})
    assert homes(found) == {"mail.eng.univ.example": ["eng.univ.example", "sci.univ.example"]}
    assert found.faculties["eng"][0].address == "198.18.1.25"


def test_delegations_that_hold_no_mail_are_not_asked_for():
    found = decide("_msdcs.eng NS ns1\ngeo NS ns1\nx.geo NS ns1\n")
    assert [question.split(":")[1].strip() for question in found.questions] == ["TODO.geo.univ.example"]


def test_faculties_are_known_by_server_then_by_domains():
    records = "hub A 198.18.0.7\nlib A 198.18.0.8\nalumni MX 0 mail.sci\nlaw MX 0 hub\n*.law MX 0 hub\nlib MX 0 lib\n"
    found = decide(records)
    assert {group: [host.name for host in hosts] for group, hosts in found.faculties.items()} == {
        "sci": ["mail.sci.univ.example"],
        "law": ["hub.univ.example"],
        "lib": ["lib.univ.example"],
    }


def test_the_admin_can_say_which_faculty_it_is():
    records = "@ MX 0 mx\nmx A 198.18.0.7\nmath.sci MX 0 m.math.sci\nm.math.sci A 198.18.2.9\nsci MX 0 mail.sci\n"
    mapping = {"mx.univ.example": "centre", "sci.univ.example": "science", "math.sci.univ.example": "mathematics"}
    found = decide(records, faculties=mapping)
    assert {group: [host.name for host in hosts] for group, hosts in found.faculties.items()} == {
        "centre": ["mx.univ.example"],
        "mathematics": ["m.math.sci.univ.example"],
        "science": ["mail.sci.univ.example"],
    }


def test_international_names_are_written_as_people_do(tmp_path):
    records = "xn--wgv71a119e.lit MX 0 m.xn--wgv71a119e\nm.xn--wgv71a119e A 198.18.3.4\nxn--zzzzzz.lit MX 0 mail.sci\n"
    found = decide(records)
    texts = files(found)
    assert "mailgate_domains: [日本語.lit.univ.example]" in texts["faculties/日本語.yml"]
    assert "xn--zzzzzz.lit.univ.example" in texts["faculties/sci.yml"]  # no A-label of anything
    write_all(tmp_path / "draft", texts)
    assert "日本語" in load(tmp_path / "draft")["m.xn--wgv71a119e.univ.example"].groups


def test_planned_gateways_need_no_records_yet():
    found = decide("eng MX 0 mail.eng\n", gateways=("gw1.univ.example", "gw2.univ.example"))
    assert [(host.name, host.preference) for host in found.gateways] == [
        ("gw1.univ.example", 0),
        ("gw2.univ.example", 10),
    ]
    assert found.questions == ["gateways: gw2.univ.example: its IPv4 address; zone univ.example has none"]


def test_a_campus_without_gateways_or_known_networks_is_left_to_fill(tmp_path):
    found = decide("eng MX 0 mail.eng\n", gateways=(), networks=())
    write_all(tmp_path / "draft", files(found))
    with pytest.raises(PlanRefused) as refused:
        make_plan(list(load(tmp_path / "draft").values()), TODAY)
    reported = "\n".join(map(str, refused.value.problems))
    assert "all: mailgate_networks: still to be decided: the networks of the campus" in reported
    assert "ansible_host: still to be decided: name and address of a gateway" in reported


def test_a_dns_server_that_is_a_home_too_is_one_host():
    found = decide("eng MX 0 ns1\n", servers=(Server("ns1.univ.example", ("univ.example",), "", "/etc/named.conf"),))
    assert found.dns == []
    text = files(found)["faculties/eng.yml"]
    assert "    ns1.univ.example:\n      ansible_host: 198.18.0.53\n" in text
    assert "      mailgate_dns:\n        named_conf: /etc/named.conf\n        zones: [univ.example]\n" in text

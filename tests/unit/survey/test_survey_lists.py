# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three lists: what makes a host ready, what is a conflict, and what prevents any change."""

from __future__ import annotations

import copy
import json

import pytest
import yaml
from survey_host import Machine

from ansible_collections.campus.mailgate.plugins.module_utils._survey.host import Question
from ansible_collections.campus.mailgate.plugins.module_utils._survey.host import survey as ask
from ansible_collections.campus.mailgate.plugins.plugin_utils._discover.draft import scalar
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.survey.additions import additions, as_yaml
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.survey.judge import known_of
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.survey.page import (
    as_html,
    as_json,
    as_text,
    survey,
)
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations

HOST = "mail.eng.univ.example"
PLAN = {
    "campus": {"name": "Example University", "language": "en"},
    "hosts": {HOST: {"kinds": ["servers"]}},
    "routes": [{"domain": domain} for domain in ("eng.univ.example", "old.example", "club.example")],
    "warnings": [],
}
ENGLISH = translations("en")


@pytest.fixture
def answer(tmp_path):
    """Return the answer of a sendmail that listens on all addresses, to a plan that it agrees with."""
    machine = Machine(tmp_path)
    machine.sendmail()
    listening = "   0: 00000000:0019 00000000:0000 0A 0:0 00:0 0     0        0 4711 1 0 100 0 0 10 0"
    machine.file("proc/net/tcp", f"  sl  local_address rem_address   st\n{listening}\n")
    process = machine.root / "proc/77"
    (process / "fd").mkdir(parents=True)
    (process / "fd/3").symlink_to("socket:[4711]")
    (process / "exe").symlink_to("/usr/lib/sm.bin/sendmail")
    (process / "cmdline").write_bytes(b"sendmail: MTA: accepting connections\0")
    facts = ask(Question(["servers"], table={"local": ["eng.univ.example"]}), machine.reader())
    facts["system"]["root"] = True
    return {
        "host": HOST,
        "functions": ["servers"],
        "said": "",
        "domains": ["eng.univ.example"],
        "faculty": "engineering",
        "zones": [],
        "banners": [{"address": "198.18.1.25", "code": 220, "text": "ready", "extensions": [], "error": ""}],
        "facts": facts,
        "unreachable_reason": "",
    }


def verdict(answer, plan=None):
    return survey(PLAN if plan is None else plan, [answer]).verdicts[0]


def issues(answer, plan=None):
    return [f"{each.sentence(ENGLISH)} / {each.advice(ENGLISH)}" for each in verdict(answer, plan).issues]


def test_a_host_that_is_ready(answer):
    assert issues(answer) == []
    assert verdict(answer).list_name == "ready"
    facts = [each.sentence(ENGLISH) for each in verdict(answer).facts]
    assert facts[0] == "Its routes are those of the plan"
    assert any(each.startswith("Takes mail for localhost, mail.eng.univ.example, eng.univ.example") for each in facts)
    assert "Port 25 of 198.18.1.25 answers the controller: 220 ready" in facts


def change(path, value):
    def apply(answer):
        *parents, last = path.split(".")
        place = answer
        for name in parents:
            place = place[name]
        place[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "listed", "text"),
    [
        ("unreachable_reason", "Connection timed out", "cannot", "cannot be asked: Connection timed out"),
        ("facts.system.version", "11", "cannot", "Debian GNU/Linux 12 (bookworm), is not supported"),
        ("facts.system.root", False, "cannot", "not asked as root"),
        (
            "facts.mta.problems",
            ["mailgate_mta is sendmail, but exim is on this host"],
            "cannot",
            "exim is on this host",
        ),
        ("facts.mail.source", "", "cannot", "has no sendmail.mc beside it"),
        ("facts.mail.old_form", "/etc/mail/sendmail.def", "conflicts", "package CF (/etc/mail/sendmail.def"),
        ("facts.mta.listens", ["127.0.0.1:25", "[::1]:25"], "conflicts", "accepts mail from itself only"),
        ("facts.mail.relays_from", ["0.0.0.0/0"], "conflicts", "relays for everybody"),
        ("facts.mail.local", ["eng.univ.example", "museum.example"], "conflicts", "takes mail for museum.example"),
        ("facts.mail.virtual", ["shop.example"], "conflicts", "takes mail for shop.example"),
        ("facts.queue", {"messages": 4000, "more": False}, "conflicts", "4000 messages"),
        (
            "facts.firewall",
            [{"address": "198.18.0.25", "fate": "blocked", "rules": ["-A INPUT -j DROP"], "outside": False}],
            "conflicts",
            "blocks port 25 from 198.18.0.25: -A INPUT -j DROP",
        ),
        (
            "facts.changes.conflicts",
            [{"kind": "route", "domain": "a.example", "theirs": "smtp:[x]", "ours": "[198.18.2.25]"}],
            "conflicts",
            "'a.example smtp:[x]' contradicts the planned one, [198.18.2.25]",
        ),
        ("facts.refusal", "sendmail.cf differs", "conflicts", "refuses its mail configuration: sendmail"),
        ("facts.notes", ["dns cannot be read: OSError"], "conflicts", "dns cannot be read"),
        ("facts.missed", ["named -V"], "conflicts", "took too long: named -V"),
    ],
)
def test_what_decides_about_the_list(answer, path, value, listed, text):
    change(path, value)(answer)
    if path == "unreachable_reason":
        answer["facts"] = {}
    assert verdict(answer).list_name == listed
    found = issues(answer)
    assert len(found) == 1
    assert text in found[0]


def test_a_server_of_others_is_listed_with_its_banner(answer):
    answer |= {"said": "none", "foreign": True, "facts": {}}
    assert verdict(answer).list_name == "ready"
    answer["banners"] = [{"address": "198.18.1.25", "code": 0, "text": "", "extensions": [], "error": "timed out"}]
    assert verdict(answer).list_name == "conflicts"
    assert "does not answer the controller: timed out" in issues(answer)[0]


@pytest.mark.parametrize("name", ["localhost", "localhost.eng.univ.example", "mail.localdomain", "[198.18.1.25]", HOST])
def test_names_of_the_host_itself_are_known(answer, name):
    answer["facts"]["mail"]["local"] = [name]
    assert issues(answer) == []


def test_a_wildcard_knows_the_names_below_it(answer):
    answer["facts"]["mail"]["local"] = ["a.lab.univ.example"]
    assert issues(answer) != []
    assert issues(answer, {**PLAN, "routes": [*PLAN["routes"], {"domain": "*.lab.univ.example"}]}) == []


def test_dns(answer):
    zone = {
        "name": "univ.example", "view": "", "kind": "primary", "dynamic": "update-policy", "signed": True,
        "primaries": [], "obstacle": "", "name_servers": ["ns1.univ.example", "ns.other.example"],
    }  # fmt: skip
    answer |= {"functions": ["dns"], "zones": ["univ.example"]}
    answer["facts"] = {"system": answer["facts"]["system"], "dns": {"zones": [zone], "views": [], "missing": []}}
    assert verdict(answer).list_name == "ready"
    facts = [each.sentence(ENGLISH) for each in verdict(answer).facts]
    assert "Zone univ.example: primary, dynamic, DNSSEC; name servers ns1.univ.example, ns.other.example" in facts
    answer["facts"]["dns"]["zones"] = [{**zone, "view": "a"}, {**zone, "view": "b"}]
    assert "bind_mx_views" in issues(answer)[0]
    answer["facts"]["dns"]["zones"] = [{**zone, "kind": "secondary", "obstacle": "it is secondary"}]
    assert verdict(answer).list_name == "cannot"
    answer["facts"]["dns"] = {"zones": [], "missing": ["univ.example"]}
    assert "It does not serve univ.example" in issues(answer)[0]


def test_a_gateway_without_memory(answer):
    answer["functions"] = ["gateways"]
    answer["facts"]["gateway"] = {"clamd_conf": True, "clamd_socket": ""}
    answer["facts"]["system"] |= {"memory": 1024, "disk": 50_000}
    assert "1024 MiB of memory, less than 2000" in issues(answer)[0]


def test_without_a_plan_the_problems_are_on_the_page(answer):
    plan = {"failed": True, "msg": "2 problems", "problems": ["a: x", "b: <y>"]}
    del answer["facts"]["changes"]
    found = survey(plan, [answer])
    assert "  - a: x" in as_text(found, ENGLISH)
    assert "<li>b: &lt;y&gt;</li>" in as_html(found, ENGLISH)
    data = json.loads(as_json(found, ENGLISH))
    assert (data["planned"], data["problems"]) == (False, ["a: x", "b: <y>"])
    # old.example and club.example are known from the plan only.
    assert data["lists"] == {"ready": [], "conflicts": [HOST], "cannot": []}


def test_additions_for_the_inventory(answer):
    answer["facts"]["mail"]["local"].append("museum.example")
    other = {**copy.deepcopy(answer), "host": "exim.univ.example", "domains": []}
    other["facts"] |= {"mta": {"kind": "exim", "problems": ["x"]}, "mail": {"local": [], "virtual": []}}
    border = {**copy.deepcopy(answer), "host": "border.univ.example", "functions": ["borders"], "domains": []}
    border["facts"]["router"] = {"default": "wan0", "undecided": True}
    answers = [answer, other, border]
    found = survey(PLAN, answers)
    text = as_yaml(additions(found.verdicts, known_of(answers, PLAN)), scalar)
    assert yaml.safe_load(text)["all"]["hosts"] == {
        HOST: {"mailgate_mta": "sendmail", "mailgate_domains": ["eng.univ.example", "museum.example"]},
        "exim.univ.example": {"mailgate_mta": "none"},
        "border.univ.example": {"mailgate_border": {"outside_interface": "wan0"}},
    }
    assert yaml.safe_load(as_yaml({}, scalar)) == {"all": {}}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_page_of_142_hosts_takes_about_a_second(answer, language, cpu_seconds):
    answers = []
    for number in range(142):
        each = copy.deepcopy(answer)
        each["host"] = f"mail{number}.univ.example"
        each["facts"]["mail"]["local"] = ["eng.univ.example"]
        if number % 3 == 1:
            each["facts"]["mail"]["local"] = [f"old{number}.{n}.example" for n in range(60)]
        if number % 3 == 2:
            each |= {"facts": {}, "unreachable_reason": "Connection timed out"}
        answers.append(each)
    forms = []

    def make() -> None:
        found = survey({**PLAN, "campus": {"name": "X", "language": language}}, answers)
        catalog = translations(language)
        forms.extend(form(found, catalog) for form in (as_html, as_text, as_json))

    assert cpu_seconds(make) < 2
    html, text, data = forms
    assert [len(names) for names in json.loads(data)["lists"].values()] == [48, 47, 47]
    for number in range(142):
        assert f"mail{number}.univ.example" in html
        assert f"mail{number}.univ.example" in text

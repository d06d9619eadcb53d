# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of two configurations, and which answers may differ."""

from __future__ import annotations

from ansible_collections.campus.mailgate.plugins.module_utils._routes.table import Route
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail import proof
from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.settings import Settings, normalize

PLAN = normalize(
    Settings(
        "", (), ("a.univ.example",), (), (Route("b.univ.example", "198.18.1.2"), Route("*.c.example", "198.18.1.3"))
    )
)
HANDLED = proof.Handled(
    names=["staff", "list-owner", "odd name", "|prog"],
    classes={"w": ["vm", "[127.0.0.1]", "a.univ.example", "old.example"], "R": ["198.18", "lab.example"], "M": ["m.example"]},  # noqa: E501
    entries={
        "virtuser": {"info@old.example": "bob", "@shop.example": "bob"},
        "mailertable": {".partner.example": "esmtp:x", "partner.example": "esmtp:y"},
        "access": {"connect:198.18.1": "RELAY", "from:spam@bad.example": "REJECT", "to:shut@old.example": "REJECT",
                   "ipv6:2001:db8:1": "RELAY", "cyber.example": "REJECT", "greetpause:": "5000"},
        "generics": {"bob": "Bob@a.univ.example"},
    },
    mailers=["local", "esmtp"],
)  # fmt: skip


def test_everything_that_is_handled_is_asked_about() -> None:
    asked = {str(question) for each in proof.questions(HANDLED).values() for question in each}
    for address in (
        "staff", "list-owner", "info@old.example", "mailgate-probe@shop.example", "mailgate-probe@old.example",
        "mailgate-probe@mailgate-probe.partner.example", "mailgate-probe@partner.example", "shut@old.example",
        "mailgate-probe@lab.example", "mailgate-probe@mailgate-probe.invalid",
    ):  # fmt: skip
        assert f"mail for {address}" in asked
    assert not any("odd name" in question or "|prog" in question for question in asked)
    foreign = "check_rcpt mailgate-probe@mailgate-probe.invalid"
    for client in ("198.18.1.1", "198.18.1.1", "127.0.0.1", "192.0.2.99", "IPv6:2001:db8:1:0:0:0:0:1"):
        assert f"{foreign} (client {client})" in asked
    assert "check_mail spam@bad.example (client IPv6:2001:db8:ffff:0:0:0:0:1)" in asked
    for flags in ("ES", "HS", "ER", "HR"):
        assert f"/tryflags {flags} /try esmtp bob" in asked


def test_of_many_questions_some_of_each_kind_are_asked() -> None:
    many = {
        "aliases": [proof.Question((f"/parse u{n}",)) for n in range(9000)],
        "virtuser": [proof.Question((f"/parse v{n}",)) for n in range(60)],
    }
    asked = proof.chosen(many, 2000)
    assert 1900 <= len(asked) <= 2100
    assert sum("v" in question.commands[0] for question in asked) >= 13
    assert asked[-1].commands != many["virtuser"][0].commands
    assert proof.chosen({"virtuser": many["virtuser"]}, 2000) == many["virtuser"]


OUTPUT = """\
WARNING: local host name (vm) is not qualified; see cf/README: WHO AM I?
ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)
Enter <ruleset> <address>
> > > > mgq0
> Cracked address = $g
Parsing envelope recipient address
canonify           input: a @ b . example
b.example: Name server timeout
parse            returns: $# esmtp $@ b . example $: a < @ b . example >
a@b.example... Transient parse error -- message queued for future delivery
mailer esmtp, host b.example, user a@b.example
> > mgq1
> check_rcpt         input: a @ b . example
check_rcpt       returns: $# error $@ 5 . 7 . 1 $: "550 Relaying denied"
== Ruleset check_rcpt (176) status 75
> > mgq2
> Trying header sender address root for mailer esmtp
Rcode = 0, addr = root@vm
> > mgq999999
"""


def test_answers_are_read() -> None:
    asked = [
        proof.Question(("/parse a@b.example",), "b.example"),
        proof.Question(("check_rcpt a@b.example",), "b.example", kind="check"),
        proof.Question(("/try esmtp root",), kind="try"),
        proof.Question(("/parse never",)),
    ]
    assert proof.answers(asked, OUTPUT) == [
        "mailer esmtp, host b.example, user a@b.example",
        '$# error $@ 5 . 7 . 1 $: "550 Relaying denied"',
        "Rcode = 0, addr = root@vm",
        "",
    ]
    script = proof.script(asked).splitlines()
    assert script.index("/parse a@b.example") == script.index("${mgq}") + 1


def differences(domain: str, before: str, after: str, kind: str = "parse", ours: tuple[str, ...] = ()) -> int:
    question = proof.Question(("/parse x",), domain, kind=kind)
    return len(proof.compare([question], [before], [after], PLAN, ours))


def test_only_planned_domains_may_change_and_only_as_planned() -> None:
    local, mx = "mailer local, user x", "mailer esmtp, host b.univ.example, user x"
    route = "mailer relay, host [198.18.1.2], user x"
    assert differences("old.example", local, local) == 0
    assert differences("old.example", local, mx) == 1
    assert differences("", local, mx) == 1
    assert differences("b.univ.example", mx, route) == 0
    assert differences("b.univ.example", mx, local) == 1
    assert differences("b.univ.example", mx, "mailer relay, host [198.18.1.22], user x") == 1
    assert differences("pc1.c.example", mx, "mailer relay, host [198.18.1.3], user x") == 0
    assert differences("c.example", mx, route) == 1
    assert differences("a.univ.example", mx, local) == 0
    assert differences("gone.example", route, mx, ours=("gone.example",)) == 0
    assert differences("x.gone.example", "RELAY", "no", "check", ours=("*.gone.example",)) == 0
    assert differences("xgone.example", "RELAY", "no", "check", ours=("*.gone.example",)) == 1


def test_verified_addresses_are_compared_one_by_one() -> None:
    before = proof.verified("a... deliverable: mailer local, user a\nb@b.univ.example... deliverable: mailer esmtp\n")
    after = proof.verified("b@b.univ.example... deliverable: mailer relay\na... User unknown\nc... User unknown\n")
    found = proof.compare_verified(before, after, PLAN, ())
    assert [str(each) for each in found] == [
        "sendmail -bv a: before 'deliverable: mailer local, user a', after 'User unknown'",
        "sendmail -bv c: before 'not resolved', after 'User unknown'",
    ]


def test_many_differences_are_not_all_shown() -> None:
    found = [proof.Difference(f"q{n}", "a", "b") for n in range(100)]
    shown = proof.listed(found)
    assert len(shown) == 41
    assert shown[-1] == "and 60 more"

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a survey reads of a host, from files in the forms that systems have."""

from __future__ import annotations

import time

import pytest
from survey_host import MAILERTABLE, POSTCONF, SENDMAIL_CF, Machine

from ansible_collections.campus.mailgate.plugins.module_utils._survey import (
    firewall,
    others,
    postfix,
    sendmail,
    system,
)
from ansible_collections.campus.mailgate.plugins.module_utils._survey.host import Question, survey


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_system(machine):
    facts = system.facts(machine.reader())
    assert (facts["id"], facts["version"]) == ("debian", "12")
    assert facts["name"] == "Debian GNU/Linux 12 (bookworm)"
    assert (facts["memory"], facts["available"]) == (3944, 2944)


def test_a_sendmail_is_read_as_its_cf_names_its_files(machine):
    machine.sendmail()
    machine.file("etc/mail/relay-domains", "partner2.example\n")
    facts, texts = sendmail.facts(machine.reader())
    assert facts["version"] == "8.17.1.9/Debian-2+deb12u2"
    assert facts["local"] == ["localhost", "mail.eng.univ.example", "eng.univ.example", "old.example"]
    assert facts["local_wildcards"] == [".lab.univ.example"]
    assert facts["relay"] == ["hosted.example", "partner2.example", "partner.example"]
    assert facts["virtual"] == ["club.example"]
    assert facts["routes"] == {"partner.example": "smtp:[203.0.113.9]", "sci.univ.example": "esmtp:[198.18.9.9]"}
    assert facts["relays_from"] == ["127", "192.0.2", "::1"]
    assert (facts["smart_host"], facts["masquerade"]) == ("[relay.provider.example]", "eng.univ.example")
    assert facts["milters"] == ["spamass", "clmilter"]
    assert (facts["auth"], facts["max_message_size"]) == (True, "20000000")
    assert facts["aliases"] == 4
    assert facts["source"] == "/etc/mail/sendmail.mc"
    assert texts["mailertable"] == MAILERTABLE
    assert facts["unread"] == []


def test_a_sendmail_whose_sources_are_elsewhere(machine):
    cf = SENDMAIL_CF.replace("Kvirtuser hash -o /etc/mail/virtusertable", "Kvirtuser ldap -k (mail=%0) -v uid")
    machine.file("etc/mail/sendmail.cf", cf.replace("Fw/etc/mail/local-host-names %[^\\#]", "F{w}@LDAP"))
    machine.file("etc/mail/mailertable.db", "binary")
    machine.program("makemap", '[ "$1 $2" = "-u hash" ] && echo "partner.example\tsmtp:[203.0.113.9]"')
    facts, _texts = sendmail.facts(machine.reader())
    assert facts["source"] == ""
    assert facts["routes"] == {"partner.example": "smtp:[203.0.113.9]"}
    assert facts["unread"] == ["virtuser (ldap -k (mail=%0) -v uid)", "class w (@LDAP)"]


def test_the_old_form_of_a_sendmail(machine):
    machine.file("etc/mail/sendmail.cf", SENDMAIL_CF)
    machine.file("etc/mail/sendmail.def", "CF_TYPE=R8V8\nSTATIC_ROUTE_FILE='/etc/mail/static-route'\n")
    machine.file("etc/mail/static-route", "# routes\nSTATIC sci.univ.example smtp:[198.18.2.25]\n")
    facts, _texts = sendmail.facts(machine.reader())
    assert (facts["old_form"], facts["static_route_file"]) == ("/etc/mail/sendmail.def", "/etc/mail/static-route")
    assert facts["routes"] == {"sci.univ.example (/etc/mail/static-route)": "smtp:[198.18.2.25]"}


def test_a_postfix(machine):
    machine.postfix()
    facts, _ours = postfix.facts(machine.reader())
    assert facts["local"] == [
        "mail.sci.univ.example",
        "localhost.sci.univ.example",
        "localhost",
        "sci.univ.example",
    ]
    assert facts["relay"] == ["old-sci.example"]
    assert facts["virtual"] == ["club.example"]
    assert facts["routes"] == {"partner.example": "smtp:[203.0.113.9]", ".lab.univ.example": "lmtp:unix:x"}
    assert facts["relays_from"] == ["127.0.0.0/8", "[::1]/128", "198.18.2.0/24"]
    assert facts["smart_host"] == "[smtp.provider.example]:587"
    assert facts["unread"] == [
        "transport_maps (regexp:/etc/postfix/transport.re)",
        "virtual_mailbox_domains (mysql:/etc/postfix/domains.cf)",
    ]
    assert "error" not in facts


def test_a_postfix_that_cannot_be_asked(machine):
    machine.program("postconf", "echo 'postconf: fatal: open /etc/postfix/main.cf' >&2; exit 1")
    assert postfix.facts(machine.reader())[0]["error"] == "postconf: fatal: open /etc/postfix/main.cf"


def test_words_in_braces_are_one_word():
    value = "inline:{ {a.example = x}, b }, hash:/etc/a"
    assert postfix.split("{ inet:localhost:8891, command_timeout = 5s }, unix:/x")[0].startswith("{ inet")
    assert postfix.split(value)[-1] == "hash:/etc/a"
    assert postfix.parameters(POSTCONF)["mynetworks"] == "127.0.0.0/8 [::1]/128 198.18.2.0/24"


def test_an_exim(machine):
    machine.prints("exim4", "Exim version 4.96 #2 built 22-Nov-2025\nConfiguration file is /var/lib/exim4/config\n")
    settings = "dc_other_hostnames='bio.sci.univ.example;sci2.example'\ndc_relay_nets='198.18.2.0/24 : ::::1'\n"
    machine.file("etc/exim4/update-exim4.conf.conf", settings)
    facts = others.exim(machine.reader())
    assert facts["version"] == "4.96"
    assert facts["local"] == ["bio.sci.univ.example", "sci2.example"]


@pytest.mark.parametrize(
    ("mta", "files", "count"),
    [
        ("sendmail", ["qfA1", "dfA1", "hfA2", "xfA1", "q1/qfA3"], 3),
        ("postfix", ["active/A", "deferred/1/B", "deferred/F/C", "defer/1/B", "hold/D"], 4),
        ("exim", ["input/1a-H", "input/1a-D", "input/x/1b-H"], 2),
    ],
)
def test_the_length_of_a_queue(machine, mta, files, count):
    for name in files:
        machine.file(f"var/spool/q/{name}")
    assert others.queue(machine.reader(), mta, "/var/spool/q") == {
        "directory": "/var/spool/q",
        "messages": count,
        "more": False,
    }


def test_the_default_route():
    routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    routes += "eth1\t00000000\t0112A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n"
    routes += "wan0\t00000000\t010013C6\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    routes += "eth1\t0012A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    assert firewall.default_interface(routes) == "wan0"
    assert firewall.default_interface("") == ""


def test_commands_that_do_not_end_are_ended(machine):
    machine.program("postconf", "/bin/sleep 60 & /bin/sleep 60")
    machine.prints("dpkg-query", "postfix\t3.7.11\tinstalled\tmail-transport-agent\n")
    machine.program("named", "/bin/sleep 60")
    start = time.monotonic()
    facts = survey(Question(["servers", "dns"]), machine.reader(seconds=30, each=0.4))
    assert time.monotonic() - start < 45
    assert "postconf -x mail_version" in facts["missed"]
    assert facts["system"]["id"] == "debian"


def test_nothing_is_written(machine):
    machine.sendmail()
    before = machine.snapshot()
    survey(Question(["servers", "dns", "borders", "gateways"], table={"static": []}), machine.reader())
    assert machine.snapshot() == before


def test_a_part_that_cannot_be_read_is_a_note(machine, monkeypatch):
    machine.sendmail()
    monkeypatch.setattr(sendmail, "read_cf", lambda _text: 1 / 0)
    facts = survey(Question(["servers"]), machine.reader())
    assert facts["notes"] == ["mail cannot be read: ZeroDivisionError: division by zero"]
    assert facts["mta"]["kind"] == "sendmail"

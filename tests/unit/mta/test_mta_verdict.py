# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is refused where the package manager would replace its MTA, or where it is not known what it runs."""

from __future__ import annotations

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._mta.system import Host, Package, Process
from ansible_collections.campus.mailgate.plugins.module_utils._mta.verdict import judge

SENDMAIL = Process("sendmail", 5, "/usr/libexec/sendmail/sendmail", ("0.0.0.0:25",))
POSTFIX = Process("postfix", 6, "/usr/lib/postfix/sbin/master", ("0.0.0.0:25",))
EXIM = Process("exim", 7, "/usr/sbin/exim4", ("127.0.0.1:25",))
SERVICE = Process("mailgate", 8, "/usr/bin/python3.11", ("0.0.0.0:25",))
QUEUE = Process("sendmail", 9, "/usr/libexec/sendmail/sendmail", ("127.0.0.1:10025",))
PROXY = Process("unknown", 10, "/usr/bin/docker-proxy", ("0.0.0.0:25",))
SENDMAIL_BIN = Package("sendmail", "sendmail-bin", "8.17")
POSTFIX_DEB = Package("postfix", "postfix", "3.7")
EXIM_DEB = Package("exim", "exim4-daemon-light", "4.96")
NULLMAILER = Package("nullmailer", "nullmailer", "2.2")


@pytest.mark.parametrize(
    ("seen", "said", "gateway", "kind"),
    [
        (Host((SENDMAIL,), (SENDMAIL_BIN,)), "", False, "sendmail"),
        (Host((POSTFIX,), (POSTFIX_DEB,)), "", False, "postfix"),
        (Host((SENDMAIL,), (SENDMAIL_BIN,)), "sendmail", False, "sendmail"),
        (Host(), "sendmail", False, "sendmail"),  # fresh: the role installs it
        (Host(), "postfix", False, "postfix"),
        (Host((), (POSTFIX_DEB,)), "postfix", False, "postfix"),  # stopped
        (Host(), "", True, "sendmail"),
        (Host((SERVICE, QUEUE), (SENDMAIL_BIN,)), "", True, "sendmail"),
        (Host((SENDMAIL,), (SENDMAIL_BIN,)), "", True, "sendmail"),
    ],
)
def test_hosts_that_may_be_changed(seen, said, gateway, kind):
    verdict = judge(seen, said, gateway)
    assert (verdict.kind, verdict.problems) == (kind, ())


@pytest.mark.parametrize(
    ("seen", "said", "gateway", "words"),
    [
        (
            Host((POSTFIX,), (POSTFIX_DEB,)),
            "sendmail",
            False,
            [
                "mailgate_mta is sendmail, but postfix is on this host",
                "/usr/lib/postfix/sbin/master runs on 0.0.0.0:25 (process 6)",
                "package postfix 3.7 is installed",
                "would remove it. Set mailgate_mta to postfix, or to none",
                "stop and remove it yourself",
            ],
        ),
        (Host((SENDMAIL,), (SENDMAIL_BIN,)), "postfix", False, ["Set mailgate_mta to sendmail, or to none"]),
        (Host((EXIM,), (EXIM_DEB,)), "", False, ["mailgate_mta is not set, but exim", "Set mailgate_mta to none"]),
        (Host((EXIM,), (EXIM_DEB,)), "", True, ["a gateway has sendmail as its queue, but exim", "another host"]),
        (Host((), (NULLMAILER,)), "sendmail", False, ["would remove it, and with it the host's own way to send mail"]),
        (Host((), (NULLMAILER,)), "", True, ["would remove it, and with it the host's own way to send mail"]),
        (Host(), "", False, ["no MTA listens on port 25. Set mailgate_mta to sendmail or postfix"]),
        (Host((), (SENDMAIL_BIN,)), "", False, ["sendmail-bin 8.17 is installed. Start it, or"]),
        (Host((PROXY,)), "sendmail", False, ["another program has port 25: /usr/bin/docker-proxy", "stop it yourself"]),
        (Host((POSTFIX, QUEUE), (POSTFIX_DEB,)), "", False, ["not set, and postfix has port 25, but sendmail is on"]),
        (Host((SENDMAIL,)), "sendmail", False, ["the package sendmail-bin is not installed"]),
        (Host((SERVICE, QUEUE), (SENDMAIL_BIN,)), "sendmail", False, ["service of a gateway is on this host"]),
    ],
)
def test_hosts_that_are_refused(seen, said, gateway, words):
    problems = judge(seen, said, gateway).problems
    assert len(problems) == 1
    for each in words:
        assert each in problems[0]


def test_two_others_at_once_are_both_reported():
    seen = Host((POSTFIX, Process("exim", 7, "/usr/sbin/exim4")), (POSTFIX_DEB,))
    assert len(judge(seen, "sendmail").problems) == 2

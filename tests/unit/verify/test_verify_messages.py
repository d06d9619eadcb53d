# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test messages: sent to the first exchange that accepts, found in the log, and judged."""

from __future__ import annotations

import email
import email.policy
import json
import socketserver
import threading
import time
from contextlib import contextmanager

import pytest
from verify_campus import CIVIL, GW1, GW2, MECH, NOW, Sound, plan_of

from ansible_collections.campus.mailgate.plugins.module_utils._survey.reader import Reader
from ansible_collections.campus.mailgate.plugins.module_utils._verify.mail_log import entries, find, parse
from ansible_collections.campus.mailgate.plugins.module_utils._verify.messages import Exchange, compose, send
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.translations import translations
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.limits import Limits
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.page import (
    Report,
    as_html,
    as_json,
    as_text,
)
from ansible_collections.campus.mailgate.plugins.plugin_utils._report.verify.verdict import judge
from ansible_collections.campus.mailgate.plugins.plugin_utils._verify import questions

ALICE = "alice@mech.eng.univ.example"
SENDMAIL = """\
1.1 m sm-mta[7]: 5AUBi5x1000007: from=<>, size=900, nrcpts=1, msgid=<a.1@o>, proto=ESMTP, relay=gw1 [198.18.0.25]
1.2 m sm-mta[7]: 5AUBi5x1000007: to=<alice@m>, delay=00:00:05, mailer=local, dsn=4.0.0, stat=Deferred: full
1.3 m sm-mta[8]: 5AUBi5x1000007: to=<alice@m>, delay=00:00:09, xdelay=00:00:00, mailer=local, dsn=2.0.0, stat=Sent
1.4 m sm-mta[8]: 5AUBi5x1000008: to=<bob@m>, delay=00:00:09, stat=Sent
1.5 m cron[8]: something else
"""
POSTFIX = """\
Nov 30 11:00:00 m postfix/smtpd[8]: 3B1C2E0A5: client=gw2.univ.example[198.18.0.26]
Nov 30 11:00:00 m postfix/cleanup[9]: 3B1C2E0A5: message-id=<a.2@o>
Nov 30 11:00:00 m postfix/qmgr[5]: 3B1C2E0A5: from=<>, size=700, nrcpt=1 (queue active)
Nov 30 11:00:01 m postfix/local[9]: 3B1C2E0A5: to=<b@m>, relay=local, delay=0.05, dsn=5.1.1, status=bounced (no user)
"""


@contextmanager
def server(data="250 2.0.0 Message accepted as 1a2", rcpt="250 ok"):
    """Run a mail server on loopback; yield its port and the messages that it has received."""
    received: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.say("220 here")
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.say("354 go on")
                    received.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                    self.say(data)
                elif verb == b"QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say(rcpt if verb == b"RCPT" else "250 ok")

        def say(self, text):
            self.wfile.write(text.encode() + b"\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running.server_address[1], received
        running.shutdown()


class TestSending:
    def test_message_says_what_it_is(self):
        raw = compose("a@x.example", "probe.example", "<1@probe.example>", NOW)
        assert b"\n" not in raw.replace(b"\r\n", b"")
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert message["To"] == "a@x.example"
        assert message["Message-ID"] == "<1@probe.example>"
        assert message["Auto-Submitted"] == "auto-generated"
        assert "can be deleted" in message.get_content()

    def test_each_mailbox_gets_its_own_message(self):
        with server() as (port, received):
            sent = send(["a@x.example", "b@x.example"], [Exchange("gw1", "127.0.0.1", port)], "probe.example", 5)
        assert [each["accepted"] for each in sent] == [True, True]
        assert len({each["id"] for each in sent}) == len(received) == 2
        assert all(any(each["id"].encode() in raw for raw in received) for each in sent)

    def test_next_exchange_after_no_answer_or_a_temporary_refusal(self):
        with server(data="451 later") as (first, _none), server() as (second, received):
            exchanges = [Exchange("gone", "127.0.0.1", 1), Exchange("gw1", "127.0.0.1", first)]
            (sent,) = send(["a@x.example"], [*exchanges, Exchange("gw2", "127.0.0.1", second)], "probe.example", 5)
        assert sent["exchange"] == "gw2"
        assert [each["code"] for each in sent["attempts"]] == [0, 451, 250]
        assert len(received) == 1

    def test_permanent_refusal_ends_the_attempts(self):
        with server(rcpt="550 5.1.1 no such user") as (first, _none), server() as (second, received):
            exchanges = [Exchange("gw1", "127.0.0.1", first), Exchange("gw2", "127.0.0.1", second)]
            (sent,) = send(["a@x.example"], exchanges, "probe.example", 5)
        assert not sent["accepted"]
        assert sent["attempts"] == [{"exchange": "gw1", "code": 550, "text": "5.1.1 no such user"}]
        assert received == []


class TestLog:
    def test_sendmail(self):
        found = parse(SENDMAIL.splitlines(), ["<a.1@o>", "<a.2@o>"])
        assert found == {
            "<a.1@o>": {
                "queue": "5AUBi5x1000007",
                "client": "gw1 [198.18.0.25]",
                "delivered": True,
                "status": "Sent",
                "delay": "00:00:09",
            }
        }

    def test_postfix(self):
        found = parse(POSTFIX.splitlines(), ["<a.2@o>"])["<a.2@o>"]
        assert found["client"] == "gw2.univ.example[198.18.0.26]"
        assert not found["delivered"]
        assert found["status"] == "bounced (no user)"

    def test_accepted_but_not_tried_yet(self):
        found = parse(SENDMAIL.splitlines()[:1], ["<a.1@o>"])["<a.1@o>"]
        assert (found["delivered"], found["status"]) == (False, "")

    def test_waits_for_the_delivery(self, tmp_path):
        log = tmp_path / "var/log/mail.log"
        log.parent.mkdir(parents=True)
        log.write_text(SENDMAIL.splitlines()[0] + "\n")
        threading.Timer(0.2, lambda: log.write_text(SENDMAIL)).start()
        reader = Reader(20, 5, root=tmp_path, path=str(tmp_path))
        assert find(reader, ["<a.1@o>"], time.time())["<a.1@o>"]["delivered"]

    def test_ends_in_its_time(self, tmp_path):
        reader = Reader(1, 5, root=tmp_path, path=str(tmp_path))
        assert find(reader, ["<a.1@o>"], time.time()) == {}


def message(address=ALICE, *, accepted=True, attempts=()):
    sent = {"address": address, "id": "<1@o>", "accepted": accepted, "exchange": GW1 if accepted else ""}
    return sent | {"seconds": 0.1, "attempts": list(attempts), "started": NOW}


def verdict(found, *, plan=None, **changes):
    campus = Sound(plan)
    sent = [{"host": "outside.example", "messages": [message(**changes)], "unreachable_reason": ""}]
    answers, probes = list(campus.hosts.values()), [campus.outside, campus.inside]
    return judge(campus.plan, answers, probes, limits=Limits(), now=NOW, sent=sent, found=found)


DELIVERED = {"<1@o>": {"delivered": True, "status": "Sent", "delay": "00:00:01", "queue": "q", "client": GW1}}
LATER = {"<1@o>": {"delivered": False, "status": "Deferred: disk full", "delay": "", "queue": "q", "client": GW1}}


class TestJudging:
    def test_questions(self):
        plan = plan_of()
        assert questions.home(plan, ALICE) == MECH
        assert questions.home(plan, "x@a.lab.mech.eng.univ.example") == MECH
        assert questions.home(plan, "x@elsewhere.example") == ""
        assert [each["host"] for each in questions.exchanges(plan)] == [GW1, GW1, GW2]

    def test_delivered(self):
        found = verdict([{"host": MECH, "found": DELIVERED, "unreachable_reason": ""}])
        assert found.faults == []
        report = Report("Small University", "en", found, NOW)
        line = f"{ALICE}: outside.example → {GW1} (0.1 s) → {MECH} (delivered after 00:00:01: Sent)"
        assert f"  {line}\n" in as_text(report, translations("en"))
        assert line in as_html(report, translations("en"))
        assert json.loads(as_json(report, translations("en")))["messages"][0]["log"]["status"] == "Sent"
        assert "配送" in as_text(report, translations("ja"))

    @pytest.mark.parametrize(("logged", "text"), [(LATER, "Deferred: disk full"), ({}, "its log does not have it")])
    def test_not_delivered(self, logged, text):
        (fault,) = verdict([{"host": MECH, "found": logged, "unreachable_reason": ""}]).faults
        assert fault.id == f"message_missing {MECH} {ALICE}"
        assert text in fault.what(translations("en"))

    def test_refused(self):
        attempts = [
            {"exchange": GW1, "code": 0, "text": "timed out"},
            {"exchange": GW2, "code": 550, "text": "no user"},
        ]
        (fault,) = verdict([], accepted=False, attempts=attempts).faults
        assert fault.id == f"message_refused {MECH} {ALICE}"
        assert f"{GW1}: timed out; {GW2}: 550 no user" in fault.what(translations("en"))

    def test_log_that_cannot_be_read(self):
        (fault,) = verdict([{"host": MECH, "found": {}, "unreachable_reason": "ssh failed"}]).faults
        assert fault.kind == "unread"

    def test_server_that_others_maintain_is_not_asked(self):
        plan = plan_of({CIVIL: {"mailgate_mta": "none"}})
        found = verdict([], plan=plan, address="a@civil.eng.univ.example")
        assert found.faults == []
        text = as_text(Report("", "en", found, NOW), translations("en"))
        assert f"→ {CIVIL} (its log is not read)" in text


def test_all_lines_about_a_message_are_found_by_its_id_and_its_queue_id():
    lines = [
        "1764522416.5 mail sendmail[7]: 5AUH6Vab012345: from=<a@x.example>, msgid=<m1@x.example>, relay=gw1",
        "1764522417.5 mail sm-mta[7]: 5AUH6Vab012345: to=<b@y.example>, stat=Sent",
        "Nov 30 17:06:56 mail postfix/smtp[8]: 4XyZ123abcz: to=<c@y.example>, status=sent (ok)",
        "Nov 30 17:06:56 mail postfix/smtp[8]: 4XyZ123other: to=<d@y.example>, status=sent (ok)",
        "rubbish",
    ]
    found = entries(lines, ["<m1@x.example>", ""], ["4XyZ123abcz"])
    assert [(each["time"], each["queue"]) for each in found] == [
        (1764522416.5, "5AUH6Vab012345"),
        (1764522417.5, "5AUH6Vab012345"),
        (0.0, "4XyZ123abcz"),
    ]
    assert found[1]["text"] == "to=<b@y.example>, stat=Sent"

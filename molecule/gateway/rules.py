# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail that rules refuse or tag, by answers of the BIND outside; exit status 1 if a result is not as expected."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter
from lab.twin import Twin

GATEWAY, OUTSIDE = "198.18.0.25", "198.19.255.10"
RECIPIENT = "bob@mech.eng.univ.example"
LIST = "/etc/mail-lists/spamlist"
# With two workers, one in a thousand such series misses one of them.
IN_A_ROW = 10

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
campus = Campus(Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"]))


def rcpt_reply(sender: str, *recipients: str) -> str:
    """Send RCPT from outside; return the last reply."""
    answer = campus.probe("outside", "send", to=list(recipients or (RECIPIENT,)), sender=sender, via=GATEWAY)
    return f"{answer['code']} {answer['text']}"


def reply_becomes(expected: str, sender: str, seconds: float = 40) -> str:
    """Wait until the reply to a sender begins with some text, at most some seconds; return it.

    Each worker reads changed lists on its own, and any of them may answer, so it must do so several times in a row.
    """
    deadline, times = time.monotonic() + seconds, 0
    while True:
        reply = rcpt_reply(sender)
        times = times + 1 if reply.startswith(expected) else 0
        if times >= IN_A_ROW or time.monotonic() > deadline:
            return reply
        time.sleep(0.2)


def gateway(command: str) -> str:
    """Run a command on the gateway; return what it prints."""
    return campus.twin.exec("gw1", command).stdout.decode()


campus.sh("outside", "sh -s", (SCENARIO / "internet.sh").read_bytes())
ACCEPTED = rcpt_reply("stranger@elsewhere.example")
check("a sender that no rule concerns", "250", ACCEPTED[:3])
check("a listed sender", "550 5.7.1 The sender <spammer@elsewhere.example> is on our list",
      rcpt_reply("spammer@elsewhere.example"))  # fmt: skip
check("a sender domain that does not exist", "550 5.1.8", rcpt_reply("a@none.rules.example")[:9])
check("a sender domain with a null MX", "550 5.1.8", rcpt_reply("a@null.rules.example")[:9])
check("a sender domain with an address", ACCEPTED, rcpt_reply("a@good.rules.example"))
check("a null sender with two recipients", "550 5.5.3", rcpt_reply("", RECIPIENT, "alice@mech.eng.univ.example")[:9])

letter = Letter(RECIPIENT, sender="listed@elsewhere.example")
check("a message of a host in a DNS list", 250, campus.send("outside", letter, GATEWAY))
copies = campus.copies("mech", letter)
check("it is tagged", [True], [b"X-Mailgate-Tag: score=6 rules=dns_list" in copy for copy in copies])

explained = json.loads(
    gateway(
        f"mailgate explain --client {OUTSIDE} --helo x.example --from listed@elsewhere.example --to {RECIPIENT} --json"
    )
)
check("explain says the same", ("tag", 6, "dns_list"),
      (explained["result"], explained["score"], explained["decided_by"]))  # fmt: skip
words = gateway(f"mailgate explain --client {OUTSIDE} --helo x.example --from a@none.rules.example --to {RECIPIENT}")
check("in words too", True, "none.rules.example: does not exist or has no mail server" in words)

# The list is changed while the gateway runs; then an entry in it is wrong.
gateway(f"printf 'new@elsewhere.example\\n' > {LIST}.new; chmod 644 {LIST}.new; mv {LIST}.new {LIST}")
check("a sender that was added", "550", reply_becomes("550", "new@elsewhere.example")[:3])
check("a sender that was removed", ACCEPTED, rcpt_reply("spammer@elsewhere.example"))
gateway(
    f"printf 'spammer@elsewhere.example\\nnot an address\\n' > {LIST}.new; chmod 644 {LIST}.new; mv {LIST}.new {LIST}"
)
deadline = time.monotonic() + 20
while not (lines := gateway("journalctl -u mailgate -o cat | grep list_refused")) and time.monotonic() < deadline:
    time.sleep(0.5)
check("the log names file and line", True, f"{LIST}:2: 'not an address' is not" in lines)
check("the old list stays", "550", rcpt_reply("new@elsewhere.example")[:3])
check("status names it too", True, f"{LIST}:2:" in gateway("mailgate status"))
gateway(f"printf 'spammer@elsewhere.example\\n' > {LIST}.new; chmod 644 {LIST}.new; mv {LIST}.new {LIST}")
check("the corrected list", "550", reply_becomes("550", "spammer@elsewhere.example")[:3])

# Without DNS, mail goes on.
campus.twin.exec("outside", ["systemctl", "stop", "named"])
try:
    check("a sender domain without DNS", ACCEPTED, rcpt_reply("a@unseen.rules.example"))
finally:
    campus.twin.exec("outside", ["systemctl", "start", "named"])
check("status counts the failed look-ups", True, bool(re.search(r"sender domains [1-9]", gateway("mailgate status"))))
check("the log has them", True, '"event": "dns_failed"' in gateway("journalctl -u mailgate -o cat"))
finish()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail of every kind to a server configured before: `python3 lived_in.py before|with_routes|removed`.

What works before must work in the same way with the routes and after their removal, and then all files are as before.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import time
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter, as_received
from lab.twin import Twin

HOST, ADDRESS, NEIGHBOUR = "optics", "198.18.1.35", "mail.eng"
SINK = Path(__file__).with_name("files") / "sink.py"
TAKEN = "/var/tmp/partner"  # noqa: S108
SEEN = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "lived-in.json"
# What sendmail writes with each message. And what Debian's init script generates again by make when sendmail starts,
# with the time and the user in comments (lines "by:" and "on:").
MAIL = re.compile(
    r"^optics:/var/(mail|spool|lib/sendmail)|^optics:/(root|home)|^optics:/etc/mail/(Makefile|databases)$"
)

twin = Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"])
campus = Campus(twin)


def shell(host: str, command: str, data: bytes = b"") -> str:
    """Run a command on a host; return its output."""
    return twin.exec(host, command, input=data).stdout.decode("utf-8", "replace")


def arrives(recipient: str, source: str = "outside") -> str:
    """Send a letter for alice; return how many copies came, or the reply that refused it."""
    letter = Letter(recipient)
    answer = campus.probe(source, "send", to=[recipient], sender=letter.sender, message=letter.base64(), via=ADDRESS)
    if answer["code"] != 250:
        return f"{answer['stage']} {answer['code']}"
    found = campus.probe(HOST, "mailbox", user="alice", message_id=letter.message_id, wait=20)["copies"]
    return f"{len(found)} in alice's mailbox"


def reply(recipient: str, source: str, sender: str = "") -> str:
    """Send RCPT; return the last command and the code of its reply."""
    answer = campus.probe(source, "send", to=[recipient], sender=sender, via=ADDRESS)
    return f"{answer['stage']} {answer['code']}"


def partner(user: str, letter: Letter) -> str:
    """Submit a letter as a user to the partner; return the sender in its envelope and header there."""
    message = as_received(letter)
    shell(HOST, f"su -s /bin/sh {user} -c 'sendmail -i {letter.recipient}'", message)
    for _attempt in range(40):
        taken = shell("outside", f"cat {TAKEN}")
        for each in taken.split("--\r\n"):
            if letter.message_id in each:
                envelope = re.search(r"MAIL From:<(.*?)>", each, re.IGNORECASE)
                header = re.search(r"^From: (.*?)\r?$", each, re.MULTILINE)
                return f"{envelope and envelope[1]} {header and header[1]}"
        time.sleep(0.5)
    return "did not arrive"


def works() -> dict[str, str]:
    """Return what comes of mail of every kind."""
    subject = base64.b64encode(b"Subject: x\r\n\r\n").decode()
    to = ["alice@optics.eng.univ.example"]
    limit = campus.probe(HOST, "send", to=to, sender="a@b.example", via=ADDRESS, lines=90000, message=subject)
    big = f"{limit['stage']} {limit['code']}"
    verified = shell(HOST, "sendmail-mta -bv staff sales@optics.univ.example x@shop.example a@partner.example")
    return {
        "local user": arrives("alice@optics.eng.univ.example"),
        "old domain": arrives("alice@optics.univ.example"),
        "virtual user": arrives("info@optics.univ.example"),
        "alias": arrives("staff@optics.eng.univ.example"),
        "virtual domain": reply("x@shop.example", "outside"),
        "unknown user": reply("nobody-here@optics.eng.univ.example", "outside"),
        "closed mailbox": reply("closed@optics.eng.univ.example", "outside"),
        "relaying for a stranger": reply("x@foreign.example", "outside"),
        "relaying for a neighbour": reply("x@foreign.example", NEIGHBOUR),
        "refused sender": reply("alice@optics.eng.univ.example", "outside", "offers@spam.example"),
        "message over the limit": big,
        "bob's address at the partner": partner("bob", Letter("x@partner.example", "bob")),
        "alice's address at the partner": partner("alice", Letter("x@partner.example", "alice")),
        "resolved": "; ".join(sorted(verified.splitlines())),
    }


def files() -> dict[str, str]:
    """Return the files of the host that differ from the images."""
    return {path: word for path, word in twin.snapshot(HOST).items() if not MAIL.match(path)}


def main(stage: str) -> None:
    """Run a stage."""
    if stage == "before":
        shell("outside", "cat > /var/tmp/sink.py", SINK.read_bytes())
        shell("outside", f"touch {TAKEN}; systemd-run --unit=partner python3 /var/tmp/sink.py {TAKEN}")
        seen = {"works": works(), "files": files()}
        print(json.dumps(seen, indent=1))
        SEEN.write_text(json.dumps(seen))
        return
    before = json.loads(SEEN.read_text())
    for what, result in works().items():
        check(what, before["works"][what], result)
    if stage == "removed":
        check("files that differ from before", {}, _differences(before["files"], files()))
    else:
        check("host name under a wildcard", "1 in alice's mailbox", arrives("alice@pc1.lab.optics.eng.univ.example"))
        check("new domain", "1 in alice's mailbox", arrives("alice@new.optics.eng.univ.example"))
        route = shell(HOST, "sendmail-mta -bv alice@mech.eng.univ.example").strip().partition(": ")[2]
        check("route", "mailer relay, host [198.18.1.30], user alice@mech.eng.univ.example", route)
    finish()


def _differences(before: dict[str, str], now: dict[str, str]) -> dict[str, tuple[str, str]]:
    paths = sorted({*before, *now})
    return {p: (before.get(p, ""), now.get(p, "")) for p in paths if before.get(p) != now.get(p)}


main(sys.argv[1])

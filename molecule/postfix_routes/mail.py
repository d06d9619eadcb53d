# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail through the scenario's hosts and check the results: `python3 mail.py STAGE`, from the repository's root.

Each check prints the expected and the observed value; the exit status is 1 if any two differ.
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
from lab.mail import Letter
from lab.twin import Twin

HUB, LEAF, OTHER_HUB, OTHER_LEAF = "198.18.1.25", "198.18.1.30", "198.18.2.25", "198.18.2.30"
IN_USE = ("mech", "mail.sci")
# What mail changes: queues, mailboxes and their logs; and the disk's record of what ran.
WRITTEN_BY_MAIL = re.compile(r"[^:]+:/(var/(mail|spool|log|lib/postfix|lib/systemd|cache)|root|tmp|home)(/|$)")

twin = Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"])
campus = Campus(twin)
SNAPSHOT = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"{twin.name}-snapshot.json"


def way(host: str, user: str, letter: Letter) -> list[str]:
    """Wait for a letter in a mailbox; return the addresses in its Received headers, first hop first."""
    copies = campus.probe(host, "mailbox", user=user, message_id=letter.message_id, wait=30)["copies"]
    if len(copies) != 1:
        return [f"{len(copies)} copies"]
    text = base64.b64decode(copies[0]).decode("latin-1")
    return re.findall(r"^Received: from \S+ \(.*?\[(?:IPv6:)?([0-9a-fA-F.:]+)\]\)", text, re.MULTILINE)[::-1]


def arrival(what: str, sent_by: tuple[str, str], recipient: str, at: tuple[str, str], hops: list[str]) -> None:
    """Send from a host to an address, and check where and how it arrives."""
    letter = Letter(recipient)
    host, via = sent_by
    check(f"{what}, reply", 250, campus.send(host, letter, via))
    check(f"{what}, way", hops, way(*at, letter))


def before() -> None:
    """Check what the servers in use did before: local, virtual, alias, partner, smart host, submission."""
    here, mech = ("mech", "127.0.0.1"), ("outside", LEAF)
    outside = "198.19.255.10"
    arrival("local user", mech, "alice@mech.eng.univ.example", ("mech", "alice"), [outside])
    arrival("local user with an extension", mech, "alice+x@mech.eng.univ.example", ("mech", "alice"), [outside])
    arrival("old name", mech, "bob@machines.eng.univ.example", ("mech", "bob"), [outside])
    arrival("alias", mech, "helpdesk@mech.eng.univ.example", ("mech", "bob"), [outside])
    arrival("alias to the partner", mech, "abroad@mech.eng.univ.example", ("mail.sci", "alice"), [outside, LEAF])
    arrival("virtual alias", mech, "info@club.example", ("mech", "alice"), [outside])
    arrival("virtual alias to the partner", mech, "board@club.example", ("mail.sci", "alice"), [outside, LEAF])
    arrival("partner", here, "friend@partner.example", ("mail.sci", "alice"), ["127.0.0.1", LEAF])
    arrival("smart host", here, "someone@outside.example", ("mail.sci", "alice"), ["127.0.0.1", LEAF])
    letter = Letter("alice@mech.eng.univ.example")
    check("submission, reply", 250, campus.send("mech", letter, "127.0.0.1", 587))
    check("submission, way", ["127.0.0.1"], way("mech", "alice", letter))
    letter = Letter("post@boxes.example")
    check("virtual mailbox, reply", 250, campus.send("outside", letter, LEAF))
    command = f"grep -c 'Message-ID: <{letter.message_id}>' /var/mail/vhosts/boxes.example/post"
    time.sleep(2)
    check("virtual mailbox, copies", "1", twin.exec("mech", command).stdout.decode().strip())
    for what, recipient, via, answer in (
        ("unknown user", "nobody-here@mech.eng.univ.example", LEAF, "RCPT 550 5.1.1"),
        ("unknown virtual user", "nobody-here@club.example", LEAF, "RCPT 550 5.1.1"),
        ("unknown virtual mailbox", "nobody-here@boxes.example", LEAF, "RCPT 550 5.1.1"),
        ("foreign domain", "victim@nobody.example", LEAF, "RCPT 454 4.7.1"),
        ("partner's domain for a stranger", "friend@partner.example", LEAF, "RCPT 454 4.7.1"),
        ("foreign domain at the other hub", "victim@nobody.example", OTHER_HUB, "RCPT 454 4.7.1"),
    ):
        check(what, answer, campus.refusal("outside", recipient, via))


def routes() -> None:
    """Check the routes: leaf to leaf, a wildcard, a second server, and refusals."""
    arrival("leaf to another faculty's leaf", ("mech", "127.0.0.1"), "alice@bio.sci.univ.example", ("bio", "alice"),
            ["127.0.0.1", LEAF, HUB, OTHER_HUB])  # fmt: skip
    arrival("host name under a wildcard", ("bio", "127.0.0.1"), "alice@pc7.lab.mech.eng.univ.example",
            ("mech", "alice"), ["127.0.0.1", OTHER_LEAF, OTHER_HUB, HUB])  # fmt: skip
    arrival("hub for its leaf", ("outside", HUB), "bob@mech.eng.univ.example", ("mech", "bob"),
            ["198.19.255.10", HUB])  # fmt: skip
    arrival("own route of one user", ("mech", "127.0.0.1"), "boss@eng.univ.example", ("mail.sci", "alice"),
            ["127.0.0.1", LEAF])  # fmt: skip
    for what, recipient, via, answer in (
        ("unknown user under a wildcard", "nobody-here@pc7.lab.mech.eng.univ.example", LEAF, "RCPT 550 5.1.1"),
        ("postmaster", "postmaster@mech.eng.univ.example", LEAF, "RCPT 250 2.1.5"),
        ("hub for a wildcard of its leaf", "alice@pc7.lab.mech.eng.univ.example", HUB, "RCPT 250 2.1.5"),
        ("foreign domain at the hub", "victim@nobody.example", HUB, "RCPT 454 4.7.1"),
        ("percent hack", "victim%nobody.example@mech.eng.univ.example", LEAF, "RCPT 454 4.7.1"),
        ("another faculty's domain at a leaf", "alice@bio.sci.univ.example", LEAF, "RCPT 454 4.7.1"),
        ("over IPv6", "alice@bio.sci.univ.example", "2001:db8:18:2::30", "RCPT 250 2.1.5"),
    ):
        check(what, answer, campus.refusal("outside", recipient, via))
    twin.stop("mech")
    try:
        arrival("second server", ("outside", HUB), "alice@shared.univ.example", ("bio", "alice"),
                ["198.19.255.10", HUB])  # fmt: skip
    finally:
        twin.start("mech")


def record() -> None:
    """Record the files of the servers in use."""
    SNAPSHOT.write_text(json.dumps(files()))


def same() -> None:
    """Check that the files of the servers in use are those of before."""
    old, new = json.loads(SNAPSHOT.read_text()), files()
    differing = {path: (old.get(path), new.get(path)) for path in old | new if old.get(path) != new.get(path)}
    check("files that differ from those of before", {}, differing)


def files() -> dict[str, str]:
    """Return the files that differ from the images."""
    return {path: word for path, word in twin.snapshot(*IN_USE).items() if not WRITTEN_BY_MAIL.match(path)}


{"before": before, "routes": routes, "record": record, "same": same}[sys.argv[1]]()
finish()

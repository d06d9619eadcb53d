# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send equal messages from outside: those of devices all arrive, a message that is sent again arrives once."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter
from lab.twin import Twin

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
GATEWAY = "198.18.0.25"
RECIPIENT = "bob@mech.eng.univ.example"
SECONDS = 15

campus = Campus(Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"]))
CLIENT = (SCENARIO / "clients.py").read_bytes()


def send(how: str, message: str) -> None:
    """Send a message and end the connection in some way."""
    done = campus.twin.exec("outside", ["python3", "-", how, GATEWAY, RECIPIENT, message], input=CLIENT)
    if done.returncode:
        raise SystemExit(done.stderr.decode())


def copies(text: str, expected: int) -> int:
    """Wait for some copies of a text in the mailbox, and until all mail before it has arrived; return their number."""
    deadline = time.monotonic() + SECONDS
    while (found := in_mailbox(text)) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def in_mailbox(text: str) -> int:
    """Return how often a text is in the mailbox."""
    return int(campus.sh("mech", f"grep -c '{text}' /var/mail/bob || true"))


def events(name: str) -> int:
    """Return how many events of this name the journal has."""
    return campus.sh("gw1", "journalctl --unit=mailgate --output=cat").count(f'"event": "{name}"')


for how in ("close", "QUIT"):
    text = f"The battery is low {uuid.uuid4().hex}"
    for number in (1, 2, 3):
        send(how, f"Subject: UPS\r\n\r\n{text}")
        check(f"equal alarm {number}, then {how}: copies", number, copies(text, number))

text = f"Sent again {uuid.uuid4().hex}"
message = (
    f"Date: Tue, 01 Dec 2026 09:00:00 +0900\r\nMessage-ID: <{uuid.uuid4().hex}@outside.example>\r\n"
    f"Subject: report\r\n\r\n{text}"
)
before = events("resent")
send("reset", message)
check("a message whose reply is lost: copies", 1, copies(text, 1))
send("QUIT", message)
letter = Letter(RECIPIENT)
send("QUIT", letter.lf().replace("\n", "\r\n"))
check("a message after it", 1, len(campus.copies("mech", letter)))
check("the first one, sent again: copies", 1, in_mailbox(text))
check("events that name it", 1, events("resent") - before)

finish()

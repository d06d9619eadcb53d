# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail from outside for servers with faults: odd replies, and no 8BITMIME."""

from __future__ import annotations

import email
import os
import time
import uuid
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter, as_received, without_trace
from lab.twin import Twin

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
GATEWAY = "198.18.0.25"
DOMAIN = "mech.eng.univ.example"
BOB = f"bob@{DOMAIN}"
FAULTS = ("3xx to RCPT", "an extra reply", "early reply", "early refusal", "TLS that fails")
STOP = "systemctl stop sendmail; pkill -x sendmail-mta; true"
ARRIVAL_SECONDS = 40
RESTART = f"{STOP}; systemctl start sendmail"
# A message of so many more lines is larger than the buffers of both ends, so the odd reply is there before its end.
LINES = 40_000

campus = Campus(Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"]))


class Plain(Letter):
    """A letter in ASCII."""

    def lf(self) -> str:
        """Return the message with LF line ends."""
        return super().lf().encode("ascii", "ignore").decode()


def send(letter: Letter, lines: int = 0) -> dict[str, Any]:
    """Send a letter from outside, with further lines; return the last reply and its stage."""
    job = {"to": [letter.recipient], "sender": letter.sender, "message": letter.base64(), "lines": lines}
    return campus.probe("outside", "send", via=GATEWAY, **job)


def run(program: str, *arguments: str) -> None:
    """Run a program of this scenario on the server in the background, until `systemctl stop odd`."""
    campus.sh("mech", f"cat > /run/{program}", (SCENARIO / program).read_bytes())
    line = " ".join(f"'{word}'" for word in ("python3", f"/run/{program}", *arguments))
    campus.sh("mech", f"systemd-run --quiet --unit=odd {line}")
    campus.await_port("mech")


def odd_replies() -> None:
    """Check what the sender hears while the server has a fault, and that its mail arrives when it is well again."""
    check("a recipient is known", 250, send(Letter(BOB))["code"])
    letters = []
    campus.sh("mech", STOP)
    for fault in FAULTS:
        run("odd_server.py", fault)
        letter, lines = Letter(BOB), LINES if fault.startswith("early") else 0
        answer = send(letter, lines)
        check(f"{fault}: a known recipient", ("DATA", 250), (answer["stage"], answer["code"]))
        letters.append((fault, letter, ("x" * 70 + "\n").encode() * lines))
        if not lines:
            answer = send(Letter(f"{uuid.uuid4().hex}@{DOMAIN}"))
            seen = (answer["stage"], answer["code"], answer["text"].split()[0])
            check(f"{fault}: a recipient never seen before", ("RCPT", 450, "4.4.1"), seen)
        campus.sh("mech", "systemctl stop odd")
    campus.sh("mech", "systemctl start sendmail")
    deadline = time.monotonic() + ARRIVAL_SECONDS
    for fault, letter, more in letters:
        copies = campus.copies("mech", letter, wait=max(0.0, deadline - time.monotonic()))
        seen = [first_difference(as_received(letter) + more, without_trace(copy)) for copy in copies]
        check(f"{fault}: the message arrives once, difference", [None], seen)


def first_difference(expected: bytes, seen: bytes) -> tuple[bytes | None, bytes | None] | None:
    """Return the first lines that differ, or None."""
    lines = zip_longest(expected.split(b"\n"), seen.split(b"\n"))
    return next(((one, other) for one, other in lines if one != other), None)


def texts(message: bytes) -> list[bytes]:
    """Return the decoded parts of a message."""
    parts = email.message_from_bytes(message).walk()
    return [part.get_payload(decode=True) for part in parts if not part.is_multipart()]


def without_eight_bit() -> None:
    """Check messages that a client declares as 8BITMIME, for a server that does not offer it."""
    moved = "sed -i '/^O DaemonPortOptions=/d; $ a O DaemonPortOptions=Name=MTA, Port=2525' /etc/mail/sendmail.cf"
    campus.sh("mech", f"cp -p /etc/mail/sendmail.cf /run/kept; {moved}; {RESTART}")
    run("seven_bit.py")
    for what, letter, received in (("7-bit", Plain(BOB), 2), ("8-bit", Letter(BOB), 3)):
        check(f"{what} text", 250, send(letter)["code"])
        copies = campus.copies("mech", letter)
        check(f"{what} text arrives in ASCII", [True], [copy.isascii() for copy in copies])
        same = [texts(without_trace(copy)) == texts(as_received(letter)) for copy in copies]
        check(f"{what} text arrives, the same text", [True], same)
        # The queue adds one.
        check(f"{what} text, hosts on its way", [received], [copy.count(b"\nReceived: ") for copy in copies])
    campus.sh("mech", f"systemctl stop odd; mv /run/kept /etc/mail/sendmail.cf; {RESTART}")
    campus.await_port("mech")


for stage in (odd_replies, without_eight_bit):
    began = time.monotonic()
    stage()
    print(f"     {stage.__name__} took {time.monotonic() - began:.1f} s", flush=True)
finish()

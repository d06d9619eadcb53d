# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send messages at a steady rate through some gateways until `/run/stream/stop` exists.

Runs on the twin's host outside: `python3 stream.py NAME ADDRESS…`. Each gateway has a sender of its own, which does not
repeat a message. Writes one JSON array a message to `/run/stream/NAME.ADDRESS`: Message-ID, stage, code and text of the
last reply. Every second recipient has an address that nobody has used before.
"""

from __future__ import annotations

import json
import smtplib
import sys
import threading
import time
from pathlib import Path

SECONDS_BETWEEN = 0.4
DIRECTORY = Path("/run/stream")
# Two that move, and one whose server does not.
DOMAINS = ("lab.univ.example", "pc7.lab.univ.example", "mech.eng.univ.example")


def send(address: str, recipient: str, message_id: str) -> tuple[str, int, str]:
    """Send one message; return stage, code and text of the last reply, code 0 for a broken connection."""
    stage = "connect"
    try:
        with smtplib.SMTP(address, 25, "outside.example", timeout=60) as session:
            session.ehlo()
            stage, (code, text) = "MAIL", session.mail("stranger@elsewhere.example")
            if code == 250:
                stage, (code, text) = "RCPT", session.rcpt(recipient)
            if code == 250:
                content = f"Message-ID: <{message_id}>\r\nSubject: steady\r\nTo: {recipient}\r\n\r\nText.\r\n"
                stage, (code, text) = "DATA", session.data(content)
            return stage, code, text.decode()
    except (OSError, smtplib.SMTPException) as error:
        return stage, 0, str(error)


def stream(name: str, address: str) -> None:
    """Send messages through one gateway until the stop."""
    with Path(DIRECTORY, f"{name}.{address}").open("w", encoding="utf-8") as results:
        number = 0
        while not Path(DIRECTORY, "stop").exists():
            detail = f"+{name}{number}" if number % 2 else ""
            message_id = f"{name}.{number}.{address}@outside.example"
            result = send(address, f"alice{detail}@{DOMAINS[number // 2 % 3]}", message_id)
            print(json.dumps([message_id, *result]), file=results, flush=True)
            number += 1
            time.sleep(SECONDS_BETWEEN)


for gateway in sys.argv[2:]:
    threading.Thread(target=stream, args=(sys.argv[1], gateway)).start()

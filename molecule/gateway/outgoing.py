# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail of the campus through the gateway, which signs it; exit status 1 if a result is not as expected."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter
from lab.twin import Twin

GATEWAY, RECIPIENT = "198.18.0.25", "bob@bio.sci.univ.example"
ROOT_ZONE = "/etc/bind/zones/root.zone"

campus = Campus(Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"]))


def signatures(host: str, sender: str) -> list[int]:
    """Send a message from a host through the gateway; return the number of signatures of each copy."""
    letter = Letter(RECIPIENT, sender=sender)
    check(f"mail of {sender} from {host}", 250, campus.send(host, letter, GATEWAY))
    return [copy.count(b"DKIM-Signature: v=1; a=rsa-sha256;") for copy in campus.copies("bio", letter)]


def gateway(command: str) -> str:
    """Run a command on the gateway; return what it prints, also if it fails."""
    return campus.sh("gw1", f"{command} || true")


files = campus.sh("gw1", "stat -c '%a %U:%G' /etc/mailgate/dkim/*.pem").splitlines()
check("the key is secret", ["640 root:mailgate"], files)
check("status tells that DNS has no record", True, "not signed by gw1" in gateway("mailgate dkim"))
check("mail is not signed yet", [0], signatures("mech", "alice@mech.eng.univ.example"))

record = campus.sh("gw1", "mailgate dkim --zone")
check("the record is stored too", record, campus.sh("gw1", "cat /etc/mailgate/dkim/records"))
campus.sh("outside", f"cat >> {ROOT_ZONE}; named-checkzone . {ROOT_ZONE}; systemctl restart named", record.encode())
# A message asks for nothing; the gateway looks once a minute, and when it starts.
campus.sh("gw1", "systemctl restart mailgate")
campus.await_port("gw1")
deadline = time.monotonic() + 90
while "signing_begins" not in gateway("journalctl -u mailgate -o cat | grep signing_begins"):
    if time.monotonic() > deadline:
        break
    time.sleep(1)
check("DNS has it", True, "mech.eng.univ.example: signed" in gateway("mailgate dkim"))
check("mail of the domain is signed", [1], signatures("mech", "alice@mech.eng.univ.example"))
check("mail of another domain is not", [0], signatures("mech", "alice@bio.sci.univ.example"))
check("mail from outside is not", [0], signatures("outside", "alice@mech.eng.univ.example"))
finish()

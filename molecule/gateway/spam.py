# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail through a gateway with an rspamd of the role; exit status 1 if a result is not as expected."""

from __future__ import annotations

import os
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter
from lab.twin import Twin

GATEWAY, RECIPIENT = "198.18.0.25", "bob@mech.eng.univ.example"
# The test message of spam filters, in two halves so that they do not report this file.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-" + "STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

campus = Campus(Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"]))


class Spam(Letter):
    """A letter that every spam filter reports."""

    def lf(self) -> str:
        """Return the message with LF line ends."""
        return super().lf().replace("trailing spaces   ", GTUBE)


def status_of(letter: Letter) -> list[str]:
    """Send an ordinary letter; return the first two words of what its copies say of the scan."""
    check("an ordinary message", 250, campus.send("outside", letter, GATEWAY))
    copies = campus.copies("mech", letter)
    lines = [line.split() for copy in copies for line in copy.decode("latin-1").splitlines()]
    found = [" ".join(words[1:3]) for words in lines if words[:1] == ["X-Spam-Status:"]]
    return [text.partition("=")[0].strip(",") for text in found]


check("spam", 554, campus.send("outside", Spam(RECIPIENT), GATEWAY))
check("its score", True, status_of(Letter(RECIPIENT)) in (["No, score"], ["Yes, score"]))
status = campus.sh("gw1", "mailgate status || true")
check("status", True, "ok    rspamd 127.0.0.1:11333: answers" in status)
listening = campus.sh("gw1", "ss -Hltn 'sport >= :11332 and sport <= :11335' | awk '{print $4}' | sort -u").split()
check("rspamd listens on loopback only", ["127.0.0.1:11333", "127.0.0.1:11334"], listening)
campus.sh("gw1", "systemctl stop rspamd")
check("without rspamd", ["Not scanned"], status_of(Letter(RECIPIENT)))
campus.sh("gw1", "systemctl start rspamd")
finish()

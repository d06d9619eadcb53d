# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail from outside through the gateway and check the results; exit status 1 if one is not as expected."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter, as_received, without_trace
from lab.twin import Twin

GATEWAY, GATEWAY6 = "198.18.0.25", "2001:db8:18::25"
HUB = "198.18.2.25"

campus = Campus(Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"]))
# A cabinet (.cab) with one file, letter.txt, whose first bytes are those of a program.
CABINET = (
    b"TVNDRgAAAABlAAAAAAAAACwAAAAAAAAAAwEBAAEAAAABAAAARwAAAAEAAAAWAAAAAAAA"
    b"AAAAAFoAACAAbGV0dGVyLnR4dAAAAAAAFgAWAE1aAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

# EICAR in a gzip file in a 7z archive with the filter for ARM64, which clamd and libarchive do not open, but 7zz does.
SEVEN_ZIP = (
    b"N3q8ryccAAQDyBHIFAEAAAAAAABSAAAAAAAAAE/ZigIBAQ8fiwgAAAAAAAID7dNNaoNQGEbh+dmFYCE/3JnitBc1KAQrelMkLdlJ"
    b"9l77h2dQ6AaygPMg1/dbypdsfHqO41vxznhdymI33vZVXbOv7nnb13EKcyIOTZyaEIfUv9JPlzmkdk7h1HNus7w7dgcEjQjaIygi"
    b"qEfQmV9IzhU5FXIG5EzIaflxxCyIuSOmQcwFMRnfjJQSKTlSIlJmpOR8KUIKhLQImRASENLxicjYIaNHRoOMhIwjqyFiRESNiICI"
    b"FhEd64tswg0J6yNswvqnN2FGwgH16zq2fkL9gPqEe+UVygPKE8oDylXXqF6/UjtH9YmtXjx079wz98o98r+Qx9k9zu5xdv+c3Qf9"
    b"L1tOqAYAAAABBAYAAQmBFAAHCwEAAiEhAQABCgEADIEQgRAACAoBgfjl1wAABQEZBAAAAAARCwBhAC4AZwB6AAAAGQAUCgEAxwLV"
    b"/yyA3QEVBgEAIICkgQAA"
)


def send(letter: Letter, via: str = GATEWAY, *others: str) -> int:
    """Send a letter from outside, to others as well; return the last reply's code."""
    to, message = [letter.recipient, *others], letter.base64()
    return int(campus.probe("outside", "send", to=to, sender=letter.sender, message=message, via=via)["code"])


def rcpt_reply(recipient: str, via: str = GATEWAY, sender: str = "stranger@elsewhere.example") -> str:
    """Send RCPT from outside; return the stage of the reply and its codes."""
    answer = campus.probe("outside", "send", to=[recipient], sender=sender, via=via)
    return f"{answer['stage']} {answer['code']} {answer['text'].split()[0]}"


check("a relay attempt", "RCPT 550 5.7.1", rcpt_reply("victim@elsewhere.example"))
check("an unknown user", "RCPT 550 5.1.1", rcpt_reply("nobody-here@mech.eng.univ.example"))

# The hub accepts any recipient of a leaf; the gateway verifies recipients at the leaf.
LEAF = "bio.sci.univ.example"
check("an unknown user behind a hub, at the hub", "RCPT 250 2.1.5", rcpt_reply(f"nobody-here@{LEAF}", HUB))
check("an unknown user behind a hub", "RCPT 550 5.1.1", rcpt_reply(f"nobody-here@{LEAF}"))
letter = Letter(f"bob@{LEAF}")
check("mail for a domain behind a hub", 250, send(letter))
copies = campus.copies("bio", letter)
check("it arrives unchanged", [as_received(letter)], [without_trace(copy) for copy in copies])
check("its path", ["gw1", "mail", "bio"], campus.path(copies))
# A session that the gateway keeps open has its own process, which continues when the service stops.
campus.sh("bio", "systemctl stop sendmail; pkill -x sendmail-mta; true")
check("a known recipient while the verification server is down", "RCPT 250 2.1.5", rcpt_reply(f"bob@{LEAF}"))
check("an unknown recipient while it is down", "RCPT 450 4.4.1", rcpt_reply(f"{uuid.uuid4().hex}@{LEAF}"))
campus.sh("bio", "systemctl start sendmail")

# A sender that the final server refuses at RCPT. Behind a hub, a known recipient is not verified again.
BLOCKED = "blocked@elsewhere.example"
RESTART = "systemctl stop sendmail; pkill -x sendmail-mta; systemctl start sendmail"
REFUSE = f"""
set -e; cd /etc/mail; cp -p access access.kept; cp -p sendmail.cf sendmail.cf.kept
sed "/^MAILER_DEFINITIONS/i FEATURE(\\`delay_checks')dnl" sendmail.mc | m4 - > sendmail.cf
printf 'From:{BLOCKED}\\tERROR:5.1.8:550 Sender address rejected\\n' >> access
makemap hash access < access; set +e; {RESTART}
"""
RESTORE = f"""
cd /etc/mail && mv access.kept access && mv sendmail.cf.kept sendmail.cf && makemap hash access < access; {RESTART}
"""
for server, domain, times in (("mech", "mech.eng.univ.example", 2), ("bio", LEAF, 1)):
    campus.sh(server, REFUSE)
    campus.await_port(server)
    # At first the gateway has not asked for alice yet.
    for state in ("new", "known")[:times]:
        check(f"a refused sender, {state}, {domain}", "RCPT 550 5.1.8", rcpt_reply(f"alice@{domain}", sender=BLOCKED))
        check(f"the next sender, {state}, {domain}", "RCPT 250 2.1.5", rcpt_reply(f"alice@{domain}"))
    campus.sh(server, RESTORE)
    campus.await_port(server)

for name, recipient, via in (
    ("mail for a domain", "bob@mech.eng.univ.example", GATEWAY),
    ("mail for a host under a wildcard, over IPv6", "bob@pc7.lab.mech.eng.univ.example", GATEWAY6),
):
    letter = Letter(recipient)
    check(name, 250, send(letter, via))
    copies = campus.copies("mech", letter)
    check(f"{name} arrives unchanged", [as_received(letter)], [without_trace(copy) for copy in copies])

letter = Letter("bob@mech.eng.univ.example", infected=True)
check("infected mail", 250, send(letter))
copies = campus.copies("mech", letter)
check("it arrives once, without the virus", [False], [letter.attachment() in copy for copy in copies])

letter = Letter("bob@mech.eng.univ.example", infected=True)
other = replace(letter, recipient="alice@pc7.lab.mech.eng.univ.example")
check("infected mail, also for a domain with its own policy", 250, send(letter, GATEWAY, other.recipient))
copies = [without_trace(copy) for one in (letter, other) for copy in campus.copies("mech", one)]
check("it arrives for both without the virus", [False, False], [letter.attachment() in copy for copy in copies])
check("each copy has its own notice", 2, len(set(copies)))


class Cabinet(Letter):
    """A letter whose attachment is an archive with a program in it."""

    ARCHIVE = CABINET

    def attachment(self) -> bytes:
        """Return it as encoded in the message."""
        return self.ARCHIVE


class SevenZip(Cabinet):
    """A letter whose attachment is an infected archive that clamd does not open."""

    ARCHIVE = SEVEN_ZIP


for name, kind in (("a program in an archive", Cabinet), ("a virus in an archive that clamd cannot open", SevenZip)):
    letter = kind("bob@mech.eng.univ.example", infected=True)
    check(name, 250, send(letter))
    copies = campus.copies("mech", letter)
    check("the archive is opened and removed", [False], [letter.attachment() in copy for copy in copies])

finish()

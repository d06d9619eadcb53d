# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail to the server without an IPv4 address, from outside and from inside: `only_ipv6.py TWIN INVENTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from lab.campus import Campus
from lab.mail import Letter
from lab.scenario import Scenario
from lab.twin import Twin

name, inventory = sys.argv[1:]
campus = Campus(Twin(Path(inventory), name))
scenario = Scenario(campus)
lines = campus.probe("outside", "mx", domain="chem.sci.univ.example")["lines"]
print(", ".join(f"{preference} {exchange}" for preference, exchange in lines))
print(scenario.mail("bob@chem.sci.univ.example", "chem"))
letter = Letter("bob@chem.sci.univ.example", sender="alice@bio.sci.univ.example")
program = f"/usr/sbin/sendmail -i -B8BITMIME -f {letter.sender} {letter.recipient}"
campus.sh("bio", program, letter.lf().encode("latin-1"))
arrival = scenario.arrival(letter, "chem")
print(f"{' > '.join(campus.path(campus.copies('chem', letter)))}, {arrival}")

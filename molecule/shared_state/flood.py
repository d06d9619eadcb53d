# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spread a flood over four gateways, ban its client at one, stop one and the store; exit status 1 if one differs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.twin import Twin

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
CLIENT = "198.19.255.10"
GATEWAYS = {"gw1": "198.18.0.25", "gw2": "198.18.0.26", "gw3": "198.18.0.27", "gw4": "198.18.0.28"}
# gateway_rates.
LIMIT = 40

campus = Campus(Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"]))
PROGRAM = (SCENARIO / "recipients.py").read_bytes()


def name(number: int, *gateways: str) -> dict[str, object]:
    """Name recipients at gateways; return greetings and the number of accepted recipients."""
    addresses = [GATEWAYS[each] for each in gateways]
    words = ["python3", "-", "bob@mech.eng.univ.example", str(number), *addresses]
    done = campus.twin.exec("outside", words, input=PROGRAM)
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    return dict(json.loads(done.stdout))


def seconds_until(greeting: str, *gateways: str) -> float:
    """Return how long it takes until all gateways greet in this way, at most 20 seconds."""
    began = time.monotonic()
    while name(0, *gateways)["greetings"] != [greeting] * len(gateways) and time.monotonic() < began + 20:
        pass
    return time.monotonic() - began


def status(gateway: str) -> str:
    """Return the first word of the line about the shared store."""
    return campus.sh(gateway, "mailgate status | grep 'shared store' || true").partition(" ")[0]


flood = name(20, *GATEWAYS)
check("a flood of 80 recipients over four gateways: accepted", LIMIT, flood["accepted"])

campus.sh("gw2", f"mailgate ban add {CLIENT}")
took = seconds_until("421", *GATEWAYS)
# Each look takes a connection to the host outside, and four to the gateways.
check(f"a ban at gw2 is in effect at all within three seconds ({took:.1f} s)", True, took < 3)
campus.sh("gw3", f"mailgate ban remove {CLIENT}")
took = seconds_until("220", *GATEWAYS)
check(f"and its removal at gw3 ({took:.1f} s)", True, took < 3)

campus.twin.stop("gw4")
campus.sh("gw1", f"mailgate ban add {CLIENT}")
took = seconds_until("421", "gw1", "gw2", "gw3")
check(f"gw4 has no power: a ban at gw1 is in effect at the others ({took:.1f} s)", True, took < 3)
campus.twin.start("gw4")
took = seconds_until("421", "gw4")
# Its workers learn of it one after the other.
check(f"gw4 has power again, and the ban ({took:.1f} s)", True, took < 20)
campus.sh("gw1", f"mailgate ban remove {CLIENT}")
seconds_until("220", *GATEWAYS)

campus.sh("gw1", "systemctl kill --signal=STOP mailgate-store.service")
alone = name(20, *GATEWAYS)
check("the store hangs: each gateway has a limit of its own", True, LIMIT <= int(str(alone["accepted"])) <= 80)
check("status of gw2", "FAIL", status("gw2"))
campus.sh("gw2", f"mailgate ban add {CLIENT}")
check("a ban without the store is in effect at gw2", True, seconds_until("421", "gw2") < 3)
check("and not at gw3", ["220"], name(0, "gw3")["greetings"])
campus.sh("gw1", "systemctl kill --signal=KILL mailgate-store.service")
took = seconds_until("421", *GATEWAYS)
check(f"the store was restarted: all have the ban ({took:.1f} s)", True, took < 20)
campus.sh("gw2", f"mailgate ban remove {CLIENT}")
seconds_until("220", *GATEWAYS)
finish()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search for events of gateways at others while a gateway or the database is down; exit status 1 if one differs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.twin import Twin

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
GATEWAYS = {"gw1": "198.18.0.25", "gw2": "198.18.0.26", "gw3": "198.18.0.27", "gw4": "198.18.0.28"}
PATIENCE = 300
COUNTS = """
SELECT split_part(g.name, '.', 1), count(*) FROM mailgate.events e
JOIN mailgate.gateways g ON g.number = (e.seq >> 24) & 63 GROUP BY 1
"""

campus = Campus(Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"]))
PROGRAM = (SCENARIO / "recipients.py").read_bytes()


def send(recipient: str, *gateways: str) -> None:
    """Name a recipient once at gateways, so that each has events about it, accepted or not."""
    words = ["python3", "-", f"{recipient}@mech.eng.univ.example", "1", *(GATEWAYS[each] for each in gateways)]
    done = campus.twin.exec("outside", words, input=PROGRAM)
    if done.returncode:
        raise SystemExit(done.stderr.decode())


def wait_for(what: Callable[[], object], expected: object) -> object:
    """Return what there is when it is as expected, or when patience has ended."""
    deadline = time.monotonic() + PATIENCE
    while (seen := what()) != expected and time.monotonic() < deadline:
        time.sleep(1)
    return seen


def found(gateway: str, recipient: str) -> set[str]:
    """Return the gateways whose events about a recipient a search at a gateway finds."""
    out = campus.sh(gateway, f"mailgate search --json --to {recipient}@mech.eng.univ.example 2>/tmp/remarks || true")
    names = [json.loads(line).get("gateway", gateway) for line in out.splitlines()]
    return {name.partition(".")[0] for name in names}


def remarks(gateway: str) -> str:
    """Return what the last search said beside its result."""
    return campus.sh(gateway, "cat /tmp/remarks")


def in_files() -> dict[str, int]:
    """Return the number of events in the files of each gateway."""
    script = "cat /var/lib/mailgate/events/*.jsonl | grep -c ."
    return {gateway: int(campus.sh(gateway, script)) for gateway in GATEWAYS}


def in_database() -> dict[str, int]:
    """Return the number of events in the database of each gateway."""
    out = campus.twin.exec(
        "db1", ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "mailgate"], input=COUNTS.encode()
    )
    return {name: int(number) for name, _, number in (line.partition("|") for line in out.stdout.decode().splitlines())}


def differences() -> dict[str, tuple[int, int]]:
    """Return the gateways of which the database has more or fewer events than the files."""
    files, database = in_files(), in_database()
    return {name: (files[name], database.get(name, 0)) for name in files if files[name] != database.get(name, 0)}


def trace(recipient: str) -> str:
    """Return what playbook trace shows about a recipient."""
    done = campus.twin.playbook("playbooks/trace.yml", ["-e", f"address={recipient}@mech.eng.univ.example"])
    check(f"playbook trace of {recipient}", 0, done.returncode)
    return done.stdout.decode()


def report() -> str:
    """Return what playbook report shows."""
    done = campus.twin.playbook("playbooks/report.yml")
    check("playbook report", 0, done.returncode)
    return done.stdout.decode()


def index_status(gateway: str) -> str:
    """Return the line about the index of events."""
    return campus.sh(gateway, "mailgate status | grep '^.* *index of events' || true")


check("the database has each event once", {}, wait_for(differences, {}))
send("first", "gw1", "gw2")
check("events of gw1 and gw2 are found at gw3", {"gw1", "gw2"}, wait_for(lambda: found("gw3", "first"), {"gw1", "gw2"}))
shown = trace("first")
check(
    "playbook trace shows a mail of gw1 and one of gw2", 2, sum(f"Now, by {each}." in shown for each in ("gw1", "gw2"))
)
check("and no remark", False, "is away" in shown)
check("playbook report misses no gateway", False, "did not answer" in report())

campus.twin.stop("gw1")
check("gw1 has no power: its events are found at gw4", {"gw1", "gw2"}, found("gw4", "first"))
campus.twin.start("gw1")

# A crash, after which systemd starts it again.
unit = campus.sh("db1", "systemctl list-units --plain --no-legend 'postgresql@*' | cut -d' ' -f1").strip()
campus.sh("db1", f"systemctl kill --signal=KILL {unit}")
send("crash", *GATEWAYS)
check("the database was killed: each event is there once", {}, wait_for(differences, {}))

campus.sh("db1", "systemctl stop postgresql.service")
send("away", "gw1", "gw2")
check("it is stopped: gw1 finds its own event", {"gw1"}, found("gw1", "away"))
check("and says so", True, "the event database is away" in remarks("gw1"))
check("also what it had sent before", {"gw1"}, found("gw1", "first"))
check("status of gw1", "FAIL", index_status("gw1").split(" ")[0])
shown = trace("away")
check("playbook trace finds both", 2, sum(f"Now, by {each}." in shown for each in ("gw1", "gw2")))
check("with a remark of each gateway", 4, shown.count("the event database is away"))
shown = report()
check("playbook report names each gateway", 4, shown.count("did not answer"))
campus.sh("db1", "systemctl start postgresql.service")
check("it is back: each event is there once", {}, wait_for(differences, {}))
check("and found at gw3", {"gw1", "gw2"}, found("gw3", "away"))

campus.sh("gw2", "cp -p /etc/mailgate/event_database_password /root/password")
campus.sh("gw2", "echo wrong > /etc/mailgate/event_database_password && systemctl restart mailgate-index.service")
send("wrong", "gw2")
check("a wrong password: gw2 finds its own event", {"gw2"}, found("gw2", "wrong"))
check("and names the cause", True, "password authentication failed" in remarks("gw2"))
check("gw3 does not find it", set(), found("gw3", "wrong"))
campus.sh("gw2", "cat /root/password > /etc/mailgate/event_database_password; rm /root/password")
check("the password is right again: gw3 finds it", {"gw2"}, wait_for(lambda: found("gw3", "wrong"), {"gw2"}))
check("each event is there once", {}, wait_for(differences, {}))
finish()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change tables while a sender outside sends through both gateways; exit status 1 if a message is refused or lost.

Each stage has its own stream of messages, from before its first run of site.yml until after its last one. Every message
must be accepted and be in one mailbox, once: of the old home or of the new one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.twin import Twin

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
MOVED = ("-i", str(SCENARIO / "changes" / "moved.yml"))
BACK = ("-i", str(SCENARIO / "changes" / "back.yml"))
GATEWAYS = {"gw1": "198.18.0.25", "gw2": "198.18.0.26"}
HUB, MECH, ELEC, NEW_MECH = "198.18.1.25", "198.18.1.30", "198.18.1.31", "198.18.1.40"
SERVERS = ("mail", "mech", "elec")
HOME = ["lab.univ.example", "To:lab.univ.example"]  # in local-host-names, and in access for the wildcard
ARRIVAL_SECONDS = 60
WAIT = "while systemctl -q is-active stream; do sleep 0.1; done"

twin = Twin(SCENARIO / "inventory", os.environ["MAILGATE_TWIN"])
campus = Campus(twin)


def site(*options: str) -> None:
    """Run site.yml to its end."""
    began = time.monotonic()
    done = twin.playbook("playbooks/site.yml", options)
    if done.returncode:
        raise SystemExit(f"site.yml: {done.stdout.decode()[-6000:]}{done.stderr.decode()}")
    print(f"     site.yml took {time.monotonic() - began:.1f} s", flush=True)


def site_killed(at: str, *options: str) -> None:
    """Run site.yml and kill it with all its processes when the play `at` begins."""
    line = twin.command(twin.playbook_arguments("playbooks/site.yml", options))
    run = subprocess.Popen(
        line, env=twin.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert run.stdout
    for shown in run.stdout:
        if shown.startswith(f"PLAY [{at}".encode()):
            os.killpg(run.pid, signal.SIGKILL)
            break
    check(f"site.yml was killed at {at!r}", -signal.SIGKILL, run.wait())


@contextmanager
def stream(name: str) -> Iterator[None]:
    """Send messages meanwhile; afterwards check that each was accepted and arrived once."""
    campus.sh("outside", "rm -f /run/stream/stop; systemd-run --quiet --unit=stream "
              f"python3 /run/stream/stream.py {name} {' '.join(GATEWAYS.values())}")  # fmt: skip
    time.sleep(1)
    try:
        yield
    finally:
        time.sleep(1)
        campus.sh("outside", f"touch /run/stream/stop; timeout 90 sh -c '{WAIT}'")
    results = [json.loads(line) for line in campus.sh("outside", f"cat /run/stream/{name}.*").splitlines()]
    refused = [result for result in results if result[2] != 250]
    check(f"{name}: replies other than 250, of {len(results)} messages", [], refused)
    check(f"{name}: enough messages were sent", True, len(results) > 20)
    accepted = Counter(message_id for message_id, _stage, code, _text in results if code == 250)
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while (arrived := mailboxes(name)).total() < accepted.total() and time.monotonic() < deadline:
        time.sleep(0.5)
    check(f"{name}: accepted, but not in a mailbox", [], sorted((accepted - arrived).elements()))
    check(f"{name}: more copies than accepted", [], sorted((arrived - accepted).elements()))


def mailboxes(name: str) -> Counter[str]:
    """Return the stream's messages in all mailboxes by Message-ID."""
    seen: Counter[str] = Counter()
    for server in SERVERS:
        text = campus.sh(server, "cat /var/mail/* 2>/dev/null || true")
        found = re.findall(rf"^Message-ID: <({re.escape(name)}\..*)>$", text, re.MULTILINE)
        print(f"     {server}: {len(found)} messages", flush=True)
        seen.update(found)
    return seen


def homes() -> dict[str, list[str]]:
    """Return which of the moving domains each final server accepts as its own."""
    wanted = re.compile(r"^(?:lab\.univ\.example$|To:lab\.univ\.example(?=\s+RELAY))", re.MULTILINE)
    return {
        server: wanted.findall(campus.sh(server, "cat /etc/mail/local-host-names /etc/mail/access"))
        for server in ("mech", "elec")
    }


def routes(host: str, file: str = "/etc/mailgate/routes", domain: str = "lab.univ.example") -> str:
    """Return a domain's next hop in a table of a host: the first address of its line."""
    line = campus.sh(host, rf"sed -n 's/^{domain}[[:space:]]\+//p' {file}")
    return re.sub(r"^relay:\[(.*)\]$", r"\1", line.split()[0])


def at_gateways() -> list[str]:
    """Return the next hop of the moving domain at each gateway."""
    return [routes(gateway) for gateway in GATEWAYS]


campus.sh("outside", "mkdir -p /run/stream; cat > /run/stream/stream.py", (SCENARIO / "stream.py").read_bytes())
for server in SERVERS:
    # With a name for the gateways' addresses, a server refuses foreign domains with 550; without one, with 450.
    names = "".join(f"{address} {name}.univ.example\\n" for name, address in GATEWAYS.items())
    campus.sh(server, f"printf '{names}' >> /etc/hosts")
site()
check("the home at the start", ({"mech": HOME, "elec": []}, [MECH, MECH]), (homes(), at_gateways()))

with stream("moved"):
    site_killed("Remove domains", *MOVED)
    check("both homes after the broken run", ({"mech": HOME, "elec": HOME}, [ELEC, ELEC]), (homes(), at_gateways()))
    site(*MOVED)
check("the new home", ({"mech": [], "elec": HOME}, [ELEC, ELEC]), (homes(), at_gateways()))

# The server has both addresses for the time of the run, as when an admin renumbers it.
campus.sh("mech", f"ip address add {NEW_MECH}/24 dev $(ip -o -4 address show to {MECH} | awk '{{print $2}}')")
with stream("back"):
    site(*BACK)
check("the first home again, behind the hub", ({"mech": HOME, "elec": []}, [HUB, HUB]), (homes(), at_gateways()))
for domain in ("lab.univ.example", "mech.eng.univ.example"):
    check(f"the hub's route of {domain}", NEW_MECH, routes("mail", "/etc/mail/mailertable", domain))

finish()

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send mail through the scenario's hosts and check the results: `python3 mail.py STAGE`, from the repository's root.

Each check prints the expected and the observed value; the exit status is 1 if any two differ.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import time
from pathlib import Path

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter, as_received, without_trace
from lab.twin import Twin

GATEWAY, HUB, LEAF, OTHER_HUB, OTHER_LEAF = "198.18.0.25", "198.18.1.25", "198.18.1.30", "198.18.2.25", "198.18.2.30"
QUEUE = 10025

twin = Twin(Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory", os.environ["MAILGATE_TWIN"])
campus = Campus(twin)


def copies(host: str, letter: Letter, wait: float = 40) -> list[bytes]:
    """Wait for a letter in alice's mailbox; return its copies."""
    found = campus.probe(host, "mailbox", user="alice", message_id=letter.message_id, wait=wait)["copies"]
    return [base64.b64decode(copy) for copy in found]


def way(copy: bytes) -> list[str]:
    """Return the addresses in the Received headers, first hop first; each server wrote the one before it."""
    return re.findall(r"^Received: from \S+ \((?:\S+ )?\[([0-9a-fA-F.:]+)\]", copy.decode("latin-1"), re.MULTILINE)[
        ::-1
    ]


def arrival(what: str, host: str, letter: Letter, hops: list[str]) -> None:
    """Check that a letter arrived once, unchanged, and over the expected hops."""
    found = copies(host, letter)
    check(f"{what}, copies", 1, len(found))
    if found:
        check(f"{what}, unchanged but for trace headers", True, without_trace(found[0]) == as_received(letter))
        check(f"{what}, way", hops, way(found[0]))


def routes() -> None:
    """Check STATIC routes from leaf to leaf, host names under a wildcard, and refusals."""
    letter = Letter("alice@bio.sci.univ.example", "bob@mech.eng.univ.example")
    check("leaf accepts", 250, campus.send("mech", letter, "127.0.0.1"))
    arrival("leaf to another faculty's leaf", "bio", letter, ["127.0.0.1", LEAF, HUB, OTHER_HUB])

    letter = Letter("alice@pc7.lab.mech.eng.univ.example", "bob@bio.sci.univ.example")
    check("mail for a host name under a wildcard", 250, campus.send("bio", letter, "127.0.0.1"))
    arrival("wildcard", "mech", letter, ["127.0.0.1", OTHER_LEAF, OTHER_HUB, HUB])

    for name, recipient, via, answer in (
        ("unknown user", "nobody-here@mech.eng.univ.example", LEAF, "RCPT 550 5.1.1"),
        ("unknown user under a wildcard", "nobody-here@pc7.lab.mech.eng.univ.example", LEAF, "RCPT 550 5.1.1"),
        ("known user", "alice@mech.eng.univ.example", LEAF, "RCPT 250 2.1.5"),
        ("known user under a wildcard", "alice@pc7.lab.mech.eng.univ.example", LEAF, "RCPT 250 2.1.5"),
        ("postmaster", "postmaster@mech.eng.univ.example", LEAF, "RCPT 250 2.1.5"),
        ("hub for its leaf", "alice@mech.eng.univ.example", HUB, "RCPT 250 2.1.5"),
        ("hub for a wildcard of its leaf", "alice@pc7.lab.mech.eng.univ.example", HUB, "RCPT 250 2.1.5"),
        ("foreign domain at the hub", "victim@outside.example", HUB, "RCPT 550 5.7.1"),
        ("foreign domain at a leaf", "victim@outside.example", LEAF, "RCPT 550 5.7.1"),
        ("percent hack", "victim%outside.example@mech.eng.univ.example", LEAF, "RCPT 550 5.7.1"),
        ("source route", "@mech.eng.univ.example:victim@outside.example", LEAF, "RCPT 550 5.7.1"),
        ("another faculty's domain at a leaf", "alice@bio.sci.univ.example", LEAF, "RCPT 550 5.7.1"),
    ):
        check(name, answer, campus.refusal("outside", recipient, via))
    answer = campus.refusal("outside", "bob@bio.sci.univ.example", "2001:db8:18:2::30")
    check("over IPv6, where the host has an address", "RCPT 250 2.1.5", answer)


def queue() -> None:
    """Check that the gateway's queue listens on loopback only and keeps mail for a server that is down."""
    seen = campus.probe("outside", "connect", address="198.18.0.25")["seen"]
    check("port 25 of a gateway is not the queue's", "refused", seen)
    seen = campus.probe("outside", "connect", address="198.18.0.25", port=QUEUE)["seen"]
    check("the queue listens on loopback only", "refused", seen)

    letter = Letter("alice@mech.eng.univ.example")
    check("queue takes it", 250, campus.send("gw1", letter, "127.0.0.1", QUEUE))
    arrival("gateway to a leaf", "mech", letter, ["127.0.0.1", "198.18.0.25"])

    local = Letter("alice@mech.eng.univ.example")
    command = f"sendmail -i -B8BITMIME -f {local.sender} {local.recipient}"
    done = twin.exec("gw1", ["su", "-s", "/bin/sh", "bob", "-c", command], input=as_received(local))
    check("the gateway's own mail", 0, done.returncode)
    found = copies("mech", local)
    check("it leaves through the queue", [["127.0.0.1", "198.18.0.25"]], [way(copy) for copy in found])

    letter = Letter("alice@mech.eng.univ.example")
    twin.stop("mech")
    try:
        check("queue takes mail for a server that is down", 250, campus.send("gw1", letter, "127.0.0.1", QUEUE))
        time.sleep(8)
        waiting = twin.exec("gw1", ["sendmail-mta", "-bp", "-Am"]).stdout.count(letter.recipient.encode())
        check("messages that wait", 1, waiting)
    finally:
        twin.start("mech")
    began = time.monotonic()
    arrival("mail for a server that was down", "mech", letter, ["127.0.0.1", "198.18.0.25"])
    print(f"     it arrived {time.monotonic() - began:.1f} s after the server was back", flush=True)
    left = twin.exec("gw1", "ls /var/spool/mqueue | wc -l").stdout.decode().strip()
    check("nothing is left in the queue", "0", left)


def killed() -> None:
    """Check that a killed queue is restarted with its mail, and that a reload does not restart it."""
    letter = Letter("alice@mech.eng.univ.example")
    twin.stop("mech")
    try:
        check("queue takes mail for a server that is down", 250, campus.send("gw1", letter, "127.0.0.1", QUEUE))
        before = daemon("gw1")
        check("systemd supervises the process that listens", before["MainPID"], listener("gw1"))
        twin.exec("gw1", ["kill", "-9", listener("gw1")])
        took = back("gw1")
        check("it is restarted within seconds", True, took < 15)
        print(f"     its banner came after {took:.1f} s", flush=True)
    finally:
        twin.start("mech")
    arrival("mail that was in it", "mech", letter, ["127.0.0.1", GATEWAY])

    after = daemon("gw1")
    check("it is a new process", True, after["MainPID"] != before["MainPID"])
    for command in ("systemctl reload sendmail", "service sendmail reload"):
        check(command, 0, twin.exec("gw1", command).returncode)
        check(
            "does not restart it",
            (after, after["MainPID"]),
            (daemon("gw1"), listener("gw1")),
        )
    letter = Letter("alice@mech.eng.univ.example")
    check("queue takes mail afterwards", 250, campus.send("gw1", letter, "127.0.0.1", QUEUE))
    arrival("mail after the reloads", "mech", letter, ["127.0.0.1", GATEWAY])


def daemon(host: str) -> dict[str, str]:
    """Return sendmail's process id and number of restarts, as systemd reports them."""
    shown = twin.exec(host, ["systemctl", "show", "--property=MainPID,NRestarts", "sendmail.service"]).stdout.decode()
    return dict(line.split("=", 1) for line in shown.splitlines())


def listener(host: str) -> str:
    """Return the ids of all processes that listen on the queue's port."""
    listening = twin.exec(host, ["ss", "-ltnpH", f"sport = :{QUEUE}"]).stdout.decode()
    return " ".join(re.findall(r"pid=(\d+)", listening))


def back(host: str) -> float:
    """Wait at most 30 seconds for the queue's banner; return the seconds it took."""
    began = time.monotonic()
    while time.monotonic() - began < 30:
        if twin.exec(host, f"printf 'QUIT\\r\\n' | nc -w 2 127.0.0.1 {QUEUE} | grep -q '^220 '").returncode == 0:
            break
        time.sleep(0.2)
    return time.monotonic() - began


def second() -> None:
    """Check a domain with two servers: the second receives its mail while the first is down."""
    starts = {"hub": ("mail.eng", 25, HUB), "queue": ("gw1", QUEUE, GATEWAY)}
    for start, (host, port, address) in starts.items():
        letter = Letter("alice@shared.univ.example")
        check(f"{start} takes mail for a domain of two servers", 250, campus.send(host, letter, "127.0.0.1", port))
        arrival(f"{start} to the home", "mech", letter, ["127.0.0.1", address])
        check("copies at the second server", 0, len(copies("bio", letter, wait=0)))
    twin.stop("mech")
    try:
        began = time.monotonic()
        for start, (host, port, address) in starts.items():
            letter = Letter("alice@shared.univ.example")
            check(f"{start} takes it while the home is down", 250, campus.send(host, letter, "127.0.0.1", port))
            arrival(f"{start} to the second server", "bio", letter, ["127.0.0.1", address])
        print(f"     both arrived in {time.monotonic() - began:.1f} s", flush=True)
        letter = Letter("alice@shared.univ.example")
        check("another faculty's hub takes it", 250, campus.send("mail.sci", letter, "127.0.0.1"))
        arrival("through the hub to the second server", "bio", letter, ["127.0.0.1", OTHER_HUB, HUB])
    finally:
        twin.start("mech")


def moved() -> None:
    """Check the hub's changed route to the other leaf, in the maps only, and its new local domain."""
    letter = Letter("alice@bio.sci.univ.example", "bob@mech.eng.univ.example")
    check("leaf accepts", 250, campus.send("mech", letter, "127.0.0.1"))
    arrival("the new route is used at once", "bio", letter, ["127.0.0.1", LEAF, HUB])
    for user, answer in (("alice", "RCPT 250 2.1.5"), ("nobody-here", "RCPT 550 5.1.1")):
        seen = campus.refusal("outside", f"{user}@new.eng.univ.example", HUB)
        check(f"{user} in the domain that is local now", answer, seen)


{"routes": routes, "queue": queue, "killed": killed, "second": second, "moved": moved}[sys.argv[1]]()
finish()

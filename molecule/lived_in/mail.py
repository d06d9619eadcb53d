# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the mail of files/mail.yml through the twin and compare what happens with it: `mail.py STAGE TWIN RECORD`.

The stage `before` records each result in the file RECORD. `after`, with the plan's routes, and `restored`, without,
compare with that too, in details that mail.yml does not have: the sender and the header From as they arrive, fields
that a milter added, the body, the text of a refusal.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import io
import json
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from lab.campus import Campus
from lab.checks import check, finish
from lab.mail import Letter
from lab.twin import Twin

HERE = Path(__file__).parent
SERVERS = ("mech", "bio", "mail.lib", "exchange", "mail.eng")
#: Seconds until mail that was accepted must have arrived; each server tries at once.
ARRIVAL = 40
#: Seconds in which no further copy may arrive.
QUIET = 2

stage, name, record = sys.argv[1:]
campus = Campus(Twin(None, name))
machines = campus.twin.machines()  # reads the twin's inventory too


def letter_of(case: dict[str, Any]) -> Letter:
    """Return the letter of a case."""
    machine = machines[case["from"]]
    own = "stranger@outside.example" if case["from"] == "outside" else f"alice@{machine.name}"
    return Letter(case["to"], case.get("sender", own))


def send(case: dict[str, Any], letter: Letter) -> str:
    """Send a letter; return "" if it was accepted, else the refusal."""
    if case["by"] == "sendmail":
        command = f"/usr/sbin/sendmail -i -f {letter.sender} {letter.recipient}"
        done = campus.twin.exec(case["from"], ["su", "alice", "-c", command], input=letter.lf().encode("latin-1"))
        return f"sendmail {done.returncode} {done.stderr.decode().strip()}" if done.returncode else ""
    arguments: dict[str, Any] = {}
    if case["by"] != "mx":
        server, _, port = case["by"].partition(":")
        arguments = {"via": machines[server].address, "port": int(port or 25)}
    answer = campus.probe(
        case["from"], "send", to=[letter.recipient], sender=letter.sender, message=letter.base64(),
        lines=case.get("lines", 0), login=case.get("login", []), **arguments,
    )  # fmt: skip
    if answer["code"] == 250:
        return ""
    return f"{answer['stage']} {answer['code']} {answer['text']}"


def mailboxes() -> dict[str, bytes]:
    """Return all mailboxes by `host/user`."""

    def of(host: str) -> dict[str, bytes]:
        archive = campus.twin.exec(host, ["tar", "-cC", "/var/mail", "."]).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            files = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
            return {f"{host}/{Path(user).name}": file.read() for user, file in files if file}

    with ThreadPoolExecutor(len(SERVERS)) as pool:
        return {where: text for found in pool.map(of, SERVERS) for where, text in found.items()}


def copies(letters: list[Letter]) -> dict[str, dict[str, list[bytes]]]:
    """Return the copies of each letter by message id and mailbox."""
    found: dict[str, dict[str, list[bytes]]] = {letter.message_id: {} for letter in letters}
    for where, text in mailboxes().items():
        # The last message has the empty line that ends it; those before have lost it with the split.
        for entry in (b"\n" + text.removesuffix(b"\n")).split(b"\nFrom ")[1:]:
            content = entry.partition(b"\n")[2]
            message_id = email.message_from_bytes(content)["Message-ID"] or ""
            if (key := message_id.strip(" <>")) in found:
                found[key].setdefault(where, []).append(content)
    return found


def described(copy: bytes) -> str:
    """Return what servers may change in a message."""
    head, _, body = copy.partition(b"\n\n")
    fields = email.message_from_bytes(head + b"\n\n")
    shown = [
        f"{field}: {fields[field]}" for field in ("Return-Path", "From", "Authentication-Results") if fields[field]
    ]
    return f"{'; '.join(' '.join(text.split()) for text in shown)}; body {hashlib.sha256(body).hexdigest()[:12]}"


def hops(copy: bytes) -> list[str]:
    """Return the hosts that received a message, first hop first."""
    return campus.path([copy])


cases = yaml.safe_load((HERE / "files" / "mail.yml").read_text())
letters = [letter_of(case) for case in cases]
with ThreadPoolExecutor(4) as pool:
    refusals = list(pool.map(send, cases, letters))

deadline = time.monotonic() + ARRIVAL
while True:
    arrived = copies(letters)
    awaited = zip(cases, letters, refusals, strict=True)
    if all(len(arrived[each.message_id]) >= len(case.get("arrives", [])) or refusal for case, each, refusal in awaited):
        break
    if time.monotonic() > deadline:
        break
    time.sleep(1)
time.sleep(QUIET)
arrived = copies(letters)

results: dict[str, Any] = {}
for case, letter, refusal in zip(cases, letters, refusals, strict=True):
    found = arrived[letter.message_id]
    where = sorted(box for box, several in found.items() for _ in several)
    if "refused" in case:
        check(case["what"], (case["refused"], []), (" ".join(refusal.split()[:3]), where))
    else:
        check(case["what"], ("", sorted(case["arrives"])), (refusal, where))
    results[case["what"]] = [refusal, {box: sorted(map(described, several)) for box, several in sorted(found.items())}]
    if stage == "after" and "routed" in case:
        check(f"{case['what']}, way", case["routed"], hops(next(iter(found.values()))[0]) if found else [])
if stage == "before":
    Path(record).write_text(json.dumps(results, indent=1))
else:
    for what, before in json.loads(Path(record).read_text()).items():
        check(f"{what}, in detail as before", before, results[what])
finish()

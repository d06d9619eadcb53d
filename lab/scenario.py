# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario of inventories/demo: real mail through the twin, one line per step with the expected and actual result.

Each step returns its result in the words of its expectation, so a step passes exactly when the two texts are equal.
"""

from __future__ import annotations

import email
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.campus import Campus
from lab.mail import EICAR_NAME, Letter, as_received, without_trace

GATEWAYS = ("gw1", "gw2")
SERVERS = ("mail.eng", "mech", "civil", "mail.sci", "bio", "quake")
MECH, QUAKE = "198.18.1.30", "198.18.3.40"
CIVIL6, QUAKE6 = "2001:db8:18:1::31", "2001:db8:18:3::40"
STRANGER = "stranger@elsewhere.example"
SCANNER = ("clamav-daemon.socket", "clamav-daemon.service")


Step = Callable[["Scenario"], str]
STEPS: list[tuple[str, str, str, Step]] = []


def step(number: str, what: str, expected: str) -> Callable[[Step], Step]:
    """Register a method as a step: its number, what happens, and the expected result."""

    def register(method: Step) -> Step:
        STEPS.append((number, what, expected, method))
        return method

    return register


@dataclass
class Tally:
    """What the gateways must have counted for the scenario's own traffic."""

    processed: int = 0
    relay_refused: int = 0
    viruses: int = 0


@dataclass
class Scenario:
    """The steps, in order, on a campus that `site.yml` has been applied to."""

    campus: Campus
    tally: Tally = field(default_factory=Tally)
    letters: dict[str, Letter] = field(default_factory=dict)

    def run(self) -> Iterator[tuple[str, str, str, str, float]]:
        """Run each step; yield its number, text, expectation, result and the seconds it took."""
        self.counted = self.reported()
        for number, what, expected, act in STEPS:
            started = time.monotonic()
            try:
                seen = act(self)
            except Exception as error:  # an error is a result that differs
                seen = f"{type(error).__name__}: {error}"
            yield number, what, expected, seen, time.monotonic() - started

    # Shared by several steps

    def send(self, letter: Letter, via: str = "") -> str:
        """Send from outside; return the reply as code and host, and count what a gateway accepted."""
        answer = self.campus.probe(
            "outside", "send", to=[letter.recipient], sender=STRANGER, message=letter.base64(), via=via
        )
        if answer["code"] != 250:
            return f"{answer['code']} at {answer['stage']}"
        host = self.campus.short_name(answer["address"])
        self.tally.processed += host in GATEWAYS
        return f"250 by {host}"

    def arrival(self, letter: Letter, server: str, wait: float = 20) -> str:
        """Describe how a message arrived in its mailbox."""
        copies = self.campus.copies(server, letter, wait)
        if len(copies) != 1:
            return "does not arrive" if not copies else f"arrives {len(copies)} times"
        return "arrives unchanged" if without_trace(copies[0]) == as_received(letter) else "arrives changed"

    def mail(self, recipient: str, server: str, via: str = "") -> str:
        """Send a message; return the reply and how it arrived."""
        letter = Letter(recipient)
        return f"{self.send(letter, via)}, {self.arrival(letter, server)}"

    def refusal(self, recipient: str) -> str:
        """Send a recipient that a gateway must reject; return the command and the reply."""
        answer = self.campus.probe("outside", "send", to=[recipient], sender=STRANGER, via=self.campus.address("gw1"))
        return f"rejected at {answer['stage']}: {answer['code']} {answer['text'][:5]}"

    @contextmanager
    def switched_off(self, host: str) -> Iterator[None]:
        """Power a host off, and on again afterwards."""
        self.campus.twin.stop(host)
        try:
            yield
        finally:
            self.campus.twin.start(host)

    # The steps

    @step("1a", "MX records of a leaf domain, seen from outside", "0 gw1, 10 gw2, 20 mech")
    def _mx(self) -> str:
        lines = self.campus.probe("outside", "mx", domain="mech.eng.univ.example")["lines"]
        return ", ".join(f"{preference} {self.campus.short(exchange)}" for preference, exchange in lines)

    @step("1b", "mail for that domain, by its MX records", "250 by gw1, arrives unchanged")
    def _leaf(self) -> str:
        return self.mail("bob@mech.eng.univ.example", "mech")

    @step("2a", "mail for a hub's domain", "250 by gw1, arrives unchanged")
    def _hub(self) -> str:
        return self.mail("bob@eng.univ.example", "mail.eng")

    @step("2b", "mail for a host name under a wildcard", "250 by gw1, arrives unchanged")
    def _wildcard(self) -> str:
        return self.mail("bob@pc7.lab.mech.eng.univ.example", "mech")

    @step("2c", "mail directly to the research server", "250 by quake, arrives unchanged")
    def _research(self) -> str:
        return self.mail("bob@quake.research.univ.example", "quake", via=QUAKE)

    @step("3a", "a relay attempt", "rejected at RCPT: 550 5.7.1")
    def _relay_attempt(self) -> str:
        self.tally.relay_refused += 1
        return self.refusal("victim@elsewhere.example")

    @step("3b", "a relay attempt with the percent hack", "rejected at RCPT: 550 5.7.1")
    def _percent_hack(self) -> str:
        self.tally.relay_refused += 1
        return self.refusal("victim%elsewhere.example@mech.eng.univ.example")

    @step("3c", "mail for an unknown user", "rejected at RCPT: 550 5.1.1")
    def _unknown_user(self) -> str:
        return self.refusal("nobody-here@mech.eng.univ.example")

    @step("3d", "bounces anywhere on the campus", "none")
    def _bounces(self) -> str:
        found = [
            host
            for host in (*GATEWAYS, *SERVERS)
            if self.campus.sh(
                host,
                "find /var/spool/mqueue /var/spool/mqueue-client -type f 2>/dev/null;"
                " grep -li '^From:.*MAILER-DAEMON' /var/mail/* 2>/dev/null; true",
            ).strip()
        ]
        return ", ".join(found) or "none"

    @step("4a", "from outside directly to an internal server", "v4 refused, v6 refused; from inside 220, 220")
    def _past_the_gateway(self) -> str:
        outside, outside6 = (self.campus.probe_port("outside", where) for where in (MECH, CIVIL6))
        inside, inside6 = (self.campus.probe_port("gw1", where) for where in (MECH, CIVIL6))
        return f"v4 {outside}, v6 {outside6}; from inside {inside}, {inside6}"

    @step("4b", "from outside directly to the permitted server", "v4 220, v6 220")
    def _permitted(self) -> str:
        return f"v4 {self.campus.probe_port('outside', QUAKE)}, v6 {self.campus.probe_port('outside', QUAKE6)}"

    @step("5a", "mail with a virus (EICAR) attached", "250 by gw1, virus replaced by a notice, rest unchanged")
    def _virus(self) -> str:
        letter = Letter("bob@mech.eng.univ.example", infected=True)
        reply = self.send(letter)
        self.tally.viruses += 1
        copies = self.campus.copies("mech", letter)
        if len(copies) != 1:
            return f"{reply}, arrives {len(copies)} times"
        received = without_trace(copies[0])
        before, after = letter.around_attachment()
        kept = received.startswith(before) and received.endswith(after)
        notice = email.message_from_bytes(received[len(before) : len(received) - len(after)])
        noticed = notice.get_content_type() == "text/plain" and EICAR_NAME in (notice.get_payload(decode=True) or b"")
        replaced = noticed and letter.attachment() not in received
        return (
            f"{reply}, {'virus replaced by a notice' if replaced else 'virus NOT replaced'}, "
            f"{'rest unchanged' if kept else 'rest CHANGED'}"
        )

    @step("5b", "virus scanners stopped", "451 at DATA")
    def _scanner_down(self) -> str:
        for gateway in GATEWAYS:
            self.campus.sh(gateway, f"systemctl stop {' '.join(SCANNER)}")
        return self.send(Letter("bob@mech.eng.univ.example"))

    @step("5c", "virus scanners started again", "250 by gw1, arrives unchanged")
    def _scanner_back(self) -> str:
        for gateway in GATEWAYS:
            self.campus.sh(gateway, f"systemctl start {' '.join(SCANNER)}")
        return self.mail("bob@mech.eng.univ.example", "mech")

    @step("6a", "gw1 powered off", "250 by gw2, arrives unchanged")
    def _primary_down(self) -> str:
        with self.switched_off("gw1"):
            return self.mail("bob@mech.eng.univ.example", "mech")

    @step("6b", "gw1 on again, leaf server mech off", "250 by gw1, queued")
    def _leaf_down(self) -> str:
        letter = self.letters["queued"] = Letter("bob@mech.eng.univ.example")
        self.campus.await_port("gw1")
        self.campus.twin.stop("mech")
        reply = self.send(letter)
        queued = self.campus.sh("gw1", "grep -rl bob@mech.eng.univ.example /var/spool/mqueue 2>/dev/null; true").strip()
        return f"{reply}, {'queued' if queued else 'NOT queued'}"

    @step("6c", "mech on again", "arrives unchanged")
    def _leaf_back(self) -> str:
        self.campus.twin.start("mech")
        return self.arrival(self.letters["queued"], "mech", wait=60)

    @step("7", "internal mail from science to engineering", "bio > mail.sci > mail.eng > mech, arrives unchanged")
    def _inside_mail(self) -> str:
        letter = Letter("bob@mech.eng.univ.example", sender="alice@bio.sci.univ.example")
        self.campus.sh(
            "bio",
            f"/usr/sbin/sendmail -i -B8BITMIME -f {letter.sender} {letter.recipient}",
            letter.lf().encode("latin-1"),
        )
        arrival = self.arrival(letter, "mech")
        path = " > ".join(self.campus.path(self.campus.copies("mech", letter)))
        return f"{path}, {arrival}"

    @step("8a", "mailgate routes", "the plan's routes on gw1 and gw2")
    def _routes(self) -> str:
        planned = {route["domain"]: route["next_hops"] for route in self.campus.plan["routes"]}
        agree = []
        for gateway in GATEWAYS:
            listed = json.loads(self.campus.sh(gateway, "mailgate routes --format json"))
            if {route["domain"]: route["next_hops"] for route in listed} == planned:
                agree.append(gateway)
        return f"the plan's routes on {' and '.join(agree) or 'none'}"

    def reported(self) -> Tally:
        """Return what the gateways have counted so far, together."""
        total = Tally()
        for gateway in GATEWAYS:
            counts = json.loads(self.campus.sh(gateway, "mailgate report --format json"))
            total.processed += counts["processed"]
            total.relay_refused += counts["relay_refused"]
            total.viruses += counts["virus_found"]
        return total

    @step("8b", "mailgate report", "the scenario's traffic")
    def _report(self) -> str:
        now, before = self.reported(), self.counted
        since = Tally(
            now.processed - before.processed, now.relay_refused - before.relay_refused, now.viruses - before.viruses
        )
        return "the scenario's traffic" if since == self.tally else f"{since}, expected {self.tally}"

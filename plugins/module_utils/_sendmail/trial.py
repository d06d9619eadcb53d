# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests that a configuration must pass in `sendmail -bt` before it is used: pure functions, no I/O.

Source: the Sendmail Installation and Operations Guide (address test mode).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .tables import MAILER, Settings, hop, in_order

# A probe that no campus relays for: the "stranger" of the relay check, an address set aside for documentation.
STRANGER = "IPv6:2001:db8:ffff:0:0:0:0:1"
FOREIGN_DOMAIN = "mailgate-probe.invalid"
PROBE_LABEL = "mailgate-probe"
PROBE_USER = "mailgate-probe"

_RETURNS = re.compile(r"^(\S+)\s+returns: (.*)$")


@dataclass(frozen=True)
class AddressTest:
    """A line for `sendmail -bt` (`command`), the ruleset whose result counts, and what it must begin with."""

    command: str
    ruleset: str
    expected: str


def address_tests(settings: Settings) -> list[AddressTest]:
    """Return the tests that a configuration must pass before it is used.

    Each route must lead to its own next hop, each local domain to the local mailer, each relay domain must be taken
    from a stranger, and a stranger's mail for a foreign domain must be refused.
    """
    tests = [AddressTest(f"3,0 {_probe(r.domain)}", "parse", f"$#{MAILER}$@{hop(r)}$:") for r in settings.routes]
    tests += [AddressTest(f"3,0 {_probe(d)}", "parse", "$#local$") for d in settings.local]
    tests += [
        AddressTest(f"check_rcpt {_probe(d)}", "check_rcpt", "RELAY") for d in in_order(settings.relay + settings.local)
    ]
    return [*tests, AddressTest(f"check_rcpt {PROBE_USER}@{FOREIGN_DOMAIN}", "check_rcpt", "$#error$@5.7.1$:")]


def test_script(tests: Iterable[AddressTest]) -> str:
    """Return the input for `sendmail -bt`: the tests, with a client that nobody knows."""
    client = [f".D{{client_addr}}{STRANGER}", f".D{{client_name}}{FOREIGN_DOMAIN}", ".D{client_resolve}FAIL"]
    return "".join(f"{line}\n" for line in (*client, *(t.command for t in tests)))


def failures(tests: Iterable[AddressTest], output: str) -> list[str]:
    """Return what `output`, printed by `sendmail -bt` for `test_script(tests)`, says against the tests; [] if nothing.

    sendmail prints a line for each ruleset as it returns, with blanks between tokens; a test's own is the last.
    """
    results = []
    for line in output.splitlines():
        match = _RETURNS.match(line.removeprefix("> "))
        if match and match[1] in ("parse", "check_rcpt"):
            results.append((match[1], match[2].replace(" ", "")))
    found = []
    for test in tests:
        ruleset, got = results.pop(0) if results else ("", "no answer")
        if ruleset != test.ruleset or not got.lower().startswith(test.expected.lower()):
            found.append(f"{test.command}: expected {test.expected}…, got {got}")
    return found


def _probe(domain: str) -> str:
    return f"{PROBE_USER}@{domain.replace('*', PROBE_LABEL)}"

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

from .._routes.table import in_order
from .settings import Settings
from .tables import MAILER, hop

# The external client of the relay check, an address reserved for documentation (RFC 3849).
EXTERNAL_CLIENT = "IPv6:2001:db8:ffff:0:0:0:0:1"
FOREIGN_DOMAIN = "mailgate-probe.invalid"
PROBE_LABEL = "mailgate-probe"
PROBE_USER = "mailgate-probe"

# With FEATURE(delay_checks), check_rcpt calls this ruleset and then those of the sender and the client, which a test of
# a recipient alone does not have.
_DELAYED = "checkrcpt"
_IS_DELAYED = re.compile(rf"^S{_DELAYED}\b", re.MULTILINE)
_RETURNS = re.compile(r"^(\S+)\s+returns: (.*)$")


@dataclass(frozen=True)
class AddressTest:
    """A line for `sendmail -bt` (`command`), the ruleset that is tested, and the required start of its result."""

    command: str
    ruleset: str
    expected: str


def address_tests(settings: Settings, configuration: str = "") -> list[AddressTest]:
    """Return the tests that a `configuration`, the text of sendmail.cf, must pass before it is used.

    Each route must resolve to its next hop, each external domain to itself and each local domain to the local mailer.
    An external client's mail must be accepted for each relay domain and rejected for any other domain.
    """
    tests = [AddressTest(f"3,0 {_probe(r.domain)}", "parse", f"$#{MAILER}$@{hop(r)}$:") for r in settings.routes]
    tests += [AddressTest(f"3,0 {_probe(d)}", "parse", f"$#{MAILER}$@{_host(d)}$:") for d in settings.external]
    tests += [AddressTest(f"3,0 {_probe(d)}", "parse", "$#local$") for d in settings.local]
    check = _DELAYED if _IS_DELAYED.search(configuration) else "check_rcpt"
    tests += [AddressTest(f"{check} {_probe(d)}", check, "RELAY") for d in in_order(settings.relay + settings.local)]
    return [*tests, AddressTest(f"{check} {PROBE_USER}@{FOREIGN_DOMAIN}", check, "$#error$@5.7.1$:")]


def test_script(tests: Iterable[AddressTest]) -> str:
    """Return the input for `sendmail -bt`: an external client, then the tests."""
    client = [f".D{{client_addr}}{EXTERNAL_CLIENT}", f".D{{client_name}}{FOREIGN_DOMAIN}", ".D{client_resolve}FAIL"]
    return "".join(f"{line}\n" for line in (*client, *(t.command for t in tests)))


def failures(tests: Iterable[AddressTest], output: str) -> list[str]:
    """Return the failed tests, from the `output` of `sendmail -bt` for `test_script(tests)`.

    sendmail prints a line when each ruleset returns, with blanks between tokens. The tested ruleset returns last.
    """
    tests = list(tests)
    rulesets = {test.ruleset for test in tests}
    results = []
    for line in output.splitlines():
        match = _RETURNS.match(line.removeprefix("> "))
        if match and match[1] in rulesets:
            results.append((match[1], match[2].replace(" ", "")))
    found = []
    for test in tests:
        ruleset, got = results.pop(0) if results else ("", "no result")
        if ruleset != test.ruleset or not got.lower().startswith(test.expected.lower()):
            found.append(f"{test.command}: expected {test.expected}…, got {got}")
    return found


def _probe(domain: str) -> str:
    """Return a test address in a domain."""
    return f"{PROBE_USER}@{_host(domain)}"


def _host(domain: str) -> str:
    """Return a name that a domain or `*.suffix` matches."""
    return domain.replace("*", PROBE_LABEL)

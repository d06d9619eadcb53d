# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Postfix's own resolver what it does with an address: `trivial-rewrite` with any configuration directory.

With `-S` it answers one request on its standard input and ends, so the running service is not involved.
Source: global/resolve_clnt.c and trivial-rewrite/resolve.c of Postfix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Run = Callable[[list[str], str, Mapping[str, str]], tuple[int, str, str]]
"""Runs a command with text on standard input and variables; returns exit status, standard output and standard error."""

_FAILED = 1 << 3
_CLASSES = {1 << 8: "local", 1 << 9: "virtual alias", 1 << 10: "virtual mailbox", 1 << 11: "relay", 1 << 12: "other"}
#: Postfix delivers these domains itself.
FINAL = frozenset(("local", "virtual alias", "virtual mailbox"))


class ResolverError(Exception):
    """The resolver gave no answer. The message has the reason."""


@dataclass(frozen=True)
class Answer:
    """What Postfix does with an address.

    Attributes:
        kind: The class of its domain: `local`, `virtual alias`, `virtual mailbox`, `relay` or `other`; mail of
            strangers is accepted for all but `other`.
        transport: The service of master.cf.
        nexthop: The host or hosts.
        recipient: The address.
    """

    kind: str
    transport: str
    nexthop: str
    recipient: str

    def __str__(self) -> str:
        """Return the answer for messages."""
        return f"{self.transport}:{self.nexthop} ({self.kind} domain)"


def ask(run: Run, program: Path, config: Path, address: str, sender: str = "") -> Answer:
    """Return what a configuration does with mail to an address.

    Raises:
        ResolverError: The output has no answer, or a lookup failed.
    """
    fields = {"request": "resolve", "sender": sender, "address": address}
    request = "".join(f"{name}\0{value}\0" for name, value in fields.items()) + "\0"
    command = [str(program), "-S", "-n", "rewrite", "-t", "unix"]
    status, out, err = run(command, request, {"MAIL_CONFIG": str(config)})
    return parse(out, address, f"status {status}: {err.strip() or out!r}")


def parse(out: str, address: str, reason: str) -> Answer:
    """Return the answer in the output of the resolver.

    Raises:
        ResolverError: It is not valid; the message has the `reason`.
    """
    parts = out.split("\0")
    start = parts.index("transport") if "transport" in parts else -1
    names = parts[start : start + 8 : 2]
    if start < 0 or names != ["transport", "nexthop", "recipient", "flags"] or not parts[start + 7].isdigit():
        raise ResolverError(f"trivial-rewrite gave no answer for {address} ({reason})")
    flags = int(parts[start + 7])
    kinds = [name for bit, name in _CLASSES.items() if flags & bit]
    if flags & _FAILED or not kinds:
        raise ResolverError(f"trivial-rewrite cannot look up {address}: a table cannot be read, see the mail log")
    return Answer(kinds[0], parts[start + 1], parts[start + 3], parts[start + 5])

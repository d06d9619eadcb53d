# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facts of one host that decide whether the plan can be applied to it. Reads only, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._mta.programs import MANAGED, SERVICE
from .._mta.system import Host, look
from .._mta.verdict import judge
from .._probe.left import left
from .._reach.walk import ordinary_sender
from . import adoption, dns, firewall, others, postfix, sendmail, system, trial
from .reader import Reader

_SHOWN = 500
_CLAMD_SOCKETS = ("/run/clamav/clamd.ctl", "/var/run/clamav/clamd.ctl", "/run/clamd.scan/clamd.sock")


@dataclass(frozen=True)
class Question:
    """What is asked of a host.

    Attributes:
        functions: Its functions in the inventory: `servers`, `gateways`, `dns`, `borders`.
        said: Its kind of mail server in the inventory, "" without one.
        table: Its routing table in the plan, None without a plan.
        listen: Where the plan has its mail server listen, each with `address` and `port`.
        name: Its name.
        senders: The addresses that must reach its port 25.
        named_conf: The configuration of BIND.
        zones: Its zones in the inventory.
        outside: The outside interfaces of a router.
        gateways: The addresses of the gateways.
        backend: The backend of a router's rules.
    """

    functions: Sequence[str]
    said: str = ""
    table: Mapping[str, Any] | None = None
    listen: Sequence[Mapping[str, Any]] = ()
    name: str = ""
    senders: Sequence[str] = ()
    named_conf: str = "/etc/bind/named.conf"
    zones: Sequence[str] = ()
    outside: Sequence[str] = ()
    gateways: Sequence[str] = ()
    backend: str = "auto"


@dataclass
class _Facts:
    """The facts so far. A part that fails is a note, so that the others are still reported."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, get: Callable[[], Any]) -> Any:
        """Add a part and return it, None if it fails."""
        try:
            self.values[name] = get()
        except Exception as error:  # files of others may have any form
            self.notes.append(f"{name} cannot be read: {type(error).__name__}: {error}")
            return None
        return self.values[name]


def survey(question: Question, reader: Reader) -> dict[str, Any]:
    """Return the facts of this host."""
    start = time.monotonic()
    facts = _Facts()
    facts.add("system", lambda: system.facts(reader))
    seen: list[Host] = []
    facts.add("mta", lambda: _mta(question, reader, seen))
    kind = _kind(seen[0]) if seen else ""
    facts.add("mail", lambda: _mail(question, reader, kind, facts))
    if kind and "mail" in facts.values:
        facts.add("queue", lambda: others.queue(reader, kind, facts.values["mail"].get("queue", "")))
    facts.add("firewall", lambda: _firewall(question, reader))
    if "dns" in question.functions:
        facts.add("dns", lambda: dns.facts(reader, question.named_conf, question.zones))
    if "borders" in question.functions:
        facts.add("router", lambda: firewall.facts(reader, question.outside, question.gateways, question.backend))
    if "gateways" in question.functions:
        facts.add("gateway", lambda: _gateway(reader))
    facts.add("left", lambda: [trace.path for trace in left((), reader.root)])
    return facts.values | {
        "notes": facts.notes,
        "missed": list(dict.fromkeys(reader.missed)),
        "seconds": round(time.monotonic() - start, 1),
    }


def _mta(question: Question, reader: Reader, seen: list[Host]) -> dict[str, Any]:
    """Return what runs and is installed, and why the host would be refused."""
    host = look(reader.run, reader.root)
    seen.append(host)
    problems: Sequence[str] = ()
    if {"servers", "gateways"} & set(question.functions) and question.said != "none":
        problems = judge(host, question.said, "gateways" in question.functions).problems
    kind = _kind(host)
    return {
        "kind": kind,
        "kinds": list(host.kinds),
        "package": next((f"{each.name} {each.version}" for each in host.packages if each.kind == kind), ""),
        "listens": sorted({each for process in host.processes for each in process.listens}),
        "evidence": [text for each in host.kinds for text in host.evidence(each)],
        "problems": list(problems),
    }


def _kind(host: Host) -> str:
    """Return the MTA of a host: the one on port 25, else the one that is installed."""
    return next((kind for kind in host.kinds if kind != SERVICE), "")


def _mail(question: Question, reader: Reader, kind: str, facts: _Facts) -> dict[str, Any]:
    """Return what the MTA takes mail for, and what the plan would change in it."""
    if kind not in (*MANAGED, "exim"):
        return {}
    texts: dict[str, str] = {}
    ours: dict[str, set[str]] = {}
    if kind == "sendmail":
        mail, texts = sendmail.facts(reader)
    elif kind == "postfix":
        mail, ours = postfix.facts(reader)
    else:
        mail = others.exim(reader)
    if question.table is not None and kind in MANAGED:
        names = reader.text("/etc/mail/local-host-names") or ""
        table = question.table
        facts.add(
            "changes",
            lambda: (
                adoption.sendmail(table, mail, texts, names)
                if kind == "sendmail"
                else adoption.postfix(table, mail, ours)
            ),
        )
        # The role asks the programs of this host, which know no other root.
        if question.listen and reader.root == Path("/") and question.said in {"", kind}:
            settings = adoption.planned(table)
            facts.add("refusal", lambda: trial.refusal(kind, settings, question.name, question.listen, reader))
    return {name: _bounded(value) for name, value in mail.items()} | {
        f"{name}_count": len(mail[name]) for name in ("local", "relay", "virtual", "routes") if name in mail
    }


def _bounded(value: Any) -> Any:
    """Return a list or table with a bounded number of entries."""
    if isinstance(value, list):
        return value[:_SHOWN]
    return dict(list(value.items())[:_SHOWN]) if isinstance(value, dict) else value


def _firewall(question: Question, reader: Reader) -> list[dict[str, Any]]:
    """Return what the host's own rules do with mail from the gateways, and at a gateway with mail from outside."""
    anyone = ordinary_sender(4, ())
    senders = [*question.senders, *([anyone] if "gateways" in question.functions else [])]
    return [way | {"outside": way["address"] == anyone} for way in firewall.own(reader, senders)]


def _gateway(reader: Reader) -> dict[str, Any]:
    """Return what a gateway needs: clamd and its configuration."""
    return {
        "clamd": bool(reader.find("clamd")),
        "clamd_socket": next((path for path in _CLAMD_SOCKETS if reader.exists(path)), ""),
        "clamd_conf": reader.exists("/etc/clamav/clamd.conf"),
        "freshclam_conf": reader.exists("/etc/clamav/freshclam.conf"),
    }

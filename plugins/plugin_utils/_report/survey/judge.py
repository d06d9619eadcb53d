# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the answer of a host: what is there, what the plan changes, what contradicts it and what prevents it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._systems.systems import SUPPORTED
from ..translations import N_
from .finding import CHANGE, CONFLICT, FACT, OBSTACLE, Finding, Verdict, some
from .functions import dns, gateway, router

_EVERYBODY = frozenset({"0.0.0.0/0", "::/0", "[::]/0", "0/0", "0.0.0.0", "*"})  # noqa: S104
_LONG_QUEUE = 1000


@dataclass(frozen=True)
class Known:
    """What the whole campus knows: its mail domains, and whether there is a plan."""

    domains: frozenset[str] = frozenset()
    planned: bool = False
    hosts: Mapping[str, Any] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Return whether a domain is known, also by a wildcard."""
        labels = name.split(".")
        return name in self.domains or any(
            "*." + ".".join(labels[start:]) in self.domains for start in range(1, len(labels))
        )


def judge(answer: Mapping[str, Any], known: Known) -> Verdict:
    """Return the verdict on a host."""
    facts: Mapping[str, Any] = answer.get("facts") or {}
    functions = list(answer.get("functions", ()))
    findings = list(_outside(answer))
    if answer.get("foreign"):
        findings.insert(0, Finding(FACT, N_("Others maintain it, so nothing is changed on it")))
    elif not facts:
        reason = str(answer.get("unreachable_reason") or "?").rstrip(".")
        findings.insert(0, Finding(OBSTACLE, N_("It cannot be asked: {reason}"), _REACH, {"reason": reason}))
    else:
        findings = [*_system(facts, functions), *_mta(facts, functions), *_mail(answer, known), *_changes(facts)]
        findings += [*_queue(facts), *_firewall(facts), *_outside(answer)]
        findings += [*dns(facts, answer), *router(facts), *gateway(facts), *_remarks(facts)]
    if not functions:
        findings.insert(0, Finding(FACT, N_("The inventory gives it no function in the mail system")))
    return Verdict(str(answer.get("host", "")), str(answer.get("faculty", "")), functions, findings, answer)


_REACH = N_("Make it reachable by SSH as root with Python 3, or set mailgate_mta to none if others maintain it")


def _system(facts: Mapping[str, Any], functions: Sequence[str]) -> Iterator[Finding]:
    system = facts.get("system") or {}
    yield Finding(
        FACT,
        N_("{name}, kernel {kernel}, Python {python}; free: {available} of {memory} MiB of memory, {disk} MiB in /var"),
        "",
        {**dict.fromkeys(("name", "kernel", "python", "available", "memory", "disk"), "?"), **system},
    )
    if functions and system.get("version") not in SUPPORTED.get(str(system.get("id")), ()):
        name = system.get("name") or "?"
        fix = N_("Supported are Debian 12 and 13. Upgrade it, or set mailgate_mta to none")
        yield Finding(OBSTACLE, N_("Its system, {name}, is not supported"), fix, {"name": name})
    if functions and not system.get("root", True):
        fix = N_("Log in as root, or set ansible_become")
        yield Finding(OBSTACLE, N_("It was not asked as root, so that this is incomplete"), fix)


def _mta(facts: Mapping[str, Any], functions: Sequence[str]) -> Iterator[Finding]:
    mta = facts.get("mta") or {}
    for problem in mta.get("problems", ()):
        yield Finding(OBSTACLE, "{text}", "", {"text": problem})
    if mta.get("kind"):
        version = (facts.get("mail") or {}).get("version", "")
        values = {
            "mta": " ".join(filter(None, (mta["kind"], version))),
            "package": mta.get("package") or "-",
            "listens": some(mta.get("listens", ())) or "-",
        }
        yield Finding(FACT, N_("Mail server: {mta} (package {package}), listening on {listens}"), "", values)
    else:
        yield Finding(FACT, N_("No mail server was found"))
    ports = [each for each in mta.get("listens", ()) if each.endswith(":25")]
    if "servers" in functions and ports and all(_loopback(each) for each in ports):
        fix = N_("Have it listen on an address that the gateways reach")
        yield Finding(CONFLICT, N_("It accepts mail from itself only, on {listens}"), fix, {"listens": some(ports)})


def _loopback(listen: str) -> bool:
    address = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _mail(answer: Mapping[str, Any], known: Known) -> Iterator[Finding]:
    mail: Mapping[str, Any] = answer["facts"].get("mail") or {}
    if not mail:
        return
    lists = (
        ("local", N_("Takes mail for {names}")),
        ("virtual", N_("Has virtual users in {names}")),
        ("relay", N_("Relays to {names}")),
        ("relays_from", N_("Relays from {names}")),
        ("routes", N_("Has routes of its own for {names}")),
        ("milters", N_("Asks the milters {names}")),
        ("unread", N_("Not read, as a file does not say it: {names}")),
    )
    for name, text in lists:
        if names := list(mail.get(name) or ()):
            yield Finding(FACT, text, "", {"names": some(names, int(mail.get(f"{name}_count", 0)))})
    words = (
        ("smart_host", N_("Sends other mail to {name}")),
        ("masquerade", N_("Rewrites sender addresses to {name}")),
        ("content_filter", N_("Sends mail through the content filter {name}")),
    )
    for name, text in words:
        if mail.get(name):
            yield Finding(FACT, text, "", {"name": mail[name]})
    yield from _mail_conflicts(answer, mail, known)


def _mail_conflicts(answer: Mapping[str, Any], mail: Mapping[str, Any], known: Known) -> Iterator[Finding]:
    if mail.get("error"):
        yield Finding(CONFLICT, N_("Its configuration cannot be read: {text}"), "", {"text": mail["error"]})
    if _EVERYBODY & set(mail.get("relays_from", ())):
        yield Finding(CONFLICT, N_("It relays for everybody"), N_("Restrict the networks from which it relays"))
    if mail.get("instances"):
        fix = N_("Only the first instance can be changed. Decide which one has the domains of the plan")
        yield Finding(
            CONFLICT, N_("It has several instances of Postfix: {names}"), fix, {"names": some(mail["instances"])}
        )
    if mail.get("old_form"):
        values = {"file": mail["old_form"], "routes": mail.get("static_route_file") or "-"}
        fix = N_("Move it to a sendmail.mc before the first run")
        yield Finding(CONFLICT, N_("It is configured by the package CF ({file}; routes in {routes})"), fix, values)
    elif mail.get("configuration", "").endswith("sendmail.cf") and not mail.get("source"):
        fix = N_("Bring the source back: without it the file cannot be changed safely")
        yield Finding(OBSTACLE, N_("{file} has no sendmail.mc beside it"), fix, {"file": mail["configuration"]})
    if unknown := unknown_domains(answer, known):
        fix = N_("Add them to its mailgate_domains, or have it no longer take mail for them")
        text = N_("It takes mail for {names}, which the inventory does not know: no gateway would accept that mail")
        yield Finding(CONFLICT, text, fix, {"names": some(unknown)})


def unknown_domains(answer: Mapping[str, Any], known: Known) -> list[str]:
    """Return the domains that a server takes mail for and that the inventory does not know, without its own names."""
    facts = answer.get("facts") or {}
    mail = facts.get("mail") or {}
    if "servers" not in answer.get("functions", ()):
        return []
    own = {str(answer.get("host", "")).lower(), str((facts.get("system") or {}).get("hostname", "")).lower()}
    names = dict.fromkeys([*mail.get("local", ()), *mail.get("virtual", ())])
    return [
        name
        for name in names
        if _is_domain(name)
        and name not in own
        and not known.has(name)
        and not name.startswith("localhost.")
        and not name.endswith((".localdomain", ".local", ".internal"))
    ]


def _is_domain(name: str) -> bool:
    return "." in name.strip(".") and name[0] not in "[!.*" and not name.replace(".", "").isdigit() and ":" not in name


_CONFLICTS = {
    "route": (
        N_("Its own route '{domain} {theirs}' contradicts the planned one, {ours}"),
        N_("Remove its own entry, or keep it by listing the domain in mailgate_keep_route of this server"),
    ),
    "local": (
        N_("It takes mail for {domain} itself; the plan routes that to {ours}"),
        N_("Remove the domain there, or list it in the mailgate_domains of this server"),
    ),
    "virtual": (
        N_("It has virtual users in {domain}; the plan routes that to {ours}"),
        N_("Remove these users there, or list the domain in the mailgate_domains of this server"),
    ),
    "away": (
        N_("The plan delivers {domain} here; its own entry sends it to {theirs}"),
        N_(
            "Keep its entry if mailboxes are elsewhere, and list the domain at the server that has them; else remove it"
        ),
    ),
    "access": ("{theirs}", N_("Remove the line, or remove the domain from the inventory")),
}


def _changes(facts: Mapping[str, Any]) -> Iterator[Finding]:
    changes = facts.get("changes")
    if changes is None:
        return
    parts = (
        ("routes_added", N_("{count} routes would be added or changed: {names}")),
        ("relay_added", N_("{count} domains would be relayed to for everybody: {names}")),
        ("local_added", N_("{count} domains would be delivered here: {names}")),
    )
    none = True
    for name, text in parts:
        if names := changes.get(name, ()):
            count = int(changes.get(f"{name}_count", len(names)))
            none = False
            yield Finding(CHANGE, text, "", {"count": count, "names": some(names, count)})
    if none:
        yield Finding(CHANGE, N_("Its routes are those of the plan"))
    for conflict in changes.get("conflicts", ()):
        text, fix = _CONFLICTS.get(conflict.get("kind"), _CONFLICTS["access"])
        yield Finding(CONFLICT, text, fix, dict(conflict))
    # The role tells the same conflicts.
    if facts.get("refusal") and not changes.get("conflicts"):
        fix = N_("Until it is corrected, the role changes nothing on this host")
        yield Finding(CONFLICT, N_("The role refuses its mail configuration: {text}"), fix, {"text": facts["refusal"]})


def _queue(facts: Mapping[str, Any]) -> Iterator[Finding]:
    queue = facts.get("queue")
    if not queue:
        return
    count = f"{queue.get('messages', 0)}{'+' if queue.get('more') else ''}"
    if queue.get("messages", 0) >= _LONG_QUEUE:
        fix = N_("Find out why first: messages that wait get new routes with the change")
        yield Finding(CONFLICT, N_("{count} messages are in its queue"), fix, {"count": count})
    else:
        yield Finding(FACT, N_("{count} messages are in its queue"), "", {"count": count})


def _firewall(facts: Mapping[str, Any]) -> Iterator[Finding]:
    for way in facts.get("firewall", ()):
        values = {"address": way["address"], "rule": "; ".join(way.get("rules", ())) or "-"}
        if way["fate"] == "blocked":
            fix = N_("Accept TCP port 25 from there")
            text = N_("Its own firewall blocks port 25 from {address}: {rule}")
            if way.get("outside"):
                text = N_("Its own firewall blocks port 25 from outside: {rule}")
            yield Finding(CONFLICT, text, fix, values)
        elif way["fate"] == "unknown":
            yield Finding(
                FACT, N_("Whether its firewall accepts port 25 from {address} depends on: {rule}"), "", values
            )
        else:
            yield Finding(FACT, N_("Its firewall accepts port 25 from {address}"), "", values)


def _outside(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what port 25 answers to the controller."""
    silent = CONFLICT if answer.get("foreign") else FACT
    for banner in answer.get("banners", ()):
        values = {"address": banner["address"], "text": f"{banner['code']} {banner['text']}", "error": banner["error"]}
        if banner["code"] == 220:
            yield Finding(FACT, N_("Port 25 of {address} answers the controller: {text}"), "", values)
        elif banner["code"]:
            yield Finding(silent, N_("Port 25 of {address} rejects the controller: {text}"), "", values)
        else:
            yield Finding(silent, N_("Port 25 of {address} does not answer the controller: {error}"), "", values)


def _remarks(facts: Mapping[str, Any]) -> Iterator[Finding]:
    if facts.get("left"):
        yield Finding(FACT, N_("Has files of an earlier run: {names}"), "", {"names": some(facts["left"])})
    for note in facts.get("notes", ()):
        yield Finding(CONFLICT, N_("Not surveyed: {text}"), N_("Look at it yourself"), {"text": note})
    if facts.get("missed"):
        text = N_("Not surveyed, as it took too long: {text}")
        yield Finding(CONFLICT, text, N_("Look at it yourself"), {"text": some(facts["missed"])})


def known_of(answers: Iterable[Mapping[str, Any]], plan: Mapping[str, Any]) -> Known:
    """Return the domains that the inventory knows: those of the plan, and of all variables that could be read."""
    names = {str(domain).lower() for answer in answers for domain in answer.get("domains", ())}
    names |= {str(route["domain"]) for route in plan.get("routes", ())}
    names |= {str(each["domain"]) for each in plan.get("external", ())}
    return Known(frozenset(names), bool(plan.get("hosts")), plan.get("hosts", {}))

# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our lines in the sendmail files of an admin, and the lines that contradict them. Pure functions, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .._keep import blocks
from .._routes.table import Route, in_order, is_wildcard
from .._routes.transition import Present
from . import tables
from .running import Configuration
from .settings import Settings

MC_STYLE = blocks.Style("dnl # ")
ROUTES, LOCAL, RELAY, MC = "routes", "local domains", "domains this host relays to", "routing"

#: Before an admin's line that ours replaces.
_TAKEN = "#campus.mailgate: "
_IS_TAKEN = re.compile(rf"^{re.escape(_TAKEN)}", re.MULTILINE)
#: Mailers that deliver by SMTP to the host given.
_SMTP = ("smtp", "esmtp", "smtp8", "dsmtp", "relay")
#: The settings that the block has only if asked to.
MANAGED = ("hostname", "listen", "max_daemon_children", "double_bounce_address")
_ANY = ("0.0.0.0", "::")  # noqa: S104
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Conflict:
    """A line of an admin about a planned domain that says something else; `line` is 0 if it is in no table."""

    domain: str
    path: Path
    line: int
    theirs: str
    planned: str

    def __str__(self) -> str:
        """Return both lines for people."""
        where = f"{self.path}, line {self.line}" if self.line else str(self.path)
        return f"{self.domain}: {where}: {self.theirs!r}; the plan: {self.planned!r}"


def bare(text: str, style: blocks.Style = blocks.HASH) -> str:
    """Return an admin's text without our lines.

    Raises:
        BlockError: Markers are incomplete.
    """
    return _IS_TAKEN.sub("", blocks.without(text, style))


def with_lines(text: str, lines: Iterable[str], about: str, taken: Iterable[int] = ()) -> str:
    """Return a table with our block, and with the lines of these numbers, as in `bare`, taken out of use."""
    numbers = set(taken)
    text = _IS_TAKEN.sub("", text)
    inside, number, out = False, 0, []
    for line in re.findall(r"[^\n]*\n|[^\n]+\Z", text):
        stripped = line.rstrip("\r\n")
        if any(stripped == blocks.HASH.begin(about, added=added) for added in (False, True)):
            inside = True
        number += not inside
        out.append(_TAKEN + line if number in numbers and not inside else line)
        inside = inside and stripped != blocks.HASH.finish()
    return blocks.put("".join(out), list(lines), about)


def without_domains(settings: Settings, domains: Iterable[str]) -> Settings:
    """Return settings without some domains, which stay as an admin has them."""
    kept = set(in_order(domains))
    return replace(
        settings,
        local=tuple(d for d in settings.local if d not in kept),
        relay=tuple(d for d in settings.relay if d not in kept),
        routes=tuple(r for r in settings.routes if r.domain not in kept),
        external=tuple(d for d in settings.external if d not in kept),
    )


def same_route(theirs: str, planned: str) -> bool:
    """Return whether two values of the mailertable send to the same hosts by SMTP."""
    if theirs.strip().lower() == planned.lower():
        return True
    (mailer, _colon, hosts), (_mailer, _second, wanted) = theirs.strip().partition(":"), planned.partition(":")
    return mailer.lower() in _SMTP and hosts.lower() == wanted.lower() and "%" not in wanted


def table_conflicts(path: Path, text: str, planned: Mapping[str, str], settings: Settings) -> list[Conflict]:
    """Return the lines of an admin's mailertable, without our block, that contradict entries or local domains."""
    found = []
    theirs = tables.numbered(text)
    for key, value in planned.items():
        number, line, present = theirs.get(key, (0, "", value))
        if not same_route(present, value):
            found.append(Conflict(_domain(key), path, number, line, f"{key} {value}"))
    for domain in settings.local:
        if domain in theirs and domain not in planned:
            number, line, _value = theirs[domain]
            found.append(Conflict(domain, path, number, line, f"{domain} is local"))
    return found


def access_conflicts(path: Path, text: str, settings: Settings) -> list[Conflict]:
    """Return the lines of an admin's access file, without our block, that contradict planned ones."""
    theirs, found = tables.numbered(text), []
    for key, planned in tables.access_entries(settings).items():
        number, line, value = theirs.get(f"to:{key}", (0, "", planned))
        if value.strip().upper() != planned:
            found.append(Conflict(key, path, number, line, f"To:{key} {planned}"))
    return found


def class_conflicts(names: Iterable[str], files: Mapping[Path, str], mc: Path, settings: Settings) -> list[Conflict]:
    """Return the domains that this host takes as its own (class w) but the plan routes elsewhere.

    Args:
        names: Class w, without our lines.
        files: The files of class w, without our blocks.
        mc: Where the names come from that are in none of the files.
        settings: The settings.
    """
    known = {name.lower() for name in names}
    found = []
    planned = {r.domain: tables.hop(r) for r in settings.routes} | dict.fromkeys(settings.external, "its MX records")
    for domain, hop in planned.items():
        if domain not in known:
            continue
        places = [(path, n) for path, text in files.items() for n in _lines_of(text, domain)]
        path, number = places[0] if places else (mc, 0)
        theirs = domain if places else f"{domain} in class w"
        found.append(Conflict(domain, path, number, theirs, f"{domain} is routed to {hop}"))
    return found


def user_conflicts(path: Path, text: str, settings: Settings) -> list[Conflict]:
    """Return the virtual users in domains that the plan routes elsewhere."""
    planned = {r.domain: tables.hop(r) for r in settings.routes} | dict.fromkeys(settings.external, "its MX records")
    found = []
    for key, (number, line, _value) in tables.numbered(text).items():
        domain = key.rpartition("@")[2]
        if "@" in key and domain in planned:
            found.append(Conflict(domain, path, number, line, f"{domain} is routed to {planned[domain]}"))
    return found


def route_lines(text: str, planned: Mapping[str, str]) -> list[str]:
    """Return our lines of the mailertable: the entries that the admin does not have."""
    theirs = {key: value for key, (_n, _l, value) in tables.numbered(text).items()}
    return [f"{k}\t{v}" for k, v in planned.items() if k not in theirs or not same_route(theirs[k], v)]


def relay_lines(text: str, settings: Settings) -> list[str]:
    """Return our lines of the access file."""
    theirs = {key: value.strip().upper() for key, (_n, _l, value) in tables.numbered(text).items()}
    entries = tables.access_entries(settings).items()
    return [f"To:{key}\t{value}" for key, value in entries if theirs.get(f"to:{key}") != value]


def alias_lines(texts: Iterable[str]) -> list[str]:
    """Return the required aliases that are in none of the alias files."""
    names = {name for text in texts for name in tables.alias_names(text)}
    needed = {"postmaster": "root", "mailer-daemon": "postmaster"}
    return [f"{name}: {target}" for name, target in needed.items() if name not in names]


def uncovered(settings: Settings, listeners: Iterable[tuple[str, str]]) -> list[str]:
    """Return the wanted addresses and ports, as `address port`, on which the daemon does not listen."""
    present = [(address.strip("[]").removeprefix("IPv6:"), port) for address, port in listeners]
    found = []
    for wanted in settings.listen:
        on_port = [address for address, port in present if port == str(wanted.port)]
        if wanted.address in _ANY:
            covered = any(address not in _LOOPBACK for address in on_port)
        else:
            covered = any(address in (*_ANY, wanted.address) for address in on_port)
        if not covered:
            found.append(f"{wanted.address} {wanted.port}")
    return found


def mailer(configuration: Configuration) -> str | None:
    """Return the mailer for routes; None if none delivers to port 25 of the host given."""
    for name in ("relay", "esmtp"):
        found = configuration.mailer(name)
        if found and found.arguments == "TCP $h":
            return name
    return None


def mc_lines(
    own: Configuration, settings: Settings, declared: Mapping[str, Path], manage: Iterable[str], names: Iterable[str]
) -> list[str]:
    """Return our lines of sendmail.mc.

    Args:
        own: What the admin's file yields without them.
        settings: The settings.
        declared: The tables that we declare, `mailertable` and `access`, with their paths.
        manage: Which of `MANAGED` the admin's file does not set and we are asked to.
        names: Local domains for class w that no file has.
    """
    lines = []
    if "mailertable" in declared:
        lines.append(f"FEATURE(`mailertable', `hash -o {declared['mailertable']}')dnl")
    if "access" in declared:
        lines.append(f"FEATURE(`access_db', `hash -o -T<TMPF> {declared['access']}', `skip')dnl")
    lines += [f"LOCAL_DOMAIN(`{name}')dnl" for name in names]
    lines += _managed(own, settings, set(manage))
    relay = own.mailer("relay")
    # A smart host's mail goes by the same mailer and stays as it is.
    if settings.routes and mailer(own) == "relay" and relay and not own.macro("S"):
        if relay.length == "2040":
            lines.append("define(`RELAY_MAILER_LL', `0')dnl")
        if relay.flags == "mDFMuXa8":
            lines.append("MODIFY_MAILER_FLAGS(`RELAY', `-8')dnl")
    return lines + list(settings.extra)


def _managed(own: Configuration, settings: Settings, manage: set[str]) -> list[str]:
    """Return the lines of the settings of the daemon that we are asked for and the admin's file does not set."""
    lines = []
    if "listen" in manage:
        missing = uncovered(settings, own.listeners)
        if missing and "Name=MTA" in own.options("DaemonPortOptions"):
            # The first DAEMON_OPTIONS replaces the default daemon.
            lines.append("DAEMON_OPTIONS(`Name=MTA')dnl")
        for number, entry in enumerate(missing, 1):
            address, port = entry.split()
            family = "inet6" if ":" in address else "inet"
            lines.append(f"DAEMON_OPTIONS(`Name=mailgate{number}, Family={family}, Addr={address}, Port={port}')dnl")
    if "max_daemon_children" in manage and own.options("MaxDaemonChildren") in ([], ["0"]):
        lines.append(f"define(`confMAX_DAEMON_CHILDREN', `{settings.max_daemon_children}')dnl")
    if "double_bounce_address" in manage and not own.options("DoubleBounceAddress"):
        lines.append(f"define(`confDOUBLE_BOUNCE_ADDRESS', `{settings.double_bounce_address}')dnl")
    if "hostname" in manage and settings.hostname and not own.macro("j"):
        lines.append(f"define(`confDOMAIN_NAME', `{settings.hostname}')dnl")
    return lines


def place(trace: str, source: Path, text: str) -> int | None:
    """Return the offset of the line of a .mc before which a block must be, from a trace of m4; None without MAILER.

    Args:
        trace: m4's trace of MAILER, MAILER_DEFINITIONS, include and sinclude.
        source: The .mc that m4 has read.
        text: Its content.
    """
    last = None
    for file, number, macro in re.findall(r"^m4trace:(.+?):(\d+): -1- (\w+)", trace, re.MULTILINE):
        if file == str(source):
            last = int(number)
        if macro in ("MAILER", "MAILER_DEFINITIONS"):
            if last is None:
                return None
            starts = [0, *(match.end() for match in re.finditer("\n", text))]
            return starts[last - 1]
    return None


def null_client(trace: str) -> str | None:
    """Return the hub of FEATURE(nullclient), from a trace of m4 with FEATURE; None without that feature."""
    match = re.search(r"^m4trace:.*: -1- FEATURE\(nullclient, *(.*)\)$", trace, re.MULTILINE)
    return match[1] if match else None


def present(mailertable: str, class_w: str, access: str, mc: str) -> Present | None:
    """Return the domains and routes in our blocks; None if there is no block.

    Raises:
        BlockError: Markers are incomplete.
    """
    lines = {
        about: [line for block in blocks.found(text, style) if block.about == about for line in block.lines]
        for about, text, style in (
            (ROUTES, mailertable, blocks.HASH),
            (LOCAL, class_w, blocks.HASH),
            (RELAY, access, blocks.HASH),
            (MC, mc, MC_STYLE),
        )
    }
    if not any(lines.values()):
        return None
    local = {line.strip().lower() for line in lines[LOCAL]}
    local |= {match[1] for line in lines[MC] if (match := re.match(r"LOCAL_DOMAIN\(`(.*)'\)", line))}
    routes = {}
    for key, value in tables.map_entries("\n".join(lines[ROUTES])).items():
        domain = _domain(key)
        if value == "local:":
            local.add(domain)
        elif hops := tables.addresses(value):
            routes[domain] = hops
    relay = {line.split()[0].removeprefix("To:") for line in lines[RELAY] if line.endswith("\tRELAY")}
    return Present(frozenset(local), frozenset(relay), routes)


def planned_for(domain: str, settings: Settings) -> Route | str | None:
    """Return what the plan says about mail for a domain: a route, `local`, `external`, or None; the most specific."""
    entries: dict[str, Route | str] = {r.domain: r for r in settings.routes}
    entries |= dict.fromkeys(settings.local, "local") | dict.fromkeys(settings.external, "external")
    domain = domain.lower().rstrip(".")
    if domain in entries:
        return entries[domain]
    labels = domain.split(".")
    for start in range(1, len(labels)):
        found = entries.get("*." + ".".join(labels[start:]))
        if found is not None:
            return found
    return None


def local_names(settings: Settings) -> list[str]:
    """Return the local domains that class w can have."""
    return [d for d in settings.local if not is_wildcard(d)]


def _lines_of(text: str, domain: str) -> list[int]:
    """Return the numbers of the lines with a domain in a file of class w."""
    lines = enumerate(text.split("\n"), 1)
    return [n for n, line in lines if domain in line.split("#")[0].lower().split()]


def _domain(key: str) -> str:
    """Return the domain of a key of the mailertable."""
    return f"*{key}" if key.startswith(".") else key

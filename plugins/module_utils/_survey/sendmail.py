# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sendmail does, from its sendmail.cf and the files that this names. Pure but for `facts`.

Source: the Sendmail Installation and Operations Guide, section 5 (the configuration file).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .._sendmail.tables import map_entries
from .reader import Reader

CF_FILES = ("/etc/mail/sendmail.cf", "/etc/sendmail.cf")
DEFINITIONS = ("/etc/mail/sendmail.def", "/usr/local/lib/mail/CF/sendmail.def", "/etc/sendmail.def")
_CLASS = re.compile(r"([CF])(?:\{([^}]+)\}|(.))\s*(.*)")
_MACRO = re.compile(r"D(?:\{([^}]+)\}|(.))(.*)")
_MAP = re.compile(r"K(\S+)\s+(\S+)\s*(.*)")
_OPTION = re.compile(r"O\s+([A-Za-z0-9.]+)\s*=\s*(.*)")
_FILTER = re.compile(r"X([^,\s]+)\s*,\s*(.*)")
_ROUTE_FILE = re.compile(r"^\s*STATIC_ROUTE_FILE\s*=\s*[\"']?([^\"'\s#]+)", re.MULTILINE)


@dataclass(frozen=True)
class Map:
    """A map: its type, such as `hash`, and its path or arguments."""

    kind: str
    path: str


@dataclass
class Cf:
    """The lines of a sendmail.cf that matter here."""

    classes: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)
    maps: dict[str, Map] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)

    def option(self, name: str) -> str:
        """Return the last value of an option, "" without one."""
        return self.options.get(name.lower(), [""])[-1]


def read_cf(text: str) -> Cf:
    """Return the classes, macros, maps, options and filters of a sendmail.cf."""
    cf = Cf()
    for line in re.sub(r"\n[ \t]+", " ", text).splitlines():
        kind = line[:1]
        if kind in {"C", "F"} and (match := _CLASS.match(line)):
            name, rest = match[2] or match[3], match[4]
            if kind == "C":
                cf.classes.setdefault(name, []).extend(rest.split())
            else:
                cf.files.setdefault(name, []).append(_class_file(rest))
        elif kind == "D" and (match := _MACRO.match(line)):
            cf.macros[match[1] or match[2]] = match[3].strip()
        elif kind == "K" and (match := _MAP.match(line)):
            cf.maps[match[1]] = Map(match[2], _map_path(match[2], match[3]))
        elif kind == "O" and (match := _OPTION.match(line)):
            cf.options.setdefault(match[1].lower(), []).append(match[2].strip())
        elif kind == "X" and (match := _FILTER.match(line)):
            cf.filters[match[1]] = match[2].strip()
    return cf


def _class_file(rest: str) -> str:
    """Return the file of an F line: without the option and the format, `-o /etc/mail/relay-domains %[^\\#]`."""
    words = [word for word in rest.split() if word != "-o"]
    return words[0].removeprefix("-o") if words else ""


def _map_path(kind: str, rest: str) -> str:
    """Return the path of a map of a file, without its options; the arguments of another one."""
    if kind not in {"hash", "btree", "dbm", "cdb", "text", "implicit"}:
        return rest.strip()
    words = [word for word in rest.split() if not word.startswith("-")]
    return words[-1].removesuffix(".db") if words else ""


def words(text: str) -> list[str]:
    """Return the words of a file of a class, in lower case."""
    return [word.lower() for line in text.splitlines() for word in line.partition("#")[0].split()]


def virtual_domains(entries: Iterable[str]) -> list[str]:
    """Return the domains of the keys of a virtusertable."""
    return sorted({key.rpartition("@")[2] for key in entries if "@" in key and key.rpartition("@")[2]})


def relay_rights(entries: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return, from the entries of an access file, from whom and to which domains the host relays."""
    sources, domains = [], []
    for key, value in entries.items():
        if value.split(" ")[0].upper() != "RELAY":
            continue
        tag, colon, rest = key.rpartition(":") if key.startswith(("to:", "connect:", "from:")) else ("", "", key)
        if colon and tag.startswith("to"):
            domains.append(rest)
        elif colon and tag.startswith(("connect", "from")):
            sources.append(key.partition(":")[2].removeprefix("ipv6:"))
        else:  # without a tag it is for both
            sources.append(key)
            if re.search(r"[a-z]", key) and ":" not in key:
                domains.append(key)
    return sorted(sources), sorted(domains)


def static_routes(text: str) -> dict[str, str]:
    """Return the domains of a static-route file of the CF package, each with its destination."""
    found = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) >= 2:
            domain, target = (
                (fields[1], " ".join(fields[2:])) if fields[0].upper() == "STATIC" else (fields[0], fields[1])
            )
            found[domain.lower()] = target
    return found


def alias_count(text: str) -> int:
    """Return how many aliases a file has."""
    return len(re.findall(r"^(?!#)(?:\"[^\"\n]*\"|[^\s:#\"][^:\n]*):", text, re.MULTILINE))


class Tables:
    """The source files of the maps of a sendmail.cf; a map whose source is missing is read by makemap."""

    def __init__(self, reader: Reader, cf: Cf) -> None:
        self._reader = reader
        self._cf = cf
        self.unread: list[str] = []

    def source(self, name: str) -> str:
        """Return the source of a map, "" without one."""
        found = self._cf.maps.get(name)
        if not found:
            return ""
        if found.kind not in {"hash", "btree", "dbm", "cdb", "text"} or not found.path.startswith("/"):
            self.unread.append(f"{name} ({found.kind} {found.path})")
            return ""
        text = self._reader.text(found.path)
        if text is None and self._reader.exists(f"{found.path}.db"):
            status, out, _errors = self._reader.run(["makemap", "-u", found.kind, f"{found.path}.db"])
            if status:
                self.unread.append(f"{name} ({found.path}.db)")
            return "" if status else out
        return text or ""

    def class_words(self, name: str) -> list[str]:
        """Return the words of a class, from its lines and its files."""
        found = []
        for word in self._cf.classes.get(name, ()):
            other = word.removeprefix("$=").strip("{}")  # a class may contain another one
            found += self.class_words(other) if word.startswith("$=") and other != name else [word.lower()]
        for path in self._cf.files.get(name, ()):
            if not path.startswith("/"):
                self.unread.append(f"class {name} ({path})")
            else:
                found += words(self._reader.text(path) or "")
        return list(dict.fromkeys(found))


def facts(reader: Reader) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a sendmail takes mail for, and the sources of its tables by name."""
    path = next((each for each in CF_FILES if reader.exists(each)), "")
    cf = read_cf(reader.text(path) or "") if path else Cf()
    tables = Tables(reader, cf)
    texts = {name: tables.source(name) for name in ("mailertable", "access", "virtuser")}
    entries = {name: dict(map_entries(text)) for name, text in texts.items()}
    sources, relayed = relay_rights(entries["access"])
    aliases = [part.strip() for part in cf.option("AliasFile").split(",") if part.strip()]
    mc = path.removesuffix(".cf") + ".mc" if path else ""
    old = next((each for each in DEFINITIONS if reader.exists(each)), "")
    route_file = match[1] if (match := _ROUTE_FILE.search(reader.text(old) or "")) else ""
    routes = {key: value for key, value in entries["mailertable"].items() if not value.startswith("local:")}
    routes |= {f"{key} ({route_file})": value for key, value in static_routes(reader.text(route_file) or "").items()}
    return {
        "configuration": path,
        "source": mc if mc and reader.exists(mc) else "",
        "old_form": old,
        "static_route_file": route_file,
        "version": cf.macros.get("Z", ""),
        "local": tables.class_words("w"),
        "local_wildcards": [key for key, value in entries["mailertable"].items() if value.startswith("local:")],
        "relay": list(dict.fromkeys([*tables.class_words("R"), *relayed])),
        "virtual": virtual_domains(entries["virtuser"]),
        "virtual_entries": len(entries["virtuser"]),
        "routes": routes,
        "access_entries": len(entries["access"]),
        "aliases": sum(alias_count(reader.text(each.split(":")[-1]) or "") for each in aliases),
        "relays_from": sources,
        "smart_host": cf.macros.get("S", ""),
        "mail_hub": cf.macros.get("H", ""),
        "masquerade": cf.macros.get("M", ""),
        "auth": bool(cf.option("AuthMechanisms")),
        "milters": [part.strip() for part in re.split(r"[,;]", cf.option("InputMailFilters")) if part.strip()],
        "listen": cf.options.get("daemonportoptions", []),
        "max_message_size": cf.option("MaxMessageSize"),
        "queue": cf.option("QueueDirectory") or "/var/spool/mqueue",
        "unread": tables.unread,
    }, texts

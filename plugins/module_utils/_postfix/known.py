# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an admin's configuration handles: the names in its lists and tables, to ask about each before a change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Lists of domains.
DOMAIN_LISTS = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
#: Tables whose keys are recipients or domains.
RECIPIENT_MAPS = (
    "transport_maps", "virtual_alias_maps", "virtual_mailbox_maps", "relay_recipient_maps", "relocated_maps",
    "canonical_maps", "recipient_canonical_maps",
)  # fmt: skip
#: Tables whose keys are senders, which can decide about a route.
SENDER_MAPS = ("sender_dependent_default_transport_maps", "sender_dependent_relayhost_maps", "sender_canonical_maps")
#: Tables whose values are recipients.
ALIAS_MAPS = ("virtual_alias_maps", "alias_maps")
PARAMETERS = tuple(dict.fromkeys((*DOMAIN_LISTS, *RECIPIENT_MAPS, *SENDER_MAPS, *ALIAS_MAPS)))

PROBE = "mailgate-probe"
FOREIGN = "mailgate-probe.invalid"

_INDEXED = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
_ITEM = re.compile(r"(?:[^\s,{}]|\{[^{}]*\})+")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+\Z")

Dump = Callable[[str], "str | None"]
"""Returns the entries of an indexed table such as `hash:/etc/postfix/transport` as text; None if it is unreadable."""


@dataclass
class Known:
    """What is known of a configuration.

    Attributes:
        domains: The names of domains, by the parameter that lists them.
        addresses: Further addresses that are worth a question.
        senders: Addresses of senders that a table has.
        transports: The entries of each table in transport_maps, in order; None for one whose entries are not known.
        unread: Tables whose entries are not known.
    """

    domains: dict[str, set[str]] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)
    senders: set[str] = field(default_factory=set)
    transports: dict[str, Mapping[str, str] | None] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Return all names of domains."""
        return {name for names in self.domains.values() for name in names}


def known(values: Mapping[str, str], dump: Dump) -> Known:
    """Return what a configuration handles.

    Args:
        values: The expanded values of `PARAMETERS`.
        dump: Reads an indexed table.
    """
    found = Known()
    for parameter in PARAMETERS:
        names = found.domains.setdefault(parameter, set())
        for item in items(values.get(parameter, "")):
            entries = _entries(item, dump)
            if parameter == "transport_maps":
                found.transports[item] = entries
            if entries is None:
                if _is_table(item) or item.startswith("/"):
                    found.unread.append(f"{parameter}: {item}")
                elif parameter in DOMAIN_LISTS:
                    names.add(item.lower().removeprefix("."))
                continue
            for key, value in entries.items():
                _add(found, parameter, names, key)
                if parameter in ALIAS_MAPS:
                    names |= {_domain(each) for each in re.split(r"[\s,]+", value) if "@" in each and _domain(each)}
    found.unread = list(dict.fromkeys(found.unread))
    return found


def items(value: str) -> list[str]:
    """Return the elements of a list in main.cf, without the sign of a negation."""
    return [item.lstrip("!") for item in _ITEM.findall(value)]


def table_entries(text: str) -> dict[str, str]:
    """Return the entries of a table's source, or of `postmap -s`; keys are in lower case."""
    found: dict[str, str] = {}
    last = ""
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and last:
            found[last] += " " + line.strip()
            continue
        key, *rest = line.strip().split(None, 1)
        last = key.lower()
        found.setdefault(last, "".join(rest))
    return found


def source_of(item: str) -> str:
    """Return the path of a table or file in a list; "" if it has none."""
    path = item.rpartition(":")[2] if _is_table(item) else item
    return path if path.startswith("/") else ""


def _add(found: Known, parameter: str, names: set[str], key: str) -> None:
    """Note the key of a table."""
    if parameter in SENDER_MAPS:
        found.senders.add(key if "@" in key.lstrip("@") else f"{PROBE}@{key.lstrip('@')}")
    elif "@" in key.lstrip("@"):
        if _domain(key):
            names.add(_domain(key))
        if parameter == "transport_maps":
            found.addresses.add(key)
    elif _DOMAIN.match(key.lstrip("@")):
        bare = key.lstrip("@")
        names.add(f"{PROBE}{bare}" if bare.startswith(".") else bare)


def _entries(item: str, dump: Dump) -> Mapping[str, str] | None:
    """Return the entries of a table or of a file with names, None without any that can be read."""
    kind, _colon, rest = item.removeprefix("proxy:").partition(":")
    if kind in _INDEXED and rest:
        text = dump(f"{kind}:{rest}")
        return None if text is None else table_entries(text)
    if kind == "inline" and rest:
        pairs = (pair.partition("=") for pair in re.split(r"[\s,{}]+", rest) if pair)
        return {key.lower(): value for key, _sign, value in pairs}
    path = rest if kind == "texthash" else item if item.startswith("/") else ""
    if path:
        try:
            return table_entries(Path(path).read_text("utf-8", "surrogateescape"))
        except OSError:
            return None
    return None


def _is_table(item: str) -> bool:
    return ":" in item and not item.startswith(("[", "/"))


def _domain(address: str) -> str:
    """Return the domain of an address; "" without a usable one."""
    domain = address.rpartition("@")[2].strip("\"'<>").lower()
    return domain if _DOMAIN.match(domain) else ""


def probe(domain: str) -> str:
    """Return an address in a domain or `*.suffix`."""
    return f"{PROBE}@{domain.replace('*', PROBE, 1)}"


def matching(domains: Iterable[str], table: Mapping[str, str]) -> dict[str, str]:
    """Return the entries of a table for exactly these domains."""
    keys = {domain: domain.removeprefix("*") for domain in domains}
    return {domain: table[key] for domain, key in keys.items() if key in table}

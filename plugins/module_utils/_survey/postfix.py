# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Postfix does, from the output of postconf and the files that its values name. Pure but for `facts`.

Source: postconf(5), DATABASE_README, and postmap(1) for the form of tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from .._postfix.tables import HEADER, domains_of
from .reader import Reader

PARAMETERS = (
    "mail_version", "myhostname", "mydestination", "relay_domains", "virtual_alias_domains", "virtual_alias_maps",
    "virtual_mailbox_domains", "virtual_mailbox_maps", "transport_maps", "relayhost", "default_transport", "mynetworks",
    "inet_interfaces", "inet_protocols", "smtpd_milters", "non_smtpd_milters", "content_filter", "alias_maps",
    "smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_sasl_auth_enable", "message_size_limit",
    "queue_directory", "multi_instance_directories", "canonical_maps", "sender_dependent_relayhost_maps",
)  # fmt: skip
QUEUES = ("maildrop", "incoming", "active", "deferred", "hold")
_FILES = frozenset({"hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash"})

Read = Callable[[str], "str | None"]


def parameters(output: str) -> dict[str, str]:
    """Return the parameters that postconf prints."""
    found: dict[str, str] = {}
    name = ""
    for line in output.splitlines():
        if line[:1].isspace() and name:
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif " =" in line:
            name, _equals, value = line.partition(" =")
            found[name] = value.strip()
    return found


def split(value: str) -> list[str]:
    """Return the words of a list; what is in braces is one word."""
    return re.findall(r"(?:[^\s,{]+|\{[^}]*\})+", value)


def lines(text: str) -> list[str]:
    """Return the logical lines of a table or a file of patterns."""
    found: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and found:
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.strip())
    return found


def table(text: str) -> dict[str, str]:
    """Return the entries of a table's source, with keys in lower case."""
    pairs = [line.split(None, 1) for line in lines(text)]
    return {pair[0].lower(): pair[1] if len(pair) > 1 else "" for pair in pairs}


class Lists:
    """The values of lists and tables.

    `unread` names tables that are not read from a file, `ours` has the keys that only tables of this collection have.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self.unread: list[str] = []
        self.ours: dict[str, set[str]] = {}

    def domains(self, name: str, value: str) -> list[str]:
        """Return the domains of a list: its words, the lines of files and the keys of tables."""
        found: list[str] = []
        ours: list[str] = []
        for word in split(value):
            if (text := self._generated(word)) is not None:
                ours += sorted(domains_of(text))
                continue
            if word.startswith("/"):
                found += [each.lower() for line in lines(self._text(name, word)) for each in line.split()[:1]]
            elif ":" in word and not word.startswith("["):
                found += [key for key in self._entries(name, word) if "@" not in key]
            else:
                found.append(word.lower())
        self.ours[name] = {*ours} - {*found}
        return list(dict.fromkeys([*found, *ours]))

    def entries(self, name: str, value: str) -> dict[str, str]:
        """Return the entries of a list of tables; the first table that has a key decides."""
        found: dict[str, str] = {}
        ours = self.ours.setdefault(name, set())
        for word in split(value):
            text = self._generated(word)
            if text is not None and word.startswith("regexp:"):
                continue  # the addresses of domains that the other table has
            entries = self._entries(name, word)
            if text is not None:
                ours |= {*entries} - {*found}
            found = entries | found
        return found

    def _generated(self, word: str) -> str | None:
        """Return the content of a table of this collection, None for another word."""
        kind, _colon, path = word.partition(":")
        text = self._read(path) if kind in {"regexp", "texthash"} and path.startswith("/") else None
        return text if text is not None and text.startswith(HEADER) else None

    def _entries(self, name: str, word: str) -> dict[str, str]:
        kind, _colon, path = word.removeprefix("proxy:").partition(":")
        if kind in _FILES and path.startswith("/"):
            return table(self._text(name, path))
        self.unread.append(f"{name} ({word})")
        return {}

    def _text(self, name: str, path: str) -> str:
        text = self._read(path)
        if text is None:
            self.unread.append(f"{name} ({path})")
        return text or ""


def mail(values: dict[str, str], lists: Lists) -> dict[str, Any]:
    """Return what a Postfix with these parameters takes mail for."""

    def domains(name: str) -> list[str]:
        return lists.domains(name, values.get(name, ""))

    transports = lists.entries("transport_maps", values.get("transport_maps", ""))
    aliases = lists.entries("virtual_alias_maps", values.get("virtual_alias_maps", ""))
    mailboxes = lists.entries("virtual_mailbox_maps", values.get("virtual_mailbox_maps", ""))
    virtual = [*domains("virtual_alias_domains"), *domains("virtual_mailbox_domains")]
    return {
        "version": values.get("mail_version", ""),
        "local": domains("mydestination"),
        "relay": domains("relay_domains"),
        "virtual": list(dict.fromkeys(virtual)),
        "virtual_entries": len(aliases) + len(mailboxes),
        "routes": {key: value for key, value in transports.items() if "@" not in key},
        "aliases": len(lists.entries("alias_maps", re.sub(r"\bnis:\S+", "", values.get("alias_maps", "")))),
        "relays_from": split(values.get("mynetworks", "")),
        "smart_host": values.get("relayhost", ""),
        "auth": values.get("smtpd_sasl_auth_enable", "") == "yes",
        "milters": split(values.get("smtpd_milters", "")),
        "content_filter": values.get("content_filter", ""),
        "listen": split(values.get("inet_interfaces", "")),
        "max_message_size": values.get("message_size_limit", ""),
        "instances": split(values.get("multi_instance_directories", "")),
        "restrictions": {name: values[name] for name in _RESTRICTIONS if values.get(name)},
        "queue": values.get("queue_directory", "") or "/var/spool/postfix",
        "unread": list(dict.fromkeys(lists.unread)),
    }


_RESTRICTIONS: Sequence[str] = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")


def facts(reader: Reader) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """Return what the Postfix of this host takes mail for, and `Lists.ours`; `error` if postconf does not say it."""
    status, out, errors = reader.run(["postconf", "-x", *PARAMETERS])
    if status:
        status, out, errors = reader.run(["postconf", *PARAMETERS])
    lists = Lists(reader.text)
    found = mail(parameters(out), lists)
    found["configuration"] = "/etc/postfix/main.cf"
    if status:
        found["error"] = " ".join((errors or "postconf failed").split())
    return found, lists.ours

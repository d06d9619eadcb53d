# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another MTA says of itself where that is cheap, and the length of any queue."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import postfix
from .reader import Reader

_SETTING = re.compile(r"^(dc_\w+)='([^']*)'", re.MULTILINE)
LIMIT = 100_000


def exim(reader: Reader) -> dict[str, Any]:
    """Return what Debian's configuration of Exim says; a configuration of another form is not read."""
    values = dict(_SETTING.findall(reader.text("/etc/exim4/update-exim4.conf.conf") or ""))
    _status, out, _errors = reader.run(["exim4" if reader.find("exim4") else "exim", "-bV"])
    version = match[1] if (match := re.search(r"^Exim version (\S+)", out, re.MULTILINE)) else ""
    return {
        "configuration": match[1] if (match := re.search(r"^Configuration file is (\S+)", out, re.MULTILINE)) else "",
        "version": version,
        "local": _list(values.get("dc_other_hostnames", "")),
        "relay": _list(values.get("dc_relay_domains", "")),
        "relays_from": _list(values.get("dc_relay_nets", "")),
        "smart_host": values.get("dc_smarthost", ""),
        "listen": _list(values.get("dc_local_interfaces", "")),
        "queue": "/var/spool/exim4",
        "unread": [] if values else ["the configuration of Exim"],
    }


def _list(value: str) -> list[str]:
    """Return the items of a list of Exim; a doubled colon is part of an IPv6 address."""
    return [part.strip().replace("::::", "::") for part in re.split(r"\s*;\s*|(?<!:):(?!:)", value) if part.strip()]


def queue(reader: Reader, mta: str, directory: str) -> dict[str, Any]:
    """Return the number of messages in a queue; `more` if there are more than were counted."""
    count = 0
    wanted, places = _places(mta, directory)
    for place, depth in places:
        for name in reader.names(place, depth):
            count += wanted(name)
            if count >= LIMIT:
                break
    return {
        "directory": directory,
        "messages": count,
        "more": count >= LIMIT or any(p in reader.missed for p, _d in places),
    }


def _places(mta: str, directory: str) -> tuple[Callable[[str], bool], list[tuple[str, int]]]:
    """Return which files are messages, and the directories that have them, with their depth."""
    if mta == "postfix":
        return (lambda _name: True), [(f"{directory}/{name}", 2) for name in postfix.QUEUES]
    if mta == "exim":
        return (lambda name: name.endswith("-H")), [(f"{directory}/input", 1)]
    # A pattern such as /var/spool/mqueue/q* stands for several directories.
    top = str(Path(directory).parent) if "*" in directory else directory
    return (lambda name: name[:2] in {"qf", "hf"}), [(top, 2)]

# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operating systems of hosts: which one a host has, by its os-release(5), and whether the roles support it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

#: Supported releases by ID of os-release. A role has its facts of each ID in vars/main/ID.yml.
SUPPORTED: Mapping[str, tuple[str, ...]] = {"debian": ("12", "13")}
#: How they are named in messages.
NAMES: Mapping[str, str] = {"debian": "Debian"}
#: Prints os-release or, without it, the kernel's name; it needs a POSIX shell only.
COMMAND = 'cat /etc/os-release /usr/lib/os-release 2>/dev/null | grep . || printf \'PRETTY_NAME="%s"\' "$(uname -sr)"'


@dataclass(frozen=True)
class System:
    """The operating system of a host.

    Attributes:
        id: Its ID, such as `debian`; "" if unknown.
        version: Its release, such as `12`; "" if it has none, as Debian testing.
        name: Its name for people, with the release.
    """

    id: str
    version: str
    name: str

    @property
    def supported(self) -> bool:
        """Whether the roles support it."""
        return self.version in SUPPORTED.get(self.id, ())

    def problem(self, host: str) -> str:
        """Return why a host cannot be managed; "" if it can."""
        if self.supported:
            return ""
        supported = ", ".join(f"{NAMES[system]} {' and '.join(releases)}" for system, releases in SUPPORTED.items())
        return (
            f"{host} runs {self.name}; supported are {supported}. "
            "Upgrade the host; a mail server that somebody else runs can have mailgate_mta: none"
        )


def identify(os_release: str) -> System:
    """Return the system that the text of os-release(5) describes; of two values, the first counts."""
    values: dict[str, str] = {}
    for line in os_release.splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and name.isidentifier() and name not in values:
            try:
                values[name] = "".join(shlex.split(value))
            except ValueError:  # an open quote
                values[name] = value
    system, version = values.get("ID", ""), values.get("VERSION_ID", "")
    name = values.get("PRETTY_NAME") or " ".join(filter(None, (system, version))) or "an unknown system"
    return System(system, version.split(".")[0] if system in SUPPORTED else version, name)

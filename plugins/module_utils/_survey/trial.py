# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a role would refuse the mail server of a host, and why: by the role's own checks, in check mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .._keep.text import encode, shown
from .._postfix import host as postfix
from .._postfix.settings import Settings as PostfixSettings
from .._sendmail import host as sendmail
from .._sendmail.settings import Listener, Settings
from .._sendmail.system import SendmailError
from .reader import Reader

Listens = Sequence[Mapping[str, Any]]


def refusal(kind: str, settings: Settings, name: str, listen: Listens, reader: Reader) -> str:
    """Return why the role would stop before its first change; "" if it would go on.

    Args:
        kind: `sendmail` or `postfix`.
        settings: The domains and routes of the plan.
        name: The host's name.
        listen: The addresses and ports where the plan has it listen, each with `address` and `port`.
        reader: The host.
    """

    def run(command: list[str], stdin: str, variables: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        return reader.run(command, encode(stdin), variables)

    listeners = tuple(Listener(str(each["address"]), int(each["port"])) for each in listen)
    try:
        if kind == "sendmail":
            sendmail.apply(replace(settings, hostname=name, listen=listeners), run, check=True)
        else:
            same = PostfixSettings(settings.local, settings.relay, settings.routes)
            postfix.Host(run).apply(postfix.Wanted(same), check=True)
    except (SendmailError, postfix.PostfixError) as error:
        # A command that was ended at the deadline says nothing about the configuration.
        return "" if reader.missed else shown(str(error))
    return ""

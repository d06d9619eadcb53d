# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths and commands of a sendmail host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .._keep.text import shown

ETC_MAIL = Path("/etc/mail")
PID_FILE = Path("/run/sendmail/mta/sendmail.pid")
CF_M4 = Path("/usr/share/sendmail/cf/m4/cf.m4")
DEFAULT_MC = Path("/usr/share/sendmail/cf/debian/sendmail.mc")
SENDMAIL = "/usr/sbin/sendmail-mta"
MAKEMAP = "/usr/sbin/makemap"

REWRITTEN = ("databases", "Makefile")
"""Files in ETC_MAIL that Debian's sendmail writes again, in this order, when it starts after sendmail.mc has changed.

Its scripts add to the first what they find, and never take anything out of it.
"""

Run = Callable[[list[str], str], tuple[int, str, str]]
"""Runs a command with text on standard input; returns exit status, standard output and standard error."""


class SendmailError(Exception):
    """The files cannot be built or fail a test; nothing was changed. The message has the fix."""


def refuse(what: str, found: Iterable[str]) -> SendmailError:
    """Return an error with a list of problems."""
    return SendmailError(f"{what}\n" + "\n".join(f"- {shown(each)}" for each in found))


def must(run: Run, command: list[str], stdin: str, purpose: str) -> str:
    """Run a command and return its output; raise SendmailError if it fails."""
    status, out, err = run(command, stdin)
    if status != 0 or "error" in err.lower():
        hint = " The file has DOS line ends, which makemap rejects in blank lines." if "\r\n" in stdin else ""
        raise SendmailError(
            f"Cannot {purpose}: {' '.join(command)} failed with status {status}.{hint}\n{shown(err or out)}"
        )
    return out


def m4(run: Run, source: Path, purpose: str, options: Iterable[str] = ()) -> str:
    """Return the output of m4 for a source; relative paths of included files start in /etc/mail."""
    return must(run, ["env", "-C", str(ETC_MAIL), "m4", *options, str(source)], "", purpose)


def redirected(configuration: str, staged: Mapping[Path, Path]) -> str:
    """Return a sendmail.cf that reads staged copies of files in place of those of the host."""
    for path, copy in staged.items():
        pattern = re.compile(
            rf"^(F(?:\w|\{{\w+\}})|[KFO].*?(?<![\w./-])){re.escape(str(path))}(?=(?:\.db)?(?:[\s,]|\Z))", re.MULTILINE
        )
        configuration = pattern.sub(lambda match, copy=copy: f"{match[1]}{copy}", configuration)  # type: ignore[misc]
    return configuration

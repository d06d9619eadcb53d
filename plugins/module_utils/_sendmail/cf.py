# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of sendmail.cf and submit.cf, from the output of m4: pure functions, no I/O.

Source: Debian's /etc/mail/Makefile.
"""

from __future__ import annotations

import re

_BUILD_LINE = re.compile(r"^##### (?:built by|in|using) .*\n", re.MULTILINE)


def cf(built: str, name: str, source: str) -> str:
    """Return the .cf that Debian's Makefile would generate, but without dates.

    Args:
        built: The output of m4.
        name: The file name of the source.
        source: The source.
    """
    quoted = "".join(f"# {line}\n" for line in source.removesuffix("\n").split("\n"))
    return comparable_cf(built) + f"### /etc/mail/{name} ###\n" + quoted


def comparable_cf(text: str) -> str:
    """Return a .cf without the lines about its build (user, host, date), which differ at each build."""
    return _BUILD_LINE.sub("", text)

# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Mail transfer agents (MTAs) by the names of their programs, packages and units."""

from __future__ import annotations

import re

SENDMAIL = "sendmail"
POSTFIX = "postfix"
MANAGED = (SENDMAIL, POSTFIX)
"""The kinds that the roles of this collection configure."""
SERVICE = "mailgate"
"""The service of a gateway itself."""
UNKNOWN = "unknown"
"""A program that has port 25 and is not one of these."""
SEND_ONLY = frozenset({"nullmailer", "ssmtp", "msmtp", "dma", "esmtp"})
"""MTAs that accept no mail from other hosts. They provide the package mail-transport-agent too."""

# Paths as /proc/PID/exe has them, with symbolic links resolved. The first match counts.
_PROGRAMS = (
    ("zimbra", re.compile(r"/opt/zimbra/")),
    (POSTFIX, re.compile(r".*/postfix(/s?bin)?/master$|/usr/libexec/postfix/master$")),
    ("exim", re.compile(r".*/exim4?(-[\d.-]+)?$")),
    ("qmail", re.compile(r".*/(qmail-(smtpd|send|rspawn|lspawn)|tcpserver)$")),
    ("opensmtpd", re.compile(r"(?!.*/postfix/).*/smtpd$")),
    ("courier", re.compile(r".*/(couriertcpd|courierd|courieresmtpd)$")),
    ("nullmailer", re.compile(r".*/nullmailer-send$")),
    ("dma", re.compile(r".*/dma$")),
    (SENDMAIL, re.compile(r".*/(sendmail(\.sendmail)?|sm-mta)$")),
)
_PACKAGES = (
    (SENDMAIL, re.compile(r"sendmail(-bin|-base)?$")),
    (POSTFIX, re.compile(r"postfix$")),
    ("exim", re.compile(r"exim4(-daemon-.+)?$")),
    ("qmail", re.compile(r"(net)?qmail(-run)?$")),
    ("opensmtpd", re.compile(r"opensmtpd$")),
    ("courier", re.compile(r"courier-mta$")),
    ("nullmailer", re.compile(r"nullmailer$")),
    ("ssmtp", re.compile(r"ssmtp$")),
    ("msmtp", re.compile(r"msmtp-mta$")),
    ("dma", re.compile(r"dma$")),
    ("esmtp", re.compile(r"esmtp-run$")),
)
UNITS = {
    "sendmail": SENDMAIL,
    "postfix": POSTFIX,
    "postfix@": POSTFIX,
    "exim4": "exim",
    "exim": "exim",
    "qmail": "qmail",
    "opensmtpd": "opensmtpd",
    "courier": "courier",
    "courier-mta": "courier",
    "nullmailer": "nullmailer",
}
"""Names of units and init scripts, each with its kind."""
# What /usr/sbin/sendmail leads to where it is no program of its own.
_SENDMAIL_LINKS = {"ssmtp": "ssmtp", "msmtp": "msmtp", "esmtp": "esmtp", "nullmailer-inject": "nullmailer"}
_SERVICE = re.compile(r"(^|/)mailgate(/|$)")


def of_program(path: str, command: str = "") -> str:
    """Return the kind of a running program; "" if it is not an MTA.

    Args:
        path: The path of its file.
        command: Its command line, which tells the service of a gateway from other Python programs.
    """
    if "/python" in path and any(_SERVICE.search(word) for word in command.split()[:4]):
        return SERVICE
    return next((kind for kind, pattern in _PROGRAMS if pattern.match(path)), "")


def of_package(name: str) -> str:
    """Return the kind of an MTA's package: that of a known one, else its name."""
    return next((kind for kind, pattern in _PACKAGES if pattern.match(name)), name)


def of_sendmail_command(target: str) -> str:
    """Return the kind of the program that /usr/sbin/sendmail leads to; "" if its name does not tell."""
    name = target.rpartition("/")[2]
    if target == "/usr/sbin/sendmail":
        return ""  # a program of that path may be sendmail's, Postfix's or nullmailer's
    return _SENDMAIL_LINKS.get(name) or of_program(target)

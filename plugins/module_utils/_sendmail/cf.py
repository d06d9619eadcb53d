# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of sendmail.cf and submit.cf, for m4, and what is made of its output: pure functions, no I/O.

Sources: cf/README of sendmail 8.17 (DAEMON_OPTIONS, FEATURE(msp)), Debian's /etc/mail/Makefile (form of sendmail.cf).
"""

from __future__ import annotations

import re

from .tables import Settings

_BUILD_LINE = re.compile(r"^##### (?:built by|in|using) .*\n", re.MULTILINE)


def sendmail_mc(settings: Settings) -> str:
    """Return the source of sendmail.cf, for m4."""
    daemons = "".join(
        f"DAEMON_OPTIONS(`Name=MTA{n}, Family={_family(entry.address)}, Addr={entry.address}, Port={entry.port}')dnl\n"
        for n, entry in enumerate(settings.listen, 1)
    )
    hostname = f"define(`confDOMAIN_NAME', `{settings.hostname}')dnl\n" if settings.hostname else ""
    return (
        _MC_START
        + _MC_HEAD
        + hostname
        + daemons
        + f"define(`confMAX_DAEMON_CHILDREN', `{settings.max_daemon_children}')dnl\n"
        + f"define(`confDOUBLE_BOUNCE_ADDRESS', `{settings.double_bounce_address}')dnl\n"
        + f"define(`confPRIVACY_FLAGS', `{_privacy(settings)}')dnl\n"
        + _MC_BODY
        + "".join(f"{line}\n" for line in settings.extra)
        + _MC_TAIL
    )


def submit_mc(settings: Settings) -> str:
    """Return the source of submit.cf: the `sendmail` command hands local mail to this host's own daemon."""
    address, port = submission(settings)
    host = f"IPv6:{address}" if ":" in address else address
    return _MC_START + _SUBMIT_MC.format(host=host, port=port)


def submission(settings: Settings) -> tuple[str, int]:
    """Return the address and port by which this host reaches its own daemon: loopback where that is listened on."""
    by_rank = {"127.0.0.1": 0, "0.0.0.0": 1, "::": 2, "::1": 3}  # noqa: S104
    best = min(settings.listen, key=lambda entry: by_rank.get(entry.address, 4))
    return ("127.0.0.1" if best.address in ("0.0.0.0", "::") else best.address), best.port  # noqa: S104


def cf(built: str, name: str, source: str) -> str:
    """Return the .cf that Debian's Makefile would make of m4's output `built` and its source, but without dates."""
    quoted = "".join(f"# {line}\n" for line in source.splitlines())
    return comparable_cf(built) + f"### /etc/mail/{name} ###\n" + quoted


def comparable_cf(text: str) -> str:
    """Return a .cf without the lines that tell who built it when, which differ at each build."""
    return _BUILD_LINE.sub("", text)


def _privacy(settings: Settings) -> str:
    """Return what is told to nobody; a queue on loopback alone is woken by its gateway, by ETRN."""
    flags = ["authwarnings", "novrfy", "noexpn", "noetrn", "nobodyreturn", "restrictqrun", "restrictmailq"]
    if all(entry.address in ("127.0.0.1", "::1") for entry in settings.listen):
        flags.remove("noetrn")
    return ",".join(flags)


def _family(address: str) -> str:
    return "inet6" if ":" in address else "inet"


_MC_START = """\
divert(-1)dnl
# Made by campus.mailgate from the inventory; a change made here is lost at its next run.
divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
VERSIONID(`campus.mailgate')
OSTYPE(`debian')dnl
"""

_MC_HEAD = """\
DOMAIN(`debian-mta')dnl
dnl # No memory of servers that were down: one that is back gets its mail at the next queue run.
undefine(`confHOST_STATUS_DIRECTORY')dnl
FEATURE(`no_default_msa')dnl
"""

_MC_BODY = """\
dnl # Addresses in headers stay as they were written, and no name is looked up to change them.
FEATURE(`nocanonify')dnl
FEATURE(`use_cw_file')dnl
dnl # The gateway asks about recipients for any sender's domain; whether DNS knows it is the gateway's business.
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`access_db', , `skip')dnl
FEATURE(`mailertable')dnl
dnl # Lines of any length pass to the next server as they came.
define(`RELAY_MAILER_LL', `0')dnl
dnl # A dead server or resolver must not hold a queue run for minutes.
define(`confTO_IDENT', `0')dnl
define(`confTO_ICONNECT', `15s')dnl
define(`confTO_CONNECT', `1m')dnl
define(`confTO_RESOLVER_RETRANS_FIRST', `2s')dnl
define(`confTO_RESOLVER_RETRY_FIRST', `2')dnl
"""

_MC_TAIL = """\
MAILER_DEFINITIONS
MAILER(`local')dnl
MAILER(`smtp')dnl
"""

_SUBMIT_MC = """\
DOMAIN(`debian-msp')dnl
dnl # The port is an argument of the mailer: FEATURE(msp) itself knows no port but 25 and 587.
define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl
FEATURE(`msp', `[{host}]')dnl
"""

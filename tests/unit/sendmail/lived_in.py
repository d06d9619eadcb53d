# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of sendmail as admins write them, chosen by a random generator."""

from __future__ import annotations

import codecs
import subprocess
from pathlib import Path
from random import Random

ETC_MAIL = Path("/etc/mail")
# Loads the codec, which cannot be loaded in the system.
codecs.lookup("latin-1")
HEAD = """\
divert(-1)dnl
# K\xf6nig, 2009: do not touch
divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
VERSIONID(`local 1.%d')
OSTYPE(`debian')dnl
DOMAIN(`debian-mta')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port=smtp')dnl
"""
MAILERS = (
    "MAILER_DEFINITIONS\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n",
    "MAILER(local)dnl\nMAILER( smtp)dnl\n",
    "MAILER(`smtp')dnl\nMAILER(`local')dnl\nLOCAL_CONFIG\nC{Later}one two\n",
    "ifdef(`NO_MAILERS', `', `\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n')dnl\n",
    "MAILER(`local')dnl comment MAILER(`x')\nMAILER(`smtp')dnl\nMAILER(`procmail')dnl\n",
    "include(`/etc/mail/mailers.m4')dnl\n",
)
RULE = (
    "LOCAL_RULE_0\nR$* < @ rule.example . > $*\t\t$#esmtp $@ [192.0.2.77] $: $1 < @ rule.example . > $2\n"
    "LOCAL_CONFIG\nC{Mine}x y\n"
)
#: Each line of a group excludes the others; `{}` stands for nothing.
GROUPS = (
    ("{}", "FEATURE(`mailertable')dnl\n", "FEATURE(`mailertable', `hash -o /etc/mail/mailertable.db')dnl\n",
     "FEATURE(mailertable, btree /etc/mail/routes)dnl\n",
     "ifdef(`X', `', `FEATURE(`mailertable', `hash /etc/mail/more/mailertable')')dnl\n"),
    ("{}", "FEATURE(`access_db', , `skip')dnl\n", "FEATURE(`access_db', `hash -T<TMPF> -o /etc/mail/access.db')dnl\n",
     "FEATURE(`access_db', `btree -T<TMPF> /etc/mail/rights')dnl FEATURE(`access_db')\n",
     "FEATURE(`access_db')dnl\nFEATURE(`delay_checks')dnl\n"),
    ("{}", "FEATURE(use_cw_file)dnl\n", "FEATURE(`use_cw_file')dnl\ndefine(`confCW_FILE', `-o /etc/mail/names')dnl\n",
     "LOCAL_DOMAIN(`old.example second.example')dnl\n"),
    ("{}", "FEATURE(`virtusertable')dnl\n",
     "FEATURE(`virtusertable', `hash -o /etc/mail/virtusertable.db')dnl\nVIRTUSER_DOMAIN(`shop.example')dnl\n"),
    ("{}", "FEATURE(genericstable)dnl\nGENERICS_DOMAIN(`old.example')dnl\n"),
    ("{}", "MASQUERADE_AS(`old.example')dnl\n",
     "MASQUERADE_AS(`old.example')dnl\nFEATURE(masquerade_envelope)dnl\nFEATURE(`allmasquerade')dnl\n"
     "MASQUERADE_DOMAIN(`second.example')dnl\nEXPOSED_USER(`root')dnl\n"),
    ("{}", "{}", "define(`SMART_HOST', `smtp:[192.0.2.9]')dnl\n", "define(`SMART_HOST', `relay.example')dnl\n"),
    ("{}", "{}", RULE),
    ("{}", "FEATURE(`local_procmail')dnl\n", "FEATURE(`always_add_domain')dnl FEATURE(`mailertable')\n"),
    ("{}", "FEATURE(`nocanonify')dnl\n"),
    ("{}", "define(`LUSER_RELAY', `local:root')dnl\n", "FEATURE(`redirect')dnl\nifdef(`_ACCESS_TABLE_', `FEATURE(`blocklist_recipients')')dnl\n"),  # noqa: E501
    ("{}", "RELAY_DOMAIN(`partner.example')dnl\n", "FEATURE(`relay_entire_domain')dnl\n"),
    ("{}", "dnl FEATURE(`mailertable')dnl\ndnl MAILER(`smtp')\n", "# FEATURE(`mailertable')\n\n", "\n\n"),
    ("{}", "INPUT_MAIL_FILTER(`f', `S=local:/run/f.sock, F=, T=S:1m;R:1m')dnl\ndefine(`confAUTH_MECHANISMS',`PLAIN')dnl\n"  # noqa: E501
     "TRUST_AUTH_MECH(`PLAIN')dnl\ninclude(`/etc/mail/tls/starttls.m4')dnl\n"),
    ("{}", "define(`confMAX_MESSAGE_SIZE', `5000000')dnl\ndefine(`confMAX_DAEMON_CHILDREN', `7')dnl\n"),
    ("{}", "{}", "define(`RELAY_MAILER_ARGS', `TCP $h 587')dnl\n", "MODIFY_MAILER_FLAGS(`RELAY', `+R')dnl\n"),
)  # fmt: skip
ROWS = {
    "mailertable": ("partner.example\tesmtp:[192.0.2.7]", ".partner.example  smtp:mx.partner.example", "# note \xe9",
                    "uucp.example\terror:5.1.1:550 gone", "b.univ.example esmtp:[198.18.1.2]", "pc1.c.univ.example local:bob"),  # noqa: E501
    "access": ("Connect:198.18.1\tRELAY", "From:spam@bad.example   REJECT", "To:shut@old.example\tERROR:5.2.1:550 shut",
               "bad.example\tREJECT", "Connect:IPv6:2001:db8:9\tRELAY", "To:b.univ.example RELAY", "# \xfc"),
    "names": ("localhost", "old.example", "second.example # since 1999", "# \xdf", ""),
    "virtusertable": ("info@old.example\troot", "sales@shop.example staff", "@shop.example\tbob@partner.example",
                      "@second.example error:nouser 550 no"),
    "genericstable": ("root\tadmin@old.example", "bob\tB.B@old.example"),
    "aliases": ("staff: root, bob@partner.example", "Postmaster: root", "list: \"|/bin/true\"", "# \xe4",
                "MAILER-DAEMON: postmaster", "b: c@b.univ.example"),
}  # fmt: skip
#: Where the sources are in the forms above, with the kind of map.
PLACES = {
    "mailertable": [("mailertable", "hash"), ("routes", "btree"), ("more/mailertable", "hash")],
    "access": [("access", "hash"), ("rights", "btree")],
    "names": [("local-host-names", ""), ("names", "")],
    "virtusertable": [("virtusertable", "hash")],
    "genericstable": [("genericstable", "hash")],
    "aliases": [("aliases", "aliases")],
}


def source(random: Random) -> str:
    """Return a sendmail.mc."""
    chosen = [random.choice(group).replace("{}", "") for group in GROUPS]
    # Of these an order is required: access before what uses it.
    head, rest = chosen[:2], chosen[2:]
    random.shuffle(rest)
    text = HEAD % random.randrange(100) + "".join([*head, *rest]) + random.choice(MAILERS)
    return text.removesuffix("\n") if random.random() < 0.2 else text


def table(random: Random, name: str) -> str:
    """Return a table."""
    rows = [row for row in ROWS[name] if random.random() < 0.6]
    random.shuffle(rows)
    # makemap and newaliases read DOS line ends as part of the value.
    end = "\r\n" if name == "names" and random.random() < 0.2 else "\n"
    text = "".join(f"{row}{end}" for row in rows)
    return text.removesuffix(end) if random.random() < 0.3 else text


def install(mc: str, tables: dict[str, str]) -> str:
    """Write a configuration and build it; return what the programs complain about."""
    (ETC_MAIL / "more").mkdir(exist_ok=True)
    (ETC_MAIL / "mailers.m4").write_text("MAILER(`local')dnl\nMAILER(`smtp')dnl\n")
    (ETC_MAIL / "sendmail.mc").write_text(mc, encoding="latin-1", newline="")
    errors = []
    for name, content in tables.items():
        for place, kind in PLACES[name]:
            path = ETC_MAIL / place
            path.write_text(content, encoding="latin-1", newline="")
            if kind and kind != "aliases":
                errors.append(_shell(f"makemap {kind} {path} < {path}"))
    errors.append(_shell("m4 sendmail.mc > sendmail.cf"))
    errors.append(_shell("sendmail-mta -bi >/dev/null"))
    return "".join(line for line in "".join(errors).splitlines(keepends=True) if "not qualified" not in line)


def _shell(command: str) -> str:
    return subprocess.run(
        command, shell=True, cwd=ETC_MAIL, capture_output=True, check=False, timeout=60
    ).stderr.decode("utf-8", "replace")


def files() -> dict[str, tuple[bytes, int, int, int]]:
    """Return content, mode and owner of all files that could be changed."""
    found = {}
    for top in ("/etc", "/var/backups"):
        for path in Path(top).rglob("*"):
            if path.is_file() and not path.is_symlink() and not path.name.endswith("-service.json"):
                status = path.stat()
                found[str(path)] = path.read_bytes(), status.st_mode, status.st_uid, status.st_gid
    return found


def differing(before: dict[str, tuple[bytes, int, int, int]]) -> list[str]:
    """Return the files that differ from before."""
    now = files()
    return sorted(path for path in {*before, *now} if before.get(path) != now.get(path))

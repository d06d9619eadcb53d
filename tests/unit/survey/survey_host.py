# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and programs of hosts that a survey reads, in the forms that systems have."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.campus.mailgate.plugins.module_utils._survey.reader import Reader

OS_RELEASE = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
"""
MEMINFO = "MemTotal:        4039320 kB\nMemFree:          191184 kB\nMemAvailable:    3015640 kB\nBuffers: 1 kB\n"

# From sendmail 8.17 of Debian with an admin's own features; the first classes are in the forms of other systems.
SENDMAIL_CF = r"""
V10/Berkeley
Cwlocalhost
Fw/etc/mail/local-host-names %[^\#]
C{w}mail.eng.univ.example
CP.
DS[relay.provider.example]
CO @ % !
FR-o /etc/mail/relay-domains %[^\#]
C{R}$={VirtHost}
C{VirtHost}Hosted.example
Karith arith
DMeng.univ.example
Kmailertable hash -o /etc/mail/mailertable.db
Kvirtuser hash -o /etc/mail/virtusertable
Kaccess hash -T<TMPF> -o /etc/mail/access.db
DZ8.17.1.9/Debian-2+deb12u2
O AliasFile=/etc/mail/aliases,
	hash:/etc/mail/lists
O MaxMessageSize=20000000
O QueueDirectory=/var/spool/mqueue
O DaemonPortOptions=Family=inet,  Name=MTA-v4, Port=smtp, Addr=0.0.0.0
O InputMailFilters=spamass, clmilter
O AuthMechanisms=LOGIN PLAIN
Xspamass, S=local:/run/spamass/spamass.sock, F=, T=S:4m;R:4m;E:10m
"""
LOCAL_HOST_NAMES = "# ours\neng.univ.example\nOLD.example # a former name\n"
MAILERTABLE = "partner.example\tsmtp:[203.0.113.9]\nsci.univ.example esmtp:[198.18.9.9]\n.lab.univ.example local:\n"
VIRTUSERTABLE = "info@club.example\tanna\n@club.example\terror:nouser No such user\n# @x.example y\n"
ACCESS = """\
Connect:127\t\t\t\tRELAY
GreetPause:127\t\t\t0
Connect:IPv6:::1\t\tRELAY
192.0.2\t\t\t\tRELAY
spam@bad.example\t\tREJECT
To:partner.example\t\tRELAY
ClientRate:\t\t\t10
"""
ALIASES = 'postmaster: root\n# comment: x\nroot: anna\n"two words": anna\n  continued: no\n'

POSTCONF = """\
mail_version = 3.7.11
myhostname = mail.sci.univ.example
mydestination = mail.sci.univ.example, localhost.sci.univ.example, localhost, /etc/postfix/local
relay_domains = hash:/etc/postfix/relay
virtual_alias_domains = hash:/etc/postfix/virtual
virtual_alias_maps = hash:/etc/postfix/virtual
virtual_mailbox_domains = mysql:/etc/postfix/domains.cf
transport_maps = hash:/etc/postfix/transport, regexp:/etc/postfix/transport.re
relayhost = [smtp.provider.example]:587
mynetworks = 127.0.0.0/8 [::1]/128
    198.18.2.0/24
inet_interfaces = all
smtpd_milters = unix:/run/opendkim/opendkim.sock
alias_maps = hash:/etc/aliases
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_sasl_auth_enable = no
message_size_limit = 10240000
queue_directory = /var/spool/postfix
multi_instance_directories =
"""
POSTFIX_FILES = {
    "etc/postfix/local": "# names\nsci.univ.example\n",
    "etc/postfix/relay": "old-sci.example  OK\n",
    "etc/postfix/virtual": "club.example anything\ninfo@club.example  anna,\n  berta\n",
    "etc/postfix/transport": "partner.example smtp:[203.0.113.9]\n.lab.univ.example lmtp:unix:x\nu@x.example local:\n",
    "etc/aliases": "postmaster: root\nroot: anna\n",
}


class Machine:
    """A host below a directory, with programs that answer as real ones do."""

    def __init__(self, root: Path) -> None:
        self.root = root / "root"
        self.programs = root / "programs"
        self.programs.mkdir()
        self.file("etc/os-release", OS_RELEASE)
        self.file("proc/meminfo", MEMINFO)
        self.file("proc/sys/net/ipv4/ip_forward", "0\n")

    def file(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def program(self, name: str, script: str) -> None:
        """Add a program, a shell script without its first line."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def prints(self, name: str, text: str) -> None:
        """Add a program that prints a text."""
        (self.programs / f"{name}.txt").write_text(text)
        self.program(name, f"/bin/cat {self.programs}/{name}.txt")

    def sendmail(self) -> None:
        """Set up a sendmail as an admin has left it."""
        for name, text in {
            "sendmail.cf": SENDMAIL_CF,
            "sendmail.mc": "divert(0)dnl\n",
            "local-host-names": LOCAL_HOST_NAMES,
            "mailertable": MAILERTABLE,
            "virtusertable": VIRTUSERTABLE,
            "access": ACCESS,
            "aliases": ALIASES,
            "lists": "staff: anna, berta\n",
        }.items():
            self.file(f"etc/mail/{name}", text)
        self.prints("dpkg-query", "sendmail-bin\t8.17.1.9-2+deb12u2\tinstalled\tmail-transport-agent\n")

    def postfix(self) -> None:
        """Set up a Postfix as an admin has left it."""
        for name, text in POSTFIX_FILES.items():
            self.file(name, text)
        self.prints("postconf", POSTCONF)
        self.prints("dpkg-query", "postfix\t3.7.11-0+deb12u1\tinstalled\tmail-transport-agent\n")

    def reader(self, seconds: float = 10, each: float = 5) -> Reader:
        return Reader(seconds, each, self.root, str(self.programs))

    def snapshot(self) -> dict[str, tuple[bytes, int]]:
        """Return content and time of each file."""
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

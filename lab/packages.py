# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian suites and packages of the images."""

from __future__ import annotations

from lab.tools import LabError

#: Debian suites the hosts can run; the first is the default.
SUITES = ("bookworm", "trixie")
SUITE = SUITES[0]

BASE_PACKAGES = (
    "apt", "ca-certificates", "dbus", "iproute2", "iputils-ping", "libpam-systemd", "netbase", "netcat-openbsd",
    "openssh-server", "procps", "python3", "python3-apt", "python3-dnspython", "systemd", "systemd-sysv", "tzdata",
)  # fmt: skip

#: Services a campus has before it uses this collection: DNS, and sendmail on its mail servers.
LAYER_PACKAGES = {
    "dns": ("bind9", "bind9-dnsutils", "bind9-utils"),
    "mail": ("m4", "make", "procmail", "sendmail-base", "sendmail-bin", "sendmail-cf", "sensible-mda"),
}

#: Packages that roles install on the hosts, in addition to the layers.
ROLE_PACKAGES = (
    "7zip", "clamav", "clamav-daemon", "clamav-freshclam", "clamdscan", "conntrack", "ipset", "ipset-persistent",
    "iptables", "iptables-persistent", "libarchive-tools", "logrotate", "netfilter-persistent", "nftables", "nginx",
    "postgresql", "python3-cryptography", "python3-jinja2", "python3-uvloop", "rspamd", "tcpdump", "ulogd2",
)  # fmt: skip

#: The same, by suite.
SUITE_PACKAGES = {"bookworm": ("redis-tools",), "trixie": ("valkey-tools",)}

#: Packages that roles install on hosts with nothing that they would replace: sendmail or another of them.
INSTEAD_PACKAGES = ("postfix",)

#: Other services of a router, which only some tests need.
ROUTER_LAYER_PACKAGES = {
    "docker": ("docker.io", "iptables-persistent"),
    "fail2ban": ("fail2ban", "iptables-persistent", "python3-systemd"),
    "ferm": ("ferm",),
    "firewalld": ("firewalld",),
    "ipset-persistent": ("iptables-persistent", "ipset-persistent"),
    "iptables": ("iptables",),
    "iptables-persistent": ("iptables-persistent",),
    "nftables": ("nftables",),
    "shorewall": ("shorewall", "shorewall6"),
    "ufw": ("ufw",),
}
#: Other services of a campus's mail servers.
SERVICE_LAYER_PACKAGES = {
    "clamav": ("clamav", "clamav-daemon", "clamav-freshclam", "clamdscan"),
    "exim": ("exim4-daemon-light",),
    "ldap": ("ldap-utils", "slapd"),
    "milter": ("opendkim",),
    "postfix": ("postfix",),
    "sasl": ("libsasl2-modules", "sasl2-bin"),
}
#: They come from a repository of their own, which is built with the first such layer.
EXTRA_LAYER_PACKAGES = ROUTER_LAYER_PACKAGES | SERVICE_LAYER_PACKAGES
LAYERS = frozenset(LAYER_PACKAGES | EXTRA_LAYER_PACKAGES)
#: Layers that cannot be installed beside most others.
APART = ("exim", "postfix", "ufw")


def all_packages(suite: str = SUITE) -> list[str]:
    """Return all packages named above for a suite, sorted."""
    layered = [package for packages in LAYER_PACKAGES.values() for package in packages]
    return sorted({*BASE_PACKAGES, *ROLE_PACKAGES, *SUITE_PACKAGES[suite], *layered})


def groups(suite: str = SUITE) -> list[list[str]]:
    """Return all packages that roles may install on a suite, in groups that can be installed together."""
    return [all_packages(suite), *([name] for name in INSTEAD_PACKAGES)]


def extra_groups() -> list[list[str]]:
    """Return the packages of the extra layers in groups that can be installed together."""
    together = [packages for layer, packages in EXTRA_LAYER_PACKAGES.items() if layer not in APART]
    groups = [[name for packages in together for name in packages], *(EXTRA_LAYER_PACKAGES[layer] for layer in APART)]
    return [sorted({*BASE_PACKAGES, *group}) for group in groups]


def check_suite(suite: str) -> str:
    """Return the suite; raise LabError if hosts cannot run it."""
    if suite not in SUITES:
        raise LabError(f"the suite {suite!r} is unknown; use one of {', '.join(SUITES)}")
    return suite

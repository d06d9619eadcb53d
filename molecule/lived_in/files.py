# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the files and services of the twin's hosts, and compare later: `files.py before|after TWIN RECORD`.

Hash tables are compared by their entries, since a rebuilt one has other bytes, zones without their serial, which only
increases, and what Debian's sendmail generates at each start without the lines that say who did it, when and where.
Left out are mailboxes and queues, and what packages brought that were installed since.
"""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.checks import check, finish
from lab.twin import Twin

#: What mail, the package manager, readers of slapd and tools for accounts write: these keep the version before as
#: `passwd-` and so on, when a gateway's user is added and when it is removed.
IGNORED = re.compile(
    r"/var/(mail|spool|lib/(dpkg|apt|postfix|systemd|ucf|dbus|logrotate)|backups/(dpkg|apt|alternatives)[^/]*|\.updated)(/|$)"
    r"|/var/lib/ldap/lock\.mdb$"
    r"|/etc/(\.updated|ld\.so\.cache|(group|gshadow|passwd|shadow)-)$"
)
#: Prints, each below a line with its name, entries of tables, zones without serial, services, ports and firewall rules.
CONTENT = r"""
show() { name=$1; shift; echo "== $name"; "$@"; }
for table in /etc/mail/*.db; do
  [ ! -e "$table" ] || show "$table" sh -c 'makemap -u hash "$0" | sort' "$table"
done
for table in /etc/postfix/*.db /etc/aliases.db; do
  [ ! -e "$table" ] || [ ! -e /usr/sbin/postmap ] || show "$table" sh -c 'postmap -s "hash:${0%.db}" | sort' "$table"
done
# Debian's scripts write these again when sendmail starts, with the date, user and directory.
for dated in /etc/mail/Makefile /etc/mail/databases /etc/cron.d/sendmail; do
  [ ! -e "$dated" ] || show "$dated" sed '/^##### \(by\|on\|in\): /d' "$dated"
done
for zone in /etc/bind/zones/*; do
  [ ! -e "$zone" ] || show "$zone" sed 's/[0-9]\{10\}\([[:space:]]*; serial\)/\1/' "$zone"
done
show services sh -c \
  "systemctl list-units --plain --no-legend --type=service --state=running | cut -d' ' -f1 | grep -v @"
show enabled sh -c "systemctl list-unit-files --no-legend --state=enabled | cut -d' ' -f1"
show ports sh -c "ss -Hltn | awk '{print \$4}' | sort -u"
show iptables sh -c "! command -v iptables-save >/dev/null || iptables-save | grep -v '^[#:]'"
show nft sh -c "! command -v nft >/dev/null || nft --stateless list ruleset"
"""

stage, name, record = sys.argv[1:]
twin = Twin(None, name)
machines = twin.machines()


def content(host: str) -> dict[str, str]:
    """Return the entries of a host's tables by path."""
    done = twin.exec(host, CONTENT)
    if done.returncode:
        raise SystemExit(f"{host}: {done.stderr.decode()}")
    blocks = re.split(r"^== (.*)\n", done.stdout.decode("latin-1"), flags=re.MULTILINE)[1:]
    return {f"{host}:{path}": text for path, text in zip(blocks[::2], blocks[1::2], strict=True)}


def packaged(host: str) -> set[str]:
    """Return the paths of all packages of a host."""
    listed = twin.exec(host, "cat /var/lib/dpkg/info/*.list /var/lib/dpkg/info/*.conffiles").stdout.decode()
    paths = (line.split()[0] for line in listed.splitlines() if line.strip())
    # /lib is a link to /usr/lib, and packages may name either.
    return {re.sub(r"^/(bin|lib|lib64|sbin)/", r"/usr/\1/", path) for path in paths}


def recorded() -> dict[str, dict[str, str]]:
    """Return files and tables."""
    with ThreadPoolExecutor(8) as pool:
        tables = {path: text for found in pool.map(content, machines) for path, text in found.items()}
    files = {
        path: word
        for path, word in twin.snapshot().items()
        if not IGNORED.search(path.partition(":")[2]) and path not in tables
    }
    return {"files": files, "tables": tables}


now = recorded()
if stage == "before":
    Path(record).write_text(json.dumps(now, indent=1))
    raise SystemExit
before = json.loads(Path(record).read_text())
for host in machines:
    brought = packaged(host)
    for kind in ("files", "tables"):
        old, new = before[kind], now[kind]
        ours = sorted(path for path in old.keys() | new.keys() if path.startswith(f"{host}:"))
        differing = [path for path in ours if old.get(path) != new.get(path)]
        kept = [path for path in differing if path not in old and path.partition(":")[2] in brought]
        check(f"{kind} of {host} that differ", [], [path for path in differing if path not in kept])
finish()

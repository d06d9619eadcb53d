# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a fresh twin a campus whose mail works: servers that accept mail from others, DNS caches, short TTLs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lab.inventory import Inventory
from lab.network import OUTSIDE
from lab.seed import ZONES
from lab.tools import LabError
from lab.twin import Twin

#: TTL of the zones before the rollout, in seconds. Real ones are hours, and a rehearsal waits for them.
ZONE_TTL = 30
#: Seconds between two checks of a secondary server, for which caches may have changed records in addition.
REFRESH = 5
#: The host in a wildcard domain to which mail is sent.
WILDCARD_HOST = "pc1"

# What an admin of a faculty does with Debian's files: no limits for strangers, port 25 on all addresses.
_SENDMAIL = r"""
cd /etc/mail
sed -i -e "s/^DAEMON_OPTIONS.*Port=smtp.*/DAEMON_OPTIONS(\`Family={family}, Name=MTA, Port=smtp')dnl/" \
  -e '/^DAEMON_OPTIONS.*Port=submission/d' -e '/^FEATURE(`\(greet_pause\|conncontrol\|ratecontrol\|delay_checks\)/d' \
  -e '/confCONNECTION_RATE/d' -e '/confBAD_RCPT/d' \
  -e "s/^MAILER_DEFINITIONS/define(\`confQUEUE_LA', \`1000')dnl\ndefine(\`confREFUSE_LA', \`1000')dnl\n&/" sendmail.mc
for domain in {wildcards}; do echo "$domain"; done >> local-host-names
sed -i 's/^QUEUE_INTERVAL=.*/QUEUE_INTERVAL="20s";/' sendmail.conf
make --silent all >/dev/null
systemctl restart sendmail
"""
_NAMED = rf"""
sed -i 's/max-cache-ttl 1;/max-cache-ttl 604800;/' /etc/bind/named.conf /etc/bind/named.conf.options
sed -i -e 's/^\$TTL.*/$TTL\t{ZONE_TTL}/' -e 's/10800\(\s*; refresh\)/{REFRESH}\1/' {ZONES}/*.zone
systemctl restart named
"""


def concrete(domain: str) -> str:
    """Return the domain of a recipient of a domain of the plan, which may be a wildcard."""
    return f"{WILDCARD_HOST}{domain[1:]}" if domain.startswith("*.") else domain


def commands(inventory: Inventory) -> dict[str, str]:
    """Return the shell commands by short host name; none for hosts that a seed has configured."""
    found = {OUTSIDE: _NAMED}
    for host in inventory.hosts:
        if host.seed or host.own_layers is not None:
            continue
        if host.zones is not None:
            found[host.short] = _NAMED
        if host.domains or host.backup_domains:
            wildcards = " ".join(concrete(domain) for domain in host.domains if domain.startswith("*."))
            family = "inet6" if host.address6 else "inet"
            text = _SENDMAIL.replace("{family}", family).replace("{wildcards}", wildcards)
            found[host.short] = found.get(host.short, "") + text
    return found


def prepare(twin: Twin, inventory: Inventory) -> None:
    """Run the commands on all hosts; raise LabError naming those that fail."""
    wanted = commands(inventory)

    def problem(short: str) -> str:
        done = twin.exec(short, ["sh -eu"], input=wanted[short].encode(), timeout=300)
        return f"host {short}: {done.stderr.decode(errors='replace').strip()[-500:]}" if done.returncode else ""

    _raise(ThreadPoolExecutor(16).map(problem, wanted))


def _raise(problems: Iterable[str]) -> None:
    found = [text for text in problems if text]
    if found:
        raise LabError("the twin could not be prepared:\n" + "\n".join(found))

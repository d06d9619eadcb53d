# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a fresh twin a campus whose mail works: servers that accept mail from others, DNS caches, short TTLs."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lab.inventory import Host, Inventory
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
{own}
make --silent all >/dev/null
systemctl restart sendmail
"""
# What some servers have beside: tables of their own, for a partner and for addresses of functions.
_OWN_TABLES = r"""
sed -i -e "s/^MAILER_DEFINITIONS/FEATURE(\`mailertable')dnl\nFEATURE(\`virtusertable')dnl\n&/" sendmail.mc
printf '# The partner takes mail on its own server, by contract.\npartner.example\tesmtp:[192.0.2.25]\n' >> mailertable
printf '# Addresses of functions\nwebmaster@{domain}\talice\n' >> virtusertable
printf 'Connect:192.0.2.25\tOK\n' >> access
"""
_POSTFIX = r"""
cd /etc/postfix
postconf -e myhostname={name} inet_interfaces=all inet_protocols={protocols} 'mynetworks = 127.0.0.0/8 [::1]/128' \
  'mydestination = {domains}, localhost' recipient_delimiter=+ 'smtpd_banner = $myhostname ESMTP' \
  'virtual_alias_maps = hash:/etc/postfix/virtual' 'transport_maps = hash:/etc/postfix/transport' \
  minimal_backoff_time=20s maximal_backoff_time=60s queue_run_delay=20s
printf 'webmaster@{domain}\talice\n' >> virtual
printf '# The partner takes mail on its own server, by contract.\npartner.example\tsmtp:[192.0.2.25]\n' >> transport
postmap hash:/etc/postfix/virtual hash:/etc/postfix/transport
newaliases
systemctl restart postfix
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
            found[host.short] = found.get(host.short, "") + _mail(host, own_tables=len(found) % 3 == 0)
    return found


def _mail(host: Host, *, own_tables: bool) -> str:
    """Return the commands of a mail server's admin."""
    domain = next((each for each in host.domains if not each.startswith("*.")), host.full_name)
    if host.mta == "postfix" and not host.gateway:
        domains = ", ".join(dict.fromkeys([host.full_name, *map(concrete, (*host.domains, *host.backup_domains))]))
        values = {"name": host.full_name, "domains": domains, "protocols": "all" if host.address6 else "ipv4"}
        text = _POSTFIX
    else:
        wildcards = " ".join(concrete(each) for each in host.domains if each.startswith("*."))
        values = {"family": "inet6" if host.address6 else "inet", "wildcards": wildcards}
        text = _SENDMAIL.replace("{own}", _OWN_TABLES.strip() if own_tables else ":")
    for name, value in {**values, "domain": domain}.items():
        text = text.replace(f"{{{name}}}", value)
    return text


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

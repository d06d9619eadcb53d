# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a sendmail host's files, from its table of routes: pure functions, no I/O.

Sources: cf/README of sendmail 8.17 (MAILERTABLE, ACCESS DATABASE, DAEMON_OPTIONS), the Sendmail Installation and
Operations Guide (address test mode), Debian's /etc/mail/Makefile (the form of sendmail.cf).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HEADER = "# Made by campus.mailgate from the inventory; a change made here is lost at its next run.\n"
ACCESS_BEGIN = "# BEGIN campus.mailgate: domains this host relays to"
ACCESS_END = "# END campus.mailgate"

# `relay` is sendmail's ESMTP mailer that always keeps 8-bit data, so that no message is re-encoded on its way.
MAILER = "relay"
# A probe that no campus relays for: the "stranger" of the relay check, an address set aside for documentation.
STRANGER = "IPv6:2001:db8:ffff:0:0:0:0:1"
FOREIGN_DOMAIN = "mailgate-probe.invalid"
PROBE_LABEL = "mailgate-probe"
PROBE_USER = "mailgate-probe"

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_INTERVAL = re.compile(r"([0-9]+[smhdw])+\Z")
_ADDRESS = re.compile(r"[A-Za-z0-9._+-]+(@[A-Za-z0-9.-]+)?\Z")
_BUILD_LINE = re.compile(r"^##### (?:built by|in|using) .*\n", re.MULTILINE)
_RETURNS = re.compile(r"^(\S+)\s+returns: (.*)$")


@dataclass(frozen=True)
class Route:
    """Mail for `domain` (a name, or `*.suffix`) goes to `next_hop`, an IPv4 or IPv6 address; `host` names it."""

    domain: str
    next_hop: str
    host: str = ""


@dataclass(frozen=True)
class Listener:
    """An address and TCP port that the daemon listens on; `::` takes IPv4 too."""

    address: str
    port: int


@dataclass(frozen=True)
class Settings:
    """All that the files of one host are made from.

    `hostname` is the name it greets with ("" lets sendmail find out), `local` and `relay` are domains (`*.suffix`
    allowed), `queue_interval` is a sendmail time such as `10m`, `extra` are lines of m4 for sendmail.mc.
    """

    hostname: str
    listen: tuple[Listener, ...]
    local: tuple[str, ...]
    relay: tuple[str, ...]
    routes: tuple[Route, ...]
    queue_interval: str = "10m"
    max_daemon_children: int = 20
    double_bounce_address: str = "nobody"
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class AddressTest:
    """A line for `sendmail -bt` (`command`), the ruleset whose result counts, and what it must begin with."""

    command: str
    ruleset: str
    expected: str


def normal(settings: Settings) -> Settings:
    """Return `settings` with names in lower case, without duplicates, each parent domain before its children."""
    return Settings(
        hostname=settings.hostname.lower().rstrip("."),
        listen=settings.listen,
        local=tuple(_in_order(settings.local)),
        relay=tuple(_in_order(settings.relay)),
        routes=tuple(
            sorted(
                {Route(_name(r.domain), _address(r.next_hop), r.host) for r in settings.routes},
                key=lambda r: (_tree(r.domain), r.next_hop, r.host),
            )
        ),
        queue_interval=settings.queue_interval,
        max_daemon_children=settings.max_daemon_children,
        double_bounce_address=settings.double_bounce_address,
        extra=settings.extra,
    )


def problems(settings: Settings) -> list[str]:
    """Return everything that is wrong with normalised `settings`, each with the way to mend it; [] if all is well."""
    found = [
        f"{kind}: '{d}' is not a domain; give a name in A-labels such as mech.eng.univ.example, or *.suffix"
        for kind, domains in (
            ("local", settings.local),
            ("relay", settings.relay),
            ("routes", [r.domain for r in settings.routes]),
        )
        for d in domains
        if not _is_domain(d)
    ]
    return found + _route_problems(settings) + _listen_problems(settings.listen) + _option_problems(settings)


def _route_problems(settings: Settings) -> list[str]:
    found = []
    hops: dict[str, Route] = {}
    for route in settings.routes:
        where = f"routes: {route.domain}" + (f" (server {route.host})" if route.host else "")
        if not _is_address(route.next_hop):
            found.append(f"{where}: next hop '{route.next_hop}' is not an IP address; a name would be looked up by MX")
        elif ipaddress.ip_address(route.next_hop).is_loopback:
            found.append(f"{where}: next hop {route.next_hop} is this host itself; mail would loop")
        if route.domain in settings.local:
            found.append(f"{where}: is local here too; remove it from one of the two")
        first = hops.setdefault(route.domain, route)
        if first.next_hop != route.next_hop:
            found.append(f"{where}: has two next hops, {first.next_hop} and {route.next_hop}; keep one")
    return found


def _listen_problems(listeners: tuple[Listener, ...]) -> list[str]:
    found = [] if listeners else ["listen: is empty; give at least one address and port"]
    for listener in listeners:
        if not _is_address(listener.address):
            found.append(f"listen: '{listener.address}' is not an IP address")
        if not 0 < listener.port < 65536:
            found.append(f"listen: {listener.port} is not a port; give 1 to 65535")
    return found


def _option_problems(settings: Settings) -> list[str]:
    found = []
    if settings.hostname and not _is_domain(settings.hostname):
        found.append(f"hostname: '{settings.hostname}' is not a full host name such as mail.eng.univ.example")
    if not _INTERVAL.match(settings.queue_interval):
        found.append(f"queue_interval: '{settings.queue_interval}' is not a sendmail time such as 10m or 1h30m")
    if settings.max_daemon_children < 1:
        found.append(f"max_daemon_children: {settings.max_daemon_children} would refuse all mail; give 1 or more")
    if settings.double_bounce_address and not _ADDRESS.match(settings.double_bounce_address):
        found.append(f"double_bounce_address: '{settings.double_bounce_address}' is not a mail address")
    return found


def static_route(settings: Settings) -> str:
    """Return the STATIC file as the CF package has it: `STATIC domain smtp:[address]`, `.suffix` for a wildcard."""
    head = HEADER + "# The routes of this host, to read and to print. sendmail reads the same table as mailertable.\n"
    return head + "".join(f"STATIC {_dotted(r.domain)} smtp:{_hop(r.next_hop)}\n" for r in _by_domain(settings.routes))


def mailertable(settings: Settings) -> str:
    """Return the mailertable: a line a route, and one for each local wildcard, which class w can't express."""
    lines = {_dotted(r.domain): f"{MAILER}:{_hop(r.next_hop)}" for r in settings.routes}
    lines |= {_dotted(d): "local:" for d in settings.local if _is_wildcard(d)}
    return HEADER + "".join(f"{k}\t{v}\n" for k, v in sorted(lines.items(), key=lambda kv: _tree(kv[0])))


def local_host_names(settings: Settings) -> str:
    """Return the file of class w: the domains whose users live here."""
    return HEADER + "".join(f"{d}\n" for d in settings.local if not _is_wildcard(d))


def access(current: str, settings: Settings) -> str:
    """Return the access file `current` with our block of `To:` lines in it; other lines stay as they are.

    `To:` lets anybody send *to* a domain. Class R (relay-domains) would also let each client with a name in that
    domain send anywhere, so it is left to the host's admin. A wildcard needs its line although it is local.
    """
    domains = _in_order([*settings.relay, *(d for d in settings.local if _is_wildcard(d))])
    keys = dict.fromkeys(d.removeprefix("*.") for d in domains)
    block = "".join(f"{line}\n" for line in (ACCESS_BEGIN, *(f"To:{k}\tRELAY" for k in keys), ACCESS_END))
    ours = re.compile(rf"^{re.escape(ACCESS_BEGIN)}\n.*?^{re.escape(ACCESS_END)}\n", re.MULTILINE | re.DOTALL)
    if ours.search(current):
        return ours.sub(lambda _: block, current, count=1)
    if current and not current.endswith("\n"):
        current += "\n"
    return current + block


def conf(current: str, settings: Settings) -> str:
    """Return Debian's sendmail.conf `current` with the queue interval set; all else stays as it is."""
    line = f'QUEUE_INTERVAL="{settings.queue_interval}";'
    changed, count = re.subn(r"^QUEUE_INTERVAL=.*$", line, current, flags=re.MULTILINE)
    if count:
        return changed
    return (current if not current or current.endswith("\n") else current + "\n") + line + "\n"


def aliases(current: str, settings: Settings) -> str:
    """Return the aliases `current` with those added that must exist; an alias that exists stays as it is.

    Postmaster must be there in every domain (RFC 5321, section 4.5.1), and error messages name mailer-daemon as their
    author. A bare double-bounce address is sent to /dev/null: its mailbox would fill up with what nobody reads.
    """
    needed = {"postmaster": "root", "mailer-daemon": "postmaster"}
    if settings.double_bounce_address and "@" not in settings.double_bounce_address:
        needed.setdefault(settings.double_bounce_address, "/dev/null")
    existing = {name.lower() for name in re.findall(r"^[ \t]*([^#\s:]+)[ \t]*:", current, re.MULTILINE)}
    missing = [f"{name}: {target}\n" for name, target in needed.items() if name.lower() not in existing]
    if missing and current and not current.endswith("\n"):
        current += "\n"
    return current + "".join(missing)


def sendmail_mc(settings: Settings) -> str:
    """Return the source of sendmail.cf, for m4."""
    daemons = "".join(
        f"DAEMON_OPTIONS(`Name=MTA{n}, Family={_family(entry.address)}, Addr={entry.address}, Port={entry.port}')dnl\n"
        for n, entry in enumerate(settings.listen, 1)
    )
    hostname = f"define(`confDOMAIN_NAME', `{settings.hostname}')dnl\n" if settings.hostname else ""
    return (
        _MC_HEAD
        + hostname
        + daemons
        + f"define(`confMAX_DAEMON_CHILDREN', `{settings.max_daemon_children}')dnl\n"
        + f"define(`confDOUBLE_BOUNCE_ADDRESS', `{settings.double_bounce_address}')dnl\n"
        + _MC_BODY
        + "".join(f"{line}\n" for line in settings.extra)
        + _MC_TAIL
    )


def submit_mc(settings: Settings) -> str:
    """Return the source of submit.cf: the `sendmail` command hands local mail to this host's own daemon."""
    address, port = submission(settings)
    host = f"IPv6:{address}" if ":" in address else address
    return _SUBMIT_MC.format(host=host, port=port)


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


def address_tests(settings: Settings) -> list[AddressTest]:
    """Return the tests that a configuration must pass before it is used.

    Each route must lead to its own next hop, each local domain to the local mailer, each relay domain must be taken
    from a stranger, and a stranger's mail for a foreign domain must be refused.
    """
    tests = [
        AddressTest(f"3,0 {_probe(r.domain)}", "parse", f"$#{MAILER}$@{_hop(r.next_hop)}$:") for r in settings.routes
    ]
    tests += [AddressTest(f"3,0 {_probe(d)}", "parse", "$#local$") for d in settings.local]
    tests += [
        AddressTest(f"check_rcpt {_probe(d)}", "check_rcpt", "RELAY")
        for d in _in_order(settings.relay + settings.local)
    ]
    return [*tests, AddressTest(f"check_rcpt {PROBE_USER}@{FOREIGN_DOMAIN}", "check_rcpt", "$#error$@5.7.1$:")]


def test_script(tests: Iterable[AddressTest]) -> str:
    """Return the input for `sendmail -bt`: the tests, with a client that nobody knows."""
    client = [f".D{{client_addr}}{STRANGER}", f".D{{client_name}}{FOREIGN_DOMAIN}", ".D{client_resolve}FAIL"]
    return "".join(f"{line}\n" for line in (*client, *(t.command for t in tests)))


def failures(tests: Iterable[AddressTest], output: str) -> list[str]:
    """Return what `output`, printed by `sendmail -bt` for `test_script(tests)`, says against the tests; [] if nothing.

    sendmail prints a line for each ruleset as it returns, with blanks between tokens; a test's own is the last.
    """
    results = []
    for line in output.splitlines():
        match = _RETURNS.match(line.removeprefix("> "))
        if match and match[1] in ("parse", "check_rcpt"):
            results.append((match[1], match[2].replace(" ", "")))
    found = []
    for test in tests:
        ruleset, got = results.pop(0) if results else ("", "no answer")
        if ruleset != test.ruleset or not got.lower().startswith(test.expected.lower()):
            found.append(f"{test.command}: expected {test.expected}…, got {got}")
    return found


def map_entries(text: str) -> Mapping[str, str]:
    """Return the entries of a makemap source or of `makemap -u`: keys in lower case, as makemap folds them."""
    entries = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            key, *value = line.split(maxsplit=1)
            entries[key.lower()] = "".join(value).strip()
    return entries


def _name(domain: str) -> str:
    return domain.strip().lower().rstrip(".")


def _is_wildcard(domain: str) -> bool:
    return domain.startswith("*.")


def _is_domain(domain: str) -> bool:
    name = domain.removeprefix("*.")
    return len(name) <= 253 and "." in name and all(_LABEL.match(label) for label in name.split("."))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text)) if _is_address(text) else text


def _family(address: str) -> str:
    return "inet6" if ":" in address else "inet"


def _hop(address: str) -> str:
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _dotted(domain: str) -> str:
    return domain.removeprefix("*")


def _probe(domain: str) -> str:
    return f"{PROBE_USER}@{domain.replace('*', PROBE_LABEL)}"


def _tree(domain: str) -> tuple[str, ...]:
    return tuple(reversed(domain.split(".")))


def _in_order(domains: Iterable[str]) -> list[str]:
    return sorted({_name(d) for d in domains}, key=_tree)


def _by_domain(routes: Iterable[Route]) -> list[Route]:
    return list({r.domain: r for r in routes}.values())


_MC_HEAD = """\
divert(-1)dnl
# Made by campus.mailgate from the inventory; a change made here is lost at its next run.
divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
VERSIONID(`campus.mailgate')
OSTYPE(`debian')dnl
DOMAIN(`debian-mta')dnl
dnl # No memory of servers that were down: one that is back gets its mail at the next queue run.
undefine(`confHOST_STATUS_DIRECTORY')dnl
FEATURE(`no_default_msa')dnl
"""

_MC_BODY = """\
define(`confPRIVACY_FLAGS', `authwarnings,novrfy,noexpn,noetrn,nobodyreturn,restrictqrun,restrictmailq')dnl
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
divert(-1)dnl
# Made by campus.mailgate from the inventory; a change made here is lost at its next run.
divert(0)dnl
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
VERSIONID(`campus.mailgate')
OSTYPE(`debian')dnl
DOMAIN(`debian-msp')dnl
dnl # The port is an argument of the mailer: FEATURE(msp) itself knows no port but 25 and 587.
define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl
FEATURE(`msp', `[{host}]')dnl
"""

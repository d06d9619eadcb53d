# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The port-25 chains of a border router, rendered as input for iptables-restore and ipset.

Pure, no I/O; `text` parses what the kernel has. A *rule* is one line as iptables-save(8) prints it, without `-A CHAIN`.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

INBOUND = "MAILGATE"
OUTBOUND = "MAILGATE-OUT"
PARENT = "FORWARD"
# New connections to port 25. Every rule has this match, so that another chain's jump to ours concerns nothing else.
CONNECTING = "-p tcp -m tcp --dport 25 --tcp-flags SYN,ACK SYN"
# The comment of the jumps, which distinguishes them from an admin's own jumps to the chains.
MARK = "mailgate"
FAMILIES = ("ipv4", "ipv6")
PERMITS = {"ipv4": "mailgate-permits", "ipv6": "mailgate-permits6"}
SENDERS = {"ipv4": "mailgate-senders", "ipv6": "mailgate-senders6"}
BANS = {"ipv4": "mailgate-bans", "ipv6": "mailgate-bans6"}

# Both the comment match (XT_MAX_COMMENT_LEN) and ipset (IPSET_MAX_COMMENT_SIZE) hold 255 bytes and a NUL.
COMMENT_BYTES = 255
# Only a limit, which allocates no memory. It must not change: `ipset create -exist` rejects another value.
SET_MAXELEM = 1048576
PREFIX_BYTES = {"log": 29, "nflog": 63}
# limit match: the kernel keeps periods in 1/10000 s (XT_LIMIT_SCALE).
RATE_SCALE = 10000
RATE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Permit:
    """An address that may receive, or send, mail directly, and a comment."""

    address: str
    comment: str = ""


@dataclass(frozen=True)
class Log:
    """How rejected attempts are logged; `target` is log, nflog or none."""

    target: str = "log"
    prefix: str = "mailgate-25: "
    limit: str = "10/minute"
    burst: int = 20
    group: int = 0


@dataclass(frozen=True)
class Outbound:
    """The hosts, besides the gateways, that may connect to external port 25; `mode` is disabled, observe or enforce."""

    mode: str = "disabled"
    senders: tuple[Permit, ...] = ()
    prefix: str = "mailgate-25-out: "


@dataclass(frozen=True)
class Server:
    """A server with rules of its own, which are counted on their own; `mode` is observe or enforce."""

    address: str
    mode: str = "observe"


@dataclass(frozen=True)
class Guard:
    """The settings of the chains. Addresses and networks of both families are mixed.

    Without ``bans`` the rules name no set of banned addresses, which only this collection creates. The rules of
    ``servers`` come before those of ``networks``; a permit or a gateway precedes both.
    """

    interfaces: tuple[str, ...]
    networks: tuple[str, ...]
    gateways: tuple[str, ...]
    permits: tuple[Permit, ...] = ()
    action: str = "reject"
    mode: str = "enforce"
    log: Log = field(default_factory=Log)
    set_threshold: int = 64
    outbound: Outbound = field(default_factory=Outbound)
    bans: bool = True
    servers: tuple[Server, ...] = ()


@dataclass(frozen=True)
class Chain:
    """A managed chain: its rules, and the jumps to it from the parent chain, one for each outside interface."""

    name: str
    jumps: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The managed part of a family's table: chains, in the order of their jumps, and entries of the sets they use.

    `permits` counts permitted addresses. The set of banned addresses is not in `sets`, as its entries are temporary.
    """

    family: str
    chains: tuple[Chain, ...]
    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    permits: int = 0

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules of all chains, each with its `-A CHAIN`."""
        return tuple(f"-A {chain.name} {rule}" for chain in self.chains for rule in chain.rules)

    @property
    def jumps(self) -> tuple[str, ...]:
        """All jumps, in the order of their places in the parent chain."""
        return tuple(jump for chain in self.chains for jump in chain.jumps)

    def text(self) -> str:
        """Return input for `iptables-restore --noflush`: chains, rules, then jumps, without dates and counters."""
        lines = ["*filter", *(f":{chain.name} - [0:0]" for chain in self.chains), *self.rules]
        lines += [f"-I {PARENT} {place} {jump}" for place, jump in enumerate(self.jumps, 1)]
        return "\n".join([*lines, "COMMIT", ""])


def clean_comment(text: str) -> str:
    """Return a text as a comment of iptables and ipset: one line, no quotes or backslashes, 255 bytes of UTF-8."""
    text = "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
    text = " ".join(text.split()).replace('"', "'").replace("\\", "/")
    return text.encode("utf-8", "ignore")[:COMMENT_BYTES].decode("utf-8", "ignore").strip()


def permit_comment(host: str, reason: str, owner: str, until: str) -> str:
    """Return a comment for a permit: the host, the reason, the owner and the last day (an ISO date)."""
    parts = [reason, owner, f"until {until}" if until else ""]
    details = "; ".join(part for part in parts if part)
    return clean_comment(f"{host}: {details}" if host and details else host or details)


def problems(guard: Guard) -> list[str]:
    """Return all problems of the settings, each with its option and its fix."""
    found = _interface_problems(guard.interfaces)
    if not guard.networks:
        found.append("networks: empty; list the campus networks behind this router, for example 198.18.0.0/16")
    if not guard.gateways:
        found.append("gateways: empty; without a gateway all inbound mail would be rejected")
    for option, values in (
        ("networks", guard.networks),
        ("gateways", guard.gateways),
        ("permits", tuple(permit.address for permit in guard.permits)),
        ("servers", tuple(server.address for server in guard.servers)),
        ("outbound.senders", tuple(sender.address for sender in guard.outbound.senders)),
    ):
        for value in values:
            try:
                network = ipaddress.ip_network(value)
            except ValueError as error:
                found.append(
                    f"{option}: {value!r}: {error}; use an address or a network such as 198.18.1.40 or 198.18.0.0/16"
                )
                continue
            if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
                plain = network.network_address.ipv4_mapped
                found.append(f"{option}: {value!r} never appears in a packet; write the IPv4 address {plain}")
            elif option != "networks" and network.prefixlen == 0:
                found.append(f"{option}: {value!r} would permit every server; list single servers or small networks")
        if option != "networks" and (parts := _whole_internet(values)):
            found.append(f"{option}: {', '.join(parts)} together would permit every server; list single servers")
    found += _log_problems(guard.log)
    if guard.log.target != "none" and guard.outbound.mode != "disabled":
        found += _prefix_problems("outbound.prefix", guard.outbound.prefix, PREFIX_BYTES[guard.log.target])
    if guard.set_threshold < 0:
        found.append(f"ipset_threshold: {guard.set_threshold} is negative")
    return found


_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def _whole_internet(values: Iterable[str]) -> list[str]:
    """Return the larger of several networks that together contain every address of a family."""
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for value in values:
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.ip_network(value))
    for version in (4, 6):
        large = [network for network in networks if network.version == version and network.prefixlen]
        if any(union.prefixlen == 0 for union in ipaddress.collapse_addresses(large)):  # type: ignore[type-var]
            return [str(network) for network in large][:8]
    return []


def expired(option: str, listed: Iterable[tuple[str, str]], today: datetime.date) -> list[str]:
    """Return a problem for each (address, last day) whose last day is over; a text that is not a date is ignored."""
    found = []
    for address, until in listed:
        with contextlib.suppress(ValueError):
            if until and datetime.date.fromisoformat(until) < today:
                found.append(f"{option}: {address} expired on {until}; renew its date or remove it")
    return found


def _interface_problems(names: Iterable[str]) -> list[str]:
    """Return all problems of the names of the outside interfaces."""
    found = [] if names else ["outside_interface: empty; name the interface to the internet, as `ip link` shows it"]
    for name in names:
        if "@" in name:
            found.append(f"outside_interface: {name!r}: write {name.partition('@')[0]!r}; `ip link` adds the peer")
        elif not re.fullmatch(r"[^\s/!:*\"'\\+-][^\s/!:*\"'\\]{0,14}", name):
            found.append(
                f"outside_interface: {name!r} is not a valid interface name "
                "(1 to 15 characters; see `ip link`; a final + matches any suffix)"
            )
    return found


def _log_problems(log: Log) -> list[str]:
    """Return all problems of the log settings."""
    if log.target == "none":
        return []
    found: list[str] = []
    rate = re.fullmatch(r"([1-9][0-9]{0,4})/(second|minute|hour|day)", log.limit)
    if not rate or int(rate.group(1)) > RATE_SCALE * RATE_UNITS[rate.group(2)]:
        found.append(f"log.limit: {log.limit!r}; use NUMBER/second, /minute, /hour or /day, at most 10000/second")
    if not 1 <= log.burst <= RATE_SCALE:
        found.append(f"log.burst: {log.burst}; use 1 to {RATE_SCALE}")
    if not 0 <= log.group <= 65535:
        found.append(f"log.group: {log.group}; use 0 to 65535")
    return found + _prefix_problems("log.prefix", log.prefix, PREFIX_BYTES[log.target])


def _prefix_problems(option: str, prefix: str, max_bytes: int) -> list[str]:
    """Return the problem of a log prefix, if it has one."""
    if 1 <= len(prefix.encode()) <= max_bytes and re.fullmatch(r"[ -~]*", prefix) and not set(prefix) & set("\"'\\"):
        return []
    return [f"{option}: {prefix!r}; use 1 to {max_bytes} printable ASCII characters without quotes or backslashes"]


def render(guard: Guard, family: str) -> Table:
    """Return one family's chains for settings without problems.

    The jumps match connection attempts only (SYN without ACK), so established connections are never cut and the router
    need not track connections. Permitted traffic returns to the router's other rules. A family without campus networks
    is guarded for every address, so that an omitted IPv6 network does not leave IPv6 open.

    A ban is an operator's explicit decision, so banned addresses are dropped in observe mode too.
    """
    gateways = of_family(guard.gateways, family)
    networks = of_family(guard.networks, family) or ("",)
    permits = comments_by_address(guard.permits, family, gateways)
    sets: dict[str, dict[str, str]] = {}
    rules = [f"{CONNECTING} -m set --match-set {BANS[family]} src -j DROP"] if guard.bans else []
    rules += [_rule("-d", address, "gateway") for address in gateways]
    rules += _permit_rules(permits, guard.set_threshold, PERMITS[family], "dst", sets)
    for address, mode in server_modes(guard.servers, family, gateways).items():
        rules += _reject_rules(guard, f"-d {address} ", mode, guard.log.prefix)
    for network in networks:
        rules += _reject_rules(guard, f"-d {network} " if network else "", guard.mode, guard.log.prefix)
    chains = [Chain(INBOUND, _jumps("-i", guard.interfaces, INBOUND), tuple(rules))]

    outbound = guard.outbound
    if outbound.mode != "disabled":
        senders = comments_by_address(outbound.senders, family, gateways)
        rules = [_rule("-s", address, "gateway") for address in gateways]
        rules += _permit_rules(senders, guard.set_threshold, SENDERS[family], "src", sets)
        for network in networks:
            rules += _reject_rules(guard, f"-s {network} " if network else "", outbound.mode, outbound.prefix)
        chains.append(Chain(OUTBOUND, _jumps("-o", guard.interfaces, OUTBOUND), tuple(rules)))
    return Table(family=family, chains=tuple(chains), sets=sets, permits=len(permits))


def _jumps(option: str, interfaces: Iterable[str], chain: str) -> tuple[str, ...]:
    """Return the jumps to a chain, one for each interface."""
    mark = f"-m comment --comment {MARK}"
    return tuple(f"{option} {name} {CONNECTING} {mark} -j {chain}" for name in interfaces)


def comments_by_address(permits: Iterable[Permit], family: str, gateways: Iterable[str]) -> dict[str, str]:
    """Return one family's addresses that are not gateways, without duplicates, with their comments."""
    found: dict[str, str] = {}
    for permit in permits:
        for address in of_family((permit.address,), family):
            if address not in gateways:
                found.setdefault(address, clean_comment(permit.comment))
    return found


def server_modes(servers: Iterable[Server], family: str, gateways: Iterable[str]) -> dict[str, str]:
    """Return the mode of one family's servers that are no gateways, by address with a prefix length."""
    found: dict[str, str] = {}
    for server in servers:
        for address in of_family((server.address,), family):
            if address not in gateways:
                found.setdefault(address, server.mode)
    return found


def _permit_rules(
    permits: dict[str, str], threshold: int, name: str, side: str, sets: dict[str, dict[str, str]]
) -> list[str]:
    """Return a rule for each address or, above the threshold, one rule for a set, which is added to `sets`."""
    if len(permits) > threshold:
        sets[name] = {short(address): comment for address, comment in permits.items()}
        return [f"{CONNECTING} -m set --match-set {name} {side} -j RETURN"]
    return [_rule(f"-{side[0]}", address, comment) for address, comment in permits.items()]


def _reject_rules(guard: Guard, where: str, mode: str, prefix: str) -> list[str]:
    """Return rules that log and reject (in observe mode only count) traffic to or from one network."""
    log = guard.log
    rules: list[str] = []
    if log.target != "none":
        limit = f"-m limit --limit {log.limit} --limit-burst {log.burst}"
        target = (
            f'LOG --log-prefix "{prefix}"'
            if log.target == "log"
            else f'NFLOG --nflog-prefix "{prefix}" --nflog-group {log.group}'
        )
        rules.append(f"{where}{CONNECTING} {limit} -j {target}")
    if mode == "observe":
        rules.append(f'{where}{CONNECTING} -m comment --comment "would be refused" -j RETURN')
    elif guard.action == "drop":
        rules.append(f"{where}{CONNECTING} -j DROP")
    else:
        rules.append(f"{where}{CONNECTING} -j REJECT --reject-with tcp-reset")
    return rules


def of_family(values: Iterable[str], family: str) -> tuple[str, ...]:
    """Return one family's addresses without duplicates, as networks with a prefix length, in the given order."""
    wanted = 4 if family == "ipv4" else 6
    networks = (ipaddress.ip_network(value) for value in values)
    return tuple(dict.fromkeys(str(network) for network in networks if network.version == wanted))


def short(network: str) -> str:
    """Return a network, or a host without prefix length, as ipset prints it."""
    parsed = ipaddress.ip_network(network)
    return str(parsed.network_address) if parsed.prefixlen == parsed.max_prefixlen else str(parsed)


def _rule(option: str, address: str, comment: str) -> str:
    """Return a rule that lets an address pass."""
    match = f'-m comment --comment "{comment}" ' if comment else ""
    return f"{option} {address} {CONNECTING} {match}-j RETURN"


def permit_lines(permit: Permit) -> tuple[str, str]:
    """Return the line of a permit in a file of rules, and the one in the file of sets."""
    network = str(ipaddress.ip_network(permit.address))
    comment = clean_comment(permit.comment)
    name = PERMITS["ipv6" if ":" in network else "ipv4"]
    return f"-A {INBOUND} {_rule('-d', network, comment)}", _add_line(name, short(network), comment)


def _add_line(name: str, address: str, comment: str) -> str:
    """Return the command of ipset that adds an address to a set that is being filled."""
    return f"add {name}.new {address}" + (f' comment "{comment}"' if comment else "")


def create_set(name: str) -> str:
    """Return the command of ipset that creates a managed set in its one form."""
    family = "inet6" if name.endswith("6") else "inet"
    options = " timeout 0 counters" if name in BANS.values() else ""
    return f"create {name} hash:net family {family} maxelem {SET_MAXELEM}{options} comment"


def sets_text(tables: Iterable[Table]) -> str:
    """Return input for `ipset -exist restore`; empty without a table.

    All sets are created, since rules that another program saved may name them: with one missing, none of its rules
    can be loaded. The entries of the sets of bans stay. Sets with entries are filled under a temporary name and
    swapped in.
    """
    lines: list[str] = []
    for table in tables:
        lines += [create_set(name) for name in (BANS[table.family], PERMITS[table.family], SENDERS[table.family])]
        for name, entries in table.sets.items():
            lines += [create_set(name).replace(name, f"{name}.new"), f"flush {name}.new"]
            for address, comment in sorted(entries.items()):
                lines.append(_add_line(name, address, comment))
            lines += [f"swap {name}.new {name}", f"destroy {name}.new"]
    return "\n".join([*lines, ""]) if lines else ""

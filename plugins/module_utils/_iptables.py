# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The port-25 chain of a border router: rendered as iptables-restore input, and read back from iptables-save.

Pure: text in, text out. A *rule* is one line as iptables-save(8) prints it, without `-A CHAIN`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

CHAIN = "MAILGATE"
PARENT = "FORWARD"
FAMILIES = ("ipv4", "ipv6")
SET_NAMES = {"ipv4": "mailgate-permits", "ipv6": "mailgate-permits6"}

# Both the comment match (XT_MAX_COMMENT_LEN) and ipset (IPSET_MAX_COMMENT_SIZE) hold 255 bytes and a NUL.
COMMENT_BYTES = 255
# Only a limit, no memory is taken for it; one value for ever, because `ipset create -exist` refuses another.
SET_MAXELEM = 1048576
PREFIX_BYTES = {"log": 29, "nflog": 63}
# limit match: periods are kept in 1/10000 s (XT_LIMIT_SCALE).
RATE_SCALE = 10000
RATE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Permit:
    """A destination that stays reachable, and why."""

    address: str
    comment: str = ""


@dataclass(frozen=True)
class Log:
    """How refused attempts are logged; `target` is log, nflog or none."""

    target: str = "log"
    prefix: str = "mailgate-25: "
    limit: str = "10/minute"
    burst: int = 20
    group: int = 0


@dataclass(frozen=True)
class Guard:
    """What the chain is made from. Addresses and networks of both families are mixed."""

    interface: str
    networks: tuple[str, ...]
    gateways: tuple[str, ...]
    permits: tuple[Permit, ...] = ()
    action: str = "reject"
    mode: str = "enforce"
    log: Log = field(default_factory=Log)
    set_threshold: int = 64


@dataclass(frozen=True)
class Chain:
    """One family's chain: its rules, the jump to it, how many permits, and the set that holds them (None: no set)."""

    family: str
    jump: str
    rules: tuple[str, ...]
    permits: int = 0
    entries: dict[str, str] | None = None

    def text(self) -> str:
        """Input for `iptables-restore --noflush`: a chain line, our rules, then the jump. No dates, no counters."""
        lines = ["*filter", f":{CHAIN} - [0:0]"]
        lines += [f"-A {CHAIN} {rule}" for rule in self.rules]
        lines += [f"-I {PARENT} 1 {self.jump}", "COMMIT", ""]
        return "\n".join(lines)


@dataclass(frozen=True)
class Saved:
    """Our part of what iptables-save printed; jumps are (position in the parent chain from 1, rule)."""

    exists: bool = False
    rules: tuple[str, ...] = ()
    jumps: tuple[tuple[int, str], ...] = ()


def clean_comment(text: str) -> str:
    """Make a text fit for a comment of iptables and ipset: one line, no quotes or backslashes, 255 bytes of UTF-8."""
    text = " ".join(text.split()).replace('"', "'").replace("\\", "/")
    text = "".join(char for char in text if char.isprintable())
    return text.encode("utf-8")[:COMMENT_BYTES].decode("utf-8", "ignore").strip()


def permit_comment(host: str, reason: str, owner: str, until: str) -> str:
    """Say in one line why a server stays open: who asked, what for, until when (an ISO date)."""
    parts = [reason, owner, f"until {until}" if until else ""]
    told = "; ".join(part for part in parts if part)
    return clean_comment(f"{host}: {told}" if host and told else host or told)


def problems(guard: Guard) -> list[str]:
    """List everything wrong with the input, each entry naming the option and how to mend it."""
    found: list[str] = []
    if not re.fullmatch(r"[^\s/!:\"'\\-][^\s/!:\"'\\]{0,14}", guard.interface):
        found.append(
            f"outside_interface: {guard.interface!r} is no interface name (1 to 15 characters, as `ip link` shows)"
        )
    if not guard.networks:
        found.append("networks: empty; name the campus networks behind this router, as 198.18.0.0/16")
    if not guard.gateways:
        found.append("gateways: empty; without a gateway all mail from outside would be refused")
    for option, values in (
        ("networks", guard.networks),
        ("gateways", guard.gateways),
        ("permits", tuple(permit.address for permit in guard.permits)),
    ):
        for value in values:
            try:
                network = ipaddress.ip_network(value)
            except ValueError as error:
                found.append(
                    f"{option}: {value!r}: {error}; write an address or a network, as 198.18.1.40 or 198.18.0.0/16"
                )
                continue
            if option != "networks" and network.prefixlen == 0:
                found.append(f"{option}: {value!r} would open every server; name single servers or small networks")
    found += _log_problems(guard.log)
    if guard.set_threshold < 0:
        found.append(f"ipset_threshold: {guard.set_threshold} is below 0")
    return found


def _log_problems(log: Log) -> list[str]:
    if log.target == "none":
        return []
    found: list[str] = []
    rate = re.fullmatch(r"([1-9][0-9]{0,4})/(second|minute|hour|day)", log.limit)
    if not rate or int(rate.group(1)) > RATE_SCALE * RATE_UNITS[rate.group(2)]:
        found.append(f"log.limit: {log.limit!r}; write NUMBER/second, /minute, /hour or /day, at most 10000/second")
    if not 1 <= log.burst <= RATE_SCALE:
        found.append(f"log.burst: {log.burst}; from 1 to {RATE_SCALE}")
    if not 0 <= log.group <= 65535:
        found.append(f"log.group: {log.group}; from 0 to 65535")
    room = PREFIX_BYTES[log.target]
    if (
        not 1 <= len(log.prefix.encode()) <= room
        or not re.fullmatch(r"[ -~]*", log.prefix)
        or set(log.prefix) & set("\"'\\")
    ):
        found.append(
            f"log.prefix: {log.prefix!r}; 1 to {room} printable ASCII characters without quotes or backslashes"
        )
    return found


def render(guard: Guard, family: str) -> Chain:
    """Make one family's chain from a guard without problems.

    Only attempts to open a connection (SYN without ACK) come here, so established connections are never cut and the
    router need not track connections. Who may pass returns to the other rules of the router. A family without
    campus networks is guarded for every destination: forgetting IPv6 must not leave it open.
    """
    gateways = _of_family(guard.gateways, family)
    permits: dict[str, str] = {}
    for permit in guard.permits:
        for address in _of_family((permit.address,), family):
            if address not in gateways:
                permits.setdefault(address, clean_comment(permit.comment))
    entries: dict[str, str] | None = None
    rules = [_rule("-d", address, comment="gateway", target="RETURN") for address in gateways]
    if len(permits) > guard.set_threshold:
        entries = {_short(address): comment for address, comment in permits.items()}
        rules.append(f"-m set --match-set {SET_NAMES[family]} dst -j RETURN")
    else:
        rules += [_rule("-d", address, comment=comment, target="RETURN") for address, comment in permits.items()]
    for network in _of_family(guard.networks, family) or ("",):
        rules += _ending(guard, network)
    jump = f"-i {guard.interface} -p tcp -m tcp --dport 25 --tcp-flags SYN,ACK SYN -j {CHAIN}"
    return Chain(family=family, jump=jump, rules=tuple(rules), permits=len(permits), entries=entries)


def _ending(guard: Guard, network: str) -> list[str]:
    """Log, then refuse (or only count, in observe mode) what goes to one network; empty: any destination."""
    where = f"-d {network} " if network else ""
    log = guard.log
    rules: list[str] = []
    if log.target != "none":
        limit = f"-m limit --limit {log.limit} --limit-burst {log.burst}"
        target = (
            f'LOG --log-prefix "{log.prefix}"'
            if log.target == "log"
            else f'NFLOG --nflog-prefix "{log.prefix}" --nflog-group {log.group}'
        )
        rules.append(f"{where}{limit} -j {target}")
    if guard.mode == "observe":
        rules.append(f'{where}-m comment --comment "would be refused" -j RETURN')
    elif guard.action == "drop":
        rules.append(f"{where}-j DROP")
    else:
        rules.append(f"{where}-p tcp -j REJECT --reject-with tcp-reset")
    return rules


def _of_family(values: Iterable[str], family: str) -> tuple[str, ...]:
    """Keep one family's addresses, each once, as networks with a prefix length, in the order given."""
    wanted = 4 if family == "ipv4" else 6
    networks = (ipaddress.ip_network(value) for value in values)
    return tuple(dict.fromkeys(str(network) for network in networks if network.version == wanted))


def _short(network: str) -> str:
    """Write a host without its prefix length, as ipset prints it."""
    parsed = ipaddress.ip_network(network)
    return str(parsed.network_address) if parsed.prefixlen == parsed.max_prefixlen else str(parsed)


def _rule(option: str, address: str, comment: str, target: str) -> str:
    told = f'-m comment --comment "{comment}" ' if comment else ""
    return f"{option} {address} {told}-j {target}"


def sets_text(chains: Iterable[Chain]) -> str:
    """Input for `ipset -exist restore` that fills each set aside and swaps it in; empty when no chain uses one."""
    lines: list[str] = []
    for chain in chains:
        if chain.entries is None:
            continue
        name = SET_NAMES[chain.family]
        kind = f"hash:net family {'inet' if chain.family == 'ipv4' else 'inet6'} maxelem {SET_MAXELEM} comment"
        lines += [f"create {name} {kind}", f"create {name}.new {kind}", f"flush {name}.new"]
        for address, comment in sorted(chain.entries.items()):
            lines.append(f"add {name}.new {address}" + (f' comment "{comment}"' if comment else ""))
        lines += [f"swap {name}.new {name}", f"destroy {name}.new"]
    return "\n".join([*lines, ""]) if lines else ""


def parse_set(text: str) -> dict[str, str]:
    """Read address and comment of each entry from what `ipset save NAME` printed."""
    entries: dict[str, str] = {}
    for line in text.splitlines():
        words = split_rule(line)
        if len(words) >= 3 and words[0] == "add":
            comment = words[words.index("comment") + 1] if "comment" in words[3:] else ""
            entries[_short(words[2])] = comment
    return entries


def parse_save(text: str) -> Saved:
    """Find our chain and its jumps in what `iptables-save -t filter` printed, counters or none."""
    exists, position = False, 0
    rules: list[str] = []
    jumps: list[tuple[int, str]] = []
    for raw in text.splitlines():
        line = re.sub(r"^\[\d+:\d+\] ", "", raw)
        if line.startswith(f":{CHAIN} "):
            exists = True
        elif line.startswith(f"-A {CHAIN} "):
            rules.append(line[len(f"-A {CHAIN} ") :])
        elif line.startswith(f"-A {PARENT} "):
            position += 1
            if re.search(rf" -[jg] {CHAIN}$", line):
                jumps.append((position, line[len(f"-A {PARENT} ") :]))
    return Saved(exists=exists, rules=tuple(rules), jumps=tuple(jumps))


def split_rule(rule: str) -> list[str]:
    """Split a rule into words as iptables-restore does: in double quotes a backslash guards the next character."""
    words: list[str] = []
    word, quoted, begun, escaped = "", False, False, False
    for char in rule:
        if escaped:
            word, escaped = word + char, False
        elif char == "\\" and quoted:
            escaped = True
        elif char == '"':
            quoted, begun = not quoted, True
        elif char.isspace() and not quoted:
            if word or begun:
                words.append(word)
            word, begun = "", False
        else:
            word += char
    if word or begun:
        words.append(word)
    return words


# Options that iptables-save leaves out, or prints, when they have their default; it differs between versions.
_DEFAULTS = {
    ("--limit-burst", "5"),
    ("--log-level", "4"),
    ("--log-level", "warning"),
    ("--nflog-group", "0"),
    ("--nflog-threshold", "1"),
    ("--source", "0.0.0.0/0"),
    ("--source", "::/0"),
    ("--destination", "0.0.0.0/0"),
    ("--destination", "::/0"),
}
_LONG = {"-s": "--source", "-d": "--destination", "-p": "--protocol", "-i": "--in-interface", "-o": "--out-interface"}
_LONG.update({"-j": "--jump", "-g": "--goto", "--src": "--source", "--dst": "--destination"})
_LONG.update({"--dport": "--destination-port", "--sport": "--source-port"})


def rule_key(rule: str) -> tuple[tuple[str, ...], ...]:
    """Make a value that is equal for two rules which mean the same, however they are written.

    Matches of a rule are all required, so their order does not count; masks, rates, flags and defaults are brought
    to one form. `-m NAME` is left out, unless NAME alone is the match.
    """
    parts = _parts(split_rule(rule))
    protocols = {part[1:] for part in parts if part[0] == "--protocol"}
    without_options = {"-m", "--jump", "--goto"}
    key: list[tuple[str, ...]] = []
    for index, part in enumerate(parts):
        if part[0] != "-m":
            key += [part] if part not in _DEFAULTS else []
        elif part[1:] not in protocols and (index + 1 == len(parts) or parts[index + 1][0] in without_options):
            key.append(part)
    return tuple(sorted(key))


def _parts(words: list[str]) -> list[tuple[str, ...]]:
    """Group words into options with their values in one form; `!` becomes part of the option it negates."""
    groups: list[list[str]] = []
    negated = ""
    for word in words:
        if word == "!":
            negated = "!"
        elif word.startswith("-") or not groups:
            groups.append([negated + _LONG.get(word, word)])
            negated = ""
        else:
            groups[-1].append(word)
    return [_one_form(group[0], group[1:]) for group in groups]


def _one_form(option: str, values: list[str]) -> tuple[str, ...]:
    name = option.lstrip("!")
    try:
        if name in {"--source", "--destination"}:
            values = [str(ipaddress.ip_network(values[0], strict=False))]
        elif name == "--limit":
            values = [str(_period(values[0]))]
        elif name == "--syn":
            return option.replace(name, "--tcp-flags"), "ACK,FIN,RST,SYN", "SYN"
        elif name in {"--ctstate", "--tcp-flags"}:
            values = [",".join(sorted(value.split(","))) for value in values]
    except (ValueError, IndexError, ZeroDivisionError):
        pass  # a rule of somebody else's in a form we never write: compared as it stands
    return (option, *values)


def _period(rate: str) -> int:
    """Turn `10/minute`, `10/min` or `10/m` into the kernel's period in 1/10000 s."""
    count, _slash, unit = rate.partition("/")
    unit = unit or "second"
    seconds = next((RATE_UNITS[name] for name in RATE_UNITS if name.startswith(unit)), 0)
    return RATE_SCALE * seconds // int(count)


def as_saved(chain: Chain) -> Saved:
    """Say what the kernel has once this chain is loaded."""
    return Saved(exists=True, rules=chain.rules, jumps=((1, chain.jump),))


def same(chain: Chain, saved: Saved) -> bool:
    """Whether the kernel has exactly this chain, with one jump to it, first in the parent chain."""
    return (
        saved.exists
        and [position for position, _rule_text in saved.jumps] == [1]
        and rule_key(saved.jumps[0][1]) == rule_key(chain.jump)
        and [rule_key(rule) for rule in saved.rules] == [rule_key(rule) for rule in chain.rules]
    )


def listing(saved: Saved, like: Chain | None = None) -> str:
    """Print what the kernel has; rules that mean the same as one of `like` are written as there, so a diff is short."""
    wording = {rule_key(rule): rule for rule in ((*like.rules, like.jump) if like else ())}
    lines = [f"-A {CHAIN} {wording.get(rule_key(rule), rule)}" for rule in saved.rules]
    lines += [f"-I {PARENT} {position} {wording.get(rule_key(rule), rule)}" for position, rule in saved.jumps]
    return "\n".join([f":{CHAIN}", *lines, ""]) if saved.exists else ""


def foreign(saved: Saved, known: Iterable[str]) -> list[str]:
    """List the rules in our chain that are none of the known ones: somebody put them there by hand."""
    keys = {rule_key(rule) for rule in known}
    return [rule for rule in saved.rules if rule_key(rule) not in keys]

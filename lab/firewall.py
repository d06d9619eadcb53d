# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A router's rules as its admin sees them: what is left of tables, sets and failed units without the collection's own.

`READ` is a shell script for the router; the functions read its output. Counters, comments of the tools, and tables
without any rule are left out, so that two routers can be compared line by line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

#: Rules by section, such as `iptables filter`, `nft inet campus`, `ipset`, `units`.
Rules = dict[str, list[str]]

READ = r"""
section() { echo "### $1"; }
for tool in iptables ip6tables; do
    section $tool; command -v $tool-save >/dev/null && $tool-save
    section $tool-legacy
    names=/proc/net/$(echo $tool | sed s/tables/_tables/)_names
    if grep -q . $names && command -v $tool-legacy-save >/dev/null; then $tool-legacy-save; fi
done 2>/dev/null
section nft
# firewalld comes with the library alone.
library='import nftables; n = nftables.Nftables(); n.set_stateless_output(True); print(n.cmd("list ruleset")[1])'
{ command -v nft >/dev/null && nft -s list ruleset || /usr/bin/python3 -c "$library"; } 2>/dev/null
section ipset; command -v ipset >/dev/null && ipset save 2>/dev/null
section units; systemctl --failed --plain --no-legend | awk '{ print $1 }'
:
"""

_OURS = re.compile("mailgate", re.IGNORECASE)
#: Tables that iptables makes on the first use, with chains that are empty.
_IPTABLES_TABLES = re.compile(r"table ip6? (filter|nat|mangle|raw|security) \{")


def _sections(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("### "):
            current = found.setdefault(line[4:], [])
        else:
            current.append(line)
    return found


def _chain(line: str) -> tuple[str, bool]:
    """Return the chain of a line of iptables-save, and whether it is a rule."""
    words = line.split()
    return (words[1], True) if words[0] == "-A" else (words[0][1:], False)


def _saved(name: str, lines: Iterable[str]) -> Rules:
    """Read the output of iptables-save; the order of chains has no meaning, the order of a chain's rules has."""
    tables: Rules = {}
    current: list[str] = []
    for line in lines:
        if line.startswith("*"):
            current = tables.setdefault(f"{name} {line[1:]}", [])
        elif line[:1] in (":", "-") and not _OURS.search(line):
            # The marks of shorewall's compiler are random.
            current.append(re.sub(r" \[\d+:\d+\]$|(?<=:sha-[lr]h-)[0-9a-f]+", "", line))
    plain = re.compile(r":[A-Z]+ ACCEPT")
    return {
        table: sorted(rules, key=_chain)
        for table, rules in tables.items()
        if not all(plain.fullmatch(rule) for rule in rules)
    }


def _blocks(lines: Sequence[str], indent: str) -> list[tuple[str, list[str]]]:
    """Split nft's listing into blocks at one level: the opening line, and the lines within."""
    blocks: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith(indent) and line[len(indent) : len(indent) + 1] not in ("\t", "}", "", "#"):
            blocks.append((line.partition("#")[0].strip(), []))
        elif blocks and line.startswith(indent + "\t"):
            blocks[-1][1].append(line)
    return blocks


def _listed(lines: Sequence[str]) -> Rules:
    """Read the output of `nft list ruleset`."""
    tables: Rules = {}
    for head, body in _blocks(lines, ""):
        kept = []
        for part, inner in _blocks(body, "\t"):
            if _OURS.search(part):
                continue
            own = [line.strip() for line in inner if not _OURS.search(line) and not line.strip().startswith("#")]
            made = all(line.startswith("type ") and "policy accept" in line for line in own)
            if not (_IPTABLES_TABLES.fullmatch(head) and made):
                kept.append("\n".join([part, *own]))
        if kept and not _OURS.search(head):
            tables[f"nft {head.removeprefix('table ').removesuffix(' {')}"] = "\n".join(sorted(kept)).split("\n")
    return tables


def own_rules(text: str) -> Rules:
    """Return the admin's rules from the output of READ."""
    rules: Rules = {}
    for name, lines in _sections(text).items():
        if name == "nft":
            rules |= _listed(lines)
        elif name in ("ipset", "units"):
            # The start value of a set's hash is random.
            plain = [re.sub(r" initval 0x[0-9a-f]+", "", line) for line in lines]
            rules[name] = sorted(line for line in plain if not (_OURS.search(line) and name == "ipset"))
        else:
            rules |= _saved(name, lines)
    return rules


def differences(expected: Mapping[str, Sequence[str]], seen: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what differs: `SECTION: - missing` and `SECTION: + added`."""
    found = []
    for name in sorted({*expected, *seen}):
        lines = list(difflib.unified_diff(expected.get(name, []), seen.get(name, []), lineterm="", n=0))[2:]
        found += [f"{name}: {line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]
    return found

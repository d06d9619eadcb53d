# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""Rules that an admin or another firewall has saved on the router: what they name, and whether they can be loaded.

A set that a saved file names and that does not exist makes the whole file unloadable at the next boot, and then the
router has no firewall at all.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from .kernel import Find, Run, format_error

# Files, and patterns of files, that a firewall loads at boot or when it is reloaded.
PLACES = (
    "etc/iptables/rules.v4",
    "etc/iptables/rules.v6",
    "etc/iptables/*.rules",
    "etc/iptables.rules",
    "etc/ip6tables.rules",
    "etc/iptables.up.rules",
    "etc/iptables/rules",
    "etc/nftables.conf",
    "etc/nftables.d/*",
    "etc/nftables/*",
    "etc/ferm/**/*",
    "etc/ufw/*.rules",
    "etc/firewalld/direct.xml",
    "etc/firewall.bash",
    "etc/shorewall*/*",
    "etc/rc.local",
    "etc/network/if-pre-up.d/*",
    "etc/network/if-up.d/*",
)
NFT_CONF = "etc/nftables.conf"
LARGEST = 8 * 1024 * 1024
_SET = re.compile(r"(?<![\w-])mailgate-(?:permits|senders|bans)6?(?![\w-])")
# What each backend leaves in files of saved rules.
_RULES = {
    "iptables": re.compile(r"(?<![\w-])MAILGATE(?:-OUT)?(?![\w-])"),
    "nft": re.compile(r"^\s*table inet mailgate\b", re.MULTILINE),
}
_INCLUDE = re.compile(r'^\s*include\s+"([^"]+)"', re.MULTILINE)


class SavedRules:
    """The saved rules of this router."""

    def __init__(self, run: Run, find: Find, root: Path = Path("/")) -> None:
        self._run = run
        self._find = find
        self._root = root

    def named_sets(self) -> dict[str, list[str]]:
        """Return the managed sets that saved files name, each with these files."""
        found: dict[str, list[str]] = {}
        for path, text in self._texts():
            for name in sorted(set(_SET.findall(text))):
                found.setdefault(name, []).append(str(path))
        return found

    def with_rules_of(self, backends: Collection[str]) -> list[str]:
        """Return the saved files that contain the managed chains (`iptables`) or the managed table (`nft`)."""
        return [str(path) for path, text in self._texts() if any(_RULES[name].search(text) for name in backends)]

    def unloadable(self, sets_file: Path) -> dict[str, str]:
        """Return the saved files that could not be loaded at the next boot, each with the program's error.

        Args:
            sets_file: Input for ipset, loaded first as at boot.
        """
        found: dict[str, str] = {}
        for name, program in (
            ("etc/iptables/rules.v4", "iptables-restore"),
            ("etc/iptables/rules.v6", "ip6tables-restore"),
        ):
            path = self._root / name
            if path.is_file() and self._find(program):
                # Load it in a namespace without rules and sets, as at boot: `--test` finds less. The lock is another
                # one, since the router's tables, which a program may have locked, are not concerned.
                sets, rules = shlex.quote(str(sets_file)), shlex.quote(str(path))
                script = f"test ! -s {sets} || ipset -exist restore -file {sets}; exec {program} {rules}"
                command = ["unshare", "--net", "env", "XTABLES_LOCKFILE=/dev/null", "sh", "-c", script]
                status, _out, error = self._run(command)
                if status and not error.startswith("unshare:"):
                    found[str(path)] = format_error(error)
        path = self._root / NFT_CONF
        if path.is_file() and (program := self._find("nft") or ""):
            # A file without `flush ruleset` can perhaps be loaded only where nothing is loaded, one that names
            # interfaces by their index only where they are.
            status, _out, error = self._run(["unshare", "--net", program, "--file", str(path)])
            if status and self._run([program, "--check", "--file", str(path)])[0]:
                found[str(path)] = format_error(error)
        return found

    def _texts(self) -> Iterator[tuple[Path, str]]:
        """Yield the saved files and their text; what nftables.conf includes too."""
        done: set[Path] = set()
        paths = [path for place in PLACES for path in sorted(self._root.glob(place))]
        while paths:
            path = paths.pop(0)
            if path in done or not path.is_file() or path.stat().st_size > LARGEST:
                continue
            done.add(path)
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            yield path, text
            if "nft" in str(path):
                for pattern in _INCLUDE.findall(text):
                    base = self._root if pattern.startswith("/") else self._root / "etc"
                    paths += sorted(base.glob(pattern.lstrip("/")))

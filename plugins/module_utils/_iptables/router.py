# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The port-25 chains on a router: comparison with kernel and files, and loading of the differences."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._replace import make_directory
from . import model
from . import text as saved_text
from .model import FAMILIES, Table
from .text import Saved

DIRECTORY = Path("/etc/mailgate/border")
LOADER = "/usr/local/sbin/mailgate-border"
UNDO_UNIT = "mailgate-border-undo"
SETS_FILE = "sets"
PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}

Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
Find = Callable[[str], "str | None"]


class ApplyError(Exception):
    """The rules could not be read or loaded; the message has the cause and the state of the router."""


@dataclass(frozen=True)
class Change:
    """The wanted and the present state, and what must be loaded."""

    files: dict[str, str]
    old_files: dict[str, str]
    families: list[str]
    sets: bool
    left: bool
    unconfirmed: bool
    foreign: list[str]
    texts: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether anything must be done, also for an unconfirmed change or leftovers in the unused tables."""
        return bool(self.files != self.old_files or self.families or self.sets or self.left or self.unconfirmed)

    def diff(self) -> list[dict[str, str]]:
        """Return the texts before and after in the format of Ansible's --diff."""
        return [
            {"before_header": name, "after_header": name, "before": before, "after": after}
            for name, before, after in self.texts
            if before != after
        ]


class Router:
    """The kernel's tables and the files of this router."""

    def __init__(self, run: Run, find: Find, directory: Path = DIRECTORY, loader: str = LOADER) -> None:
        """Use these functions: `run` runs a command, `find` finds a program."""
        self._run = run
        self._find = find
        self._directory = directory
        self._loader = loader

    def compare(self, tables: Sequence[Table]) -> Change:
        """Compare the wanted tables (none: remove all) with files and kernel."""
        wanted = {table.family: table for table in tables}
        files = {f"{table.family}.rules": table.text() for table in tables}
        sets_text = model.sets_text(tables)
        if sets_text:
            files[SETS_FILE] = sets_text
        names = [*(f"{family}.rules" for family in FAMILIES), SETS_FILE]
        old_files = {name: text for name in names if (text := self._read(name)) is not None}

        families: list[str] = []
        foreign: list[str] = []
        texts: list[tuple[str, str, str]] = []
        for family in FAMILIES:
            name = f"{family}.rules"
            table, saved = wanted.get(family), self._saved(family)
            if saved is None:
                continue
            goal = saved_text.as_saved(table) if table else Saved()
            live = saved_text.same(table, saved) if table else saved == goal
            before = saved_text.listing(saved, like=table)
            texts.append((f"port-25 chains, {family}", before, saved_text.listing(goal)))
            known = saved_text.parse_save(old_files.get(name, "")).rules + (table.rules if table else ())
            foreign += saved_text.foreign(saved, known)
            if not live or files.get(name) != old_files.get(name):
                families.append(family)
        set_texts = self._compare_sets(wanted)
        left = self._left_in_other_tables()
        texts += [*set_texts, ("managed chains in the unused iptables tables", left, "")]
        if not any(before != after for _name, before, after in texts):
            texts = [(str(self._directory / name), old_files.get(name, ""), files.get(name, "")) for name in names]
        return Change(
            files=files,
            old_files=old_files,
            families=families,
            sets=any(before != after for _name, before, after in set_texts),
            left=bool(left),
            unconfirmed=self._unconfirmed(),
            foreign=foreign,
            texts=texts,
        )

    def _compare_sets(self, wanted: dict[str, Table]) -> list[tuple[str, str, str]]:
        """Return each managed set as text, before and after; of the set of bans only whether it exists."""
        existing = self._set_names()
        texts: list[tuple[str, str, str]] = []
        for family in FAMILIES:
            table = wanted.get(family)
            for name in (model.PERMITS[family], model.SENDERS[family]):
                live = self._entries(name) if name in existing else None
                texts.append((f"set {name}", _set_text(live), _set_text(table.sets.get(name) if table else None)))
            name = model.BANS[family]
            texts.append((f"set {name}", "exists\n" if name in existing else "", "exists\n" if table else ""))
        return texts

    def apply(self, change: Change, confirm_timeout: int) -> None:
        """Write the files and load them; on failure restore files and kernel.

        With a timeout (seconds) the router reverts the change unless it is confirmed before.
        """
        self._require(change)
        if not self._unconfirmed():
            self._keep_old(change.old_files)
        if confirm_timeout:
            self._arm(confirm_timeout)
        for name, text in change.files.items():
            self._write(self._directory, name, text)
        for name in change.old_files.keys() - change.files.keys():
            (self._directory / name).unlink()
        status, _out, error = self._run([self._loader, "load", *change.families])
        if status:
            undone, _out, undo_error = self._run([self._loader, "undo"])
            self._run(["systemctl", "stop", f"{UNDO_UNIT}.timer"])
            state = (
                f"Restoring the old rules failed too: {format_error(undo_error)}"
                if undone
                else "The old rules were restored."
            )
            raise ApplyError(f"Cannot load the new port-25 rules: {format_error(error)}. {state}")
        if not confirm_timeout:
            status, _out, error = self._run([self._loader, "confirm"])
            if status:
                raise ApplyError(f"The new port-25 rules are loaded but could not be confirmed: {format_error(error)}")

    def _require(self, change: Change) -> None:
        """Raise ApplyError if a required program is missing."""
        programs = [self._loader, *(f"{PROGRAMS[family]}-restore" for family in change.families)]
        programs += ["ipset"] if change.sets else []
        missing = [program for program in programs if not self._find(program)]
        if missing:
            raise ApplyError(
                f"Not installed on this router: {', '.join(missing)}. "
                "Apply the role campus.mailgate.border_firewall, which installs them."
            )

    def _saved(self, family: str) -> Saved | None:
        """Return the managed part of the kernel's rules; None if the kernel does not support the family."""
        if family == "ipv6" and not Path("/proc/sys/net/ipv6").is_dir():
            return None
        program = self._find(f"{PROGRAMS[family]}-save")
        if not program:
            return Saved()
        status, out, error = self._run([program, "-t", "filter"])
        if status:
            raise ApplyError(f"{program} cannot read the {family} rules: {format_error(error)}")
        if "is incompatible, use 'nft' tool" in out:
            raise ApplyError(
                f"{program} cannot read the table 'filter': it has rules that only nft supports. "
                "Move those rules to another table."
            )
        return saved_text.parse_save(out)

    def _set_names(self) -> set[str]:
        """Return the names of all address sets."""
        program = self._find("ipset")
        if not program:
            return set()
        status, out, error = self._run([program, "list", "-name"])
        if status:
            raise ApplyError(f"{program} cannot list the address sets: {format_error(error)}")
        return set(out.split())

    def _entries(self, name: str) -> dict[str, str]:
        """Return the comment of each address in a set."""
        status, out, error = self._run([self._find("ipset") or "ipset", "save", name])
        if status:
            raise ApplyError(f"ipset cannot read the set {name}: {format_error(error)}")
        return saved_text.parse_set(out)

    def _left_in_other_tables(self) -> str:
        """Return the managed chains in the tables of the unused iptables variant (nft or legacy), or ""."""
        if not self._find(self._loader):
            return ""
        # An older loader does not have this command.
        status, out, _error = self._run([self._loader, "left"])
        return "" if status else out

    def _unconfirmed(self) -> bool:
        """Return whether a change waits for confirmation."""
        return (self._directory / "undo").is_dir() or (self._directory / "undoing").is_dir()

    def _keep_old(self, old_files: dict[str, str]) -> None:
        """Save the old files in a directory that gets its final name when it is complete."""
        staged = self._directory / "undo.new"
        shutil.rmtree(staged, ignore_errors=True)
        make_directory(staged)
        for name, text in old_files.items():
            self._write(staged, name, text)
        staged.rename(self._directory / "undo")

    def _arm(self, seconds: int) -> None:
        """Start the timer that reverts the change."""
        self._run(["systemctl", "stop", f"{UNDO_UNIT}.timer"])
        timer = ["--collect", f"--unit={UNDO_UNIT}", f"--on-active={seconds}s", "--timer-property=AccuracySec=100ms"]
        status, _out, error = self._run(["systemd-run", "--quiet", *timer, self._loader, "undo"])
        if status:
            self._run([self._loader, "undo"])
            raise ApplyError(
                f"Cannot start the timer that would revert the rules, so nothing was changed: {format_error(error)}"
            )

    def _read(self, name: str) -> str | None:
        """Return the content of a file, None without one."""
        try:
            return (self._directory / name).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None

    @staticmethod
    def _write(directory: Path, name: str, text: str) -> None:
        """Replace a file atomically."""
        temporary = directory / f".{name}"
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        temporary.chmod(0o644)
        temporary.replace(directory / name)


def format_error(error: str) -> str:
    """Return a program's error output as one line, without its advice to read the manual and the final period."""
    lines = (line.strip() for line in error.splitlines() if not line.startswith("Try `"))
    return " ".join(line for line in lines if line).rstrip(".")


def _set_text(entries: dict[str, str] | None) -> str:
    """Return the entries of a set as text, for a diff."""
    if entries is None:
        return ""
    return "".join(f"{address}  {comment}".rstrip() + "\n" for address, comment in sorted(entries.items()))

# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: 2026 mailgate contributors
"""The port-25 rules on a router: comparison with kernel and files, and loading of the differences."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._keep import kept, runs
from .._keep.text import decode, encode
from .._replace import make_directory
from . import expiry, model, nft
from . import text as saved_text
from .kernel import PROGRAMS, ApplyError, Find, Kernel, Run, SetState, format_error
from .model import FAMILIES, Table
from .saved_rules import SavedRules
from .text import Saved

DIRECTORY = Path("/etc/mailgate/border")
RUNTIME = Path("/run/mailgate-border")
ROLE = "border_firewall"
LOADER = "/usr/local/sbin/mailgate-border"
UNDO_UNIT = "mailgate-border-undo"
SETS_FILE = "sets"
FILES = (*(f"{family}.rules" for family in FAMILIES), nft.FILE, SETS_FILE, expiry.FILE)
SETS = tuple(name for family in FAMILIES for name in (model.PERMITS[family], model.SENDERS[family], model.BANS[family]))


@dataclass(frozen=True)
class Change:
    """The wanted and the present state, and what must be loaded."""

    files: dict[str, str]
    old_files: dict[str, str]
    parts: list[str]
    sets: bool
    left: bool
    unconfirmed: bool
    foreign: list[str]
    warnings: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    texts: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether anything must be done, also for an unconfirmed change or leftovers in the unused tables."""
        return bool(self.files != self.old_files or self.parts or self.sets or self.left or self.unconfirmed)

    def diff(self) -> list[dict[str, str]]:
        """Return the texts before and after in the format of Ansible's --diff."""
        return [
            {"before_header": name, "after_header": name, "before": before, "after": after}
            for name, before, after in self.texts
            if before != after
        ]


class Router:
    """The kernel's tables and the files of this router."""

    def __init__(
        self,
        run: Run,
        find: Find,
        directory: Path = DIRECTORY,
        loader: str = LOADER,
        *,
        runtime: Path = RUNTIME,
        root: Path = Path("/"),
        store: Path = kept.STORE,
    ) -> None:
        """Use these functions: `run` runs a command, `find` finds a program."""
        self._run = run
        self._find = find
        self._directory = directory
        self._loader = loader
        self._runtime = runtime
        self._store = store
        self._kernel = Kernel(run, find)
        self._saved_rules = SavedRules(run, find, root)

    def compare(self, tables: Sequence[Table], nft_text: str = "", expiry_text: str = "") -> Change:
        """Compare the wanted rules with files and kernel.

        Args:
            tables: The chains of iptables; none removes them.
            nft_text: The table of nftables; "" removes it.
            expiry_text: The file of permits that end by themselves; "" removes it.
        """
        wanted = {table.family: table for table in tables}
        files = {f"{table.family}.rules": table.text() for table in tables}
        if nft_text:
            files[nft.FILE] = nft_text
        if expiry_text:
            files[expiry.FILE] = expiry_text
        old_files = {name: text for name in FILES if (text := self._read(name)) is not None}
        named = self._saved_rules.named_sets()
        chains = {family: self._chains(family, wanted) for family in FAMILIES}
        left = self._left_in_other_tables()
        kept = [] if tables else self._kept_sets(chains, left, named)
        files |= _sets_file(tables, kept)

        listing = self._kernel.nft_table()
        self._refuse_foreign(chains if tables else {}, listing if nft_text else "", old_files)
        change = Change(files, old_files, [], False, False, self._unconfirmed(), [])
        parts, texts = change.parts, change.texts
        if self._compare_nft(files.get(nft.FILE, ""), old_files.get(nft.FILE, ""), listing, texts):
            parts.append("nft")
        for family, saved in chains.items():
            if saved is not None and self._compare_chains(family, saved, wanted.get(family), change):
                parts.append(family)
        set_texts = self._compare_sets(wanted, kept)
        texts += [*set_texts, ("managed chains in the unused iptables tables", left, "")]
        if not any(before != after for _name, before, after in texts):
            texts[:] = [(str(self._directory / name), old_files.get(name, ""), files.get(name, "")) for name in FILES]
        unused = {"iptables", "nft"} - {"iptables" if tables else "", "nft" if nft_text else ""}
        named_by_saved = self._saved_warnings(kept, named, unused)
        warnings = [*_reference_warnings(chains), *named_by_saved]
        return Change(
            files=files,
            old_files=old_files,
            parts=parts,
            sets=any(before != after for _name, before, after in set_texts),
            left=bool(left),
            unconfirmed=change.unconfirmed,
            foreign=change.foreign,
            warnings=warnings,
            saved=named_by_saved,
            texts=texts,
        )

    def _chains(self, family: str, wanted: dict[str, Table]) -> Saved | None:
        """Return the managed part of a family's rules in the kernel."""
        texts = [self._read(f"{place}{family}.rules") or "" for place in ("", "undo/", "undoing/")]
        known = [jump for text in texts for jump in saved_text.file_jumps(text)]
        return self._kernel.chains(family, known, required=bool(wanted) or bool(texts[0]))

    def _refuse_foreign(self, chains: dict[str, Saved | None], listing: str, old_files: dict[str, str]) -> None:
        """Raise ApplyError if a chain or table has our name but is not managed."""
        found = []
        for family, saved in chains.items():
            own = f"{family}.rules" in old_files or self._unconfirmed()
            if saved is not None and not own and not saved_text.has_our_marks(saved):
                found += [(PROGRAMS[family], name, f"{PROGRAMS[family]} -E {name} NAME") for name in saved.chains]
        if listing and nft.FILE not in old_files and not self._unconfirmed() and not nft.is_managed(listing):
            found.append(("nft", f"table {nft.TABLE}", "move its rules to a table of another name"))
        if found:
            texts = [f"{program}: {name} (rename it: {fix})" for program, name, fix in found]
            raise ApplyError(
                "Nothing was changed: the router already has rules under our name that this role did not make: "
                f"{'; '.join(texts)}. They would be replaced, and rules that use them would refuse port 25"
            )

    def _compare_nft(self, text: str, old: str, listing: str, texts: list[tuple[str, str, str]]) -> bool:
        """Compare the table of nftables; return whether it must be loaded or removed."""
        recorded = self._recorded()
        live = nft.state(listing) if listing else ""
        goal = recorded if text and recorded and text == old else ""
        changed = bool(live) if not text else live != goal or text != old
        if changed:
            name = f"table {nft.TABLE}"
            texts.append((name, live, goal) if text == old or not text else (name, old or live, text))
        return changed

    def _recorded(self) -> str:
        """Return the state of the table after it was loaded; "" if it was not loaded since the last boot."""
        try:
            return (self._runtime / "nft.json").read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return ""

    def _compare_chains(self, family: str, saved: Saved, table: Table | None, change: Change) -> bool:
        """Compare a family's chains; return whether they must be loaded or removed."""
        name = f"{family}.rules"
        if not table and not saved_text.has_our_marks(saved):
            return False
        goal = saved_text.as_saved(table) if table else Saved()
        live = saved_text.same(table, saved) if table else saved_text.gone(saved)
        before = saved_text.listing(saved, like=table) if table or not live else ""
        change.texts.append((f"port-25 chains, {family}", before, saved_text.listing(goal)))
        known = saved_text.parse_save(change.old_files.get(name, "")).rules + (table.rules if table else ())
        change.foreign.extend(saved_text.foreign(saved, known))
        return not live or change.files.get(name) != change.old_files.get(name)

    def _kept_sets(self, chains: dict[str, Saved | None], left: str, named: dict[str, list[str]]) -> list[str]:
        """Return the sets that must exist although no rule of this module uses them: others' rules name them."""
        rules = [*left.splitlines(), *(rule for saved in chains.values() if saved for rule in saved.rules)]
        live = self._kernel.sets(SETS)
        own = {name: sum(f"--match-set {name} " in rule for rule in rules) for name in live}
        return [name for name in SETS if name in named or (name in live and live[name].references > own[name])]

    def _compare_sets(self, wanted: dict[str, Table], kept: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return each managed set as text, before and after; of the sets of bans only whether they exist."""
        live = self._kernel.sets(SETS)
        texts: list[tuple[str, str, str]] = []
        for family in FAMILIES:
            table = wanted.get(family)
            for name in (model.PERMITS[family], model.SENDERS[family]):
                goal = table.sets.get(name, {}) if table else {} if name in kept else None
                texts.append(
                    (
                        f"set {name}",
                        _set_text(live.get(name)),
                        _set_text(SetState(goal, 0) if goal is not None else None),
                    )
                )
            name = model.BANS[family]
            exists = bool(table) or name in kept
            texts.append((f"set {name}", "exists\n" if name in live else "", "exists\n" if exists else ""))
        return texts

    def _saved_warnings(self, kept: Sequence[str], named: dict[str, list[str]], unused: set[str]) -> list[str]:
        """Return what an admin must know about saved rules."""
        warnings = []
        if kept:
            files = sorted({file for name in kept for file in named.get(name, ["the rules in the kernel"])})
            warnings.append(
                f"These address sets stay, empty, because rules that this role does not manage name them: "
                f"{', '.join(kept)}. Without them {', '.join(files)} could not be loaded at all. Remove the lines "
                "that name them, then run this again"
            )
        if files := self._saved_rules.with_rules_of(unused):
            warnings.append(
                f"Saved rules contain port-25 rules that are not in use any more: {', '.join(files)}. At boot "
                "mailgate-border.service removes them again; to finish, save the rules again or remove these"
            )
        return warnings

    def loaded_interfaces(self) -> list[str]:
        """Return the outside interfaces in the files, as an option lists them."""
        names = re.findall(rf"^-I {model.PARENT} \d+ -i (\S+) ", self._read("ipv4.rules") or "", re.MULTILINE)
        return names + [name.replace("*", "+") for name in re.findall(r'iifname "([^"]+)"', self._read(nft.FILE) or "")]

    def unloadable(self) -> dict[str, str]:
        """Return the saved files of other firewalls that the next boot could not load, with the reason."""
        return self._saved_rules.unloadable(self._directory / SETS_FILE)

    def apply(self, change: Change, confirm_timeout: int) -> dict[str, str]:
        """Write the files and load them; on failure restore files and kernel.

        With a timeout (seconds) the router reverts the change unless it is confirmed before.

        Returns:
            What `unloadable` returns now; it did so before the change too.
        """
        self._require(change)
        self._keep(change)
        before = self.unloadable()
        if not self._unconfirmed():
            self._keep_old(change.old_files)
        if confirm_timeout:
            self._arm(confirm_timeout)
        try:
            for name, text in change.files.items():
                self._write(self._directory, name, text)
            for name in change.old_files.keys() - change.files.keys():
                (self._directory / name).unlink()
            status, _out, error = self._run([self._loader, "load", *change.parts])
        except OSError as failure:
            status, error = 1, str(failure)
        if status:
            self._fail(f"Cannot load the new port-25 rules: {format_error(error)}")
        after = self.unloadable()
        broken = {path: text for path, text in after.items() if path not in before}
        if broken:
            texts = "; ".join(f"{path}: {text}" for path, text in broken.items())
            self._fail(f"With the new port-25 rules the router's saved rules could not be loaded at boot: {texts}")
        if not confirm_timeout:
            status, _out, error = self._run([self._loader, "confirm"])
            if status:
                raise ApplyError(f"The new port-25 rules are loaded but could not be confirmed: {format_error(error)}")
        return after

    def former(self, run: str, names: Iterable[str] = FILES) -> Change:
        """Return the change that restores the files of before a run; files that it has not changed stay.

        Raises:
            KeptError: A copy cannot be read.
        """
        store = runs.directory(self._store, run)
        old_files = {name: text for name in FILES if (text := self._read(name)) is not None}
        files = dict(old_files)
        for name in names:
            record = kept.read(Path(os.path.realpath(self._directory / name)), store)
            if record is None:
                continue
            data = kept.original(record, store)
            files.pop(name, None)
            if data is not None:
                files[name] = decode(data)
        unconfirmed = self._unconfirmed()
        # An interrupted call may have written files that it has not loaded.
        there = files.keys() | old_files.keys() if files != old_files or unconfirmed else set()
        parts = [part for part in (nft.FILE, *(f"{family}.rules" for family in FAMILIES)) if part in there]
        texts = [(str(self._directory / name), old_files.get(name, ""), files.get(name, "")) for name in FILES]
        return Change(
            files=files,
            old_files=old_files,
            parts=[part.partition(".")[0] for part in parts],
            sets=SETS_FILE in there and SETS_FILE in files,
            left=False,
            unconfirmed=unconfirmed,
            foreign=[],
            texts=texts,
        )

    def _keep(self, change: Change) -> None:
        """Keep the files for the run in progress. Raises ApplyError."""
        new = {
            Path(os.path.realpath(self._directory / name)): hashlib.sha256(encode(change.files[name])).hexdigest()
            if name in change.files
            else ""
            for name in change.files.keys() | change.old_files.keys()
            if change.files.get(name) != change.old_files.get(name)
        }
        try:
            kept.keep_for_run(new, ROLE, self._store)
        except (OSError, kept.KeptError) as error:
            raise ApplyError(f"Nothing was changed, as the present rules cannot be kept: {error}") from error

    def _fail(self, message: str) -> None:
        """Roll the change back and raise ApplyError."""
        undone, _out, undo_error = self._run([self._loader, "undo"])
        self._run(["systemctl", "stop", f"{UNDO_UNIT}.timer"])
        state = (
            f"Restoring the old rules failed too: {format_error(undo_error)}"
            if undone
            else "The old rules were restored."
        )
        raise ApplyError(f"{message}. {state}")

    def _require(self, change: Change) -> None:
        """Raise ApplyError if a required program is missing."""
        wanted = [family for family in FAMILIES if family in change.parts and f"{family}.rules" in change.files]
        programs = [self._loader, *(f"{PROGRAMS[family]}-restore" for family in wanted)]
        programs += ["ipset"] if change.sets else []
        programs += ["nft"] if "nft" in change.parts else []
        missing = [program for program in programs if not self._find(program)]
        if missing:
            raise ApplyError(
                f"Not installed on this router: {', '.join(missing)}. "
                "Apply the role campus.mailgate.border_firewall, which installs them."
            )

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


def _sets_file(tables: Sequence[Table], kept: Iterable[str]) -> dict[str, str]:
    """Return the file of sets, if there must be one."""
    text = model.sets_text(tables) or "".join(f"{model.create_set(name)}\n" for name in kept)
    return {SETS_FILE: text} if text else {}


def _reference_warnings(chains: dict[str, Saved | None]) -> list[str]:
    """Return a warning if an admin's own rules use the managed chains."""
    rules = [f"{PROGRAMS[family]} {rule}" for family, saved in chains.items() if saved for rule in saved.references]
    if not rules:
        return []
    return [
        f"Your own rules use the port-25 chains and stay: {'; '.join(rules)}. For a second uplink list its interface "
        "in outside_interface instead; a chain that such a rule uses is emptied and not deleted when it is removed"
    ]


def _set_text(state: SetState | None) -> str:
    """Return a set as text, for a diff."""
    if state is None:
        return ""
    entries = sorted(state.entries.items())
    return "exists\n" + "".join(f"{address}  {comment}".rstrip() + "\n" for address, comment in entries)

# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the routes of one Postfix host: ask the old and the new configuration, compare, replace all files or none."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._keep import blocks, kept, runs, text
from .._replace import replace_all
from .._routes import transition
from .._routes.table import own_addresses, problems
from . import conflicts, known, main_cf, tables, trial
from .resolver import Answer, ResolverError, Run, ask
from .settings import Settings, normalize, without
from .where import Where

CONFIG = Path("/etc/postfix")
#: There while the service may still use former files. The handler that reloads removes it; so does a boot.
RELOAD = Path("/run/mailgate-postfix-reload")
ROLE = "postfix_routes"

_LINE = re.compile(r"\bline [0-9]+")
_OVERRIDDEN = re.compile(r"overriding earlier entry: ([^=]*)=")


class PostfixError(Exception):
    """The routes cannot be held, or fail a test; nothing was changed. The message has the fix."""


@dataclass(frozen=True)
class Wanted:
    """What the host is to have.

    Attributes:
        settings: Its domains and routes.
        distance: The distance up to which routes change, see `transition.between`; None to change everything.
        partial: Whether the settings are a part of the plan, so that everything else stays.
        keep_route: Domains whose mail the admin's own lines decide about.
        take: Domains whose entries in the admin's transport tables the plan overrides.
    """

    settings: Settings
    distance: int | None = None
    keep_route: tuple[str, ...] = ()
    take: tuple[str, ...] = ()
    partial: bool = False


@dataclass
class Outcome:
    """The result, or in check mode the prediction.

    Attributes:
        files: The paths of the files that change.
        diff: Ansible's diffs of the files.
        action: What the service needs to use them: `none` or `reload`.
        installed: Whether Postfix is installed.
        tests: The number of addresses that the old and the new configuration were asked about.
        pending: What differs from the plan afterwards.
        former: The next hops in the files before that no planned route has.
        notes: What an admin should know.
    """

    files: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    action: str = "none"
    installed: bool = True
    tests: int = 0
    pending: transition.Pending = field(default_factory=transition.Pending)
    former: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether a file changes, or the service still uses the previous files."""
        return bool(self.files) or self.action != "none"


class Host:
    """A Postfix instance and its commands."""

    def __init__(self, run: Run, config: Path = CONFIG, store: Path = kept.STORE, reload: Path = RELOAD) -> None:
        """Name the instance by its configuration directory."""
        self.config, self.store, self.reload = config, store, reload
        self._run = run
        self.asked = 0
        self._notes: list[str] = []

    def apply(self, wanted: Wanted, *, check: bool) -> Outcome:
        """Make the files of this host match; with `check`, only predict the changes.

        Raises:
            PostfixError: Nothing was replaced.
        """
        planned = normalize(wanted.settings)
        found = problems(planned) + own_addresses(planned)
        if found:
            raise PostfixError("The settings of this host are not valid:\n" + _listed(found))
        planned = normalize(without(planned, wanted.keep_route))
        if not self._installed():
            if not check:
                raise PostfixError(f"Postfix is not installed: {self.config}/main.cf or postconf is missing")
            return Outcome(installed=False, files=[str(self.config / "main.cf")])
        before = {name: text.read(self.config / name) for name in ("main.cf", *trial.TABLES)}
        present = tables.read_present(*(before[n] for n in (trial.TRANSPORT, trial.LOCAL, trial.RELAY)))
        now = transition.between(present, planned, wanted.distance, partial=wanted.partial)
        outcome = Outcome(
            pending=transition.pending(now, planned, partial=wanted.partial),
            former=transition.former(present, planned),
        )
        with tempfile.TemporaryDirectory(prefix="mailgate-", dir="/run" if os.geteuid() == 0 else None) as stage:
            new = self._build(now, planned, before, Path(stage), wanted)
        outcome.tests, outcome.notes = self.asked, self._notes
        self._replace({n: data for n, data in new.items() if data != before[n]}, before, present, outcome, check=check)
        return outcome

    def remove(self, *, check: bool) -> Outcome:
        """Make the files of this host what they were before the first change, without our lines.

        Raises:
            PostfixError: Nothing was replaced.
        """
        main = Path(os.path.realpath(self.config / "main.cf"))
        ours = [Path(os.path.realpath(self.config / name)) for name in trial.TABLES]
        try:
            # main.cf before the tables that it names.
            todo = kept.plan_restore(
                [main], self.store, lambda _path, data: text.encode(main_cf.without_ours(text.decode(data)))
            )
            todo += kept.plan_restore(ours, self.store)
            lost = self._without_record(main, ours, {each.path for each in todo})
        except (kept.KeptError, blocks.BlockError) as error:
            raise PostfixError(f"The files of before cannot be restored: {error}") from error
        outcome = Outcome(installed=self._installed(), notes=[each.told for each in todo if each.told])
        changes = {each.path: each.content for each in todo} | lost
        for path, data in changes.items():
            if text.content(path) != data:
                outcome.files.append(str(path))
                outcome.diff.append(text.diff(path, text.read(path), None if data is None else text.decode(data)))
        running = outcome.installed and self._running()
        if not check:
            try:
                self._note_reload(bool(outcome.files))
                replace_all({path: text.content(path) for path in lost}, lost)
                kept.restore(todo, self.store)
            except OSError as error:
                raise PostfixError(f"Cannot replace the files; the present ones stay: {error}") from error
        outcome.action = "reload" if running and (outcome.files or self.reload.exists()) else "none"
        if outcome.action == "none" and not check:
            self.reload.unlink(missing_ok=True)
        return outcome

    def _without_record(self, main: Path, ours: list[Path], known_paths: set[Path]) -> dict[Path, bytes | None]:
        """Return what files with our content, but without a record, are without it."""
        found: dict[Path, bytes | None] = {}
        present = text.read(main)
        if main not in known_paths and present is not None and main_cf.without_ours(present) != present:
            found[main] = text.encode(main_cf.without_ours(present))
        for path in ours:
            if path not in known_paths and (text.read(path) or "").startswith(tables.HEADER):
                found[path] = None
        return found

    def _build(
        self, now: Settings, planned: Settings, before: Mapping[str, str | None], stage: Path, wanted: Wanted
    ) -> dict[str, str | None]:
        """Return the new content of our tables and of main.cf, after all tests."""
        main_text = before["main.cf"] or ""
        try:
            admin = main_cf.without_ours(main_text)
        except blocks.BlockError as error:
            raise PostfixError(f"{self.config}/main.cf has damaged markers: {error}") from error
        old = self._scratch(stage / "old", {"main.cf": admin})
        values = self._values(old)
        services = self._clients(old)
        found = self._obstacles(now, values, services, old)
        if found:
            raise PostfixError("This Postfix cannot hold the routes; nothing was changed:\n" + _listed(found))
        try:
            base = self._base(old, values, services, now, planned)
            found = conflicts.conflicts(planned, base.asked, frozenset(wanted.take), Where(admin, self.config, values))
            if found:
                raise PostfixError(
                    "Lines of this host's configuration contradict the plan; nothing was changed. Remove each line, or "
                    "list the domain in postfix_routes_take (overrides a transport table) or in mailgate_keep_route of "
                    "the inventory (the line stays, and is used):\n"
                    + _listed(found).replace(str(old), str(self.config))
                )
            unread = [each.replace(str(old), str(self.config)) for each in base.known.unread]
            self._notes = [
                f"{each} has entries that cannot be listed; it was asked about other names" for each in unread
            ]
            made = trial.files(now, base, wanted.take)
            defaults = {p: self._must(["postconf", "-dh", p]).strip() for p in made.additions}
            main = main_cf.add(main_text, made.additions, defaults)
            new = self._scratch(stage / "new", {"main.cf": main, **made.content})
            self._compare(old, new)
            answers = {address: self._ask(new, address) for address in base.answers}
            failed = trial.failures(now, base, answers, made)
            failed += self._sender_failures(old, new, base)
        except ResolverError as error:
            raise PostfixError(f"Postfix cannot be asked about mail; nothing was changed: {error}") from error
        if failed:
            raise PostfixError(
                "The new configuration would change more than the planned routes, so nothing was changed. Look for "
                f"tables of transport_maps in {self.config}/main.cf that match these addresses:\n" + _listed(failed)
            )
        return {**{name: made.content.get(name) for name in trial.TABLES}, "main.cf": main}

    def _base(
        self, old: Path, values: Mapping[str, str], services: list[str], now: Settings, planned: Settings
    ) -> trial.Base:
        """Ask the admin's configuration about everything that it handles, and about the planned domains."""
        has = known.known(values, lambda item: self._dump(old, item))
        domains = list(dict.fromkeys((*planned.domains, *now.domains)))
        wanted = [known.probe(d) for d in (*domains, *sorted(has.names), known.FOREIGN)] + sorted(has.addresses)
        answers = {address: self._ask(old, address) for address in dict.fromkeys(wanted)}
        entries = {d: entry for d in domains if (entry := self._entry(old, has, d))}
        asked = conflicts.Asked(
            answers={d: answers[known.probe(d)] for d in domains},
            entries=entries,
            listed=frozenset(has.domains["relay_domains"]),
            clients=frozenset(services),
        )
        foreign = answers[known.probe(known.FOREIGN)]
        service = "smtp" if "smtp" in services else services[0]
        return trial.Base(asked, has, answers, foreign, values, service)

    def _entry(self, old: Path, has: known.Known, domain: str) -> tuple[str, str] | None:
        """Return the table of transport_maps that has a domain itself, and its value."""
        for item, entries in has.transports.items():
            if entries is not None:
                value = known.matching([domain], entries).get(domain)
            else:
                status, out, _err = self._run(["postmap", "-c", str(old), "-q", tables.key(domain), item], "", {})
                value = out.strip() if status == 0 else None
            if value is not None:
                return item, value
        return None

    def _sender_failures(self, old: Path, new: Path, base: trial.Base) -> list[str]:
        """Return the senders whose mail to a domain of nobody takes another way."""
        found = []
        for sender in sorted(base.known.senders):
            address = known.probe(known.FOREIGN)
            before, after = self._ask(old, address, sender), self._ask(new, address, sender)
            if before != after:
                found.append(f"{address} from {sender}: expected {before}, got {after}")
        return found

    def _obstacles(self, settings: Settings, values: Mapping[str, str], services: list[str], old: Path) -> list[str]:
        """Return what this Postfix cannot do."""
        found = []
        if values["multi_instance_directories"].strip() and self.config == CONFIG:
            found.append(
                f"there are more instances, {values['multi_instance_directories']}: set "
                "postfix_routes_config_directory to the one that receives mail on port 25"
            )
        if "transport_maps" in known.items(values["parent_domain_matches_subdomains"]):
            found.append(
                "parent_domain_matches_subdomains has transport_maps, so that a route of a domain would be that of all "
                "names below it: remove it"
            )
        if not services:
            found.append("master.cf has no SMTP client (a service of type unix that runs smtp): add one")
        protocols = values["inet_protocols"].replace("all", "ipv4, ipv6")
        for route in settings.routes:
            for each in route.hops:
                version = f"ipv{ipaddress.ip_address(each).version}"
                if version not in protocols:
                    found.append(f"{route.domain}: next hop {each}, but inet_protocols = {values['inet_protocols']}")
        for line in self._must(["postconf", "-c", str(old), "-P"]).splitlines():
            name = line.partition(" = ")[0].rpartition("/")[2]
            if name in trial.PARAMETERS:
                found.append(f"master.cf sets {line}: that service would not see the routes; move it to main.cf")
        return found

    def _compare(self, old: Path, new: Path) -> None:
        """Require that only our parameters differ, and that Postfix has nothing new to warn about."""
        outputs = []
        # Postfix warns of an admin's equal definitions as soon as the last has our value.
        repeated = main_cf.repeated(text.read(old / "main.cf") or "").intersection(trial.PARAMETERS)
        for directory in (old, new):
            status, out, err = self._run(["postconf", "-c", str(directory), "-n"], "", {})
            if status != 0:
                raise PostfixError(f"Postfix cannot read main.cf, nothing was changed: {err.strip()}")
            warnings = {
                _LINE.sub("", _bare(line, directory))
                for line in err.splitlines()
                if not ((found := _OVERRIDDEN.search(line)) and found[1].strip() in repeated)
            }
            outputs.append((_parameters(out, directory), warnings))
        (before, warned), (after, warns) = outputs
        differing = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)} - set(trial.PARAMETERS)
        if differing or warns - warned:
            raise PostfixError(
                "The new main.cf would change more than the routes, so nothing was changed:\n"
                + _listed([*sorted(differing), *sorted(warns - warned)])
            )

    def _replace(
        self,
        new: Mapping[str, str | None],
        before: Mapping[str, str | None],
        present: transition.Present | None,
        outcome: Outcome,
        *,
        check: bool,
    ) -> None:
        """Replace the files that differ: tables before main.cf, which names them; a table that leaves, after it."""
        order = [n for n in trial.TABLES if new.get(n)] + ["main.cf"] + [n for n in trial.TABLES if not new.get(n)]
        changes = {n: new[n] for n in order if n in new}
        outcome.files = sorted(str(self.config / n) for n in changes)
        outcome.diff = [text.diff(self.config / n, before[n], data) for n, data in changes.items()]
        running = self._running()
        if not check:
            try:
                self._note_reload(bool(changes))
                content = {self.config / n: None if data is None else text.encode(data) for n, data in changes.items()}
                if content:
                    kept.keep_for_run({}, ROLE, self.store)
                    runs.note_table(self.store, ROLE, transition.as_data(present))
                kept.write_kept(content, ROLE, self.store)
            except (OSError, kept.KeptError) as error:
                raise PostfixError(f"Cannot replace the files; the old ones were restored: {error}") from error
        outcome.action = "reload" if running and (changes or self.reload.exists()) else "none"

    def _note_reload(self, needed: bool) -> None:
        """Note before a change that the service must read its files again, for the next run if this one is killed."""
        if needed:
            self.reload.touch(mode=0o600)

    def _installed(self) -> bool:
        """Return whether Postfix and its main.cf are on this host."""
        return shutil.which("postconf") is not None and (self.config / "main.cf").exists()

    def _running(self) -> bool:
        """Return whether this instance runs."""
        status, _out, _err = self._run(["postfix", "-c", str(self.config), "status"], "", {})
        return status == 0

    def _scratch(self, directory: Path, content: Mapping[str, str]) -> Path:
        """Create a configuration directory with other content for some files, and links to the rest."""
        directory.mkdir()
        for path in self.config.iterdir():
            if path.name not in content and path.name not in ("main.cf", *trial.TABLES):
                (directory / path.name).symlink_to(path)
        for name, data in content.items():
            (directory / name).write_bytes(text.encode(data))
            # Postfix waits before it reads a file that has just changed, as somebody may still write it.
            os.utime(directory / name, (0, 0))
        return directory

    def _values(self, config: Path) -> dict[str, str]:
        """Return the expanded values of the parameters that matter."""
        names = {
            *known.PARAMETERS, *trial.PARAMETERS, "daemon_directory", "inet_protocols", "multi_instance_directories",
            "myhostname", "parent_domain_matches_subdomains",
        }  # fmt: skip
        out = self._must(["postconf", "-c", str(config), "-x", *sorted(names)])
        return {name: value for name, value in _parameters(out, None).items() if name in names}

    def _clients(self, config: Path) -> list[str]:
        """Return the services of master.cf that send by SMTP."""
        lines = (line.split() for line in self._must(["postconf", "-c", str(config), "-M"]).splitlines())
        return [each[0] for each in lines if len(each) > 7 and each[1] == "unix" and each[7] == "smtp"]

    def _dump(self, config: Path, item: str) -> str | None:
        status, out, _err = self._run(["postmap", "-c", str(config), "-s", item], "", {})
        return out if status == 0 else None

    def _ask(self, config: Path, address: str, sender: str = "") -> Answer:
        self.asked += 1
        if self.asked == 1:
            self._daemons = Path(self._must(["postconf", "-c", str(config), "-xh", "daemon_directory"]).strip())
        return ask(self._run, self._daemons / "trivial-rewrite", config, address, sender)

    def _must(self, command: list[str]) -> str:
        status, out, err = self._run(command, "", {})
        if status != 0:
            raise PostfixError(f"Postfix cannot be asked, nothing was changed: {' '.join(command)}: {err.strip()}")
        return out


def _parameters(out: str, directory: Path | None) -> dict[str, str]:
    """Return the parameters in the output of postconf, without the name of a temporary directory."""
    pairs = (_bare(line, directory).split(" =", 1) for line in out.splitlines() if " =" in line)
    return {name: value.strip() for name, value in pairs}


def _bare(line: str, directory: Path | None) -> str:
    return line.replace(str(directory), "DIRECTORY") if directory else line


def _listed(found: list[str]) -> str:
    return "\n".join(f"- {each}" for each in found)

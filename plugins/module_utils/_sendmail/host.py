# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the files of one sendmail host: build in a temporary directory, test with sendmail, replace all or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .._keep import kept, runs
from .._keep.text import read
from .._routes import transition
from .._routes.table import in_order, own_addresses
from . import adopt, block, forms, generate, service, system, tables
from .block import Wish
from .change import BY, Change
from .running import Configuration
from .settings import Settings, normalize, problems
from .system import Run, SendmailError, refuse

_PRIVATE_MODE = 0o640


@dataclass
class Outcome:
    """The result, or in check mode the prediction.

    Attributes:
        files: The paths of the files that change.
        diff: Ansible's diffs of the text files among them.
        action: What the daemon needs to use them: `none`, `reload` or `restart`.
        installed: Whether sendmail is complete on this host.
        configuration: The form of the files: `generate` or `block`.
        tests: The number of address tests passed.
        asked, known: How many questions the running and the new configuration answered alike, and of how many.
        told: What an admin should know.
        pending: What differs from the plan afterwards.
        former: The next hops in the files before that no planned route has.
    """

    files: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    action: str = "none"
    installed: bool = True
    configuration: str = forms.GENERATE
    tests: int = 0
    asked: int = 0
    known: int = 0
    told: list[str] = field(default_factory=list)
    pending: transition.Pending = field(default_factory=transition.Pending)
    former: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether a file changes, or the daemon still uses the previous files."""
        return bool(self.files) or self.action != "none"


def apply(
    settings: Settings,
    run: Run,
    *,
    check: bool,
    distance: int | None = None,
    wish: Wish | None = None,
    partial: bool = False,
) -> Outcome:
    """Make the files of this host match `settings`; with `check`, only predict the changes.

    With `distance`, only make the step of `transition.between`. With `partial`, what `settings` do not have stays.

    Raises:
        SendmailError: Nothing was replaced: the settings are not valid, sendmail is not installed (without `check`), or
            the new configuration fails an address test.
    """
    wish = wish or Wish()
    planned = normalize(settings)
    found = problems(planned) + own_addresses(planned)
    if found:
        raise refuse("The settings of this host are not valid:", found)
    planned, told = _without_kept(planned, wish.keep)
    form = forms.choose(wish.configuration, planned)
    installed = is_installed()
    if not installed and not check:
        raise SendmailError(
            "sendmail is not completely installed: install the packages sendmail-bin, sendmail-cf and m4"
        )
    outcome = Outcome(installed=installed, configuration=form)
    scope = _Scope(distance, partial)
    with tempfile.TemporaryDirectory(prefix="mailgate-", dir="/run" if os.geteuid() == 0 else None) as stage:
        if form == forms.BLOCK and not installed:
            present = None
            change = Change(told=["sendmail is not completely installed, so the changes cannot be predicted"])
        elif form == forms.BLOCK:
            present = block.present(run, Path(stage))
            change = _block(planned, present, scope, wish, run, Path(stage), outcome)
        else:
            present = _present()
            change = _generate(planned, present, scope, wish.configuration, run, Path(stage), outcome)
    outcome.diff, outcome.tests = change.diff, change.tests
    outcome.asked, outcome.known = change.asked, change.known
    outcome.told = told + change.told
    outcome.files = sorted(str(p) for p in change.new)
    if not check:
        service.record(run)
        swap(change, present=present)
    outcome.action = action(settings, change.new, check=check, form=form)
    return outcome


def is_installed() -> bool:
    """Return whether sendmail and what builds its files is on this host."""
    programs = all(Path(p).exists() for p in (system.SENDMAIL, system.MAKEMAP, system.CF_M4))
    return programs and shutil.which("m4") is not None


@dataclass(frozen=True)
class _Scope:
    """Which part of the settings is written, see `transition.between`."""

    distance: int | None
    partial: bool

    def between(self, present: transition.Present | None, planned: Settings, outcome: Outcome) -> Settings:
        """Return the settings to write, and store in the outcome what is left to do."""
        settings = transition.between(present, planned, self.distance, partial=self.partial)
        outcome.pending = transition.pending(settings, planned, partial=self.partial)
        outcome.former = transition.former(present, planned)
        return settings


def _generate(  # noqa: PLR0917
    planned: Settings,
    present: transition.Present | None,
    scope: _Scope,
    configuration: str,
    run: Run,
    stage: Path,
    outcome: Outcome,
) -> Change:
    """Build the files of a host whose sendmail is ours."""
    found = tables.access_conflicts(read(system.ETC_MAIL / "access") or "", planned)
    if found:
        raise refuse(
            f"Lines in {system.ETC_MAIL} contradict the plan. Remove them, or remove the domains from the inventory:",
            found,
        )
    if outcome.installed and configuration == "auto":
        _require_untouched(run)
    settings = scope.between(present, planned, outcome)
    return generate.build(settings, run, stage, installed=outcome.installed)


def _require_untouched(run: Run) -> None:
    """Require that the sendmail.cf of an untouched sendmail.mc was not edited by itself: that would be lost."""
    source, path = system.ETC_MAIL / "sendmail.mc", system.ETC_MAIL / "sendmail.cf"
    text, configuration = read(source), read(path)
    if text and configuration and not forms.is_ours(text):
        built = system.m4(run, source, f"build {path}")
        forms.require_source(built, built, configuration, path)


def _block(  # noqa: PLR0917
    planned: Settings,
    present: transition.Present | None,
    scope: _Scope,
    wish: Wish,
    run: Run,
    stage: Path,
    outcome: Outcome,
) -> Change:
    """Build our lines in an admin's files."""
    settings = scope.between(present, planned, outcome)
    change = block.build(settings, present, wish, run, stage)
    change.told.append(
        f"sendmail answers {change.asked} questions about what this host handles as before"
        + (f", chosen evenly from {change.known}" if change.known > change.asked else "")
    )
    return change


def _without_kept(planned: Settings, keep: Iterable[str]) -> tuple[Settings, list[str]]:
    """Return the settings without the domains that stay as the admin has them, and what to tell about these."""
    kept_domains = in_order(keep)
    planned_domains = {*planned.local, *planned.relay, *planned.external, *(r.domain for r in planned.routes)}
    told = [
        f"{domain}: the admin's own route is kept, the plan's is left out"
        for domain in kept_domains
        if domain in planned_domains
    ]
    return adopt.without_domains(planned, kept_domains), told


def _present() -> transition.Present | None:
    """Return the domains and routes that this host has now, or None if this collection has not set it up."""
    names = ("local-host-names", "mailertable", "access")
    return tables.read_present(*(read(system.ETC_MAIL / name) or "" for name in names))


def action(settings: Settings, new: Iterable[Path], *, check: bool, form: str = forms.GENERATE) -> str:
    """Return what the daemon needs, from its pid file, so that a run completes what an interrupted one left."""
    changed = set(new)
    # A changed map is noticed; these are read at the start only.
    configuration = system.ETC_MAIL / "sendmail.cf"
    loaded = [configuration, *Configuration(read(configuration) or "").class_files("w")]
    if system.ETC_MAIL / "local-host-names" not in loaded:
        loaded.append(system.ETC_MAIL / "local-host-names")
    if check and system.ETC_MAIL / "sendmail.conf" in changed:
        return "restart"
    try:
        pid, command, *_rest = system.PID_FILE.read_text().splitlines()
        started = system.PID_FILE.stat().st_mtime_ns
    except (FileNotFoundError, ValueError):
        return "restart"
    wanted = {"-bD"} if settings.foreground else set()
    if form == forms.GENERATE:
        wanted.add(f"-q{settings.queue_interval}")
    if not Path("/proc", pid).exists() or not wanted <= set(command.split()):
        return "restart"
    if any(path in changed for path in loaded):
        return "reload"
    return "reload" if any(p.exists() and p.stat().st_mtime_ns > started for p in loaded) else "none"


def swap(change: Change, store: Path | None = None, present: transition.Present | None = None) -> None:
    """Replace all files or none, derived ones last so that they are newer; restore the old ones on an error.

    What Debian's scripts will write in turn is kept too, and for the run in progress the `present` domains and routes.
    """
    new = change.new
    # sendmail.cf is the last: until then, the daemon does not know new tables.
    order = {".db": 1, ".cf": 2}
    files = {path: new[path] for path in sorted(new, key=lambda path: (order.get(path.suffix, 0), str(path)))}
    modes = {path: _PRIVATE_MODE for path in change.private if path in new}
    like = {path: path.with_suffix("") for path in new if path.name == "aliases.db" and not path.exists()}
    rewritten = {path: kept.ANY for name in system.REWRITTEN if (path := system.ETC_MAIL / name).exists()}
    try:
        if files:
            kept.keep_for_run({}, BY, store or kept.STORE)
            kept.keep_hashes(rewritten, BY, store or kept.STORE)
            runs.note_table(store or kept.STORE, BY, transition.as_data(present))
        kept.write_kept(files, BY, store or kept.STORE, like=like, modes=modes)
    except (OSError, kept.KeptError) as error:
        raise SendmailError(f"Cannot replace the files; the old ones were restored: {error}") from error

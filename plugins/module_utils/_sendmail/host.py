# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the files of one sendmail host: build in a temporary directory, test with sendmail, replace all or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._replace import replace_all
from .._routes import transition
from .._routes.table import own_addresses
from . import cf, mc, tables
from . import trial as trials
from .settings import Settings, normalize, problems

ETC_MAIL = Path("/etc/mail")
PID_FILE = Path("/run/sendmail/mta/sendmail.pid")
CF_M4 = Path("/usr/share/sendmail/cf/m4/cf.m4")
SENDMAIL = "/usr/sbin/sendmail-mta"
MAKEMAP = "/usr/sbin/makemap"
_PRIVATE_MODE = 0o640

Run = Callable[[list[str], str], tuple[int, str, str]]
"""Runs a command with text on standard input; returns exit status, standard output and standard error."""


class SendmailError(Exception):
    """The files cannot be built or fail a test; nothing was changed. The message has the fix."""


@dataclass
class Outcome:
    """The result, or in check mode the prediction.

    Attributes:
        files: The paths of the files that change.
        diff: Ansible's diffs of the text files among them.
        action: What the daemon needs to use them: `none`, `reload` or `restart`.
        installed: Whether sendmail is complete on this host.
        tests: The number of address tests passed.
        pending: What differs from the plan afterwards.
        former: The next hops in the files before that no planned route has.
    """

    files: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    action: str = "none"
    installed: bool = True
    tests: int = 0
    pending: transition.Pending = field(default_factory=transition.Pending)
    former: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether a file changes, or the daemon still uses the previous files."""
        return bool(self.files) or self.action != "none"


def apply(settings: Settings, run: Run, *, check: bool, distance: int | None = None) -> Outcome:
    """Make the files of this host match `settings`; with `check`, only predict the changes.

    With `distance`, only make the step of `transition.between`.

    Raises:
        SendmailError: Nothing was replaced: the settings are not valid, sendmail is not installed (without `check`), or
            the new configuration fails an address test.
    """
    planned = normalize(settings)
    found = problems(planned) + own_addresses(planned)
    if found:
        raise SendmailError("The settings of this host are not valid:\n" + "\n".join(f"- {p}" for p in found))
    found = tables.access_conflicts(_read(ETC_MAIL / "access") or "", planned)
    if found:
        raise SendmailError(
            f"Lines in {ETC_MAIL} contradict the plan. Remove them, or remove the domains from the inventory:\n"
            + "\n".join(f"- {_shown(p)}" for p in found)
        )
    present = _present()
    settings = transition.between(present, planned, distance)
    installed = all(Path(p).exists() for p in (SENDMAIL, MAKEMAP, CF_M4)) and shutil.which("m4") is not None
    if not installed and not check:
        raise SendmailError(
            "sendmail is not completely installed: install the packages sendmail-bin, sendmail-cf and m4"
        )
    sources = _sources(settings)
    outcome = Outcome(installed=installed, pending=transition.pending(settings, planned))
    outcome.former = transition.former(present, planned)
    new: dict[Path, bytes] = {}
    for path, content in sources.items():
        before = _read(path)
        if before != content:
            new[path] = _encode(content)
            outcome.diff.append(_diff(path, before, content))
    if installed:
        with tempfile.TemporaryDirectory(prefix="mailgate-", dir="/run" if os.geteuid() == 0 else None) as stage:
            outcome.tests, built = _build(settings, sources, Path(stage), run)
        _add_built(built, sources, new, outcome, run)
    outcome.files = sorted(str(p) for p in new)
    if not check:
        _swap(new)
        if ETC_MAIL / "aliases" in new or not (ETC_MAIL / "aliases.db").exists():
            _must(run, [SENDMAIL, "-bi"], "", "rebuild the aliases")
    outcome.action = _action(settings, new, check=check)
    return outcome


def _present() -> transition.Present | None:
    """Return the domains and routes that this host has now, or None if this collection has not set it up."""
    names = ("local-host-names", "mailertable", "access")
    return tables.read_present(*(_read(ETC_MAIL / name) or "" for name in names))


def _add_built(
    built: Mapping[Path, bytes], sources: Mapping[Path, str], new: dict[Path, bytes], outcome: Outcome, run: Run
) -> None:
    """Add those derived files to `new` whose meaning differs from what is on disk."""
    for path, data in built.items():
        if path.suffix == ".cf":
            before = _read(path) or ""
            made = _decode(data)
            if cf.comparable_cf(before) == made:
                continue
            # The diff of the .mc shows the change, unless the .cf was edited manually.
            if path.with_suffix(".mc") not in new:
                outcome.diff.append(_diff(path, before, made))
        elif _entries(path, run) == tables.map_entries(sources[path.with_suffix("")]):
            continue
        new[path] = data


def _sources(settings: Settings) -> dict[Path, str]:
    """Return the content of all source files."""
    return {
        ETC_MAIL / "static-route": tables.static_route(settings),
        ETC_MAIL / "mailertable": tables.mailertable(settings),
        ETC_MAIL / "local-host-names": tables.local_host_names(settings),
        ETC_MAIL / "access": tables.access(_read(ETC_MAIL / "access") or "", settings),
        ETC_MAIL / "aliases": tables.aliases(_read(ETC_MAIL / "aliases") or "", settings),
        ETC_MAIL / "sendmail.conf": tables.conf(_read(ETC_MAIL / "sendmail.conf") or "", settings),
        ETC_MAIL / "sendmail.mc": mc.sendmail_mc(settings),
        ETC_MAIL / "submit.mc": mc.submit_mc(settings),
    }


def _build(settings: Settings, sources: Mapping[Path, str], stage: Path, run: Run) -> tuple[int, dict[Path, bytes]]:
    """Build the derived files in `stage` and test them; return the number of tests and the files' content."""
    built: dict[Path, bytes] = {}
    trial = ""
    for path, content in sources.items():
        (stage / path.name).write_bytes(_encode(content))
        if path.name in ("mailertable", "access"):
            _must(run, [MAKEMAP, "hash", str(stage / path.name)], content, f"build {path}.db")
            built[path.with_name(f"{path.name}.db")] = (stage / f"{path.name}.db").read_bytes()
        elif path.suffix == ".mc":
            m4 = _must(run, ["m4", str(stage / path.name)], "", f"build {path.with_suffix('.cf')}")
            made = cf.cf(m4, path.name, content)
            built[path.with_suffix(".cf")] = _encode(made)
            if path.name == "sendmail.mc":
                trial = made
    for name in ("mailertable", "access", "local-host-names"):
        trial = trial.replace(str(ETC_MAIL / name), str(stage / name))
    (stage / "trial.cf").write_bytes(_encode(trial))
    tests = trials.address_tests(settings, trial)
    output = _must(
        run, [SENDMAIL, "-bt", "-C", str(stage / "trial.cf")], trials.test_script(tests), "test the new files"
    )
    failed = trials.failures(tests, output)
    if failed:
        raise SendmailError(
            "The new configuration fails these address tests, so nothing was changed. Look for conflicting lines in "
            f"{ETC_MAIL}/access, {ETC_MAIL}/relay-domains or the extra m4 lines:\n"
            + "\n".join(f"- {f}" for f in failed)
        )
    return len(tests), built


def _action(settings: Settings, new: Mapping[Path, bytes], *, check: bool) -> str:
    """Return what the daemon needs, from its pid file, so that a run completes what an interrupted one left."""
    loaded = [ETC_MAIL / "sendmail.cf", ETC_MAIL / "local-host-names"]
    if check and ETC_MAIL / "sendmail.conf" in new:
        return "restart"
    try:
        pid, command, *_rest = PID_FILE.read_text().splitlines()
        started = PID_FILE.stat().st_mtime_ns
    except (FileNotFoundError, ValueError):
        return "restart"
    wanted = {f"-q{settings.queue_interval}"} | ({"-bD"} if settings.foreground else set())
    if not Path("/proc", pid).exists() or not wanted <= set(command.split()):
        return "restart"
    if any(path in new for path in loaded):
        return "reload"
    return "reload" if any(p.exists() and p.stat().st_mtime_ns > started for p in loaded) else "none"


def _entries(path: Path, run: Run) -> Mapping[str, str] | None:
    """Return the entries of a hash map on disk, or None if it cannot be read."""
    if not path.exists():
        return None
    status, out, _err = run([MAKEMAP, "-u", "hash", str(path)], "")
    return tables.map_entries(out) if status == 0 else None


def _swap(new: Mapping[Path, bytes]) -> None:
    """Replace all files or none, derived ones last so that they are newer; restore the old ones on an error."""
    derived_last = sorted(new, key=lambda path: (path.suffix in (".db", ".cf"), str(path)))
    files = {path.resolve(): new[path] for path in derived_last}
    modes = {path.resolve(): _PRIVATE_MODE for path in new if path.name in ("access", "access.db", "mailertable.db")}
    try:
        replace_all({path: path.read_bytes() if path.exists() else None for path in files}, files, modes=modes)
    except OSError as error:
        raise SendmailError(f"Cannot replace the files; the old ones were restored: {error}") from error


def _must(run: Run, command: list[str], stdin: str, purpose: str) -> str:
    """Run a command and return its output; raise SendmailError if it fails."""
    status, out, err = run(command, stdin)
    if status != 0 or "error" in err.lower():
        hint = " The file has DOS line ends, which makemap rejects in blank lines." if "\r\n" in stdin else ""
        raise SendmailError(
            f"Cannot {purpose}: {' '.join(command)} failed with status {status}.{hint}\n{_shown(err or out)}"
        )
    return out


def _read(path: Path) -> str | None:
    """Return the content of a file, None without one."""
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return None


def _decode(data: bytes) -> str:
    """Return bytes of any encoding that contains ASCII as text, with their line ends; `_encode` reverses it."""
    return data.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    """Return the bytes of a text from `_decode`."""
    return text.encode("utf-8", "surrogateescape")


def _shown(text: str) -> str:
    """Return a text from `_decode` for people: bytes that are not UTF-8 are replaced."""
    return _encode(text).decode("utf-8", "replace")


def _diff(path: Path, before: str | None, after: str) -> dict[str, str]:
    """Return a difference in the format of Ansible."""
    texts = {"before": _shown(before or ""), "after": _shown(after)}
    return {"before_header": str(path), "after_header": str(path), **texts}

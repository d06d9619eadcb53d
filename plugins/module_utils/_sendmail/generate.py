# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a host whose sendmail is ours: all generated, built in a temporary directory and tested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .._keep.blocks import BlockError
from .._keep.text import decode, diff, encode, read
from . import mc, system, tables
from . import trial as trials
from .cf import cf, comparable_cf
from .change import Change, build_aliases, map_entries
from .settings import Settings
from .system import Run, SendmailError, m4, must, redirected

_PRIVATE = ("access", "access.db", "mailertable.db")


def build(settings: Settings, run: Run, stage: Path, *, installed: bool) -> Change:
    """Build all files; if sendmail is not installed, only the sources.

    Raises:
        SendmailError: The files cannot be built or fail a test.
    """
    sources = _sources(settings)
    change = Change(private=[system.ETC_MAIL / name for name in _PRIVATE])
    for path, content in sources.items():
        before = read(path)
        if before != content:
            change.new[path] = encode(content)
            change.diff.append(diff(path, before, content))
    if installed:
        change.tests, built = _build(settings, sources, stage, run)
        _add_built(built, sources, change, run)
    return change


def _sources(settings: Settings) -> dict[Path, str]:
    """Return the content of all source files."""
    directory = system.ETC_MAIL
    try:
        aliases = tables.aliases(read(directory / "aliases") or "", settings)
    except BlockError as error:
        raise SendmailError(f"{directory / 'aliases'}: {error}") from error
    return {
        directory / "static-route": tables.static_route(settings),
        directory / "mailertable": tables.mailertable(settings),
        directory / "local-host-names": tables.local_host_names(settings),
        directory / "access": tables.access(read(directory / "access") or "", settings),
        directory / "aliases": aliases,
        directory / "sendmail.conf": tables.conf(read(directory / "sendmail.conf") or "", settings),
        directory / "sendmail.mc": mc.sendmail_mc(settings),
        directory / "submit.mc": mc.submit_mc(settings),
    }


def _add_built(built: Mapping[Path, bytes], sources: Mapping[Path, str], change: Change, run: Run) -> None:
    """Add those derived files whose meaning differs from what is on disk."""
    for path, data in built.items():
        if path.suffix == ".cf":
            before = read(path) or ""
            made = decode(data)
            if comparable_cf(before) == made:
                continue
            # The diff of the .mc shows the change, unless the .cf was edited manually.
            if path.with_suffix(".mc") not in change.new:
                change.diff.append(diff(path, before, made))
        elif path.name == "aliases.db":
            if path.exists() and path.with_suffix("") not in change.new:
                continue
        elif map_entries(run, path) == tables.map_entries(sources[path.with_suffix("")]):
            continue
        change.new[path] = data


def _build(settings: Settings, sources: Mapping[Path, str], stage: Path, run: Run) -> tuple[int, dict[Path, bytes]]:
    """Build the derived files in `stage` and test them; return the number of tests and the files' content."""
    built: dict[Path, bytes] = {}
    trial = ""
    for path, content in sources.items():
        (stage / path.name).write_bytes(encode(content))
        if path.name in ("mailertable", "access"):
            must(run, [system.MAKEMAP, "hash", str(stage / path.name)], content, f"build {path}.db")
            built[path.with_name(f"{path.name}.db")] = (stage / f"{path.name}.db").read_bytes()
        elif path.suffix == ".mc":
            made = cf(m4(run, stage / path.name, f"build {path.with_suffix('.cf')}"), path.name, content)
            built[path.with_suffix(".cf")] = encode(made)
            if path.name == "sendmail.mc":
                trial = made
    staged = {system.ETC_MAIL / name: stage / name for name in ("mailertable", "access", "local-host-names")}
    trial = redirected(trial, staged)
    (stage / "trial.cf").write_bytes(encode(trial))
    aliases = system.ETC_MAIL / "aliases"
    _copy, database = build_aliases(run, stage, aliases, sources[aliases], stage / "trial.cf")
    built[aliases.with_name("aliases.db")] = database
    tests = trials.address_tests(settings, trial)
    command = [system.SENDMAIL, "-bt", "-C", str(stage / "trial.cf")]
    failed = trials.failures(tests, must(run, command, trials.test_script(tests), "test the new files"))
    if failed:
        raise SendmailError(
            "The new configuration fails these address tests, so nothing was changed. Look for conflicting lines in "
            f"{system.ETC_MAIL}/access, {system.ETC_MAIL}/relay-domains or the extra m4 lines:\n"
            + "\n".join(f"- {f}" for f in failed)
        )
    return len(tests), built

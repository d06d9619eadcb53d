# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore the files of a sendmail host as they were before, but for what others edited since."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from .._keep import blocks, kept
from .._keep.text import content, decode, diff, encode, read
from . import adopt, cf, forms, host, inquiry, proof, system, tables
from .change import BY, build_aliases, build_map, map_entries
from .host import Outcome
from .running import Configuration, statements
from .settings import Settings
from .system import Run, SendmailError, m4, redirected, refuse

_DERIVED = (".db", ".cf")
_NO_SETTINGS = Settings("", (), (), (), ())


def remove(run: Run, *, check: bool) -> Outcome:
    """Restore the files of this host; with `check`, only predict the changes.

    Raises:
        SendmailError: Nothing was changed: a copy cannot be read, or sendmail would answer differently than before.
    """
    outcome = Outcome(installed=host.is_installed())
    try:
        records = [record for record in kept.records(kept.STORE) if record.by == BY]
        # With the package, its directory has gone, and there is nothing to restore in it.
        purged = [Path(record.path) for record in records if not Path(record.path).parent.is_dir()]
        records = [record for record in records if Path(record.path) not in purged]
        ours = [Path(record.path) for record in records if _was_ours(record)]
        paths = [Path(record.path) for record in records if Path(record.path) not in ours]
        if ours or (not records and _generated()):
            # Without what was before, parts of it would be neither.
            outcome.told = [_no_copies(ours or [system.ETC_MAIL / "sendmail.mc"])]
            return outcome
        whole = [path for path in paths if _is_whole(path)]
        planned = kept.plan_restore(whole, kept.STORE)
        planned += kept.plan_restore((path for path in paths if path not in whole), kept.STORE, _strip)
        with tempfile.TemporaryDirectory(prefix="mailgate-", dir="/run" if os.geteuid() == 0 else None) as stage:
            planned, stale = _without_stale(planned)
            planned = _with_derived(planned, run, Path(stage), outcome)
    except (kept.KeptError, blocks.BlockError) as error:
        raise SendmailError(f"Nothing was changed: {error}") from error
    changed = [each for each in planned if content(each.path) != each.content]
    outcome.files = sorted(str(each.path) for each in changed)
    outcome.diff = [
        diff(each.path, read(each.path), None if each.content is None else decode(each.content))
        for each in changed
        if each.path.suffix not in _DERIVED
    ]
    outcome.told += [each.told for each in planned if each.told]
    if not check:
        try:
            kept.restore(planned, kept.STORE)
            for path in [*purged, *stale]:
                kept.forget(path, kept.STORE)
            _forget_unrecorded()
        except OSError as error:
            raise SendmailError(f"Cannot restore the files; they are as before this run: {error}") from error
    if outcome.files:
        outcome.action = "restart" if str(system.ETC_MAIL / "sendmail.conf") in outcome.files else "reload"
    return outcome


def _without_stale(planned: list[kept.Restored]) -> tuple[list[kept.Restored], list[Path]]:
    """Return the plan without what Debian's scripts write of an edited sendmail.mc, and the paths left out."""
    source = Path(os.path.realpath(system.ETC_MAIL / "sendmail.mc"))
    edited = any(each.path == source and not each.exact for each in planned)
    stale = [each.path for each in planned if edited and each.path.name in system.REWRITTEN]
    return [each for each in planned if each.path not in stale], stale


def _with_derived(planned: list[kept.Restored], run: Run, stage: Path, outcome: Outcome) -> list[kept.Restored]:
    """Return the plan with databases and sendmail.cf that fit their sources; sources first.

    The original of a derived file fits its original source. Otherwise it is built of what is left, and sendmail must
    answer as it does now, but for the domains in our lines.
    """
    by_path = {each.path: each for each in planned}
    sources = [each for each in planned if each.path.suffix not in _DERIVED]
    derived, edited = [], False
    staged: dict[Path, Path] = {}
    for each in (each for each in planned if each.path.suffix in _DERIVED):
        source = by_path.get(Path(os.path.realpath(_source(each.path))))
        if source is None or source.exact:
            original = kept.read(each.path, kept.STORE)
            content = kept.original(original, kept.STORE) if original else each.content
            derived.append(kept.Restored(each.path, each.state, content, exact=True))
            continue
        edited = True
        if not outcome.installed:
            raise SendmailError(f"{source.path} was edited since, and sendmail is not installed to build {each.path}")
        content = _built(each.path, source, run, stage, staged)
        derived.append(replace(each, content=content, told=""))
    # An edited source without a derived file in the records changes nothing else. A configuration that is wholly ours
    # answers as the plan says, not as the one did that comes back.
    if edited and not _generated():
        _prove(by_path, derived, staged, run, stage, outcome)
    # make writes a file again that is older than one of its sources.
    sources.sort(key=lambda each: ("", *system.REWRITTEN).index(_rewritten(each.path)))
    return [*sources, *sorted(derived, key=lambda each: (each.path.suffix == ".cf", str(each.path)))]


def _built(path: Path, source: kept.Restored, run: Run, stage: Path, staged: dict[Path, Path]) -> bytes | None:
    """Return a derived file built of what is left of its source."""
    if source.content is None:
        return None
    text = decode(source.content)
    if path.suffix == ".cf":
        copy = stage / source.path.name
        copy.write_bytes(source.content)
        made = m4(run, copy, f"build {path}")
        present = read(path) or ""
        return encode(present if statements(present) == statements(made) else cf.cf(made, source.path.name, text))
    running = system.ETC_MAIL / "sendmail.cf"
    if path.name.startswith("aliases"):
        copy, data = build_aliases(run, stage, source.path, text, running)
    else:
        copy, data = build_map(run, stage, source.path, _kind(source.path, running), text)
    staged[source.path] = copy
    kind = "hash" if path.name.startswith("aliases") else _kind(source.path, running)
    built = copy.with_name(f"{copy.name}.db")
    # Two databases with the same entries may have other bytes.
    return content(path) if map_entries(run, path, kind) == map_entries(run, built, kind) else data


def _prove(  # noqa: PLR0917
    by_path: dict[Path, kept.Restored],
    derived: list[kept.Restored],
    staged: dict[Path, Path],
    run: Run,
    stage: Path,
    outcome: Outcome,
) -> None:
    """Require the same answers as now, but for domains in our lines."""
    running = system.ETC_MAIL / "sendmail.cf"
    configuration = next((text_of(each) for each in derived if each.path == Path(os.path.realpath(running))), "")
    configuration = configuration or (read(running) or "")
    for path, each in by_path.items():
        if path.suffix in _DERIVED or path in staged or each.content is None:
            continue
        copy = stage / f"source-{path.name}"
        copy.write_bytes(each.content)
        data = next((found.content for found in derived if found.path == path.with_name(f"{path.name}.db")), None)
        if data is not None:
            copy.with_name(f"{copy.name}.db").write_bytes(data)
        staged[path] = copy
    trial = stage / "trial.cf"
    trial.write_bytes(encode(redirected(configuration, staged)))
    ours = sorted({domain for path, each in by_path.items() for domain in _lost(path, each)})
    result = inquiry.prove(run, running, trial, _NO_SETTINGS, ours)
    outcome.asked, outcome.known = result.asked, result.known
    if result.differences:
        raise refuse(
            "Without our lines, sendmail would answer differently about other addresses too. Nothing was changed. "
            "Files were "
            "edited since they were written; look at their lines about these addresses:",
            proof.listed(result.differences),
        )


def _lost(path: Path, each: kept.Restored) -> list[str]:
    """Return the domains that only our lines of a file have."""
    now, left = read(path) or "", text_of(each)
    words = set(now.lower().split()) - set(left.lower().split())
    names = (word.removeprefix("to:").removeprefix("local_domain(`").split("'")[0] for word in words)
    return [f"*{name}" if name.startswith(".") else name for name in names if "." in name and "/" not in name]


def _rewritten(path: Path) -> str:
    """Return the name of a file that Debian's scripts write; "" for any other."""
    return path.name if path.name in system.REWRITTEN else ""


def _source(path: Path) -> Path:
    """Return the source of a derived file."""
    return path.with_suffix(".mc") if path.suffix == ".cf" else path.with_suffix("")


def _kind(path: Path, running: Path) -> str:
    configuration = Configuration(read(running) or "")
    for name in ("mailertable", "access", "virtuser"):
        found = configuration.map(name)
        if found and found.path and Path(os.path.realpath(found.path)) == path:
            return found.kind
    return "hash"


def _forget_unrecorded() -> None:
    """Remove copies without a record: a run was killed between the two, so their files were never changed."""
    top = kept.STORE / "files"
    for copy in [path for path in top.rglob("*") if path.is_file()]:
        path = Path("/") / copy.relative_to(top)
        if kept.read(path, kept.STORE) is None:
            kept.forget(path, kept.STORE)


def _is_whole(path: Path) -> bool:
    """Return whether a file is wholly ours, so that no line of it is an admin's."""
    return path.suffix in _DERIVED or path.name in system.REWRITTEN or forms.is_ours(read(path) or "")


def _strip(path: Path, data: bytes) -> bytes:
    """Return a file without our lines."""
    if path.name == "sendmail.conf":
        record = kept.read(path, kept.STORE)
        before = kept.original(record, kept.STORE) if record else None
        return encode(tables.conf_as_before(decode(data), decode(before or b"")))
    return encode(adopt.bare(decode(data), adopt.MC_STYLE if path.suffix == ".mc" else blocks.HASH))


def _was_ours(record: kept.Record) -> bool:
    """Return whether a release that kept no copies had written a file before."""
    content = kept.original(record, kept.STORE)
    return content is not None and Path(record.path).suffix not in _DERIVED and forms.is_ours(decode(content))


def _generated() -> bool:
    return forms.is_ours(read(system.ETC_MAIL / "sendmail.mc") or "")


def _no_copies(paths: list[Path]) -> str:
    return (
        f"{', '.join(map(str, sorted(paths)))}: written by an earlier release, which kept no copies of what was "
        f"there before. "
        "Nothing is removed. Restore the files of sendmail from a backup, or have Debian's again: apt-get purge "
        "sendmail-base sendmail-bin, then install them"
    )


def text_of(each: kept.Restored) -> str:
    """Return what a file is to be as text."""
    return decode(each.content) if each.content is not None else ""

# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the files that the collection changes, kept at first touch, and their restoration.

Each file has a record, written before the file is: what it was before the first change, and the hashes of what was
written since. So a file can be told from one that somebody has edited since, also after an interrupted run.

The store is a directory that only root can read. It has the copies and the records by path:
`files/etc/mail/sendmail.mc`, `records/etc/mail/sendmail.mc.json`. `edited/` has what others wrote since and a later run
replaced.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .._replace import replace_all
from . import runs, store
from .text import content

STORE = store.STORE
PACKAGES = "packages"
"""The part of the store for what comes with packages; it stays when a run is taken back, unless the role goes."""
_PRIVATE = 0o600
# The present content and the one being written; a run that was killed leaves either.
_WRITTEN = 2
# Copies of edited contents of one file.
_EDITED = 5
ANY = "any"
"""In place of a hash: every later content is ours, such as signatures that a program updates."""
# Names that only this collection uses: what is there comes from it, perhaps from a version without records.
_OWN = "mailgate"


class KeptError(Exception):
    """A file cannot be kept or restored; it was not changed. The message has the path and the fix."""


@dataclass
class Record:
    """What a file was before its first change.

    Attributes:
        path: The real path.
        existed: Whether there was a file.
        sha256: The hash of its content, as hexadecimal digits; "" without a file.
        mode, uid, gid: Its permissions and owner.
        kept: When it was kept, in UTC (RFC 3339).
        by: What changed it first, such as the name of a role.
        written: The hashes of the contents that were written last.
        edited: Whether somebody else has written it between two changes, so that what was written has their lines too.
    """

    path: str
    existed: bool
    sha256: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    kept: str = ""
    by: str = ""
    written: list[str] = field(default_factory=list)
    edited: bool = False


class State(enum.Enum):
    """How a kept file is now, compared with its record."""

    ORIGINAL = "as it was before"
    OURS = "as it was written"
    EDITED = "edited since"
    REMOVED = "removed since"


@dataclass(frozen=True)
class Restored:
    """What restoring did with one file.

    Attributes:
        path: The file.
        state: How it was found.
        content: What it is to be: its bytes; None for no file.
        exact: Whether that is what it was before the first change.
        told: What an admin should know; "" for nothing.
    """

    path: Path
    state: State
    content: bytes | None
    exact: bool
    told: str = ""


def write_kept(
    new: Mapping[Path, bytes | None],
    by: str,
    store: Path = STORE,
    like: Mapping[Path, Path] | None = None,
    modes: Mapping[Path, int] | None = None,
) -> None:
    """Replace files, all or none, as `replace_all` does; keep a copy of each at its first change.

    Raises:
        OSError: No file was changed.
        KeptError: A record cannot be read; no file was changed.
    """
    real = {Path(os.path.realpath(path)): data for path, data in new.items()}
    keep(real, by, store)
    replace_all(
        {path: content(path) for path in real},
        real,
        {Path(os.path.realpath(path)): model for path, model in (like or {}).items()},
        {Path(os.path.realpath(path)): mode for path, mode in (modes or {}).items()},
    )


def keep(new: Mapping[Path, bytes | None], by: str, store: Path = STORE) -> None:
    """Keep each file at its first change, and note what will be written: real paths, with the new contents.

    Raises:
        OSError: The store cannot be written.
        KeptError: A record cannot be read.
    """
    keep_hashes({path: "" if data is None else _digest(data) for path, data in new.items()}, by, store)


def keep_hashes(new: Mapping[Path, str], by: str, store: Path = STORE) -> None:
    """Do what `keep` does for contents that are known by their hashes only; "" for no file, or ANY.

    Raises:
        OSError: The store cannot be written.
        KeptError: A record cannot be read.
    """
    make_private(store)
    if new:
        keep_for_run(new, by, store)
    _keep_hashes(new, by, store, own=False)


def keep_for_run(new: Mapping[Path, str], by: str, store: Path = STORE) -> None:
    """Keep files, as `keep_hashes` does, only for the run that is in progress; do nothing without one.

    The directory of a run is a store like that of the first touch, but it has what was there before this run. Without
    files, only that this role is about to change something is recorded.

    Raises:
        OSError: The store cannot be written.
        KeptError: A record cannot be read.
    """
    name = runs.current()
    if not name or store.name == PACKAGES:
        return
    make_private(store)
    if not runs.knows(store, name, by):
        runs.begin(store, name, by, first=by not in roles(store))
    _keep_hashes(new, by, runs.directory(store, name), own=True)


def roles(store: Path = STORE) -> set[str]:
    """Return what has changed this host: the names of roles.

    Raises:
        KeptError: A record cannot be read.
    """
    return {record.by for record in records(store)} | {path.stem for path in (store / "hosts").glob("*.json")}


def _keep_hashes(new: Mapping[Path, str], by: str, store: Path, *, own: bool) -> None:
    """Keep files in one store; with `own`, also the content of those that only this collection uses."""
    for path, digest in new.items():
        record = read(path, store) or _keep_first(path, by, store, own=own)
        present = content(path)
        now = "" if present is None else _digest(present)
        if record.written and ANY not in record.written and now not in (*record.written, record.sha256):
            _keep_edited(path, present, store)
            record.edited = True
        # An admin's edit is not ours, though it is there while the next content is written.
        former = [each for each in record.written if each in (now, digest)]
        if not record.written or record.written[-1] != digest or former != record.written:
            record.written = [*(each for each in former if each != digest), digest][-_WRITTEN:]
            _write(_record_path(path, store), json.dumps(asdict(record), indent=1).encode() + b"\n")


def settle(paths: Collection[Path], store: Path = STORE) -> None:
    """Note the present content of files that were kept with ANY as what was written, so that later edits are seen.

    Raises:
        OSError: The store cannot be written.
        KeptError: A record cannot be read.
    """
    name = runs.current()
    for where in [store, runs.directory(store, name)] if name else [store]:
        for path in paths:
            record = read(path, where)
            if record and ANY in record.written:
                present = content(path)
                record.written = ["" if present is None else _digest(present)]
                _write(_record_path(path, where), json.dumps(asdict(record), indent=1).encode() + b"\n")


def read(path: Path, store: Path = STORE) -> Record | None:
    """Return the record of a file, by its real path; None for a file that was never changed.

    Raises:
        KeptError: The record cannot be read.
    """
    where = _record_path(path, store)
    try:
        return Record(**json.loads(where.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise KeptError(
            f"{where} cannot be read: {error}. Restore it, or remove it, and the file is kept again"
        ) from error


def records(store: Path = STORE) -> list[Record]:
    """Return all records by path.

    Raises:
        KeptError: A record cannot be read.
    """
    top = store / "records"
    paths = sorted(str(found.relative_to(top))[: -len(".json")] for found in top.rglob("*.json"))
    return [record for path in paths if (record := read(Path("/") / path, store))]


def original(record: Record, store: Path = STORE) -> bytes | None:
    """Return the content of a file before its first change; None if there was no file.

    Raises:
        KeptError: The copy is missing or not what was kept.
    """
    if not record.existed:
        return None
    copy = _copy_path(Path(record.path), store)
    try:
        data = copy.read_bytes()
    except OSError as error:
        raise KeptError(f"the copy of {record.path} cannot be read: {error}") from error
    if _digest(data) != record.sha256:
        raise KeptError(f"{copy} is not the copy that was kept: its hash differs from the record's")
    return data


def state(record: Record) -> State:
    """Return how a file is now."""
    data = content(Path(record.path))
    if data is None:
        if not record.existed:
            return State.ORIGINAL
        return State.OURS if "" in record.written else State.REMOVED
    digest = _digest(data)
    if record.existed and digest == record.sha256:
        return State.ORIGINAL
    return State.OURS if digest in record.written or ANY in record.written else State.EDITED


def plan_restore(
    paths: Iterable[Path], store: Path = STORE, strip: Callable[[Path, bytes], bytes] | None = None
) -> list[Restored]:
    """Return what restoring these files would do, by real paths; files without a record are left out.

    Args:
        paths: The files.
        store: Where they were kept.
        strip: Returns a file's content without our lines: for files of which we own only these, so that the edits of
            an admin stay. By default the files are wholly ours, and one that was edited since stays as it is.

    Raises:
        KeptError: A copy or record cannot be read.
    """
    found = []
    for path in paths:
        record = read(path, store)
        if record is None:
            continue
        before, now = original(record, store), state(record)
        if now is State.ORIGINAL or (now is State.OURS and strip is None):
            found.append(Restored(path, now, before, exact=True))
        elif now is State.REMOVED:
            told = f"{path} was removed since; it stays removed. Its copy is {_copy_path(path, store)}"
            found.append(Restored(path, now, None, exact=False, told=told))
        else:
            found.append(_edited(path, before, store, strip))
    return found


def restore(planned: Iterable[Restored], store: Path = STORE) -> list[Path]:
    """Restore files as `plan_restore` planned, all or none; return those that changed.

    The records and copies of exactly restored files are removed, those of the others stay.

    Raises:
        OSError: No file was changed.
    """
    todo = list(planned)
    new = {each.path: each.content for each in todo if content(each.path) != each.content}
    replace_all({path: content(path) for path in new}, new)
    for each in todo:
        record = read(each.path, store)
        if record is None or not each.exact:
            continue
        if record.existed:
            os.chown(each.path, record.uid, record.gid)
            each.path.chmod(record.mode)
        forget(each.path, store)
    return list(new)


def forget(path: Path, store: Path = STORE) -> None:
    """Remove the record and the copy of a file, and the directories that become empty."""
    for where, top in ((_record_path(path, store), store / "records"), (_copy_path(path, store), store / "files")):
        where.unlink(missing_ok=True)
        for directory in where.parents:
            if top not in (directory, *directory.parents) or (directory.exists() and any(directory.iterdir())):
                break
            if directory.exists():
                directory.rmdir()
    remove_empty(store)


def remove_empty(store: Path = STORE) -> None:
    """Remove the store if nothing of the first touch is left in it; then no run can be taken back any more."""
    if store.is_dir() and all(each.name == runs.NAME for each in store.iterdir()):
        shutil.rmtree(store)


def make_private(store: Path) -> None:
    """Create the store, which nobody else can read, under any umask."""
    if not store.is_dir():
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.chmod(0o700)


def set_aside(path: Path, store: Path = STORE) -> Path | None:
    """Remove the record of a file and return the path of its copy, which stays among the edited ones; None without.

    Raises:
        OSError: The store cannot be written.
    """
    copy = _copy_path(path, store)
    aside = None
    if copy.exists():
        aside = store / "edited" / (str(path).lstrip("/") + ".original")
        aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy.replace(aside)
    forget(path, store)
    return aside


def is_own(path: Path) -> bool:
    """Return whether only this collection uses a path of this name."""
    return any(part.startswith(_OWN) for part in path.parts)


def _edited(path: Path, before: bytes | None, store: Path, strip: Callable[[Path, bytes], bytes] | None) -> Restored:
    """Return what is left of a file without our lines."""
    now = content(path) or b""
    stripped = strip(path, now) if strip else now
    if stripped == (before or b""):
        return Restored(path, State.OURS, before, exact=True)
    kept = f"Its copy is {_copy_path(path, store)}" if before is not None else "There was no such file before"
    lines = "only the lines of campus.mailgate are removed" if stripped != now else "it stays as it is"
    return Restored(path, State.EDITED, stripped, exact=False, told=f"{path} was edited since; {lines}. {kept}")


def _keep_first(path: Path, by: str, store: Path, *, own: bool) -> Record:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    data = None if is_own(path) and not own else content(path)
    if data is None:
        return Record(str(path), existed=False, kept=now, by=by)
    found = path.stat()
    _write(_copy_path(path, store), data)
    return Record(
        str(path), True, _digest(data), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, kept=now, by=by
    )


def _keep_edited(path: Path, data: bytes | None, store: Path) -> None:
    """Keep a copy of what somebody wrote after us, before it is replaced."""
    if data is None:
        return
    copy = store / "edited" / (str(path).lstrip("/") + f".{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}")
    _write(copy, data)
    for old in sorted(copy.parent.glob(f"{path.name}.*"))[:-_EDITED]:
        old.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_all({path: content(path)}, {path: data}, modes={path: _PRIVATE})


def _copy_path(path: Path, store: Path) -> Path:
    return store / "files" / str(path).lstrip("/")


def _record_path(path: Path, store: Path) -> Path:
    return store / "records" / (str(path).lstrip("/") + ".json")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

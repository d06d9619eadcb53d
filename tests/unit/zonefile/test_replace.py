# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All files or none, on a real file system with real failures."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._replace import replace_all


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, bytes]:
    old = {tmp_path / name: f"old {name}".encode() for name in ("a", "b", "c")}
    for path, data in old.items():
        path.write_bytes(data)
    return old


def new(files: dict[Path, bytes]) -> dict[Path, bytes]:
    return {path: b"new " + path.name.encode() for path in files}


def contents(files: dict[Path, bytes]) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in files}


def test_mode_and_owner_stay_and_the_time_is_now(files):
    first = next(iter(files))
    first.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(first, 4711, 4712)
    os.utime(first, (1, 1))
    before = first.stat()
    replace_all(files, new(files))
    after = first.stat()
    assert contents(files) == new(files)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert time.time() - after.st_mtime < 60


def test_acl_and_other_attributes_stay(files):
    first = next(iter(files))
    # user::rw- user:4711:r-- group::r-- mask::r-- other::---, as Linux keeps it (acl(5), version 2)
    entries = [(1, 6, 2**32 - 1), (2, 4, 4711), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(first, "system.posix_acl_access", acl)
        os.setxattr(first, "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has no ACLs")
    replace_all(files, new(files))
    assert contents(files) == new(files)
    assert os.getxattr(first, "system.posix_acl_access") == acl
    assert os.getxattr(first, "user.note") == b"kept"


def test_new_files_and_back(files, tmp_path):
    fresh = tmp_path / "fresh"
    before = {**files, fresh: None}
    after = {**new(files), fresh: b"made"}
    replace_all(before, after)
    assert contents(after) == after
    assert fresh.stat().st_mode & 0o777 == 0o644
    replace_all(after, before)
    assert contents(files) == files
    assert not fresh.exists()
    fresh.touch()
    with pytest.raises(OSError, match="changed by another process"):
        replace_all(before, after)


def test_no_temporary_file_stays_not_even_an_earlier_one(files, tmp_path):
    (tmp_path / ".a.mailgate-killed").write_bytes(b"half a zo")
    replace_all(files, new(files))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_file_that_another_process_changed_stops_all(files):
    last = list(files)[-1]
    last.write_bytes(b"theirs")
    with pytest.raises(OSError, match="changed by another process"):
        replace_all(files, new(files))
    assert contents(files) == {**files, last: b"theirs"}


def test_a_failure_in_the_middle_puts_the_first_ones_back(files, tmp_path, monkeypatch):
    real = Path.replace
    last = list(files)[-1]

    def failing(self: Path, target: Path) -> Path:
        if target == last:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output error"):
        replace_all(files, new(files))
    assert contents(files) == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_missing_directory_stops_all(files, tmp_path):
    missing = tmp_path / "gone" / "d"
    with pytest.raises(OSError, match="No such file"):
        replace_all({**files, missing: b"x"}, {**new(files), missing: b"y"})
    assert contents(files) == files

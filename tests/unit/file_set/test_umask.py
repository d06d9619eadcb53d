# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules write on a host can be read by its services under any umask of a hardened host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.campus.mailgate.plugins.module_utils._iptables.bans_router import Bans
from ansible_collections.campus.mailgate.plugins.module_utils._iptables.router import Router
from ansible_collections.campus.mailgate.plugins.module_utils._replace import make_directory, replace_all
from ansible_collections.campus.mailgate.plugins.modules import file_set


@pytest.fixture(autouse=True, params=[0o027, 0o077], ids=["027", "077"])
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(directory: Path) -> dict[str, str]:
    """Return the modes of all files and directories in a directory."""
    return {str(p.relative_to(directory)): f"{p.stat().st_mode & 0o7777:o}" for p in directory.rglob("*")}


def test_file_set(tmp_path, capsys, module_arguments):
    path = tmp_path / "a" / "b" / "unit"
    files = [{"path": str(path), "content": "x"}]
    with module_arguments({"files": files, "_ansible_remote_tmp": str(tmp_path / "tmp")}), pytest.raises(SystemExit):
        file_set.main()
    assert json.loads(capsys.readouterr().out)["changed"]
    assert modes(tmp_path / "a") == {"b": "755", "b/unit": "644"}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755


def test_directories_that_exist_keep_their_mode(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o710)
    make_directory(tmp_path / "a" / "b" / "c")
    assert modes(tmp_path) == {"a": "710", "a/b": "755", "a/b/c": "755"}


def test_replaced_files(tmp_path):
    new, private, like = tmp_path / "new", tmp_path / "private", tmp_path / "like"
    (tmp_path / "model").touch()
    (tmp_path / "model").chmod(0o664)
    files = dict.fromkeys((new, private, like), b"x")
    replace_all(dict.fromkeys(files), files, like={like: tmp_path / "model"}, modes={private: 0o640})
    assert modes(tmp_path) == {"model": "664", "new": "644", "private": "640", "like": "664"}


def test_rules_and_bans_of_a_router(tmp_path):
    router = Router(lambda command: (0, "", ""), lambda name: None, tmp_path / "etc" / "border")
    router._keep_old({"sets": "x"})
    bans = Bans(
        lambda command: (0, "", ""), lambda command, text: (0, "", ""), lambda name: None, tmp_path / "lib" / "f"
    )
    bans._write("x")
    assert modes(tmp_path) == {
        "etc": "755",
        "etc/border": "755",
        "etc/border/undo": "755",
        "etc/border/undo/sets": "644",
        "lib": "755",
        "lib/f": "644",
    }

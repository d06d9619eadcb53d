# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are written all or none, and only if one differs."""

from __future__ import annotations

import getpass
import grp
import json
import os
import sys

import pytest

from ansible_collections.campus.mailgate.plugins.modules import file_set

# Fails if the settings name a table that the routes do not start with.
CHECK = """
import pathlib, sys
settings, routes = (pathlib.Path(name).read_text() for name in sys.argv[1:])
if settings.strip() != routes.split()[0]:
    sys.exit(f"{sys.argv[1]}: {settings.strip()} is not the first of the routes")
"""


@pytest.fixture
def run(tmp_path, capsys, module_arguments):
    check = tmp_path / "check.py"
    check.write_text(CHECK)

    def run(settings, routes, mode="0644", **module_args):
        args = {
            "files": [
                {"path": str(tmp_path / "etc" / "routes"), "content": routes, "mode": mode},
                {"path": str(tmp_path / "etc" / "settings"), "content": settings, "mode": mode},
            ],
            "validate": [sys.executable, str(check), "{settings}", "{routes}"],
            "_ansible_remote_tmp": str(tmp_path / "tmp"),
            **module_args,
        }
        with module_arguments(args), pytest.raises(SystemExit):
            file_set.main()
        return json.loads(capsys.readouterr().out)

    return run


def contents(tmp_path):
    directory = tmp_path / "etc"
    return {path.name: path.read_text() for path in directory.iterdir()} if directory.exists() else {}


def test_a_pair_that_only_fits_together_is_written_and_then_left_alone(run, tmp_path):
    assert run("a", "a\n")["changed"]
    first = run("b", "b c\n")
    assert first["paths"] == [str(tmp_path / "etc" / "routes"), str(tmp_path / "etc" / "settings")]
    assert contents(tmp_path) == {"routes": "b c\n", "settings": "b"}
    again = run("b", "b c\n")
    assert not again["changed"]
    assert again["paths"] == []
    assert again["diff"] == []


def test_a_refused_pair_leaves_every_byte_as_it_was(run, tmp_path):
    run("a", "a\n")
    result = run("a", "b\n")
    assert result["failed"]
    assert result["msg"].endswith(
        "rejects the new files, so no file was changed:\nnew/settings: a is not the first of the routes"
    )
    assert contents(tmp_path) == {"routes": "a\n", "settings": "a"}


def test_check_mode_shows_the_difference_and_writes_nothing(run, tmp_path):
    result = run("a", "a\n", _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"]
    assert [(item["before"], item["after"]) for item in result["diff"]] == [("", "a\n"), ("", "a")]
    assert contents(tmp_path) == {}


def test_only_what_differs_is_replaced(run, tmp_path):
    run("a", "a\n")
    settings = tmp_path / "etc" / "settings"
    inode = settings.stat().st_ino
    assert run("a", "a b\n")["paths"] == [str(tmp_path / "etc" / "routes")]
    assert settings.stat().st_ino == inode


def test_permissions_alone_are_mended(run, tmp_path):
    run("a", "a\n")
    routes = tmp_path / "etc" / "routes"
    routes.chmod(0o600)
    assert run("a", "a\n", _ansible_check_mode=True)["paths"] == [str(routes)]
    assert run("a", "a\n")["paths"] == [str(routes)]
    assert routes.stat().st_mode & 0o777 == 0o644


def test_bytes_that_are_no_text_are_replaced(run, tmp_path):
    run("a", "a\n")
    (tmp_path / "etc" / "routes").write_bytes(b"a \xff\r\n")
    assert run("a", "a\n")["changed"]
    assert (tmp_path / "etc" / "routes").read_bytes() == b"a\n"


def test_without_a_program_to_validate_files_are_written_unchecked(run, tmp_path):
    assert run("b", "a\n", validate=[])["changed"]
    assert contents(tmp_path) == {"routes": "a\n", "settings": "b"}


def test_the_owner_that_a_file_has_is_no_change(run, tmp_path):
    mine = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
    files = [{"path": str(tmp_path / "etc" / "settings"), "content": "a", **mine}]
    assert run("", "", files=files, validate=[])["changed"]
    assert not run("", "", files=files, validate=[])["changed"]


def test_two_files_of_one_name_cannot_be_told_apart(run):
    result = run("a", "a\n", files=[{"path": "/a/x", "content": ""}, {"path": "/b/x", "content": ""}])
    assert result["msg"] == "files: the base names must differ: x, x"

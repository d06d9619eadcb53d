# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive is the same for the same input, runs by itself, and says all that is wrong with its input."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.campus.mailgate.plugins.plugin_utils.zipapp import BuildError, build_zipapp, keep

APP = {"app/__init__.py": b"", "app/cli.py": b"import lib\n\ndef main():\n    print(lib.WORD)\n    return 3\n"}
LIB = {"lib.py": b"WORD = 'from the wheel'\n"}
PYTHON = "/usr/bin/python3 -I"


def test_it_runs_and_passes_the_exit_status_on(tmp_path):
    archive = tmp_path / "app.pyz"
    archive.write_bytes(build_zipapp({"app": APP, "lib.whl": LIB}, "app.cli:main", f"{sys.executable} -I"))
    archive.chmod(0o755)
    done = subprocess.run([archive], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "from the wheel\n", "")


def test_bytes_do_not_depend_on_the_order_of_the_input():
    one = build_zipapp({"app": APP, "lib.whl": LIB}, "app.cli:main", PYTHON)
    other = build_zipapp({"lib.whl": LIB, "app": dict(reversed(APP.items()))}, "app.cli:main", PYTHON)
    assert one == other


def test_any_byte_of_the_input_changes_the_archive():
    one = build_zipapp({"app": APP}, "app.cli:main", PYTHON)
    other = build_zipapp({"app": {**APP, "app/__init__.py": b"\n"}}, "app.cli:main", PYTHON)
    assert one != other


def test_members_carry_no_time_and_no_mode_of_the_builder():
    data = build_zipapp({"app": APP}, "app.cli:main", PYTHON)
    assert data.startswith(b"#!/usr/bin/python3 -I\nPK")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {(info.date_time, info.external_attr >> 16, info.compress_type) for info in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644, zipfile.ZIP_STORED)
        }


def test_the_same_file_from_two_wheels_is_no_conflict():
    build_zipapp({"app": APP, "a.whl": LIB, "b.whl": LIB}, "app.cli:main", PYTHON)


def test_all_problems_are_reported_at_once():
    with pytest.raises(BuildError) as caught:
        build_zipapp({"app": APP, "a.whl": LIB, "b.whl": {"lib.py": b"other"}}, "app.missing:main", "python3")
    assert caught.value.problems == [
        "entry point app.missing:main: there is no module app.missing in a.whl, app, b.whl",
        "interpreter 'python3' is not an absolute path",
        "lib.py is in a.whl and, different, in b.whl",
    ]


@pytest.mark.parametrize("entry_point", ["app", "app:", ":main", "app:main()", "app.cli:main;x"])
def test_entry_points_that_are_none(entry_point):
    with pytest.raises(BuildError, match="is not of the form"):
        build_zipapp({"app": APP}, entry_point, PYTHON)


def test_exclude_leaves_out_whole_trees():
    files = {"lib/tests/certs/server.key": b"", "lib/tests/test_a.py": b"", "lib/testing.py": b"", "lib/a.pyi": b""}
    assert list(keep(files, ["lib/tests/*", "*.pyi"])) == ["lib/testing.py"]

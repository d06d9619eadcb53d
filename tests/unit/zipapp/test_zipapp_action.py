# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin's own part: reading directories and replacing the archive."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.campus.mailgate.plugins.action.zipapp import build, write
from ansible_collections.campus.mailgate.plugins.plugin_utils.zipapp import BuildError


@pytest.fixture
def args(tmp_path):
    package = tmp_path / "src" / "app"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "cli.cpython-311.pyc").write_bytes(b"stale")
    (package / "cli.py").write_text("def main():\n    return 0\n")
    (package / "data").mkdir()
    (package / "data" / "notice.txt").write_text("notice\n")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    return {
        "packages": [str(package)],
        "requirements": str(requirements),
        "wheelhouse": str(tmp_path / "wheels"),
        "entry_point": "app.cli:main",
        "interpreter": "/usr/bin/python3 -I",
        "exclude": [],
        "python_version": "3.11",
    }


def test_the_package_goes_in_with_its_data_and_without_leftovers(args):
    data, wheels = build(args)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["__main__.py", "app/cli.py", "app/data/notice.txt"]
    assert wheels == []


def test_a_missing_wheelhouse_says_how_to_fill_it(args, tmp_path):
    (tmp_path / "requirements.txt").write_text("aiosmtpd==1.4.6\n")
    with pytest.raises(BuildError) as caught:
        build(args)
    assert caught.value.problems == [
        f"The wheelhouse is {tmp_path}/wheels; fill it with: "
        f"pip wheel -r {tmp_path}/requirements.txt -w {tmp_path}/wheels",
        "aiosmtpd==1.4.6 is missing, required by the requirements",
    ]


def test_the_archive_is_replaced_whole(tmp_path):
    dest = tmp_path / "new" / "app.pyz"
    write(dest, b"one")
    with dest.open("rb") as reader:
        write(dest, b"two")
        assert reader.read() == b"one"
    assert dest.read_bytes() == b"two"
    assert list(dest.parent.iterdir()) == [dest]
    assert dest.stat().st_mode & 0o777 == 0o755


def test_packages_below_a_parent_need_neither_wheels_nor_init_files(args, tmp_path):
    (tmp_path / "src" / "_one").mkdir()
    (tmp_path / "src" / "_one" / "cli.py").write_text("from .._two import value\n\n\ndef main():\n    return value\n")
    (tmp_path / "src" / "_two.py").write_text("value = 7\n")
    packages = [str(tmp_path / "src" / name) for name in ("_one", "_two.py")]
    none = {"requirements": None, "wheelhouse": None}
    data, wheels = build(
        {**args, **none, "packages": packages, "parent": "outer", "entry_point": "outer._one.cli:main"}
    )
    assert wheels == []
    archive = tmp_path / "outer.pyz"
    write(archive, data)
    assert subprocess.run([sys.executable, "-I", str(archive)], check=False).returncode == 7

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin's own part: reading directories and replacing the archive."""

from __future__ import annotations

import io
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

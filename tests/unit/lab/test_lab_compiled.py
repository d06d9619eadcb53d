# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code of zip archives is compiled once, also where the directory cannot be written or holds something else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lab.host import COMPILED


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of compiled code, empty."""
    (tmp_path / "compiled").mkdir()
    return tmp_path / "compiled"


def run(directory: Path, source: str, *options: str) -> str:
    """Return what a module prints that is imported from a zip archive by a Python with this sitecustomize."""
    place = directory.parent
    (place / "sitecustomize.py").write_text(COMPILED.read_text().replace("/run/lab-compiled", str(directory)))
    with zipfile.ZipFile(place / "modules.zip", "w") as archive:
        archive.writestr("the_module.py", source)
    done = subprocess.run(
        [sys.executable, *options, "-c", "import the_module"],
        env={**os.environ, "PYTHONPATH": f"{place}:{place / 'modules.zip'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_code_is_compiled_once(directory: Path):
    assert run(directory, "print(1)") == "1\n"
    (path,) = directory.iterdir()
    written = path.stat().st_mtime_ns
    assert run(directory, "print(1)") == "1\n"
    assert path.stat().st_mtime_ns == written
    assert list(directory.iterdir()) == [path]


def test_other_source_is_other_code(directory: Path):
    assert [run(directory, f"print({number})") for number in (1, 2, 1)] == ["1\n", "2\n", "1\n"]
    assert len(list(directory.iterdir())) == 2


def test_kept_code_is_what_runs(directory: Path):
    run(directory, "print(1)")
    run(directory, "print(2)")
    first, second = directory.iterdir()
    codes = {first.read_bytes(), second.read_bytes()}
    first.write_bytes(second.read_bytes())
    assert len(codes) == 2
    assert {run(directory, "print(1)"), run(directory, "print(2)")} in ({"1\n"}, {"2\n"})


@pytest.mark.parametrize("content", [b"", b"no code", b"\xe3"])
def test_a_damaged_file_is_replaced(directory: Path, content: bytes):
    run(directory, "print(1)")
    (path,) = directory.iterdir()
    path.write_bytes(content)
    assert run(directory, "print(1)") == "1\n"
    assert path.read_bytes() != content


def test_without_the_directory_nothing_is_kept(directory: Path):
    directory.rmdir()
    assert run(directory, "print(1)") == "1\n"
    assert not directory.exists()


def test_optimized_code_is_not_mixed_with_other(directory: Path):
    assert run(directory, "assert print(1)", "-O") == ""
    assert not list(directory.iterdir())

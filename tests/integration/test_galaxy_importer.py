# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible Galaxy and Automation Hub check when a collection is uploaded, as far as it runs offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "galaxy-importer"
# An environment of its own: it pins ansible-lint and what that needs.
PACKAGE = "galaxy-importer==0.4.44"
# ansible-test is left out: tests/sanity/lint runs it.
SETTINGS = """\
[galaxy-importer]
CHECK_CHANGELOG = True
CHECK_REQUIRED_TAGS = True
CHECK_RUNTIME_YAML = True
OFFLINE_ANSIBLE_LINT = True
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = True
RUN_ANSIBLE_TEST = False
"""

# One after the other: they share directories and a twin.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("archive")]


def test_importer_finds_nothing(tmp_path: Path) -> None:
    venv = WORK / "venv"
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", PACKAGE], check=True)
        (venv / "complete").touch()
    galaxy = [str(Path(sys.executable).with_name("ansible-galaxy")), "collection", "build", "--output-path"]
    subprocess.run([*galaxy, tmp_path], cwd=ROOT, check=True)
    archive = next(tmp_path.glob("*.tar.gz"))
    (tmp_path / "unpacked").mkdir()
    settings = tmp_path / "importer.cfg"
    settings.write_text(f"{SETTINGS}TMP_ROOT_DIR = {tmp_path / 'unpacked'}\n")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GALAXY_IMPORTER_CONFIG": str(settings),
    }
    done = subprocess.run(
        ["python", "-m", "galaxy_importer.main", archive],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert "Importer processing completed successfully" in output, output
    assert [line for line in output.splitlines() if line.startswith(("ERROR", "WARNING"))] == []

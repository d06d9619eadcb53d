# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module runs as Ansible packs it for a host: with its module_utils, which have no `__init__.py`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
MODULES = sorted(
    path.stem for path in (PLUGINS / "modules").glob("*.py") if not (PLUGINS / "action" / path.name).exists()
)


@pytest.mark.slow
def test_each_module_runs_on_a_host(tmp_path):
    tasks = [{"name": name, f"campus.mailgate.{name}": {"wrong": 1}, "ignore_errors": True} for name in MODULES]
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(playbook)],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "LC_ALL": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    refused = re.findall(r"^fatal: .*(?:Unsupported parameters|required|are missing)", done.stdout, re.MULTILINE)
    assert len(refused) == len(MODULES) > 0, done.stdout

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of another kind is left alone."""

from __future__ import annotations

import subprocess

from ansible_collections.campus.mailgate.plugins.module_utils._postfix.host import Host


def run(command, stdin, variables):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_nothing_is_removed_where_postfix_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    host = Host(run, tmp_path / "postfix", tmp_path / "store", tmp_path / "reload")
    for check in (True, False):
        outcome = host.remove(check=check)
        assert (outcome.changed, outcome.installed, outcome.notes) == (False, False, [])

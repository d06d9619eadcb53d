# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit has settings of the role if they are there, or if their removal was interrupted."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.campus.mailgate.plugins.module_utils._sendmail.service import supervised


def test_settings_of_the_unit_are_seen_until_their_directory_is_gone(tmp_path: Path):
    directory = tmp_path / "sendmail.service.d"
    assert not supervised(directory)
    directory.mkdir()
    assert supervised(directory)
    (directory / "admin.conf").touch()
    assert not supervised(directory)
    (directory / "mailgate.conf").touch()
    assert supervised(directory)

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway that evaluates no mail authentication does not load its libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mailgate


def test_rules_load_no_library_of_mail_authentication():
    code = (
        "import sys, mailgate.process.worker, mailgate.rules.screening;"
        "print([name for name in ('dkim', 'spf', 'publicsuffixlist') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(Path(mailgate.__file__).parents[1])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout == "[]\n"

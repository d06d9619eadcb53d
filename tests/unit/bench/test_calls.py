# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker calls for a message or a refusal is limited, on any machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.calls import CASES, exceeded, limits_of

ROOT = Path(__file__).resolve().parents[3]
LIMITS = ROOT / "bench" / "calls_limits.json"


def test_only_what_exceeds_its_limit_is_reported():
    results = {"refused": {"calls": 501.0}, "banned": {"calls": 80.0}, "message_4_kib": {"instructions": 1e9}}
    limits = {"refused": {"calls": 500}, "banned": {"calls": 80}, "message_4_kib": {"calls": 1}}
    assert exceeded(results, limits) == ["refused: 501.0 calls, at most 500"]


def test_every_case_has_a_limit():
    assert limits_of(LIMITS).keys() == CASES.keys()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare is not installed here (apt-get install util-linux)")
def test_a_worker_needs_no_more_calls_than_before():
    """Run the bench; if more calls are worth it, write limits a twentieth above its figures, a sixth for 1 MiB."""
    command = [sys.executable, "-m", "bench.calls", "--loop", "uvloop", "--limits", str(LIMITS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

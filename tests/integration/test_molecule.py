# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every Molecule scenario, each on its own twin; the twins are independent, so scenarios can run in parallel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="the twin needs root"),
]


def test_each_role_has_a_scenario() -> None:
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    assert roles <= set(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    """`molecule test` runs create, converge, idempotence, verify and destroy; its log is in .cache/molecule."""
    log = ROOT / ".cache" / "molecule" / f"{scenario}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(
            ["molecule", "test", "--scenario-name", scenario],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=1800,
            check=False,
        )
    if done.returncode:
        pytest.fail("\n".join(log.read_text().splitlines()[-120:]), pytrace=False)

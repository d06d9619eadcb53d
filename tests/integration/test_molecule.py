# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every Molecule scenario, each on its own twin; the twins are independent, so scenarios can run in parallel."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted({path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")})
#: Scenarios that run on Debian 13 too. The demo has hosts of both.
TRIXIE = ["bind_mx_methods", "border_neighbours", "postfix_routes"]
#: Roles whose scenario has the name of what they are part of.
WITHIN = {"event_database": "shared_state"}

#: Colors and the frame that Molecule draws.
STYLE = re.compile(r"(?m)^(?: |\x1b\[[0-9;]*m)*│ ?|\x1b\[[0-9;]*m")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="the twin needs root"),
]


def test_each_role_has_a_scenario() -> None:
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    assert {WITHIN.get(role, role) for role in roles} <= set(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    """`molecule test` runs create, converge, idempotence, verify and destroy; its log is in .cache/molecule."""
    run(scenario, scenario, {})


@pytest.mark.parametrize("scenario", TRIXIE)
def test_scenario_on_debian_13(scenario: str, tmp_path: Path) -> None:
    """The same on hosts with Debian 13, in a twin and a state directory of its own."""
    twin = f"mol-{scenario.replace('_', '-')}-13"
    own = {"MAILGATE_SUITE": "trixie", "MAILGATE_TWIN": twin, "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "state")}
    run(scenario, f"{scenario}-trixie", own)


def run(scenario: str, name: str, environment: dict[str, str]) -> None:
    """Run a scenario with variables of the environment; fail with the end of the log, and at last the failed tasks."""
    log = ROOT / ".cache" / "molecule" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(
            ["molecule", "test", "--scenario-name", scenario],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=2700,
            check=False,
        )
    if done.returncode:
        lines = STYLE.sub("", log.read_text()).splitlines()
        pytest.fail("\n".join([*lines[-60:], "", *failed_tasks(lines)]), pytrace=False)


def failed_tasks(lines: Sequence[str]) -> list[str]:
    """Return the lines of the failed tasks, each from its heading on, without the middle of long ones."""
    found: list[str] = []
    start = 0
    for number, line in enumerate(lines):
        if "TASK [" in line:
            start = number
        elif "fatal:" in line:
            end = next(
                (k for k in range(number, len(lines)) if "TASK [" in lines[k] or "PLAY " in lines[k]), len(lines)
            )
            task = lines[start:end]
            found += task if len(task) <= 60 else [*task[:20], "...", *task[-40:]]
    return found

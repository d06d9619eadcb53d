# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the commands that the guides show, and write what they print to the files that the guides include."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "inventories" / "demo"
PACKAGE = ROOT / "roles" / "gateway" / "files"
HELP = {
    "mailgate-help": [],
    **{f"mailgate-{name}-help": [name] for name in ("report", "quarantine", "routes", "check")},
}


def write(destination: Path, extra: Path) -> None:
    """Write all included files to `destination`, and the demo's plan as it is published to `extra`."""
    destination.mkdir(parents=True)
    extra.mkdir(parents=True)
    plan = extra / "demo-plan"
    _plan(DEMO, "-e", f"mailgate_plan_dir={plan}")
    for name in ("plan.txt", "routes.txt", "static.txt"):
        shutil.copy(plan / name, destination / name)
    (destination / "files.txt").write_text(_tree(plan))
    (destination / "plan.svg").write_text(_picture((plan / "plan.html").read_text()))
    (destination / "difference.txt").write_text(_difference(plan / "plan.json"))
    (destination / "problems.txt").write_text(_problems())
    for name, words in HELP.items():
        (destination / f"{name}.txt").write_text(_mailgate(*words, "--help"))
    (destination / "report.txt").write_text(_report())
    (destination / "demo-steps.txt").write_text(_demo_steps())


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
        "TZ": "UTC",
    }
    return subprocess.run(command, cwd=ROOT, env={**base, **environment}, capture_output=True, text=True, check=False)


def _plan(inventory: Path, *options: str, works: bool = True) -> str:
    """Run the playbook `plan` and return what it prints."""
    done = _run("ansible-playbook", "-i", str(inventory), "playbooks/plan.yml", *options)
    if works != (done.returncode == 0):
        raise RuntimeError(f"playbook plan on {inventory}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _mailgate(*words: str) -> str:
    done = _run(sys.executable, "-m", "mailgate", *words, PYTHONPATH=str(PACKAGE))
    if done.returncode:
        raise RuntimeError(f"mailgate {' '.join(words)}: {done.stderr}")
    return done.stdout


def _tree(directory: Path) -> str:
    """List a directory with the files of one faculty, as `tree` would."""
    lines = ["reports/"]
    for path in sorted(directory.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        lines.append(f"  {path.name}{'/' if path.is_dir() else ''}")
    for faculty in sorted((directory / "faculties").iterdir()):
        lines.append(f"    {faculty.name}/")
        names = sorted(path.name for path in faculty.iterdir())
        names = names if faculty.name == "engineering" else ["…"]
        lines += textwrap.wrap(" ".join(names), 90, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines) + "\n"


def _picture(page: str) -> str:
    """Cut the drawing out of the plan's page, with the page's style rules for drawings, as a file of its own."""
    drawing = re.search(r"<svg .*?</svg>", page, re.DOTALL)
    if drawing is None:
        raise RuntimeError("the plan's page has no drawing")
    rules = re.findall(r"^(?::root .*|svg .*)$", page, re.MULTILINE)
    style = "\n".join(["<style>", *rules, "svg text { font-family: sans-serif }", "</style>"])
    head, _, rest = drawing[0].partition(">")
    return f"{head}>\n{style}{rest}\n"


def _difference(earlier: Path) -> str:
    """Return what the plan reports when a server of the demo has moved to another address."""
    with tempfile.TemporaryDirectory() as directory:
        moved = _copy_demo(Path(directory), "engineering", "198.18.1.31", "198.18.1.32")
        _plan(moved, "-e", f"mailgate_plan_since={earlier}", "-e", f"mailgate_plan_dir={directory}/reports")
        return (Path(directory) / "reports" / "difference.txt").read_text()


def _problems() -> str:
    """Return what the plan reports on an inventory with two mistakes."""
    with tempfile.TemporaryDirectory() as directory:
        inventory = _copy_demo(Path(directory), "engineering", "mailgate_domains: [civil", "mailgate_domain: [civil")
        permit = inventory / "faculties" / "research.yml"
        permit.write_text(permit.read_text().replace("2099-03-31", "2026-03-31"))
        printed = _plan(inventory, works=False).replace(directory, "inventories")
    found = re.search(r"^(?:\[ERROR\]: )?(?:Task failed: )?(.*:\n(?: +\d+\. .*\n)+)", printed, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the plan reports no problems:\n{printed}")
    return found[1]


def _copy_demo(directory: Path, faculty: str, before: str, after: str) -> Path:
    """Copy the demo's inventory with one text replaced in the file of `faculty`."""
    copy = Path(shutil.copytree(DEMO, directory / "campus"))
    path = copy / "faculties" / f"{faculty}.yml"
    text = path.read_text()
    if before not in text:
        raise RuntimeError(f"{path.name} has no {before!r}")
    path.write_text(text.replace(before, after))
    return copy


def _report() -> str:
    """Return the report of a month with made-up counts."""
    counts = {"processed": 184213, "relay_refused": 3377, "virus_found": 412}
    moment = datetime.fromisoformat("2026-07-15T12:00").timestamp() // 60
    with tempfile.TemporaryDirectory() as directory:
        database = sqlite3.connect(Path(directory) / "events.sqlite")
        database.execute("CREATE TABLE counts (minute INTEGER, event TEXT, number INTEGER)")
        database.executemany("INSERT INTO counts VALUES (?, ?, ?)", [(moment, *count) for count in counts.items()])
        database.commit()
        database.close()
        settings = Path(directory) / "mailgate.toml"
        text = f'hostname = "gw1.univ.example"\nstate_dir = "{directory}"\nroutes_file = "{directory}/routes"\n'
        settings.write_text(text)
        period = ("--since", "2026-07-01", "--until", "2026-08-01")
        return "".join(
            _mailgate("report", "--config", str(settings), *period, "--language", language) for language in ("en", "ja")
        )


def _demo_steps() -> str:
    """Return the steps of `make demo`: number, action and expected result."""
    from lab.scenario import STEPS  # noqa: PLC0415  # the path is set just before

    width = max(len(what) for _number, what, _expected, _act in STEPS)
    return "".join(f"{number:<4}{what:<{width}}  {expected}\n" for number, what, expected, _act in STEPS)

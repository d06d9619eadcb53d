# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: boot a fresh twin of a campus, apply `site.yml`, check it with real mail, leave the twin running."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import story
from lab.campus import Campus
from lab.scenario import Scenario
from lab.twin import Twin

RECAP = re.compile(
    r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)", re.MULTILINE
)
WIDTHS = (3, 42, 54, 54)


@dataclass(frozen=True)
class Run:
    """Result of one ansible-playbook run, from its recap."""

    status: int
    seconds: float
    changed: dict[str, int]
    tasks: dict[str, int]
    output: str

    def __str__(self) -> str:
        return f"exit {self.status}, {sum(self.changed.values())} changes on {len(self.tasks)} hosts"

    @property
    def maximum_tasks(self) -> int:
        """The largest number of tasks of a host, skipped ones included."""
        return max(self.tasks.values(), default=0)


@dataclass(frozen=True)
class Rehearsal:
    """Result of `site.yml --check` on a fresh twin: it must show all changes and make none."""

    status: int
    seconds: float
    diff_shown: bool
    touched: list[str]

    def __str__(self) -> str:
        names = f": {', '.join(self.touched[:5])}" if self.touched else ""
        shown = "diff shown for every host" if self.diff_shown else "NO diff for some host"
        return f"exit {self.status}, {shown}, {len(self.touched)} files changed{names}"


def play(twin: Twin, *options: str, log: Path, verbose: bool = True) -> Run:
    """Run site.yml on a twin with its output in a log file; print each play as it begins if `verbose`."""
    started = time.monotonic()
    line = twin.command(twin.playbook_arguments("playbooks/site.yml", options))
    output = []
    with (
        log.open("w") as log_file,
        subprocess.Popen(
            line,
            env=twin.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for text in process.stdout:
            log_file.write(text)
            output.append(text)
            if verbose and text.startswith("PLAY [") and text not in output[:-1]:
                print(f"  {time.monotonic() - started:3.0f} s  {text[6:].rpartition(']')[0]}", flush=True)
    hosts = RECAP.findall("".join(output))
    return Run(
        status=process.returncode,
        seconds=time.monotonic() - started,
        changed={host: int(changed) for host, _, changed, *_ in hosts},
        tasks={host: int(ok) + int(skipped) for host, ok, _, _, _, skipped in hosts},
        output="".join(output),
    )


class Table:
    """Prints the steps of the scenario and counts those that differ."""

    def __init__(self) -> None:
        self.lines = self.differing = 0

    def heading(self) -> None:
        """Print the column names."""
        self._print("", "step", "expected", "seen", "time")

    def line(self, number: str, what: str, expected: str, seen: str, seconds: float) -> None:
        """Print one step and count it."""
        self.lines += 1
        self.differing += seen != expected
        verdict = "ok" if seen == expected else "DIFFERS"
        self._print(number, what, expected, seen, f"{seconds:5.1f} s  {verdict}")

    def _print(self, *cells: str) -> None:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(cells, (*WIDTHS, 0), strict=True)).rstrip(), flush=True
        )


def rehearse(twin: Twin, logs: Path) -> Rehearsal:
    """Run `site.yml --check` on a fresh twin and compare every file of every host before and after."""
    before = twin.snapshot()
    run = play(twin, "--check", "--diff", log=logs / "check.log")
    after = twin.snapshot()
    touched = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    shown = re.search(r"^\+[^+]", run.output, re.MULTILINE) is not None and all(run.changed.values())
    return Rehearsal(run.status, run.seconds, shown, touched)


def verify(twin: Twin, logs: Path, rehearsal: Rehearsal) -> bool:
    """Run the scenario on a twin that `site.yml` has been applied to; return whether every step was as expected."""
    table = Table()
    table.heading()
    campus = Campus(twin)
    scenario = Scenario(campus)
    for line in scenario.run():
        table.line(*line)
    again = play(twin, log=logs / "again.log", verbose=False)
    hosts = len(campus.plan["hosts"])
    table.line("9a", "site.yml a second time", f"exit 0, 0 changes on {hosts} hosts", str(again), again.seconds)
    table.line(
        "9b",
        "site.yml --check on the fresh twin",
        "exit 0, diff shown for every host, 0 files changed",
        str(rehearsal),
        rehearsal.seconds,
    )
    for line in story.tell(campus, scenario.letters.get("queued")):
        table.line(*line)
    print(
        f"\n{table.lines - table.differing} of {table.lines} steps as expected; "
        f"tasks per host in site.yml: at most {again.maximum_tasks}; second site.yml: {again.seconds:.0f} s"
    )
    return not table.differing


def demo(twin: Twin, logs: Path) -> bool:
    """Boot, run check mode, apply, verify; return whether everything was as expected."""
    started = time.monotonic()
    twin.prepare()
    twin.up()
    print("site.yml --check on the fresh twin …", flush=True)
    rehearsal = rehearse(twin, logs)
    print(f"  {rehearsal}, {rehearsal.seconds:.0f} s\nsite.yml …", flush=True)
    first = play(twin, log=logs / "site.log")
    if first.status:
        print("\n".join(first.output.splitlines()[-40:]))
        print(f"site.yml failed after {first.seconds:.0f} s; see its output in {logs / 'site.log'}", file=sys.stderr)
        return False
    print(f"  {first}, {first.seconds:.0f} s\n", flush=True)
    passed = verify(twin, logs, rehearsal)
    print(
        f"{time.monotonic() - started:.0f} s in total. The twin is running: "
        "`make demo-shell HOST=gw1` opens a shell on a host, `make demo-down` stops it."
    )
    return passed


def main() -> int:
    """Run the whole demo, or one phase on a running twin: `rehearse` (check mode), `verify` (the scenario)."""
    parser = argparse.ArgumentParser(prog="lab.demo", description=__doc__)
    parser.add_argument("phase", nargs="?", choices=("all", "rehearse", "verify"), default="all")
    parser.add_argument("--inventory", type=Path, default=Path("inventories/demo"))
    parser.add_argument("--name", help="the twin's name; default: the inventory's name")
    arguments = parser.parse_args()
    twin = Twin(arguments.inventory, name=arguments.name)
    logs = Path(".cache/demo") / twin.name
    logs.mkdir(parents=True, exist_ok=True)
    record = logs / "rehearsal.json"
    if arguments.phase == "all":
        return 0 if demo(twin, logs) else 1
    if arguments.phase == "rehearse":
        record.write_text(json.dumps(asdict(rehearse(twin, logs))))
        return 0
    return 0 if verify(twin, logs, Rehearsal(**json.loads(record.read_text()))) else 1


if __name__ == "__main__":
    sys.exit(main())

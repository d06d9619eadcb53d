# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: a fresh twin of a campus, its `site.yml`, the story told with real mail, and the twin left running."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.campus import Campus
from lab.story import Story
from lab.twin import Twin

RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)", re.MULTILINE)
WIDTHS = (3, 42, 52, 52)


@dataclass(frozen=True)
class Run:
    """What one ansible-playbook run did, read off its recap."""

    status: int
    seconds: float
    changed: int
    tasks: dict[str, int]
    output: str

    @property
    def most_tasks(self) -> int:
        """The largest number of tasks that one host was given, skipped ones too."""
        return max(self.tasks.values(), default=0)


def play(twin: Twin, *options: str, log: Path) -> Run:
    """Run site.yml on a twin, its output into a log file."""
    began = time.monotonic()
    done = twin.playbook("playbooks/site.yml", list(options))
    output = done.stdout.decode() + done.stderr.decode()
    log.write_text(output)
    hosts = RECAP.findall(output)
    return Run(
        status=done.returncode,
        seconds=time.monotonic() - began,
        changed=sum(int(changed) for _, _, changed, *_ in hosts),
        tasks={host: int(ok) + int(skipped) for host, ok, _, _, _, skipped in hosts},
        output=output,
    )


class Teller:
    """Prints the lines of the story and remembers whether all held."""

    def __init__(self) -> None:
        self.lines = self.differing = 0

    def heading(self) -> None:
        """Print the column names."""
        self._print("", "step", "expected", "seen", "time")

    def line(self, number: str, what: str, expected: str, seen: str, seconds: float) -> None:
        """Print one step."""
        self.lines += 1
        self.differing += seen != expected
        verdict = "ok" if seen == expected else "DIFFERS"
        self._print(number, what, expected, seen, f"{seconds:5.1f} s  {verdict}")

    def step(self, number: str, what: str, expected: str, act: Callable[[], str]) -> None:
        """Run one step and print it."""
        began = time.monotonic()
        seen = act()
        self.line(number, what, expected, seen, time.monotonic() - began)

    def _print(self, *cells: str) -> None:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, (*WIDTHS, 0), strict=True)).rstrip(), flush=True)


def failed(run: Run, log: Path) -> int:
    """Say where a failed run's output is and show its end; return the exit status."""
    print("\n".join(run.output.splitlines()[-40:]))
    print(f"site.yml failed after {run.seconds:.0f} s; all of its output is in {log}", file=sys.stderr)
    return 1


def main() -> int:
    """Boot, rehearse, apply, tell; return 0 when everything was as expected."""
    parser = argparse.ArgumentParser(prog="lab.demo", description=__doc__)
    parser.add_argument("--inventory", type=Path, default=Path("inventories/demo"))
    parser.add_argument("--name", help="the twin's name; the inventory's by default")
    arguments = parser.parse_args()
    began = time.monotonic()
    logs = Path(".cache/demo")
    logs.mkdir(parents=True, exist_ok=True)
    twin = Twin(arguments.inventory, name=arguments.name)
    twin.prepare()
    twin.up()

    print("site.yml --check on the fresh twin …", flush=True)
    before = twin.snapshot()
    rehearsal = play(twin, "--check", "--diff", log=logs / "check.log")
    if rehearsal.status:
        return failed(rehearsal, logs / "check.log")
    after = twin.snapshot()
    touched = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))

    print(f"  {rehearsal.changed} changes shown, {rehearsal.seconds:.0f} s\nsite.yml …", flush=True)
    first = play(twin, log=logs / "site.log")
    if first.status:
        return failed(first, logs / "site.log")
    print(f"  {first.changed} changes made, at most {first.most_tasks} tasks a host, {first.seconds:.0f} s\n", flush=True)

    teller = Teller()
    teller.heading()
    for line in Story(Campus(twin)).tell():
        teller.line(*line)
    second: list[Run] = []

    def again() -> str:
        second.append(play(twin, log=logs / "again.log"))
        return f"exit {second[0].status}, {second[0].changed} changes"

    teller.step("9a", "site.yml a second time", "exit 0, 0 changes", again)
    shown = "diff shown" if re.search(r"^\+[^+]", rehearsal.output, re.MULTILINE) else "no diff shown"
    teller.line(
        "9b", "site.yml --check on the fresh twin", "diff shown, 0 files changed",
        f"{shown}, {len(touched)} files changed{': ' if touched else ''}{', '.join(touched[:5])}", rehearsal.seconds,
    )
    print(
        f"\n{teller.lines - teller.differing} of {teller.lines} steps as expected; {time.monotonic() - began:.0f} s in all, "
        f"second site.yml {second[0].seconds:.0f} s, at most {first.most_tasks} tasks a host\n"
        f"The twin is running: `make demo-shell HOST=gw1` enters a host, `make demo-down` ends it."
    )
    return 1 if teller.differing else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the role beside every other firewall manager, with real connections from outside after each step.

Each file of neighbours/ is one manager: `layer` (image layer of its packages), `files` and `setup` of the admin, and
`steps`. A step is one of `role` (variables), `run` (a shell line), `reboot`, `absent`, with

    title     what the table says; default: the line itself
    opens     the line removes the admin's rules as well: other ports are not compared
    inner     expected at the inner server's port 25: refused, open, any; default: refused until absent, then open
    changed   whether the role has to report a change
    full      only part of the full matrix

`border` gets the role, `reference` does not; everything else happens on both. So `reference` shows what a step does to
the admin's rules, to units and to ssh, and `border` must show the same. The exit status is 1 if any step fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab import controller
from lab.firewall import READ, Rules, differences, own_rules
from lab.tools import REPOSITORY, LabError, log
from lab.twin import Twin

HERE = Path(__file__).parent
BORDER, REFERENCE, OUTSIDE, INSIDE = "border", "reference", "outside", "mech"
ROUTERS = (BORDER, REFERENCE)

INNER = [("198.18.1.30", 25), ("2001:db8:18:1::30", 25)]
#: Always reachable on port 25: the gateway and a permitted server.
MAIL = [("198.18.0.25", 25), ("2001:db8:18::25", 25), ("198.18.3.40", 25), ("2001:db8:18:3::40", 25)]
#: One port that the admin opens, and ssh, which he does not.
OTHER = [("198.18.1.30", 2525), ("2001:db8:18:1::30", 2525), ("198.18.1.30", 22), ("2001:db8:18:1::30", 22)]
SSH = {
    BORDER: [("198.19.255.1", 22), ("2001:db8:ffff::1", 22)],
    REFERENCE: [("198.19.255.2", 22), ("2001:db8:ffff::2", 22)],
}
#: From the inner server: ssh to the router, mail to the outside's name server port.
FROM_INSIDE = [("198.18.0.1", 22), ("2001:db8:18::1", 22), ("198.19.255.10", 53), ("2001:db8:ffff::10", 53)]

#: Seconds within which port 25 has to be closed again.
CLOSED_WITHIN = 10.0
#: Seconds for which the time to closed is measured.
WAIT = float(os.environ.get("MAILGATE_NEIGHBOURS_WAIT", "30"))
#: Seconds after a step and after a boot in which something may still happen.
SETTLE, SETTLE_BOOT = 0.5, 4.0
#: Seconds a step may take, and seconds until rules that are set in the background are there.
STEP_SECONDS, RULES_SECONDS = 90, 6.0

COLUMNS = ("neighbour", "step", "v4", "v6", "mail", "other", "rules", "status", "open for", "result")


@dataclass
class Row:
    """One step's results."""

    neighbour: str
    step: str
    inner: list[str] = field(default_factory=lambda: ["-", "-"])
    mail: str = "-"
    other: str = "-"
    rules: str = "-"
    status: str = "-"
    open_for: float = 0.0
    problems: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        open_for = f"{self.open_for:.1f} s" if self.open_for else "never"
        result = "ok" if not self.problems else "FAILED"
        return (
            self.neighbour,
            self.step,
            *self.inner,
            self.mail,
            self.other,
            self.rules,
            self.status,
            open_for,
            result,
        )


class Connector:
    """The program that connects, on one host."""

    def __init__(self, twin: Twin, host: str) -> None:
        line = controller.ssh(twin.name, twin.machine(host).short, ["python3 -u /opt/connector.py"])
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, **request: Any) -> Any:
        """Send a request and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise LabError("the program that connects has ended")
        return json.loads(answer)

    def close(self) -> None:
        """End the program."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


@dataclass
class Step:
    """A step of a neighbour's file."""

    kind: str
    value: Any
    title: str
    opens: bool = False
    inner: str = ""
    changed: bool | None = None
    full: bool = False


@dataclass
class Neighbour:
    """A neighbour's file."""

    name: str
    layer: str
    files: dict[str, str]
    setup: list[str]
    steps: list[Step]


def read_step(raw: dict[str, Any]) -> Step:
    """Return a step; raise LabError if it is not one."""
    found = {"role", "run", "reboot", "absent"} & raw.keys()
    unknown = raw.keys() - {"role", "run", "reboot", "absent", "title", "opens", "inner", "changed", "full"}
    if len(found) != 1 or unknown:
        raise LabError(f"not a step: {raw}")
    kind = found.pop()
    titles = {"role": "role" if raw.get("changed") is None else "role again", "run": raw.get("run")}
    rest = {key: raw[key] for key in ("opens", "inner", "changed", "full") if key in raw}
    return Step(kind, raw[kind], raw.get("title") or titles.get(kind) or kind, **rest)


def neighbours(only: Sequence[str], full: bool) -> Iterator[Neighbour]:
    """Yield the neighbours with the steps to be run."""
    paths = {path.stem: path for path in sorted((HERE / "neighbours").glob("*.yml"))}
    if unknown := set(only) - paths.keys():
        raise LabError(f"no neighbour {', '.join(sorted(unknown))}; known are {', '.join(paths)}")
    for name, path in paths.items():
        raw = yaml.safe_load(path.read_text())
        steps = [step for step in map(read_step, raw["steps"]) if full or not step.full]
        if not only or name in only:
            yield Neighbour(name, raw["layer"], raw.get("files", {}), raw["setup"], steps)


def count(results: Sequence[str], expected: Sequence[str]) -> str:
    """Return how many results are as expected."""
    return f"{sum(a == b for a, b in zip(results, expected, strict=True))}/{len(expected)}"


class Run:
    """One neighbour beside the role."""

    def __init__(self, twin: Twin, neighbour: Neighbour, outside: Connector, inside: Connector) -> None:
        self.twin, self.neighbour, self.outside, self.inside = twin, neighbour, outside, inside
        self.pool = ThreadPoolExecutor(4)
        self.present = False
        self.before: list[str] = []

    # --- what happens on the routers

    def on(self, router: str, line: str) -> tuple[int, str]:
        """Run a shell line on a router; return its status and output."""
        try:
            done = self.twin.exec(router, line, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, capture_output=False,
                                  timeout=STEP_SECONDS)  # fmt: skip
        except subprocess.TimeoutExpired:
            return 124, f"no end within {STEP_SECONDS} s"
        return done.returncode, done.stdout.decode(errors="replace").strip()

    def on_both(self, line: str) -> dict[str, tuple[int, str]]:
        """Run a shell line on both routers at the same time."""
        return dict(zip(ROUTERS, self.pool.map(lambda router: self.on(router, line), ROUTERS), strict=True))

    def role(self, variables: dict[str, Any]) -> tuple[int, int, str]:
        """Apply the role to the border; return the status, the number of changes and the output."""
        words = ["ansible-playbook", "-i", str(self.twin.inventory_path), "-e", json.dumps(variables),
                 str(HERE / "role.yml")]  # fmt: skip
        done = self.twin.run(words, timeout=300)
        text = (done.stdout + done.stderr).decode(errors="replace")
        found = re.search(r"changed=(\d+)", text)
        return done.returncode, int(found[1]) if found else 0, text

    def rules(self) -> tuple[Rules, Rules]:
        """Return the admin's rules on reference and border; nft's only where the admin has it."""
        texts = self.on_both(READ)
        expected, seen = (own_rules(texts[router][1]) for router in (REFERENCE, BORDER))
        if not any(name.startswith("nft ") for name in expected):
            seen = {name: lines for name, lines in seen.items() if not name.startswith("nft ")}
        return expected, seen

    # --- set-up

    def prepare(self) -> Row:
        """Give both routers fresh disks with the admin's firewall, and see that it works."""
        row = Row(self.neighbour.name, "before the role")
        self.twin.reset(*ROUTERS, layers=[self.neighbour.layer])
        for router in ROUTERS:
            self.twin.exec(router, ["python3", "-c", WRITE], input=json.dumps(self.neighbour.files).encode())
        for line in self.neighbour.setup:
            for router, (status, text) in self.on_both(line).items():
                if status:
                    row.problems.append(f"{router}: {line}: status {status}: {text[-1000:]}")
        results = self.connect()
        self.before = results["other"]
        expected = {
            "inner": ["open"] * 2, "mail": ["open"] * 4, "other": ["open", "open", "silence", "silence"],
            BORDER: ["silence"] * 2, REFERENCE: ["silence"] * 2, "inside": ["open"] * 4,
        }  # fmt: skip
        self.compare(row, results, expected)
        self.compare_rules(row)
        return row

    # --- what is seen

    def connect(self) -> dict[str, list[str]]:
        """Return the results of all connections."""
        outside = {"inner": INNER, "mail": MAIL, "other": OTHER, BORDER: SSH[BORDER], REFERENCE: SSH[REFERENCE]}
        targets = [target for group in outside.values() for target in group]
        inside = self.pool.submit(self.inside.ask, probe=FROM_INSIDE)
        results = iter(self.outside.ask(probe=targets))
        found = {name: [next(results) for _ in group] for name, group in outside.items()}
        return {**found, "inside": inside.result()}

    def compare(self, row: Row, seen: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
        """Enter results of connections into the row."""
        row.inner = seen["inner"]
        row.mail = count(seen["mail"], expected["mail"])
        rest = [name for name in ("other", BORDER, "inside") if name in expected]
        row.other = count([r for name in rest for r in seen[name]], [r for name in rest for r in expected[name]])
        row.problems += [
            f"{name}: expected {' '.join(results)}, saw {' '.join(seen[name])}"
            for name, results in expected.items()
            if results and seen[name] != results
        ]

    def compare_rules(self, row: Row) -> None:
        """Compare the admin's rules on border and reference; some are set in the background."""
        deadline = time.monotonic() + RULES_SECONDS
        while True:
            expected, seen = self.rules()
            found = differences(expected, seen)
            if not found or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        size = sum(len(lines) for lines in expected.values())
        row.rules = f"{size} same" if not found else f"{len(found)} differ"
        row.problems += [f"rules: {line}" for line in found[:12]]
        if not size and row.step == "before the role":
            row.problems.append("rules: the reference has none")

    def watch(self, row: Row, since: float, settle: float) -> None:
        """Wait until port 25 stays closed; enter how long it was open."""
        time.sleep(settle)
        deadline = since + WAIT
        while True:
            watched = self.outside.ask(since=since)
            spans = sorted(span for port in watched for span in port["spans"])
            row.open_for = spans[-1][1] - spans[0][0] + 0.1 if spans else 0.0
            if not any(port["open"] for port in watched):
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if row.open_for > CLOSED_WITHIN or any(port["open"] for port in watched):
            row.problems.append(f"port 25 was open for {row.open_for:.1f} s")

    # --- steps

    def act(self, row: Row, step: Step) -> float:
        """Perform a step; return the moment from which port 25 has to be closed."""
        began = time.monotonic()
        if step.kind in ("role", "absent"):
            variables = {"border_firewall_state": "absent"} if step.kind == "absent" else step.value
            status, changed, text = self.role(variables)
            row.status = f"{status}, changed {changed}"
            if status or (step.changed is not None and bool(changed) != step.changed):
                row.problems.append(f"role: status {status}, {changed} changes:\n{text[-2500:]}")
            self.present = step.kind == "role"
            return time.monotonic()
        if step.kind == "reboot":
            list(self.pool.map(self.twin.reboot, ROUTERS))
            state = self.on_both("systemctl is-system-running --wait")
            row.status = state[BORDER][1]
            if state[BORDER] != state[REFERENCE]:
                row.problems.append(f"system: {state[BORDER][1]}, without the role {state[REFERENCE][1]}")
            return time.monotonic()
        done = self.on_both(step.value)
        row.status = str(done[BORDER][0])
        if done[BORDER][0] != done[REFERENCE][0]:
            row.problems.append(f"status {done[BORDER]}, without the role {done[REFERENCE]}")
        return began

    def step(self, step: Step) -> Row:
        """Run a step and return its row."""
        row = Row(self.neighbour.name, step.title)
        since = self.act(row, step)
        inner = step.inner or ("refused" if self.present else "open")
        settle = SETTLE_BOOT if step.kind == "reboot" else SETTLE
        if inner == "refused":
            self.watch(row, since, settle)
        else:
            time.sleep(settle)
        seen = self.connect()
        expected = {
            "inner": [] if inner == "any" else [inner] * 2,
            "mail": ["open"] * 4,
            BORDER: seen[REFERENCE],
            "inside": ["open"] * 4,
        }
        if not step.opens:
            expected["other"] = self.before
        self.compare(row, seen, expected)
        self.compare_rules(row)
        if row.problems:
            row.problems += [f"journal: {line}" for line in self.on(BORDER, JOURNAL)[1].splitlines()]
        return row

    def repair(self) -> None:
        """Close port 25 again for the next step."""
        if self.present:
            self.role({})

    def rows(self) -> Iterator[Row]:
        """Yield the row of each step."""
        row = self.prepare()
        yield row
        if row.problems:
            return
        for step in self.neighbour.steps:
            row = self.step(step)
            yield row
            if "open" in row.inner:
                self.repair()


JOURNAL = "journalctl --boot --no-pager --quiet --output=short-precise --lines=12 --priority=notice"
WRITE = """
import json, sys
from pathlib import Path
for name, text in json.load(sys.stdin).items():
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
"""


def table(rows: Sequence[Row]) -> str:
    """Return the table as text."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    short = [tuple(cell if len(cell) <= 44 else f"{cell[:43]}…" for cell in line) for line in cells]
    widths = [max(len(line[index]) for line in short) for index in range(len(COLUMNS))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in short]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    for row in rows:
        if row.problems:
            lines += [
                "",
                f"{row.neighbour}: {row.step}",
                *(f"  {line}" for p in row.problems for line in p.splitlines()),
            ]
    failed = sum(bool(row.problems) for row in rows)
    return "\n".join([*lines, "", f"{len(rows)} steps, {failed} failed", ""])


def main() -> int:
    """Run the matrix, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="mol-neighbours", help="the twin, which is up")
    only = os.environ.get("MAILGATE_NEIGHBOURS_ONLY", "")
    parser.add_argument("--only", default=only, metavar="NEIGHBOUR,...", help="these neighbours alone")
    parser.add_argument("--full", action="store_true", default=os.environ.get("MAILGATE_NEIGHBOURS") == "full")
    arguments = parser.parse_args()
    twin = Twin(HERE / "inventory", arguments.name)
    kept = REPOSITORY / ".cache" / "molecule" / f"border_neighbours-{twin.suite}.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    began = time.monotonic()
    outside, inside = Connector(twin, OUTSIDE), Connector(twin, INSIDE)
    outside.ask(watch=INNER)
    try:
        for neighbour in neighbours([name for name in arguments.only.split(",") if name], arguments.full):
            for row in Run(twin, neighbour, outside, inside).rows():
                rows.append(row)
                log(f"{time.monotonic() - began:6.1f} s  {' | '.join(row.cells())}")
                kept.write_text(table(rows))
    finally:
        outside.close()
        inside.close()
    seconds = time.monotonic() - began
    text = f"{table(rows)}{twin.suite}, {'full' if arguments.full else 'reduced'} matrix, {seconds:.0f} s\n"
    kept.write_text(text)
    print(text)
    return int(any(row.problems for row in rows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        log(f"matrix: {error}")
        sys.exit(1)

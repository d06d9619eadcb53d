# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A `site.yml` with nothing to do, and the same with `--check`, beside a play that only pings the same hosts.

    python3 -m bench.daily [--inventory inventories/example] [--name NAME] [--rounds 3]

Boots the twin of the inventory and applies `site.yml` first, which takes minutes for a whole campus. With `--name` it
uses a twin that is running already, and leaves it running. The three are measured in turn in each round, so that their
ratio counts also on a machine that is not idle. The CPU time is that of the controller without the hosts.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.demo import RECAP
from lab.twin import Twin

ROOT = Path(__file__).resolve().parents[1]
SITE = "playbooks/site.yml"
PING = """\
- name: Ping
  hosts: {hosts}
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""
#: The highest time of each, as a multiple of the ping's, that is fast enough for every day.
GOAL = 2.0
#: How often site.yml may change something before it is measured: an interrupted run needs another one.
FIRST_RUNS = 3


@dataclass(frozen=True)
class Took:
    """What a run took, in seconds, and the largest number of tasks of a host, skipped ones included."""

    elapsed: float
    cpu: float
    tasks: int


def run(twin: Twin, playbook: str, *options: str) -> tuple[Took, int, list[str]]:
    """Run a playbook; return what it took, the number of changes, and its hosts. Exit if it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = twin.run(twin.playbook_arguments(playbook, options))
    elapsed, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        sys.exit(f"bench: {playbook} has exit status {done.returncode}\n{output[-3000:]}")
    recap = RECAP.findall(output)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tasks = max(int(ok) + int(skipped) for _host, ok, _changed, _unreachable, _failed, skipped in recap)
    return Took(elapsed, cpu, tasks), sum(int(counts[2]) for counts in recap), [counts[0] for counts in recap]


def settle(twin: Twin) -> list[str]:
    """Apply site.yml until it changes nothing; return its hosts."""
    for _first in range(FIRST_RUNS):
        took, changes, hosts = run(twin, SITE)
        print(f"site.yml, {changes} changes on {len(hosts)} hosts: {took.elapsed:.0f} s", flush=True)
        if not changes:
            return hosts
    sys.exit(f"bench: site.yml has changes in each of {FIRST_RUNS} runs")


def measure(twin: Twin, hosts: list[str], rounds: int) -> dict[str, list[Took]]:
    """Return what each of the three runs took in each round."""
    found: dict[str, list[Took]] = {}
    with tempfile.TemporaryDirectory() as directory:
        ping = Path(directory) / "ping.yml"
        ping.write_text(PING.format(hosts=json.dumps(hosts)))
        for _round in range(rounds):
            for name, playbook, options in (("ping", str(ping), ()), ("site", SITE, ()), ("check", SITE, ("--check",))):
                took, changes, _hosts = run(twin, playbook, *options)
                if changes:
                    sys.exit(f"bench: {name} has {changes} changes, so it is no run with nothing to do")
                found.setdefault(name, []).append(took)
    return found


def report(found: dict[str, list[Took]]) -> dict[str, object]:
    """Print a line for each of the three runs; return the figures."""
    figures: dict[str, object] = {}
    pings = found["ping"]
    print(f"{'':8}{'seconds':>9}{'of ping':>9}{'CPU s':>9}{'of ping':>9}{'tasks':>7}")
    for name, runs in found.items():
        elapsed, cpu = (statistics.median(getattr(each, of) for each in runs) for of in ("elapsed", "cpu"))
        # Of one round each, as the load of the machine changes between rounds.
        ratio = statistics.median(each.elapsed / ping.elapsed for each, ping in zip(runs, pings, strict=True))
        cpu_ratio = statistics.median(each.cpu / ping.cpu for each, ping in zip(runs, pings, strict=True))
        met = "" if name == "ping" else "  goal met" if ratio <= GOAL else f"  goal {GOAL} missed"
        print(f"{name:8}{elapsed:9.1f}{ratio:9.2f}{cpu:9.1f}{cpu_ratio:9.2f}{runs[0].tasks:7}{met}")
        figures[name] = {"ratio": ratio, "cpu_ratio": cpu_ratio, "runs": [asdict(each) for each in runs]}
    return figures


def main() -> int:
    """Boot, settle, measure; write the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.daily", description=__doc__.splitlines()[0])
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventories" / "example")
    parser.add_argument("--name", help="a running twin of that inventory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "bench" / "daily.json")
    options = parser.parse_args()
    twin = Twin(options.inventory, name=options.name or "bench-daily")
    try:
        if not options.name:
            twin.up()
        figures = report(measure(twin, settle(twin), options.rounds))
    finally:
        if not options.name:
            twin.down()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

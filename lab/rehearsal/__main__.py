# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make rehearse`: boot a campus's twin, roll out and back under constant mail, and account for every message."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from lab.inventory import read
from lab.network import OUTSIDE, ROUTER
from lab.rehearsal import account, changes, needs, release, report, steps
from lab.rehearsal.page import page
from lab.rehearsal.prepare import prepare
from lab.rehearsal.rehearsal import Rehearsal, Result, read_events
from lab.tools import LabError, log, step
from lab.twin import Twin

#: Messages a second that two processors handle beside Ansible.
RATE = 3.0
#: Release that an upgrade begins with.
RELEASE = "0.1.0"


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    made = argparse.ArgumentParser(prog="lab.rehearsal", description=__doc__)
    made.add_argument("--inventory", type=Path, help="default: the demo; with upgrade, the demo of the release")
    made.add_argument("--name", help="the twin's name; default: the inventory's name")
    made.add_argument("--rate", type=float, default=RATE, metavar="N", help=f"messages a second; default: {RATE:g}")
    made.add_argument("--with", dest="scenarios", action="append", default=[], choices=steps.SCENARIOS,
                      help="; ".join(f"{name}: {what}" for name, what in steps.SCENARIOS.items()))  # fmt: skip
    made.add_argument("--directory", type=Path, help="for the report; default: .cache/rehearse/NAME")
    made.add_argument("--keep", action="store_true", help="leave the twin running")
    made.add_argument("--at-once", action="store_true", help="one run for all phases: faster with many hosts")
    return made


def make_report(result: Result, events: Path) -> report.Report:
    """Account for all messages of a rehearsal."""
    messages = account.read(read_events(events))
    rows, total = account.rows(messages, result.phases, result.homes)
    return report.Report(
        title=f"Rehearsal: {result.campus}",
        settings=(
            ("Servers", str(result.servers)),
            ("Domains", str(len(result.domains))),
            ("Mail", f"{result.rate:g} messages a second"),
            (
                "CPU time",
                f"{report.duration(result.cpu_hosts)} hosts, {report.duration(result.cpu_controller)} Ansible and mail",
            ),
            ("With", ", ".join(f"{name} ({steps.SCENARIOS[name]})" for name in result.scenarios)),
        ),
        rows=rows,
        total=total,
        reached=account.reached(messages, result.domains),
        troubles=account.troubles(messages, result.homes),
        remarks=result.remarks,
        messages=messages,
        phases=[(phase.name, phase.began, phase.ended) for phase in result.phases],
        failure=result.failure,
    )


def _directory(arguments: argparse.Namespace, name: str) -> Path:
    """Return the directory of the report, which is made."""
    directory: Path = (arguments.directory or Path(".cache/rehearse") / name).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def rehearse(arguments: argparse.Namespace) -> int:
    """Rehearse; return 0 if no message was refused for good, lost, doubled or delivered to another server."""
    name, path = arguments.name, arguments.inventory or Path("inventories/demo")
    upgrade = steps.UPGRADE in arguments.scenarios
    released = Path()
    if upgrade:
        name = name or (Twin(path).name if arguments.inventory else steps.UPGRADE)
        released = release.install(RELEASE, _directory(arguments, name))
        path = arguments.inventory or release.source(RELEASE, _directory(arguments, name)) / "inventories" / "demo"
    twin = Twin(path, name)
    inventory = read(twin.inventory_path, (OUTSIDE, ROUTER))
    needs.require(inventory)
    directory = _directory(arguments, twin.name)
    began = time.monotonic()
    try:
        twin.up()
        with step("prepare the campus"):
            prepare(twin, inventory)
        rehearsal = Rehearsal(twin, directory, arguments.rate, arguments.scenarios)
        made = [
            change(directory, inventory.hosts, rehearsal.hubs)
            for name, change in ((steps.DOMAIN_MOVES, changes.move), (steps.RENUMBERING, changes.renumber))
            if name in arguments.scenarios
        ]
        for change in made:
            rehearsal.allow(change.homes)
        wanted = steps.all_steps(once=arguments.at_once, changes=[change.steps for change in made])
        if upgrade:
            wanted = [
                release.step(RELEASE, released),
                steps.Step("this version", "playbooks/site.yml", steps.WAITING),
                *(step for change in made for step in change.steps),
            ]
        result = rehearsal.run(wanted)
    finally:
        if not arguments.keep:
            twin.down()
    (directory / "result.json").write_text(json.dumps(asdict(result), indent=1))
    found = make_report(result, rehearsal.events)
    (directory / "report.txt").write_text(report.text(found))
    (directory / "report.html").write_text(page(found))
    print(report.text(found))
    log(f"rehearse: {time.monotonic() - began:.0f} s in all, with boot and removal; report: {directory}/report.html")
    return 0 if found.sound else 1


def main() -> int:
    """Run the command line; 2 if the rehearsal cannot begin."""
    try:
        return rehearse(parser().parse_args())
    except LabError as error:
        log(f"rehearse: {error}")
        return 2
    except KeyboardInterrupt:
        log("rehearse: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())

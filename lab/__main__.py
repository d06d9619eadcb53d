# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the twin: `python3 -m lab COMMAND`, from the repository's root, as root."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from lab.packages import SUITES
from lab.tools import LabError, log
from lab.twin import Twin


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--inventory", type=Path, metavar="PATH", help="default: inventories/demo")
    common.add_argument("--name", help="the twin's name; default: the inventory's")
    top = argparse.ArgumentParser(prog="lab", description="Boot an inventory's hosts as real systems on one machine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common], help=text, description=text)

    add("prepare", "build missing images")
    up = add("up", "boot the twin; replaces a running one of the same name")
    up.add_argument(
        "--bare",
        action=argparse.BooleanOptionalAction,
        help="without sendmail on the hosts, so that a role installs it",
    )
    up.add_argument("--suite", default="", choices=SUITES, help="Debian suite of all hosts; default: each host's")
    add("down", "stop the twin and remove all its files")
    add("status", "print the state of each host")
    run = add("run", "run a command of this machine in the controller's namespace: run -- CMD ...")
    run.add_argument("arguments", nargs="+", metavar="CMD")
    playbook = add("playbook", "run a playbook on the twin: playbook PATH [-- OPTIONS]")
    playbook.add_argument("playbook")
    playbook.add_argument("arguments", nargs=argparse.REMAINDER, metavar="OPTIONS")
    execute = add("exec", "run a command on a host: exec HOST -- CMD ...")
    execute.add_argument("host")
    execute.add_argument("arguments", nargs="+", metavar="CMD")
    stop = add("stop", "power a host off at once, as a power failure does")
    stop.add_argument("--graceful", action="store_true", help="let the host shut itself down")
    for name, text in (("shell", "open a shell on a host"), ("start", "power a host on"), ("reboot", "reboot a host")):
        add(name, text).add_argument("host")
    stop.add_argument("host")
    reset = add("reset", "give a host a fresh disk and boot it")
    reset.add_argument("--layers", metavar="LAYER,...", help="image layers of the disk; default: as before")
    reset.add_argument("host")
    snapshot = add("snapshot", "print as JSON which files of hosts differ from the images")
    snapshot.add_argument("hosts", nargs="*", metavar="HOST", help="hosts; all by default")
    return top


def perform(arguments: argparse.Namespace) -> int:
    """Perform a parsed command line; return the exit status."""
    twin = Twin(arguments.inventory, arguments.name)
    match arguments.command:
        case "prepare":
            twin.prepare()
        case "up":
            twin.up(bare=arguments.bare, suite=arguments.suite)
        case "down":
            twin.down()
        case "status":
            machines = twin.machines()
            for short, state in twin.status().items():
                machine = machines[short]
                print(f"{short:16} {machine.name:32} {machine.address:16} {machine.management:16} {state}")
        case "snapshot":
            chosen = [] if arguments.hosts == ["all"] else arguments.hosts
            print(json.dumps(twin.snapshot(*chosen), indent=1))
        case "run" | "playbook":
            return _as_controller(twin, arguments)
        case _:
            return _with_host(twin, arguments)
    return 0


def _as_controller(twin: Twin, arguments: argparse.Namespace) -> int:
    wanted = arguments.arguments
    if arguments.command == "playbook":
        wanted = twin.playbook_arguments(arguments.playbook, [option for option in wanted if option != "--"])
    return subprocess.run(twin.command(wanted), env=twin.environment(), check=False).returncode


def _with_host(twin: Twin, arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "exec":
            return twin.exec(arguments.host, arguments.arguments, input=None, capture_output=False).returncode
        case "shell":
            return twin.shell(arguments.host)
        case "stop":
            twin.stop(arguments.host, graceful=arguments.graceful)
        case "start":
            twin.start(arguments.host)
        case "reboot":
            twin.reboot(arguments.host)
        case "reset":
            layers = arguments.layers
            twin.reset(arguments.host, layers=None if layers is None else [name for name in layers.split(",") if name])
    return 0


def main() -> int:
    """Run the command line; print a problem to standard error and return 1."""
    try:
        return perform(parser().parse_args())
    except LabError as error:
        log(f"lab: {error}")
        return 1
    except KeyboardInterrupt:
        log("lab: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())

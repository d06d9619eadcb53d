# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time from the start of the service until it notifies systemd that it is ready (measured with hyperfine).

The routes table has 168 domains, as the example campus; `check` reads the same files and exits. Python alone is the
lower bound.

python3 -m bench.startup       (as root)
"""

from __future__ import annotations

import argparse
import json

from bench.machine import BenchMachine, bench_machine
from bench.rootfs import CACHE

DOMAINS = 168
# Starts the service, waits until it says READY=1, and kills it.
READY = """\
import os, signal, socket, subprocess, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
    listener.bind("\\0mailgate-ready")
    environment = {**os.environ, "NOTIFY_SOCKET": "@mailgate-ready"}
    service = subprocess.Popen(sys.argv[1:], env=environment, start_new_session=True)
    listener.settimeout(30)
    while b"READY=1" not in listener.recv(1000):
        pass
    os.killpg(service.pid, signal.SIGKILL)
    service.wait()
"""
SERVICE = "/usr/bin/python3 -I /opt/mailgate"
COMMANDS = {
    "python": "/usr/bin/python3 -I -c pass",
    "check": f"{SERVICE} check --config /etc/mailgate.toml",
    "ready": f"/usr/bin/python3 /ready.py {SERVICE} serve --config /etc/mailgate.toml",
}


def main() -> None:
    """Measure, print, write as JSON."""
    with bench_machine(argparse.ArgumentParser(prog="bench.startup")) as (machine, _options):
        result = measure(machine)
    (CACHE / "startup.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def measure(machine: BenchMachine) -> dict[str, float]:
    """Return the median seconds of each command."""
    machine.start_gateway()
    machine.stop("gateway")
    (machine.root / "ready.py").write_text(READY)
    routes = "".join(f"d{number}.univ.example\t198.18.{number}.25\n" for number in range(DOMAINS))
    (machine.root / "etc/mailgate.routes").write_text(routes)
    machine.run(
        "load",
        ["hyperfine", "--shell=none", "--warmup=2", "--runs=20", "--export-json=/startup.json", *COMMANDS.values()],
    )
    found = json.loads((machine.root / "startup.json").read_text())["results"]
    return {f"{name}_seconds": one["median"] for name, one in zip(COMMANDS, found, strict=True)}


if __name__ == "__main__":
    main()

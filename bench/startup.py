# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the service takes from its start to readiness, as it tells systemd (hyperfine's figures).

The table has 168 domains, as the example campus; `check` reads the same files and ends. Python alone is the floor.

python3 -m bench.startup       (as root)
"""

from __future__ import annotations

import argparse
import json

from bench.house import House, own_house
from bench.rootfs import CACHE

DOMAINS = 168
# Starts the service, waits until it says READY=1, and kills it.
READY = """\
import os, signal, socket, subprocess, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
    ear.bind("\\0mailgate-ready")
    told = {**os.environ, "NOTIFY_SOCKET": "@mailgate-ready"}
    service = subprocess.Popen(sys.argv[1:], env=told, start_new_session=True)
    ear.settimeout(30)
    while b"READY=1" not in ear.recv(1000):
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
    """Measure and print."""
    with own_house(argparse.ArgumentParser(prog="bench.startup")) as (house, _options):
        result = measure(house)
    (CACHE / "startup.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def measure(house: House) -> dict[str, float]:
    """Median seconds of each command."""
    house.start_gateway()
    house.stop("gateway")
    (house.root / "ready.py").write_text(READY)
    routes = "".join(f"d{number}.univ.example\t198.18.{number}.25\n" for number in range(DOMAINS))
    (house.root / "etc/mailgate.routes").write_text(routes)
    house.run(
        "load",
        ["hyperfine", "--shell=none", "--warmup=2", "--runs=20", "--export-json=/startup.json", *COMMANDS.values()],
    )
    found = json.loads((house.root / "startup.json").read_text())["results"]
    return {f"{name}_seconds": one["median"] for name, one in zip(COMMANDS, found, strict=True)}


if __name__ == "__main__":
    main()
